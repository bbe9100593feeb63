//! Event JSON lines out of a file, as `bulkhead events --json` writes them:
//! read to the end, then followed.

use super::{Drained, Note, SourceState, State, Via};
use crate::event::{self, MAX_LINE};
use crate::lines::Lines;
use bulkhead_core::model::{Report, Source};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use std::fs::File;
use std::io::{self, BufReader, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Lines read in one drain, so that a long file neither holds the daemon's loop
/// nor takes much memory.
const MAX_LINES: usize = 2_048;

/// A file that is read and followed.
pub struct FileSource {
    path: PathBuf,
    lines: Lines<BufReader<File>>,
    /// Turns readable when something is appended.
    inotify: Inotify,
    inode: u64,
    /// Up to where what was read is durable.
    committed: Progress,
    /// Up to where it was read.
    reached: Progress,
}

/// A place between two lines.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Progress {
    /// Bytes before it.
    offset: u64,
    /// Lines before it.
    line: u64,
    /// Those of them that could not be read.
    lost: u64,
}

impl FileSource {
    /// Opens `path`, to go on where `cursor` of an earlier run says if that is
    /// of the same file.
    ///
    /// # Errors
    /// Those of the file; anything but a regular file is refused.
    pub fn open(path: &Path, cursor: Option<&str>) -> io::Result<FileSource> {
        // Looked at before it is opened: opening a FIFO waits for its writer.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        let file = File::open(path)?;
        let inotify = Inotify::init(InitFlags::IN_CLOEXEC | InitFlags::IN_NONBLOCK)?;
        inotify.add_watch(path, AddWatchFlags::IN_MODIFY)?;
        let inode = file.metadata()?.ino();
        let committed = cursor
            .and_then(Progress::parse)
            .filter(|(of, _)| *of == inode)
            .map_or_else(Progress::default, |(_, progress)| progress);
        Ok(FileSource {
            path: path.to_owned(),
            lines: Lines::new(BufReader::new(file), MAX_LINE),
            inotify,
            inode,
            committed,
            reached: committed,
        })
    }

    /// Reads on from what is durable.
    ///
    /// # Errors
    /// Those of the file; nothing is lost by them.
    pub fn drain(&mut self, notes: &mut Vec<Note>) -> io::Result<Drained> {
        let (reports, more) = self.read(notes)?;
        let moved = self.reached != self.committed;
        let cursor = moved.then(|| self.reached.to_cursor(self.inode));
        Ok(Drained { reports, cursor, more, is_part: false })
    }

    /// What the last drain read is durable.
    pub fn done(&mut self) {
        self.committed = self.reached;
    }

    /// How each source fares.
    pub fn states(&self) -> Vec<SourceState> {
        let lost = self.reached.lost;
        let (state, why) = match lost {
            0 => (State::Ok, String::new()),
            _ => {
                let path = self.path.display();
                (State::Lossy, format!("{lost} lines of {path} could not be read"))
            }
        };
        Source::ALL
            .map(|source| SourceState { source, via: Via::File, state, lost, why: why.clone() })
            .into()
    }

    fn read(&mut self, notes: &mut Vec<Note>) -> io::Result<(Vec<Report>, bool)> {
        // Before reading: what is appended from here on calls again.
        while self.inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
        if self.lines.get_ref().get_ref().metadata()?.len() < self.committed.offset {
            notes.push(Note::new(format!(
                "{} is shorter than it was: read again from its start",
                self.path.display()
            )));
            self.committed = Progress::default();
        }
        self.reached = self.committed;
        self.lines.get_mut().seek(SeekFrom::Start(self.reached.offset))?;
        let mut reports = Vec::new();
        let mut line = Vec::new();
        for _ in 0..MAX_LINES {
            // A line without an end yet waits for its rest.
            let Some(read) = self.lines.read(&mut line)?.filter(|read| read.ended) else {
                return Ok((reports, false));
            };
            self.reached.offset += read.length;
            self.reached.line += 1;
            let parsed = match read.fits {
                true => event::report_in(&line),
                false => Err(format!("longer than {MAX_LINE} bytes")),
            };
            match parsed {
                Ok(report) => reports.extend(report),
                Err(why) => {
                    self.reached.lost += 1;
                    let place = format!("{}:{}", self.path.display(), self.reached.line);
                    notes.push(Note::new(format!("{place}: {why}")));
                }
            }
        }
        Ok((reports, true))
    }
}

impl AsFd for FileSource {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}

impl Progress {
    /// `inode:offset:line:lost`
    fn parse(cursor: &str) -> Option<(u64, Progress)> {
        let mut numbers = cursor.split(':').map(|n| n.parse().ok());
        let mut next = || numbers.next().flatten();
        let inode = next()?;
        Some((inode, Progress { offset: next()?, line: next()?, lost: next()? }))
    }

