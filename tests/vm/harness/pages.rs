//! Pages of the guest's memory.

use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};

use super::agent::{Output, Process};
use super::vm::Vm;

/// hold-page answers at once, but the guest may be busy.
const ANSWER_LIMIT: Duration = Duration::from_secs(60);

const SIGUSR1: i32 = 10;
const SIGUSR2: i32 = 12;
const SIGTERM: i32 = 15;

/// Pages in use, by a process that reads them all the time and knows what ought to be in them.
pub struct HeldPages {
    process: Process,
    /// Where they were at first.
    pub addresses: Vec<u64>,
}

impl HeldPages {
    /// Where they are now, provided that nothing in them has changed.
    pub fn intact(&mut self) -> Result<Vec<u64>> {
        self.process.signal(SIGUSR1)?;
        parse_addresses(&self.process.wait_line("intact at ", ANSWER_LIMIT)?)
    }

    /// Ends what keeps a busy page where it is.
    pub fn let_move(&self) -> Result<()> {
        self.process.signal(SIGUSR2)
    }

    /// Lets go of them. Fails if anything in them has changed.
    pub fn release(self) -> Result<()> {
        self.process.signal(SIGTERM)?;
        self.process.wait()?.succeeded("hold-page")?;
        Ok(())
    }

    /// Waits for the end of the process, which is that of a user of an uncorrected error.
    pub fn wait_killed(self) -> Result<Output> {
        self.process.wait()
    }
}

impl Vm {
    /// Has a process of the guest hold some base pages.
    pub fn hold_pages(&self, count: usize) -> Result<HeldPages> {
        self.hold(&format!("--pages {count}"))
    }

    /// The same with one huge page of 2 MiB, out of the pool.
    pub fn hold_huge_page(&self) -> Result<HeldPages> {
        self.hold("--huge")
    }

    /// The same with a base page that the kernel cannot move until [`HeldPages::let_move`]: soft_offline_page answers
    /// EBUSY.
    pub fn hold_busy_page(&self) -> Result<HeldPages> {
        self.hold("--piped")
    }

    fn hold(&self, options: &str) -> Result<HeldPages> {
        let mut process = self.spawn(&format!("bulkhead-guest hold-page {options}"))?;
        let addresses = parse_addresses(&process.wait_line("at ", ANSWER_LIMIT)?)?;
        Ok(HeldPages { process, addresses })
    }

    /// Addresses of healthy pages with a flag of /proc/kpageflags: `buddy` is free, `slab` and `pgtable` are the
    /// kernel's and cannot be taken.
    pub fn find_pages(&self, flag: &str, count: usize) -> Result<Vec<u64>> {
        let addresses =
            parse_addresses(&self.run(&format!("bulkhead-guest find-pages {flag} {count}"))?)?;
        ensure!(addresses.len() == count, "{} {flag} pages instead of {count}", addresses.len());
        Ok(addresses)
    }

    /// How many of some pages are out of service (HWPoison).
    pub fn poisoned(&self, addresses: &[u64]) -> Result<usize> {
        let list: Vec<_> = addresses.iter().map(|address| format!("{address:#x}")).collect();
        let flags =
            self.run(&format!("echo {} | xargs -r bulkhead-guest page-flags", list.join(" ")))?;
        Ok(flags.lines().filter(|line| line.contains("hwpoison")).count())
    }

    pub fn is_poisoned(&self, address: u64) -> Result<bool> {
        Ok(self.poisoned(&[address])? == 1)
    }

    /// Asks the kernel itself to take a page out of service; the error is the kernel's.
    pub fn soft_offline(&self, address: u64) -> Result<()> {
        self.run(&format!("echo {address:#x} > /sys/devices/system/memory/soft_offline_page"))?;
        Ok(())
    }
}

fn parse_addresses(text: &str) -> Result<Vec<u64>> {
    text.split_whitespace()
        .map(|word| match word.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).with_context(|| text.to_owned()),
            None => bail!("no address: {word:?} in {text:?}"),
        })
        .collect()
}
