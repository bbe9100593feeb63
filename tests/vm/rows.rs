//! Rows and what is wider: found by the places that a memory controller names, and taken page by page or escalated.

use std::collections::BTreeSet;
use std::fmt;

use anyhow::{ensure, Context, Result};
use serde_json::{json, Value};

use crate::bulkhead::{page_id, Bulkhead, LIMIT};
use crate::harness::{wait_for, wait_until, Machine, Vm};

on_each_kernel!(
    a_row_goes_when_two_of_its_columns_err;
    long on 6.1:
    the_firmwares_decoding_of_a_row_is_as_good,
    one_column_is_no_row_however_often_it_errs,
    a_wide_bit_pattern_is_told_once_and_takes_nothing,
    a_failing_column_is_escalated_and_its_pages_stay,
    a_failing_bank_is_escalated_and_only_pages_past_their_own_threshold_go,
    a_row_fires_over_a_kill_between_its_errors,
    a_row_whose_mapping_was_learned_goes_whole_as_far_as_the_limits_let_it,
    a_failing_bank_gets_no_more_pages_that_saw_no_error,
);

const PAGE: u64 = 4096;

/// A place in a DIMM. What stays the same in all stories is left out.
#[derive(Clone, Copy)]
pub struct Place {
    /// Channel of the one controller, and slot.
    pub slot: [u8; 2],
    pub bank: u8,
    pub row: u32,
    pub column: u32,
}

/// Of DIMM_A1.
pub const ROW: Place = Place { slot: [0, 0], bank: 3, row: 0x15da, column: 0x100 };

impl Place {
    /// Another column of its row.
    fn column(self, column: u32) -> Place {
        Place { column, ..self }
    }

    /// A corrected error there, at a physical address, with the driver's text.
    fn raise(self, vm: &Vm, addr: u64, detail: &str) -> Result<()> {
        let [channel, slot] = self.slot;
        vm.edac(&format!("ce addr={addr:#x} top={channel} mid={slot} detail={detail}"))
    }

    /// The same with skx_edac's own decoding.
    pub fn err(self, vm: &Vm, addr: u64) -> Result<()> {
        self.raise(vm, addr, &self.to_string())
    }
}

impl fmt::Display for Place {
    /// As skx_edac's own decoder writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { bank, row, column, .. } = self;
        write!(
            f,
            "err_code:0x0101:0x0090 ProcessorSocketId:0x0 MemoryControllerId:0x0 PhysicalRankId:0x0 \
             Row:{row:#x} Column:{column:#x} Bank:{bank:#x} BankGroup:0x1"
        )
    }
}

/// The same place as firmware decodes it for skx_edac (ADXL).
fn adxl(place: Place, addr: u64) -> String {
    let Place { slot: [channel, slot], bank, row, column } = place;
    format!(
        "err_code:0x0000:0x009f  SystemAddress:{addr:#x} ProcessorSocketId:0x0 MemoryControllerId:0x0 \
         ChannelAddress:0x605520980 ChannelId:{channel:#x} RankAddress:0x181548240 PhysicalRankId:0x0 \
         DimmSlotId:{slot:#x} DimmRankId:0x0 Row:{row:#x} Column:{column:#x} Bank:{bank:#x} \
         BankGroup:0x1 ChipSelect:0x0"
    )
}

fn boot(machine: Machine) -> Result<Vm> {
    let vm = machine.boot()?;
    vm.run("modprobe bulkhead_edac_test")?;
    Ok(vm)
}

/// Free pages, no two side by side.
fn apart(vm: &Vm, count: usize) -> Result<Vec<u64>> {
    Ok(vm.find_pages("buddy", 3 * count)?.into_iter().step_by(3).collect())
}

