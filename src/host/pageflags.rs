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
        // The kernel's file offset is signed.
        let Some(offset) = pfn.0.checked_mul(8).filter(|o| i64::try_from(*o).is_ok()) else {
            return Ok(None);
        };
        match self.file.read_at(&mut word, offset) {
            Ok(8) => Ok(present(word)),
            Ok(_) => Ok(None),
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
