//! Faults that an admin closed, and parts that were replaced.

use super::Analyzer;
use crate::analyze::dram::tells_dimms_apart;
use crate::analyze::evidence::{EvidenceKey, EvidenceState};
use crate::analyze::piece::Piece;
use crate::analyze::reading;
use crate::model::{Component, DimmId, Evidence, Fault, FaultState, Machine, Pfn, SocketId};
use std::collections::BTreeSet;
use uuid::Uuid;

/// What is replaced as one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Unit {
    Dimm(DimmId),
    Processor(SocketId),
}

impl Analyzer {
    /// An admin closed `fault`; its state says as what. Its component may fire
    /// anew, from an empty window, and it no longer speaks against its socket's
    /// other cores.
    ///
    /// Repaired: what errors told of the component, and of all that lies in it,
    /// is forgotten. Replaced: of all that lies on the part, as far as errors
    /// named it. Acquitted: what is known of its places counts on for whatever
    /// else they lie in.
    pub fn closed(&mut self, fault: &Fault, machine: &Machine) {
        if fault.state == FaultState::Acquitted {
            self.located.acquit(fault);
            return self.forget(fault.id);
        }
        let mut pages: BTreeSet<Pfn> = self.located.forget(fault.id).into_iter().collect();
        pages.extend(fault.cover.iter().flat_map(|cover| &cover.pages));
        if fault.state == FaultState::Replaced {
            match self.unit(fault, machine) {
                Some(Unit::Dimm(dimm)) => {
                    pages.extend(self.located.forget_dimm(&dimm));
                    pages.extend(self.pages_on(&dimm, machine));
                    self.restart_others(|analyzer, key, state| {
                        matches!(key, EvidenceKey::Memory { .. })
                            && analyzer.is_on(state, &dimm, machine)
                    });
                }
                Some(Unit::Processor(socket)) => {
                    self.restart_others(|_, key, _| socket_of(key) == Some(socket));
                }
                None => {}
            }
        }
        for pfn in pages {
            self.restart(&EvidenceKey::Page(pfn));
        }
        self.forget(fault.id);
    }

    /// Nobody keeps the fault of this name any more. Its component may fire
    /// anew, from an empty window.
    pub fn forget(&mut self, fault: Uuid) {
        let Some(key) = self.cases.remove(&fault) else { return };
        if self.get(&key).is_none() {
            return;
        }
        self.change(&key, |state| {
            state.change_rest(|rest| rest.cases.retain(|case| case.id != fault));
        });
        self.restart(&key);
    }

    /// Those of `others` that lie on the same part as `fault`, as far as their
    /// errors named it: closing one of them as replaced leaves these standing.
    pub fn on_the_same_part<'f>(
        &self,
        fault: &Fault,
        others: impl Iterator<Item = &'f Fault>,
        machine: &Machine,
    ) -> Vec<&'f Fault> {
        let Some(unit) = self.unit(fault, machine) else { return Vec::new() };
        let same = |other: &&Fault| other.id != fault.id && self.unit(other, machine) == Some(unit);
        others.filter(same).collect()
    }

    /// Empties a window; open faults stay.
    fn restart(&mut self, key: &EvidenceKey) {
        if self.get(key).is_none() {
            return;
        }
        let idle = self.change(key, |state| {
            state.restart();
            state.cases().is_empty()
        });
        match key {
            _ if !idle => {}
            EvidenceKey::Page(pfn) => self.pages.remove(pfn),
            key => self.others.remove(key),
        }
    }

    fn restart_others(&mut self, which: impl Fn(&Analyzer, &EvidenceKey, &EvidenceState) -> bool) {
        let found = self.others.iter().filter(|(key, state)| which(self, key, state));
        let keys: Vec<EvidenceKey> = found.map(|(key, _)| key.clone()).collect();
        keys.iter().for_each(|key| self.restart(key));
    }

    /// Pages with evidence that names `dimm`.
    fn pages_on(&self, dimm: &DimmId, machine: &Machine) -> Vec<Pfn> {
        let on = self.pages.iter().filter(|(_, state)| self.is_on(state, dimm, machine));
        on.map(|(pfn, _)| *pfn).collect()
    }

    fn is_on(&self, state: &EvidenceState, dimm: &DimmId, machine: &Machine) -> bool {
        // A machine check names no DIMM, and most pieces are of one.
        let may_name = |piece: &&Piece| !matches!(piece, Piece::Mce(..));
        let mut pieces = state.pieces.iter().filter(may_name).cloned().map(Piece::into_evidence);
        pieces.any(|piece| self.dimm_of(&piece, machine) == Some(*dimm))
    }

    fn unit(&self, fault: &Fault, machine: &Machine) -> Option<Unit> {
        match &fault.component {
            Component::Row { place, .. }
            | Component::Column { place, .. }
            | Component::Bank { place, .. }
            | Component::Rank { place, .. } => Some(Unit::Dimm(place.dimm)),
            Component::Dimm { dimm, .. } => Some(Unit::Dimm(*dimm)),
            Component::Page { .. } | Component::Memory { .. } => {
                let mut named = fault.evidence.iter().filter_map(|e| self.dimm_of(e, machine));
                named.next().map(Unit::Dimm)
            }
            Component::Bus { socket } | Component::Shared { socket, .. } => {
                Some(Unit::Processor(*socket))
            }
            Component::Cpu { cpus }
            | Component::Cache { cpus, .. }
            | Component::Tlb { cpus, .. } => {
                let known = cpus.iter().find_map(|cpu| machine.cpus.get(cpu));
                known.map(|cpu| Unit::Processor(cpu.socket))
            }
        }
    }

    /// The DIMM that a record names.
    fn dimm_of(&self, piece: &Evidence, machine: &Machine) -> Option<DimmId> {
        let place = reading::read(piece.source, &piece.record, machine, &self.rules).place?;
        Some(place.dimm).filter(tells_dimms_apart)
    }
}

/// The processor that a component is of.
fn socket_of(key: &EvidenceKey) -> Option<SocketId> {
    match key {
        EvidenceKey::Core { socket, .. }
        | EvidenceKey::Bank { socket, .. }
        | EvidenceKey::Bus(socket) => Some(*socket),
        EvidenceKey::Page(_) | EvidenceKey::Memory { .. } | EvidenceKey::Row(_) => None,
    }
}
