//! What the watchdog notes about a check, in a form that a real-time thread
//! can hand on without formatting or allocating anything.

use crate::last_words::Action;
use std::fmt;

/// What is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Check {
    /// The highest real-time priority runs on a CPU.
    Cpu = 0,
    /// Ordinary tasks run on a CPU.
    Starved = 1,
    /// The daemon answers.
    Heartbeat = 2,
    /// A file is touched.
    File = 3,
    /// A unit is active.
    Unit = 4,
    /// A command succeeds.
    Command = 5,
    /// The watchdog's own loop runs.
    Itself = 6,
    /// The device takes what it is fed; [`Note::id`] is the errno.
    Device = 7,
    /// A shutdown ends.
    Shutdown = 8,
}

/// Each check, and what the last words call it.
const CHECKS: [(Check, &str); 9] = [
    (Check::Cpu, "cpu"),
    (Check::Starved, "starved"),
    (Check::Heartbeat, "heartbeat"),
    (Check::File, "file"),
    (Check::Unit, "unit"),
    (Check::Command, "command"),
    (Check::Itself, "self"),
    (Check::Device, "device"),
    (Check::Shutdown, "shutdown"),
];

impl Check {
    /// As in the last words.
    pub fn name(self) -> &'static str {
        CHECKS.into_iter().find(|(check, _)| *check == self).map_or("", |(_, name)| name)
    }

    /// Whether [`Note::id`] is a CPU.
    pub fn is_of_a_cpu(self) -> bool {
        matches!(self, Check::Cpu | Check::Starved)
    }

    fn from_code(code: u8) -> Option<Check> {
        CHECKS.into_iter().map(|(check, _)| check).find(|check| *check as u8 == code)
    }
}

/// What became of what is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Change {
    /// It is silent for half of what it is allowed.
    Suspect = 0,
    /// For all of it.
    Failed = 1,
    /// It is well again.
    Well = 2,
    /// It is not checked any more: the CPU went off line, or to a partition of
    /// somebody's.
    Left = 3,
}

/// One change of one check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Note {
    /// Which check.
    pub check: Check,
    /// The CPU's number, or the place in the list of checks that the
    /// configuration comes to; else 0.
    pub id: u32,
    /// What became of it.
    pub change: Change,
    /// What is done about it.
    pub action: Action,
    /// For how long it is silent now, or was.
    pub silent_ms: u64,
    /// What it is allowed.
    pub limit_ms: u64,
}

/// Bytes of a note on its way to the helper; a pipe takes so few whole or not
/// at all (pipe(7), PIPE_BUF).
pub const BYTES: usize = 24;

impl Note {
    /// For the pipe.
    pub fn to_bytes(&self) -> [u8; BYTES] {
        let mut bytes = [0; BYTES];
        let (head, rest) = bytes.split_at_mut(8);
        let (silent, limit) = rest.split_at_mut(8);
        let [a, b, c, d] = self.id.to_le_bytes();
        let (check, change, action) = (self.check as u8, self.change as u8, self.action as u8);
        head.copy_from_slice(&[check, change, action, 0, a, b, c, d]);
        silent.copy_from_slice(&self.silent_ms.to_le_bytes());
        limit.copy_from_slice(&self.limit_ms.to_le_bytes());
        bytes
    }

    /// Out of the pipe. None for what no watchdog writes.
    pub fn from_bytes(bytes: &[u8; BYTES]) -> Option<Note> {
        let (head, rest) = bytes.split_at(8);
        let (silent, limit) = rest.split_at(8);
        let &[check, change, action, _, a, b, c, d] = head else { return None };
        let changes = [Change::Suspect, Change::Failed, Change::Well, Change::Left];
        let actions = [Action::Event, Action::Crash, Action::StopFeeding, Action::None];
        Some(Note {
            check: Check::from_code(check)?,
            id: u32::from_le_bytes([a, b, c, d]),
            change: changes.into_iter().find(|known| *known as u8 == change)?,
            action: actions.into_iter().find(|known| *known as u8 == action)?,
            silent_ms: u64::from_le_bytes(silent.try_into().ok()?),
            limit_ms: u64::from_le_bytes(limit.try_into().ok()?),
        })
    }

