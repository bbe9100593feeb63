#![allow(clippy::unwrap_used)]

use super::*;
use crate::host::testing::Tree;
use proptest::prelude::*;

/// A memory device of SMBIOS 3.x by the specification's layout: locator, bank
/// locator, manufacturer, serial and part; an empty one is no string.
pub fn memory_device(handle: u16, mib: u32, texts: [&str; 5]) -> Vec<u8> {
    let size = u16::try_from(mib).ok().filter(|mib| *mib < 0x7fff).unwrap_or(0x7fff);
    let mut structure = vec![0; 0x54];
    structure[0] = MEMORY_DEVICE;
    structure[1] = 0x54;
    structure[2..4].copy_from_slice(&handle.to_le_bytes());
    structure[at::SIZE..][..2].copy_from_slice(&size.to_le_bytes());
    structure[at::EXTENDED_SIZE..][..4].copy_from_slice(&mib.to_le_bytes());
    let offsets = [at::LOCATOR, at::BANK_LOCATOR, at::MANUFACTURER, at::SERIAL, at::PART];
    let mut number = 0;
    for (at, text) in offsets.into_iter().zip(texts) {
        if !text.is_empty() {
            number += 1;
            structure[at] = number;
            structure.extend(text.bytes().chain([0]));
        }
    }
    structure.extend(if number == 0 { [0, 0].as_slice() } else { &[0] });
    structure
}

/// A structure without strings.
fn bare(kind: u8) -> Vec<u8> {
    vec![kind, 4, 0, 0, 0, 0]
}

/// These structures, and the end of the table.
pub fn table(structures: &[Vec<u8>]) -> Vec<u8> {
    let mut table = bare(1);
    table.extend(structures.concat());
    table.extend(bare(END_OF_TABLE));
    table
}

/// A memory device as a server of 2013 has it (SMBIOS 2.7, 34 bytes), written
/// out by the specification's table.
#[rustfmt::skip]
const GOLDEN: &[u8] = &[
    17, 34, 0x00, 0x11,             // type, length, handle 0x1100
    0x00, 0x10, 0xfe, 0xff,         // array, no error information
    72, 0, 64, 0,                   // widths
    0x00, 0x40, 0x09, 0x01,         // 16384 MiB, DIMM, set 1
    1, 0, 0x18, 0x80, 0x20,         // locator, no bank locator, DDR3, registered
    0x40, 0x06,                     // 1600 MT/s
    2, 3, 4, 5, 0x02,               // manufacturer, serial, asset, part, 2 ranks
    0, 0, 0, 0, 0x40, 0x06,         // extended size, speed
    b'D', b'I', b'M', b'M', b'_', b'A', b'1', 0,
    b'0', b'0', b'C', b'E', b' ', 0,
    b'8', b'5', b'A', b'3', b'F', b'1', 0,
    b'0', b'1', 0,
    b'M', b'3', b'9', b'3', b'B', b'2', b'G', b'7', b'0', b' ', b' ', 0,
    0,
];

#[test]
fn a_memory_device_is_read_by_the_specifications_layout() {
    let expected = Dimm {
        id: None,
        label: String::new(),
        locator: Some("DIMM_A1".into()),
        bank_locator: None,
        manufacturer: Some("00CE".into()),
        serial: Some("85A3F1".into()),
        part: Some("M393B2G70".into()),
        size_bytes: 16 << 30,
        handle: Some(0x1100),
    };
    assert_eq!(parse(GOLDEN), [expected]);
}

#[test]
fn sizes_come_in_three_units_and_an_empty_slot_is_no_dimm() {
    let size = |size: u16, extended: u32| {
        let mut device = memory_device(1, 0, ["A1", "", "", "", ""]);
        device[at::SIZE..][..2].copy_from_slice(&size.to_le_bytes());
        device[at::EXTENDED_SIZE..][..4].copy_from_slice(&extended.to_le_bytes());
        parse(&device).first().map(|dimm| dimm.size_bytes)
    };
    assert_eq!(size(0, 0), None);
    assert_eq!(size(0xffff, 0), Some(0), "unknown");
    assert_eq!(size(0x2000, 0), Some(8 << 30));
    assert_eq!(size(0x8400, 0), Some(1 << 20), "in KiB");
    assert_eq!(size(0x7fff, 0x8001_0000), Some(64 << 30), "bit 31 is reserved");
}

#[test]
fn what_says_nothing_is_nothing() {
    for text in ["Not Specified", "UNKNOWN", "NO DIMM", "  ", "\u{1}\u{2}", "None"] {
        let dimms = parse(&memory_device(1, 1024, [text, text, text, text, text]));
        let Dimm { locator, bank_locator, manufacturer, serial, part, .. } = &dimms[0];
        for said in [locator, bank_locator, manufacturer, serial, part] {
            assert_eq!(said, &None, "{text:?}");
        }
    }
    for serial in ["00000000", "FFFFFFFF"] {
        assert_eq!(parse(&memory_device(1, 1024, ["", "", "", serial, ""]))[0].serial, None);
    }
}

#[test]
fn a_string_that_is_long_or_not_there_does_no_harm() {
    let dimms = parse(&memory_device(1, 1024, [&"x".repeat(5000), "", "", "", ""]));
    assert_eq!(dimms[0].locator.as_ref().unwrap().len(), LONGEST);
    let mut device = memory_device(1, 1024, ["A1", "", "", "", ""]);
    device[at::SERIAL] = 200;
    assert_eq!(parse(&device)[0].serial, None);
}

#[test]
fn a_table_ends_where_it_says_so_or_breaks() {
    let device = |handle| memory_device(handle, 1024, ["A1", "", "", "", ""]);
    let handles = |table: &[u8]| -> Vec<_> {
        parse(table).into_iter().map(|dimm| dimm.handle.unwrap()).collect()
    };
    let whole = table(&[device(1), device(2)]);
    assert_eq!(handles(&whole), [1, 2]);
    assert_eq!(handles(&[whole.clone(), device(3)].concat()), [1, 2], "after the end");
    assert_eq!(handles(&[device(1), vec![17, 3, 0, 0], device(2)].concat()), [1]);
    assert_eq!(handles(&whole[..whole.len() - 10]), [1]);
    let mut short = vec![17, 0x0e, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4];
    short.extend([0, 0]);
    assert_eq!(handles(&short), [9], "an older, shorter structure");
}

#[test]
fn without_the_table_the_entries_of_dmi_sysfs_do() {
    let tree = Tree::new();
    assert_eq!(dimms(&tree.root), []);
    for (name, handle) in [("17-0", 7), ("17-1", 8), ("4-0", 9)] {
        let device = memory_device(handle, 1024, ["A1", "", "", "", ""]);
        tree.write(&format!("{ENTRIES}/{name}/raw"), &device);
    }
    let handles: Vec<_> = dimms(&tree.root).into_iter().map(|dimm| dimm.handle).collect();
    assert_eq!(handles, [Some(7), Some(8)]);
}

proptest! {
    #[test]
    fn any_bytes_are_read_or_ignored(table in prop::collection::vec(any::<u8>(), 0..400)) {
        for dimm in parse(&table) {
            prop_assert!(dimm.locator.is_none_or(|text| text.len() <= LONGEST));
        }
    }

    #[test]
    fn a_broken_table_is_read_as_far_as_it_goes(at in 0..GOLDEN.len(), byte in any::<u8>()) {
        let mut table = GOLDEN.repeat(3);
        table[GOLDEN.len() + at] = byte;
        prop_assert!(!parse(&table).is_empty());
    }
}
