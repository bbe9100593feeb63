//! Lines of a kernel's log that tell why it is about to panic, and what its
//! panic comes to.

use super::evidence::{Death, Sign, SignKind};

/// What goes before the reason of a panic (kernel/panic.c, panic()).
pub const PANIC: &str = "Kernel panic - not syncing: ";

/// What `bulkhead-watchdog` says before it crashes the host.
const STALL: &str = "bulkhead-watchdog: stall: ";

/// Characters of a line that are kept.
const LONGEST: usize = 200;

/// What lockup detectors say, and the words before the number of the CPU:
/// kernel/watchdog.c (soft and hard), kernel/rcu/tree_stall.h, kernel/hung_task.c
/// and kernel/workqueue.c. A hung task hangs on no CPU.
const LOCKUPS: [(&str, Option<&str>); 6] = [
    ("BUG: soft lockup - CPU#", Some("CPU#")),
    ("detected hard LOCKUP on cpu ", Some("on cpu ")),
    ("self-detected stall on CPU", None),
    ("detected stalls on CPUs/tasks", None),
    ("blocked for more than ", None),
    ("BUG: workqueue lockup", None),
];

/// An NMI without a source, which is how a watchdog's comes
/// (arch/x86/kernel/nmi.c, unknown_nmi_error()).
const UNKNOWN_NMI: &str = "NMI received for unknown reason ";

/// NMIs of the hardware's (the same file, pci_serr_error() and
/// io_check_error()).
const HARDWARE_NMI: [&str; 2] = ["NMI: PCI system error (SERR)", "NMI: IOCK error"];

/// How a bug's report begins: include/asm-generic/bug.h,
/// arch/x86/kernel/traps.c, arch/x86/mm/fault.c, arch/arm64/mm/fault.c.
const BUGS: [&str; 6] = [
    "BUG: ",
    "kernel BUG at ",
    "Oops: ",
    "general protection fault",
    "Internal error: ",
    "Unable to handle kernel ",
];

/// Reasons of panics that say that the host hung:
/// drivers/watchdog/pretimeout_panic.c, softdog.c, hpwdt.c,
/// drivers/char/ipmi/ipmi_watchdog.c, kernel/watchdog.c, kernel/hung_task.c,
/// kernel/rcu/tree_stall.h.
const STALLS: [&str; 8] = [
    "watchdog pretimeout event",
    "software watchdog timer expired",
    // From an NMI without the word "Watchdog" before it.
    "pre-timeout",
    "an nmi occurred",
    "softlockup: ",
    "hard lockup",
    "hung_task: ",
    "rcu stall",
];

/// Of these, the ones whose timer ran on the CPU that fed last, which names a
/// CPU where nothing better does.
const ON_THE_FEEDERS_CPU: &str = "watchdog pretimeout event";

/// What sysrq's `c` panics for (drivers/tty/sysrq.c).
const SYSRQ: &str = "sysrq triggered crash";

/// An NMI that was made a panic (arch/x86/kernel/nmi.c).
const NMI: &str = "nmi: not continuing";

/// What a line before a panic may be. Of lines that a program wrote, which
/// anybody's may have, only those of `bulkhead-watchdog` are heard.
pub fn sign(line: &str, by_program: bool) -> Option<Sign> {
    let cut = || line.chars().take(LONGEST).collect();
    if let Some(said) = line.strip_prefix(STALL) {
        let cpu = said.strip_prefix("cpu ").and_then(number);
        return Some(Sign { kind: SignKind::Watchdog, cpu, text: cut() });
    }
    if by_program {
        return None;
    }
    let lockup = LOCKUPS.into_iter().find(|(words, _)| line.contains(words));
    let (kind, cpu) = if let Some((_, before)) = lockup {
        let cpu = before.and_then(|before| number(line.split_once(before)?.1));
        (SignKind::Lockup, cpu)
    } else if line.contains(UNKNOWN_NMI) {
        (SignKind::UnknownNmi, None)
    } else if line.contains("[Hardware Error]:") || HARDWARE_NMI.iter().any(|s| line.contains(s)) {
        (SignKind::Hardware, None)
    } else if line.starts_with("sysrq: ") && line.ends_with("Trigger a crash") {
        (SignKind::Sysrq, None)
    } else if BUGS.iter().any(|front| line.starts_with(front)) {
        (SignKind::Bug, None)
    } else {
        return None;
    };
    Some(Sign { kind, cpu, text: cut() })
}

/// The CPU in the line that follows a panic's, `CPU: 3 PID: 1 Comm: init`
/// (lib/dump_stack.c, dump_stack_print_info(); `UID:` came between with 6.12).
pub fn panicked_on(line: &str) -> Option<u32> {
    let rest = line.strip_prefix("CPU: ")?;
    rest.contains(" PID: ").then(|| number(rest))?
}

/// The reason in the line of a panic.
pub fn panic_reason(line: &str) -> Option<String> {
    Some(line.strip_prefix(PANIC)?.trim().chars().take(LONGEST).collect())
}

/// A panic that says that the host hung.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Hang<'d> {
    /// The CPU at fault, if anything names it.
    pub cpu: Option<u32>,
    /// The line that says so best, if it is not the panic's own.
    pub by: Option<&'d Sign>,
    /// How sure that is, in 100.
    pub percent: u8,
}

