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
use bulkhead_watchdog::heartbeat::{Heartbeat, State};
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
        let beat = self.watch.seen(0).beat;
        beat.is_some_and(|beat| matches!(beat.state, State::Armed | State::Systemd))
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
    let (false, State::Armed | State::Systemd, Some(device)) =
        (beat.last, beat.state, &beat.device)
    else {
        return;
    };
    let armed = Some(Armed {
        device: device.to_string(),
        identity: beat.identity.as_deref().unwrap_or("a watchdog without a name").to_owned(),
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
