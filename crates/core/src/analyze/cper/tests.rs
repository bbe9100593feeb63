//! Firmware's memory errors, from their bytes to what they point at.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::analyze::finding::Response;
use crate::analyze::tests::{machine, rules};
use crate::model::{Bytes, Component, Dimm, DimmId, DimmSpace, DramPlace};
use proptest::prelude::*;
use uuid::Uuid;

const MEMORY: Uuid = Uuid::from_u128(0xa5bc1114_6f64_4ede_b863_3e83ed7c83b1);
const MEMORY2: Uuid = Uuid::from_u128(0x61ec04fc_48e6_d813_25c9_8daa44750b12);

/// Bytes with numbers put at offsets.
fn bytes(len: usize, fields: &[(usize, &[u8])]) -> Bytes {
    let mut bytes = vec![0; len];
    for (offset, field) in fields {
        bytes[*offset..][..field.len()].copy_from_slice(field);
    }
    Bytes(bytes)
}

/// Node 1, card 2, module 3, rank 1, bank 5, device 4, row 0x1234 + 0x20000,
/// column 0x3f0, module handle 0x1101: `struct cper_mem_err_compact`.
fn compact() -> Bytes {
    let valid: u64 = 0x8 | 0x10 | 0x20 | 0x40 | 0x80 | 0x100 | 0x200 | 0x8000 | 0x20000 | 0x40000;
    bytes(
        55,
        &[
            (0, &valid.to_le_bytes()),
            (8, &[1, 0, 2, 0, 3, 0, 5, 0, 4, 0, 0x34, 0x12, 0xf0, 0x03]),
            (48, &[1, 0]),
            (52, &[0x01, 0x11, 0b10]),
        ],
    )
}

fn place() -> DramPlace {
    DramPlace {
        dimm: DimmId {
            space: DimmSpace::Firmware,
            socket: Some(1),
            controller: None,
            channel: Some(2),
            slot: Some(3),
        },
        rank: Some(1),
        sub_rank: None,
        bank_group: None,
        bank: Some(5),
        row: Some(0x21234),
        column: Some(0x3f0),
        device: Some(4),
        bits: None,
    }
}

fn corrected() -> ExtlogMemEvent {
    ExtlogMemEvent {
        etype: 2,
        sev: 2,
        pa: 0x1_2345_6780,
        pa_mask_lsb: 6,
        fru_text: "DIMM A1 ".to_owned(),
        data: compact(),
        ..ExtlogMemEvent::default()
    }
}

fn read(event: &ExtlogMemEvent) -> Reading {
    extlog(event, &machine(), &rules())
}

fn rule(reading: &Reading) -> &'static str {
    reading.lead.as_ref().map_or("", |lead| lead.rule.name())
}

#[test]
fn a_corrected_error_names_its_page_its_place_and_the_part() {
    let reading = read(&corrected());
    assert_eq!(reading.page, Some(Pfn(0x12_3456)));
    assert_eq!(reading.place, Some(place()));
    assert_eq!(reading.unusable, None);
    let lead = reading.lead.unwrap();
    assert_eq!((lead.rule.name(), lead.response), ("page-ce", Response::TakePage(Pfn(0x12_3456))));
    assert_eq!(extlog_part(&corrected(), &machine()).as_deref(), Some("DIMM A1"));
}

#[test]
fn severities_are_firmwares_not_the_memory_controllers() {
    for (sev, expected) in [(0, "page-ue"), (1, "page-ue"), (2, "page-ce"), (3, "")] {
        assert_eq!(rule(&read(&ExtlogMemEvent { sev, ..corrected() })), expected, "{sev}");
    }
    let unknown = read(&ExtlogMemEvent { sev: 4, ..corrected() });
    assert!(unknown.lead.is_none() && unknown.unusable.is_some());
}

#[test]
fn an_address_that_is_not_valid_not_good_to_a_page_or_too_wide_names_no_page() {
    for (pa, pa_mask_lsb) in [(u64::MAX, 6), (0x1000, 13), (0x1000, 64), (0, 6), (1 << 46, 6)] {
        let reading = read(&ExtlogMemEvent { pa, pa_mask_lsb, ..corrected() });
        assert_eq!((reading.page, rule(&reading)), (None, "memory-ce"), "{pa:#x} {pa_mask_lsb}");
        assert_eq!(reading.place, Some(place()), "the place does not hang on the address");
    }
    let unmasked = ExtlogMemEvent { pa: 0x5000, pa_mask_lsb: u8::MAX, ..corrected() };
    assert_eq!(read(&unmasked).page, Some(Pfn(5)));
}