impl Bulkhead<'_> {
    /// Faults of a kind.
    fn of_kind(&self, kind: &str) -> Result<Vec<Value>> {
        Ok(self.faults()?.into_iter().filter(|fault| fault["kind"] == kind).collect())
    }

    /// Waits for the only fault of a kind to stand in `state`.
    fn wait_fault(&self, kind: &str, state: &str) -> Result<Value> {
        let found = wait_for(&format!("a {kind} fault is {state}"), LIMIT, || {
            let faults = self.of_kind(kind)?;
            ensure!(faults.len() <= 1, "{faults:?}");
            Ok(faults.into_iter().find(|fault| fault["state"] == state))
        });
        found.with_context(|| {
            format!("{:?}; the log:\n{}", self.faults(), self.log().unwrap_or_default())
        })
    }

    fn explain(&self, fault: &Value) -> Result<Value> {
        let id = fault["id"].as_str().context("id")?;
        self.vm.json(&format!("bulkhead explain {id} --json"))
    }

    /// The pages of the ledger in `state`.
    fn pages(&self, state: &str) -> Result<BTreeSet<String>> {
        let list = self.list()?;
        let of = list.iter().filter(|line| line["kind"] == "page" && line["state"] == state);
        Ok(of.filter_map(|line| line["id"].as_str().map(str::to_owned)).collect())
    }

    /// Waits until so many pages are out of service.
    fn wait_taken(&self, pages: usize) -> Result<()> {
        let taken = wait_until(&format!("{pages} pages are taken"), LIMIT, || {
            Ok(self.pages("isolated")?.len() == pages)
        });
        taken.with_context(|| format!("{:?}", self.list()))
    }

    /// Nothing but `pages` is, or is to be, out of service; the kernel says so too.
    fn took_only(&self, pages: &[u64], not: &[u64]) -> Result<()> {
        let list = self.list()?;
        let listed: BTreeSet<_> = list.iter().filter_map(|line| line["id"].as_str()).collect();
        let wanted: BTreeSet<_> = pages.iter().copied().map(page_id).collect();
        ensure!(listed.into_iter().eq(wanted.iter()), "{list:?} instead of {wanted:?}");
        ensure!(self.vm.poisoned(pages)? == pages.len(), "listed, and in service: {pages:x?}");
        ensure!(not.is_empty() || self.vm.poisoned(not)? == 0, "taken, and not listed: {not:x?}");
        Ok(())
    }

    /// A replay of the daemon's own events finds the daemon's own faults.
    fn replays_alike(&self) -> Result<()> {
        let vm = self.vm;
        vm.run("bulkhead events --json > /tmp/events.jsonl")?;
        let replayed = vm.json("bulkhead replay /tmp/events.jsonl --json")?;
        ensure!(replayed["skipped"] == 0 && replayed["undecodable"] == 0, "{replayed}");
        let found = |faults: &[Value]| -> BTreeSet<String> {
            let known = ["id", "kind", "component", "rule", "severity", "errors", "first", "last"];
            let of = |fault: &Value| json!(known.map(|key| fault[key].clone())).to_string();
            faults.iter().map(of).collect()
        };
        let again = found(replayed["faults"].as_array().context("faults")?);
        let faults = found(&self.faults()?);
        ensure!(again == faults, "{again:#?} instead of {faults:#?}");
        Ok(())
    }
}

fn a_row_goes_when_two_of_its_columns_err(machine: Machine) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = apart(&vm, 3)?;
    ROW.err(&vm, pages[0])?;
    it.wait_reports(1)?;
    ROW.column(0x208).err(&vm, pages[1] + 0x40)?;
    let fault = it.wait_fault("row", "isolated")?;
    it.took_only(&pages[..2], &pages[2..])?;
    ensure!(fault["rule"] == "row-ce" && fault["errors"] == 2, "{fault}");
    ensure!(fault["severity"] == "minor", "{fault}");
    ensure!(fault["component"].as_str().is_some_and(|c| c.starts_with("row 0x15da, ")), "{fault}");
    ensure!(fault["fru"].as_str().is_some_and(|fru| fru.contains("DIMM_A1")), "{fault}");

    // The row is known now: one error is enough for the next page of it.
    ROW.column(0x3f0).err(&vm, pages[2] + 0x80)?;
    it.wait_page(pages[2], "isolated")?;
    let fault = it.wait_fault("row", "isolated")?;
    ensure!(it.faults()?.len() == 1, "{:?}", it.faults()?);
    it.took_only(&pages, &[])?;

    let explained = it.explain(&fault)?;
    let numbers = json!({ "errors": 2, "columns": 2, "window": "7d" });
    ensure!(explained["rule"]["id"] == "row-ce", "{explained}");
    ensure!(explained["rule"]["numbers"] == numbers, "{explained}");
    let decision = explained["decision"].as_str().context("decision")?;
    ensure!(decision.starts_with("All 3 pages of row 0x15da"), "{decision}");
    let covered: Vec<_> = pages.iter().copied().map(page_id).collect();
    ensure!(explained["cover"] == json!({ "by": "seen", "pages": covered }), "{explained}");
    let evidence = explained["evidence"].to_string();
    for column in ["0x100", "0x208", "0x3f0"] {
        ensure!(evidence.contains(&format!("Column:{column} ")), "no column {column}: {evidence}");
    }
    ensure!(explained["attempts"].as_array().is_some_and(|a| a.len() == 3), "{explained}");
    it.replays_alike()
}

