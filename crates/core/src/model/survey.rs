//! What is bound to a set of CPUs and to no other: what has to move, or ends,
//! when they go.

use super::CpuId;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// What depends on a set of CPUs, at one moment. Bounded: what is beyond a
/// bound is counted.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Survey {
    /// Tasks that may run on no other CPU that is on line; those that keep the
    /// set first.
    pub tasks: Vec<BoundTask>,
    /// Such tasks beyond those listed.
    pub more_tasks: u64,
    /// Interrupts that are delivered to no other CPU that is on line.
    pub interrupts: Vec<BoundInterrupt>,
    /// Such interrupts beyond those listed.
    pub more_interrupts: u64,
    /// Every valid cpuset partition of the host but the whole of it.
    pub partitions: Vec<Partition>,
    /// What could not be looked at, a phrase each: nobody can tell what is
    /// bound there.
    pub unknown: Vec<String>,
}

/// A task (a thread of a process) that is bound to the set alone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct BoundTask {
    /// Thread id.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// When it started, in clock ticks since boot: with the thread id, its
    /// identity in this boot.
    pub start: u64,
    /// Its name, at most 15 characters.
    pub comm: String,
    /// How it is scheduled.
    pub policy: Scheduling,
    /// A kernel thread, whose work the kernel moves by itself.
    pub kernel: bool,
    /// The CPUs it may run on, as the kernel lists them: `2-3`.
    pub allowed: String,
}

/// A scheduling policy (include/uapi/linux/sched.h).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Scheduling {
    /// SCHED_OTHER, SCHED_BATCH, SCHED_IDLE or SCHED_EXT.
    Normal,
    /// SCHED_FIFO.
    Fifo,
    /// SCHED_RR.
    Rr,
    /// SCHED_DEADLINE.
    Deadline,
}

/// An interrupt that is bound to the set alone. The kernel moves it elsewhere,
/// or shuts it down with the CPU where it manages the affinity itself
/// (Documentation/core-api/irq/managed_irq.rst); it does not tell which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoundInterrupt {
    /// Its number, as in /proc/irq.
    pub irq: u32,
    /// Who handles it; empty where nobody does.
    pub name: String,
    /// The CPUs it may go to, as the kernel lists them.
    pub allowed: String,
}

/// CPUs that a cgroup has to itself (`cpuset.cpus.partition`,
/// Documentation/admin-guide/cgroup-v2.rst).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The cgroup, such as `/machine.slice`.
    pub cgroup: String,
    /// No load is balanced in it.
    pub isolated: bool,
    /// Its CPUs that are on line.
    pub cpus: BTreeSet<CpuId>,
}

impl Scheduling {
    /// As people name it.
    pub fn name(self) -> &'static str {
        match self {
            Scheduling::Normal => "SCHED_OTHER",
            Scheduling::Fifo => "SCHED_FIFO",
            Scheduling::Rr => "SCHED_RR",
            Scheduling::Deadline => "SCHED_DEADLINE",
        }
    }
}

impl BoundTask {
    /// Somebody gave it these CPUs for work that must not wait. The kernel's
    /// own threads are its own to move.
    pub fn is_real_time(&self) -> bool {
        !self.kernel && self.policy != Scheduling::Normal
    }

    /// Whether `cpu` is among those it may run on.
    pub fn may_run_on(&self, cpu: CpuId) -> bool {
        self.allowed.split(',').any(|range| {
            let (first, last) = range.split_once('-').unwrap_or((range, range));
            let number = |text: &str| text.trim().parse::<u32>().ok();
            number(first).is_some_and(|first| first <= cpu.0)
                && number(last).is_some_and(|last| cpu.0 <= last)
        })
    }

    /// Whether it is the task that `other` tells of, at whatever time.
    pub fn is_same(&self, other: &BoundTask) -> bool {
        (self.tid, self.start) == (other.tid, other.start)
    }

    /// "clock (thread 17 of process 12)".
    pub fn name(&self) -> String {
        let BoundTask { tid, pid, comm, .. } = self;
        match tid == pid {
            true => format!("{comm} (process {pid})"),
            false => format!("{comm} (thread {tid} of process {pid})"),
        }
    }
}

impl Survey {
    /// So many tasks are named in a sentence.
    const NAMED: usize = 4;

    /// In words: what is bound to the CPUs alone.
    pub fn sentence(&self) -> String {
        let tasks = self.tasks.iter().map(BoundTask::name);
        let tasks = named("task", tasks, self.tasks.len(), self.more_tasks);
        let interrupts = self.interrupts.iter().map(|interrupt| match interrupt.name.as_str() {
            "" => interrupt.irq.to_string(),
            name => format!("{} ({name})", interrupt.irq),
        });
        let interrupts =
            named("interrupt", interrupts, self.interrupts.len(), self.more_interrupts);
        let mut text = match (tasks, interrupts) {
            (None, None) => "no task and no interrupt is bound to it alone".to_owned(),
            (Some(tasks), None) => format!("bound to it alone, and to be moved: {tasks}"),
            (None, Some(interrupts)) => {
                format!("bound to it alone, and to be moved or shut down: {interrupts}")
            }
            (Some(tasks), Some(interrupts)) => format!(
                "bound to it alone, and to be moved: {tasks}; to be moved or shut down: \
                 {interrupts}"
            ),
        };
        for unknown in &self.unknown {
            text += &format!("; not known: {unknown}");
        }
        text
    }
}

/// "2 tasks: a, b"; `None` for none.
fn named(
    kind: &str,
    names: impl Iterator<Item = String>,
    listed: usize,
    more: u64,
) -> Option<String> {
    // A u64 holds what a usize counts on every Linux.
    let all = (listed as u64).saturating_add(more);
    if all == 0 {
        return None;
    }
    let shown: Vec<String> = names.take(Survey::NAMED).collect();
    let left = all.saturating_sub(shown.len() as u64);
    let more = if left > 0 { format!(" and {left} more") } else { String::new() };
    let s = if all == 1 { "" } else { "s" };
    Some(format!("{all} {kind}{s}: {}{more}", shown.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(tid: u32, comm: &str) -> BoundTask {
        BoundTask {
            tid,
            pid: 12,
            start: 1,
            comm: comm.to_owned(),
            policy: Scheduling::Normal,
            kernel: false,
            allowed: "3".to_owned(),
        }
    }

    #[test]
    fn what_is_bound_is_told_in_a_sentence() {
        let mut survey = Survey::default();
        assert_eq!(survey.sentence(), "no task and no interrupt is bound to it alone");
        survey.tasks = vec![task(12, "clock"), task(13, "tick")];
        survey.more_tasks = 3;
        assert_eq!(
            survey.sentence(),
            "bound to it alone, and to be moved: 5 tasks: clock (process 12), tick (thread 13 of \
             process 12) and 3 more"
        );
        let name = "nvme0q1".to_owned();
        survey.interrupts = vec![BoundInterrupt { irq: 24, name, allowed: "3".to_owned() }];
        survey.unknown = vec!["the cgroups".to_owned()];
        assert!(
            survey.sentence().ends_with(
                "to be moved or shut down: 1 interrupt: 24 (nvme0q1); not known: the cgroups"
            ),
            "{}",
            survey.sentence()
        );
    }

    #[test]
    fn a_kernel_thread_keeps_no_cpu_by_its_policy() {
        let fifo = BoundTask { policy: Scheduling::Fifo, ..task(9, "irq/9-acpi") };
        assert!(fifo.is_real_time());
        assert!(!BoundTask { kernel: true, ..fifo }.is_real_time());
    }
}
