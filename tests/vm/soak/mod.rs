//! A long random mix of errors and of what else befalls a host. After each disturbance and at the end, what `list` says
//! is what the kernel says, nothing that was shown is lost, and no guard rail is crossed.
//!
//! `BULKHEAD_SOAK_SEED=N` repeats the run of a seed; what happens, and in which order, depends on nothing else.

mod check;
mod script;

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use crate::bulkhead::{Bulkhead, LIMIT};
use crate::harness::mce::{L1_DATA_CE, L2_DATA_CE};
use crate::harness::{wait_until, Disk, Machine, Vm};
use crate::lasting::{debian, settled};
use check::Known;
use script::{Error, Length, Part, Step, ROWS};

on_each_kernel!(;
    only 6.12:
    a_short_mix_of_everything,
    #[ignore = "long"]
    a_long_mix_of_everything,
);

const SHORT: Length = Length {
    errors: 60,
    kills: 1,
    power_cuts: 1,
    full_disks: 1,
    corruptions: 1,
    hotplugs: 1,
    clock_steps: 1,
};

const LONG: Length = Length {
    errors: 500,
    kills: 6,
    power_cuts: 4,
    full_disks: 3,
    corruptions: 2,
    hotplugs: 4,
    clock_steps: 4,
};

/// Of the run that is part of every test run: the same each time.
const SHORT_SEED: u64 = 1;

/// In the shared cache, and on the way to other processors.
const L3_CE: u64 = 0x9000_0000_0000_0137;
const BUS_CE: u64 = 0x9000_0000_0000_0e0b;
const YELLOW: u64 = 2 << 53;

/// Two nodes with two cores each, so that both the share of all CPUs and the one of its node are at stake.
const NODES: &[&str] = &[
    "-object",
    "memory-backend-ram,id=m0,size=512M",
    "-object",
    "memory-backend-ram,id=m1,size=512M",
    "-numa",
    "node,nodeid=0,memdev=m0,cpus=0-1",
    "-numa",
    "node,nodeid=1,memdev=m1,cpus=2-3",
];

fn a_short_mix_of_everything(machine: Machine) -> Result<()> {
    soak(machine, seed()?.unwrap_or(SHORT_SEED), &SHORT)
}

fn a_long_mix_of_everything(machine: Machine) -> Result<()> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
    soak(machine.limit(Duration::from_secs(3 * 3600)), seed()?.unwrap_or(now), &LONG)
}

fn seed() -> Result<Option<u64>> {
    let seed = std::env::var("BULKHEAD_SOAK_SEED").ok();
    seed.map(|text| text.parse().context("BULKHEAD_SOAK_SEED is a number")).transpose()
}

fn soak(machine: Machine, seed: u64, length: &Length) -> Result<()> {
    eprintln!("BULKHEAD_SOAK_SEED={seed}");
    let lives = script::lives(seed, length);
    let disk = Disk::new()?;
    // Without interrupts for corrected errors, which QEMU does not raise: otherwise 6.12 stops polling a bank after
    // what it takes for the end of an interrupt storm.
    let machine =
        debian(machine, &disk).arg("mce=no_cmci").smp("4,sockets=2,cores=2,threads=1").qemu(NODES);

    let mut pages = None;
    let mut known = Known::new(length.pages());
    for (boot, steps) in lives.iter().enumerate() {
        eprintln!("boot {}", boot + 1);
        let vm = machine.boot()?;
        settled(&vm)?;
        // Nothing may time out because the machine is emulated on a busy one.
        vm.run("echo 30000000 > /sys/devices/system/machinecheck/machinecheck0/monarch_timeout")?;
        let pages = match &mut pages {
            Some(pages) => pages,
            None => {
                known.configure(&vm)?;
                pages.insert(Pages::choose(&vm, length.pages())?)
            }
        };
        known.check(&Bulkhead::service(&vm)?)?;
        for step in steps {
            eprintln!("{step:?}");
            perform(step, &vm, pages, &mut known).with_context(|| format!("{step:?}"))?;
        }
        known.check(&Bulkhead::service(&vm)?)?;
        vm.cut_power()?;
        known.rebooted();
    }
    Ok(())
}

/// Where the errors are.
struct Pages {
    corrected: Vec<u64>,
    rows: Vec<[u64; 2]>,
}

impl Pages {
    fn choose(vm: &Vm, corrected: usize) -> Result<Self> {
        let count = corrected + 2 * ROWS;
        // No two side by side: a free page's neighbours are part of its block.
        let free: Vec<_> = vm.find_pages("buddy", 3 * count)?.into_iter().step_by(3).collect();
        let (corrected, rows) = free.split_at(corrected);
        Ok(Self {
            corrected: corrected.to_vec(),
            rows: rows.chunks_exact(2).map(|pair| [pair[0], pair[1]]).collect(),
        })
    }

