//! Errors with a place in DRAM: what they come to beyond their page.

use super::analyzer::{Analyzer, Observed};
use super::dram::{self, DramRules, Scope, Sighting};
use crate::model::{DimmId, Fault, Machine};

impl Analyzer {
    /// Takes a corrected error with a place in DRAM. `fru` names the DIMM, where
    /// the report does.
    pub(super) fn locate(
        &mut self,
        seen: &Sighting,
        fru: Option<&str>,
        machine: &Machine,
        out: &mut Observed,
    ) {
        let limit = self.rules.limits.memory_bytes(machine.memory_bytes);
        let rules =
            DramRules { row: self.rules.row, page_limit: limit / machine.page_size.bytes() };
        let found = self.dimms.observe(seen, &rules, &|_, _| None);
        out.updated.extend(found.updates.into_iter().flatten());
        for mode in found.opened {
            let label = label(&mode.scope.dimm(), machine).or(fru).unwrap_or_default();
            let fru = fru.map(str::to_owned);
            out.findings.push(dram::finding(mode, label, fru, &rules, machine.page_size));
        }
    }

    /// Reports whose place and address contradicted what was known of either.
    pub fn doubtful(&self) -> u64 {
        self.dimms.doubtful()
    }
}

/// An open fault that this engine carries on.
pub(super) fn is_located(fault: &Fault) -> bool {
    Scope::of(fault).is_some()
}

/// The label of a DIMM, where EDAC has one.
fn label<'m>(id: &DimmId, machine: &'m Machine) -> Option<&'m str> {
    let dimm = machine.dimms.iter().find(|dimm| dimm.id.as_ref() == Some(id))?;
    Some(dimm.label.as_str()).filter(|label| !label.is_empty())
}
