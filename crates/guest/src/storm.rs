//! Errors of the test memory controller, timed where they are raised.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};

use crate::kpage::{HWPOISON, PAGE_SIZE};

/// tests/vm/edac-test/controller.c
const RAISE: &str = "/sys/kernel/debug/bulkhead_test/raise";

/// Between two looks at a page: as long as a sleep takes anyway, and no load on what is measured.
const LOOK: Duration = Duration::from_micros(50);

/// A page that is not off by then does not come off.
const LIMIT: Duration = Duration::from_secs(20);

/// Raises errors and prints the seconds that it took.
pub fn raise(command: &str) -> Result<()> {
    println!("{:.9}", timed(command)?.as_secs_f64());
    Ok(())
}

/// Raises errors again and again, until it is killed, and prints `storming` once the first are raised.
pub fn raise_for_ever(command: &str) -> Result<ExitCode> {
    timed(command)?;
    println!("storming");
    loop {
        timed(command)?;
    }
}

/// Raises two errors on each of `count` pages from `first` on, one page after the other, and prints the nanoseconds
/// from before the second error to when the page was seen off; a line each, `-` for one that did not come off.
pub fn time_to_isolation(first: u64, count: u64) -> Result<()> {
    let flags = File::open("/proc/kpageflags").context("/proc/kpageflags")?;
    for n in 0..count {
        let address = first + n * PAGE_SIZE;
        let error = format!("ce addr={address:#x}");
        timed(&error)?;
        pause(n);
        let start = Instant::now();
        timed(&error)?;
        match off_after(&flags, address, start)? {
            Some(time) => println!("{}", time.as_nanos()),
            None => println!("-"),
        }
        pause(n + 1);
    }
    Ok(())
}

/// Between 60 and 160 ms, another each time: nothing may fall into step with what the daemon does at intervals.
fn pause(n: u64) {
    thread::sleep(Duration::from_millis(60 + n * 37 % 101));
}

fn off_after(flags: &File, address: u64, start: Instant) -> Result<Option<Duration>> {
    loop {
        let mut entry = [0; 8];
        flags.read_exact_at(&mut entry, address / PAGE_SIZE * 8).context("/proc/kpageflags")?;
        let now = start.elapsed();
        if u64::from_le_bytes(entry) & HWPOISON != 0 {
            return Ok(Some(now));
        }
        if now > LIMIT {
            return Ok(None);
        }
        thread::sleep(LOOK);
    }
}

fn timed(command: &str) -> Result<Duration> {
    let start = Instant::now();
    fs::write(RAISE, command).with_context(|| format!("{command:?} to {RAISE}"))?;
    Ok(start.elapsed())
}
