//! What may happen to a host.

use super::super::{Amount, DedicatedPolicy, HugetlbPolicy, Policy, UePolicy};
use super::build::MOST_CPUS;
use super::host::{HUGE, NOWHERE, PAGES, ROWS};
use super::stubborn::Use;
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
    /// The memory controller's decoding says that the page is the cells that it
    /// was in other memory.
    Confirm(u64),
    /// The oldest order is answered, in this way.
    Answer(u8),
    /// A stuck write ends after all.
    Late(u8),
    Hotplug(u32, bool),
    /// All other cores are taken off line by hand.
    LeaveCore(u32),
    /// A bit for each CPU that a cpuset partition gets.
    Partition(u16),
    /// A real-time task of this kind begins, bound to the CPU, or to its core.
    RealTime(u32, bool, u8),
    /// All that keep CPUs for themselves let go of them.
    LetGo,
    KernelTakes(u64),
    Unpoison(u64),
    /// From now on the page does not come off, and it fails.
    Stick(u64, Use),
    Wait(u64),
    /// A day and more passes, in which all orders are answered at once.
    LiveOn,
    /// Killed and started again: each order under way had its effect or not.
    Restart(u8),
    Reboot(Setup),
    /// The configuration is read again: how much may go, and whether anything
    /// may.
    Reload(Knobs),
}

/// What a boot begins with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup {
    /// Which memory is there; 0: firmware does not tell.
    pub memory: u8,
    /// A page that the kernel is booted without.
    pub masked: Option<u64>,
    /// A page whose uncorrected error ended the boot before.
    pub died_of: Option<u64>,
}

/// What a configuration says: pages in all and a day, CPUs in all and those that
/// stay on a node and in a socket, and what of the rest may go.
#[derive(Debug, Clone, Copy)]
pub(super) struct Knobs {
    pub observe: bool,
    pub memory: u64,
    pub per_day: u32,
    pub cpus: u64,
    pub per_node: u32,
    pub per_socket: u32,
    pub dedicated: DedicatedPolicy,
    pub hugetlb: HugetlbPolicy,
    pub ue: UePolicy,
}

impl Knobs {
    pub fn policy(self) -> Policy {
        let mut policy = Policy { observe: self.observe, ..Policy::default() };
        policy.page.hugetlb = self.hugetlb;
        policy.page.ue = self.ue;
        policy.cpu.dedicated = self.dedicated;
        policy.limits.memory = Amount::Count(4096 * self.memory);
        policy.limits.pages_per_day = self.per_day;
        policy.limits.cpus = Amount::Count(self.cpus);
        policy.limits.cpus_per_node = self.per_node;
        policy.limits.cpus_per_socket = self.per_socket;
        policy
    }
}

pub(super) fn knobs() -> impl Strategy<Value = Knobs> {
    let dedicated =
        prop_oneof![3 => Just(DedicatedPolicy::Refuse), 1 => Just(DedicatedPolicy::Proceed)];
    let hugetlb = prop_oneof![
        2 => Just(HugetlbPolicy::Always),
        1 => Just(HugetlbPolicy::Never),
        3 => (0..=HUGE as u32).prop_map(HugetlbPolicy::KeepFree),
    ];
    let ue = prop_oneof![3 => Just(UePolicy::HardOffline), 1 => Just(UePolicy::Report)];
    // At least 1 of each stays by the configuration; without, the last CPU of
    // all has to hold by itself.
    let least = || prop_oneof![1 => Just(0u32), 5 => 1u32..4];
    let observe = prop::bool::weighted(0.2);
    (observe, 0u64..8, 0u32..6, 0u64..9, least(), least(), dedicated, hugetlb, ue).prop_map(
        |(observe, memory, per_day, cpus, per_node, per_socket, dedicated, hugetlb, ue)| Knobs {
            observe,
            memory,
            per_day,
            cpus,
            per_node,
            per_socket,
            dedicated,
            hugetlb,
            ue,
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
    let waits = prop::sample::select(vec![1, 2, 60, 300, 601, 4000, 30_000]);
    prop_oneof![
        110 => pages(),
        70 => cpus(),
        30 => admins(),
        120 => prop_oneof![3 => 0u8..1, 2 => 1u8..24].prop_map(Step::Answer),
        10 => (0u8..24).prop_map(Step::Late),
        40 => waits.prop_map(Step::Wait),
        2 => Just(Step::LiveOn),
        10 => any::<u8>().prop_map(Step::Restart),
        10 => setup().prop_map(Step::Reboot),
        10 => knobs().prop_map(Step::Reload),
    ]
}

/// Of the host, or now and then one that the processor cannot address.
fn page() -> impl Strategy<Value = u64> {
    prop_oneof![24 => 0..PAGES, 1 => Just(NOWHERE)]
}

/// Of the host, or the first that it does not have.
fn cpu() -> impl Strategy<Value = u32> {
    0..=MOST_CPUS
}

fn pages() -> impl Strategy<Value = Step> {
    let used = prop_oneof![Just(Use::Pinned), Just(Use::Unmovable)];
    prop_oneof![
        4 => page().prop_map(Step::FindPage),
        2 => (0..ROWS).prop_map(Step::FindRow),
        1 => (0..ROWS, 1u64..3).prop_map(|(row, more)| Step::Grow(row, more)),
        1 => page().prop_map(Step::FindUe),
        1 => page().prop_map(Step::ReportFailed),
        1 => page().prop_map(Step::Touch),
        1 => page().prop_map(Step::KernelTakes),
        1 => page().prop_map(Step::Unpoison),
        1 => (0..PAGES, used).prop_map(|(page, used)| Step::Stick(page, used)),
        1 => page().prop_map(Step::Confirm),
    ]
}

fn cpus() -> impl Strategy<Value = Step> {
    let one = || 0..MOST_CPUS;
    let partition =
        prop_oneof![one().prop_map(|n| 1 << n), one().prop_map(|n| !(1 << n)), any::<u16>()];
    prop_oneof![
        4 => cpu().prop_map(Step::FindCore),
        2 => (cpu(), any::<bool>()).prop_map(|(cpu, on)| Step::Hotplug(cpu, on)),
        1 => cpu().prop_map(Step::LeaveCore),
        1 => partition.prop_map(Step::Partition),
        1 => (cpu(), any::<bool>(), any::<u8>()).prop_map(|(c, core, kind)| Step::RealTime(c, core, kind)),
        1 => Just(Step::LetGo),
    ]
}

fn admins() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => any::<u8>().prop_map(Step::Close),
        1 => page().prop_map(Step::AskPage),
        2 => cpu().prop_map(Step::AskCpu),
        1 => page().prop_map(Step::GiveBackPage),
        1 => cpu().prop_map(Step::GiveBackCpu),
    ]
}

fn setup() -> impl Strategy<Value = Setup> {
    let memory = prop_oneof![1 => Just(0u8), 6 => Just(1), 3 => Just(2)];
    let rarely = |page| prop::option::weighted(0.2, page);
    (memory, rarely(0..PAGES), rarely(0..PAGES)).prop_map(|(memory, masked, died_of)| Setup {
        memory,
        masked,
        died_of,
    })
}
