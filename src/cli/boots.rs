//! `bulkhead boots`.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{print, print_json};
use super::table::{table, BAD, PLAIN};
use crate::api::views::{BootView, Verdict};
use crate::api::Client;

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
        let style = match boot.verdict {
            Verdict::Clean | Verdict::Running | Verdict::Unknown => PLAIN,
            _ => BAD,
        };
        let time = |time: Option<_>| time.map_or("?".to_owned(), |time| clock.local(time));
        let cells = [
            time(boot.started),
            if boot.verdict == Verdict::Running { "-".to_owned() } else { time(boot.ended) },
            verdict(boot.verdict).to_owned(),
            boot.confidence.map_or(String::new(), |c| format!("{:.0}%", c * 100.0)),
            boot.cpu.map_or(String::new(), |cpu| format!("CPU {cpu}")),
            boot.cause.clone().unwrap_or_default(),
            boot.boot_id.clone().unwrap_or_default(),
        ];
        (style, cells)
    };
    let header = ["STARTED", "ENDED", "VERDICT", "SURE", "WHERE", "CAUSE", "BOOT"];
    table(Some(header), &boots.iter().map(row).collect::<Vec<_>>())
}

/// As in the JSON.
pub(super) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Clean => "clean",
        Verdict::Panic => "panic",
        Verdict::Stall => "stall",
        Verdict::HardwareReset => "hardware reset",
        Verdict::PowerLoss => "power loss",
        Verdict::Unknown => "unknown",
        Verdict::Running => "running",
    }
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::noon;
    use super::*;
    use crate::api::samples;

    #[test]
    fn a_boot_is_one_line() {
        let text = render(&samples::boots(), &noon());
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string());
    }
}
