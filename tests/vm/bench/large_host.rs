//! A simulated host, large and small: what it has costs nothing, and what errs as much as on a small one. Runs where it
//! is started, without a machine of its own.

use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use procfs::process::Process;
use serde_json::{json, Value};
use tempfile::TempDir;

use super::growth::STRAIGHT;
use super::plot::{curves, Curve};
use super::report::{count, mib, seconds, time, Report};
use super::scale;
use super::stats::{median, percentile, steepest};
use crate::made_up_host::{make, Shape, SKYLAKE};

const SMALL: Shape =
    Shape { sockets: 2, cores_per_socket: 2, threads_per_core: 2, memory_bytes: 64 << 30 };
const LARGE: Shape =
    Shape { sockets: 8, cores_per_socket: 64, threads_per_core: 2, memory_bytes: 8 << 40 };

/// Two errors on each.
const PAGES: [u64; 3] = [1_000, 10_000, 100_000];

/// Pages whose time to a decision is taken.
const WATCHED: u64 = 100;

/// Room for all pages of the storm.
const CONFIG: &str = "[limits]\nmemory = \"1GiB\"\npages_per_day = 1000000\n";

/// A daemon that used no CPU in so many looks on end has nothing left to do.
const LOOK: Duration = Duration::from_millis(100);
const STILL: u32 = 10;

const LIMIT: Duration = Duration::from_secs(300);

pub fn measure() -> Result<()> {
    let mut report = Report::new("8-large-host", "A host of 1,024 CPUs and 8 TiB");
    report.say(&format!(
        "`--root` with a made-up host, `--source file:` with two errors on each page, spread over \
         all of its memory; no virtual machine. The time to a decision is from the line of a \
         page's second error being written until `bulkhead events --follow` tells of the page, of \
         {} pages after the storm.",
        count(scale::number(WATCHED))
    ));
    let mut rows = Vec::new();
    let mut large = Vec::new();
    for (name, shape) in [("small", SMALL), ("large", LARGE)] {
        for pages in PAGES.map(scale::number) {
            let measured = Measured::of(&shape, pages).with_context(|| format!("{name} host"))?;
            rows.push(measured.row(&shape, pages));
            if name == "large" {
                large.push((pages as f64, measured));
            }
        }
    }
    report.table(
        &[
            "CPUs",
            "memory",
            "pages",
            "started in",
            "counted",
            "observed",
            "CPU",
            "per error",
            "most RSS",
            "median to decision",
            "p99",
        ],
        &rows,
    );
    let curve = |of: fn(&Measured) -> f64| -> Vec<(f64, f64)> {
        large.iter().map(|(pages, measured)| (*pages, of(measured))).collect()
    };
    let all: [Curve; 3] = [
        ("CPU, s", curve(|m| m.cpu.as_secs_f64())),
        ("most RSS, MiB", curve(|m| m.peak as f64 / f64::from(1 << 20))),
        ("p99 to decision, s", curve(|m| percentile(&m.decisions, 99.0))),
    ];
    curves("8-large-host", "1,024 CPUs and 8 TiB, by the pages that err", "pages", "s, MiB", &all)?;
    report.say("![CPU time, memory and time to decision by pages](8-large-host.svg)");
    for (what, points) in all {
        let steepness = steepest(&points);
        report.goal(
            &format!("straight or flatter: {what}"),
            &format!("grows with the power of {steepness:.2}"),
            steepness <= STRAIGHT,
        );
    }
    report.publish()
}

struct Measured {
    started: Duration,
    counted: u64,
    observed: u64,
    /// From the first error on until it had nothing left to do.
    cpu: Duration,
    /// The most that RSS ever was, in bytes.
    peak: u64,
    /// In seconds.
    decisions: Vec<f64>,
}

