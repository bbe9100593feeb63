//! What only /proc/cpuinfo says (arch/x86/kernel/cpu/proc.c).

use bulkhead_core::model::{ApicId, CpuId, Vendor};
use std::collections::BTreeMap;

/// The processors, as far as machine checks need to know them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CpuInfo {
    /// Who made them.
    pub vendor: Vendor,
    /// CPUID family as displayed; 0 where not an x86.
    pub family: u32,
    /// CPUID model as displayed; 0 where not an x86.
    pub model: u32,
    /// Physical address width in bits; 52, the most there is, where not said.
    pub phys_bits: u8,
    /// Initial APIC id of each CPU that is on line: the one that `struct mce`
    /// carries (mce_prep_record_per_cpu() in arch/x86/kernel/cpu/mce/core.c).
    pub apic: BTreeMap<CpuId, ApicId>,
}

/// Reads the text of /proc/cpuinfo. What is missing or unreadable in it stays
/// at its default; a text of another architecture is all defaults.
pub fn parse(text: &str) -> CpuInfo {
    let mut info = CpuInfo {
        vendor: Vendor::Other,
        family: 0,
        model: 0,
        phys_bits: 52,
        apic: BTreeMap::new(),
    };
    let mut cpu = None;
    for line in text.lines() {
        let Some((key, value)) = line.split_once(':') else { continue };
        let value = value.trim();
        match key.trim() {
            "processor" => cpu = value.parse().ok().map(CpuId),
            "vendor_id" => {
                info.vendor = match value {
                    "GenuineIntel" => Vendor::Intel,
                    "AuthenticAMD" | "HygonGenuine" => Vendor::Amd,
                    _ => Vendor::Other,
                }
            }
            "cpu family" => info.family = value.parse().unwrap_or(info.family),
            "model" => info.model = value.parse().unwrap_or(info.model),
            "address sizes" => info.phys_bits = phys_bits(value).unwrap_or(info.phys_bits),
            // The APIC register's own number comes first; the initial one
            // replaces it where the kernel shows both.
            "apicid" | "initial apicid" => {
                if let (Some(cpu), Ok(id)) = (cpu, value.parse()) {
                    info.apic.insert(cpu, ApicId(id));
                }
            }
            _ => {}
        }
    }
    info
}

/// "46 bits physical, 48 bits virtual".
fn phys_bits(value: &str) -> Option<u8> {
    let bits = value.strip_suffix(" bits virtual")?.split_once(" bits physical")?.0.parse().ok()?;
    // 32 is the least of any x86 with machine checks, 52 the architecture's most.
    (32..=52).contains(&bits).then_some(bits)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const XEON: &str =
        "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n\
        model name\t: Intel(R) Xeon(R) Gold 6148 CPU @ 2.40GHz\napicid\t\t: 1\n\
        initial apicid\t: 0\naddress sizes\t: 46 bits physical, 48 bits virtual\n\n\
        processor\t: 4\nvendor_id\t: GenuineIntel\napicid\t\t: 8\ninitial apicid\t: 8\n\n";

    #[test]
    fn an_x86_says_its_vendor_model_and_address_width() {
        let info = parse(XEON);
        assert_eq!((info.vendor, info.family, info.model), (Vendor::Intel, 6, 85));
        assert_eq!(info.phys_bits, 46);
    }

    #[test]
    fn the_initial_apic_id_counts_and_belongs_to_its_processor() {
        let apic = parse(XEON).apic;
        assert_eq!(apic, [(CpuId(0), ApicId(0)), (CpuId(4), ApicId(8))].into());
    }

    #[test]
    fn hygon_is_read_as_amd() {
        assert_eq!(parse("vendor_id\t: HygonGenuine\n").vendor, Vendor::Amd);
    }

    #[test]
    fn an_arm_is_none_of_them() {
        let info = parse("processor\t: 0\nBogoMIPS\t: 50.00\nCPU implementer\t: 0x41\n");
        assert_eq!((info.vendor, info.family, info.model), (Vendor::Other, 0, 0));
        assert_eq!((info.phys_bits, info.apic.len()), (52, 0));
    }

    #[test]
    fn an_address_width_that_no_x86_has_is_not_believed() {
        assert_eq!(parse("address sizes\t: 4 bits physical, 48 bits virtual").phys_bits, 52);
    }

    proptest! {
        #[test]
        fn no_text_is_too_strange(text in "(processor|apicid|model|address sizes|:|\t|\n|[0-9a-z ]){0,60}") {
            parse(&text);
        }
    }
}
