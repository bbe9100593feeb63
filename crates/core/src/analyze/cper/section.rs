//! Kinds of sections, by their GUID.

use uuid::Uuid;

/// What a section's GUID says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Section {
    /// Platform memory error (UEFI N.2.5).
    Memory,
    /// Memory error section 2 (UEFI N.2.6).
    Memory2,
    /// Known by name, and not decoded.
    Known(&'static str),
    /// Not known.
    Unknown,
}

impl Section {
    /// The kind of section that `guid` stands for.
    pub fn of(guid: Uuid) -> Section {
        let entry = SECTIONS.iter().find(|(known, _)| *known == guid.as_u128());
        entry.map_or(Section::Unknown, |(_, section)| *section)
    }
}

/// UEFI 2.10 table N.5 and include/linux/cper.h for the standard ones. Vendors'
/// own are named by their drivers or decoders: HiSilicon
/// drivers/pci/controller/pcie-hisi-error.c and rasdaemon's
/// non-standard-hisi*.c, the others rasdaemon's non-standard-*.c.
const SECTIONS: [(u128, Section); 29] = [
    (0xa5bc1114_6f64_4ede_b863_3e83ed7c83b1, Section::Memory),
    (0x61ec04fc_48e6_d813_25c9_8daa44750b12, Section::Memory2),
    (0x9876ccad_47b4_4bdb_b65e_16f193c4f3db, Section::Known("processor, generic")),
    (0xdc3ea0b0_a144_4797_b95b_53fa242b6e1d, Section::Known("processor, x86")),
    (0xe19e3d16_bc11_11e4_9caa_c2051d5d46b0, Section::Known("processor, ARM")),
    (0xd995e954_bbc1_430f_ad91_b44dcb3c6f35, Section::Known("PCI Express")),
    (0xc5753963_3b84_4095_bf78_eddad3f9c9dd, Section::Known("PCI bus")),
    (0xeb5e4685_ca66_4769_b6a2_26068b001326, Section::Known("PCI device")),
    (0x81212a96_09ed_4996_9471_8d729c8e69ed, Section::Known("firmware error record reference")),
    (0x5b51fef7_c79d_4434_8f1b_aa62de3e2c64, Section::Known("DMA remapping, generic")),
    (0x71761d37_32b2_45cd_a7d0_b0fedd93e8cf, Section::Known("DMA remapping, Intel VT-d")),
    (0x036f84e1_7f37_428c_a79e_575fdfaa84ec, Section::Known("DMA remapping, IOMMU")),
    (0x80b9efb4_52b5_4de3_a777_68784b771048, Section::Known("CXL protocol")),
    (0xfbcd0a77_c260_417f_85a9_088b1621eba6, Section::Known("CXL general media")),
    (0x601dcbb3_9c06_4eab_b8af_4e9bfb5c9624, Section::Known("CXL DRAM")),
    (0xfe927475_dd59_4339_a586_79bab113b774, Section::Known("CXL memory module")),
    (0x1f8161e1_55d6_41e6_bd10_7afd1dc5f7c5, Section::Known("HiSilicon HIP08, OEM type 1")),
    (0x45534ea6_ce23_4115_8535_e07ab3aef91d, Section::Known("HiSilicon HIP08, OEM type 2")),
    (0xb2889fc9_e7d7_4f9d_a867_af42e98be772, Section::Known("HiSilicon PCIe controller")),
    (0xc8b328a8_9917_4af6_9a13_2e08ab2e7586, Section::Known("HiSilicon, common")),
    (0xe8ed898d_df16_43cc_8ecc_54f060ef157f, Section::Known("Ampere")),
    (0xa6980811_16ea_4e4d_b936_fb00a23ff29c, Section::Known("Yitian, DDR")),
    (0x82d78ba3_fa14_407a_ba0e_f3ba8170013c, Section::Known("JaguarMicro")),
    (0xf9723053_2558_49b1_b58a_1c1a82492a62, Section::Known("JaguarMicro")),
    (0x2d31de54_3037_4f24_a283_f69ca1ec0b9a, Section::Known("JaguarMicro")),
    (0xdac80d69_0a72_4eba_8114_148ee344af06, Section::Known("JaguarMicro")),
    (0x746f06fe_405e_451f_8d09_02e802ed984a, Section::Known("JaguarMicro")),
    (0x6d5244f2_2712_11ec_bea7_cb3fdb95c786, Section::Known("NVIDIA Grace")),
    (0x9068e568_6ca0_11f0_aeaf_159343591eac, Section::Known("NVIDIA Vera")),
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn a_section_is_told_by_its_guid() {
        let of = |text: &str| Section::of(text.parse().unwrap_or_default());
        assert_eq!(of("a5bc1114-6f64-4ede-b863-3e83ed7c83b1"), Section::Memory);
        assert_eq!(of("61ec04fc-48e6-d813-25c9-8daa44750b12"), Section::Memory2);
        assert_eq!(of("e8ed898d-df16-43cc-8ecc-54f060ef157f"), Section::Known("Ampere"));
        assert_eq!(Section::of(Uuid::nil()), Section::Unknown);
    }

    #[test]
    fn no_guid_stands_for_two_kinds() {
        let guids: BTreeSet<u128> = SECTIONS.iter().map(|(guid, _)| *guid).collect();
        assert_eq!(guids.len(), SECTIONS.len());
    }
}
