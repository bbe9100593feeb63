//! What may happen to a host.

use super::super::{Amount, HugetlbPolicy, Policy};
use super::{PAGES, ROWS};
use proptest::prelude::*;
use std::fmt;

/// One of them; a failing history is told as a list of these.
#[derive(Debug, Clone)]
pub(super) enum Step {
    FindPage(u64),
    /// A row of four pages; neighbours share one.
    FindRow(u32),
    /// A row that was found covers so many pages more.
    Grow(u32, u64),
    /// An admin closes an open fault, if there are any.
    Close(u8),
    FindUe(u64),
    ReportFailed(u64),
    FindCore(u32),
    AskPage(u64),
    AskCpu(u32),
    GiveBackPage(u64),
    GiveBackCpu(u32),
    Touch(u64),
    /// The oldest order is answered, in this way.
    Answer(u8),
    /// A stuck write ends after all.
    Late(u8),
    Hotplug(u32, bool),
    KernelTakes(u64),
    Unpoison(u64),
    Wait(u64),
    /// Killed and started again: each order under way had its effect or not.
    Restart(u8),
    Reboot,
    /// The configuration is read again: how much may go, and whether anything
    /// may.
    Reload(Knobs),
}

/// What a configuration says: pages in all and a day, CPUs in all and those that
/// stay on a node.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knobs {
    pub observe: bool,
    pub memory: u64,
    pub per_day: u32,
    pub cpus: u64,
    pub per_node: u32,
}

impl Knobs {
    pub fn policy(self) -> Policy {
        let mut policy = Policy { observe: self.observe, ..Policy::default() };
        policy.page.hugetlb = HugetlbPolicy::KeepFree(1);
        policy.limits.memory = Amount::Count(4096 * self.memory);
        policy.limits.pages_per_day = self.per_day;
        policy.limits.cpus = Amount::Count(self.cpus);
        policy.limits.cpus_per_node = self.per_node;
        policy
    }
}

pub(super) fn knobs() -> impl Strategy<Value = Knobs> {
    let observe = prop::bool::weighted(0.2);
    (observe, 0u64..8, 0u32..6, 0u64..9, 1u32..4).prop_map(
        |(observe, memory, per_day, cpus, per_node)| Knobs {
            observe,
            memory,
            per_day,
            cpus,
            per_node,
        },
    )
}

/// What happens to a host, told a step a line.
#[derive(Clone)]
pub(super) struct Story(pub Vec<Step>);

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|step| write!(f, "\n  {step:?}"))
    }
}

/// Up to `most` steps.
pub(super) fn story(most: usize) -> impl Strategy<Value = Story> {
    prop::collection::vec(step(), 1..=most).prop_map(Story)
}

fn step() -> impl Strategy<Value = Step> {
    let page = 0..PAGES;
    let cpu = 0u32..16;
    prop_oneof![
        4 => page.clone().prop_map(Step::FindPage),
        2 => (0..ROWS).prop_map(Step::FindRow),
        1 => (0..ROWS, 1u64..3).prop_map(|(row, more)| Step::Grow(row, more)),
        2 => any::<u8>().prop_map(Step::Close),
        1 => page.clone().prop_map(Step::FindUe),
        1 => page.clone().prop_map(Step::ReportFailed),
        4 => cpu.clone().prop_map(Step::FindCore),
        1 => page.clone().prop_map(Step::AskPage),
        2 => cpu.clone().prop_map(Step::AskCpu),
        1 => page.clone().prop_map(Step::GiveBackPage),
        1 => cpu.clone().prop_map(Step::GiveBackCpu),
        1 => page.clone().prop_map(Step::Touch),
        12 => prop_oneof![3 => 0u8..1, 2 => 1u8..24].prop_map(Step::Answer),
        1 => (0u8..24).prop_map(Step::Late),
        2 => (cpu, any::<bool>()).prop_map(|(cpu, on)| Step::Hotplug(cpu, on)),
        1 => page.clone().prop_map(Step::KernelTakes),
        1 => page.prop_map(Step::Unpoison),
        4 => prop::sample::select(vec![1, 2, 60, 300, 601, 4000, 30_000]).prop_map(Step::Wait),
        1 => any::<u8>().prop_map(Step::Restart),
        1 => Just(Step::Reboot),
        1 => knobs().prop_map(Step::Reload),
    ]
}
