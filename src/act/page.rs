//! Taking pages out of service, and giving them back.

use super::reply::Reply;
use super::sysfs;
use crate::host::hugetlb::{self, Pool};
use crate::host::{pageflags, HostError, PageFlags, Root};
use bulkhead_core::decide::{Answer, HugetlbPolicy};
use bulkhead_core::model::{PageSize, Pfn};
use std::io;
use std::path::PathBuf;

/// How a page is taken: the files of drivers/base/memory.c, which take a
/// physical address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    /// Its content is moved; nobody notices.
    Soft,
    /// The same, if it is free and so has no content; the file is not written
    /// otherwise. Whoever gets the page between the look and the write has it
    /// moved.
    Free,
    /// memory_failure(): its users may be killed.
    Hard,
}

/// Takes a PFN (mm/hwpoison-inject.c); there only with the module
/// hwpoison_inject and debugfs.
const UNPOISON: &str = "sys/kernel/debug/hwpoison/unpoison-pfn";

impl How {
    pub(super) fn file(self) -> &'static str {
        match self {
            How::Soft | How::Free => "sys/devices/system/memory/soft_offline_page",
            How::Hard => "sys/devices/system/memory/hard_offline_page",
        }
    }
}

/// What [`offline`] asks, for people.
pub(super) fn asked_offline(root: &Root, size: PageSize, pfn: Pfn, how: How) -> String {
    format!("{} > {}", size.addr(pfn), root.path(how.file()).display())
}

/// What [`unpoison`] asks, for people.
pub(super) fn asked_unpoison(root: &Root, pfn: Pfn) -> String {
    format!("{:#x} > {}", pfn.0, root.path(UNPOISON).display())
}

/// What [`inspect`] asks, for people.
pub(super) fn asked_inspect(root: &Root, pfn: Pfn) -> String {
    format!("page frame {:#x} in {}", pfn.0, root.path(pageflags::PATH).display())
}

/// Takes a page out of service. Writes nothing if it is already, if the kernel
/// knows no such page, or if it cannot be read back.
pub(super) fn offline(root: &Root, size: PageSize, pfn: Pfn, how: How) -> Reply {
    try_offline(root, size, pfn, how).unwrap_or_else(Reply::from)
}

fn try_offline(root: &Root, size: PageSize, pfn: Pfn, how: How) -> Result<Reply, HostError> {
    let flags = PageFlags::open(root)?;
    match flags.is_poisoned(pfn)? {
        Some(true) => {
            let answered = "HWPoison was set already; nothing was written";
            return Ok(Reply::new(Answer::WasOff, answered));
        }
        None => return Ok(no_page()),
        Some(false) => {}
    }
    if how == How::Free && !flags.is_free(pfn)? {
        return Ok(Reply::new(Answer::InUse, "the page is in use; nothing was written"));
    }
    let wrote = sysfs::write(&root.path(how.file()), &size.addr(pfn).to_string());
    Ok(conclude_offline(how, wrote, flags.is_poisoned(pfn)))
}

/// Soft-offlines a page unless it is part of a huge page that `hugetlb` keeps.
/// Where the pool cannot be read it keeps them all.
pub(super) fn offline_sparing(
    root: &Root,
    size: PageSize,
    pfn: Pfn,
    hugetlb: HugetlbPolicy,
) -> Reply {
    let spared = |why: String| Reply::new(Answer::Spared, why);
    let pool =
        match PageFlags::open(root).and_then(|flags| hugetlb::pool_of(root, &flags, size, pfn)) {
            Ok(Some(pool)) => pool,
            Ok(None) => return offline(root, size, pfn, How::Soft),
            Err(error) => return spared(format!("{error}; nothing was written")),
        };
    let Pool { page_kib, free } = pool;
    match hugetlb {
        HugetlbPolicy::KeepFree(keep) if free <= u64::from(keep) => spared(format!(
            "{free} huge pages of {page_kib} KiB are free, and {keep} must stay so; nothing was \
             written"
        )),
        HugetlbPolicy::Never => {
            spared(format!("it is of a huge page of {page_kib} KiB, none of which may go"))
        }
        HugetlbPolicy::KeepFree(_) | HugetlbPolicy::Always => offline(root, size, pfn, How::Soft),
    }
}

