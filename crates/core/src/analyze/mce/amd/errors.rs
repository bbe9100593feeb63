//! Extended error codes of Scalable MCA banks.
//!
//! From the PPRs of families 17h, 19h and 1Ah, "MCA_STATUS … ErrorCodeExt" of
//! each bank type, in short words of our own; numbering checked against
//! rasdaemon's mce-amd-smca.c. A code without an entry is shown by number.

use super::smca::BankType;

/// What the extended error code (0 to 63) of a bank says.
pub fn words(bank: BankType, signature: (u32, u32), code: u8) -> Option<&'static str> {
    let table: &[&str] = match bank {
        BankType::LoadStore => &LOAD_STORE,
        BankType::LoadStoreV2 => &LOAD_STORE_V2,
        BankType::InstructionFetch => &INSTRUCTION_FETCH,
        BankType::L2Cache => &L2_CACHE,
        BankType::Decode => &DECODE,
        BankType::Execution => &EXECUTION,
        BankType::FloatingPoint => &FLOATING_POINT,
        BankType::L3Cache => &L3_CACHE,
        BankType::CoherentStation => &COHERENT_STATION,
        BankType::CoherentStationV2 if is_renumbered(signature) => &COHERENT_STATION_RENUMBERED,
        BankType::CoherentStationV2 => &COHERENT_STATION_V2,
        BankType::Pie => &PIE,
        BankType::MemoryCache => &MEMORY_CACHE,
        BankType::Memory if is_mi300a(signature) => &MEMORY_HBM,
        BankType::Memory => &MEMORY,
        BankType::MemoryV2 => &MEMORY_V2,
        BankType::Other(_) => return None,
    };
    table.get(usize::from(code)).copied().filter(|words| !words.is_empty())
}

/// Models whose second-version coherent station numbers its errors otherwise
/// (Revision Guide for family 19h models 10h-1Fh, erratum 1384).
fn is_renumbered((family, model): (u32, u32)) -> bool {
    match family {
        0x19 => matches!(model, 0x10..=0x1f | 0x60..=0x7b | 0xa0..=0xaf),
        0x1a => matches!(model, 0x40..=0x4f),
        _ => false,
    }
}

/// Family 19h models 90h-9Fh: the memory controllers serve HBM.
fn is_mi300a((family, model): (u32, u32)) -> bool {
    family == 0x19 && matches!(model, 0x90..=0x9f)
}

const LOAD_STORE: [&str; 27] = [
    "load queue parity error",
    "store queue parity error",
    "miss address buffer parity error",
    "L1 TLB parity error",
    "L1 data tag error of type 5",
    "L1 data tag error of type 6",
    "L1 data tag error of type 1",
    "internal error of type 1",
    "internal error of type 2",
    "system read data error, thread 0",
    "system read data error, thread 1",
    "L1 data tag error of type 2",
    "L1 data error of type 1, poison consumed",
    "L1 data error of type 2",
    "L1 data error of type 3",
    "L1 data tag error of type 4",
    "L2 TLB parity error",
    "page directory cache parity error",
    "L1 data tag error of type 3",
    "L1 data tag error of type 5",
    "L2 fill data error",
    "store coalescing buffer state or address error",
    "store coalescing buffer data error, pipe 0",
    "store coalescing buffer data error, pipe 1",
    "store coalescing buffer error of uncacheable data",
    "system read data error in the write combining buffer",
    "hardware assertion",
];

const LOAD_STORE_V2: [&str; 24] = [
    "L1 data ECC error on probe or victim read",
    "L1 data ECC error or L2 poison on load",
    "L1 data ECC error on store",
    "L1 tag ECC error or poison on probe or victim read",
    "L1 tag ECC error or poison on load",
    "L1 tag ECC error or poison on store",
    "L1 EMEM ECC error on load",
    "L1 EMEM ECC error on store",
    "L1 TLB parity error",
    "L2 TLB parity error",
    "page walk cache parity error",
    "store queue parity error",
    "load queue parity error",
    "miss address buffer parity error",
    "store coalescing buffer state parity error",
    "store coalescing buffer address parity error",
    "store coalescing buffer data parity error",
    "write combining buffer parity error",
    "poisoned line in the store coalescing buffer",
    "system read data error on load",
    "system read data error on store",
    "system read data error on write combining",
    "hardware assertion",
    "store forwarding parity error",
];

const INSTRUCTION_FETCH: [&str; 19] = [
    "microtag probe parity error",
    "tag multi-hit",
    "tag parity error",
    "data array parity error",
    "PRQ parity error",
    "L0 TLB parity error",
    "L1 TLB parity error",
    "L2 TLB parity error",
    "BPQ snoop parity error, thread 0",
    "BPQ snoop parity error, thread 1",
    "L1 branch target buffer multi-hit",
    "L2 branch target buffer multi-hit",
    "poisoned response from L2",
    "system read data error",
    "hardware assertion",
    "L1 TLB multi-hit",
    "L2 TLB multi-hit",
    "BSR parity error",
    "CT error",
];

const L2_CACHE: [&str; 6] = [
    "tag multi-hit",
    "tag or state array ECC error",
    "data array ECC error",
    "hardware assertion",
    "read response parity error",
    "error raised by the debug state machine",
];

const DECODE: [&str; 10] = [
    "micro-op cache tag parity error",
    "micro-op cache data parity error",
    "IBB register file parity error",
    "micro-op queue parity error",
    "dispatch queue parity error",
    "fetch address queue parity error",
    "patch RAM data parity error",
    "patch RAM sequencer parity error",
    "micro-op fetch queue parity error",
    "hardware assertion",
];

