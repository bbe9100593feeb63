//! CXL events, from their fields to what they point at.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::analyze::finding::Response;
use crate::analyze::tests::{machine, rules};
use proptest::prelude::*;

fn media() -> CxlMedia {
    CxlMedia {
        memdev: "mem3".to_owned(),
        dpa: 0x1000_0040,
        validity_flags: 0x7f,
        channel: 1,
        rank: 1,
        hpa: Some(PhysAddr(0x2_0000_0040)),
        hpa_alias0: Some(PhysAddr(u64::MAX)),
        ..CxlMedia::default()
    }
}

fn dram_event(media: CxlMedia) -> CxlDram {
    CxlDram {
        media,
        nibble_mask: 0b100,
        bank_group: 2,
        bank: 3,
        row: 0x1_2345,
        column: 0x3f8,
        ..CxlDram::default()
    }
}

fn read_media(media: CxlMedia) -> Reading {
    dram(&dram_event(media), &machine(), &rules())
}

fn rule(reading: &Reading) -> &'static str {
    reading.lead.as_ref().map_or("", |lead| lead.rule.name())
}

#[test]
fn a_corrected_error_names_the_hosts_page_and_its_place() {
    let reading = read_media(media());
    assert_eq!((reading.page, rule(&reading)), (Some(Pfn(0x20_0000)), "page-ce"));
    let place = reading.place.unwrap();
    assert_eq!(place.dimm.to_string(), "mem3 channel 1");
    assert_eq!((place.rank, place.bank_group, place.bank), (Some(1), Some(2), Some(3)));
    assert_eq!((place.row, place.column, place.device), (Some(0x1_2345), Some(0x3f8), Some(2)));
}

#[test]
fn the_devices_own_address_is_no_address() {
    for hpa in [None, Some(PhysAddr(u64::MAX)), Some(PhysAddr(0)), Some(PhysAddr(1 << 46))] {
        let reading = read_media(CxlMedia { hpa, ..media() });
        assert_eq!((reading.page, rule(&reading)), (None, "memory-ce"), "{hpa:?}");
        assert_eq!(reading.lead.unwrap().component.to_string(), "memory mem3");
    }
}

#[test]
fn of_two_addresses_that_may_be_meant_none_is_taken() {
    let alias = Some(PhysAddr(0x1_0000_0040));
    assert_eq!(read_media(CxlMedia { hpa_alias0: alias, ..media() }).page, None);
    assert!(read_media(CxlMedia { hpa_alias0: None, ..media() }).page.is_some());
}

#[test]
fn an_uncorrectable_error_is_the_kernels_to_take() {
    let reading = read_media(CxlMedia { descriptor: 0b11, ..media() });
    let lead = reading.lead.unwrap();
    assert_eq!(lead.rule.name(), "page-ue");
    assert_eq!(lead.response, Response::EnsureFailedPage(Pfn(0x20_0000)));
}

#[test]
fn a_threshold_of_the_device_counts_as_reached() {
    for media in [
        CxlMedia { descriptor: 0b10, ..media() },
        CxlMedia { cme_threshold_ev_flags: 0b10, ..media() },
    ] {
        let reading = read_media(media.clone());
        assert_eq!(rule(&reading), "page-threshold");
        assert!(reading.lead.unwrap().rule.at_once());
        assert_eq!(rule(&read_media(CxlMedia { hpa: None, ..media })), "memory-threshold");
    }
}

#[test]
fn the_part_is_the_device() {
    assert_eq!(part(&media()).as_deref(), Some("CXL device mem3"));
    let named = CxlMedia { serial: 0xabc, ..media() };
    assert_eq!(part(&named).as_deref(), Some("CXL device mem3 (serial 0xabc)"));
    assert_eq!(part(&CxlMedia::default()), None);
}

