//! Whether memory that moved to other addresses left a page where it was.

use super::dram::place;
use super::part;
use crate::model::{DramPlace, Fault, Machine, McEvent, Record, Report};

/// Bytes that a place's column is the same for, as the log2: an address is good
/// to a line of the cache, and a line is a burst of columns.
const LINE: u32 = 6;

/// Whether the platform's decoder says of `report`'s address what it said of it
/// when `fault` was found, and the same module, by its serial number, is there.
///
/// Both are EDAC's: a machine check names no place. Where it says another place
/// of the address, or the address was not seen before, that is no.
pub fn is_where_it_was(fault: &Fault, report: &Report, machine: &Machine) -> bool {
    let Record::MemoryController(event) = &report.record else { return false };
    let Some(dimm) = part::dimm_of(event, machine).filter(|dimm| dimm.serial.is_some()) else {
        return false;
    };
    let Some(place) = complete(event, machine) else { return false };
    let line = event.address >> LINE;
    let earlier = fault.evidence.iter().filter_map(|evidence| match &evidence.record {
        Record::MemoryController(event) if event.address >> LINE == line => {
            complete(event, machine)
        }
        _ => None,
    });
    let mut earlier = earlier.peekable();
    fault.fru.as_ref() == Some(&dimm.fru())
        && earlier.peek().is_some()
        && earlier.all(|earlier| earlier == place)
}

/// The place of `event`, down to the column, without what differs from error to
/// error of one cell.
fn complete(event: &McEvent, machine: &Machine) -> Option<DramPlace> {
    let place = place::of_mc_event(event, machine)?;
    let known = place.bank.is_some() && place.row.is_some() && place.column.is_some();
    (event.address != 0 && known).then_some(DramPlace { device: None, bits: None, ..place })
}
