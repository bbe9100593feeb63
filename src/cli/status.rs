//! `bulkhead status`: one screen for an admin who was just woken up.

use super::clock::Clock;
use super::exit::Exit;
use super::output::{bytes, count, one_line, print, print_json};
use super::table::{styled, table, BAD, GOOD, HEADING, PLAIN, WARN};
use super::{faults, health, list};
use crate::api::views::{
    BootView, FaultView, Health, IsolatedView, IsolationView, Mode, Saved, SourceState, SourceView,
    Status, TrackedView, Used, Verdict, WatchdogView,
};
use crate::api::Client;
use anstyle::Style;
use bulkhead_core::model::FaultState;

/// Lines of the ledger, and faults, that are shown at most.
const SHOWN: usize = 4;

/// Beyond so many in all, none are asked for: they take long, and more than a
/// screen.
const ASKED: u64 = 256;

pub(super) fn run(mut client: Client, json: bool, clock: &Clock) -> Result<(), Exit> {
    let status = client.status()?;
    if json {
        return print_json(&status);
    }
    let ledger = if is_short(&status) { client.isolations(None)? } else { Vec::new() };
    let known = if status.open_faults <= ASKED { client.faults()? } else { Vec::new() };
    print(&render(&status, &ledger, &known, clock))
}

/// The ledger is short enough to be asked for.
fn is_short(status: &Status) -> bool {
    let IsolatedView { cpus, pages, .. } = status.isolated;
    cpus + pages + status.pending + status.failed + status.refused <= ASKED
}

fn render(status: &Status, ledger: &[IsolationView], known: &[FaultView], clock: &Clock) -> String {
    let mut text = headline(status);
    text += &taken(status, ledger, known, clock);
    text += &failing(status, known, clock);
    text += &format!("\n{}\n", styled(HEADING, "Sources"));
    text += &table(None, &status.sources.iter().map(source).collect::<Vec<_>>());
    for check in status.checks.iter().filter(|check| check.differs > 0) {
        let line = format!(
            "{} counts {} more or less than the sources",
            one_line(&check.name),
            count(check.differs, "error")
        );
        text += &format!("  {}\n", styled(WARN, &line));
    }
    text += &limits(status);
    for conflict in &status.conflicts {
        text += &format!("{} {}\n", styled(WARN, "Conflict:"), one_line(conflict));
    }
    text + &daemon(status, clock)
}

fn headline(status: &Status) -> String {
    let (style, word) = match status.health {
        Health::Ok => (GOOD, "ok"),
        Health::Degraded => (WARN, "degraded"),
        Health::Faulted => (BAD, "faulted"),
    };
    let mut reasons = health::reasons(status).join(", ");
    if reasons.is_empty() {
        reasons = "nothing is out of service, no open faults".to_owned();
    }
    let mut line = format!("{}: {}\n", styled(style, word), one_line(&reasons));
    if status.mode == Mode::Observe {
        line += "Mode observe: decisions are recorded, nothing is touched.\n";
    }
    line
}

/// What is out of service, what is to go, and what did not.
fn taken(status: &Status, ledger: &[IsolationView], known: &[FaultView], clock: &Clock) -> String {
    let mut numbers = vec![
        count(status.isolated.cpus, "CPU"),
        format!(
            "{} ({})",
            count(status.isolated.pages, "page"),
            bytes(status.isolated.memory_bytes)
        ),
    ];
    for (n, word) in [
        (status.pending, "pending"),
        (status.failed, "failed"),
        (status.refused, "refused"),
        (status.unlisted, "more not listed"),
    ] {
        if n > 0 {
            numbers.push(format!("{n} {word}"));
        }
    }
    let mut lines: Vec<_> = ledger.iter().filter(|line| list::is_current(line)).collect();
    lines.sort_by_key(|line| list::urgency(line.state));
    let all = lines.len() <= SHOWN && is_short(status);
    lines.truncate(SHOWN);
    let heading = styled(HEADING, "Out of service:");
    let pointer = if all { "" } else { "; all of them: bulkhead list" };
    let mut text = format!("{heading} {}{pointer}\n", numbers.join(", "));
    if !lines.is_empty() {
        text += &list::render(&lines, known, clock);
    }
    text
}

fn failing(status: &Status, known: &[FaultView], clock: &Clock) -> String {
    if status.open_faults == 0 {
        return String::new();
    }
    let mut text = format!(
        "\n{} {}; more on one: bulkhead explain ID\n",
        styled(HEADING, "Open faults:"),
        status.open_faults
    );
    let mut open: Vec<_> = known.iter().filter(|fault| faults::is_open(fault)).collect();
    open.sort_by_key(|fault| {
        let urgent = fault.state == FaultState::Escalated;
        std::cmp::Reverse((urgent, fault.severity, fault.last))
    });
    open.truncate(SHOWN);
    if !open.is_empty() {
        text += &faults::render(&open, clock);
    }
    text
}