#[test]
fn only_errors_of_media_blame_an_address() {
    let read = |kind| {
        let media = CxlMedia { kind, ..media() };
        let general = CxlGeneralMedia { media: media.clone(), ..CxlGeneralMedia::default() };
        (read_media(media), general_media(&general, &machine(), &rules()))
    };
    // The two kinds of events number their types differently.
    for (of_dram, of_general) in [(0, 0), (1, 4), (5, 5)] {
        assert!(read(of_dram).0.page.is_some() && read(of_general).1.page.is_some());
    }
    for (of_dram, of_general) in [(2, 1), (4, 3), (6, 6), (7, 7), (0xff, 0xff)] {
        for reading in [read(of_dram).0, read(of_general).1] {
            assert!(reading.page.is_none() && reading.place.is_none() && reading.lead.is_none());
            assert!(reading.unusable.unwrap().contains("mem3"));
        }
    }
    for reading in [read(3).0, read(2).1] {
        assert_eq!((reading.page, reading.place, rule(&reading)), (None, None, "memory-ce"));
    }
}

#[test]
fn injected_poison_is_nobodys_fault() {
    let reading = read_media(CxlMedia { transaction_type: 4, descriptor: 1, ..media() });
    assert!(reading.lead.is_none() && reading.unusable.is_some());
}

#[test]
fn a_field_counts_only_if_it_is_valid() {
    let place = |validity_flags| read_media(CxlMedia { validity_flags, ..media() }).place;
    assert_eq!(place(0), None);
    assert_eq!(place(0x7e), None, "rows of two channels are not one");
    let only_row = place(0x21).unwrap();
    assert_eq!((only_row.row, only_row.rank, only_row.column), (Some(0x1_2345), None, None));
    assert_eq!((only_row.bank, only_row.bank_group, only_row.device), (None, None, None));
}

#[test]
fn a_sub_channel_is_a_place_of_its_own() {
    let mut event = dram_event(CxlMedia { validity_flags: 0x47f, ..media() });
    event.sub_channel = 1;
    let place = dram(&event, &machine(), &rules()).place.unwrap();
    assert_eq!((place.dimm.channel, place.dimm.slot), (Some(1), Some(1)));
}

#[test]
fn a_mask_of_several_nibbles_names_no_device() {
    for (nibble_mask, device) in [(0, None), (0b11, None), (0x80_0000, Some(23))] {
        let event = CxlDram { nibble_mask, ..dram_event(media()) };
        assert_eq!(dram(&event, &machine(), &rules()).place.unwrap().device, device);
    }
}

#[test]
fn general_media_tell_channel_rank_and_device() {
    let event = CxlGeneralMedia { media: media(), device: 0b1000, ..CxlGeneralMedia::default() };
    let reading = general_media(&event, &machine(), &rules());
    assert_eq!(reading.page, Some(Pfn(0x20_0000)));
    let place = reading.place.unwrap();
    assert_eq!((place.rank, place.device, place.row), (Some(1), Some(3), None));
}

proptest! {
    #[test]
    fn any_event_is_read_or_refused(
        memdev in "(mem)?[0-9]{0,6}", descriptor in any::<u8>(), kind in any::<u8>(),
        transaction_type in any::<u8>(), validity_flags in any::<u16>(), hpa in any::<u64>(),
        nibble_mask in any::<u32>(), row in any::<u32>(),
    ) {
        let media = CxlMedia {
            memdev, descriptor, kind, transaction_type, validity_flags, hpa: Some(PhysAddr(hpa)),
            ..CxlMedia::default()
        };
        let general = CxlGeneralMedia { media: media.clone(), device: nibble_mask, cme_count: 0 };
        let event = CxlDram { media, nibble_mask, row, ..CxlDram::default() };
        for reading in [
            dram(&event, &machine(), &rules()),
            general_media(&general, &machine(), &rules()),
        ] {
            prop_assert!(reading.page.is_none_or(|pfn| pfn.0 >> (46 - 12) == 0));
            prop_assert!(reading.lead.is_some() != reading.unusable.is_some());
        }
    }
}
