//! Why the processor was reset before this boot, as AMD's say it
//! (arch/x86/kernel/cpu/amd.c, s5_reset_reason_txt, since Linux 6.16).

/// The line's front. The value in brackets came later than the text.
const FRONT: &str = "Previous system reset reason";

/// The longest reason of today has 65 characters.
const LONGEST: usize = 120;

/// What a reason comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ResetKind {
    /// A watchdog.
    Watchdog,
    /// The hardware gave up: heat, a pin, an error that no software saw.
    Hardware,
    /// Software asked for it: a reboot, or a panic's.
    Software,
    /// It says nothing of how the boot ended: a power button was held, or the
    /// power went by whatever way.
    Neutral,
}

/// A reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reset {
    /// What it comes to.
    pub kind: ResetKind,
    /// In the kernel's words.
    pub text: String,
}

/// Words of the reasons, and what they come to; the rest is neutral, as
/// "ACPI power state transition occurred" is: a frozen host that somebody
/// switched off says so as well as one that was shut down.
const KINDS: [(&str, ResetKind); 13] = [
    ("hardware watchdog timer expired", ResetKind::Watchdog),
    ("software wrote", ResetKind::Software),
    ("software issued", ResetKind::Software),
    ("keyboard reset pin", ResetKind::Software),
    ("thermal", ResetKind::Hardware),
    ("shutdown pin", ResetKind::Hardware),
    ("system reset pin", ResetKind::Hardware),
    ("internal cpu shutdown", ResetKind::Hardware),
    ("failed boot timer", ResetKind::Hardware),
    ("sync flood", ResetKind::Hardware),
    ("warm reset handshake", ResetKind::Hardware),
    ("parity error", ResetKind::Hardware),
    ("remote asf reset", ResetKind::Hardware),
];

/// The reason in a line of the boot log, such as
/// `x86/amd: Previous system reset reason [0x02000800]: hardware watchdog timer expired`.
pub fn reason(line: &str) -> Option<Reset> {
    let (before, rest) = line.split_once(FRONT)?;
    if !matches!(before, "" | "x86/amd: ") {
        return None;
    }
    let text = rest.split_once(": ")?.1.trim();
    let text: String = text.chars().take(LONGEST).collect();
    let lower = text.to_ascii_lowercase();
    let known = KINDS.into_iter().find(|(words, _)| lower.contains(words));
    Some(Reset { kind: known.map_or(ResetKind::Neutral, |(_, kind)| kind), text })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn each_reason_comes_to_its_kind() {
        for (text, kind) in [
            ("[0x02000800]: hardware watchdog timer expired", ResetKind::Watchdog),
            (": hardware watchdog timer expired", ResetKind::Watchdog),
            (
                "[0x00080800]: software wrote 0x6 to reset control register 0xCF9",
                ResetKind::Software,
            ),
            (
                "[0x08000800]: an uncorrected error caused a data fabric sync flood event",
                ResetKind::Hardware,
            ),
            ("[0x00000001]: thermal pin BP_THERMTRIP_L was tripped", ResetKind::Hardware),
            ("[0x00200800]: ACPI power state transition occurred", ResetKind::Neutral),
            ("[0x00000002]: power button was pressed for 4 seconds", ResetKind::Neutral),
        ] {
            let found = reason(&format!("x86/amd: Previous system reset reason {text}")).unwrap();
            assert_eq!(found.kind, kind, "{text}");
        }
    }

    #[test]
    fn a_line_that_only_talks_of_it_is_none() {
        assert_eq!(reason("foo: Previous system reset reason [0x1]: thermal"), None);
        assert_eq!(reason("x86/amd: Previous system reset reason"), None);
    }
}