/// The kernel's word and the read-back together. The read-back decides:
/// hard_offline_page says yes to what it does not support, and a page may be
/// off in spite of an errno.
pub(super) fn conclude_offline(
    how: How,
    wrote: io::Result<()>,
    off: Result<Option<bool>, HostError>,
) -> Reply {
    match (wrote, off) {
        (Ok(()), Ok(Some(true))) => Reply::new(Answer::Off, "accepted; HWPoison is set"),
        (Ok(()), Ok(_)) => Reply::new(Answer::Unconfirmed, "accepted, but HWPoison is not set"),
        (Ok(()), Err(error)) => Reply::new(Answer::Unconfirmed, format!("accepted, but {error}")),
        (Err(error), Ok(Some(true))) => {
            // Somebody was faster, except where memory_failure() set the flag,
            // then failed to free the page of its users: they keep it, nobody
            // else gets it.
            let ours = how == How::Hard && error.raw_os_error() != Some(libc::EHWPOISON);
            let answer = if ours { Answer::Off } else { Answer::WasOff };
            Reply::new(answer, format!("{}; HWPoison is set all the same", sysfs::words(&error)))
        }
        (Err(error), Ok(_)) => {
            let answered = format!("{}; HWPoison is not set", sysfs::words(&error));
            Reply::new(sysfs::answer(&error), answered)
        }
        (Err(error), Err(blind)) => {
            Reply::new(sysfs::answer(&error), format!("{}; {blind}", sysfs::words(&error)))
        }
    }
}

/// Looks whether a page is out of service.
pub(super) fn inspect(root: &Root, pfn: Pfn) -> Reply {
    match PageFlags::open(root).and_then(|flags| flags.is_poisoned(pfn)) {
        Ok(Some(true)) => Reply::new(Answer::Off, "HWPoison is set"),
        Ok(Some(false)) => Reply::new(Answer::On, "HWPoison is not set"),
        Ok(None) => no_page(),
        Err(error) => error.into(),
    }
}

/// Gives a page back, where the kernel has the means.
pub(super) fn unpoison(root: &Root, pfn: Pfn) -> Reply {
    try_unpoison(root, pfn).unwrap_or_else(Reply::from)
}

fn try_unpoison(root: &Root, pfn: Pfn) -> Result<Reply, HostError> {
    let flags = PageFlags::open(root)?;
    match flags.is_poisoned(pfn)? {
        Some(false) => {
            let answered = "HWPoison was not set; nothing was written";
            return Ok(Reply::new(Answer::On, answered));
        }
        None => return Ok(no_page()),
        Some(true) => {}
    }
    let file = root.path(UNPOISON);
    let wrote = sysfs::write(&file, &format!("{:#x}", pfn.0));
    Ok(conclude_unpoison(file, wrote, flags.is_poisoned(pfn)))
}

fn conclude_unpoison(
    file: PathBuf,
    wrote: io::Result<()>,
    off: Result<Option<bool>, HostError>,
) -> Reply {
    match (wrote, off) {
        (Ok(()), Ok(Some(false))) => Reply::new(Answer::On, "accepted; HWPoison is clear"),
        (Ok(()), Ok(_)) => Reply::new(Answer::Unconfirmed, "accepted, but HWPoison is still set"),
        (Ok(()), Err(error)) => Reply::new(Answer::Unconfirmed, format!("accepted, but {error}")),
        (Err(error), Ok(Some(false))) => {
            let answered = format!("{}; HWPoison is clear all the same", sysfs::words(&error));
            Reply::new(Answer::On, answered)
        }
        (Err(error), _) if error.raw_os_error() == Some(libc::ENOENT) => {
            let answered = format!(
                "{} is not there: it needs debugfs and the module hwpoison_inject; without, \
                 only a reboot gives the page back",
                file.display()
            );
            Reply::new(Answer::NoSuch, answered)
        }
        (Err(error), _) => {
            let answered = format!("{}; HWPoison is still set", sysfs::words(&error));
            Reply::new(sysfs::answer(&error), answered)
        }
    }
}

