//! The panic that a log ends in, with what was said before it.

use super::klog::Line;
use super::last_words::{BEFORE, LINES_BEFORE};
use bulkhead_core::analyze::verdict::{signs, Death};
use std::path::Path;

/// Signs that are kept of one end, the last ones.
const MOST_SIGNS: usize = 64;

/// Panics that are told of one boot.
const MOST: usize = 16;

/// How far behind a panic the CPU is named that it was on, in lines.
const LINES_BEHIND: usize = 16;

/// The first panic in `log`, which was found at `path`; those after it follow
/// from it. A log may go on: a crash kernel's does not, but pstore may hold more.
pub fn of(log: &[Line], path: &Path) -> Option<Death> {
    let by_kernel =
        |line: &Line| if line.by_program { None } else { signs::panic_reason(line.text) };
    let (end, reason) = log.iter().enumerate().find_map(|(at, l)| Some((at, by_kernel(l)?)))?;
    let (before, from) = log.split_at(end);
    let up = from.first().and_then(|line| line.at);
    let of_it = |line: &&Line| match (line.at, up) {
        (Some(at), Some(end)) => at.saturating_add(BEFORE) >= end,
        _ => true,
    };
    let before = before.iter().skip(before.len().saturating_sub(LINES_BEFORE)).filter(of_it);
    let mut found: Vec<_> =
        before.filter_map(|line| signs::sign(line.text, line.by_program)).collect();
    found.drain(..found.len().saturating_sub(MOST_SIGNS));
    let behind = from.iter().take(LINES_BEHIND).filter(|line| !line.by_program);
    Some(Death {
        place: path.display().to_string(),
        up,
        reason,
        on: behind.filter_map(|line| signs::panicked_on(line.text)).next(),
        signs: found,
    })
}

/// One of each: the log of one end may lie in several places.
pub fn distinct(deaths: &mut Vec<Death>) {
    let mut kept: Vec<Death> = Vec::new();
    for death in deaths.drain(..) {
        let known = |other: &Death| (other.up, &other.reason) == (death.up, &death.reason);
        if kept.len() < MOST && !kept.iter().any(known) {
            kept.push(death);
        }
    }
    *deaths = kept;
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::klog;
    use super::*;
    use std::time::Duration;

    /// As a 6.12 kernel logs it that the watchdog crashed.
    const CRASHED: &str = "\
<6>[   11.000000] eth0: link up
<10>[   42.100000] bulkhead-watchdog: stall: cpu 3: not scheduled for 20 s
<6>[   42.100100] sysrq: Trigger a crash
<0>[   42.100200] Kernel panic - not syncing: sysrq triggered crash
<4>[   42.100300] CPU: 0 UID: 0 PID: 77 Comm: bulkhead-watchd Not tainted 6.12.48 #1
<0>[   42.100400] Kernel panic - not syncing: something that follows from it
";

    fn death(log: &str) -> Option<Death> {
        of(&klog::all(log).collect::<Vec<_>>(), Path::new("/var/crash/1/dmesg.1"))
    }

    #[test]
    fn the_first_panic_is_told_with_what_came_before() {
        let found = death(CRASHED).unwrap();
        assert_eq!(found.reason, "sysrq triggered crash");
        assert_eq!((found.up, found.on), (Some(Duration::from_micros(42_100_200)), Some(0)));
        let cpus: Vec<_> = found.signs.iter().map(|sign| sign.cpu).collect();
        assert_eq!(cpus, [Some(3), None], "{found:?}");
    }

    #[test]
    fn signs_long_before_are_of_something_else() {
        let early = CRASHED.replace("[   42.100000]", "[   11.900000]");
        assert_eq!(death(&early).unwrap().signs.len(), 1);
    }

    #[test]
    fn a_program_cannot_fake_a_panic_where_the_log_tells() {
        assert_eq!(death(&CRASHED.replace("<0>", "<8>")), None);
        assert_eq!(death("<6>[    1.000000] eth0: link up\n"), None);
    }

    #[test]
    fn one_end_in_two_places_is_one() {
        let mut deaths = vec![death(CRASHED).unwrap(), death(CRASHED).unwrap()];
        deaths.push(death(&CRASHED.replace("42.1002", "43.1002")).unwrap());
        distinct(&mut deaths);
        assert_eq!(deaths.len(), 2);
    }
}