fn the_firmwares_decoding_of_a_row_is_as_good(machine: Machine) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = apart(&vm, 2)?;
    let row = Place { slot: [1, 1], ..ROW };
    row.raise(&vm, pages[0], &adxl(row, pages[0]))?;
    let other = row.column(0x440);
    other.raise(&vm, pages[1], &adxl(other, pages[1]))?;
    let fault = it.wait_fault("row", "isolated")?;
    ensure!(fault["fru"].as_str().is_some_and(|fru| fru.contains("DIMM_B2")), "{fault}");
    it.took_only(&pages, &[])?;
    it.replays_alike()
}

fn one_column_is_no_row_however_often_it_errs(machine: Machine) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = apart(&vm, 3)?;
    for _ in 0..2 {
        ROW.err(&vm, pages[0])?;
    }
    it.wait_page(pages[0], "isolated")?;
    // Neither do the same columns of two rows, of two banks, or of two DIMMs make one.
    Place { bank: 2, ..ROW }.column(0x208).err(&vm, pages[1])?;
    Place { slot: [0, 1], ..ROW }.column(0x308).err(&vm, pages[2])?;
    it.wait_reports(4)?;
    it.let_time_pass();
    it.took_only(&pages[..1], &pages[1..])?;
    let faults = it.faults()?;
    ensure!(faults.len() == 1 && faults[0]["rule"] == "page-ce", "{faults:?}");
    it.replays_alike()
}

fn a_wide_bit_pattern_is_told_once_and_takes_nothing(machine: Machine) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = apart(&vm, 3)?;
    // Three DQ in two beats of device 1. The log's last register is the row.
    let log = |row: u32| {
        format!(
            "retry_rd_err_log[0001a209 00000000 000d0009 0440d001 {row:08x}] \
             correrrcnt[0001 0000 0000 0000 0000 0000 0000 0000]"
        )
    };
    let wide = |place: Place| format!("{place} {}", log(place.row));
    ROW.raise(&vm, pages[0], &wide(ROW))?;
    let fault = it.wait_fault("dimm", "open")?;
    ensure!(fault["rule"] == "dimm-bits" && fault["severity"] == "minor", "{fault}");
    ensure!(fault["fru"].as_str().is_some_and(|fru| fru.contains("DIMM_A1")), "{fault}");
    // Another row of the same DIMM, and one whose log is of another row.
    let other = Place { row: 0x77, ..ROW };
    other.raise(&vm, pages[1], &wide(other))?;
    let elsewhere = Place { slot: [1, 0], ..ROW };
    elsewhere.raise(&vm, pages[2], &format!("{elsewhere} {}", log(0x99)))?;
    it.wait_reports(3)?;
    it.let_time_pass();
    it.took_only(&[], &pages)?;
    let faults = it.faults()?;
    ensure!(faults.len() == 1 && faults[0]["errors"] == 2, "{faults:?}");

    // What it is good for: a second error makes the row a grave one.
    let second = ROW.column(0x208);
    second.err(&vm, pages[0] + PAGE)?;
    let row = it.wait_fault("row", "isolated")?;
    ensure!(row["severity"] == "major", "{row}");
    it.took_only(&[pages[0], pages[0] + PAGE], &pages[1..])?;
    it.replays_alike()
}

fn a_failing_column_is_escalated_and_its_pages_stay(machine: Machine) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = apart(&vm, 4)?;
    for (row, page) in (0x10..).zip(&pages[..3]) {
        Place { row, ..ROW }.err(&vm, *page)?;
    }
    let fault = it.wait_fault("column", "escalated")?;
    ensure!(fault["rule"] == "column-ce" && fault["severity"] == "major", "{fault}");
    ensure!(fault["fru"].as_str().is_some_and(|fru| fru.contains("DIMM_A1")), "{fault}");
    let explained = it.explain(&fault)?;
    let advice = explained["advice"].as_str().context("advice")?;
    ensure!(advice.starts_with("Replace DIMM_A1"), "{advice}");

    // It goes on counting, and a page with two errors of its own goes.
    Place { row: 0x20, ..ROW }.err(&vm, pages[3])?;
    Place { row: 0x11, ..ROW }.err(&vm, pages[1])?;
    it.wait_page(pages[1], "isolated")?;
    it.wait_reports(5)?;
    it.took_only(&pages[1..2], &[pages[0], pages[2], pages[3]])?;
    ensure!(it.wait_fault("column", "escalated")?["errors"] == 5, "{:?}", it.faults()?);
    ensure!(it.status()?["health"] == "faulted", "{}", it.status()?);
    it.replays_alike()
}

