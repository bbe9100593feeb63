//! /proc/kpageflags: what the kernel knows of each page frame.

use super::{HostError, Root};
use bulkhead_core::model::Pfn;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

/// Where it lies.
pub const PATH: &str = "proc/kpageflags";

// Bits of a frame's 64-bit word: include/uapi/linux/kernel-page-flags.h.
const KPF_BUDDY: u32 = 10;
const KPF_COMPOUND_HEAD: u32 = 15;
const KPF_COMPOUND_TAIL: u32 = 16;
const KPF_HUGE: u32 = 17;
const KPF_HWPOISON: u32 = 19;
const KPF_NOPAGE: u32 = 20;

/// The file, open: one native-endian u64 per page frame
/// (Documentation/admin-guide/mm/pagemap.rst).
#[derive(Debug)]
pub struct PageFlags {
    file: File,
    path: PathBuf,
}

impl PageFlags {
    /// Opens it.
    ///
    /// # Errors
    /// When it cannot be opened: it is root's alone (0400).
    pub fn open(root: &Root) -> Result<PageFlags, HostError> {
        let path = root.path(PATH);
        match File::open(&path) {
            Ok(file) => Ok(PageFlags { file, path }),
            Err(cause) => Err(HostError { operation: "open", path, cause }),
        }
    }

    /// Whether the kernel has put the page out of service (HWPoison), for
    /// whatever reason. `None` where it knows no such page: beyond the last
    /// frame, in a hole, or in a memory block that is off line.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_poisoned(&self, pfn: Pfn) -> Result<Option<bool>, HostError> {
        Ok(self.word(pfn)?.map(|word| has(word, KPF_HWPOISON)))
    }

    /// Whether it is part of a huge page out of a pool (hugetlb), in use or not;
    /// a transparent huge page is none. No page is not.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_hugetlb(&self, pfn: Pfn) -> Result<bool, HostError> {
        Ok(self.word(pfn)?.is_some_and(|word| has(word, KPF_HUGE)))
    }

    /// Whether it is the first frame of a larger page.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_head(&self, pfn: Pfn) -> Result<bool, HostError> {
        Ok(self.word(pfn)?.is_some_and(|word| has(word, KPF_COMPOUND_HEAD)))
    }

    /// Whether it is a frame of a larger page, and not its first.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn is_tail(&self, pfn: Pfn) -> Result<bool, HostError> {
        Ok(self.word(pfn)?.is_some_and(|word| has(word, KPF_COMPOUND_TAIL)))
    }

    /// Whether the page is surely free. One that a CPU holds ready to hand out
    /// does not show as such, nor can it be told from one that the kernel uses.
    ///
    /// # Errors
    /// As [`PageFlags::is_poisoned`].
    pub fn is_free(&self, pfn: Pfn) -> Result<bool, HostError> {
        Ok(self.word(pfn)?.is_some_and(|word| has(word, KPF_BUDDY)))
    }

    /// The flags of a page, if the kernel knows one.
    fn word(&self, pfn: Pfn) -> Result<Option<u64>, HostError> {
        let mut word = [0; 8];
        let words = self.read(pfn, &mut word)?;
        Ok(words.first().copied().filter(|word| !has(*word, KPF_NOPAGE)))
    }

    /// [`PageFlags::is_poisoned`] of many pages, in ascending order: those that
    /// lie close together in one read.
    ///
    /// # Errors
    /// Per page, when the file cannot be read there.
    pub fn are_poisoned(&self, pages: &[Pfn]) -> Vec<Result<Option<bool>, HostError>> {
        let close = |a: &Pfn, b: &Pfn| b.0.checked_sub(a.0).is_some_and(|gap| gap <= CLOSE);
        let mut buffer = Vec::new();
        let mut answers = Vec::with_capacity(pages.len());
        for run in pages.chunk_by(close).flat_map(|run| run.chunks(MOST_AT_ONCE)) {
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            // At most MOST_AT_ONCE pages, each CLOSE to the next.
            let frames = usize::try_from(last.0 - first.0 + 1).unwrap_or(1);
            buffer.resize(frames.saturating_mul(8), 0);
            let words = self.read(*first, &mut buffer);
            answers.extend(run.iter().map(|pfn| match &words {
                Ok(words) => {
                    let at = usize::try_from(pfn.0 - first.0).unwrap_or(usize::MAX);
                    Ok(words.get(at).and_then(|word| is_poisoned(*word)))
                }
                Err(error) => Err(HostError {
                    operation: error.operation,
                    path: error.path.clone(),
                    cause: copy(&error.cause),
                }),
            }));
        }
        answers
    }

    /// The words of `first` and the frames after it, as far as there are any
    /// and `buffer` goes.
    fn read(&self, first: Pfn, buffer: &mut [u8]) -> Result<Vec<u64>, HostError> {
        // The kernel's file offset is signed.
        let Some(offset) = first.0.checked_mul(8).filter(|o| i64::try_from(*o).is_ok()) else {
            return Ok(Vec::new());
        };
        match self.file.read_at(buffer, offset) {
            Ok(read) => {
                let words = buffer.get(..read).unwrap_or_default().chunks_exact(8);
                Ok(words.filter_map(|w| w.try_into().ok()).map(u64::from_ne_bytes).collect())
            }
            Err(cause) => Err(self.cannot_read(cause)),
        }
    }

    /// Those of the frames `from..from + count` that are out of service, and
    /// the first frame after what was read; `None` at the end of memory.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn poisoned_among(
        &self,
        from: Pfn,
        count: usize,
    ) -> Result<Option<(Vec<Pfn>, Pfn)>, HostError> {
        let Some(offset) = from.0.checked_mul(8).filter(|o| i64::try_from(*o).is_ok()) else {
            return Ok(None);
        };
        let mut words = vec![0; count.saturating_mul(8)];
        let length = self.file.read_at(&mut words, offset).map_err(|e| self.cannot_read(e))?;
        words.truncate(length);
        let mut found = Vec::new();
        let mut next = from;
        for word in words.chunks_exact(8).filter_map(|word| <[u8; 8]>::try_from(word).ok()) {
            let off = present(word).is_some_and(|word| has(word, KPF_HWPOISON));
            found.extend(off.then_some(next));
            next = Pfn(next.0.saturating_add(1));
        }
        Ok((next > from).then_some((found, next)))
    }

    fn cannot_read(&self, cause: io::Error) -> HostError {
        HostError { operation: "read", path: self.path.clone(), cause }
    }
}

