//! `bulkhead boots`.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{one_line, print, print_json};
use super::table::{styled, table, BAD, HEADING, PLAIN};
use crate::api::views::{BootView, Verdict};
use crate::api::Client;
use anstyle::Style;

/// Ends that are told in full; of the others the table, and --json.
const SHOWN: usize = 4;

pub(super) fn run(mut client: Client, json: bool, clock: &Clock) -> Result<(), Exit> {
    let boots = client.boots()?;
    if json {
        return print_json(&boots);
    }
    if boots.is_empty() {
        return print("No boots known.\n");
    }
    print(&render(&boots, clock))
}

fn render(boots: &[BootView], clock: &Clock) -> String {
    let row = |boot: &BootView| {
        let time = |time: Option<_>| time.map_or("?".to_owned(), |time| clock.local(time));
        let cells = [
            time(boot.started),
            if boot.verdict == Verdict::Running { "-".to_owned() } else { time(boot.ended) },
            boot.verdict.name().to_owned(),
            boot.confidence.map_or(String::new(), |c| format!("{:.0}%", c * 100.0)),
            boot.cpu.map_or(String::new(), |cpu| format!("CPU {cpu}")),
            boot.boot_id.clone().unwrap_or_default(),
        ];
        (style(boot.verdict), cells)
    };
    let header = ["STARTED", "ENDED", "VERDICT", "SURE", "WHERE", "BOOT"];
    let mut text = table(Some(header), &boots.iter().map(row).collect::<Vec<_>>());
    let odd = |boot: &&BootView| style(boot.verdict) == BAD;
    for boot in boots.iter().filter(odd).take(SHOWN) {
        text += &told(boot, clock);
    }
    text
}

/// What a boot's end was, and what speaks for that.
fn told(boot: &BootView, clock: &Clock) -> String {
    let when = boot.ended.map_or("?".to_owned(), |time| clock.local(time));
    let cause =
        boot.cause.as_deref().map_or(String::new(), |cause| format!(": {}", one_line(cause)));
    let mut text = format!("\n{} {when}{cause}\n", styled(HEADING, boot.verdict.name()));
    for said in &boot.evidence {
        text += &format!("  {}\n", one_line(said));
    }
    text
}

fn style(verdict: Verdict) -> Style {
    match verdict {
        Verdict::Clean | Verdict::Running | Verdict::Unknown => PLAIN,
        _ => BAD,
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::noon;
    use super::*;
    use crate::api::samples;

    #[test]
    fn an_end_that_was_not_clean_is_told_in_full() {
        let text = render(&samples::boots(), &noon());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
