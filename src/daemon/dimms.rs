//! DIMMs that EDAC tells of only after the daemon began.
//!
//! A driver may be loaded late, and the devices of its DIMMs, which have
//! neither bus nor class, send no uevent (dev_uevent_filter() in
//! drivers/base/core.c). Its first error is the sign that it is there.

use bulkhead_core::model::{Machine, Record, Report};
use std::collections::BTreeSet;

/// What was looked for already.
#[derive(Debug, Default)]
pub struct LateDimms {
    controllers: BTreeSet<u8>,
}

impl LateDimms {
    /// Whether to read the machine again before `report` is taken: it is of a
    /// memory controller that no DIMM is known of. Once per controller, since
    /// some have none to tell of.
    pub fn call_for_a_look(&mut self, report: &Report, machine: &Machine) -> bool {
        let Record::MemoryController(event) = &report.record else { return false };
        let own = Some(u16::from(event.mc_index));
        let known = machine.dimms.iter().any(|d| d.id.is_some_and(|id| id.controller == own));
        !known && self.controllers.insert(event.mc_index)
    }
}
