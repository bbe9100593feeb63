//! The rules for DIMMs, told by examples and by brute force.
#![allow(clippy::unwrap_used, clippy::expect_used)]

mod covers;
mod keeping;
mod modes;
mod properties;

use super::*;
use crate::decide::Policy;
use crate::model::*;

const SECOND: u64 = 1_000_000_000;
const HOUR: u64 = 3600 * SECOND;
const DAY: u64 = 24 * HOUR;
const START: u64 = 1_700_000_000 * SECOND;
/// One DQ in one beat.
const NARROW: BitPattern = BitPattern(0x0000_0002);
/// Two DQ over two beats.
const WIDE: BitPattern = BitPattern(0x0000_0033);

fn rules() -> DramRules {
    DramRules { row: Policy::default().row, page_limit: 1024 }
}

/// What is to be kept, and is.
fn take_changes(dimms: &mut Dimms) -> Vec<(RowKey, Option<Row>)> {
    let changes = dimms.changes().map(|(key, row)| (key, row.cloned())).collect();
    dimms.kept();
    changes
}

fn stamp(at: u64) -> Stamp {
    Stamp { at: Time(START + at), wall: Wall((START + at) as i64) }
}

/// An error at a place of rank 0, bank group 0 of one DIMM.
fn at(bank: u16, row: u32, column: u32) -> DramPlace {
    let dimm = DimmId { channel: Some(1), slot: Some(0), ..DimmId::default() };
    DramPlace {
        dimm,
        rank: Some(0),
        bank_group: Some(0),
        bank: Some(bank),
        row: Some(row),
        column: Some(column),
        ..DramPlace::default()
    }
}

/// The address of a place, one of its own for each: 16 pages of 8 lines a row.
/// What the place leaves open counts as 0.
fn addr(place: &DramPlace) -> PhysAddr {
    let line = u64::from(place.column.unwrap_or(0) / 8);
    let row = u64::from(place.row.unwrap_or(0));
    let bank = u64::from(place.bank.unwrap_or(0)) + 64 * u64::from(place.rank.unwrap_or(0));
    PhysAddr((bank << 36) + (row << 16) + ((line / 8) << 12) + ((line % 8) << 6))
}

fn page(place: &DramPlace) -> Pfn {
    PageSize::KIB_4.pfn(addr(place))
}

fn report(place: &DramPlace, when: u64) -> Report {
    let error = LoggedError { addr: Some(addr(place)), place: *place, ..LoggedError::default() };
    Report {
        source: Source::Log,
        first: stamp(when),
        last: stamp(when),
        records: 1,
        errors: 1,
        decodes: 0,
        record: Record::Logged(error),
    }
}

fn dimms() -> Dimms {
    Dimms::new(Capacity::default())
}

fn unknown_map(_: &DramPlace, _: &[PhysAddr]) -> Option<(CoverBy, Vec<Pfn>)> {
    None
}

fn see(dimms: &mut Dimms, place: DramPlace, when: u64) -> Found {
    see_by(dimms, place, when, rules())
}

fn see_by(dimms: &mut Dimms, place: DramPlace, when: u64, rules: DramRules) -> Found {
    let addr = addr(&place);
    see_at(dimms, place, addr, when, &rules, &unknown_map)
}

fn see_at(
    dimms: &mut Dimms,
    place: DramPlace,
    addr: PhysAddr,
    when: u64,
    rules: &DramRules,
    map: WholeRow,
) -> Found {
    let report = report(&place, when);
    let page = Some(PageSize::KIB_4.pfn(addr));
    dimms.observe(&Sighting { place: &place, page, addr: Some(addr), report: &report }, rules, map)
}

/// The rules that fired, in order.
fn fired(found: &[Found]) -> Vec<&'static str> {
    found.iter().flat_map(|f| &f.opened).map(|mode| mode.scope.rule().name()).collect()
}

fn all(dimms: &mut Dimms, places: &[DramPlace], when: u64) -> Vec<Found> {
    places.iter().map(|place| see(dimms, *place, when)).collect()
}

/// Two errors that make `row` of `bank` faulty.
fn faulty_row(dimms: &mut Dimms, bank: u16, row: u32, when: u64) -> Vec<Found> {
    let columns = [8 * row, 8 * row + 64];
    columns.map(|column| see(dimms, at(bank, row, column), when)).into()
}

fn as_fault(mode: &Mode) -> Fault {
    findings::finding(mode.clone(), "A1", None, &rules(), PageSize::KIB_4, Home::Unknown).fault
}
