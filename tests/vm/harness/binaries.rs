//! The programs that go into the guest, and the libraries they are linked to.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::kernel::cache;

/// The package's own, which cargo has built for this test.
const TESTED: &[&str] = &[env!("CARGO_BIN_EXE_bulkheadd"), env!("CARGO_BIN_EXE_bulkhead")];

/// Packages of the workspace whose programs cargo does not build for a test of this package.
const BESIDE: &[&str] = &["bulkhead-guest", "bulkhead-watchdog"];

/// Of another package, below the cache: it writes databases that the tested programs read.
const FETCHED: &str = "rasdaemon/usr/sbin/rasdaemon";

/// Builds what is missing; all programs in the order above.
pub fn programs() -> Result<Vec<PathBuf>> {
    let mut programs: Vec<_> = TESTED.iter().map(PathBuf::from).collect();
    let fetched = cache().join(FETCHED);
    ensure!(fetched.exists(), "no {}: run scripts/vm-setup", fetched.display());
    programs.push(fetched);
    let profile = Path::new(TESTED[0]).parent().context("a program without a directory")?;
    let target = profile.parent().context("a profile without a target directory")?;
    let profile_name = match profile.file_name().and_then(|name| name.to_str()) {
        Some("debug") => "dev",
        Some(name) => name,
        None => anyhow::bail!("no profile in {}", profile.display()),
    };
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["build", "--quiet", "--profile", profile_name, "--target-dir"]).arg(target);
    for package in BESIDE {
        cargo.args(["--package", package]);
        programs.push(profile.join(package));
    }
    let built =
        cargo.current_dir(env!("CARGO_MANIFEST_DIR")).output().context("run cargo build")?;
    ensure!(
        built.status.success(),
        "cargo build of {BESIDE:?}:\n{}",
        String::from_utf8_lossy(&built.stderr)
    );
    Ok(programs)
}

/// A program without its debugging information, which is most of it and would have to fit into the guest's memory.
pub fn stripped(program: &Path) -> Result<Vec<u8>> {
    let out = tempfile::NamedTempFile::new().context("temporary file")?;
    let strip = Command::new("strip")
        .args(["--strip-debug", "-o"])
        .args([out.path(), program])
        .output()
        .context("run strip (package binutils)")?;
    ensure!(
        strip.status.success(),
        "strip {}: {}",
        program.display(),
        String::from_utf8_lossy(&strip.stderr)
    );
    fs::read(out.path()).context("read the stripped program")
}

/// The paths of the libraries of some programs, the loader among them.
pub fn libraries(programs: &[PathBuf]) -> Result<Vec<String>> {
    let mut libraries = Vec::new();
    for program in programs {
        let ldd = Command::new("ldd").arg(program).output().context("run ldd")?;
        ensure!(ldd.status.success(), "ldd {} fails", program.display());
        // `libc.so.6 => /lib/x86_64-linux-gnu/libc.so.6 (0x…)`, and `/lib64/ld-linux-x86-64.so.2 (0x…)`.
        let text = String::from_utf8_lossy(&ldd.stdout);
        libraries.extend(
            text.split_whitespace().filter(|word| word.starts_with('/')).map(str::to_owned),
        );
    }
    libraries.sort();
    libraries.dedup();
    Ok(libraries)
}