fn a_failing_bank_is_escalated_and_only_pages_past_their_own_threshold_go(
    machine: Machine,
) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = apart(&vm, 8)?;
    let at = |i: usize| Place { row: i as u32 / 2, column: 0x40 * i as u32, ..ROW };
    for (i, page) in pages[..6].iter().enumerate() {
        at(i).err(&vm, *page)?;
    }
    let fault = it.wait_fault("bank", "escalated")?;
    ensure!(fault["rule"] == "bank-ce" && fault["severity"] == "major", "{fault}");
    ensure!(fault["fru"].as_str().is_some_and(|fru| fru.contains("DIMM_A1")), "{fault}");
    it.wait_taken(6)?;
    it.took_only(&pages[..6], &pages[6..])?;
    let explained = it.explain(&fault)?;
    ensure!(explained["advice"].to_string().contains("Replace DIMM_A1"), "{explained}");

    // A fourth row is no longer taken, and a page of it with two errors of its own is.
    at(6).err(&vm, pages[6])?;
    at(7).err(&vm, pages[7])?;
    it.wait_reports(8)?;
    it.let_time_pass();
    it.took_only(&pages[..6], &pages[6..])?;
    at(7).err(&vm, pages[7])?;
    it.wait_page(pages[7], "isolated")?;
    ensure!(it.of_kind("row")?.len() == 3 && it.of_kind("page")?.len() == 1, "{:?}", it.faults()?);
    ensure!(vm.poisoned(&pages[6..7])? == 0);
    it.replays_alike()
}

fn a_row_fires_over_a_kill_between_its_errors(machine: Machine) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let pages = apart(&vm, 3)?;
    ROW.err(&vm, pages[0])?;
    it.wait_reports(1)?;
    it.kill()?;
    // While nobody listens.
    ROW.column(0x208).err(&vm, pages[1])?;
    let it = Bulkhead::start(&vm, "")?;
    let fault = it.wait_fault("row", "isolated")?;
    ensure!(fault["errors"] == 2, "{fault}");
    it.took_only(&pages[..2], &pages[2..])?;

    // The next one still knows the row.
    it.kill()?;
    let it = Bulkhead::start(&vm, "")?;
    ROW.column(0x3f0).err(&vm, pages[2])?;
    it.wait_page(pages[2], "isolated")?;
    ensure!(it.faults()?.len() == 1 && it.faults()?[0]["id"] == fault["id"], "{:?}", it.faults()?);
    it.took_only(&pages, &[])?;
    it.wait_reports(3)?;
    it.replays_alike()
}

/// Pages of a row in the stories of a learned mapping: the four lowest bits of a line's number say which.
const ROW_PAGES: u64 = 16;

/// Free memory for four such rows, and what teaches the mapping: lines of three rows in two banks, as three rows would
/// be a faulty bank. The first row's errors define the mapping, the others test it: lines apart by 6, 9 and 15 lie as
/// far apart as those apart by 2, 4, 1 and 8 would have it.
struct School {
    start: u64,
}

impl School {
    const LESSONS: [(u64, &[u64]); 3] = [(0, &[0, 1, 2, 4, 8]), (1, &[3, 5, 10, 12]), (2, &[6, 9])];

    fn new(vm: &Vm) -> Result<School> {
        let free = vm.find_pages("buddy", 5 * ROW_PAGES as usize)?;
        Ok(School { start: free[0].next_multiple_of(ROW_PAGES * PAGE) })
    }

    /// Where a line of a row lies, rows counted from 0.
    fn addr(&self, row: u64, line: u64) -> u64 {
        self.start + row * ROW_PAGES * PAGE + line * PAGE
    }

    fn row(&self, row: u64) -> Vec<u64> {
        (0..ROW_PAGES).map(|line| self.addr(row, line)).collect()
    }

    /// An error there.
    fn err(&self, vm: &Vm, row: u64, bank: u8, line: u64) -> Result<()> {
        let place = Place { row: 0x100 * (row as u32 + 1), bank, column: 8 * line as u32, ..ROW };
        place.err(vm, self.addr(row, line))
    }

