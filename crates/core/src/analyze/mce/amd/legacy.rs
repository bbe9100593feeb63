//! Banks before Scalable MCA: families 0Fh to 16h.
//!
//! From the BKDGs of families 0Fh, 10h and 15h, "MC4 Machine Check Status"
//! (error signatures of the north bridge), as drivers/edac/mce_amd.c reads
//! them.

/// What the bank of this number is.
pub fn bank(family: u32, number: u8) -> Option<&'static str> {
    Some(match (number, family) {
        (0, _) => "data cache",
        (1, _) => "instruction cache",
        (2, 0x15) => "combined unit",
        (2, _) => "bus unit",
        (3, _) => "load store unit",
        (4, _) => "north bridge",
        (5, 0x15) => "execution unit",
        (5, _) => "reorder buffer",
        (6, _) => "floating point unit",
        _ => return None,
    })
}

/// What the north bridge's extended error code, MC4_STATUS bits 20:16, says.
pub fn north_bridge(family: u32, code: u8) -> Option<&'static str> {
    let common = match code & 0x1f {
        0x01 => "link CRC error",
        0x02 => "link sync packets",
        0x03 => "master abort",
        0x04 => "target abort",
        0x05 => "invalid GART entry",
        0x06 => "unsupported atomic operation",
        0x07 => "watchdog timeout",
        0x08 => "DRAM ECC error",
        0x09 => "DMA exclusion vector error",
        0x0d => "DRAM address or control parity error",
        _ => "",
    };
    if !common.is_empty() {
        return Some(common);
    }
    Some(match (code & 0x1f, family) {
        (0x00, 0x0f) => "DRAM ECC error",
        (0x0a, 0x10..) => "link data error",
        (0x0b, 0x10..) => "protocol error",
        (0x0c, 0x10..) => "array parity error",
        (0x0e, 0x10..) => "link retry",
        (0x0f, 0x10..) => "table walk data error",
        (0x19, 0x15) => "compute unit data error",
        (0x1c, 0x10..) => "L3 data ECC error",
        (0x1d, 0x10..) => "L3 tag ECC error",
        (0x1e, 0x10..) => "L3 LRU parity error",
        (0x1f, 0x10..) => "probe filter ECC error",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn later_families_know_more_codes() {
        assert_eq!(north_bridge(0x0f, 0x00), Some("DRAM ECC error"));
        assert_eq!(north_bridge(0x10, 0x00), None);
        assert_eq!(north_bridge(0x0f, 0x1c), None);
        assert_eq!(north_bridge(0x10, 0x1c), Some("L3 data ECC error"));
        assert_eq!(north_bridge(0x15, 0x19), Some("compute unit data error"));
    }
}
