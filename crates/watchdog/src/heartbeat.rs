//! What the watchdog tells the daemon, and how.
//!
//! Both bind a datagram socket, mode 0600. The watchdog sends one JSON object
//! at least every [`PERIOD`], and at once when something changes; the daemon
//! answers each with a datagram from its one loop, whatever is in it. Each
//! looks at the other's credentials (SCM_CREDENTIALS, unix(7)): root or its own
//! user. A daemon that stops in order takes its socket away, so that it is
//! known to be gone and not silent.

use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;

/// Where the daemon listens.
pub const DAEMON: &str = "/run/bulkhead/heartbeat";

/// Where the watchdog sends from, and the answers go.
pub const WATCHDOG: &str = "/run/bulkhead/watchdog";

/// The longest time from one to the next.
pub const PERIOD: Duration = Duration::from_secs(5);

/// The longest message, in bytes.
pub const MOST: usize = 1024;

/// Suspects that are listed.
pub const SUSPECTS: usize = 8;

/// One message. A text is cut so that the whole fits into [`MOST`].
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// The watchdog's process.
    pub pid: u32,
    /// What it does.
    pub state: State,
    /// The device that it feeds, or that systemd does.
    pub device: Option<Cow<'static, str>>,
    /// What that device calls itself.
    pub identity: Option<Cow<'static, str>>,
    /// Unfed for so long it resets the host, in seconds; as the device says.
    pub timeout_s: Option<u32>,
    /// So long before that it raises the alarm, in seconds.
    pub pretimeout_s: Option<u32>,
    /// The configuration's `cpu_limit`, in seconds, rounded up.
    pub cpu_limit_s: u32,
    /// Since it was last fed, in ms; none if it never was.
    pub fed_ms: Option<u64>,
    /// CPUs that are probed now.
    pub cpus: u32,
    /// CPUs that are silent for half their limit or longer, the longest first;
    /// at most [`SUSPECTS`].
    pub suspects: Vec<Suspect>,
    /// So many more.
    pub more_suspects: u32,
    /// The check that fails, so that nothing is fed any more: "cpu",
    /// "starved", "heartbeat", "file", … as in the last words.
    pub failing: Option<Cow<'static, str>>,
    /// It stops now, in order.
    pub last: bool,
}

/// What the watchdog does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum State {
    /// It is not ready yet.
    #[default]
    Starting,
    /// It feeds the hardware.
    Armed,
    /// systemd feeds the hardware, and it hangs on systemd.
    Systemd,
    /// Another has the device, or there is none: it watches, and says what it
    /// sees.
    Watching,
}

impl State {
    /// The hardware is fed, by it or by systemd for it.
    pub fn is_armed(self) -> bool {
        matches!(self, State::Armed | State::Systemd)
    }

    /// As in the heartbeat, and in the daemon's `status`.
    pub fn name(self) -> &'static str {
        match self {
            State::Starting => "starting",
            State::Armed => "armed",
            State::Systemd => "systemd",
            State::Watching => "watching",
        }
    }
}

/// A CPU that is silent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// The kernel's number.
    pub cpu: u32,
    /// Which probe.
    pub probe: Probe,
    /// For how long.
    pub silent_ms: u64,
}

/// What is asked of a CPU.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Probe {
    /// Whether the highest real-time priority runs.
    Fifo,
    /// Whether an ordinary task does. Its silence is the time that it waited
    /// for, a quarter of the rest taken off.
    Other,
}

/// Reads one. None for what is no heartbeat.
pub fn parse(datagram: &[u8]) -> Option<Heartbeat> {
    if datagram.len() > MOST {
        return None;
    }
    let heartbeat: Heartbeat = serde_json::from_slice(datagram).ok()?;
    (heartbeat.suspects.len() <= SUSPECTS).then_some(heartbeat)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_too_long_or_lists_too_much_is_no_heartbeat() {
        let suspect = Suspect { cpu: 1, probe: Probe::Fifo, silent_ms: 1 };
        let with = |n| {
            let heartbeat = Heartbeat { suspects: vec![suspect; n], ..Heartbeat::default() };
            parse(&serde_json::to_vec(&heartbeat).unwrap_or_default()).is_some()
        };
        assert!(with(SUSPECTS) && !with(SUSPECTS + 1));
        let mut text = serde_json::to_vec(&Heartbeat::default()).unwrap_or_default();
        assert!(parse(&text).is_some());
        text.resize(MOST + 1, b' ');
        assert!(parse(&text).is_none());
    }

    #[test]
    fn a_state_is_called_as_in_the_heartbeat() {
        for state in [State::Starting, State::Armed, State::Systemd, State::Watching] {
            assert_eq!(serde_json::json!(state), state.name());
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
