//! Pages that the kernel took out of service, or gave back, by its own doing:
//! its log names them as it happens, and what the log does not have any more is
//! searched for in the page flags.

use super::search::Search;
use crate::host::{meminfo, Root};
use crate::monitor::kmsg::{self, KernelLog};
use bulkhead_core::model::{PageSize, Pfn, Time};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;

/// Two readings of the log begin at least so far apart: a storm of messages
/// costs a bounded share of a CPU, at 512 records a reading.
const REST: Duration = Duration::from_millis(20);

/// Hears and searches.
pub struct KernelPages {
    root: Root,
    log: Option<KernelLog>,
    not_before: Time,
    more: bool,
    missed: bool,
    search: Search,
    /// What the kernel had out of service at the last search, in bytes: it may
    /// count what the page flags do not show, and is searched once for it.
    searched_at: u64,
}

impl KernelPages {
    /// Opens the log of this host; with `log` false none, as another root has
    /// none.
    pub fn new(root: Root, log: bool) -> KernelPages {
        let opened = log.then(|| KernelLog::open(&root.path(kmsg::PATH)));
        let log = opened.and_then(|log| {
            log.map_err(|error| {
                tracing::warn!(
                    "the kernel log cannot be read, so a page that the kernel takes by itself is \
                     noticed at its next error: {error}"
                );
            })
            .ok()
        });
        let search = Search::new(root.clone());
        // There may be something from before we started.
        let (more, missed) = (log.is_some(), false);
        KernelPages { root, log, not_before: Time(0), more, missed, search, searched_at: 0 }
    }

    /// Pages to be looked at. `ready`: a descriptor was readable.
    pub fn take(&mut self, ready: bool, now: Time) -> Vec<Pfn> {
        let mut pages = self.search.found();
        self.more |= ready;
        if !self.more || now < self.not_before {
            return pages;
        }
        self.more = false;
        self.not_before = now.after(REST);
        match self.log.as_mut().map(KernelLog::read) {
            Some(Ok(heard)) => {
                self.more = heard.more;
                pages.extend(heard.pages);
                if heard.missed > 0 {
                    tracing::warn!(
                        "{} lines of the kernel log were overwritten before they were read",
                        heard.missed
                    );
                    self.missed = true;
                }
            }
            Some(Err(error)) => {
                tracing::warn!("the kernel log cannot be read any more: {error}");
                self.log = None;
            }
            None => {}
        }
        pages
    }

    /// Lines were overwritten before they were read, since the last call:
    /// [`KernelPages::compare`] makes up for them.
    pub fn has_missed(&mut self) -> bool {
        std::mem::take(&mut self.missed)
    }

    /// Searches all memory, beside the loop, when the kernel has more out of
    /// service than the `listed` pages, and more than at the last search.
    pub fn compare(&mut self, listed: usize, size: PageSize) {
        let Some(corrupted) = meminfo::hardware_corrupted(&self.root) else { return };
        // A u64 holds what a usize counts on every Linux.
        let known = (listed as u64).saturating_mul(size.bytes());
        if corrupted > known && corrupted != self.searched_at && self.search.begin() {
            self.searched_at = corrupted;
            tracing::info!(
                "the kernel has {} KiB of memory out of service, {} KiB are listed: searching for \
                 the rest",
                corrupted >> 10,
                known >> 10
            );
        }
    }

    /// When [`KernelPages::take`] has something to do without a descriptor
    /// being readable.
    pub fn next_due(&self) -> Option<Time> {
        self.more.then_some(self.not_before)
    }

    /// Readable when there is something to take; none while it rests.
    pub fn fds(&self, now: Time) -> impl Iterator<Item = BorrowedFd<'_>> {
        let resting = self.more || now < self.not_before;
        let log = self.log.as_ref().filter(|_| !resting).map(AsFd::as_fd);
        log.into_iter().chain(self.search.fd())
    }
}
