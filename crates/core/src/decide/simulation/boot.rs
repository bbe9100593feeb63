//! What a daemon begins with: after it was killed, and in a new boot.

use super::super::testing::finding;
use super::super::*;
use super::host::Host;
use super::keepers::Keepers;
use super::step::Setup;
use crate::analyze::Response;
use crate::model::*;
use std::collections::BTreeMap;

impl Host {
    /// The daemon is killed, and started again.
    pub fn restart(&mut self, effects: u8) {
        // A process does not end, nor let go of the store's lock, while a thread
        // of it is in the kernel: what was stuck has ended too.
        let lost: Vec<(Order, Stamp)> = self.stuck.drain(..).chain(self.queue.drain(..)).collect();
        for (i, (order, _)) in lost.into_iter().enumerate() {
            self.lose(&order, effects >> (i % 8));
        }
        self.reread();
        self.regroup();
        self.start(match self.restoring {
            Some(_) => Boot::Unfinished,
            None => Boot::Same,
        });
    }

    pub fn reboot(&mut self, setup: Setup) {
        let before = self.desk.machine.memory_home();
        self.end_of_boot();
        self.reread();
        let cells = self.cells();
        self.plug_in(setup.memory);
        if self.cells() != cells {
            // Lines that are set aside count for no day, and one whose fault is
            // closed meanwhile does not come back with what it knows.
            self.pages_taken.clear();
            self.bad_cells.clear();
        }
        self.begin_boot(setup.masked.map(Pfn));
        self.regroup();
        let open: BTreeMap<_, _> = self.open().into_iter().map(|fault| (fault.id, fault)).collect();
        let plan = rehome(&self.desk.ctx(), &self.memory, &open);
        self.follow(plan);
        if let Some(pfn) = setup.died_of.map(Pfn) {
            self.died_of(pfn, before);
        }
        self.start(Boot::New);
    }

    /// A boot puts all back: what nobody saw go by then has left no trace to be
    /// counted by.
    fn end_of_boot(&mut self) {
        let cells = self.cells();
        self.queue.clear();
        self.stuck.clear();
        self.our_cpus.clear();
        self.unclear_cpus.clear();
        self.stayed_off.clear();
        self.ue.clear();
        self.reported.clear();
        self.unpoisoned.clear();
        self.our_pages.clear();
        self.keepers = Keepers::default();
        for (_, pfn) in
            self.pages_taken.keys().filter(|(of, _)| *of == cells).copied().collect::<Vec<_>>()
        {
            self.forget_unseen_page(pfn);
        }
        let ledger = &self.desk.ledger;
        self.cores_taken.retain(|cpu, at| {
            let seen = ledger.get(&Target::Cpu(*cpu)).and_then(|line| line.taken);
            *at = seen.map_or(*at, |seen| seen.at.min(*at));
            seen.is_some()
        });
    }

    /// What was learned of addresses while nobody could tell the memory is of no
    /// memory at all.
    fn begin_boot(&mut self, masked: Option<Pfn>) {
        let is_known = |memory: MemoryConfigId| memory != MemoryConfigId::default();
        self.boots += 1;
        self.called_for.retain(|(memory, _)| is_known(*memory));
        self.bad_cells.retain(|(memory, _)| is_known(*memory));
        self.pages_taken.retain(|(memory, _), _| is_known(*memory));
        let rows = std::mem::take(&mut self.rows);
        let (rows, unknown): (BTreeMap<_, _>, BTreeMap<_, _>) =
            rows.into_iter().partition(|((memory, _), _)| is_known(*memory));
        self.rows = rows;
        self.faults.extend(unknown.into_values().map(|row| (row.id, row)));
        self.desk.machine.cpus.values_mut().for_each(|c| c.online = true);
        self.desk.machine.masked = masked.iter().map(|pfn| *pfn..Pfn(pfn.0 + 1)).collect();
        // Who masked a page has given it up.
        self.pages_taken.retain(|(_, pfn), _| Some(*pfn) != masked);
        self.pages_off = masked.into_iter().collect();
    }

    /// The host has the memory of this number; 0 is one that firmware does not
    /// tell of.
    pub fn plug_in(&mut self, number: u8) {
        let serial = Some(number.to_string());
        let module = Module { serial, ..Module::default() };
        let modules = if number == 0 { Vec::new() } else { vec![module] };
        let now = MemoryConfig { modules, ..MemoryConfig::default() };
        let last = std::mem::replace(&mut self.memory.now, now);
        if last != MemoryConfig::default() {
            self.memory.before.retain(|(id, _)| *id != last.id());
            self.memory.before.push((last.id(), last));
        }
        self.desk.machine.memory = self.memory.now.id();
    }

    /// An uncorrected error on `pfn`, of the memory that was `home`, ended the
    /// boot before. Of other memory it is told, and not remembered.
    fn died_of(&mut self, pfn: Pfn, home: Home) {
        let here = self.cells();
        if home == Home::Memory(here) {
            self.bad_cells.insert((here, pfn));
            self.called_for.insert((here, pfn));
        }
        let mut finding = finding(Response::TakeFreePage { pfn, home });
        self.name(&mut finding.fault);
        finding.fault.home = home;
        self.faults.insert(finding.fault.id, finding.fault.clone());
        let plan = found(&self.desk.ctx(), &finding);
        self.follow(plan);
    }

    /// All that the next run has is the lines and the faults.
    fn reread(&mut self) {
        let mut ledger: Ledger = self.desk.ledger.values().cloned().collect();
        self.desk.ledger.aside().for_each(|line| ledger.put_aside(line.clone()));
        let mut grouped = ledger.clone();
        self.put_groups(&mut grouped);
        assert_eq!(grouped, self.desk.ledger);
        for (_, line) in std::mem::take(&mut self.stored) {
            ledger.insert(line);
        }
        self.desk.ledger = ledger;
    }

    fn put_groups(&self, ledger: &mut Ledger) {
        for fault in self.rows_here() {
            ledger.put_group(Group::of(fault, self.desk.machine.page_size).unwrap());
        }
    }

    fn regroup(&mut self) {
        let mut ledger = std::mem::take(&mut self.desk.ledger);
        self.put_groups(&mut ledger);
        self.desk.ledger = ledger;
    }

    fn start(&mut self, boot: Boot) {
        self.forbidden.clear();
        self.stubborn.tries.clear();
        self.desk.checks = Checks::default();
        let (ctx, checks) = self.desk.split();
        let plan = start(&ctx, checks, boot);
        self.restoring = Restoring::of(&plan.orders).filter(|_| boot != Boot::Same);
        self.follow(plan);
    }
}
