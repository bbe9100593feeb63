//! bulkheadd over a made-up host and a log, where it is started, without a virtual machine.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Write};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use procfs::process::Process;
use serde_json::{json, Value};
use tempfile::TempDir;

use crate::made_up_host::{make, Shape, SKYLAKE};

/// Room for all pages of the storm.
const CONFIG: &str = "[limits]\nmemory = \"1GiB\"\npages_per_day = 1000000\n";

/// A daemon that used no CPU in so many looks on end has nothing left to do.
const LOOK: Duration = Duration::from_millis(100);
const STILL: u32 = 10;

const LIMIT: Duration = Duration::from_secs(300);

/// One line of a log: an error so many seconds after the first ones.
pub fn error(second: u64, address: u64) -> String {
    let record = json!({ "mce": {
        "status": "0x8c0000000000009f", "addr": format!("{address:#x}"), "misc": "0x8c", "bank": 9,
        "cpuid": SKYLAKE,
    } });
    let time = format!("2026-01-02T03:04:{second:02}Z");
    json!({ "time": time, "event": "report", "source": "mce:mce_record", "record": record })
        .to_string()
        + "\n"
}

/// bulkheadd over a made-up host. It ends when this is dropped.
pub struct Host {
    directory: TempDir,
    /// From its start until it answered.
    pub started: Duration,
    daemon: Running,
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        // It fails when it has ended already.
        _ = self.0.kill();
        _ = self.0.wait();
    }
}

impl Host {
    /// Starts it, and waits until it answers.
    pub fn start(shape: &Shape) -> Result<Self> {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).context("directory")?;
        let path = |name: &str| directory.path().join(name);
        make(&path("root"), shape);
        fs::write(path("log"), "")?;
        fs::write(path("config.toml"), CONFIG)?;
        let spawned = Instant::now();
        let daemon = Command::new(env!("CARGO_BIN_EXE_bulkheadd"))
            .arg("--config")
            .arg(path("config.toml"))
            .arg("--root")
            .arg(path("root"))
            .arg("--state-dir")
            .arg(path("state"))
            .arg("--socket")
            .arg(path("socket"))
            .arg("--source")
            .arg(format!("file:{}", path("log").display()))
            .stderr(File::create(path("stderr"))?)
            .spawn()
            .context("start bulkheadd")?;
        let mut host = Host { daemon: Running(daemon), directory, started: Duration::ZERO };
        while !host.ask(&["status", "--json"]).output()?.status.success() {
            ensure!(spawned.elapsed() < LIMIT, "bulkheadd does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        host.started = spawned.elapsed();
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// What it reads, to be appended to.
    pub fn log(&self) -> Result<File> {
        OpenOptions::new().append(true).open(self.path("log")).context("log")
    }

    fn ask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.arg("--socket").arg(self.path("socket")).args(arguments).stdin(Stdio::null());
        command.stderr(Stdio::null());
        command
    }

    /// What `bulkhead` answers.
    pub fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.ask(arguments).arg("--json").output()?;
        ensure!(output.status.success(), "{arguments:?} ends with {}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}"))
    }

    fn process(&self) -> Result<Process> {
        Process::new(self.daemon.0.id().try_into()?).context("bulkheadd")
    }

    /// The most that its RSS ever was, in bytes.
    pub fn peak(&self) -> Result<u64> {
        let status = self.process()?.status().context("/proc/PID/status")?;
        Ok(status.vmhwm.context("VmHWM")? << 10)
    }

    /// CPU time of the threads that it has: /proc/PID/stat would tell that of others too, but in steps of 10 ms.
    pub fn cpu(&self) -> Result<Duration> {
        let tasks = self.process()?.tasks().context("/proc/PID/task")?;
        let times = tasks.map(|task| Ok(task?.schedstat()?.sum_exec_runtime));
        Ok(Duration::from_nanos(times.sum::<Result<_>>()?))
    }

    /// Waits until it has nothing left to do.
    pub fn settle(&self) -> Result<()> {
        let start = Instant::now();
        let (mut before, mut still) = (self.cpu()?, 0);
        while still < STILL {
            ensure!(start.elapsed() < LIMIT, "bulkheadd still works after {LIMIT:?}");
            thread::sleep(LOOK);
            let now = self.cpu()?;
            still = if now == before { still + 1 } else { 0 };
            before = now;
        }
        Ok(())
    }

    /// The seconds until pages, which are named by their number, are decided on.
    pub fn decisions(&self, pages: u64, address: impl Fn(u64) -> u64) -> Result<Vec<f64>> {
        let child = self.ask(&["events", "--follow", "--json"]).stdout(Stdio::piped()).spawn()?;
        let mut follower = Running(child);
        let mut lines = BufReader::new(follower.0.stdout.take().context("stdout")?).lines();
        let mut log = self.log()?;
        (0..pages)
            .map(|n| {
                let page = address(n);
                log.write_all(error(3, page).as_bytes())?;
                // The second error comes when the first has been seen.
                wait_for(&mut lines, "report", page)?;
                let start = Instant::now();
                log.write_all(error(4, page).as_bytes())?;
                wait_for(&mut lines, "isolation", page)?;
                Ok(start.elapsed().as_secs_f64())
            })
            .collect()
    }
}

/// Reads events up to one of a kind that names a page.
fn wait_for(
    lines: &mut impl Iterator<Item = std::io::Result<String>>,
    kind: &str,
    page: u64,
) -> Result<()> {
    let (kind, page) = (format!("\"{kind}\""), format!("\"{page:#x}\""));
    for line in lines {
        let line = line?;
        if line.contains(&kind) && line.contains(&page) {
            return Ok(());
        }
    }
    bail!("no more events, and none {kind} of {page}")
}
