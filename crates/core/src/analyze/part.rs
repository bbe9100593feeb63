//! The part that a record names, as the admin finds it.

use super::dram::place;
use super::{cper, cxl};
use crate::model::dimms::part_name;
use crate::model::{Dimm, Machine, McEvent, Record};

/// The DIMM, or the DIMMs of which it is one, that `record` names.
pub(super) fn named_by(record: &Record, machine: &Machine) -> Option<String> {
    match record {
        Record::MemoryController(event) => dimm(event, machine),
        Record::Extlog(event) => cper::extlog_part(event, machine),
        Record::NonStandard(event) => cper::non_standard_part(event, machine),
        Record::CxlDram(event) => cxl::part(&event.media),
        Record::CxlGeneralMedia(event) => cxl::part(&event.media),
        _ => None,
    }
}

/// The DIMM that `event` is of, if the host knows it.
pub(super) fn dimm_of<'m>(event: &McEvent, machine: &'m Machine) -> Option<&'m Dimm> {
    place::handle(&event.driver_detail)
        .and_then(|handle| machine.dimm_by_handle(handle))
        .or_else(|| machine.dimm_by_id(&place::of_mc_event(event, machine)?.dimm))
}

fn dimm(event: &McEvent, machine: &Machine) -> Option<String> {
    match dimm_of(event, machine) {
        Some(dimm) if dimm.locator.is_some() => Some(dimm.fru()),
        _ => labelled(&event.label, machine),
    }
}

/// The label that `record` itself has of its one DIMM; empty where it has none.
/// It is all there is of a log of another host.
pub(super) fn label(record: &Record) -> &str {
    match record {
        Record::MemoryController(event) if is_label(&event.label) => match event.label.as_str() {
            several if several.contains(CANDIDATES) => "",
            one => one,
        },
        _ => "",
    }
}

/// What EDAC's core joins candidates with (edac_mc_handle_error() in
/// drivers/edac/edac_mc.c).
const CANDIDATES: &str = " or ";

/// EDAC has texts for "not known" (edac_mc_handle_error(), ghes_edac.c).
fn is_label(label: &str) -> bool {
    !matches!(label, "" | "any memory" | "unknown memory" | "unknown label" | "NO DIMM LABEL")
}

fn labelled(label: &str, machine: &Machine) -> Option<String> {
    if !is_label(label) {
        return None;
    }
    let names: Vec<String> = label
        .split(CANDIDATES)
        .map(|label| match machine.dimm_by_label(label) {
            Some(dimm) => dimm.fru(),
            None => part_name(label),
        })
        .collect();
    Some(names.join(" or "))
}
