//! The kernel log, for the pages that the kernel takes out of service, or gives
//! back, by its own doing: its collector of corrected errors and
//! memory_failure() print a line, and nothing else tells of a soft offline.
//!
//! It counts no errors, and what it names is only looked at. So a reader may
//! begin with the oldest line there is: what was printed while no daemon ran is
//! noticed, and a line heard twice does no harm. That needs no cursor, which
//! could only be saved once what followed from a line is.

use bulkhead_core::model::Pfn;
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Where the kernel has it (Documentation/ABI/testing/dev-kmsg).
pub const PATH: &str = "dev/kmsg";

/// The longest record (CONSOLE_EXT_LOG_MAX, 8192, of kernel/printk/printk.c in
/// 6.1; PRINTK_MESSAGE_MAX, 2048, in 6.12); a shorter buffer is EINVAL.
const LONGEST: usize = 8192;

/// Records read at a time, lest a flood of them hold the caller.
const AT_A_TIME: usize = 512;

/// What the log brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Heard {
    /// Page frames that a line was about, in the order of the lines.
    pub pages: Vec<Pfn>,
    /// Records that were overwritten before they were read.
    pub missed: u64,
    /// There is more at once.
    pub more: bool,
}

/// The log, read from the oldest record on.
#[derive(Debug)]
pub struct KernelLog {
    file: File,
    /// Number of the record that should come next, once one came.
    next: Option<u64>,
}

impl KernelLog {
    /// Opens it at its oldest record.
    ///
    /// # Errors
    /// When it cannot be opened: it needs CAP_SYSLOG where
    /// `kernel.dmesg_restrict` is set.
    pub fn open(path: &Path) -> io::Result<KernelLog> {
        let file = OpenOptions::new().read(true).custom_flags(libc::O_NONBLOCK).open(path)?;
        Ok(KernelLog { file, next: None })
    }

    /// What was printed since the last call; never blocks.
    ///
    /// # Errors
    /// When the log cannot be read any more.
    pub fn read(&mut self) -> io::Result<Heard> {
        let mut heard = Heard::default();
        let mut record = [0; LONGEST];
        for _ in 0..AT_A_TIME {
            match self.file.read(&mut record) {
                Ok(0) => return Ok(heard),
                Ok(length) => self.take(record.get(..length).unwrap_or_default(), &mut heard),
                Err(error) => match error.raw_os_error() {
                    Some(libc::EAGAIN) => return Ok(heard),
                    // Overwritten: the next read gives the oldest that is left,
                    // and its number says how many went. EINTR: again.
                    Some(libc::EPIPE | libc::EINTR) => {}
                    _ => return Err(error),
                },
            }
        }
        heard.more = true;
        Ok(heard)
    }

    fn take(&mut self, record: &[u8], heard: &mut Heard) {
        let Some(record) = Record::parse(record) else { return };
        let missed = self.next.map_or(0, |next| record.number.saturating_sub(next));
        heard.missed = heard.missed.saturating_add(missed);
        self.next = record.number.checked_add(1);
        heard.pages.extend(record.page());
    }
}

impl AsFd for KernelLog {
    /// Readable when there is something to read.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// `priority,number,time,flags[,…];text`, then lines of variables, which begin
/// with a space.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Record<'a> {
    /// Said by the kernel; a process's writes never have its facility, 0
    /// (devkmsg_write() in kernel/printk/printk.c).
    kernel: bool,
    number: u64,
    text: &'a str,
}