    fn to_cursor(self, inode: u64) -> String {
        format!("{inode}:{}:{}:{}", self.offset, self.line, self.lost)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    use std::io::Write;

    struct Log(tempfile::TempDir);

    impl Log {
        fn new(text: &str) -> Log {
            let log = Log(tempfile::tempdir().unwrap());
            std::fs::write(log.path(), text).unwrap();
            log
        }

        fn path(&self) -> PathBuf {
            self.0.path().join("events")
        }

        fn append(&self, text: &str) {
            let mut file = File::options().append(true).open(self.path()).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        }
    }

    fn line(pfn: u64) -> String {
        format!(
            "{}\n",
            serde_json::json!({
                "time": "2026-01-02T03:04:05Z", "event": "report", "source": "ras:memory_failure_event",
                "record": {"memory_failure": {"pfn": pfn, "page_type": 5, "result": 3}},
            })
        )
    }

    fn pfns(reports: &[Report]) -> Vec<u64> {
        use bulkhead_core::model::Record;
        let pfn = |r: &Report| match &r.record {
            Record::MemoryFailure(failure) => failure.pfn.0,
            other => panic!("{other:?}"),
        };
        reports.iter().map(pfn).collect()
    }

    fn drain(source: &mut FileSource) -> (Vec<u64>, Vec<String>) {
        let mut notes = Vec::new();
        let reports = source.drain(&mut notes).unwrap().reports;
        (pfns(&reports), notes.into_iter().map(|n| n.text).collect())
    }

    #[test]
    fn what_is_appended_is_read_and_calls() {
        let log = Log::new(&line(1));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        assert_eq!(drain(&mut source).0, [1]);
        source.done();
        assert!(drain(&mut source).0.is_empty());
        log.append(&line(2));
        let mut fds = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::from(1000u16)).unwrap(), 1);
        assert_eq!(drain(&mut source).0, [2]);
        let mut fds = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
        assert_eq!(poll(&mut fds, PollTimeout::ZERO).unwrap(), 0);
    }

    #[test]
    fn a_batch_that_was_not_stored_comes_again() {
        let log = Log::new(&(line(1) + "no JSON\n"));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        assert_eq!(drain(&mut source).0, [1]);
        assert_eq!(drain(&mut source).0, [1]);
        assert_eq!(source.states()[0].lost, 1);
    }

    #[test]
    fn a_restart_goes_on_at_its_cursor() {
        let log = Log::new(&(line(1) + "no JSON\n"));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        let cursor = source.drain(&mut Vec::new()).unwrap().cursor.unwrap();
        log.append(&line(2));
        let mut source = FileSource::open(&log.path(), Some(&cursor)).unwrap();
        assert_eq!(drain(&mut source).0, [2]);
        assert_eq!(source.states()[0].lost, 1);
    }

    #[test]
    fn another_file_of_that_name_is_read_from_its_start() {
        let log = Log::new(&line(1));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        let cursor = source.drain(&mut Vec::new()).unwrap().cursor.unwrap();
        let other = Log::new(&line(3));
        std::fs::rename(other.path(), log.path()).unwrap();
        let mut source = FileSource::open(&log.path(), Some(&cursor)).unwrap();
        assert_eq!(drain(&mut source).0, [3]);
    }

    #[test]
    fn half_a_line_waits_for_its_rest() {
        let whole = line(7);
        let (head, tail) = whole.split_at(40);
        let log = Log::new(head);
        let mut source = FileSource::open(&log.path(), None).unwrap();
        assert_eq!(drain(&mut source), (vec![], vec![]));
        source.done();
        log.append(tail);
        assert_eq!(drain(&mut source).0, [7]);
    }

    #[test]
    fn a_bad_line_is_named_and_counted_and_the_next_one_is_read() {
        let log = Log::new(&format!("{}{{\"event\":\"report\"}}\n\n{}", line(1), line(2)));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        let (pfns, notes) = drain(&mut source);
        assert_eq!(pfns, [1, 2]);
        assert_eq!(notes.len(), 1);
        assert!(notes[0].starts_with(&format!("{}:2: ", log.path().display())), "{notes:?}");
        let states = source.states();
        assert_eq!(states.len(), Source::ALL.len());
        assert!(states.iter().all(|s| (s.state, s.lost) == (State::Lossy, 1)));
    }

    #[test]
    fn other_events_are_skipped_without_a_word() {
        let config = r#"{"time":"2026-01-02T03:04:05Z","event":"config","what":"read"}"#;
        let log = Log::new(&format!("{config}\n{}", line(1)));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        assert_eq!(drain(&mut source), (vec![1], vec![]));
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_counted() {
        let log = Log::new(&format!("{}\n{}", "x".repeat(MAX_LINE), line(1)));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        let (pfns, notes) = drain(&mut source);
        assert_eq!((pfns, notes.len()), (vec![1], 1));
        assert_eq!(source.states()[0].lost, 1);
    }

    #[test]
    fn a_long_file_comes_in_batches() {
        let log = Log::new(&(0..MAX_LINES as u64 + 1).map(line).collect::<String>());
        let mut source = FileSource::open(&log.path(), None).unwrap();
        let drained = source.drain(&mut Vec::new()).unwrap();
        assert_eq!((drained.reports.len(), drained.more), (MAX_LINES, true));
        source.done();
        let drained = source.drain(&mut Vec::new()).unwrap();
        assert_eq!((pfns(&drained.reports), drained.more), (vec![MAX_LINES as u64], false));
    }

    #[test]
    fn a_file_that_was_cut_is_read_again() {
        let log = Log::new(&(line(1) + &line(2)));
        let mut source = FileSource::open(&log.path(), None).unwrap();
        drain(&mut source);
        source.done();
        File::options().write(true).truncate(true).open(log.path()).unwrap();
        log.append(&line(3));
        let (pfns, notes) = drain(&mut source);
        assert_eq!((pfns, notes.len()), (vec![3], 1));
    }

    #[test]
    fn a_directory_is_refused() {
        let log = Log::new("");
        assert!(FileSource::open(log.0.path(), None).is_err());
        assert!(FileSource::open(&log.0.path().join("absent"), None).is_err());
    }
}
