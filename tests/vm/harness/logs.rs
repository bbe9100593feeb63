//! Runs one test on one kernel, and keeps the machines' consoles of those that fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};

use super::boot;
use super::kernel::Kernel;
use super::machine::Machine;

/// So many lines of a console are shown: a panic fits.
const CONSOLE_TAIL: usize = 40;

/// Runs a test under its full name, and says how long it took: `--show-output` shows that of tests that pass. Where the
/// emulator crashed under it, it is run once more.
pub fn run(name: &str, kernel: Kernel, test: fn(Machine) -> Result<()>) -> Result<()> {
    let logs = Arc::new(Logs::new(name)?);
    let kept = Kept(Some(logs.directory.clone()));
    let since = Instant::now();
    let mut result = test(Machine::new(kernel, Arc::clone(&logs)));
    if let (Err(error), true) = (&result, logs.emulator_crashed()) {
        boot::tell(&format!("{name} begins anew, as QEMU crashed: {error:#}"));
        result = test(Machine::new(kernel, logs));
    }
    eprintln!("{name} took {:.1} s", since.elapsed().as_secs_f64());
    result?;
    kept.discard()
}

/// The log files of one test's machines.
pub struct Logs {
    directory: PathBuf,
    boots: AtomicU32,
    crashed: AtomicBool,
}

impl Logs {
    fn new(test: &str) -> Result<Self> {
        // `vm::smoke::k6_12::boots` → `smoke.k6_12.boots`.
        let test = test.split_once("::").map_or(test, |(_, rest)| rest).replace("::", ".");
        let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm/logs").join(test);
        if directory.exists() {
            fs::remove_dir_all(&directory).context("remove the previous run's logs")?;
        }
        fs::create_dir_all(&directory).with_context(|| directory.display().to_string())?;
        Ok(Self { directory, boots: AtomicU32::default(), crashed: AtomicBool::default() })
    }

    /// The emulator itself ended by a fault of its own, which says nothing about what is tested.
    pub fn crash(&self) {
        self.crashed.store(true, Ordering::Relaxed);
    }

    fn emulator_crashed(&self) -> bool {
        self.crashed.load(Ordering::Relaxed)
    }

    /// Where the next machine's console goes, and what QEMU itself has to say.
    pub fn next(&self) -> (PathBuf, PathBuf) {
        let number = self.boots.fetch_add(1, Ordering::Relaxed) + 1;
        let path = |what: &str| self.directory.join(format!("{number}.{what}"));
        (path("console"), path("qemu"))
    }
}

/// Says where the logs are, however the test ended, unless told that they are not needed.
struct Kept(Option<PathBuf>);

impl Kept {
    fn discard(mut self) -> Result<()> {
        self.0.take().map_or(Ok(()), fs::remove_dir_all).context("remove the logs")
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        let Some(directory) = &self.0 else { return };
        eprintln!("the machines' consoles are in {}; the last one ends with", directory.display());
        let console = (1..)
            .map(|number| directory.join(format!("{number}.console")))
            .map_while(|path| fs::read(path).ok())
            .last()
            .unwrap_or_default();
        let console = String::from_utf8_lossy(&console);
        let lines: Vec<_> = console.lines().collect();
        for line in &lines[lines.len().saturating_sub(CONSOLE_TAIL)..] {
            eprintln!("| {line}");
        }
    }
}
