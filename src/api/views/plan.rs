//! What has to move before a CPU can go.

use bulkhead_core::model::{CpuId, Survey};
use serde::{Deserialize, Serialize};

/// What is bound to CPUs that are to go, and to no other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlanView {
    /// Tasks that will be moved; real-time ones first.
    pub tasks: Vec<TaskView>,
    /// Such tasks beyond those listed.
    pub more_tasks: u64,
    /// Interrupts that will be moved, or shut down with the CPU.
    pub interrupts: Vec<InterruptView>,
    /// Such interrupts beyond those listed.
    pub more_interrupts: u64,
    /// Cgroups whose cpuset partition has CPUs of these.
    pub partitions: Vec<String>,
    /// What could not be looked at.
    pub unknown: Vec<String>,
}

/// A task of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskView {
    /// Thread id.
    pub tid: u32,
    /// Its process.
    pub pid: u32,
    /// Its name.
    pub name: String,
    /// `SCHED_OTHER`, `SCHED_FIFO`, `SCHED_RR` or `SCHED_DEADLINE`.
    pub policy: String,
    /// Where it may run: `2-3`.
    pub cpus: String,
}

/// An interrupt of a plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InterruptView {
    /// Its number.
    pub irq: u32,
    /// Who handles it; may be empty.
    pub name: String,
    /// Where it may go.
    pub cpus: String,
}

impl PlanView {
    /// What `survey` found of `cpus`.
    pub fn of(survey: &Survey, cpus: &[CpuId]) -> PlanView {
        let tasks = survey.tasks.iter().map(|task| TaskView {
            tid: task.tid,
            pid: task.pid,
            name: task.comm.clone(),
            policy: task.policy.name().to_owned(),
            cpus: task.allowed.clone(),
        });
        let interrupts = survey.interrupts.iter().map(|interrupt| InterruptView {
            irq: interrupt.irq,
            name: interrupt.name.clone(),
            cpus: interrupt.allowed.clone(),
        });
        let owns = survey.partitions.iter().filter(|p| cpus.iter().any(|c| p.cpus.contains(c)));
        PlanView {
            tasks: tasks.collect(),
            more_tasks: survey.more_tasks,
            interrupts: interrupts.collect(),
            more_interrupts: survey.more_interrupts,
            partitions: owns.map(|partition| partition.cgroup.clone()).collect(),
            unknown: survey.unknown.clone(),
        }
    }
}