#[test]
fn the_part_is_named_by_the_handle_of_its_memory_device() {
    let dimm = |label: &str| Dimm {
        label: label.to_owned(),
        locator: Some("P1-DIMMC1".to_owned()),
        handle: Some(0x1101),
        ..Dimm::default()
    };
    let placeless = ExtlogMemEvent { pa: u64::MAX, ..corrected() };
    for (label, name) in [("", "P1-DIMMC1"), ("CPU1_C0", "CPU1_C0")] {
        let machine = Machine { dimms: vec![Dimm::default(), dimm(label)], ..machine() };
        assert_eq!(extlog_part(&placeless, &machine).as_deref(), Some("P1-DIMMC1"));
        let component = extlog(&placeless, &machine, &rules()).lead.unwrap().component;
        assert_eq!(component.to_string(), format!("memory {name}"));
    }
}

#[test]
fn an_error_on_the_way_to_the_cells_blames_no_page() {
    for etype in [6, 7, 9, 16, 200] {
        let reading = read(&ExtlogMemEvent { etype, ..corrected() });
        assert_eq!((reading.page, reading.place, rule(&reading)), (None, None, "memory-ce"));
        let component = reading.lead.unwrap().component;
        assert_eq!(component.to_string(), "memory DIMM A1");
    }
}

#[test]
fn what_merely_happened_is_no_error() {
    for etype in [1, 10, 11, 12, 15] {
        let reading = read(&ExtlogMemEvent { etype, ..corrected() });
        assert!(reading.lead.is_none() && reading.page.is_none(), "{etype}");
        assert!(reading.unusable.unwrap().contains("no error of memory"), "{etype}");
    }
}

#[test]
fn what_scrubbing_could_not_correct_is_uncorrected_whatever_the_severity() {
    assert_eq!(rule(&read(&ExtlogMemEvent { etype: 14, ..corrected() })), "page-ue");
}

#[test]
fn a_place_without_its_dimm_is_none() {
    for (validity, field) in [(0x10u64, "card"), (0x20, "module")] {
        let mut data = compact();
        let valid = data.u64_at(0).unwrap() & !validity;
        data.0[..8].copy_from_slice(&valid.to_le_bytes());
        assert_eq!(read(&ExtlogMemEvent { data, ..corrected() }).place, None, "{field}");
    }
}

#[test]
fn bank_group_and_address_are_taken_apart_where_firmware_says_that_they_are() {
    let mut data = compact();
    let valid = data.u64_at(0).unwrap() | 1 << 19 | 1 << 20;
    data.0[..8].copy_from_slice(&valid.to_le_bytes());
    data.0[14..16].copy_from_slice(&[0x03, 0x02]);
    let place = read(&ExtlogMemEvent { data, ..corrected() }).place.unwrap();
    assert_eq!((place.bank_group, place.bank), (Some(2), Some(3)));
}

#[test]
fn each_chip_of_a_stack_has_a_place_of_its_own() {
    let mut data = compact();
    let valid = data.u64_at(0).unwrap() | 1 << 21;
    data.0[..8].copy_from_slice(&valid.to_le_bytes());
    data.0[54] = 0b0110_0010;
    let place = read(&ExtlogMemEvent { data, ..corrected() }).place.unwrap();
    assert_eq!((place.rank, place.sub_rank, place.row), (Some(1), Some(3), Some(0x21234)));
}

#[test]
fn a_compact_section_of_an_older_kernel_has_no_extended_byte() {
    let mut data = compact();
    data.0.truncate(54);
    let place = read(&ExtlogMemEvent { data, ..corrected() }).place.unwrap();
    assert_eq!(place.row, Some(0x1234));
    let short = read(&ExtlogMemEvent { data: Bytes(vec![0xff; 53]), ..corrected() });
    assert!(short.lead.is_none() && short.unusable.is_some());
}

/// As firmware told a stock kernel, which printed it: "physical_address:
/// 0x0000000080000000, physical_address_mask: 0xfffffffffffff000, node: 0 card:
/// 1 module: 0 bank: 0 device: 1 row: 8192 column: 0 bit_position: 5".
fn section() -> Bytes {
    bytes(
        80,
        &[
            (0, &0x47ffu64.to_le_bytes()),
            (16, &0x8000_0000u64.to_le_bytes()),
            (24, &0xffff_ffff_ffff_f000u64.to_le_bytes()),
            (32, &[0, 0, 1, 0, 0, 0, 0, 0, 1, 0, 0x00, 0x20, 0, 0, 5, 0]),
            (72, &[2]),
        ],
    )
}

fn section_event(sec_type: Uuid, buf: Bytes) -> NonStandardEvent {
    NonStandardEvent { sec_type, buf, ..NonStandardEvent::default() }
}

