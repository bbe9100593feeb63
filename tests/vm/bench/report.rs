//! What a benchmark prints: tables, as Markdown, and whether a goal is met.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use comfy_table::presets::ASCII_MARKDOWN;
use comfy_table::{CellAlignment, Table};

/// Where the parts of the report are put together.
pub fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("target/bench")
}

/// One part of the report.
pub struct Report {
    /// Of its file, without an ending.
    name: &'static str,
    text: String,
    /// A line each, to stand at the end.
    goals: String,
    since: Instant,
}

impl Report {
    pub fn new(name: &'static str, title: &str) -> Self {
        Self { name, text: format!("## {title}\n"), goals: String::new(), since: Instant::now() }
    }

    /// A paragraph.
    pub fn say(&mut self, text: &str) {
        self.text += &format!("\n{text}\n");
    }

    /// A table; the first column is what the others are about.
    pub fn table(&mut self, head: &[&str], rows: &[Vec<String>]) {
        let mut table = Table::new();
        table.load_preset(ASCII_MARKDOWN).set_header(head.to_vec());
        for row in rows {
            table.add_row(row.clone());
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        self.text += &format!("\n{table}\n");
    }

    /// A goal, what was measured, and whether it is met.
    pub fn goal(&mut self, what: &str, measured: &str, met: bool) {
        let met = if met { "met" } else { "MISSED" };
        self.goals += &format!("* {met}: {what}: {measured}\n");
    }

    /// Prints it, and keeps it for `scripts/bench`.
    pub fn publish(mut self) -> Result<()> {
        if !self.goals.is_empty() {
            self.text += &format!("\nGoals:\n\n{}", self.goals);
        }
        self.say(&format!("Took {}.", seconds(self.since.elapsed())));
        println!("\n{}", self.text);
        let directory = directory();
        fs::create_dir_all(&directory).context("target/bench")?;
        fs::write(directory.join(format!("{}.md", self.name)), self.text).context(self.name)
    }
}

/// Says on stderr what was done, and when: some benchmarks take long.
pub fn progress(what: &str) {
    static SINCE: OnceLock<Instant> = OnceLock::new();
    let since = SINCE.get_or_init(Instant::now);
    eprintln!("{:6.1} s  {what}", since.elapsed().as_secs_f64());
}

/// 1234567 → `1,234,567`
pub fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A time in the unit that suits it.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s >= 1.0 => format!("{s:.2} s"),
        s if s >= 1e-3 => format!("{:.2} ms", s * 1e3),
        s if s >= 1e-6 => format!("{:.2} µs", s * 1e6),
        s => format!("{:.1} ns", s * 1e9),
    }
}

pub fn seconds(duration: Duration) -> String {
    time(duration.as_secs_f64())
}

pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

pub fn ratio(of: f64, to: f64) -> String {
    match of / to {
        r if !r.is_normal() => "–".to_owned(),
        r if r >= 10.0 => count(r.round() as u64),
        r if r >= 0.1 => format!("{r:.2}"),
        r => format!("1/{}", count((1.0 / r).round() as u64)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_written_for_people() {
        assert_eq!([count(7), count(1000), count(1_234_567)], ["7", "1,000", "1,234,567"]);
        assert_eq!(
            [time(61.25), time(0.0421), time(3.3e-6), time(5e-8)],
            ["61.25 s", "42.10 ms", "3.30 µs", "50.0 ns"]
        );
        assert_eq!(mib(3 << 19), "1.5 MiB");
        assert_eq!(
            [ratio(1.0, 1000.0), ratio(3.0, 2.0), ratio(25_000.0, 2.0), ratio(1.0, 0.0)],
            ["1/1,000", "1.50", "12,500", "–"]
        );
        assert_eq!(ratio(0.0, 1.0), "–");
    }

    #[test]
    fn a_part_is_markdown() {
        let mut report = Report::new("test", "A title");
        report.table(&["what", "ms"], &[vec!["a".into(), "1".into()]]);
        report.goal("at most 2 ms", "1 ms", true);
        let table = "| what | ms |\n|------|----|\n| a    |  1 |";
        assert!(report.text.contains(table), "{}", report.text);
        assert_eq!(report.goals, "* met: at most 2 ms: 1 ms\n");
    }
}