const EXECUTION: [&str; 14] = [
    "watchdog timeout",
    "physical register file parity error",
    "flag register file parity error",
    "displacement register file parity error",
    "address generator parity error",
    "payload parity error",
    "checkpoint queue parity error",
    "retire dispatch queue parity error",
    "retire status queue parity error",
    "scheduler queue parity error",
    "branch buffer queue parity error",
    "hardware assertion",
    "speculative map parity error",
    "retire map parity error",
];

const FLOATING_POINT: [&str; 8] = [
    "physical register file parity error",
    "free list parity error",
    "schedule queue parity error",
    "non-schedule queue parity error",
    "retire queue parity error",
    "status register file parity error",
    "hardware assertion",
    "mask register file parity error",
];

const L3_CACHE: [&str; 10] = [
    "shadow tag ECC error",
    "shadow tag multi-hit",
    "tag ECC error",
    "tag multi-hit",
    "data array ECC error",
    "data port parity error",
    "victim queue data fabric error",
    "hardware assertion",
    "poison made of a write combining parity error",
    "error raised by the debug state machine",
];

const COHERENT_STATION: [&str; 9] = [
    "illegal request",
    "address violation",
    "security violation",
    "illegal response",
    "unexpected response",
    "request or probe parity error",
    "read response parity error",
    "atomic request parity error",
    "probe filter ECC error",
];

const COHERENT_STATION_V2: [&str; 21] = [
    "illegal request",
    "address violation",
    "security violation",
    "illegal response",
    "unexpected response",
    "request or probe parity error",
    "read response parity error",
    "atomic request parity error",
    "read response without request",
    "probe filter protocol error",
    "probe filter ECC error",
    "read response with unexpected retry",
    "counter overflow",
    "counter underflow",
    "illegal request without data",
    "address violation without data",
    "security violation without data",
    "hardware assertion",
    "shadow tag protocol error",
    "shadow tag ECC error",
    "shadow tag transaction error",
];

const COHERENT_STATION_RENUMBERED: [&str; 18] = [
    "illegal request",
    "address violation",
    "security violation",
    "illegal response",
    "unexpected response",
    "request or probe parity error",
    "read response parity error",
    "atomic request parity error",
    "read response without request",
    "read response with unexpected retry",
    "counter overflow",
    "counter underflow",
    "probe filter protocol error",
    "probe filter ECC error",
    "illegal request without data",
    "address violation without data",
    "security violation without data",
    "hardware assertion",
];

const PIE: [&str; 9] = [
    "hardware assertion",
    "register security violation",
    "link error",
    "poison consumed",
    "deferred error in the data fabric",
    "watchdog timeout",
    "SRAM ECC error in the CNLI block",
    "register access while asleep",
    "error raised by the debug state machine",
];

const MEMORY_CACHE: [&str; 7] = [
    "counter overflow",
    "counter underflow",
    "write data parity error",
    "read response parity error",
    "tag ECC error, macro 0",
    "tag ECC error, macro 1",
    "data ECC error",
];

const MEMORY: [&str; 17] = [
    "DRAM ECC error",
    "poison on write to DRAM",
    "data port parity error",
    "peripheral bus error",
    "command or address parity error",
    "write data CRC error",
    "command queue SRAM ECC error",
    "AES SRAM ECC error",
    "error check and scrub: row error",
    "error check and scrub error",
    "throttling",
    "read data CRC error",
    "",
    "",
    "",
    "",
    "refresh management SRAM ECC error",
];

/// [`is_mi300a`].
const MEMORY_HBM: [&str; 16] = [
    "on-die ECC error",
    "poison error",
    "data port parity error",
    "",
    "command or address parity error",
    "write data parity error",
    "consolidated SRAM ECC error",
    "",
    "",
    "read buffer SRAM ECC error",
    "thermal throttling",
    "read data parity error",
    "",
    "firmware error",
    "SRAM parity error",
    "CRC error",
];

const MEMORY_V2: [&str; 12] = [
    "DRAM ECC error",
    "poison error",
    "data port parity error",
    "",
    "command or address parity error",
    "write data parity error",
    "command queue SRAM ECC error",
    "",
    "read data parity error",
    "read buffer SRAM ECC error",
    "read response SRAM ECC error",
    "LM32 microprocessor error",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_renumbered_bank_is_told_by_its_model() {
        let (zen2, genoa) = ((0x17, 0x31), (0x19, 0x11));
        let station = BankType::CoherentStationV2;
        assert_eq!(words(station, zen2, 10), Some("probe filter ECC error"));
        assert_eq!(words(station, genoa, 10), Some("counter overflow"));
        assert_eq!(words(station, genoa, 13), Some("probe filter ECC error"));
        assert_eq!(words(BankType::Memory, (0x19, 0x90), 0), Some("on-die ECC error"));
    }

    #[test]
    fn a_code_beyond_the_table_or_reserved_has_no_words() {
        assert_eq!(words(BankType::L2Cache, (0x17, 1), 6), None);
        assert_eq!(words(BankType::Memory, (0x19, 1), 12), None);
        assert_eq!(words(BankType::Other("USB"), (0x17, 1), 0), None);
        assert_eq!(words(BankType::L3Cache, (0x17, 1), 63), None);
    }
}
