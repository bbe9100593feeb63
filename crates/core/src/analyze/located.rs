//! Errors with a place in DRAM: what they come to beyond their page.

use super::analyzer::Observed;
use super::dram::map::RowMap;
use super::dram::{self, Capacity, Dimms, DramRules, Row, RowKey, Scope, Sighting};
use super::part;
use super::rules::Rules;
use crate::model::{DimmId, DramPlace, Fault, Machine, Pfn, PhysAddr};
use hashbrown::HashMap;
use uuid::Uuid;

/// DIMMs whose address mapping is learned, at most: as many as the largest hosts
/// have, at up to 64 KiB each.
const MAX_MAPS: usize = 256;

/// The fault modes of DIMMs, and where their rows lie.
#[derive(Debug)]
pub(super) struct Located {
    dimms: Dimms,
    maps: HashMap<DimmId, RowMap>,
}

impl Default for Located {
    fn default() -> Self {
        Located { dimms: Dimms::new(Capacity::default()), maps: HashMap::default() }
    }
}

impl Located {
    /// Takes a corrected error with a place.
    pub fn observe(
        &mut self,
        seen: &Sighting,
        rules: &Rules,
        machine: &Machine,
        out: &mut Observed,
    ) {
        let limit = rules.limits.memory_bytes(machine.memory_bytes);
        let page_size = machine.page_size;
        let rules = DramRules { row: rules.row, page_limit: limit / page_size.bytes() };
        let map = self.maps.get(&seen.place.dimm);
        let whole_row = |place: &DramPlace, addrs: &[PhysAddr]| {
            map?.row_pages(place, addrs, page_size, machine.phys_bits)
        };
        let found = self.dimms.observe(seen, &rules, &whole_row);
        if let (true, Some(addr)) = (found.learned, seen.addr) {
            self.learn(seen.place, addr);
        }
        out.updated.extend(found.updates.into_iter().flatten());
        for mode in found.opened {
            let dimm = machine.dimm_by_id(&mode.scope.dimm());
            let fru = part::named_by(&seen.report.record, machine);
            let fru = fru.or_else(|| Some(dimm?.fru()));
            let label = match dimm {
                Some(dimm) => dimm.label.as_str(),
                None => part::label(&seen.report.record),
            };
            let home = machine.memory_home();
            out.findings.push(dram::finding(mode, label, fru, &rules, page_size, home));
        }
    }

    /// It carries `fault` on.
    pub fn owns(fault: &Fault) -> bool {
        Scope::of(fault).is_some()
    }

    pub fn restore<'f>(
        &mut self,
        rows: impl Iterator<Item = (RowKey, Row)>,
        faults: impl Iterator<Item = &'f Fault>,
    ) {
        self.dimms.restore(rows, faults);
        let known: Vec<(DramPlace, PhysAddr)> = self.dimms.known().collect();
        for (place, addr) in known {
            self.learn(&place, addr);
        }
    }

    /// What `fault` takes in was repaired. Answers the pages in it.
    pub fn forget(&mut self, fault: Uuid) -> Vec<Pfn> {
        self.dimms.forget(fault)
    }

    /// `fault` was none.
    pub fn acquit(&mut self, fault: &Fault) {
        self.dimms.acquit(fault);
    }

    /// Another DIMM is in the place of `dimm`: how addresses map into it is
    /// learned anew, too. Answers the pages known to have lain on it.
    pub fn forget_dimm(&mut self, dimm: &DimmId) -> Vec<Pfn> {
        self.maps.remove(dimm);
        self.dimms.forget_dimm(dimm)
    }

    pub fn changes(&self) -> impl Iterator<Item = (RowKey, Option<&Row>)> {
        self.dimms.changes()
    }

    pub fn has_changes(&self) -> bool {
        self.dimms.has_changes()
    }

    pub fn kept(&mut self) {
        self.dimms.kept();
    }

    pub fn forget_changes(&mut self) {
        self.dimms.forget_changes();
    }

    pub fn mark_all(&mut self) {
        self.dimms.mark_all();
    }

    /// Rows with evidence.
    pub fn rows(&self) -> usize {
        self.dimms.rows()
    }

    pub fn evictions(&self) -> u64 {
        self.dimms.evictions()
    }

    pub fn doubtful(&self) -> u64 {
        self.dimms.doubtful()
    }

    fn learn(&mut self, place: &DramPlace, addr: PhysAddr) {
        if self.maps.len() < MAX_MAPS || self.maps.contains_key(&place.dimm) {
            self.maps.entry(place.dimm).or_default().learn(place, addr);
        }
    }
}
