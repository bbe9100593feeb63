use super::*;
use crate::model::{Pfn, PhysAddr};
use proptest::prelude::*;

/// Any record, with the fields that steer the decoder often near their borders.
fn any_record() -> impl Strategy<Value = MceRecord> {
    let ipid = prop_oneof![
        any::<u64>(),
        (prop::sample::select(vec![0x2e_u64, 0x96, 0xb0]), 0..17u64)
            .prop_map(|(h, t)| t << 48 | h << 32),
    ];
    let words = (any::<u64>(), any::<u64>(), any::<u64>(), any::<u64>(), ipid);
    let cpuid = prop_oneof![
        any::<u32>(),
        prop::sample::select(vec![
            0,
            0x206d7,
            0x306e4,
            0x306f2,
            0x406f1,
            0x50663,
            0x50657,
            0x606a6,
            0x806f8,
            0xa06d1,
            0x100f42,
            0x600f20,
            0x0080_0f11,
            0x00a1_0f11,
            0x00b0_0f21,
        ]),
    ];
    let bank = prop_oneof![any::<u8>(), 0..32u8, Just(255)];
    let vendor = prop_oneof![any::<u8>(), prop::sample::select(vec![0, 2, 9])];
    (words, cpuid, bank, vendor).prop_map(
        |((status, addr, misc, mcgcap, ipid), cpuid, bank, cpuvendor)| MceRecord {
            status,
            addr,
            misc,
            mcgcap,
            ipid,
            cpuid,
            bank,
            cpuvendor,
            ..MceRecord::default()
        },
    )
}

/// A usable address, in a code and a bank to be tried.
fn addressed() -> impl Strategy<Value = MceRecord> {
    (any_record(), 0x1000..1u64 << 46, 0..13u64, any::<u16>()).prop_map(
        |(record, addr, lsb, mcacod)| MceRecord {
            status: record.status & !0xffff
                | u64::from(mcacod)
                | status::VAL
                | status::ADDRV
                | status::MISCV,
            addr,
            misc: 2 << 6 | lsb,
            ..record
        },
    )
}

proptest! {
    #[test]
    fn any_record_is_decoded_and_described(record in any_record()) {
        let machine = machine_of(&record);
        let _ = decode(&record, &machine);
        let line = describe(&record);
        prop_assert!(!line.is_empty() && line.len() < 400 && !line.contains('\n'), "{line}");
    }

    #[test]
    fn an_outcome_always_follows_from_the_severity(record in any_record()) {
        if let Ok(check) = decode(&record, &machine_of(&record)) {
            prop_assert_eq!(check.outcome, check.severity.outcome());
            // UC is never passed off as corrected.
            if record.status & status::UC != 0 {
                prop_assert_eq!(check.outcome, Outcome::Uncorrected);
            }
        }
    }

    #[test]
    fn a_page_is_a_valid_physical_address_of_page_grain(
        record in prop_oneof![any_record(), addressed()]
    ) {
        let machine = machine_of(&record);
        let Ok(check) = decode(&record, &machine) else { return Ok(()) };
        let Some(page) = check.page else { return Ok(()) };
        prop_assert_eq!(page, Pfn(record.addr >> 12));
        prop_assert!(record.status & (status::ADDRV | status::MISCV) == status::ADDRV | status::MISCV);
        prop_assert_eq!((record.misc >> 6) & 7, 2);
        prop_assert!(record.misc & 0x3f <= 12);
        prop_assert!(record.addr != 0 && record.addr >> machine.phys_bits == 0);
        prop_assert_eq!(machine.page_size.pfn(PhysAddr(record.addr)), page);
        let memory = check.code == Code::Memory
            || matches!(check.code, Code::Cache(..)) && check.outcome == Outcome::Uncorrected;
        prop_assert!(memory, "{:?}", check.code);
        // On other vendors, only firmware's record is Intel's format.
        prop_assert!(record.cpuvendor == 0 || record.bank == status::APEI_BANK);
    }

    #[test]
    fn only_a_core_of_a_known_model_can_be_blamed(record in any_record()) {
        if let Ok(MachineCheck { bank: Bank::Core(_), .. }) = decode(&record, &machine_of(&record)) {
            let (family, model) = status::family_model(record.cpuid);
            match vendor(record.cpuvendor) {
                Vendor::Intel => prop_assert!(intel::is_known(family, model) && record.bank < 4),
                Vendor::Amd => prop_assert!(!amd::is_before_smca(family) && record.ipid != 0),
                Vendor::Other => prop_assert!(false, "no bank of theirs is known"),
            }
        }
    }
}
