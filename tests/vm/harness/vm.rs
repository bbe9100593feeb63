//! A running machine, as tests see it.

use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use serde_json::Value;

use super::agent::{Output, Process};
use super::boot;
use super::qemu::Qemu;
use super::qmp::Event;
use super::trace::Trace;
use super::wait::wait_until;

/// From a reboot's order, or a stall that is to end in one, to the guest's next word: a dump may come between.
const REBOOT_LIMIT: Duration = Duration::from_secs(300);

/// A machine whose guest takes commands. It ends when this is dropped.
pub struct Vm {
    qemu: Qemu,
    /// The harness mounts the disk; Debian does that itself.
    mounts_disk: bool,
}

impl Vm {
    pub(super) fn new(qemu: Qemu, mounts_disk: bool) -> Result<Self> {
        let vm = Self { qemu, mounts_disk };
        vm.mount_disk()?;
        Ok(vm)
    }

    /// Runs a shell script in the guest. It ends when all its processes have closed their output: start what is to go
    /// on with [`Vm::spawn`].
    pub fn sh(&self, script: &str) -> Result<Output> {
        self.qemu.agent.start(script)?.wait()
    }

    /// Runs a script that must succeed, and returns what it printed, without the white space around it.
    pub fn run(&self, script: &str) -> Result<String> {
        self.sh(script)?.succeeded(script)
    }

    /// Runs a script that must succeed and print JSON.
    pub fn json(&self, script: &str) -> Result<Value> {
        let text = self.run(script)?;
        serde_json::from_str(&text).with_context(|| format!("{script:?} printed {text:?}"))
    }

    /// Puts a text into a file of the guest; scripts, and so texts, may have 128 KiB.
    pub fn write_file(&self, path: &str, text: &str) -> Result<()> {
        let quoted = text.replace('\'', r"'\''");
        self.run(&format!("printf %s '{quoted}' > {path}")).map(drop)
    }

    /// Starts one command, with shell quoting and redirection, and lets it run. Signals go to it and not to a shell.
    pub fn spawn(&self, command: &str) -> Result<Process> {
        self.qemu.agent.start(&format!("exec {command}"))
    }

    /// Starts to record a tracepoint, such as `mce/mce_record`.
    pub fn trace(&self, event: &str) -> Result<Trace<'_>> {
        Trace::start(self, event)
    }

    /// A command of QEMU's human monitor that has nothing to say when it succeeds.
    pub fn monitor(&self, command: &str) -> Result<()> {
        self.qemu.monitor.human(command)
    }

    /// QEMU's events so far: `RESET`, `WATCHDOG`, …
    pub fn events(&self) -> Vec<Event> {
        self.qemu.monitor.events()
    }

    /// When the first event of a name was.
    pub fn event(&self, name: &str) -> Option<SystemTime> {
        self.events().into_iter().find(|event| event.name == name).map(|event| event.time)
    }

    /// What the guest has printed on its console so far.
    pub fn console(&self) -> Result<String> {
        self.qemu.console()
    }

    /// Waits until the guest has rebooted and takes commands again. Processes of before answer with errors.
    pub fn wait_reboot(&self) -> Result<()> {
        boot::wait_again(&self.qemu, REBOOT_LIMIT)?;
        self.mount_disk()
    }

    /// Cuts the power: the guest gets to write nothing more.
    pub fn cut_power(self) -> Result<()> {
        self.qemu.kill()
    }

    /// Waits until the machine has ended by itself.
    pub fn wait_end(&mut self, limit: Duration) -> Result<()> {
        wait_until("the machine ends", limit, || self.qemu.ended())
    }

    fn mount_disk(&self) -> Result<()> {
        if self.mounts_disk {
            // ext4 asks for its checksum too late for the kernel to find a module of it by itself.
            self.run(
                "modprobe crc32c_generic && modprobe virtio_blk && modprobe ext4 \
                 && mount -t ext4 /dev/vda /var/lib/bulkhead",
            )?;
        }
        Ok(())
    }
}
