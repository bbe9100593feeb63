//! A root file system for a kernel to unpack at boot, and where such are kept.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, Context, Result};

use super::binaries;
use super::cpio::Archive;
use super::kernel::{Kernel, KernelFiles};
use super::modules::Modules;

const BUSYBOX: &str = "/bin/busybox";

/// An archive that no run has used for so long is of a build that is gone.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// An archive whose directories appear when something is put into them.
#[derive(Default)]
pub struct Tree {
    archive: Archive,
    directories: BTreeSet<String>,
}

impl Tree {
    pub fn directory(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        if path.is_empty() || self.directories.contains(path) {
            return;
        }
        self.parent(path);
        self.archive.directory(path);
        self.directories.insert(path.to_owned());
    }

    pub fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parent(path);
        self.archive.file(path, mode, content);
    }

    pub fn link(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.archive.link(path, target);
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }

    /// Busybox under all its names.
    pub fn busybox(&mut self) -> Result<()> {
        let busybox = fs::read(BUSYBOX).with_context(|| {
            format!("{BUSYBOX} (package busybox-static; scripts/vm-setup installs it)")
        })?;
        self.file(BUSYBOX, 0o755, &busybox);
        let list = Command::new(BUSYBOX).arg("--list").output().context("run busybox --list")?;
        let list = String::from_utf8_lossy(&list.stdout).into_owned();
        for applet in list.lines().filter(|name| *name != "busybox") {
            self.link(&format!("bin/{applet}"), BUSYBOX);
        }
        // The kernel's own choice of path when it wants a module.
        self.link("sbin/modprobe", BUSYBOX);
        Ok(())
    }

    /// Programs in /usr/bin, and the libraries they are linked to.
    pub fn programs(&mut self, programs: &[PathBuf]) -> Result<()> {
        for program in programs {
            let name = program.file_name().context("a program without a name")?.to_string_lossy();
            self.file(&format!("usr/bin/{name}"), 0o755, &binaries::stripped(program)?);
        }
        for library in binaries::libraries(programs)? {
            self.file(&library, 0o755, &fs::read(&library).with_context(|| library.clone())?);
        }
        Ok(())
    }

    /// Modules where modprobe finds them, and in /etc/modules those to load at boot.
    pub fn modules(&mut self, kernel: &KernelFiles, modules: &Modules) {
        let directory = format!("lib/modules/{}", kernel.release);
        for (path, content) in &modules.files {
            self.file(&format!("{directory}/{path}"), 0o644, content);
        }
        self.file(&format!("{directory}/modules.dep"), 0o644, modules.dep.as_bytes());
        let at_boot: String =
            modules.at_boot.iter().map(|path| format!("/{directory}/{path}\n")).collect();
        self.file("etc/modules", 0o644, at_boot.as_bytes());
    }

    /// The bytes of the archive.
    pub fn finish(self) -> Vec<u8> {
        self.archive.finish()
    }
}

/// The path of something that is built once for each kernel and run.
pub struct PerKernel([OnceLock<Result<PathBuf, String>>; 2]);

impl PerKernel {
    pub const fn new() -> Self {
        Self([const { OnceLock::new() }; 2])
    }

    pub fn get(&self, kernel: Kernel, build: impl FnOnce() -> Result<PathBuf>) -> Result<&Path> {
        self.0[kernel as usize]
            .get_or_init(|| build().map_err(|error| format!("{error:#}")))
            .as_deref()
            .map_err(|error| anyhow!("initramfs: {error}"))
    }
}

/// Keeps an archive under a name made of what it is and its content: what another run of the tests is booting never
/// changes under it.
pub fn store(what: &str, kernel: Kernel, content: &[u8]) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let prefix = format!("{what}-{}-", kernel.series());
    let path = directory.join(format!("{prefix}{:016x}.cpio", hasher.finish()));
    if path.exists() {
        File::open(&path)?.set_modified(SystemTime::now()).context("touch the archive")?;
        return Ok(path);
    }
    for entry in fs::read_dir(directory).context("read the temporary directory")? {
        let entry = entry?;
        let ours = entry.file_name().to_string_lossy().starts_with(&prefix);
        if ours && entry.metadata()?.modified()?.elapsed().is_ok_and(|age| age > STALE) {
            fs::remove_file(entry.path()).context("remove a stale archive")?;
        }
    }
    let fresh = tempfile::NamedTempFile::new_in(directory).context("temporary file")?;
    fs::write(fresh.path(), content).context("write the archive")?;
    fresh.persist(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}