fn no_page() -> Reply {
    Reply::new(Answer::NoSuch, "the kernel has no such page; nothing was written")
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;

    const FREE: u64 = 0;
    const POISONED: u64 = 1 << 19;

    /// A root with these words in kpageflags and, as plain files, the files
    /// that pages are taken with: they swallow what is written to them.
    fn host(words: &[u64]) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for dir in ["proc", "sys/devices/system/memory", "sys/kernel/debug/hwpoison"] {
            fs::create_dir_all(root.path(dir)).unwrap();
        }
        let bytes: Vec<u8> = words.iter().flat_map(|w| w.to_ne_bytes()).collect();
        fs::write(root.path(pageflags::PATH), bytes).unwrap();
        for how in [How::Soft, How::Hard] {
            fs::write(root.path(how.file()), "").unwrap();
        }
        (dir, root)
    }

    fn errno(errno: i32) -> io::Result<()> {
        Err(io::Error::from_raw_os_error(errno))
    }

    #[test]
    fn a_page_is_asked_for_by_its_physical_address() {
        for how in [How::Soft, How::Hard] {
            let (_dir, root) = host(&[FREE, FREE, FREE]);
            let reply = offline(&root, PageSize::KIB_4, Pfn(2), how);
            assert_eq!(fs::read_to_string(root.path(how.file())).unwrap(), "0x2000");
            assert_eq!(reply.answer, Answer::Unconfirmed, "a yes without the flag is none");
        }
    }

    #[test]
    fn a_page_in_use_is_not_asked_for_where_only_a_free_one_is_to_go() {
        let (_dir, root) = host(&[1 << 10, 1 << 11, FREE]);
        for in_use in [Pfn(1), Pfn(2)] {
            let reply = offline(&root, PageSize::KIB_4, in_use, How::Free);
            assert_eq!(reply.answer, Answer::InUse, "{in_use:?}");
        }
        assert_eq!(fs::read_to_string(root.path(How::Free.file())).unwrap(), "");
        offline(&root, PageSize::KIB_4, Pfn(0), How::Free);
        assert_eq!(fs::read_to_string(root.path(How::Free.file())).unwrap(), "0x0");
    }

    #[test]
    fn a_page_that_is_off_already_is_left_alone() {
        let (_dir, root) = host(&[FREE, POISONED]);
        let reply = offline(&root, PageSize::KIB_4, Pfn(1), How::Soft);
        assert_eq!(reply.answer, Answer::WasOff);
        assert_eq!(fs::read_to_string(root.path(How::Soft.file())).unwrap(), "");
    }

    #[test]
    fn a_page_that_the_kernel_does_not_have_is_not_asked_for() {
        let (_dir, root) = host(&[FREE]);
        let reply = offline(&root, PageSize::KIB_4, Pfn(1 << 40), How::Hard);
        assert_eq!(reply.answer, Answer::NoSuch);
        assert_eq!(fs::read_to_string(root.path(How::Hard.file())).unwrap(), "");
    }

    #[test]
    fn what_cannot_be_read_back_is_not_asked_for() {
        let (_dir, root) = host(&[FREE]);
        fs::remove_file(root.path(pageflags::PATH)).unwrap();
        let reply = offline(&root, PageSize::KIB_4, Pfn(0), How::Soft);
        assert_eq!(reply.answer, Answer::NoSuch);
        assert!(reply.answered.contains("kpageflags"), "{}", reply.answered);
        assert_eq!(fs::read_to_string(root.path(How::Soft.file())).unwrap(), "");
    }

    #[test]
    fn a_kernel_without_soft_offline_gets_no_file_of_that_name() {
        let (_dir, root) = host(&[FREE]);
        fs::remove_file(root.path(How::Soft.file())).unwrap();
        let reply = offline(&root, PageSize::KIB_4, Pfn(0), How::Soft);
        assert_eq!(reply.answer, Answer::NoSuch);
        assert!(!root.path(How::Soft.file()).exists());
    }

    #[test]
    fn a_yes_with_the_flag_is_off() {
        let reply = conclude_offline(How::Hard, Ok(()), Ok(Some(true)));
        assert_eq!(reply.answer, Answer::Off);
    }

    #[test]
    fn a_no_is_answered_by_its_errno() {
        let reply = conclude_offline(How::Soft, errno(libc::EBUSY), Ok(Some(false)));
        assert_eq!(reply.answer, Answer::Busy);
        assert_eq!(reply.answered, "EBUSY: Device or resource busy; HWPoison is not set");
        let reply = conclude_offline(How::Soft, errno(libc::EIO), Ok(Some(false)));
        assert_eq!(reply.answer, Answer::Unhandlable);
    }

    #[test]
    fn a_no_for_a_page_that_somebody_else_took_meanwhile_was_off() {
        let reply = conclude_offline(How::Soft, errno(libc::EBUSY), Ok(Some(true)));
        assert_eq!(reply.answer, Answer::WasOff);
        let reply = conclude_offline(How::Hard, errno(libc::EHWPOISON), Ok(Some(true)));
        assert_eq!(reply.answer, Answer::WasOff);
    }

    #[test]
    fn a_page_that_memory_failure_marked_but_could_not_free_is_off() {
        let reply = conclude_offline(How::Hard, errno(libc::EBUSY), Ok(Some(true)));
        assert_eq!(reply.answer, Answer::Off);
        assert!(reply.answered.contains("EBUSY"), "{}", reply.answered);
    }

    /// One base page and one huge page of 8 KiB, of whose pool `free` are free.
    fn host_with_a_pool(free: u32) -> (tempfile::TempDir, Root) {
        let (dir, root) = host(&[FREE, FREE, 1 << 15 | 1 << 17, 1 << 16 | 1 << 17]);
        let pool = "sys/kernel/mm/hugepages/hugepages-8kB";
        fs::create_dir_all(root.path(pool)).unwrap();
        fs::write(root.path(&format!("{pool}/free_hugepages")), free.to_string()).unwrap();
        fs::write(root.path(&format!("{pool}/resv_hugepages")), "0").unwrap();
        (dir, root)
    }

    #[test]
    fn a_huge_page_is_spared_as_the_policy_says_and_a_base_page_is_not() {
        let keep = HugetlbPolicy::KeepFree;
        for (pfn, policy, free, asked) in [
            (0, HugetlbPolicy::Never, 9, true),
            (2, HugetlbPolicy::Never, 9, false),
            (3, HugetlbPolicy::Never, 9, false),
            (3, keep(2), 2, false),
            (3, keep(2), 3, true),
            (3, keep(0), 0, false),
            (3, HugetlbPolicy::Always, 0, true),
        ] {
            let (_dir, root) = host_with_a_pool(free);
            let reply = offline_sparing(&root, PageSize::KIB_4, Pfn(pfn), policy);
            let wrote = !fs::read_to_string(root.path(How::Soft.file())).unwrap().is_empty();
            assert_eq!((wrote, reply.answer != Answer::Spared), (asked, asked), "{reply:?}");
        }
    }

    #[test]
    fn a_pool_that_cannot_be_read_keeps_its_huge_pages() {
        let (_dir, root) = host_with_a_pool(9);
        fs::remove_dir_all(root.path("sys/kernel/mm/hugepages")).unwrap();
        let policy = HugetlbPolicy::KeepFree(1);
        let reply = offline_sparing(&root, PageSize::KIB_4, Pfn(3), policy);
        assert_eq!(reply.answer, Answer::Spared);
        assert_eq!(fs::read_to_string(root.path(How::Soft.file())).unwrap(), "");
    }

    #[test]
    fn an_inspection_tells_off_on_and_not_there() {
        let (_dir, root) = host(&[FREE, POISONED]);
        assert_eq!(inspect(&root, Pfn(0)).answer, Answer::On);
        assert_eq!(inspect(&root, Pfn(1)).answer, Answer::Off);
        assert_eq!(inspect(&root, Pfn(2)).answer, Answer::NoSuch);
    }

    #[test]
    fn a_page_is_given_back_by_its_frame_number() {
        let (_dir, root) = host(&[FREE, POISONED]);
        fs::write(root.path(UNPOISON), "").unwrap();
        let reply = unpoison(&root, Pfn(1));
        assert_eq!(fs::read_to_string(root.path(UNPOISON)).unwrap(), "0x1");
        assert_eq!(reply.answer, Answer::Unconfirmed, "the flag is still there");
        assert_eq!(unpoison(&root, Pfn(0)).answer, Answer::On);
        let reply = conclude_unpoison(root.path(UNPOISON), Ok(()), Ok(Some(false)));
        assert_eq!(reply.answer, Answer::On);
    }

    #[test]
    fn without_the_means_only_a_reboot_gives_a_page_back() {
        let (_dir, root) = host(&[POISONED]);
        let reply = unpoison(&root, Pfn(0));
        assert_eq!(reply.answer, Answer::NoSuch);
        assert!(reply.answered.contains("hwpoison_inject"), "{}", reply.answered);
        assert!(!root.path(UNPOISON).exists());
    }
}
