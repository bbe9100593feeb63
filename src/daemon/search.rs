//! The search for pages that the kernel has out of service: a thread beside the
//! loop, as all memory is read for it.

use crate::host::{HostError, PageFlags, Root};
use bulkhead_core::model::Pfn;
use nix::sys::eventfd::{EfdFlags, EventFd};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Instant;

/// Frames read at a time: half a MiB of flags, some ms.
const CHUNK: usize = 1 << 16;

/// So many pages are handed out in one search, as many as the ledger may have
/// to look at.
const MOST: usize = 1 << 16;

/// Bytes; the thread reads into memory of its own.
const STACK: usize = 128 << 10;

/// One search at a time.
pub struct Search {
    root: Root,
    bell: Option<Arc<EventFd>>,
    found: Option<Receiver<Vec<Pfn>>>,
    thread: Option<JoinHandle<()>>,
}

impl Search {
    /// None yet.
    pub fn new(root: Root) -> Search {
        Search { root, bell: None, found: None, thread: None }
    }

    /// Begins; false if it cannot, or has not ended the last one.
    pub fn begin(&mut self) -> bool {
        if self.thread.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return false;
        }
        let Ok(bell) = self.bell() else { return false };
        let (sender, found) = mpsc::channel();
        let root = self.root.clone();
        let work = move || {
            if let Err(error) = search(&root, &sender, &bell) {
                tracing::warn!("the pages that the kernel took cannot be searched for: {error}");
            }
        };
        let thread = thread::Builder::new().name("search".to_owned()).stack_size(STACK).spawn(work);
        self.found = Some(found);
        self.thread = thread.ok();
        self.thread.is_some()
    }

    /// What was found since the last call.
    pub fn found(&mut self) -> Vec<Pfn> {
        let Some(found) = &self.found else { return Vec::new() };
        // Silenced before looking: what comes after rings again.
        if let Some(bell) = &self.bell {
            let _ = bell.read();
        }
        found.try_iter().flatten().collect()
    }

    /// Readable when something was found; none before the first search.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.bell.as_ref().map(|bell| bell.as_fd())
    }

    fn bell(&mut self) -> nix::Result<Arc<EventFd>> {
        if let Some(bell) = &self.bell {
            return Ok(Arc::clone(bell));
        }
        let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
        let bell = Arc::new(EventFd::from_flags(flags)?);
        self.bell = Some(Arc::clone(&bell));
        Ok(bell)
    }
}

/// Reads the flags of all memory, and rests three times as long as it reads: a
/// host with a TiB is done in a minute or two.
fn search(root: &Root, sender: &Sender<Vec<Pfn>>, bell: &EventFd) -> Result<(), HostError> {
    let flags = PageFlags::open(root)?;
    let mut from = Pfn(0);
    let mut handed_out = 0;
    loop {
        let start = Instant::now();
        let Some((mut pages, next)) = flags.poisoned_among(from, CHUNK)? else { return Ok(()) };
        from = next;
        pages.truncate(MOST.saturating_sub(handed_out));
        if !pages.is_empty() {
            handed_out += pages.len();
            if sender.send(pages).is_err() {
                return Ok(());
            }
            // A bell that cannot ring has been rung 2^64 - 2 times already.
            let _ = bell.write(1);
        }
        if handed_out >= MOST {
            tracing::warn!(
                "the kernel has more than {MOST} pages out of service: the rest is not listed"
            );
            return Ok(());
        }
        thread::sleep(start.elapsed().saturating_mul(3));
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
    use std::fs;

    #[test]
    fn what_is_out_of_service_is_found_beside_the_caller() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("proc")).unwrap();
        let poisoned = |pfn: usize| if pfn % CHUNK == 7 { 1_u64 << 19 } else { 0 };
        let words: Vec<u8> = (0..2 * CHUNK).flat_map(|pfn| poisoned(pfn).to_ne_bytes()).collect();
        fs::write(dir.path().join("proc/kpageflags"), words).unwrap();

        let mut search = Search::new(Root::new(dir.path()));
        assert!(search.fd().is_none() && search.found().is_empty());
        assert!(search.begin());
        let mut found = Vec::new();
        while found.len() < 2 {
            let mut fds = [PollFd::new(search.fd().unwrap(), PollFlags::POLLIN)];
            assert!(poll(&mut fds, PollTimeout::from(10_000_u16)).unwrap() > 0, "{found:?}");
            found.extend(search.found());
        }
        assert_eq!(found, [Pfn(7), Pfn(CHUNK as u64 + 7)]);
    }
}
