//! The last words' file.

use crate::clock::boottime_ms;
use bulkhead_watchdog::last_words::{directory, file, Words, LINE, MOST};
use bulkhead_watchdog::note::Note;
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// Kept for the words that bring a host down: a CPU that is now silent and now
/// not must not fill the file.
const KEPT: u64 = 8 * 1024;

/// Of this boot.
pub struct File {
    state_dir: PathBuf,
    path: PathBuf,
}

impl File {
    /// Below `state_dir`; nothing is opened before there is something to say.
    pub fn new(state_dir: &Path) -> File {
        let id = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
        File { state_dir: state_dir.to_owned(), path: file(state_dir, id.trim()) }
    }

    /// Adds a line, and has it on the disk. In a full file it is left out.
    pub fn add(&mut self, note: &Note, sentence: &str) -> io::Result<()> {
        let words = Words {
            time: rfc3339(SystemTime::now()),
            boottime_ms: boottime_ms(),
            check: note.check.name().to_owned(),
            cpu: note.check.is_of_a_cpu().then_some(note.id),
            silent_ms: note.silent_ms,
            limit_ms: note.limit_ms,
            action: note.action,
            text: cut(sentence).to_owned(),
        };
        let mut line = serde_json::to_vec(&words)?;
        line.push(b'\n');
        // The state directory is the daemon's; where it is not, there is none.
        let dir = directory(&self.state_dir);
        if let Err(error) = DirBuilder::new().mode(0o700).create(dir) {
            if error.kind() != io::ErrorKind::AlreadyExists {
                return Err(error);
            }
        }
        let mut file = OpenOptions::new().append(true).create(true).mode(0o600).open(&self.path)?;
        let most = if note.action.gives_up() { MOST } else { MOST - KEPT };
        let length = u64::try_from(line.len()).unwrap_or(u64::MAX);
        if file.metadata()?.len().saturating_add(length) > most {
            return Ok(());
        }
        file.write_all(&line)?;
        file.sync_all()
    }
}

/// So that the whole line fits into [`LINE`], whatever is escaped in it.
fn cut(sentence: &str) -> &str {
    let most = LINE / 8;
    let end = sentence.char_indices().map(|(at, _)| at).take_while(|at| *at <= most).last();
    if sentence.len() <= most {
        sentence
    } else {
        sentence.get(..end.unwrap_or(0)).unwrap_or("")
    }
}

/// UTC, to the millisecond.
fn rfc3339(time: SystemTime) -> String {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let seconds = libc::time_t::try_from(since.as_secs()).unwrap_or(0);
    // SAFETY: a time of zeroes is one; the library reads and writes one each.
    let t = unsafe {
        let mut broken = std::mem::zeroed::<libc::tm>();
        libc::gmtime_r(&seconds, &mut broken);
        broken
    };
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        t.tm_year.saturating_add(1900),
        t.tm_mon.saturating_add(1),
        t.tm_mday,
        t.tm_hour,
        t.tm_min,
        t.tm_sec,
        since.subsec_millis()
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bulkhead_watchdog::last_words::{self, Action};
    use bulkhead_watchdog::note::{Change, Check};
    use proptest::prelude::*;
    use std::time::Duration;

    fn note(action: Action) -> Note {
        let (check, change) = (Check::Cpu, Change::Failed);
        Note { check, id: 3, change, action, silent_ms: 20_000, limit_ms: 20_000 }
    }

    #[test]
    fn what_is_written_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::new(dir.path());
        file.add(&note(Action::Event), "one").unwrap();
        file.add(&note(Action::Crash), "two").unwrap();
        let words = last_words::parse(&fs::read(&file.path).unwrap());
        assert_eq!(
            words.iter().map(|words| words.text.as_str()).collect::<Vec<_>>(),
            ["one", "two"]
        );
        assert_eq!((words[0].cpu, words[0].action), (Some(3), Action::Event));
        assert!(words[1].boottime_ms > 0 && words[1].time.ends_with('Z'), "{words:?}");
    }

    #[test]
    fn a_file_that_is_full_has_room_for_the_end_and_no_more() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = File::new(dir.path());
        let length = |file: &File| fs::metadata(&file.path).unwrap().len();
        for _ in 0..1_000 {
            file.add(&note(Action::Event), "one").unwrap();
        }
        let full = length(&file);
        assert!(full <= MOST - KEPT, "{full}");
        for _ in 0..1_000 {
            file.add(&note(Action::Crash), "two").unwrap();
        }
        assert!(length(&file) > full && length(&file) <= MOST, "{}", length(&file));
    }

    #[test]
    fn times_are_those_of_the_calendar() {
        let at = |s| rfc3339(UNIX_EPOCH + Duration::from_millis(s));
        assert_eq!(at(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(at(951_782_400_123), "2000-02-29T00:00:00.123Z");
    }

    proptest! {
        #[test]
        fn no_line_is_too_long(sentence in "(?s).{0,400}") {
            let dir = tempfile::tempdir().unwrap();
            let mut file = File::new(dir.path());
            file.add(&note(Action::Event), &sentence).unwrap();
            let text = fs::read(&file.path).unwrap();
            prop_assert!(text.len() <= LINE, "{}", text.len());
            prop_assert_eq!(last_words::parse(&text).len(), 1);
        }
    }
}