#[test]
fn a_whole_memory_section_is_read_as_the_kernel_prints_it() {
    let reading = non_standard(&section_event(MEMORY, section()), &machine(), &rules());
    assert_eq!((reading.page, rule(&reading)), (Some(Pfn(0x80000)), "page-ce"));
    let place = reading.place.unwrap();
    assert_eq!(
        (place.dimm.socket, place.dimm.channel, place.dimm.slot),
        (Some(0), Some(1), Some(0))
    );
    assert_eq!(
        (place.bank, place.row, place.column, place.device),
        (Some(0), Some(8192), Some(0), Some(1))
    );
}

#[test]
fn a_mask_without_a_bit_leaves_no_address() {
    let mut section = section();
    section.0[24..32].fill(0);
    let reading = non_standard(&section_event(MEMORY, section), &machine(), &rules());
    assert_eq!((reading.page, rule(&reading)), (None, "memory-ce"));
}

#[test]
fn the_second_memory_section_has_its_own_validation_bits() {
    let valid: u64 = 0x7fff | 1 << 19;
    let data = bytes(
        96,
        &[
            (0, &valid.to_le_bytes()),
            (16, &0x1_2345_6780u64.to_le_bytes()),
            (24, &0xffff_ffff_ffff_ffc0u64.to_le_bytes()),
            (32, &[1, 0, 2, 0, 3, 0, 5, 0]),
            (40, &4u32.to_le_bytes()),
            (44, &0x21234u32.to_le_bytes()),
            (48, &0x3f0u32.to_le_bytes()),
            (52, &1u32.to_le_bytes()),
            (61, &[3, 0]),
        ],
    );
    let read =
        |data: &Bytes| non_standard(&section_event(MEMORY2, data.clone()), &machine(), &rules());
    let reading = read(&data);
    assert_eq!((reading.page, rule(&reading)), (Some(Pfn(0x12_3456)), "page-ce"));
    assert_eq!(reading.place, Some(DramPlace { sub_rank: Some(0), ..place() }));

    let mut uncorrected = data;
    uncorrected.0[62] = 1;
    assert_eq!(rule(&read(&uncorrected)), "page-ue");
}

#[test]
fn a_section_that_does_not_say_whether_it_was_corrected_takes_nothing() {
    let mut multi_bit = section();
    multi_bit.0[72] = 3;
    for sev in 0..4 {
        let event = NonStandardEvent { sev, ..section_event(MEMORY, multi_bit.clone()) };
        let reading = non_standard(&event, &machine(), &rules());
        assert!(reading.lead.is_none() && reading.page.is_none());
        assert!(reading.unusable.unwrap().contains("corrected"));
    }
}

#[test]
fn a_section_that_is_not_decoded_is_named_by_its_guid() {
    for (guid, name) in [
        ("e8ed898d-df16-43cc-8ecc-54f060ef157f", "Ampere"),
        ("1f8161e1-55d6-41e6-bd10-7afd1dc5f7c5", "HiSilicon"),
        ("00112233-4455-6677-8899-aabbccddeeff", "no known kind"),
    ] {
        let event = section_event(guid.parse().unwrap(), section());
        let reading = non_standard(&event, &machine(), &rules());
        let why = reading.unusable.unwrap();
        assert!(why.contains(guid) && why.contains(name), "{why}");
        assert!(reading.lead.is_none() && reading.page.is_none() && reading.place.is_none());
    }
}

#[test]
fn a_fru_text_without_end_is_cut() {
    let event = ExtlogMemEvent { pa: u64::MAX, fru_text: "é".repeat(5000), ..corrected() };
    let Component::Memory { label, .. } = read(&event).lead.unwrap().component else {
        panic!("no memory")
    };
    assert_eq!(label.chars().count(), 20);
}

proptest! {
    #[test]
    fn any_section_is_read_or_refused(
        data in prop::collection::vec(any::<u8>(), 0..120),
        second in any::<bool>(),
        etype in any::<u8>(), sev in 0u8..5, pa in any::<u64>(), pa_mask_lsb in any::<u8>(),
    ) {
        let machine = machine();
        let guid = if second { MEMORY2 } else { MEMORY };
        let readings = [
            non_standard(&section_event(guid, Bytes(data.clone())), &machine, &rules()),
            extlog(
                &ExtlogMemEvent { etype, sev, pa, pa_mask_lsb, data: Bytes(data), ..Default::default() },
                &machine,
                &rules(),
            ),
        ];
        for reading in readings {
            prop_assert!(reading.page.is_none_or(|pfn| pfn.0 != 0 && pfn.0 >> (46 - 12) == 0));
            prop_assert!(reading.place.is_none_or(|place| place.dimm.slot.is_some()));
            prop_assert!(reading.page.is_none() || reading.lead.is_some());
        }
    }
}
