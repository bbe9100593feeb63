//! Machine-check registers, by which a test sees that the kernel has collected an injected error.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;

use anyhow::{Context, Result};

/// IA32_MC0_STATUS; the registers of the next bank are four further on.
const MC0_STATUS: u64 = 0x401;

/// Prints MCi_STATUS, or `off line` where the CPU is that; needs the module msr. Zero once the kernel has read and
/// cleared the bank.
pub fn print_bank_status(cpu: u32, bank: u32) -> Result<()> {
    let path = format!("/dev/cpu/{cpu}/msr");
    let mut status = [0; 8];
    let read = File::open(&path)
        .and_then(|file| file.read_exact_at(&mut status, MC0_STATUS + 4 * u64::from(bank)));
    let online = format!("/sys/devices/system/cpu/cpu{cpu}/online");
    if read.is_err() && fs::read_to_string(online).is_ok_and(|online| online.trim() == "0") {
        println!("off line");
        return Ok(());
    }
    read.with_context(|| format!("bank {bank} in {path}"))?;
    println!("{:#x}", u64::from_le_bytes(status));
    Ok(())
}
