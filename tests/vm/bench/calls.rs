//! The system calls of a process, counted by the kernel.

use anyhow::{Context, Result};

use super::kernel::sum;
use crate::harness::Vm;

/// A tracing instance of its own, that records the calls of all threads of a process.
pub struct Calls<'vm> {
    vm: &'vm Vm,
    instance: String,
}

/// fsync(2) and fdatasync(2), arch/x86/entry/syscalls/syscall_64.tbl.
pub const SYNCS: &str = "(id == 74 || id == 75)";

impl<'vm> Calls<'vm> {
    /// From now on. `name` tells the instance from others of the program; only calls that `which` says, in the words
    /// of trace filters, or all.
    pub fn start(vm: &'vm Vm, program: &str, name: &str, which: Option<&str>) -> Result<Self> {
        let threads = vm.run(&format!("ls /proc/$(pidof {program})/task"))?;
        let threads: Vec<_> =
            threads.split_whitespace().map(|id| format!("common_pid == {id}")).collect();
        let all = format!("({})", threads.join(" || "));
        let filter = which.map_or(all.clone(), |which| format!("{which} && {all}"));
        let instance = format!("/sys/kernel/tracing/instances/{program}-{name}");
        let event = format!("{instance}/events/raw_syscalls/sys_enter");
        vm.run(&format!(
            "mkdir {instance} && echo '{filter}' > {event}/filter && echo 1 > {event}/enable"
        ))
        .context("trace system calls")?;
        Ok(Self { vm, instance })
    }

    /// How many there were, and ends the recording.
    pub fn stop(self) -> Result<u64> {
        let stats = self.vm.run(&format!("cat {}/per_cpu/cpu*/stats", self.instance))?;
        self.vm.run(&format!("rmdir {}", self.instance))?;
        ["entries", "overrun", "dropped events"].iter().map(|name| sum(&stats, name)).sum()
    }
}
