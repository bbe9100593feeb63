//! Pages whose content matters to somebody: a process that notices when one is lost.

use std::io::Write;
use std::num::NonZeroUsize;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::ExitCode;
use std::slice;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use nix::errno::Errno;
use nix::sys::mman::{madvise, mmap_anonymous, MapFlags, MmapAdvise, ProtFlags};
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::pipe;

use crate::kpage::{physical_address, PAGE_SIZE};

const HUGE_SIZE: u64 = 2 << 20;

/// The content is read this often, as that of a page in use would be.
const PERIOD: Duration = Duration::from_millis(50);

/// Prints `at ADDR...` and then, at each SIGUSR1, `intact at ADDR...` with where the pages are by then, or `corrupt`
/// and what is. SIGTERM asks the same for the last time; corrupt pages make the exit code 1.
///
/// `--piped` puts the pages into a pipe as well, whose references keep the kernel from moving them until SIGUSR2.
pub fn run(options: &[&str]) -> Result<ExitCode> {
    let (pages, page_size) = match options {
        [] | ["--piped"] => (1, PAGE_SIZE),
        ["--huge"] => (1, HUGE_SIZE),
        ["--pages", n] => (n.parse().context("--pages")?, PAGE_SIZE),
        ["--huge", "--pages", n] => (n.parse().context("--pages")?, HUGE_SIZE),
        _ => bail!("hold-page takes [--huge] [--pages N], or --piped"),
    };

    let signals = SigSet::from_iter([Signal::SIGUSR1, Signal::SIGUSR2, Signal::SIGTERM]);
    signals.thread_block().context("block signals")?;
    let held = Held::new(pages, page_size)?;
    let mut piped = options.contains(&"--piped").then(|| held.pipe()).transpose()?;
    say(&format!("at {}", held.addresses()?))?;
    loop {
        let signal = wait_for(&signals, PERIOD)?;
        if signal == Some(Signal::SIGUSR2) {
            drop(piped.take());
        }
        let corrupt = held.first_corrupt();
        match (&signal, corrupt) {
            (Some(Signal::SIGUSR1 | Signal::SIGTERM), None) => {
                say(&format!("intact at {}", held.addresses()?))?
            }
            (_, Some(offset)) => {
                say(&format!("corrupt: word at offset {offset:#x} of the area is not what it was"))?
            }
            (_, None) => (),
        }
        if signal == Some(Signal::SIGTERM) || corrupt.is_some() {
            return Ok(ExitCode::from(u8::from(corrupt.is_some())));
        }
    }
}

/// The host reads a pipe: every line must leave at once.
fn say(line: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").and_then(|()| out.flush()).context("print")
}

fn wait_for(signals: &SigSet, limit: Duration) -> Result<Option<Signal>> {
    let limit = libc::timespec {
        tv_sec: limit.as_secs().try_into()?,
        tv_nsec: limit.subsec_nanos().into(),
    };
    // SAFETY: both pointers are to live values, and no information about the signal is asked for.
    let signal = unsafe { libc::sigtimedwait(signals.as_ref(), std::ptr::null_mut(), &limit) };
    match Errno::result(signal) {
        Ok(signal) => Ok(Some(Signal::try_from(signal)?)),
        Err(Errno::EAGAIN | Errno::EINTR) => Ok(None),
        Err(error) => Err(error).context("wait for a signal"),
    }
}

struct Held {
    words: &'static mut [u64],
    page_size: u64,
}

impl Held {
    fn new(pages: u64, page_size: u64) -> Result<Self> {
        let length = usize::try_from(pages * page_size)?;
        let length = NonZeroUsize::new(length).context("no pages to hold")?;
        let mut flags = MapFlags::MAP_PRIVATE;
        if page_size == HUGE_SIZE {
            flags |= MapFlags::MAP_HUGETLB | MapFlags::MAP_HUGE_2MB;
        }
        // SAFETY: a new mapping at an address of the kernel's choice aliases nothing.
        let area = unsafe {
            mmap_anonymous(None, length, ProtFlags::PROT_READ | ProtFlags::PROT_WRITE, flags)
        }
        .with_context(|| match page_size {
            HUGE_SIZE => "map huge pages (are there enough in /proc/sys/vm/nr_hugepages?)",
            _ => "map pages",
        })?;
        if page_size == PAGE_SIZE {
            // SAFETY: the advice leaves the content alone; it keeps each page one of its own.
            unsafe { madvise(area, length.get(), MmapAdvise::MADV_NOHUGEPAGE) }
                .context("madvise")?;
        }
        // SAFETY: the mapping is this long, aligned, zeroed, ours alone, and never unmapped.
        let words = unsafe { slice::from_raw_parts_mut(area.as_ptr().cast(), length.get() / 8) };
        for (index, word) in words.iter_mut().enumerate() {
            *word = pattern(index);
        }
        Ok(Self { words, page_size })
    }

    /// A pipe that holds these pages themselves, not copies of them.
    fn pipe(&self) -> Result<(OwnedFd, OwnedFd)> {
        let (read, write) = pipe().context("pipe")?;
        let area = libc::iovec {
            iov_base: self.words.as_ptr().cast_mut().cast(),
            iov_len: size_of_val(self.words),
        };
        // SAFETY: the area is mapped for as long as the process lives, and a pipe that is not read changes nothing.
        let length = unsafe { libc::vmsplice(write.as_raw_fd(), &area, 1, 0) };
        let length = Errno::result(length).context("vmsplice")?;
        ensure!(usize::try_from(length)? == area.iov_len, "the pipe took {length} bytes");
        Ok((read, write))
    }

    fn addresses(&self) -> Result<String> {
        let addresses: Result<Vec<_>> = self
            .words
            .chunks_exact(self.page_size as usize / 8)
            .map(|page| Ok(format!("{:#x}", physical_address(page.as_ptr() as u64)?)))
            .collect();
        Ok(addresses?.join(" "))
    }

    /// The offset of the first word that changed.
    fn first_corrupt(&self) -> Option<usize> {
        self.words.iter().enumerate().find_map(|(index, word)| {
            // SAFETY: a reference is valid to read; volatile, as memory may change behind the compiler's back here.
            let word = unsafe { std::ptr::from_ref(word).read_volatile() };
            (word != pattern(index)).then_some(index * 8)
        })
    }
}

/// No two words alike, so that a page put in another's place is noticed.
fn pattern(index: usize) -> u64 {
    (index as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}