impl<'a> Record<'a> {
    pub(super) fn parse(record: &'a [u8]) -> Option<Record<'a>> {
        // The kernel escapes what is not printable ASCII.
        let (head, text) = std::str::from_utf8(record).ok()?.split_once(';')?;
        let mut fields = head.split(',');
        let priority: u32 = fields.next()?.parse().ok()?;
        let number = fields.next()?.parse().ok()?;
        // Three bits of level, the facility above (include/linux/kern_levels.h).
        Some(Record { kernel: priority >> 3 == 0, number, text: text.lines().next()? })
    }

    /// The page frame that it says something of.
    pub(super) fn page(&self) -> Option<Pfn> {
        let said = |prefix: &&str| self.text.strip_prefix(*prefix);
        let rest = self.kernel.then(|| PREFIXES.iter().find_map(said)).flatten()?;
        let (_, number) = rest.split_once("0x")?;
        let end = number.find(|c: char| !c.is_ascii_hexdigit()).unwrap_or(number.len());
        u64::from_str_radix(number.get(..end)?, 16).ok().map(Pfn)
    }
}

/// How the lines begin that name the frame of a page that went, may go, or came
/// back; its number is the first in them with `0x`. As 6.1 and 6.12 print them:
/// drivers/ras/cec.c, mm/memory-failure.c (where "soft offline" has four
/// spellings), mm/madvise.c.
const PREFIXES: [&str; 8] = [
    "RAS: Soft-offlining pfn: ",
    "Memory failure: ",
    "Soft offline: ",
    "soft offline: ",
    "soft_offline: ",
    "soft_offline_page: ",
    "Soft offlining pfn ",
    "Unpoison: ",
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::os::unix::net::UnixDatagram;

    fn page(text: &str) -> Option<Pfn> {
        Record::parse(format!("3,339,5140900,-;{text}\n").as_bytes()).unwrap().page()
    }

    #[test]
    fn a_page_is_named_in_the_words_of_6_1_and_of_6_12() {
        for line in [
            "RAS: Soft-offlining pfn: 0x8000",
            "Soft offline: 0x8000: page already poisoned",
            "Soft offline: 0x8000: thp split failed",
            "Soft offline: 0x8000: invalidated",
            "soft offline: 0x8000 page already poisoned",
            "soft offline: 0x8000: page migration failed 1, type 0x17ffffc0000000(node=0)",
            "soft_offline: 0x8000: invalidated",
            "soft_offline_page: 0x8000 page already poisoned",
            "Memory failure: 0x8000: recovery action for free buddy page: Recovered",
            "Memory failure: 0x8000: already hardware poisoned",
            "Memory failure: 0x8000 cannot catch tail",
            "Soft offlining pfn 0x8000 at process virtual address 0x7f0012345000",
            "Unpoison: 0x8000: software-unpoisoned page",
            "Unpoison: Software-unpoisoned page 0x8000",
        ] {
            assert_eq!(page(line), Some(Pfn(0x8000)), "{line}");
        }
    }

    #[test]
    fn other_lines_name_none() {
        for line in [
            "",
            "RAS: Correctable Errors collector initialized.",
            "Memory failure: Out of memory while machine check handling",
            "Soft offline: disabled by /proc/sys/vm/enable_soft_offline",
            "Memory failure: 0x",
            "Memory failure: 0x10000000000000000: Unknown page state",
            "audit: Memory failure: 0x8000: recovery action",
        ] {
            assert_eq!(page(line), None, "{line}");
        }
    }

    #[test]
    fn only_the_kernel_is_believed() {
        let of_a_process = b"12,340,5140900,-;RAS: Soft-offlining pfn: 0x8000\n";
        assert_eq!(Record::parse(of_a_process).unwrap().page(), None);
    }

    #[test]
    fn variables_and_more_fields_are_left_alone() {
        let record = b"6,7,5,-,caller=T1;hello\n SUBSYSTEM=x\n Memory failure: 0x8000: x\n";
        let record = Record::parse(record).unwrap();
        assert_eq!((record.number, record.text, record.page()), (7, "hello", None));
    }

    /// Like /dev/kmsg, a socket of datagrams gives a record at a time.
    fn log(records: &[String]) -> (UnixDatagram, KernelLog) {
        let (kernel, ours) = UnixDatagram::pair().unwrap();
        ours.set_nonblocking(true).unwrap();
        for record in records {
            kernel.send(record.as_bytes()).unwrap();
        }
        (kernel, KernelLog { file: File::from(std::os::fd::OwnedFd::from(ours)), next: None })
    }

    fn taken(number: u64) -> String {
        format!("3,{number},1,-;RAS: Soft-offlining pfn: {number:#x}\n")
    }

    #[test]
    fn what_is_there_is_read_and_no_more_is_waited_for() {
        let (kernel, mut log) = log(&[taken(7), "6,8,1,-;hello\n".to_owned(), taken(9)]);
        let heard = Heard { pages: vec![Pfn(7), Pfn(9)], missed: 0, more: false };
        assert_eq!(log.read().unwrap(), heard);
        assert_eq!(log.read().unwrap(), Heard::default());
        kernel.send(taken(10).as_bytes()).unwrap();
        assert_eq!(log.read().unwrap().pages, [Pfn(10)]);
    }

    #[test]
    fn records_that_were_overwritten_are_counted() {
        let (_kernel, mut log) = log(&[taken(7), taken(10), taken(11)]);
        assert_eq!(log.read().unwrap().missed, 2);
    }

    proptest! {
        #[test]
        fn no_record_is_too_strange(record in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(record) = Record::parse(&record) {
                prop_assert!(record.page().is_none() || record.kernel);
            }
        }

        #[test]
        fn a_line_cut_short_names_no_other_page_than_a_shorter_number(
            pfn in any::<u64>(),
            prefix in 0..PREFIXES.len(),
            length in 0usize..100,
        ) {
            let whole = format!("3,1,1,-;{}{pfn:#x}", PREFIXES[prefix]);
            let cut = &whole.as_bytes()[..length.min(whole.len())];
            if let Some(Pfn(named)) = Record::parse(cut).and_then(|record| record.page()) {
                let named = format!("{named:#x}");
                prop_assert!(whole.contains(&named));
            }
        }
    }
}
