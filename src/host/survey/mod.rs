//! What is bound to a set of CPUs and to no other: tasks, interrupts, cpuset
//! partitions. Reads only, and bounded: in what it looks at, in what it lists,
//! and in time.

pub mod interrupts;
pub mod partitions;
pub mod tasks;

use super::{cpulist, HostError, Root};
use bulkhead_core::model::{CpuId, Survey};
use std::collections::BTreeSet;
use std::io;
use std::time::{Duration, Instant};

/// A survey takes no longer than so; a host with 10,000 tasks needs a tenth.
const TIME: Duration = Duration::from_secs(5);

/// So much of each kind is looked at: the most there can be of tasks
/// (PID_MAX_LIMIT is 4 Mi, include/linux/threads.h) is more than anybody has.
const MOST_LOOKED_AT: usize = 1 << 18;

/// So many of each kind are listed, the rest is counted.
const MOST_LISTED: usize = 1024;

/// A list of CPUs longer than this is not kept, lest a thousand of them fill the
/// memory: who has such a one is counted with the rest.
const LONGEST_LIST: usize = 256;

/// What is bound to `cpus` now.
pub fn take(root: &Root, cpus: &BTreeSet<CpuId>) -> Survey {
    let mut look = Look::new(root, cpus, Instant::now() + TIME);
    let mut survey = Survey::default();
    tasks::look(&mut look, &mut survey);
    interrupts::look(&mut look, &mut survey);
    partitions::look(&mut look, &mut survey);
    survey.unknown = look.unknown;
    survey
}

/// A survey under way.
struct Look<'a> {
    root: &'a Root,
    /// CPUs that go.
    cpus: &'a BTreeSet<CpuId>,
    /// On line and not to go.
    staying: BTreeSet<CpuId>,
    until: Instant,
    unknown: Vec<String>,
}

impl<'a> Look<'a> {
    fn new(root: &'a Root, cpus: &'a BTreeSet<CpuId>, until: Instant) -> Look<'a> {
        let mut look = Look { root, cpus, staying: BTreeSet::new(), until, unknown: Vec::new() };
        match root.read("sys/devices/system/cpu/online").map(|text| cpulist::parse(&text)) {
            Ok(Some(online)) => look.staying = online.difference(cpus).copied().collect(),
            Ok(None) => look.unknown.push("which CPUs are on line".to_owned()),
            Err(error) => look.unknown.push(error.to_string()),
        }
        look
    }

    /// Whether whatever may only be on `allowed` is bound to the set alone.
    fn is_bound(&self, allowed: &BTreeSet<CpuId>) -> bool {
        !allowed.is_disjoint(self.cpus) && allowed.is_disjoint(&self.staying)
    }

    /// Whether to go on after `done` of a kind; says so if not.
    fn goes_on(&mut self, what: &str, done: usize) -> bool {
        let goes_on = done < MOST_LOOKED_AT && Instant::now() < self.until;
        if !goes_on {
            self.unknown.push(format!("{what} beyond the first {done}"));
        }
        goes_on
    }

    /// Notes that something could not be read; what has gone meanwhile is not
    /// missed.
    fn failed(&mut self, error: &HostError) {
        if !is_gone(error) && self.unknown.len() < 16 {
            self.unknown.push(error.to_string());
        }
    }
}

/// A process, an interrupt or a cgroup that ended while it was looked at.
fn is_gone(error: &HostError) -> bool {
    error.cause.kind() == io::ErrorKind::NotFound
        || matches!(error.errno(), Some(libc::ESRCH | libc::ENODEV))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::host::testing::Tree;

    #[test]
    fn what_takes_too_long_is_not_known() {
        let tree = Tree::new();
        tree.write("sys/devices/system/cpu/online", "0-3\n");
        let cpus = BTreeSet::from([CpuId(3)]);
        let mut look = Look::new(&tree.root, &cpus, Instant::now());
        assert!(!look.goes_on("tasks", 7));
        assert_eq!(look.unknown, ["tasks beyond the first 7"]);
    }

    #[test]
    fn without_the_list_of_cpus_nothing_is_known() {
        let tree = Tree::new();
        let survey = take(&tree.root, &BTreeSet::from([CpuId(3)]));
        assert!(survey.unknown[0].contains("cpu/online"), "{:?}", survey.unknown);
    }
}
