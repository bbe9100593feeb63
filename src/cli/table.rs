//! Aligned columns, a line each.

use super::output::one_line;
use anstyle::{AnsiColor, Style};
use comfy_table::presets::NOTHING;
use comfy_table::Table;

/// For headings.
pub(super) const HEADING: Style = Style::new().bold();

/// For what needs a human.
pub(super) const BAD: Style = AnsiColor::Red.on_default().bold();

/// For what is contained, or under way.
pub(super) const WARN: Style = AnsiColor::Yellow.on_default();

/// For what is well.
pub(super) const GOOD: Style = AnsiColor::Green.on_default();

/// For all else.
pub(super) const PLAIN: Style = Style::new();

/// `text` in `style`.
pub(super) fn styled(style: Style, text: &str) -> String {
    format!("{style}{text}{style:#}")
}

/// Lines of aligned cells, each line in its style; columns that are empty in
/// all rows are left out. Ends with a newline.
pub(super) fn table<const N: usize>(
    header: Option<[&str; N]>,
    rows: &[(Style, [String; N])],
) -> String {
    let filled: Vec<bool> = (0..N)
        .map(|i| rows.iter().any(|(_, row)| row.get(i).is_some_and(|c| !c.is_empty())))
        .collect();
    let keep = |cells: Vec<String>| -> Vec<String> {
        cells.into_iter().zip(&filled).filter_map(|(cell, keep)| keep.then_some(cell)).collect()
    };

    let mut table = Table::new();
    table.load_preset(NOTHING);
    let mut styles = Vec::new();
    if let Some(header) = header {
        table.add_row(keep(header.map(str::to_owned).to_vec()));
        styles.push(HEADING);
    }
    for (style, row) in rows {
        table.add_row(keep(row.iter().map(|cell| one_line(cell)).collect()));
        styles.push(*style);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    let lines = table.lines().zip(styles);
    lines.map(|(line, style)| styled(style, line.trim_end()) + "\n").collect()
}
