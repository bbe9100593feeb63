//! What one record says, in the words of the rules.

use super::dram::place;
use super::lead::{self, Lead};
use super::mce::code::Code;
use super::mce::{self, Outcome};
use super::rules::Rules;
use super::{arm, cper, cxl};
use crate::model::{
    DramPlace, LoggedError, Machine, McEvent, MceRecord, MemoryFailure, Pfn, PhysAddr, Record,
    Source,
};

/// The largest `grain_bits` of an address that is good to a 64-byte line
/// (drivers/edac/edac_mc.c, edac_raw_mc_handle_error: the log2 of the grain that
/// the driver states).
const LINE_GRAIN: u8 = 6;

/// A record, read.
#[derive(Debug, Default)]
pub(super) struct Reading {
    /// The component it points at, if it is an error of one.
    pub lead: Option<Lead>,
    /// The page it has a usable address of.
    pub page: Option<Pfn>,
    /// Its address, where it is good to a 64-byte line of that page.
    pub addr: Option<PhysAddr>,
    /// The place in DRAM that it names.
    pub place: Option<DramPlace>,
    /// What could not be used of it, and why.
    pub unusable: Option<String>,
}

impl Reading {
    pub(super) fn unusable(why: impl ToString) -> Reading {
        Reading { unusable: Some(why.to_string()), ..Reading::default() }
    }
}

/// Reads a record that `source` delivered.
pub(super) fn read(source: Source, record: &Record, machine: &Machine, rules: &Rules) -> Reading {
    if source.is_of_last_boot() {
        return last_words(record, machine, rules);
    }
    match (source, record) {
        (Source::MceRecord, Record::Mce(mce)) => machine_check(mce, machine, rules),
        (Source::McEvent, Record::MemoryController(event)) => mc_event(event, machine, rules),
        (Source::MemoryFailure, Record::MemoryFailure(result)) => memory_failure(result, machine),
        (Source::ExtlogMemEvent, Record::Extlog(event)) => cper::extlog(event, machine, rules),
        (Source::NonStandardEvent, Record::NonStandard(event)) => {
            cper::non_standard(event, machine, rules)
        }
        (Source::ArmEvent, Record::Arm(event)) => arm::event(event, machine, rules),
        (Source::CxlDram, Record::CxlDram(event)) => cxl::dram(event, machine, rules),
        (Source::CxlGeneralMedia, Record::CxlGeneralMedia(event)) => {
            cxl::general_media(event, machine, rules)
        }
        (Source::Log, Record::Logged(error)) => logged(error, machine, rules),
        _ => Reading::unusable(format!("a report of {source} carries another source's record")),
    }
}

fn machine_check(record: &MceRecord, machine: &Machine, rules: &Rules) -> Reading {
    let check = match mce::decode(record, machine) {
        Ok(check) => check,
        Err(why) => return Reading::unusable(why),
    };
    if let Some(pfn) = check.page {
        let lead = lead::page(pfn, check.outcome, rules, None);
        return Reading { lead: Some(lead), page: Some(pfn), ..Reading::default() };
    }
    if matches!(check.code, Code::Memory | Code::NearMemory) {
        let lead = lead::memory(None, "", check.outcome, None);
        return Reading { lead: Some(lead), ..Reading::default() };
    }
    let (lead, doubt) = lead::processor(record, &check, machine, rules);
    Reading { lead: Some(lead), unusable: doubt.map(|d| d.to_string()), ..Reading::default() }
}

/// What a kernel that died said last, on `machine` as it was then. Only what was
/// not corrected can have ended it.
fn last_words(record: &Record, machine: &Machine, rules: &Rules) -> Reading {
    let reading = match record {
        Record::Mce(mce) => machine_check(mce, machine, rules),
        Record::Extlog(event) => cper::extlog(event, machine, rules),
        Record::Logged(error) => logged(error, machine, rules),
        _ => return Reading::unusable("a record of how a boot ended is of no such kind"),
    };
    match (&reading.lead, reading.page) {
        (Some(lead), _) if !lead.rule.uncorrected() => Reading::default(),
        (Some(_), Some(pfn)) => {
            let lead = lead::fatal_page(pfn, machine, rules);
            Reading { lead: Some(lead), page: Some(pfn), ..Reading::default() }
        }
        _ => Reading { place: None, ..reading },
    }
}

fn mc_event(event: &McEvent, machine: &Machine, rules: &Rules) -> Reading {
    // enum hw_event_mc_err_type, include/linux/edac.h.
    let outcome = match event.error_type {
        0 => Outcome::Corrected,
        1..=3 => Outcome::Uncorrected,
        4 => return Reading::default(),
        other => return Reading::unusable(format!("mc_event has an unknown error type {other}")),
    };
    let place = place::of_mc_event(event, machine);
    // A driver passes 0 where it knows no address; a grain above a page is none.
    let of_page = event.address != 0 && event.grain_bits <= machine.page_size.shift();
    let page = of_page.then(|| mce::page_of(event.address, machine)).flatten();
    let lead = match page {
        Some(pfn) => lead::page(pfn, outcome, rules, None),
        None => lead::memory(Some(event.mc_index), &event.label, outcome, None),
    };
    let to_the_line = page.is_some() && event.grain_bits <= LINE_GRAIN;
    let addr = to_the_line.then_some(PhysAddr(event.address));
    Reading { lead: Some(lead), page, addr, place, unusable: None }
}

/// An error that somebody else decoded: place and address are believed as far as
/// they go. Without an address it has no page.
fn logged(error: &LoggedError, machine: &Machine, rules: &Rules) -> Reading {
    let outcome = match error.uncorrected {
        true => Outcome::Uncorrected,
        false => Outcome::Corrected,
    };
    let place = Some(error.place);
    let Some(addr) = error.addr else {
        let lead = lead::memory(None, "", outcome, None);
        return Reading { lead: Some(lead), place, ..Reading::default() };
    };
    match mce::page_of(addr.0, machine) {
        Some(pfn) => {
            let lead = Some(lead::page(pfn, outcome, rules, None));
            Reading { lead, page: Some(pfn), addr: Some(addr), place, unusable: None }
        }
        None => Reading::unusable(format!("address {addr} is beyond the host's address width")),
    }
}

/// A result, not an error: what it tells of the page is decide's to record.
fn memory_failure(result: &MemoryFailure, machine: &Machine) -> Reading {
    let addr = result.pfn.0.checked_mul(machine.page_size.bytes());
    match addr.and_then(|addr| mce::page_of(addr, machine)) {
        Some(pfn) => Reading { page: Some(pfn), ..Reading::default() },
        None => Reading::unusable(format!(
            "memory_failure_event names page frame {:#x}, beyond the host's address width",
            result.pfn.0
        )),
    }
}
