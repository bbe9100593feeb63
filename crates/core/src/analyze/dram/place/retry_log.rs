//! The retry-read log of Intel's memory controllers, which skx_edac and
//! i10nm_edac append to an error as `retry_rd_err_log[…]`.
//!
//! Both print the registers of the error's channel in one order, in hexadecimal
//! (skx_show_retry_rd_err_log() in drivers/edac/skx_base.c by PCI offset,
//! `offsets_scrub_*`, `offsets_demand_*` and `*_reg_rrl_ddr` in
//! drivers/edac/i10nm_base.c by MMIO offset):
//!
//! | # | register | Skylake | Ice Lake scrub, demand | Sapphire Rapids scrub, demand |
//! |---|---|---|---|---|
//! | 0 | log | 0x154 | 0x22c60, 0x22e54 | the same |
//! | 1 | misc | 0x148 | 0x22c54, 0x22e60 | the same |
//! | 2 | parity | 0x150 | 0x22c5c, 0x22e64 | 0x22f08, 0x22f10, of 64 bits |
//! | 3 | address1 | 0x15c | 0x22c58, 0x22e58 | the same |
//! | 4 | address2 | 0x114 | 0x22c28, 0x22e5c | the same |
//! | 5 | address3, of 64 bits | – | 0x20ed8, 0x20ee0 | the same |
//!
//! The fields used here are those of the "Second Generation Intel Xeon Scalable
//! Processors Datasheet, Volume Two: Registers" (RETRY_RD_ERR_LOG,
//! RETRY_RD_ERR_LOG_PARITY, _ADDRESS1, _ADDRESS2), which Ice Lake kept. The
//! 64-bit parity of DDR5 (Sapphire Rapids on) has no published layout, and is
//! not read.

use super::fields::{number, Base};
use crate::model::BitPattern;

const START: &str = "retry_rd_err_log[";

/// Bit 0 of the log: it and the other registers hold an error.
const VALID: u32 = 1;
/// The retry corrected nothing: uncorrectable (bit 1), correction failed
/// (bit 7), or no error was left to correct (bit 8). Parity and device then
/// mean nothing.
const NOT_CORRECTED: u32 = 1 << 1 | 1 << 7 | 1 << 8;
/// Modes of ECC (bits 6:3) in which the parity is one x4 device's 8 beats of 4
/// DQ: SDDC and SDDC+1, in one or two levels of memory. Adaptive double-device
/// correction has 16 bits of it, x8 devices and persistent memory another
/// geometry.
const SDDC: std::ops::RangeInclusive<u32> = 0..=3;
/// Row in address2, without the chip id that Skylake has above it.
const ROW: u32 = (1 << 18) - 1;
/// Devices of a rank of x4: 16 of data, 2 of ECC.
const DEVICES: u16 = 18;

/// What the log says of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryLog {
    /// The parity register: the wrong bits.
    pub bits: BitPattern,
    /// The device that was corrected.
    pub device: Option<u16>,
}

/// Splits a text where its retry-read log begins.
pub fn split(detail: &str) -> (&str, Option<&str>) {
    match detail.split_once(START) {
        Some((before, log)) => (before, Some(log)),
        None => (detail, None),
    }
}

/// The log of an error that the driver decoded to `row`.
///
/// `None` unless the log is valid, of one corrected x4 device, and of the same
/// row: the registers keep the channel's last logged error, which may be
/// another than the one that is reported.
pub fn read(log: &str, row: Option<u32>) -> Option<RetryLog> {
    let mut words = log.split_once(']')?.0.split_ascii_whitespace();
    let [log, _misc, parity, address1, address2] = [(); 5].map(|()| words.next());
    let log = word(log?)?;
    let (parity, address1, address2) = (word(parity?)?, word(address1?)?, word(address2?)?);
    let corrected = log & VALID != 0 && log & NOT_CORRECTED == 0;
    if !corrected || !SDDC.contains(&(log >> 3 & 0xf)) || row != Some(address2 & ROW) {
        return None;
    }
    let device = u16::try_from(address1 & 0x3f).ok().filter(|device| *device < DEVICES);
    (parity != 0).then_some(RetryLog { bits: BitPattern(parity), device })
}

/// A register of 32 bits, which is printed with 8 digits; one of 64 is none.
fn word(text: &str) -> Option<u32> {
    if text.len() != 8 {
        return None;
    }
    number(text, Base::Hex, 1 << 32)
}