    /// The sentence about it; `name` is that of the file, unit or command.
    pub fn sentence<'a>(&'a self, name: &'a str) -> Sentence<'a> {
        Sentence { note: self, name }
    }
}

/// See [`Note::sentence`].
pub struct Sentence<'a> {
    note: &'a Note,
    name: &'a str,
}

impl fmt::Display for Sentence<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (note, name) = (self.note, self.name);
        if note.check.is_of_a_cpu() {
            write!(f, "cpu {}: ", note.id)?;
        }
        let time = Seconds(note.silent_ms);
        match (note.change, note.check) {
            (Change::Left, _) => f.write_str("not probed any more"),
            (Change::Well, Check::Cpu) => write!(f, "runs again, after {time}"),
            (Change::Well, Check::Starved) => f.write_str("ordinary tasks run again"),
            (Change::Well, Check::Heartbeat) => f.write_str("bulkheadd answers again"),
            (Change::Well, Check::Device) => f.write_str("the device can be fed again"),
            (Change::Well, Check::Itself) => write!(f, "the watchdog runs again, after {time}"),
            (Change::Well, Check::Shutdown) => f.write_str("the shutdown was called off"),
            (Change::Well, _) => write!(f, "{name} is well again"),
            (_, Check::Cpu) => write!(f, "no task of the highest priority ran for {time}"),
            (_, Check::Starved) => {
                write!(f, "ordinary tasks waited for {time}, and hardly ran")
            }
            (_, Check::Heartbeat) => write!(f, "bulkheadd has not answered for {time}"),
            (_, Check::File) => write!(f, "{name} was last found touched in time {time} ago"),
            (_, Check::Unit) => write!(f, "{name} was last found active {time} ago"),
            (_, Check::Command) => write!(f, "{name} last succeeded {time} ago"),
            (_, Check::Device) => write!(f, "the device cannot be fed (errno {})", note.id),
            (_, Check::Shutdown) => write!(f, "the shutdown has taken {time}"),
            (_, Check::Itself) => write!(f, "the watchdog itself did not run for {time}"),
        }
    }
}

/// Milliseconds, as "20.4 s".
struct Seconds(u64);

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{} s", self.0 / 1000, self.0 % 1000 / 100)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn note(check: Check, change: Change) -> Note {
        let action = Action::Event;
        Note { check, id: 3, change, action, silent_ms: 20_450, limit_ms: 20_000 }
    }

    #[test]
    fn a_sentence_names_the_cpu_and_the_time() {
        assert_eq!(
            note(Check::Cpu, Change::Failed).sentence("").to_string(),
            "cpu 3: no task of the highest priority ran for 20.4 s"
        );
        assert_eq!(
            note(Check::Unit, Change::Failed).sentence("a.service").to_string(),
            "a.service was last found active 20.4 s ago"
        );
    }

    proptest! {
        #[test]
        fn what_goes_through_the_pipe_comes_out_as_it_was(
            check in 0u8..9, change in 0u8..4, action in 0u8..4, rest: [u8; 20],
        ) {
            let mut bytes = [0; BYTES];
            bytes[..3].copy_from_slice(&[check, change, action]);
            bytes[4..].copy_from_slice(&rest);
            let note = Note::from_bytes(&bytes).unwrap();
            prop_assert_eq!(note.to_bytes(), bytes);
            prop_assert!(!note.sentence("x").to_string().is_empty());
            prop_assert!(!note.check.name().is_empty());
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes: [u8; BYTES]) {
            let _ = Note::from_bytes(&bytes);
        }
    }
}
