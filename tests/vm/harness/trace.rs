//! What the kernel's tracepoints say, as a second opinion.

use anyhow::Result;

use super::vm::Vm;

/// A tracing instance of the test's own.
pub struct Trace<'vm> {
    vm: &'vm Vm,
    instance: String,
}

impl<'vm> Trace<'vm> {
    /// Records a tracepoint, such as `mce/mce_record`, from now on.
    pub fn start(vm: &'vm Vm, event: &str) -> Result<Self> {
        let instance = format!("/sys/kernel/tracing/instances/test-{}", event.replace('/', "-"));
        vm.run(&format!("mkdir {instance} && echo 1 > {instance}/events/{event}/enable"))?;
        Ok(Self { vm, instance })
    }

    /// The records so far, one to a line.
    pub fn records(&self) -> Result<Vec<String>> {
        let text = self.vm.run(&format!("cat {}/trace", self.instance))?;
        Ok(text.lines().filter(|line| !line.starts_with('#')).map(str::to_owned).collect())
    }

    /// How many there were, the lost ones among them.
    pub fn count(&self) -> Result<u64> {
        let kept_and_lost =
            "awk '/^(entries|overrun|dropped events)/ { n += $NF } END { print n }'";
        Ok(self
            .vm
            .run(&format!("cat {}/per_cpu/cpu*/stats | {kept_and_lost}", self.instance))?
            .parse()?)
    }
}
