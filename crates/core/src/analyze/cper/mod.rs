//! Firmware's records: sections of UEFI's Common Platform Error Record (UEFI
//! 2.10, appendix N, "CPER").
//!
//! The tracepoints do not carry the flags of the section's descriptor, where
//! firmware says that an error threshold was exceeded; the kernel acts on that
//! one by itself (drivers/acpi/apei/ghes.c, ghes_handle_memory_failure).

mod memory;
mod section;

use super::lead;
use super::mce::{self, Outcome};
use super::reading::Reading;
use super::rules::Rules;
use crate::model::dimms::part_name;
use crate::model::{Dimm, ExtlogMemEvent, Machine, NonStandardEvent, Pfn, PhysAddr};
use memory::{MemoryError, Nature};
use section::Section;

/// log2 of a cache line in bytes.
const LINE: u8 = 6;

/// Bytes of a FRU text that are used; UEFI gives it 20 (N.2.2).
const FRU_TEXT: usize = 20;

/// Reads a memory error of the extended error log.
pub(super) fn extlog(event: &ExtlogMemEvent, machine: &Machine, rules: &Rules) -> Reading {
    // CPER_SEV_* (include/linux/cper.h): not the numbers of mc_event.
    let outcome = match event.sev {
        0 | 1 => Outcome::Uncorrected,
        2 => Outcome::Corrected,
        3 => return Reading::default(),
        other => {
            return Reading::unusable(format!("extlog_mem_event has an unknown severity {other}"))
        }
    };
    let Some(place) = MemoryError::compact(&event.data) else {
        return Reading::unusable("extlog_mem_event has a section that is too short");
    };
    let error = MemoryError {
        // All ones stand for what is not valid (include/ras/ras_event.h).
        addr: Some(event.pa).filter(|pa| *pa != u64::MAX),
        lsb: Some(event.pa_mask_lsb).filter(|lsb| *lsb != u8::MAX),
        error_type: Some(event.etype).filter(|etype| *etype != u8::MAX),
        ..place
    };
    memory_error(&error, outcome, &event.fru_text, machine, rules)
}

/// Reads a section that the kernel did not know.
pub(super) fn non_standard(event: &NonStandardEvent, machine: &Machine, rules: &Rules) -> Reading {
    let error = match Section::of(event.sec_type) {
        Section::Memory => MemoryError::first(&event.buf),
        Section::Memory2 => MemoryError::second(&event.buf),
        Section::Known(name) => {
            return Reading::unusable(format!(
                "firmware's section {} ({name}) is not decoded",
                event.sec_type
            ))
        }
        Section::Unknown => {
            return Reading::unusable(format!(
                "firmware's section {} is of no known kind",
                event.sec_type
            ))
        }
    };
    let Some(error) = error else {
        return Reading::unusable(format!(
            "firmware's memory section has {} bytes",
            event.buf.len()
        ));
    };
    // The event's severity is in the numbers of GHES or of CPER, and nothing says in which.
    let Some(outcome) = error.outcome() else {
        return Reading::unusable(
            "firmware's memory section does not say whether the error was corrected",
        );
    };
    memory_error(&error, outcome, &event.fru_text, machine, rules)
}

fn memory_error(
    error: &MemoryError,
    outcome: Outcome,
    fru_text: &str,
    machine: &Machine,
    rules: &Rules,
) -> Reading {
    let outcome = match error.outcome() {
        Some(Outcome::Uncorrected) => Outcome::Uncorrected,
        _ => outcome,
    };
    let no_page = || lead::memory(None, &label(error, fru_text, machine), outcome, None);
    match error.nature() {
        Nature::None(what) => {
            Reading::unusable(format!("firmware tells of {what}, which is no error of memory"))
        }
        Nature::Path => Reading { lead: Some(no_page()), ..Reading::default() },
        Nature::Cells => {
            let page = usable_page(error, machine);
            let lead = match page {
                Some(pfn) => lead::page(pfn, outcome, rules, None),
                None => no_page(),
            };
            let to_the_line = page.is_some() && error.lsb.is_some_and(|lsb| lsb <= LINE);
            let addr = error.addr.filter(|_| to_the_line).map(PhysAddr);
            Reading { lead: Some(lead), page, addr, place: error.place, ..Reading::default() }
        }
    }
}

/// A mask that leaves out bits of a page makes the address none. Without a mask
/// the address is good to the page, as the kernel takes it
/// (arch/x86/kernel/cpu/mce/apei.c, apei_mce_report_mem_error).
fn usable_page(error: &MemoryError, machine: &Machine) -> Option<Pfn> {
    let addr = error.addr.filter(|addr| *addr != 0)?;
    let to_the_page = error.lsb.is_none_or(|lsb| lsb <= machine.page_size.shift());
    to_the_page.then(|| mce::page_of(addr, machine)).flatten()
}

/// The part to replace that an extended error log names.
pub(super) fn extlog_part(event: &ExtlogMemEvent, machine: &Machine) -> Option<String> {
    part(MemoryError::compact(&event.data), &event.fru_text, machine)
}

/// The part to replace that a memory section names.
pub(super) fn non_standard_part(event: &NonStandardEvent, machine: &Machine) -> Option<String> {
    let error = match Section::of(event.sec_type) {
        Section::Memory => MemoryError::first(&event.buf),
        Section::Memory2 => MemoryError::second(&event.buf),
        Section::Known(_) | Section::Unknown => None,
    };
    part(error, &event.fru_text, machine)
}

/// By the SMBIOS handle of its memory device, else in firmware's own words.
fn part(error: Option<MemoryError>, fru_text: &str, machine: &Machine) -> Option<String> {
    let dimm = error.and_then(|error| dimm(&error, machine)).map(Dimm::fru);
    dimm.or_else(|| text(fru_text).map(|text| part_name(&text)))
}

/// A short name that stays the same, may be empty.
fn label(error: &MemoryError, fru_text: &str, machine: &Machine) -> String {
    let dimm = dimm(error, machine);
    let label = dimm.and_then(|dimm| match dimm.label.as_str() {
        "" => dimm.locator.clone(),
        label => Some(label.to_owned()),
    });
    label.or_else(|| text(fru_text)).unwrap_or_default()
}

fn dimm<'m>(error: &MemoryError, machine: &'m Machine) -> Option<&'m Dimm> {
    machine.dimm_by_handle(error.module_handle?)
}

fn text(fru_text: &str) -> Option<String> {
    let text: String = fru_text.trim().chars().take(FRU_TEXT).collect();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests;