    /// A page that is free now, and none of these. An uncorrected error kills whoever uses its page: one that was free
    /// in an earlier boot may be process 1's.
    fn free(&self, vm: &Vm) -> Result<u64> {
        let ours: BTreeSet<_> = self.corrected.iter().chain(self.rows.iter().flatten()).collect();
        let free = vm.find_pages("buddy", ours.len() + 1)?;
        free.into_iter().find(|page| !ours.contains(page)).context("a page of its own")
    }
}

fn perform(step: &Step, vm: &Vm, pages: &Pages, known: &mut Known) -> Result<()> {
    match step {
        Step::Error(error) => raise(*error, vm, pages, known),
        Step::Kill(errors) => {
            known.check(&Bulkhead::service(vm)?)?;
            Bulkhead::service(vm)?.kill()?;
            for error in errors {
                raise(*error, vm, pages, known)?;
            }
            known.check(&Bulkhead::service(vm)?)
        }
        Step::FullDisk(errors) => {
            let it = Bulkhead::service(vm)?;
            // dd's complaint is the point of it.
            vm.sh("dd if=/dev/zero of=/var/lib/bulkhead/fill bs=4k; sync")?;
            for error in errors {
                raise(*error, vm, pages, known)?;
            }
            known.check(&it)?;
            vm.run("rm /var/lib/bulkhead/fill")?;
            wait_until("it is saved again", LIMIT, || Ok(it.status()?["state"] == "saved"))?;
            known.check(&it)
        }
        Step::Corrupt { at } => {
            let it = Bulkhead::service(vm)?;
            known.check(&it)?;
            let told = it.log()?.len();
            // In good order, so that what is in the file is what will be read, and not its newer copy in the log.
            it.stop()?;
            vm.run(&format!(
                "cd /var/lib/bulkhead && pages=$(($(stat -c %s bulkhead.db) / 4096)) && \
                 dd if=/dev/urandom of=bulkhead.db bs=4k count=1 seek=$((pages * {at} / 256)) conv=notrunc"
            ))?;
            vm.run("systemctl start bulkhead.service")?;
            let it = Bulkhead::service(vm)?;
            let log = it.log()?;
            known.corrupted(&it, log.get(told..).unwrap_or(&log))?;
            known.check(&it)
        }
        Step::Hotplug { cpu } => {
            known.check(&Bulkhead::service(vm)?)?;
            known.hotplug(vm, *cpu)?;
            known.check(&Bulkhead::service(vm)?)
        }
        Step::Clock { seconds } => {
            vm.run(&format!("date -s @$(($(date +%s) + {seconds}))"))?;
            known.check(&Bulkhead::service(vm)?)
        }
    }
}

fn raise(error: Error, vm: &Vm, pages: &Pages, known: &mut Known) -> Result<()> {
    match error {
        Error::Page { page, bank } => {
            let address = pages.corrected[page];
            known.corrected(address, bank);
            if bank {
                vm.memory_ce(address)
            } else {
                vm.edac(&format!("ce addr={address:#x}"))
            }
        }
        Error::Row { row, column } => {
            let address = pages.rows[row][column as usize % 2];
            known.corrected(address, false);
            // As skx_edac's own decoder writes it.
            vm.edac(&format!(
                "ce addr={address:#x} detail=err_code:0x0101:0x0090 ProcessorSocketId:0x0 MemoryControllerId:0x0 \
                 PhysicalRankId:0x0 Row:{:#x} Column:{:#x} Bank:0x3 BankGroup:0x1",
                0x15d0 + row,
                0x100 + 8 * column,
            ))
        }
        Error::Uncorrected => {
            let address = pages.free(vm)?;
            known.uncorrected(address);
            vm.memory_ue(address)?;
            // The next machine check, while this one is still being handled, would reset the machine.
            wait_until("the kernel has dealt with it", LIMIT, || vm.is_poisoned(address))
        }
        Error::Cpu { cpu, of } => {
            let (bank, status) = match of {
                Part::L1 => (1, L1_DATA_CE),
                Part::L2 => (3, L2_DATA_CE),
                Part::L2Yellow => (3, L2_DATA_CE | YELLOW),
                Part::L3 => (9, L3_CE),
                Part::Bus => (0, BUS_CE),
            };
            // A CPU that is off line collects nothing.
            if known.is_online(vm, cpu)? {
                vm.ce(cpu, bank, status, 0, 0)?;
            }
            Ok(())
        }
    }
}
