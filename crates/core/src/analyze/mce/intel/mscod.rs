//! Intel's model-specific error codes: what a memory controller, home agent or
//! link adds to the MCACOD.
//!
//! From the SDM vol. 3B, "Interpreting Machine Check Error Codes", "Incremental
//! Decoding Information" of each model, in short words of our own; checked
//! against the decoders of mcelog and rasdaemon. Codes that concern only
//! persistent-memory protocol or credits inside the chip are left out: for
//! those, and for the power control unit's, the number is shown.

use super::agent::{Agent, Generation};
use crate::analyze::mce::status;

/// What MSCOD says, `None` where no table is at hand. Flags may be several.
pub fn words(generation: Generation, agent: Agent, status: u64) -> Option<String> {
    use Generation::*;
    let code = status::mscod(status);
    match (agent, generation) {
        (Agent::Memory(_), Skylake) if code & 0x0800 != 0 => None,
        (
            Agent::Memory(_),
            SandyBridge | IvyBridge | Haswell | BroadwellDe | Broadwell | Skylake,
        ) => flags(code & memory_flags_of(generation), &MEMORY_FLAGS),
        (Agent::HomeAgent(_), Skylake | IceLake | IceLakeD | SnowRidge) => flags(code, &M2M_FLAGS),
        (Agent::Memory(_) | Agent::HbmMemory, IceLake | IceLakeD | SnowRidge | SapphireRapids) => {
            find(code, &MEMORY_CODES)
        }
        (Agent::HomeAgent(_) | Agent::HbmHomeAgent, SapphireRapids) => {
            find(code & 0xff, &M2M_CODES)
        }
        (Agent::Memory(_), GraniteRapids) => find(code, &MCCHAN_CODES),
        (Agent::HomeAgent(_), GraniteRapids) => find(code, &B2CMI_CODES),
        (Agent::Link, Haswell | Broadwell) => find(code & 0x3f, &QPI_CODES),
        (Agent::Link, Skylake | IceLake | SapphireRapids) => find(code & 0x3f, &UPI_CODES),
        (Agent::Link, GraniteRapids) => {
            find(code, &UPI_CODES).or_else(|| find(code, &UPI_SECURITY_CODES))
        }
        _ => None,
    }
}

