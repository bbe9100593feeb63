//! Many pages of an earlier boot taken out of service in one go.

use super::page::{asked_offline, conclude_offline, offline_sparing, How};
use super::reply::Reply;
use super::sysfs;
use crate::host::{PageFlags, Root};
use bulkhead_core::decide::{Answer, Apart, HugetlbPolicy};
use bulkhead_core::model::{PageSize, Pfn};

/// What [`restore`] asks, for people.
pub(super) fn asked(root: &Root, pages: &[Pfn]) -> String {
    format!("{} pages > {}", pages.len(), root.path(How::Soft.file()).display())
}

/// Soft-offlines each of `pages`, then reads all of them back. Writes nothing
/// if they could not be read back.
///
/// Unlike for a single page nobody looks before: soft offline leaves a page
/// alone that is off (soft_offline_page() in mm/memory-failure.c), and whether
/// this order took it, or one of an earlier run in this boot, makes no
/// difference here.
pub(super) fn restore(root: &Root, size: PageSize, pages: &[Pfn], hugetlb: HugetlbPolicy) -> Reply {
    if hugetlb != HugetlbPolicy::Always {
        return one_by_one(root, size, pages, hugetlb);
    }
    let opened = PageFlags::open(root).and_then(|flags| {
        // What answers now will answer then.
        flags.is_poisoned(Pfn(0)).map(|_| flags)
    });
    let flags = match opened {
        Ok(flags) => flags,
        Err(error) => return error.into(),
    };
    let path = root.path(How::Soft.file());
    let file = match sysfs::open(&path) {
        Ok(file) => file,
        Err(error) => {
            let words = format!("open {}: {}", path.display(), sysfs::words(&error));
            return Reply::new(sysfs::answer(&error), words);
        }
    };
    let mut order: Vec<usize> = (0..pages.len()).collect();
    order.sort_by_key(|index| pages.get(*index));
    let mut wrote = Vec::with_capacity(pages.len());
    for pfn in pages {
        wrote.push(sysfs::order(&file, &size.addr(*pfn).to_string()));
    }
    let sorted: Vec<Pfn> = order.iter().filter_map(|index| pages.get(*index)).copied().collect();
    let mut off: Vec<_> = order.into_iter().zip(flags.are_poisoned(&sorted)).collect();
    off.sort_by_key(|(index, _)| *index);
    let mut reply = Reply::new(Answer::Off, "accepted; HWPoison is set");
    for ((pfn, wrote), (_, off)) in pages.iter().zip(wrote).zip(off) {
        if let (Ok(()), Ok(Some(true))) = (&wrote, &off) {
            continue;
        }
        let Reply { answer, answered, .. } = conclude_offline(How::Soft, wrote, off);
        let asked = asked_offline(root, size, *pfn, How::Soft);
        reply.apart.push(Apart { pfn: *pfn, answer, asked, answered });
    }
    reply
}

/// The same where huge pages are spared: each page is looked at right before it
/// is taken, since those before it may have used the pool up.
fn one_by_one(root: &Root, size: PageSize, pages: &[Pfn], hugetlb: HugetlbPolicy) -> Reply {
    let mut reply = Reply::new(Answer::Off, "accepted; HWPoison is set");
    for pfn in pages {
        let Reply { answer, answered, .. } = offline_sparing(root, size, *pfn, hugetlb);
        if !matches!(answer, Answer::Off | Answer::WasOff) {
            let asked = asked_offline(root, size, *pfn, How::Soft);
            reply.apart.push(Apart { pfn: *pfn, answer, asked, answered });
        }
    }
    reply
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::pageflags;
    use std::fs;

    /// A host with these words of kpageflags, and a file that takes addresses.
    fn host(words: &[u64]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for file in [How::Soft.file(), pageflags::PATH] {
            fs::create_dir_all(root.path(file).parent().unwrap()).unwrap();
        }
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        fs::write(root.path(pageflags::PATH), bytes).unwrap();
        fs::write(root.path(How::Soft.file()), "").unwrap();
        (dir, root)
    }

    const POISONED: u64 = 1 << 19;

    #[test]
    fn each_page_is_written_once_and_answered_by_what_is_read_back() {
        let (_dir, root) = host(&[POISONED, 0, POISONED, 1 << 20]);
        let pages = [Pfn(2), Pfn(0), Pfn(1), Pfn(3)];
        let reply = restore(&root, PageSize::KIB_4, &pages, HugetlbPolicy::Always);
        assert_eq!(
            fs::read_to_string(root.path(How::Soft.file())).unwrap(),
            "0x20000x00x10000x3000"
        );
        assert_eq!(reply.answer, Answer::Off);
        let apart: Vec<_> = reply.apart.iter().map(|a| (a.pfn, a.answer)).collect();
        assert_eq!(apart, [(Pfn(1), Answer::Unconfirmed), (Pfn(3), Answer::Unconfirmed)]);
        assert!(reply.apart[0].asked.starts_with("0x1000 > "), "{}", reply.apart[0].asked);
    }

    #[test]
    fn what_cannot_be_read_back_is_not_asked_for() {
        let (_dir, root) = host(&[0]);
        fs::remove_file(root.path(pageflags::PATH)).unwrap();
        let reply = restore(&root, PageSize::KIB_4, &[Pfn(0)], HugetlbPolicy::Always);
        assert_eq!((reply.answer, reply.apart.len()), (Answer::NoSuch, 0));
        assert_eq!(fs::read_to_string(root.path(How::Soft.file())).unwrap(), "");
    }

    #[test]
    fn a_kernel_without_soft_offline_gets_no_file_of_that_name() {
        let (_dir, root) = host(&[0]);
        fs::remove_file(root.path(How::Soft.file())).unwrap();
        let reply = restore(&root, PageSize::KIB_4, &[Pfn(0)], HugetlbPolicy::Always);
        assert_eq!(reply.answer, Answer::NoSuch);
        assert!(!root.path(How::Soft.file()).exists());
    }
}
