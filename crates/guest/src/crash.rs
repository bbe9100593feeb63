//! A crash kernel, loaded for the day on which this one dies.

use std::fs::{self, File};
use std::os::fd::AsRawFd;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;

/// Where the initramfs has one, if the test wants it.
const KERNEL: &str = "/crash/vmlinuz";
const INITRAMFS: &str = "/crash/initramfs";

/// As kdump-tools has them (its USE_KDUMP command line), with what emulation needs; and should this kernel die too, the
/// test is not to wait for it.
const ARGUMENTS: &str =
    "reset_devices nr_cpus=1 irqpoll nokaslr tsc=unstable no_timer_check console=ttyS0 panic=1";

/// Arguments of this kernel that are meant for the crash kernel begin so.
const PASSED_ON: &str = "bulkhead.crash.";

/// KEXEC_FILE_ON_CRASH (include/uapi/linux/kexec.h).
const ON_CRASH: libc::c_ulong = 2;

/// Loads it where there is one.
pub fn load_if_there() -> Result<()> {
    if !Path::new(KERNEL).exists() {
        return Ok(());
    }
    let own = fs::read_to_string("/proc/cmdline").context("/proc/cmdline")?;
    let passed_on = own.split_whitespace().filter(|word| word.starts_with(PASSED_ON));
    let mut arguments = [ARGUMENTS].into_iter().chain(passed_on).collect::<Vec<_>>().join(" ");
    arguments.push('\0');
    let kernel = File::open(KERNEL).context(KERNEL)?;
    let initramfs = File::open(INITRAMFS).context(INITRAMFS)?;
    // SAFETY: the descriptors are open, and the text is as long as is said, its zero counted.
    let result = unsafe {
        libc::syscall(
            libc::SYS_kexec_file_load,
            kernel.as_raw_fd(),
            initramfs.as_raw_fd(),
            arguments.len(),
            arguments.as_ptr(),
            ON_CRASH,
        )
    };
    Errno::result(result).context("load the crash kernel")?;
    Ok(())
}