impl Measured {
    fn of(shape: &Shape, pages: u64) -> Result<Self> {
        let start = Instant::now();
        let host = Host::start(shape)?;
        let started = start.elapsed();
        host.settle()?;
        let before = host.cpu()?;
        let step = (shape.memory_bytes / 4096 / pages).max(1);
        let address = |page: u64| page * step * 4096;
        let mut log = BufWriter::new(host.log()?);
        for second in 1..=2 {
            for page in 1..=pages {
                log.write_all(error(second, address(page) % shape.memory_bytes).as_bytes())?;
            }
        }
        log.flush()?;
        host.settle()?;
        let cpu = host.cpu()? - before;
        let status = host.json(&["status"])?;
        let sources = status["sources"].as_array().context("sources")?;
        Ok(Self {
            started,
            counted: sources.iter().filter_map(|source| source["reports"].as_u64()).sum(),
            observed: host.json(&["list", "pages"])?.as_array().context("list")?.len() as u64,
            cpu,
            decisions: host.decisions(|n| address(n + 1) + 4096)?,
            peak: host.status()?.vmhwm.context("VmHWM")? << 10,
        })
    }

    fn row(&self, shape: &Shape, pages: u64) -> Vec<String> {
        vec![
            count(shape.cpus().into()),
            format!("{} GiB", count(shape.memory_bytes >> 30)),
            count(pages),
            seconds(self.started),
            count(self.counted),
            count(self.observed),
            seconds(self.cpu),
            time(self.cpu.as_secs_f64() / self.counted as f64),
            mib(self.peak),
            time(median(&self.decisions)),
            time(percentile(&self.decisions, 99.0)),
        ]
    }
}

/// One line of a log: an error so many seconds after the first ones.
fn error(second: u64, address: u64) -> String {
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
struct Host {
    directory: TempDir,
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
    fn start(shape: &Shape) -> Result<Self> {
        let directory = TempDir::new_in(env!("CARGO_TARGET_TMPDIR")).context("directory")?;
        let path = |name: &str| directory.path().join(name);
        make(&path("root"), shape);
        fs::write(path("log"), "")?;
        fs::write(path("config.toml"), CONFIG)?;
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
        let host = Host { daemon: Running(daemon), directory };
        let start = Instant::now();
        while !host.ask(&["status", "--json"]).output()?.status.success() {
            ensure!(start.elapsed() < LIMIT, "bulkheadd does not answer");
            thread::sleep(Duration::from_millis(5));
        }
        Ok(host)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn log(&self) -> Result<File> {
        let log: &Path = &self.path("log");
        OpenOptions::new().append(true).open(log).context("log")
    }

    fn ask(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulkhead"));
        command.arg("--socket").arg(self.path("socket")).args(arguments).stdin(Stdio::null());
        command.stderr(Stdio::null());
        command
    }

    fn json(&self, arguments: &[&str]) -> Result<Value> {
        let output = self.ask(arguments).arg("--json").output()?;
        ensure!(output.status.success(), "{arguments:?} ends with {}", output.status);
        serde_json::from_slice(&output.stdout).with_context(|| format!("{arguments:?}"))
    }

    fn process(&self) -> Result<Process> {
        Process::new(self.daemon.0.id().try_into()?).context("bulkheadd")
    }

    fn status(&self) -> Result<procfs::process::Status> {
        self.process()?.status().context("/proc/PID/status")
    }

    /// CPU time of the threads that it has: /proc/PID/stat would tell that of others too, but in steps of 10 ms.
    fn cpu(&self) -> Result<Duration> {
        let tasks = self.process()?.tasks().context("/proc/PID/task")?;
        let times = tasks.map(|task| Ok(task?.schedstat()?.sum_exec_runtime));
        Ok(Duration::from_nanos(times.sum::<Result<_>>()?))
    }

    /// Waits until it has nothing left to do.
    fn settle(&self) -> Result<()> {
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
    fn decisions(&self, address: impl Fn(u64) -> u64) -> Result<Vec<f64>> {
        let child = self.ask(&["events", "--follow", "--json"]).stdout(Stdio::piped()).spawn()?;
        let mut follower = Running(child);
        let mut lines = BufReader::new(follower.0.stdout.take().context("stdout")?).lines();
        let mut log = self.log()?;
        (0..scale::number(WATCHED))
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
