//! Bulkhead in the guest, as its users see it: started by command line or by systemd, asked through
//! `bulkhead … --json`.

use std::thread;
use std::time::Duration;

use anyhow::{bail, ensure, Context, Result};
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;

use crate::harness::{wait_for, wait_until, Process, Vm};

/// Deciding and acting take well under a second; a busy machine takes its time.
pub const LIMIT: Duration = Duration::from_secs(120);

/// What would have happened by now had it been going to happen: one collection of the banks (1 s), one drain (100 ms)
/// and one look at what the kernel did (1 s), with room for a busy machine.
const QUIET: Duration = Duration::from_secs(4);

const SIGTERM: i32 = 15;
const SIGKILL: i32 = 9;

/// A running `bulkheadd`.
pub struct Bulkhead<'vm> {
    pub vm: &'vm Vm,
    run: Run,
}

/// Who started it.
enum Run {
    ByHand(Process),
    BySystemd,
}

impl<'vm> Bulkhead<'vm> {
    /// Starts it and waits until it answers.
    pub fn start(vm: &'vm Vm, arguments: &str) -> Result<Self> {
        Self::start_as(vm, "bulkheadd", arguments)
    }

    /// The same by another command, which becomes it.
    pub fn start_as(vm: &'vm Vm, command: &str, arguments: &str) -> Result<Self> {
        let process = vm.spawn(&format!("{command} {arguments} >> /tmp/bulkheadd.log 2>&1"))?;
        Bulkhead { vm, run: Run::ByHand(process) }.answering()
    }

    /// The one that systemd starts at boot, or starts again.
    pub fn service(vm: &'vm Vm) -> Result<Self> {
        Bulkhead { vm, run: Run::BySystemd }.answering()
    }

    fn answering(self) -> Result<Self> {
        let answered = wait_until("bulkheadd answers", LIMIT, || {
            Ok(self.vm.sh("bulkhead status --json")?.code == 0)
        });
        answered.with_context(|| format!("log:\n{}", self.log().unwrap_or_default()))?;
        Ok(self)
    }

    /// Its process id in the guest.
    fn pid(&mut self) -> Result<i32> {
        match &mut self.run {
            Run::ByHand(process) => process.pid(),
            Run::BySystemd => {
                Ok(self.vm.run("systemctl show -P MainPID bulkhead.service")?.parse()?)
            }
        }
    }

    /// Ends it at once, as a crash would. systemd starts it again.
    pub fn kill(mut self) -> Result<()> {
        let pid = self.pid()?;
        match self.run {
            Run::ByHand(process) => {
                process.signal(SIGKILL)?;
                process.wait()?;
                Ok(())
            }
            Run::BySystemd => self
                .vm
                .run(&format!("kill -9 {pid}; while [ -d /proc/{pid} ]; do :; done"))
                .map(drop),
        }
    }

    /// Kills it before its `nth` system call that changes what outlives it, of those that `cause` makes it do.
    /// False if it makes fewer, and goes on.
    pub fn kill_at(&mut self, nth: u32, cause: impl FnOnce() -> Result<()>) -> Result<bool> {
        let pid = self.pid()?;
        let mut killer = self.vm.spawn(&format!("bulkhead-guest kill-at {nth} {pid}"))?;
        killer.wait_line("ready", LIMIT)?;
        cause()?;
        let output = killer.wait()?;
        ensure!(output.stderr.is_empty(), "{output:?}");
        Ok(output.code == 0)
    }

    /// Ends it in good order.
    pub fn stop(self) -> Result<()> {
        match self.run {
            Run::ByHand(process) => {
                process.signal(SIGTERM)?;
                let output = process.wait()?;
                ensure!(output.code == 0, "bulkheadd ended with {}", output.code);
                Ok(())
            }
            Run::BySystemd => self.vm.run("systemctl stop bulkhead.service").map(drop),
        }
    }

