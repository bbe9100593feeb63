//! The daemon's end of the heartbeat: hears the watchdog, answers it from the
//! one loop, and notices when it falls silent. Costs nothing while none runs.

mod socket;
mod watch;

pub use watch::Seen;

use super::cycle::Cycle;
use crate::event::{timestamp, Body, Event};
use crate::host::clock;
use bulkhead_core::analyze::verdict::{Armed, Moment, Silence};
use bulkhead_core::model::Stamp;
use bulkhead_watchdog::choose::UNNAMED;
use bulkhead_watchdog::heartbeat::Heartbeat;
use socket::Socket;
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::time::Duration;
use watch::{News, Watch};

/// What is known of the watchdog's process.
pub struct Heartbeats {
    socket: Option<Socket>,
    watch: Watch,
}

impl Heartbeats {
    /// Listens beside the API's socket. Where that cannot be, the watchdog is
    /// not heard, and all else goes on.
    pub fn beside(api: &Path) -> Heartbeats {
        let path = api.with_file_name("heartbeat");
        let socket = Socket::bind(&path)
            .map_err(|error| {
                tracing::warn!("bulkhead-watchdog is not heard: {}: {error}", path.display());
            })
            .ok();
        Heartbeats { socket, watch: Watch::default() }
    }

    /// Readable when the watchdog said something.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.socket.as_ref().map(Socket::fd)
    }

    /// What is known now.
    pub fn seen(&self) -> Seen<'_> {
        self.watch.seen(clock::monotonic())
    }

    /// It feeds a watchdog, or systemd does for it: what is armed is known.
    pub fn is_armed(&self) -> bool {
        self.watch.seen(0).beat.is_some_and(|beat| beat.state.is_armed())
    }

    /// How long until [`Heartbeats::turn`] must be called, though nothing is heard.
    pub fn next(&self) -> Option<Duration> {
        let left = self.watch.deadline()?.saturating_sub(clock::monotonic());
        Some(Duration::from_nanos(left))
    }

    /// Hears and answers, if there may be something, and tells what is new.
    pub fn turn(&mut self, readable: bool, cycle: &mut Cycle, now: Stamp) {
        let moment = Moment { up: clock::monotonic(), wall: now.wall };
        // What was said is heard first: it may be this process that was stopped.
        let overdue = self.watch.deadline().is_some_and(|at| at <= moment.up);
        let beats = match &mut self.socket {
            Some(socket) if readable || overdue => socket.take(),
            _ => Vec::new(),
        };
        for beat in beats {
            remember(cycle, &beat);
            for news in self.watch.heard(beat, moment) {
                tell(cycle, &news, now);
            }
        }
        if let Some(news) = self.watch.due(moment) {
            tell(cycle, &news, now);
        }
    }
}

/// A watchdog that is fed is one that may end this boot.
fn remember(cycle: &mut Cycle, beat: &Heartbeat) {
    let fed = beat.device.as_ref().filter(|_| beat.state.is_armed() && !beat.last);
    let Some(device) = fed else { return };
    let armed = Some(Armed {
        device: device.to_string(),
        identity: beat.identity.as_deref().unwrap_or(UNNAMED).to_owned(),
        timeout_s: beat.timeout_s.unwrap_or(0),
    });
    if cycle.core.books.boot.armed != armed {
        cycle.core.books.boot.armed = armed;
        cycle.core.books.boot_changed();
    }
}

fn tell(cycle: &mut Cycle, news: &News, now: Stamp) {
    let books = &mut cycle.core.books;
    match news {
        News::Silent { silence: Some(silence), .. } => {
            books.boot.silence = Some(Silence::clone(silence));
        }
        News::Heard { .. } => books.boot.silence = None,
        // Disarmed: where it could not be, sysfs says so when it is next looked.
        News::Stopped => (books.boot.silence, books.boot.armed) = (None, None),
        _ => {}
    }
    let what = news.sentence();
    match news.is_bad() {
        true => tracing::warn!("{what}"),
        false => tracing::info!("{what}"),
    }
    let body = Body::Watchdog { state: news.state().to_owned(), cpu: news.cpu(), what };
    books.happened(Event { time: timestamp(now.wall), body });
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::cycle::tests::{cycle, NOW};
    use super::*;
    use crate::state::{Saved, Store};
    use bulkhead_watchdog::heartbeat::State;
    use std::os::unix::net::UnixDatagram;

    fn beat(last: bool) -> Vec<u8> {
        let beat = Heartbeat {
            state: State::Armed,
            device: Some("watchdog0".into()),
            timeout_s: Some(60),
            last,
            ..Heartbeat::default()
        };
        serde_json::to_vec(&beat).unwrap()
    }

    #[test]
    fn a_watchdog_that_falls_silent_is_remembered_for_the_next_boot_until_it_is_heard_again() {
        let dir = tempfile::tempdir().unwrap();
        let mut heartbeats = Heartbeats::beside(&dir.path().join("io.bulkhead"));
        let watchdog = UnixDatagram::unbound().unwrap();
        watchdog.connect(dir.path().join("heartbeat")).unwrap();
        let mut cycle = cycle(&mut Saved::default());
        assert_eq!((heartbeats.next(), heartbeats.seen().state), (None, "not running"));

        watchdog.send(&beat(false)).unwrap();
        heartbeats.turn(true, &mut cycle, NOW);
        assert_eq!(cycle.core.books.boot.armed.as_ref().unwrap().timeout_s, 60);
        assert!(heartbeats.next().unwrap() <= Duration::from_secs(20));
        let later = Moment { up: u64::MAX, wall: NOW.wall };
        let silent = heartbeats.watch.due(later).unwrap();
        tell(&mut cycle, &silent, NOW);
        assert!(cycle.core.books.boot.silence.is_some() && cycle.core.books.is_dirty());

        watchdog.send(&beat(false)).unwrap();
        heartbeats.turn(true, &mut cycle, NOW);
        assert_eq!(cycle.core.books.boot.silence, None);
        watchdog.send(&beat(true)).unwrap();
        heartbeats.turn(true, &mut cycle, NOW);
        assert_eq!((heartbeats.next(), &cycle.core.books.boot.armed), (None, &None));

        let (mut store, _) = Store::open(&dir.path().join("state")).unwrap();
        let events = cycle.commit(&mut store).unwrap();
        let states = events.iter().map(|event| match &event.body {
            Body::Watchdog { state, .. } => state.as_str(),
            _ => "",
        });
        assert_eq!(states.collect::<Vec<_>>(), ["armed", "silent", "armed", "not running"]);
    }
}
