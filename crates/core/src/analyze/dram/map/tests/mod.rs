//! The map, told by examples, by made-up platforms, and by real DIMMs.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod platform;
mod properties;
mod stories;

use super::*;

/// 46 bits: Skylake servers.
const PHYS_BITS: u8 = 46;

fn place(group: u16, bank: u16, row: u32, column: u32) -> DramPlace {
    DramPlace {
        rank: Some(0),
        bank_group: Some(group),
        bank: Some(bank),
        row: Some(row),
        column: Some(column),
        ..DramPlace::default()
    }
}

/// What the map says of the row of `place`, with 4 KiB pages.
fn pages(map: &RowMap, place: &DramPlace, seen: &[PhysAddr]) -> Option<(CoverBy, Vec<Pfn>)> {
    map.row_pages(place, seen, PageSize::KIB_4, PHYS_BITS)
}
