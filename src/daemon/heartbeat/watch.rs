//! What the heartbeats come to: pure, over CLOCK_MONOTONIC in ns, which stands
//! still while the host is suspended, as the watchdog does.

use bulkhead_core::analyze::verdict::{Moment, Silence};
use bulkhead_core::model::time::nanos;
use bulkhead_watchdog::heartbeat::{Heartbeat, Probe, State, Suspect, PERIOD};
use std::collections::BTreeMap;
use std::time::Duration;

/// A CPU is told of once in so long, however often it comes and goes.
const TOLD_AGAIN: Duration = Duration::from_secs(600);

/// CPUs that are remembered to have been told of.
const MOST_TOLD: usize = 1024;

/// The watchdog as it was last heard.
#[derive(Debug, Default)]
pub(super) struct Watch {
    last: Option<(Moment, Heartbeat)>,
    is_silent: bool,
    /// When a CPU's silence was told of, by probe: ordinary tasks' or not.
    told: BTreeMap<(u32, bool), u64>,
}

/// What is known of it now.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'w> {
    /// In words: see [`News::state`].
    pub state: &'static str,
    /// What it said last; `None` when it does not run.
    pub beat: Option<&'w Heartbeat>,
    /// How long ago that was.
    pub ago: Duration,
    /// Since when it has been silent, longer than it should be.
    pub silent_since: Option<Moment>,
}

/// Something new about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum News {
    /// It is there, or does something else than before, or is heard again after
    /// so long.
    Heard { state: State, device: String, after: Option<Duration> },
    /// A CPU does not run what it should.
    Suspect { state: State, suspect: Suspect },
    /// A check fails, so that nothing is fed any more; or it is well again.
    Failing { state: State, check: Option<String> },
    /// It is not heard any more. With what is to be remembered, where it was
    /// armed.
    Silent { ago: Duration, silence: Option<Silence> },
    /// It stopped in order.
    Stopped,
}

impl Watch {
    /// It said `beat`.
    pub fn heard(&mut self, beat: Heartbeat, now: Moment) -> Vec<News> {
        let before = self.last.take();
        let was_silent = std::mem::take(&mut self.is_silent);
        if beat.last {
            self.told.clear();
            // Nobody else is to be told what was never there.
            return before.map(|_| News::Stopped).into_iter().collect();
        }
        let mut news = Vec::new();
        let same = before.as_ref().is_some_and(|(_, old)| {
            (old.state, &old.device, old.pid) == (beat.state, &beat.device, beat.pid)
        });
        if was_silent || !same {
            let after = before.as_ref().filter(|_| was_silent).map(|(at, _)| since(*at, now));
            let device = named(&beat);
            news.push(News::Heard { state: beat.state, device, after });
        }
        let failed = before.and_then(|(_, old)| old.failing);
        if failed != beat.failing {
            let check = beat.failing.as_deref().map(str::to_owned);
            news.push(News::Failing { state: beat.state, check });
        }
        let again = |told: &u64| Duration::from_nanos(now.up.saturating_sub(*told)) >= TOLD_AGAIN;
        for suspect in &beat.suspects {
            let key = (suspect.cpu, suspect.probe == Probe::Other);
            if self.told.get(&key).is_none_or(again) {
                if self.told.len() >= MOST_TOLD {
                    self.told.retain(|_, told| !again(told));
                }
                if self.told.len() < MOST_TOLD {
                    self.told.insert(key, now.up);
                    news.push(News::Suspect { state: beat.state, suspect: *suspect });
                }
            }
        }
        self.last = Some((now, beat));
        news
    }

    /// When [`Watch::due`] has something to say.
    pub fn deadline(&self) -> Option<u64> {
        let (at, beat) = self.last.as_ref().filter(|_| !self.is_silent)?;
        Some(at.up.saturating_add(nanos(patience(beat))))
    }

    /// It may have been silent for too long.
    pub fn due(&mut self, now: Moment) -> Option<News> {
        self.deadline().filter(|at| *at <= now.up)?;
        self.is_silent = true;
        let (since_when, beat) = self.last.as_ref()?;
        let silence = beat.state.is_armed().then(|| Silence {
            since: *since_when,
            timeout_s: beat.timeout_s.unwrap_or(0),
            suspects: beat.suspects.iter().map(|suspect| suspect.cpu).collect(),
        });
        Some(News::Silent { ago: since(*since_when, now), silence })
    }