    /// Raises the errors of the lessons, and waits until their pages are gone.
    fn teach(&self, it: &Bulkhead) -> Result<Vec<u64>> {
        let mut taught = Vec::new();
        for (row, lines) in Self::LESSONS {
            for line in lines {
                self.err(it.vm, row, (row / 2) as u8, *line)?;
                taught.push(self.addr(row, *line));
            }
        }
        it.wait_taken(taught.len())?;
        Ok(taught)
    }

    /// Pages that the lessons take.
    fn lessons() -> usize {
        Self::LESSONS.iter().map(|(_, lines)| lines.len()).sum()
    }
}

/// Pages that the limit leaves for a whole row: fewer than it has.
const ROOM: usize = 10;

fn a_row_whose_mapping_was_learned_goes_whole_as_far_as_the_limits_let_it(
    machine: Machine,
) -> Result<()> {
    let vm = boot(machine)?;
    let school = School::new(&vm)?;
    let limit = (School::lessons() + ROOM) as u64 * PAGE;
    vm.write_file("/tmp/small.toml", &format!("[limits]\nmemory = \"{}KiB\"\n", limit >> 10))?;
    let it = Bulkhead::start(&vm, "--config /tmp/small.toml")?;
    let taught = school.teach(&it)?;
    // The next one makes the mapping anew out of what was saved.
    it.kill()?;
    let it = Bulkhead::start(&vm, "--config /tmp/small.toml")?;

    school.err(&vm, 3, 1, 7)?;
    school.err(&vm, 3, 1, 13)?;
    let fault = wait_for("the row is escalated", LIMIT, || {
        let row = |fault: &Value| fault["component"].to_string().contains("row 0x400,");
        Ok(it.faults()?.into_iter().find(|f| row(f) && f["state"] == "escalated"))
    })?;
    it.wait_taken(taught.len() + ROOM)?;
    let whole = school.row(3);
    ensure!(vm.poisoned(&whole)? == ROOM, "{:?}", it.list()?);
    ensure!(vm.poisoned(&[whole[7], whole[13]])? == 2, "pages with errors go first");
    let held = whole.len() - ROOM;
    let refused = it.pages("refused")?;
    let of_row: BTreeSet<_> = whole.iter().copied().map(page_id).collect();
    ensure!(refused.len() == held && refused.is_subset(&of_row), "{refused:?}");
    let explained = it.explain(&fault)?;
    let covered = json!({ "by": "learned", "pages": of_row });
    ensure!(explained["cover"] == covered, "{explained}");
    let decision = explained["decision"].to_string();
    let counts = format!("{ROOM} are out of service and {held} are held back");
    ensure!(decision.contains(&counts) && decision.contains("limits.memory"), "{decision}");
    let status = it.status()?;
    let memory = json!({ "used": limit, "max": limit });
    ensure!(status["limits"]["memory_bytes"] == memory, "{status}");
    ensure!(status["refused"] == held && status["health"] == "faulted", "{status}");
    it.replays_alike()
}

fn a_failing_bank_gets_no_more_pages_that_saw_no_error(machine: Machine) -> Result<()> {
    let vm = boot(machine)?;
    let it = Bulkhead::start(&vm, "")?;
    let school = School::new(&vm)?;
    let mut taken: BTreeSet<u64> = school.teach(&it)?.into_iter().collect();

    // A row that was taken page by page goes whole at its next error, now that the mapping is known.
    school.err(&vm, 2, 1, 1)?;
    taken.extend(school.row(2));
    it.wait_taken(taken.len())?;
    // A third row goes whole as well, and makes its bank a faulty one.
    school.err(&vm, 3, 0, 7)?;
    school.err(&vm, 3, 0, 13)?;
    it.wait_fault("bank", "escalated")?;
    taken.extend(school.row(3));
    it.wait_taken(taken.len())?;
    // From then on the bank's rows get the pages of their errors and no more.
    school.err(&vm, 0, 0, 15)?;
    taken.insert(school.addr(0, 15));
    it.wait_taken(taken.len())?;
    it.let_time_pass();
    let rest: Vec<u64> =
        (0..4).flat_map(|row| school.row(row)).filter(|page| !taken.contains(page)).collect();
    it.took_only(&taken.into_iter().collect::<Vec<_>>(), &rest)?;
    it.replays_alike()
}