fn source(source: &SourceView) -> (Style, [String; 5]) {
    let (style, state) = match source.state {
        SourceState::Ok => (PLAIN, "ok"),
        SourceState::Absent => (PLAIN, "absent"),
        SourceState::Failed => (BAD, "failed"),
        SourceState::Lossy => (BAD, "lossy"),
    };
    let errors = match source.state {
        SourceState::Absent => String::new(),
        _ => count(source.reports, "error"),
    };
    let lost = match source.state {
        SourceState::Failed => source.why.clone(),
        _ if source.lost > 0 => format!("{} lost", source.lost),
        _ => String::new(),
    };
    let name = format!("  {}", source.name);
    (style, [name, source.via.clone(), state.to_owned(), errors, lost])
}

/// What errors are remembered of, after a semicolon; nothing where there is
/// nothing to tell. What was given up is told with the limits.
fn evidence(figures: TrackedView) -> String {
    let mut text = match figures.tracked {
        0 => String::new(),
        n => format!("; evidence of {}", count(n, "component")),
    };
    if figures.doubtful > 0 {
        let line = format!("reports whose place and address disagree: {}", figures.doubtful);
        text += &format!("; {}", styled(WARN, &line));
    }
    text
}

fn limits(status: &Status) -> String {
    let amount = |name: &str, used: Used, show: fn(u64) -> String| {
        let text = format!("{name} {} of {}", show(used.used), show(used.max));
        if used.used >= used.max {
            styled(WARN, &format!("{text} (reached)"))
        } else {
            text
        }
    };
    let limits = &status.limits;
    let evicted = match status.evidence.evicted {
        0 => String::new(),
        n => format!(
            ", {}",
            styled(WARN, &format!("evidence of {} given up", count(n, "component")))
        ),
    };
    format!(
        "{} {}, {}, {}{evicted}\n",
        styled(HEADING, "Limits:"),
        amount("memory", limits.memory_bytes, bytes),
        amount("pages today", limits.pages_today, |n| n.to_string()),
        amount("CPUs", limits.cpus, |n| n.to_string()),
    )
}

fn daemon(status: &Status, clock: &Clock) -> String {
    let mode = match status.mode {
        Mode::Isolate => "isolate",
        Mode::Observe => "observe",
    };
    let saved = match status.state {
        Saved::Saved => "state saved",
        Saved::NotSaved => "STATE NOT SAVED",
    };
    let mut text = format!(
        "Daemon up {}, mode {mode}, {saved}; kernel {}; watchdog {}{}\n",
        clock.since(status.started),
        one_line(&status.kernel),
        watchdog(&status.watchdog, clock),
        evidence(status.evidence),
    );
    if status.last_boot.verdict != Verdict::Unknown {
        text += &format!("Last boot: {}\n", last_boot(&status.last_boot));
    }
    text
}

/// "armed (watchdog0, 60 s), SILENT: CPU 3"
fn watchdog(watchdog: &WatchdogView, clock: &Clock) -> String {
    let mut text = one_line(&watchdog.state);
    let device = watchdog.device.as_deref().map(one_line);
    let timeout = watchdog.timeout_s.map(|seconds| format!("{seconds} s"));
    let fed: Vec<String> = [device, timeout].into_iter().flatten().collect();
    if !fed.is_empty() {
        text += &format!(" ({})", fed.join(", "));
    }
    if let Some(since) = watchdog.silent_since {
        text = styled(BAD, &format!("{text} for {}", clock.since(since)));
    }
    if let Some(check) = &watchdog.failing {
        text += &styled(BAD, &format!(", FAILING: {}", one_line(check)));
    }
    if !watchdog.suspects.is_empty() {
        let cpus: Vec<String> = watchdog.suspects.iter().map(|s| s.cpu.to_string()).collect();
        let more = match watchdog.more_suspects {
            0 => String::new(),
            n => format!(" and {n} more"),
        };
        text += &styled(WARN, &format!(", CPU {}{more} does not answer", cpus.join(", ")));
    }
    text
}

fn last_boot(boot: &BootView) -> String {
    let mut text = boot.verdict.name().to_owned();
    if let Some(cpu) = boot.cpu {
        text += &format!(" of CPU {cpu}");
    }
    if let Some(sure) = boot.confidence {
        text += &format!(" ({:.0}% sure)", sure * 100.0);
    }
    if let Some(cause) = &boot.cause {
        text += &format!(": {}", one_line(cause));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::clock::tests::noon;
    use super::*;
    use crate::api::samples;

    fn plain(text: &str) -> String {
        anstream::adapter::strip_str(text).to_string()
    }

    #[test]
    fn the_worst_comes_first() {
        let (ledger, faults) = (samples::ledger(), samples::faults());
        insta::assert_snapshot!(plain(&render(&samples::ailing(), &ledger, &faults, &noon())));
    }

    #[test]
    fn a_healthy_host_is_said_to_be_so() {
        insta::assert_snapshot!(plain(&render(&samples::healthy(), &[], &[], &noon())));
    }

    #[test]
    fn it_fits_a_screen_of_24_lines_even_with_all_there_is() {
        let (mut ledger, mut faults) = (samples::ledger(), samples::faults());
        for _ in 0..5 {
            ledger.extend(samples::ledger());
            faults.extend(samples::faults());
        }
        let status = samples::ailing();
        let text = render(&status, &ledger, &faults, &noon());
        assert!(text.lines().count() <= 24, "{text}");
    }
}
