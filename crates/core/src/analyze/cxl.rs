//! Events of CXL memory devices (CXL 3.1 section 8.2.9.2.1, tables 8-45 and
//! 8-46).
//!
//! A device tells its own address (DPA), which means nothing to the host; only
//! the address that newer kernels translate it to (HPA) names a page.

use super::lead::{self, Lead};
use super::mce::{self, Outcome};
use super::reading::Reading;
use super::rules::{RuleId, Rules};
use crate::model::{
    CxlDram, CxlGeneralMedia, CxlMedia, DimmId, DimmSpace, DramPlace, Machine, Pfn, PhysAddr,
};

/// Memory event descriptor.
const UNCORRECTABLE: u8 = 1 << 0;
const THRESHOLD: u8 = 1 << 1;
/// Advanced programmable corrected memory error threshold event flags.
const CME_THRESHOLD: u8 = 1 << 1;
/// Transaction type: the host put poison there.
const HOST_INJECT_POISON: u8 = 4;

/// What a memory event type stands for.
enum Nature {
    /// The media: the address is to blame.
    Media,
    /// The way to them.
    DataPath,
    /// Somebody used the device wrongly.
    Misuse(&'static str),
    /// Not defined.
    Unknown,
}

/// Reads an event of a device's DRAM.
pub(super) fn dram(event: &CxlDram, machine: &Machine, rules: &Rules) -> Reading {
    let nature = match event.media.kind {
        // ECC error, found by scrubbing or not; counter of corrected errors expired.
        0 | 1 | 5 => Nature::Media,
        2 => Nature::Misuse("an access to an invalid address"),
        3 => Nature::DataPath,
        4 => Nature::Misuse("a TE state violation"),
        6 => Nature::Misuse("a key violation"),
        _ => Nature::Unknown,
    };
    read(&event.media, nature, dram_place(event), machine, rules)
}

/// Reads an event of a device's media of whichever kind.
pub(super) fn general_media(event: &CxlGeneralMedia, machine: &Machine, rules: &Rules) -> Reading {
    let nature = match event.media.kind {
        0 | 4 | 5 => Nature::Media,
        1 => Nature::Misuse("an access to an invalid address"),
        2 => Nature::DataPath,
        3 => Nature::Misuse("a TE state violation"),
        6 => Nature::Misuse("a key violation"),
        _ => Nature::Unknown,
    };
    read(&event.media, nature, general_place(event), machine, rules)
}

fn read(
    media: &CxlMedia,
    nature: Nature,
    place: Option<DramPlace>,
    machine: &Machine,
    rules: &Rules,
) -> Reading {
    if media.transaction_type == HOST_INJECT_POISON {
        return Reading::unusable(format!(
            "{} tells of poison that the host put there",
            media.memdev
        ));
    }
    let outcome = match media.descriptor & UNCORRECTABLE {
        0 => Outcome::Corrected,
        _ => Outcome::Uncorrected,
    };
    let (page, place) = match nature {
        Nature::Media => (usable_page(media, machine), place),
        Nature::DataPath => (None, None),
        Nature::Misuse(what) => {
            return Reading::unusable(format!(
                "{} tells of {what}, which is no error of memory",
                media.memdev
            ))
        }
        Nature::Unknown => {
            return Reading::unusable(format!(
                "{} tells of an event of unknown type {:#x}",
                media.memdev, media.kind
            ))
        }
    };
    let threshold =
        media.descriptor & THRESHOLD != 0 || media.cme_threshold_ev_flags & CME_THRESHOLD != 0;
    let lead = lead(media, outcome, threshold, page, rules);
    Reading { lead: Some(lead), page, place, ..Reading::default() }
}

fn lead(
    media: &CxlMedia,
    outcome: Outcome,
    threshold: bool,
    page: Option<Pfn>,
    rules: &Rules,
) -> Lead {
    let lead = match page {
        Some(pfn) => lead::page(pfn, outcome, rules, None),
        None => lead::memory(None, &media.memdev, outcome, None),
    };
    match (threshold, outcome, page) {
        (true, Outcome::Corrected, Some(_)) => Lead { rule: RuleId::PageThreshold, ..lead },
        (true, Outcome::Corrected, None) => Lead { rule: RuleId::MemoryThreshold, ..lead },
        _ => lead,
    }
}

/// The part to replace: the device, by the kernel's name and its own serial.
pub(super) fn part(media: &CxlMedia) -> Option<String> {
    let name = (!media.memdev.is_empty()).then_some(&media.memdev)?;
    Some(match media.serial {
        0 => format!("CXL device {name}"),
        serial => format!("CXL device {name} (serial {serial:#x})"),
    })
}

/// The host's address, if it is known and the only one that may be meant: where
/// local memory caches the device's, two addresses share what it holds.
fn usable_page(media: &CxlMedia, machine: &Machine) -> Option<Pfn> {
    let known = |addr: Option<PhysAddr>| addr.map(|a| a.0).filter(|a| *a != u64::MAX && *a != 0);
    let addr = known(media.hpa).filter(|_| known(media.hpa_alias0).is_none())?;
    mce::page_of(addr, machine)
}

/// The place of a DRAM event, by its validity flags; none without its channel,
/// since rows of two channels are not one.
fn dram_place(event: &CxlDram) -> Option<DramPlace> {
    let valid = |bit: u32| event.media.validity_flags >> bit & 1 != 0;
    let dimm = valid(0).then(|| dimm(&event.media)).flatten()?;
    Some(DramPlace {
        dimm: DimmId {
            // A sub-channel has banks and rows of its own.
            slot: valid(10).then_some(event.sub_channel.into()),
            ..dimm
        },
        rank: valid(1).then_some(event.media.rank.into()),
        sub_rank: None,
        device: valid(2).then(|| only_bit(event.nibble_mask)).flatten(),
        bank_group: valid(3).then_some(event.bank_group.into()),
        bank: valid(4).then_some(event.bank.into()),
        row: valid(5).then_some(event.row),
        column: valid(6).then_some(event.column.into()),
        bits: None,
    })
}

/// General media have no rows to tell.
fn general_place(event: &CxlGeneralMedia) -> Option<DramPlace> {
    let valid = |bit: u32| event.media.validity_flags >> bit & 1 != 0;
    Some(DramPlace {
        dimm: valid(0).then(|| dimm(&event.media)).flatten()?,
        rank: valid(1).then_some(event.media.rank.into()),
        sub_rank: None,
        device: valid(2).then(|| only_bit(event.device)).flatten(),
        ..DramPlace::default()
    })
}

/// `memN` and its channel.
fn dimm(media: &CxlMedia) -> Option<DimmId> {
    let number = media.memdev.strip_prefix("mem")?.parse().ok()?;
    Some(DimmId {
        space: DimmSpace::Cxl,
        controller: Some(number),
        channel: Some(media.channel.into()),
        ..DimmId::default()
    })
}

/// The nibble or device that a mask names, if it names one.
fn only_bit(mask: u32) -> Option<u16> {
    mask.is_power_of_two().then_some(mask.trailing_zeros() as u16)
}

#[cfg(test)]
mod tests;