/// The flags of a frame by its word; `None` where there is no page.
fn present(word: [u8; 8]) -> Option<u64> {
    let word = u64::from_ne_bytes(word);
    (!has(word, KPF_NOPAGE)).then_some(word)
}

/// Frames between two pages that are read over rather than skipped: the kernel
/// makes up a frame's word in less than a system call takes.
const CLOSE: u64 = 16;

/// Pages of one read at most, which bounds what is read to 32 KiB.
const MOST_AT_ONCE: usize = 256;

/// `None` where there is no page.
fn is_poisoned(word: u64) -> Option<bool> {
    (!has(word, KPF_NOPAGE)).then_some(has(word, KPF_HWPOISON))
}

/// An [`io::Error`] is not `Clone`; one of the kernel's is its number.
fn copy(error: &io::Error) -> io::Error {
    error.raw_os_error().map_or_else(|| error.kind().into(), io::Error::from_raw_os_error)
}

fn has(word: u64, bit: u32) -> bool {
    word & (1 << bit) != 0
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn flags(words: &[u64]) -> (tempfile::TempDir, PageFlags) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("proc")).unwrap();
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        std::fs::write(dir.path().join(PATH), bytes).unwrap();
        let flags = PageFlags::open(&Root::new(dir.path())).unwrap();
        (dir, flags)
    }

    #[test]
    fn bit_19_of_the_frames_own_word_is_hwpoison() {
        let (_dir, flags) = flags(&[1 << 18, 1 << 19 | 1 << 11, !(1 << 19 | 1 << 20)]);
        assert_eq!(flags.is_poisoned(Pfn(0)).unwrap(), Some(false));
        assert_eq!(flags.is_poisoned(Pfn(1)).unwrap(), Some(true));
        assert_eq!(flags.is_poisoned(Pfn(2)).unwrap(), Some(false));
    }

    #[test]
    fn beyond_the_last_frame_and_in_a_hole_there_is_no_page() {
        let (_dir, flags) = flags(&[0, 1 << 20]);
        for none in [1, 2, 1 << 40, i64::MAX as u64 / 8 + 1, u64::MAX] {
            assert_eq!(flags.is_poisoned(Pfn(none)).unwrap(), None, "{none:#x}");
        }
    }

    proptest::proptest! {
        #[test]
        fn many_are_read_as_each_by_itself(
            words in proptest::collection::vec(proptest::prelude::any::<u64>(), 0..700),
            pages in proptest::collection::btree_set(0u64..900, 0..400),
        ) {
            let (_dir, flags) = flags(&words);
            let pages: Vec<Pfn> = pages.into_iter().map(Pfn).collect();
            let together = flags.are_poisoned(&pages);
            proptest::prop_assert_eq!(together.len(), pages.len());
            for (pfn, answer) in pages.iter().zip(together) {
                proptest::prop_assert_eq!(answer.unwrap(), flags.is_poisoned(*pfn).unwrap());
            }
        }
    }

    #[test]
    fn all_that_is_out_of_service_is_found_a_chunk_at_a_time() {
        let (_dir, flags) = flags(&[1 << 19, 0, 1 << 19, 1 << 19 | 1 << 20, 1 << 19]);
        let found = |from| flags.poisoned_among(Pfn(from), 3).unwrap();
        assert_eq!(found(0), Some((vec![Pfn(0), Pfn(2)], Pfn(3))));
        assert_eq!(found(3), Some((vec![Pfn(4)], Pfn(5))));
        assert_eq!(found(5), None);
        assert_eq!(found(u64::MAX), None);
    }

    #[test]
    fn a_host_without_the_file_is_told_by_its_path() {
        let dir = tempfile::tempdir().unwrap();
        let error = PageFlags::open(&Root::new(dir.path())).unwrap_err();
        assert!(error.to_string().contains("proc/kpageflags"), "{error}");
    }
}
