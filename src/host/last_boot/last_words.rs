//! What a kernel said before it panicked for an error of the hardware.

use super::klog::Line;
use super::{firmware, machine_check};
use bulkhead_core::analyze::verdict::signs;
use bulkhead_core::model::{LoggedError, PhysAddr, Record};
use std::time::Duration;

/// How far before the panic its cause is told, at most. A machine check that is
/// not answered by all CPUs waits a second for them (monarch_timeout,
/// arch/x86/kernel/cpu/mce/core.c), an odd one a little longer.
pub(super) const BEFORE: Duration = Duration::from_secs(30);

/// The same in lines, for a log without times.
pub(super) const LINES_BEFORE: usize = 256;

/// How panics for an error of the hardware begin, or what they say: core.c
/// ("Fatal local machine check", "Timeout: Not all CPUs entered broadcast
/// exception handler", …) and drivers/acpi/apei/ghes.c, __ghes_panic().
const REASONS: [&str; 5] = [
    "machine check",
    "not all cpus entered broadcast",
    "fatal hardware error",
    "uncorrected hardware memory error",
    "mca architectural violation",
];

/// The end of a boot, by the hardware's fault.
#[derive(Debug, PartialEq)]
pub struct LastWords {
    /// When it was, since the kernel booted, if its log says.
    pub uptime: Option<Duration>,
    /// The records of it.
    pub records: Vec<Record>,
    /// Records that are cut off.
    pub cut: usize,
}

/// The first such panic in a log; those after it follow from it.
pub fn of(log: &[Line]) -> Option<LastWords> {
    let end = log.iter().position(|line| is_by_hardware(line.text))?;
    let (before, from) = log.split_at(end);
    let uptime = from.first().and_then(|line| line.at);
    let start = before.len().saturating_sub(LINES_BEFORE);
    let of_it = |line: &&Line| match (line.at, uptime) {
        (Some(at), Some(end)) => at.saturating_add(BEFORE) >= end,
        _ => true,
    };
    let texts: Vec<&str> = before.iter().skip(start).filter(of_it).map(|line| line.text).collect();
    let (checks, cut) = machine_check::uncorrected(texts.iter().copied());
    let mut records: Vec<Record> = checks.into_iter().map(Record::Mce).collect();
    records.extend(firmware::uncorrected(texts.iter().copied()).into_iter().map(Record::Extlog));
    if records.is_empty() {
        records.extend(texts.iter().filter_map(|text| stated(text)).next_back());
    }
    Some(LastWords { uptime, records, cut })
}

fn is_by_hardware(text: &str) -> bool {
    text.strip_prefix(signs::PANIC).is_some_and(|reason| {
        let reason = reason.to_ascii_lowercase();
        REASONS.iter().any(|known| reason.contains(known))
    })
}

/// An address that the kernel itself took for that of the error, told where the
/// record is not (core.c, kill_me_maybe()).
fn stated(text: &str) -> Option<Record> {
    let said = "Uncorrected hardware memory error in user-access at ";
    let addr = text.strip_prefix("mce: ").unwrap_or(text).strip_prefix(said)?;
    let addr = PhysAddr(u64::from_str_radix(addr.trim(), 16).ok()?);
    Some(Record::Logged(LoggedError {
        addr: Some(addr),
        uncorrected: true,
        ..LoggedError::default()
    }))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::klog;
    use super::*;

    /// As a 6.12 kernel logs the end.
    pub const DEATH: &str = "\
<6>[   41.000000] eth0: link up
<0>[   42.100000] mce: [Hardware Error]: CPU 1: Machine Check Exception: 5 Bank 9: be00000000000090
<0>[   42.100001] mce: [Hardware Error]: RIP !INEXACT! 10:<ffffffff81a2b3c4> {mwait_idle+0x5a/0x80}
<0>[   42.100002] mce: [Hardware Error]: TSC 1f2e3d ADDR 12345000 MISC 8c 
<0>[   42.100003] mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1790000000 SOCKET 0 APIC 1 microcode 1
<0>[   42.100004] mce: [Hardware Error]: Machine check: Processor context corrupt
<0>[   42.100005] Kernel panic - not syncing: Fatal local machine check
<4>[   42.100006] CPU: 1 PID: 0 Comm: swapper/1
";

    fn last_words(text: &str) -> Option<LastWords> {
        of(&klog::lines(text).collect::<Vec<_>>())
    }

    #[test]
    fn the_record_before_the_panic_is_its_cause() {
        let found = last_words(DEATH).unwrap();
        assert_eq!(found.uptime, Some(Duration::from_micros(42_100_005)));
        let [Record::Mce(mce)] = &found.records[..] else { panic!("{found:?}") };
        assert_eq!((mce.addr, mce.bank, found.cut), (0x1234_5000, 9, 0));
    }

    #[test]
    fn another_panic_has_another_cause() {
        let oops = DEATH.replace("Fatal local machine check", "Attempted to kill init!");
        assert_eq!(last_words(&oops), None);
        assert_eq!(last_words(""), None);
    }

    #[test]
    fn what_a_program_wrote_ends_nothing() {
        let faked = DEATH.replace("<0>", "<8>");
        assert_eq!(last_words(&faked), None);
    }

    #[test]
    fn an_error_long_before_is_not_the_cause() {
        let early = DEATH.replace("[   42.10000", "[   12.10000");
        let late = early.replace("[   12.100005] Kernel", "[   42.100005] Kernel");
        assert_eq!(last_words(&late).unwrap().records, []);
    }

    #[test]
    fn firmwares_fatal_error_is_one() {
        let section: String = super::super::firmware::tests::FATAL
            .lines()
            .map(|line| format!("<2>[   42.000000] {{1}}{line}\n"))
            .collect();
        let text = format!(
            "{section}<0>[   42.000001] Kernel panic - not syncing: Fatal hardware error!\n"
        );
        let found = last_words(&text).unwrap();
        assert!(
            matches!(&found.records[..], [Record::Extlog(e)] if e.pa == 0x1234_5000),
            "{found:?}"
        );
    }

    #[test]
    fn without_a_record_the_address_that_the_kernel_states_serves() {
        let text = "\
[    5.000000] mce: Uncorrected hardware memory error in user-access at 54321040
[    5.100000] Kernel panic - not syncing: Fatal machine check
";
        let found = last_words(text).unwrap();
        let [Record::Logged(error)] = &found.records[..] else { panic!("{found:?}") };
        assert_eq!((error.addr, error.uncorrected), (Some(PhysAddr(0x5432_1040)), true));
    }
}
