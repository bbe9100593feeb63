//! What the service manager and the log hear of the start: how far restoring
//! has come, and when the daemon is ready.

use bulkhead_core::decide::Restoring;
use bulkhead_core::model::Time;
use sd_notify::NotifyState;
use std::time::Duration;

/// Services that start after this one wait so long at most: until then what
/// failed in earlier boots is out of their way, and a host that takes longer to
/// be made safe is still to come up.
const MOST_WAIT: Duration = Duration::from_secs(20);

/// Restoring that takes longer is worth a word, and another each time this has
/// passed again.
const EVERY: Duration = Duration::from_secs(2);

/// Where the start is.
#[derive(Debug)]
pub struct Progress {
    /// When the daemon is ready at the latest; `None` when it is.
    ready_by: Option<Time>,
    /// When the next word is due; `None` when all is restored.
    say_at: Option<Time>,
    begun: Time,
    /// Pages to be restored in all.
    all: usize,
}

/// What is to be told.
#[derive(Debug, Default, PartialEq, Eq)]
struct News {
    ready: bool,
    /// Pages tried, of all.
    tried: Option<(usize, usize)>,
    /// All of them are, so many, after so long.
    done: Option<(usize, Duration)>,
}

impl Progress {
    /// The daemon has begun.
    pub fn begun(now: Time) -> Progress {
        let (ready_by, say_at) = (Some(now.after(MOST_WAIT)), Some(now.after(EVERY)));
        Progress { ready_by, say_at, begun: now, all: 0 }
    }

    /// So much is to be restored: it may all be done before the first
    /// [`Progress::follow`].
    pub fn expect(&mut self, restoring: Option<&Restoring>) {
        self.all = restoring.map_or(0, |restoring| restoring.all);
    }

    /// Tells how things stand, if it is time. The last order to restore was
    /// `answered` then.
    pub fn follow(&mut self, restoring: Option<&Restoring>, answered: Time, now: Time) {
        let news = self.news(restoring.map(|r| (r.tried, r.all)), answered, now);
        if let Some((tried, all)) = news.tried {
            tracing::info!("{tried} of {all} pages of earlier boots tried");
            let words = format!("Restoring isolations: {tried} of {all} pages tried");
            let _ = sd_notify::notify(&[NotifyState::Status(&words)]);
        }
        if let Some((all, time)) = news.done {
            tracing::info!("all {all} pages of earlier boots tried in {:.2} s", time.as_secs_f64());
        }
        if news.ready {
            let _ = sd_notify::notify(&[NotifyState::Ready]);
        }
        if restoring.is_none() && news.ready {
            let _ = sd_notify::notify(&[NotifyState::Status("Watching")]);
        }
    }

    /// When [`Progress::follow`] has something to do if nothing else happens.
    pub fn next(&self) -> Option<Time> {
        self.ready_by.into_iter().chain(self.say_at).min()
    }

    fn news(&mut self, restoring: Option<(usize, usize)>, answered: Time, now: Time) -> News {
        let mut news = News::default();
        if restoring.is_none() || self.ready_by.is_some_and(|by| by <= now) {
            news.ready = self.ready_by.take().is_some();
        }
        self.all = restoring.map_or(self.all, |(_, all)| all);
        match restoring {
            None if self.say_at.take().is_some() && self.all > 0 => {
                news.done = Some((self.all, answered.since(self.begun)));
            }
            None => {}
            Some(_) if self.say_at.is_some_and(|at| at <= now) => {
                self.say_at = Some(now.after(EVERY));
                news.tried = restoring;
            }
            Some(_) => {}
        }
        news
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000_000_000;
    const NONE_YET: Time = Time(0);

    #[test]
    fn with_nothing_to_restore_it_is_ready_at_once_and_once() {
        let mut progress = Progress::begun(Time(0));
        assert_eq!(progress.news(None, NONE_YET, Time(1)), News { ready: true, ..News::default() });
        assert_eq!(progress.news(None, NONE_YET, Time(2)), News::default());
        assert_eq!(progress.next(), None);
    }

    #[test]
    fn it_is_ready_when_all_is_tried_and_says_nothing_before_2_s() {
        let mut progress = Progress::begun(Time(0));
        assert_eq!(progress.news(Some((0, 9)), NONE_YET, Time(SECOND)), News::default());
        assert_eq!(progress.next(), Some(Time(2 * SECOND)));
        let word = News { tried: Some((4, 9)), ..News::default() };
        assert_eq!(progress.news(Some((4, 9)), NONE_YET, Time(2 * SECOND)), word);
        let all = News { ready: true, done: Some((9, Duration::from_secs(1))), ..News::default() };
        assert_eq!(progress.news(None, Time(SECOND), Time(2 * SECOND)), all);
    }

    #[test]
    fn others_wait_20_s_at_most_and_the_words_go_on() {
        let mut progress = Progress::begun(Time(0));
        assert!(!progress.news(Some((1, 9)), NONE_YET, Time(20 * SECOND - 1)).ready);
        assert!(progress.news(Some((1, 9)), NONE_YET, Time(20 * SECOND)).ready);
        let later = progress.news(Some((2, 9)), NONE_YET, Time(30 * SECOND));
        assert_eq!(later, News { tried: Some((2, 9)), ..News::default() });
    }
}
