//! What will happen to a machine, drawn from a seed before anything does.

use std::collections::VecDeque;

use fastrand::Rng;

/// CPU 0's errors take nothing, and the first row of tests in cpu.rs has them.
const FAILING_CPUS: std::ops::Range<u32> = 1..4;
pub const ROWS: usize = 4;

/// How much happens.
pub struct Length {
    pub errors: usize,
    /// Each kind so often.
    pub kills: usize,
    pub power_cuts: usize,
    pub full_disks: usize,
    pub corruptions: usize,
    pub hotplugs: usize,
    pub clock_steps: usize,
}

impl Length {
    /// Pages with corrected errors: few enough that most err twice, and more than the limit of the run lets go.
    pub fn pages(&self) -> usize {
        (self.errors / 6).clamp(8, 48)
    }
}

/// One hardware error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Error {
    /// Corrected, on one of the pages, through a machine-check bank or the memory controller.
    Page { page: usize, bank: bool },
    /// Corrected, in a column of a row, which lies in two pages.
    Row { row: usize, column: u32 },
    /// Uncorrected, on a page of its own.
    Uncorrected,
    /// Corrected, in something of a CPU.
    Cpu { cpu: u32, of: Part },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    L1,
    L2,
    /// With the cache's own threshold passed.
    L2Yellow,
    /// Shared: takes nothing.
    L3,
    /// Takes nothing.
    Bus,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    Error(Error),
    /// The daemon dies, and these errors come before it is back.
    Kill([Error; 2]),
    /// The state's disk is full, and these errors come before there is room.
    FullDisk([Error; 4]),
    /// A page of the state file is overwritten while the daemon is down: so far into it, in 1/256.
    Corrupt {
        at: u8,
    },
    /// Somebody else takes a CPU off line, or brings it back.
    Hotplug {
        cpu: u32,
    },
    /// The wall clock jumps.
    Clock {
        seconds: i64,
    },
}

/// All of it: what happens in each boot. Between two, the power is cut.
pub fn lives(seed: u64, length: &Length) -> Vec<Vec<Step>> {
    let mut rng = Rng::with_seed(seed);
    let mut disruptions: Vec<Option<Step>> = Vec::new();
    let mut add = |count, step: &mut dyn FnMut(&mut Rng) -> Option<Step>| {
        disruptions.extend((0..count).map(|_| step(&mut rng)));
    };
    let pages = length.pages();
    add(length.kills, &mut |rng| Some(Step::Kill([(); 2].map(|()| error(rng, pages)))));
    add(length.full_disks, &mut |rng| Some(Step::FullDisk([(); 4].map(|()| error(rng, pages)))));
    add(length.corruptions, &mut |rng| Some(Step::Corrupt { at: rng.u8(..) }));
    add(length.hotplugs, &mut |rng| Some(Step::Hotplug { cpu: rng.u32(FAILING_CPUS) }));
    add(length.clock_steps, &mut |rng| {
        let days = rng.i64(1..=3) * if rng.bool() { 86_400 } else { -3_600 };
        Some(Step::Clock { seconds: days })
    });
    add(length.power_cuts, &mut |_| None);
    rng.shuffle(&mut disruptions);

    let inside: usize = disruptions.iter().flatten().map(errors_of).sum();
    let mut left: VecDeque<_> =
        (inside..length.errors).map(|_| Step::Error(error(&mut rng, pages))).collect();
    let chunk = left.len() / (disruptions.len() + 1);
    let mut lives = Vec::new();
    let mut life = Vec::new();
    for disruption in disruptions {
        life.extend(left.drain(..chunk));
        match disruption {
            Some(step) => life.push(step),
            None => lives.push(std::mem::take(&mut life)),
        }
    }
    life.extend(left);
    lives.push(life);
    lives
}

fn errors_of(step: &Step) -> usize {
    match step {
        Step::Error(_) => 1,
        Step::Kill(errors) => errors.len(),
        Step::FullDisk(errors) => errors.len(),
        Step::Corrupt { .. } | Step::Hotplug { .. } | Step::Clock { .. } => 0,
    }
}

fn error(rng: &mut Rng, pages: usize) -> Error {
    match rng.u8(..100) {
        0..60 => Error::Page { page: rng.usize(..pages), bank: rng.u8(..3) == 0 },
        60..75 => Error::Row { row: rng.usize(..ROWS), column: rng.u32(..4) },
        75..80 => Error::Uncorrected,
        _ => {
            let parts =
                [Part::L1, Part::L1, Part::L2, Part::L2, Part::L3, Part::Bus, Part::L2Yellow];
            Error::Cpu { cpu: rng.u32(FAILING_CPUS), of: parts[rng.usize(..parts.len())] }
        }
    }
}
