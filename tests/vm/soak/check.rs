//! What must hold of a host, whatever befell it.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{bail, ensure, Context, Result};
use serde_json::Value;

use crate::bulkhead::{page_id, Bulkhead, LIMIT};
use crate::harness::{wait_for, Vm};

/// The NUMA nodes of the machine.
const NODES: [[u32; 2]; 2] = [[0, 1], [2, 3]];
/// Of four CPUs, by the default limit.
const MOST_CPUS: usize = 2;
const PAGE: usize = 4096;

/// What the test did, and what it was shown.
pub struct Known {
    /// The memory limit, in pages.
    limit: usize,
    /// Reports of a page since the last event that may have taken evidence with it, by way.
    reports: BTreeMap<(u64, bool), u32>,
    /// Pages with an uncorrected error.
    uncorrected: BTreeSet<String>,
    /// Pages that no limit binds: those, and what was forgotten when the state file was damaged, which is the kernel's
    /// to a daemon that finds it.
    unbound: BTreeSet<String>,
    /// Off line and not to be listed: by the test's own hand, or forgotten when the state file was damaged.
    off_unlisted: BTreeSet<u32>,
    /// Lines that stood as isolated when the state was saved.
    shown: BTreeSet<(String, String)>,
    /// Out of service when the state file was damaged in this boot: not listed unless it is found.
    forgotten: BTreeSet<String>,
}

/// What is, by the list and by the kernel.
struct Seen {
    list: Vec<Value>,
    poisoned: BTreeSet<String>,
    offline: BTreeSet<u32>,
}

impl Known {
    pub fn new(limit: usize) -> Self {
        Self {
            limit,
            reports: BTreeMap::new(),
            uncorrected: BTreeSet::new(),
            unbound: BTreeSet::new(),
            off_unlisted: BTreeSet::new(),
            shown: BTreeSet::new(),
            forgotten: BTreeSet::new(),
        }
    }

    /// Sets the limit, for this boot and those to come.
    pub fn configure(&self, vm: &Vm) -> Result<()> {
        let text = format!("[limits]\nmemory = \"{}KiB\"\n", self.limit * PAGE / 1024);
        vm.write_file("/var/lib/bulkhead/bulkhead.toml", &text)?;
        vm.run("sync; bulkhead config check && systemctl reload bulkhead.service").map(drop)
    }

    pub fn corrected(&mut self, address: u64, bank: bool) {
        *self.reports.entry((address, bank)).or_default() += 1;
    }

    pub fn uncorrected(&mut self, address: u64) {
        self.uncorrected.insert(page_id(address));
        self.unbound.insert(page_id(address));
    }

    pub fn is_online(&self, vm: &Vm, cpu: u32) -> Result<bool> {
        Ok(!offline(vm)?.contains(&cpu))
    }

    /// Brings a CPU on line that is off, and takes one off that is on, unless it is the last of its node.
    pub fn hotplug(&mut self, vm: &Vm, cpu: u32) -> Result<()> {
        let off = offline(vm)?;
        let set = |online: u8| {
            vm.run(&format!("echo {online} > /sys/devices/system/cpu/cpu{cpu}/online")).map(drop)
        };
        if off.contains(&cpu) {
            self.off_unlisted.remove(&cpu);
            set(1)
        } else if NODES
            .iter()
            .any(|node| node.contains(&cpu) && node.iter().any(|c| off.contains(c)))
        {
            Ok(())
        } else {
            self.off_unlisted.insert(cpu);
            set(0)
        }
    }

    /// The power was cut: what is not on disk is gone.
    pub fn rebooted(&mut self) {
        self.reports.clear();
        self.off_unlisted.clear();
        self.forgotten.clear();
    }

    /// The state file was damaged, and the daemon has started on it and logged `log`. What is lost is said; the kernel
    /// keeps it out of service for this boot.
    pub fn corrupted(&mut self, it: &Bulkhead, log: &str) -> Result<()> {
        let seen = Seen::of(it)?;
        let listed: BTreeSet<_> = seen.list.iter().map(kind_and_id).collect();
        let told = |line: &&str| ["is damaged", "unreadable"].iter().any(|w| line.contains(w));
        eprintln!("  it said {:?}", log.lines().rev().find(told));
        ensure!(
            self.shown.is_subset(&listed) || log.lines().any(|line| told(&line)),
            "lines were lost and nothing was said:\n{log}"
        );
        self.shown.retain(|line| listed.contains(line));
        self.reports.clear();
        self.unbound.extend(seen.poisoned.iter().cloned());
        self.forgotten.extend(seen.poisoned);
        let forgotten = |cpu: &u32| !listed.contains(&("cpu".to_owned(), cpu.to_string()));
        self.off_unlisted.extend(seen.offline.into_iter().filter(forgotten));
        Ok(())
    }