/// What the panic of `death` says of a hang; `None` of one for another reason.
pub(super) fn hang(death: &Death) -> Option<Hang<'_>> {
    let reason = death.reason.to_ascii_lowercase();
    let last = |kind| death.signs.iter().rev().find(|sign| sign.kind == kind);
    let (watchdog, lockup) = (last(SignKind::Watchdog), last(SignKind::Lockup));
    if reason.contains(SYSRQ) {
        return watchdog.map(|by| Hang { cpu: by.cpu, by: Some(by), percent: 98 });
    }
    let by = watchdog.or(lockup);
    if STALLS.iter().any(|words| reason.contains(words)) {
        let on = death.on.filter(|_| reason.contains(ON_THE_FEEDERS_CPU));
        // A task that hangs is on no CPU, whatever stalled before it.
        let cpu = by.and_then(|sign| sign.cpu).filter(|_| !reason.contains("hung_task"));
        return Some(Hang { cpu: cpu.or(on), by, percent: 98 });
    }
    if reason.contains(NMI) {
        if last(SignKind::Hardware).is_some() {
            return None;
        }
        let cpu = by.and_then(|sign| sign.cpu);
        let percent = if by.is_some() { 95 } else { 75 };
        let by = by.or(last(SignKind::UnknownNmi));
        return Some(Hang { cpu, by, percent });
    }
    // The crash was under way when something else broke.
    watchdog.map(|by| Hang { cpu: by.cpu, by: Some(by), percent: 90 })
}

/// The number that a text begins with.
fn number(text: &str) -> Option<u32> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    text.get(..end)?.parse().ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn death(reason: &str, lines: &[&str]) -> Death {
        Death {
            reason: reason.to_owned(),
            on: Some(7),
            signs: lines.iter().filter_map(|line| sign(line, false)).collect(),
            ..Death::default()
        }
    }

    #[test]
    fn lockup_detectors_name_their_cpu() {
        for (line, kind, cpu) in [
            (
                "watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [spin:812]",
                SignKind::Lockup,
                Some(3),
            ),
            ("watchdog: CPU0: Watchdog detected hard LOCKUP on cpu 12", SignKind::Lockup, Some(12)),
            ("rcu: INFO: rcu_preempt self-detected stall on CPU", SignKind::Lockup, None),
            ("INFO: task dd:77 blocked for more than 120 seconds.", SignKind::Lockup, None),
            (
                "bulkhead-watchdog: stall: cpu 3: not scheduled for 20 s",
                SignKind::Watchdog,
                Some(3),
            ),
            ("bulkhead-watchdog: stall: bulkheadd is silent", SignKind::Watchdog, None),
            ("Uhhuh. NMI received for unknown reason 3d on CPU 0.", SignKind::UnknownNmi, None),
            ("mce: [Hardware Error]: TSC 0", SignKind::Hardware, None),
            ("sysrq: Trigger a crash", SignKind::Sysrq, None),
            (
                "BUG: kernel NULL pointer dereference, address: 0000000000000000",
                SignKind::Bug,
                None,
            ),
        ] {
            let found = sign(line, false).unwrap();
            assert_eq!((found.kind, found.cpu), (kind, cpu), "{line}");
        }
        assert_eq!(sign("eth0: link up", false), None);
        assert_eq!(sign("bulkhead-watchdog: cpu 3: starved", false), None, "an event");
    }

    #[test]
    fn of_programs_only_the_watchdog_is_heard() {
        assert!(sign("bulkhead-watchdog: stall: cpu 3: x", true).is_some());
        assert_eq!(sign("watchdog: BUG: soft lockup - CPU#3 stuck for 26s!", true), None);
    }

    #[test]
    fn panics_of_watchdogs_and_lockup_detectors_are_hangs() {
        for reason in [
            "watchdog pretimeout event",
            "Watchdog pre-timeout",
            "Software Watchdog Timer expired",
            "softlockup: hung tasks",
            "Hard LOCKUP",
            "hung_task: blocked tasks",
            "RCU Stall",
            "NMI: Not continuing",
            "34: An NMI occurred. Depending on your system the reason",
        ] {
            assert!(hang(&death(reason, &[])).is_some(), "{reason}");
        }
        for reason in ["sysrq triggered crash", "Fatal exception", "Attempted to kill init!"] {
            assert_eq!(hang(&death(reason, &["sysrq: Trigger a crash"])), None, "{reason}");
        }
    }

    #[test]
    fn a_crash_by_the_watchdogs_own_hand_is_a_hang() {
        let lines = ["bulkhead-watchdog: stall: cpu 3: not scheduled", "sysrq: Trigger a crash"];
        assert_eq!(hang(&death("sysrq triggered crash", &lines)).unwrap().cpu, Some(3));
    }

    #[test]
    fn an_nmi_of_the_hardwares_is_none() {
        let lines = ["NMI: PCI system error (SERR) for reason b1 on CPU 0."];
        assert_eq!(hang(&death("NMI: Not continuing", &lines)), None);
    }

    #[test]
    fn the_cpu_is_that_of_the_detector_then_that_of_the_timer() {
        let soft = ["watchdog: BUG: soft lockup - CPU#3 stuck for 26s! [x:1]"];
        assert_eq!(hang(&death("softlockup: hung tasks", &soft)).unwrap().cpu, Some(3));
        assert_eq!(hang(&death("watchdog pretimeout event", &[])).unwrap().cpu, Some(7));
        assert_eq!(hang(&death("Watchdog pre-timeout", &[])).unwrap().cpu, None);
        assert_eq!(hang(&death("hung_task: blocked tasks", &soft)).unwrap().cpu, None);
    }

    #[test]
    fn the_cpu_that_panicked_is_read_from_the_line_after() {
        assert_eq!(panicked_on("CPU: 3 PID: 812 Comm: spin Not tainted 6.1"), Some(3));
        assert_eq!(panicked_on("CPU: 3 UID: 0 PID: 812 Comm: spin"), Some(3));
        assert_eq!(panicked_on("CPU: cache"), None);
    }
}
