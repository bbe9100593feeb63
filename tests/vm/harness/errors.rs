//! Raises hardware errors.

use std::time::Duration;

use anyhow::{Context, Result};

use super::vm::Vm;
use super::wait::wait_until;

/// MCi_STATUS of a corrected memory read error with an address.
pub const MEMORY_CE: u64 = 0x8c00_0000_0000_009f;
/// MCi_STATUS of a corrected data read error in the first-level data cache.
pub const L1_DATA_CE: u64 = 0x9000_0000_0000_0135;
/// The same in the second-level cache.
pub const L2_DATA_CE: u64 = 0x9000_0000_0000_0136;
/// MCi_STATUS of an uncorrected memory error that the patrol scrubber found.
const MEMORY_UE_ACTION_OPTIONAL: u64 = 0xbd00_0000_0000_00c0;
/// MCG_STATUS: a machine check is in progress, and the interrupted program can go on.
const MCIP_RIPV: u64 = 0x5;
/// MCi_MISC: the address is a physical one, good to the page.
pub const PHYSICAL_ADDRESS: u64 = 0x8c;

/// The kernel looks every second at most, see the guest's init; a busy machine takes its time.
const COLLECT_LIMIT: Duration = Duration::from_secs(60);

impl Vm {
    /// Puts an error into a machine-check bank, as the hardware would. An uncorrected one raises an exception; a
    /// corrected one waits there for the kernel to look, and another in the same bank meanwhile replaces it.
    pub fn mce(
        &self,
        cpu: u32,
        bank: u32,
        status: u64,
        mcgstatus: u64,
        addr: u64,
        misc: u64,
    ) -> Result<()> {
        self.monitor(&format!("mce {cpu} {bank} {status:#x} {mcgstatus:#x} {addr:#x} {misc:#x}"))
    }

    /// An uncorrected memory error, action optional, that all processors are told of, as Intel's are.
    pub fn memory_ue(&self, addr: u64) -> Result<()> {
        self.monitor(&format!(
            "mce -b 0 9 {MEMORY_UE_ACTION_OPTIONAL:#x} {MCIP_RIPV:#x} {addr:#x} {PHYSICAL_ADDRESS:#x}"
        ))
    }

    /// A corrected error; returns when the kernel has collected it and the bank is free for the next.
    pub fn ce(&self, cpu: u32, bank: u32, status: u64, addr: u64, misc: u64) -> Result<()> {
        self.mce(cpu, bank, status, 0, addr, misc)?;
        let look = format!("bulkhead-guest mce-bank {cpu} {bank}");
        wait_until("the kernel collects a corrected error", COLLECT_LIMIT, || {
            // An error that takes its CPU may do so before this looks.
            Ok(["0x0", "off line"].contains(&self.run(&look)?.as_str()))
        })
    }

    /// A corrected memory error at a physical address, through bank 9 of the first processor.
    pub fn memory_ce(&self, addr: u64) -> Result<()> {
        self.ce(0, 9, MEMORY_CE, addr, PHYSICAL_ADDRESS)
    }

    /// Has the test memory controller report errors; the words are those of tests/vm/edac-test. Returns when all are
    /// raised.
    pub fn edac(&self, command: &str) -> Result<()> {
        let raise = format!(
            "modprobe bulkhead_edac_test && echo '{command}' > /sys/kernel/debug/bulkhead_test/raise"
        );
        self.run(&raise).map(drop).context("test memory controller")
    }
}