    /// Waits until list and kernel agree, and sees that all else holds.
    pub fn check(&mut self, it: &Bulkhead) -> Result<()> {
        let mut last = Vec::new();
        let agreed = wait_for("list and kernel agree", LIMIT, || {
            let seen = Seen::of(it)?;
            self.guard(&seen)?;
            last = self.differences(&seen);
            Ok(last.is_empty().then_some(seen))
        });
        let seen = match agreed {
            Ok(seen) => seen,
            Err(error) => bail!("{error:#}: {last:#?}\n{:#?}\n{}", it.list()?, it.log()?),
        };
        let status = it.status()?;
        for (name, limit) in status["limits"].as_object().context("limits")? {
            ensure!(limit["used"].as_u64() <= limit["max"].as_u64(), "limit {name}: {limit}");
        }
        if status["state"] == "saved" {
            let isolated = seen.list.iter().filter(|line| line["state"] == "isolated");
            self.shown.extend(isolated.map(kind_and_id));
        }
        Ok(())
    }

    /// What may take a moment to become true.
    fn differences(&self, seen: &Seen) -> Vec<String> {
        let mut differences = Vec::new();
        let isolated = seen.in_state("page", &["isolated"]);
        for page in isolated.difference(&seen.poisoned) {
            differences.push(format!("page {page} is listed and in service"));
        }
        for page in
            seen.poisoned.difference(&isolated).filter(|page| !self.forgotten.contains(*page))
        {
            differences.push(format!("page {page} is out of service and not listed"));
        }
        let listed = seen.in_state("cpu", &["isolated"]);
        for cpu in 0..4 {
            let off = seen.offline.contains(&cpu);
            let is_listed = listed.contains(&cpu.to_string());
            if is_listed && !off || off && !is_listed && !self.off_unlisted.contains(&cpu) {
                differences.push(format!("CPU {cpu} is off line: {off}, listed: {is_listed}"));
            }
        }
        // A line of a CPU may come to be released, by hand. In a later boot a page that had an uncorrected error is waited
        // for while it is in use, and what the kernel took is ours to take: the limit may leave no room for it.
        let waits = |line: &Value| match line["state"].as_str() {
            Some("wanted") => self.uncorrected.contains(&kind_and_id(line).1),
            Some("refused") => line["by"] == "kernel",
            _ => false,
        };
        let kept: BTreeSet<_> = seen
            .list
            .iter()
            .filter(|line| line["kind"] == "cpu" || line["state"] == "isolated" || waits(line))
            .map(kind_and_id)
            .collect();
        for (kind, id) in self.shown.difference(&kept) {
            differences.push(format!("{kind} {id} was shown as isolated, and is not any more"));
        }
        let decided = seen.in_state("page", &["isolated", "refused"]);
        for ((address, bank), count) in &self.reports {
            if *count >= 2 && !decided.contains(&page_id(*address)) {
                differences.push(format!(
                    "page {address:#x} had {count} errors (bank: {bank}), and stays"
                ));
            }
        }
        differences
    }

    /// What may not be wrong for a moment.
    fn guard(&self, seen: &Seen) -> Result<()> {
        let bound = seen.poisoned.difference(&self.unbound).count();
        ensure!(bound <= self.limit, "{bound} pages are out of service, {} may be", self.limit);
        let ours = seen.offline.difference(&self.off_unlisted).count();
        ensure!(ours <= MOST_CPUS, "{:?} are off line", seen.offline);
        for node in NODES {
            ensure!(
                node.iter().any(|cpu| !seen.offline.contains(cpu)),
                "node {node:?} is off line"
            );
        }
        Ok(())
    }
}

impl Seen {
    fn of(it: &Bulkhead) -> Result<Self> {
        Ok(Self {
            list: it.list()?,
            poisoned: it.vm.run("bulkhead-guest poisoned")?.lines().map(str::to_owned).collect(),
            offline: offline(it.vm)?,
        })
    }

    fn in_state(&self, kind: &str, states: &[&str]) -> BTreeSet<String> {
        let fits = |line: &&Value| {
            line["kind"] == kind && states.iter().any(|state| line["state"] == *state)
        };
        self.list.iter().filter(fits).map(|line| kind_and_id(line).1).collect()
    }
}

fn kind_and_id(line: &Value) -> (String, String) {
    let text = |key: &str| line[key].as_str().unwrap_or_default().to_owned();
    (text("kind"), text("id"))
}

fn offline(vm: &Vm) -> Result<BTreeSet<u32>> {
    let online = vm.run("cat /sys/devices/system/cpu/cpu[1-3]/online")?;
    let states = online.lines().zip(1..);
    Ok(states.filter(|(state, _)| *state == "0").map(|(_, cpu)| cpu).collect())
}