    /// What is known at `now` on CLOCK_MONOTONIC.
    pub fn seen(&self, now: u64) -> Seen<'_> {
        let (at, beat) = self.last.as_ref().map_or((None, None), |(at, b)| (Some(*at), Some(b)));
        Seen {
            state: match beat {
                None => "not running",
                Some(_) if self.is_silent => "silent",
                Some(beat) => beat.state.name(),
            },
            beat,
            ago: at.map_or(Duration::ZERO, |at| Duration::from_nanos(now.saturating_sub(at.up))),
            silent_since: at.filter(|_| self.is_silent),
        }
    }
}

impl News {
    /// The watchdog's state by it.
    pub fn state(&self) -> &'static str {
        match self {
            News::Heard { state, .. }
            | News::Suspect { state, .. }
            | News::Failing { state, .. } => state.name(),
            News::Silent { .. } => "silent",
            News::Stopped => "not running",
        }
    }

    /// The CPU that it is about.
    pub fn cpu(&self) -> Option<u32> {
        match self {
            News::Suspect { suspect, .. } => Some(suspect.cpu),
            _ => None,
        }
    }

    /// An admin should look.
    pub fn is_bad(&self) -> bool {
        match self {
            News::Heard { .. } | News::Stopped | News::Failing { check: None, .. } => false,
            News::Suspect { .. } | News::Failing { .. } | News::Silent { .. } => true,
        }
    }

    /// One sentence without a full stop.
    pub fn sentence(&self) -> String {
        match self {
            News::Heard { state, device, after } => {
                let what = match state {
                    State::Starting => "starts".to_owned(),
                    State::Armed => format!("feeds {device}"),
                    State::Systemd => format!("hangs on systemd, which feeds {device}"),
                    State::Watching => "watches, and feeds nothing".to_owned(),
                };
                match after {
                    None => format!("bulkhead-watchdog {what}"),
                    Some(after) => format!(
                        "bulkhead-watchdog is heard again after {} s: it {what}",
                        after.as_secs()
                    ),
                }
            }
            News::Suspect { suspect: Suspect { cpu, probe, silent_ms }, .. } => {
                let seconds = silent_ms.div_ceil(1000);
                match probe {
                    Probe::Fifo => format!(
                        "CPU {cpu} has not run the highest real-time priority for {seconds} s"
                    ),
                    Probe::Other => {
                        format!("CPU {cpu} leaves ordinary tasks no time, for {seconds} s now")
                    }
                }
            }
            News::Failing { check: Some(check), .. } => {
                format!("bulkhead-watchdog feeds nothing any more: its check {check} fails")
            }
            News::Failing { check: None, .. } => {
                "The check of bulkhead-watchdog that failed is well again".to_owned()
            }
            News::Silent { ago, silence } => {
                let armed = match silence {
                    Some(it) if it.timeout_s > 0 => {
                        format!(
                            "; the hardware resets the host {} s after it was fed last",
                            it.timeout_s
                        )
                    }
                    _ => String::new(),
                };
                format!("bulkhead-watchdog has been silent for {} s{armed}", ago.as_secs())
            }
            News::Stopped => "bulkhead-watchdog stopped".to_owned(),
        }
    }
}

/// How long it may be silent: a third of the hardware's timeout, but longer than
/// from one message to the next; four of these where nothing is fed.
fn patience(beat: &Heartbeat) -> Duration {
    let shortest = PERIOD + Duration::from_secs(2);
    match beat.timeout_s.filter(|_| beat.state.is_armed()) {
        Some(timeout) => (Duration::from_secs(timeout.into()) / 3).max(shortest),
        None => PERIOD * 4,
    }
}

fn named(beat: &Heartbeat) -> String {
    let device = beat.device.as_deref().unwrap_or("the hardware");
    match &beat.identity {
        Some(identity) => format!("{device} ({identity})"),
        None => device.to_owned(),
    }
}

fn since(then: Moment, now: Moment) -> Duration {
    Duration::from_nanos(now.up.saturating_sub(then.up))
}

#[cfg(test)]
mod tests;
