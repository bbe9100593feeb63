//! What it writes to the disk.

use std::time::{Duration, Instant};

use anyhow::Result;

use super::calls::{Calls, SYNCS};
use super::kernel::{disk_bytes, number};
use super::programs::{boot, bulkheadd, first_of, forget, raise, Program, Rasdaemon};
use super::report::{count, mib, seconds, Report};
use super::scale;
use crate::harness::{Machine, Vm};

/// Errors, and over how many pages.
const STORMS: [(u64, u64); 4] =
    [(10_000, 1_000), (100_000, 1_000), (1_000_000, 1_000), (1_000_000, 100_000)];

const LIMIT: Duration = Duration::from_secs(300);

/// rasdaemon writes each error by itself: a storm that its buffers hold is enough to tell what one costs.
const THEIRS: [(u64, u64); 1] = [(2_000, 1_000)];

pub fn measure(machine: Machine) -> Result<()> {
    let mut report = Report::new("6-disk", "Disk");
    let vm = boot(&machine)?;
    let mut rows = Vec::new();
    let scaled = |(errors, pages)| (scale::number(errors), scale::number(pages));
    for (errors, pages) in STORMS.map(scaled) {
        forget(&vm)?;
        let it = bulkheadd(&vm, "")?;
        rows.push(row(&vm, Program::Bulkhead, errors, pages)?);
        it.kill()?;
        forget(&vm)?;
    }
    for (errors, pages) in THEIRS.map(scaled) {
        let it = Rasdaemon::start(&vm)?;
        rows.push(row(&vm, Program::Rasdaemon, errors, pages)?);
        it.kill()?;
    }
    report.say(
        "Corrected errors at full speed, with isolations; from the first error until the program \
         has nothing left to do. Both write to ext4 on the same disk. What the program wrote, and \
         what the disk was written in all, ext4's journal among it.",
    );
    report.table(
        &[
            "",
            "errors",
            "pages",
            "for",
            "written",
            "to disk in all",
            "written per s",
            "fsyncs",
            "fsyncs per s",
            "fsyncs per error",
        ],
        &rows,
    );
    report.publish()
}

fn row(vm: &Vm, program: Program, errors: u64, pages: u64) -> Result<Vec<String>> {
    let first = first_of(vm, pages)?;
    let written = Written::start(vm, program)?;
    let start = Instant::now();
    let storm = raise(vm, &format!("ce n={errors} pages={pages} addr={first:#x}"))?;
    let (_, worked) = program.settle(vm, LIMIT)?;
    // Not from `start` to now: that it has settled takes time to see.
    let took = (storm + worked).min(start.elapsed()).as_secs_f64();
    let Written { bytes, on_disk, syncs } = written.stop()?;
    Ok(vec![
        program.name().to_owned(),
        count(errors),
        count(pages),
        seconds(Duration::from_secs_f64(took)),
        mib(bytes),
        mib(on_disk),
        mib((bytes as f64 / took) as u64),
        count(syncs),
        format!("{:.1}", syncs as f64 / took),
        format!("{:.5}", syncs as f64 / errors as f64),
    ])
}

/// What a program wrote.
pub struct Written {
    /// By its own calls, in bytes.
    pub bytes: u64,
    /// To the disk, by anybody.
    pub on_disk: u64,
    /// fsync and fdatasync.
    pub syncs: u64,
}

/// What it had written before.
pub struct Writing<'vm> {
    vm: &'vm Vm,
    program: Program,
    before: (u64, u64),
    syncs: Calls<'vm>,
}

impl Written {
    /// From now on.
    pub fn start(vm: &Vm, program: Program) -> Result<Writing<'_>> {
        let syncs = Calls::start(vm, program.name(), "syncs", Some(SYNCS))?;
        Ok(Writing { vm, program, before: so_far(vm, program)?, syncs })
    }
}

impl Writing<'_> {
    pub fn stop(self) -> Result<Written> {
        let (bytes, on_disk) = so_far(self.vm, self.program)?;
        Ok(Written {
            bytes: bytes - self.before.0,
            on_disk: on_disk - self.before.1,
            syncs: self.syncs.stop()?,
        })
    }
}

/// Bytes of the program and of the disk, since ever.
fn so_far(vm: &Vm, program: Program) -> Result<(u64, u64)> {
    let io = vm.run(&format!("cat /proc/$(pidof {})/io", program.name()))?;
    Ok((number(&io, "write_bytes")?, disk_bytes(&vm.run("cat /sys/block/vda/stat")?)?))
}