    /// What it has logged, this one and those before it.
    pub fn log(&self) -> Result<String> {
        self.vm.run(match self.run {
            Run::ByHand(_) => "cat /tmp/bulkheadd.log",
            Run::BySystemd => "journalctl --boot --unit=bulkhead.service --output=cat",
        })
    }

    pub fn status(&self) -> Result<Value> {
        self.vm.json("bulkhead status --json")
    }

    /// Errors since boot, over all sources.
    pub fn reports(&self) -> Result<u64> {
        let status = self.status()?;
        let sources = status["sources"].as_array().context("sources")?;
        Ok(sources.iter().filter_map(|source| source["reports"].as_u64()).sum())
    }

    /// One source's line of `status`.
    pub fn source(&self, name: &str) -> Result<Value> {
        let status = self.status()?;
        let sources = status["sources"].as_array().context("sources")?;
        let found = sources.iter().find(|source| source["name"] == name);
        found.cloned().with_context(|| format!("no source {name}: {status}"))
    }

    pub fn list(&self) -> Result<Vec<Value>> {
        array(self.vm.json("bulkhead list --json")?)
    }

    pub fn faults(&self) -> Result<Vec<Value>> {
        array(self.vm.json("bulkhead faults --json")?)
    }

    /// What was asked of the kernel on account of a fault.
    pub fn attempts(&self, fault: &Value) -> Result<Vec<Attempt>> {
        let fault = fault.as_str().context("no fault")?;
        let mut explained = self.vm.json(&format!("bulkhead explain {fault} --json"))?;
        let attempts = explained["attempts"].take();
        serde_json::from_value(attempts).with_context(|| explained.to_string())
    }

    /// The line of a page or CPU, if there is one.
    pub fn line(&self, kind: &str, id: &str) -> Result<Option<Value>> {
        Ok(self.list()?.into_iter().find(|line| line["kind"] == kind && line["id"] == id))
    }

    /// Waits until a page or CPU stands in `state`; hands out its line.
    pub fn wait_line(&self, kind: &str, id: &str, state: &str) -> Result<Value> {
        let found = wait_for(&format!("{kind} {id} is {state}"), LIMIT, || {
            Ok(self.line(kind, id)?.filter(|line| line["state"] == state))
        });
        found.with_context(|| {
            let list = self.list().map(|list| format!("{list:?}"));
            format!("the list is {list:?}; the log:\n{}", self.log().unwrap_or_default())
        })
    }

    pub fn wait_page(&self, address: u64, state: &str) -> Result<Value> {
        self.wait_line("page", &page_id(address), state)
    }

    /// Waits until so many errors are counted, and sees that no more are.
    pub fn wait_reports(&self, errors: u64) -> Result<()> {
        let counted = wait_until(&format!("{errors} errors are counted"), LIMIT, || {
            Ok(self.reports()? >= errors)
        });
        counted
            .with_context(|| format!("{:?}\n{}", self.status(), self.log().unwrap_or_default()))?;
        let now = self.reports()?;
        ensure!(
            now == errors,
            "{now} errors are counted, {errors} were raised: {}",
            self.status()?
        );
        Ok(())
    }

    /// Gives it the time to do what it must not do. The one wait for nothing: that something does not happen has no
    /// event to wait for.
    pub fn let_time_pass(&self) {
        thread::sleep(QUIET);
    }
}

/// One order to the kernel, in the words of `explain`.
#[derive(Debug, Deserialize)]
pub struct Attempt {
    pub time: Timestamp,
    pub asked: String,
    pub answered: String,
}

/// A page as `list` names it.
pub fn page_id(address: u64) -> String {
    format!("{:#x}", address & !0xfff)
}

/// Hardware threads that are on line, as the kernel tells it.
pub fn online(vm: &Vm) -> Result<String> {
    vm.run("cat /sys/devices/system/cpu/online")
}

fn array(value: Value) -> Result<Vec<Value>> {
    match value {
        Value::Array(lines) => Ok(lines),
        other => bail!("no array: {other}"),
    }
}