type Table = [(u16, &'static str)];

fn find(code: u16, table: &Table) -> Option<String> {
    table.iter().find(|(c, _)| *c == code).map(|(_, words)| (*words).to_owned())
}

fn flags(code: u16, table: &Table) -> Option<String> {
    let set: Vec<&str> =
        table.iter().filter(|(flag, _)| code & flag != 0).map(|(_, words)| *words).collect();
    (!set.is_empty()).then(|| set.join(" and "))
}

/// Memory controllers up to Skylake: a flag each.
const MEMORY_FLAGS: [(u16, &str); 11] = [
    (1 << 0, "address parity error"),
    (1 << 1, "write data parity error"),
    (1 << 2, "write byte-enable parity error"),
    (1 << 3, "corrected patrol scrub error"),
    (1 << 4, "uncorrected patrol scrub error"),
    (1 << 5, "corrected spare error"),
    (1 << 6, "uncorrected spare error"),
    (1 << 7, "read error"),
    (1 << 8, "write data buffer parity error"),
    (1 << 9, "DDR4 command or address parity error"),
    (1 << 10, "uncorrected address parity error"),
];

/// Which of [`MEMORY_FLAGS`] the model's table has.
fn memory_flags_of(generation: Generation) -> u16 {
    match generation {
        Generation::SandyBridge => 0x007f,
        Generation::IvyBridge | Generation::BroadwellDe => 0x01ff,
        Generation::Haswell => 0x03ff,
        Generation::Broadwell => 0x037f,
        Generation::Skylake => 0x07ff,
        _ => 0,
    }
}

/// M2M of Skylake and Ice Lake: a flag each.
const M2M_FLAGS: [(u16, &str); 7] = [
    (1 << 0, "read data error"),
    (1 << 2, "partial write data error"),
    (1 << 3, "full write data error"),
    (1 << 4, "clock-crossing buffer error"),
    (1 << 5, "timeout"),
    (1 << 6, "tracker parity error"),
    (1 << 7, "fatal error of the first bucket"),
];

/// Memory controllers of Ice Lake and Sapphire Rapids: MSCOD is one code.
const MEMORY_CODES: [(u16, &str); 24] = [
    (0x0001, "address parity error"),
    (0x0002, "data parity error"),
    (0x0003, "data ECC error"),
    (0x0004, "data byte-enable parity error"),
    (0x0007, "transaction ID parity error"),
    (0x0008, "corrected patrol scrub error"),
    (0x0010, "uncorrected patrol scrub error"),
    (0x0020, "corrected spare error"),
    (0x0040, "uncorrected spare error"),
    (0x0080, "corrected read error"),
    (0x00a0, "uncorrected read error"),
    (0x00c0, "uncorrected metadata"),
    (0x0100, "write data buffer parity error"),
    (0x0108, "DDR link failure"),
    (0x0200, "command or address parity error"),
    (0x0220, "HBM command or address parity error"),
    (0x0221, "HBM data parity error"),
    (0x0400, "read queue parity error"),
    (0x1008, "corrected patrol scrub error of the mirror"),
    (0x1010, "uncorrected patrol scrub error of the mirror"),
    (0x1020, "corrected spare error of the mirror"),
    (0x1040, "uncorrected spare error of the mirror"),
    (0x1080, "corrected read error of the mirror"),
    (0x10a0, "uncorrected read error of the mirror"),
];

/// M2M of Sapphire Rapids: MSCOD bits 7:0.
const M2M_CODES: [(u16, &str); 10] = [
    (0x01, "read ECC error"),
    (0x02, "error of the first bucket"),
    (0x03, "tracker parity error"),
    (0x05, "prefetch channel mismatch"),
    (0x07, "read completion parity error"),
    (0x08, "response parity error"),
    (0x09, "timeout"),
    (0x0a, "reserved credit pool error"),
    (0x0b, "credit count error"),
    (0x0c, "credit oversubscription"),
];

/// Memory channels of Granite Rapids (MCCHAN): MSCOD is one code; each channel
/// has two sub-channels.
const MCCHAN_CODES: [(u16, &str); 31] = [
    (0x0001, "address parity error"),
    (0x0002, "write data parity error of sub-channel 0"),
    (0x0003, "write data ECC error of sub-channel 0"),
    (0x0004, "write byte-enable parity error of sub-channel 0"),
    (0x0005, "write MAC parity error of sub-channel 0"),
    (0x0008, "corrected patrol scrub error"),
    (0x0010, "uncorrected patrol scrub error"),
    (0x0020, "corrected spare error"),
    (0x0040, "uncorrected spare error"),
    (0x0080, "corrected read error"),
    (0x00a0, "uncorrected read error"),
    (0x00b0, "poison read with poisoning disabled"),
    (0x00c0, "metadata read error"),
    (0x0100, "write data buffer parity error of sub-channel 0"),
    (0x0102, "write data buffer ECC error of sub-channel 0"),
    (0x0104, "write buffer byte-enable parity error of sub-channel 0"),
    (0x0106, "persistent write data buffer ECC error of sub-channel 0"),
    (0x0108, "DDR link failure"),
    (0x0109, "illegal incoming opcode"),
    (0x0200, "command or address parity, or write CRC error"),
    (0x0400, "scheduler address parity error"),
    (0x0832, "internal error"),
    (0x0833, "tracker address parity error"),
    (0x2002, "write data parity error of sub-channel 1"),
    (0x2003, "write data ECC error of sub-channel 1"),
    (0x2004, "write byte-enable parity error of sub-channel 1"),
    (0x2005, "write MAC parity error of sub-channel 1"),
    (0x2100, "write data buffer parity error of sub-channel 1"),
    (0x2102, "write data buffer ECC error of sub-channel 1"),
    (0x2104, "write buffer byte-enable parity error of sub-channel 1"),
    (0x2106, "persistent write data buffer ECC error of sub-channel 1"),
];

/// Between mesh and memory controllers of Granite Rapids.
const B2CMI_CODES: [(u16, &str); 10] = [
    (0x01, "read ECC error"),
    (0x02, "error of the first bucket"),
    (0x03, "tracker parity error"),
    (0x04, "security mismatch"),
    (0x07, "read completion parity error"),
    (0x08, "response parity error"),
    (0x09, "timeout"),
    (0x0a, "address parity error"),
    (0x0c, "credit oversubscription"),
    (0x0d, "security attribute mismatch"),
];

/// QPI of Haswell and Broadwell: MSCOD bits 5:0.
const QPI_CODES: [(u16, &str); 13] = [
    (0x02, "physical layer drift buffer alarm"),
    (0x03, "physical layer latency buffer rollover"),
    (0x10, "link layer control error from the ring"),
    (0x11, "CRC error, link retry aborted"),
    (0x12, "unsupported or undefined packet"),
    (0x13, "link layer control error"),
    (0x15, "uninitialized value used"),
    (0x20, "physical layer reset, initialization aborted"),
    (0x21, "data lanes failed over"),
    (0x22, "physical layer reset, width unchanged"),
    (0x23, "clock lane failed over"),
    (0x30, "CRC error, retried after a physical layer reset"),
    (0x31, "CRC error, retried"),
];

/// UPI: MSCOD bits 5:0 (Skylake, Ice Lake, Sapphire Rapids), or the whole
/// (Granite Rapids).
const UPI_CODES: [(u16, &str); 16] = [
    (0x00, "physical layer initialization failed"),
    (0x01, "physical layer drift buffer alarm"),
    (0x02, "physical layer latency buffer rollover"),
    (0x10, "CRC error, link retry aborted"),
    (0x11, "unsupported or undefined packet"),
    (0x12, "link or physical layer control error"),
    (0x13, "parameter exchange exception"),
    (0x1f, "control error from the mesh"),
    (0x20, "physical layer initialization aborted"),
    (0x21, "physical layer reset"),
    (0x22, "lane failure, down to width x8"),
    (0x23, "low-power error, corrected without reset"),
    (0x24, "low-power error, corrected by reset"),
    (0x25, "partial-width exit error, corrected by reset"),
    (0x30, "CRC error, retried"),
    (0x31, "CRC error, retried after a physical layer reset"),
];

/// What Granite Rapids adds to [`UPI_CODES`].
const UPI_SECURITY_CODES: [(u16, &str); 5] = [
    (0x14, "TDX failure"),
    (0x15, "SGX failure"),
    (0x16, "transmit parity error"),
    (0x17, "receive parity error"),
    (0x18, "FLE failure"),
];

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn of(model: u32, bank: u8, mscod: u64) -> Option<String> {
        let generation = Generation::of(model).unwrap();
        words(generation, generation.agent(bank).unwrap(), mscod << 16)
    }

    #[test]
    fn the_same_code_means_what_the_generation_says() {
        for (model, bank, mscod, expected) in [
            (0x55, 13, 0x0008, Some("corrected patrol scrub error")),
            (0x55, 13, 0x0080, Some("read error")),
            (0x4f, 9, 0x0080, None),
            (0x6a, 13, 0x0080, Some("corrected read error")),
            (0x8f, 13, 0x1010, Some("uncorrected patrol scrub error of the mirror")),
            (0xad, 13, 0x2102, Some("write data buffer ECC error of sub-channel 1")),
            (0x3f, 20, 0x0030, Some("CRC error, retried after a physical layer reset")),
            (0x55, 19, 0x0030, Some("CRC error, retried")),
            (0x55, 13, 0x0801, None),
            (0x55, 4, 0x0081, None),
        ] {
            assert_eq!(of(model, bank, mscod).as_deref(), expected, "{model:#x} {bank} {mscod:#x}");
        }
    }

    #[test]
    fn flags_that_are_set_together_are_all_told() {
        assert_eq!(
            of(0x55, 13, 0x0009).unwrap(),
            "address parity error and corrected patrol scrub error"
        );
    }

    #[test]
    fn no_table_has_a_code_twice() {
        let tables: [&Table; 8] = [
            &MEMORY_CODES,
            &M2M_CODES,
            &MCCHAN_CODES,
            &B2CMI_CODES,
            &QPI_CODES,
            &UPI_CODES,
            &UPI_SECURITY_CODES,
            &MEMORY_FLAGS,
        ];
        for table in tables {
            let mut codes: Vec<_> = table.iter().map(|(code, _)| *code).collect();
            codes.dedup();
            assert!(codes.len() == table.len() && codes.is_sorted());
        }
    }
}
