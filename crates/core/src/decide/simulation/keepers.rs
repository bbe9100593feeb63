//! Who keeps CPUs of a simulated host for himself.

use crate::model::{BoundTask, CpuId, Partition, Scheduling, Survey};
use std::collections::BTreeSet;

/// The most of each kind.
const MOST: usize = 2;

/// A real-time task, and the CPUs that it may run on.
struct RealTime {
    cpus: BTreeSet<CpuId>,
    policy: Scheduling,
    /// Of the kernel's own, which it moves by itself.
    kernel: bool,
}

/// cpuset partitions, and real-time tasks.
#[derive(Default)]
pub(super) struct Keepers {
    partitions: Vec<BTreeSet<CpuId>>,
    tasks: Vec<RealTime>,
    /// The last survey came to nothing: what they keep is not known.
    pub hidden: bool,
}

impl Keepers {
    pub fn partition(&mut self, cpus: BTreeSet<CpuId>) {
        self.partitions.push(cpus);
        self.partitions.truncate(MOST);
    }

    /// A task of some real-time policy, the kernel's own for every fourth `kind`.
    pub fn run(&mut self, cpus: BTreeSet<CpuId>, kind: u8) {
        let policy =
            [Scheduling::Fifo, Scheduling::Deadline, Scheduling::Rr][usize::from(kind % 3)];
        self.tasks.push(RealTime { cpus, policy, kernel: kind % 4 == 3 });
        self.tasks.truncate(MOST);
    }

    /// In a partition, as far as anybody was told.
    pub fn is_partitioned(&self, cpu: CpuId) -> bool {
        !self.hidden && self.partitions.iter().any(|cpus| cpus.contains(&cpu))
    }

    /// Why `cpus` are not for us to take, of those `online`: one that is off
    /// already is in nobody's partition.
    pub fn keep(&self, cpus: &[CpuId], online: &BTreeSet<CpuId>) -> Option<&'static str> {
        let by_task = self.bound(cpus, online).any(|task| !task.kernel);
        if self.hidden {
            Some("nobody can tell")
        } else if cpus.iter().any(|cpu| online.contains(cpu) && self.is_partitioned(*cpu)) {
            Some("a partition's")
        } else {
            by_task.then_some("a real-time task's")
        }
    }

    /// What a survey of `cpus` finds; an ordinary task is bound to the first of
    /// them, too.
    pub fn survey(&self, cpus: &[CpuId], online: &BTreeSet<CpuId>) -> Survey {
        let clock = task(7, Scheduling::Normal, false, &BTreeSet::from([cpus[0]]));
        let real_time = self.bound(cpus, online).enumerate();
        let real_time =
            real_time.map(|(i, t)| task(8 + i as u32, t.policy, t.kernel, &t.cpus)).collect();
        let partition = |cpus: &BTreeSet<CpuId>| Partition {
            cgroup: "/own".to_owned(),
            isolated: true,
            cpus: cpus & online,
        };
        Survey {
            tasks: [vec![clock], real_time].concat(),
            partitions: self.partitions.iter().map(partition).collect(),
            ..Survey::default()
        }
    }

    /// The tasks that may run on no other CPU that is on line. One whose CPUs
    /// are all off line runs anywhere.
    fn bound<'a>(
        &'a self,
        cpus: &'a [CpuId],
        online: &'a BTreeSet<CpuId>,
    ) -> impl Iterator<Item = &'a RealTime> {
        self.tasks.iter().filter(move |task| {
            let left = &task.cpus & online;
            !left.is_empty() && left.iter().all(|cpu| cpus.contains(cpu))
        })
    }
}

fn task(tid: u32, policy: Scheduling, kernel: bool, cpus: &BTreeSet<CpuId>) -> BoundTask {
    let allowed: Vec<String> = cpus.iter().map(CpuId::to_string).collect();
    let comm = if policy == Scheduling::Normal { "clock" } else { "control" };
    BoundTask {
        tid,
        pid: tid,
        start: 1,
        comm: comm.to_owned(),
        policy,
        kernel,
        allowed: allowed.join(","),
    }
}
