//! Builds the guest's root file system, once for each kernel and run.

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

const DIRECTORIES: &[&str] = &[
    "proc",
    "sys",
    "dev",
    "run",
    "tmp",
    "root",
    "etc/bulkhead",
    "var/lib/bulkhead",
    "var/lib/rasdaemon",
    "sbin",
    "usr/sbin",
];

const GROUPS: &str = "root:x:0:\nbulkhead:x:900:\nnogroup:x:65534:\n";

/// The unit that is installed with Bulkhead, and the tests' own; for the guest with systemd.
const UNITS: &[(&str, &str)] = &[
    ("bulkhead.service", include_str!("../../../systemd/bulkhead.service")),
    ("bulkhead-guest.service", include_str!("../debian/bulkhead-guest.service")),
    ("witness.service", include_str!("../debian/witness.service")),
];

const USERS: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";

/// An archive that no run has used for so long is of a build that is gone.
const STALE: Duration = Duration::from_secs(24 * 3600);

/// The path of the archive for a kernel.
pub fn built(kernel: Kernel, files: &KernelFiles) -> Result<&'static Path> {
    static BUILT: [OnceLock<Result<PathBuf, String>>; 2] = [const { OnceLock::new() }; 2];
    BUILT[kernel as usize]
        .get_or_init(|| build(kernel, files).map_err(|error| format!("{error:#}")))
        .as_deref()
        .map_err(|error| anyhow!("initramfs: {error}"))
}

fn build(kernel: Kernel, files: &KernelFiles) -> Result<PathBuf> {
    let mut tree = Tree::default();
    DIRECTORIES.iter().for_each(|path| tree.directory(path));
    add_busybox(&mut tree)?;
    add_programs(&mut tree)?;
    add_modules(&mut tree, files)?;
    for (name, text) in UNITS {
        tree.file(&format!("units/{name}"), 0o644, text.as_bytes());
    }
    tree.file("etc/group", 0o644, GROUPS.as_bytes());
    tree.file("etc/passwd", 0o644, USERS.as_bytes());
    store(kernel, &tree.archive.finish())
}

fn add_busybox(tree: &mut Tree) -> Result<()> {
    let busybox = fs::read(BUSYBOX).with_context(|| {
        format!("{BUSYBOX} (package busybox-static; scripts/vm-setup installs it)")
    })?;
    tree.file(BUSYBOX, 0o755, &busybox);
    let list = Command::new(BUSYBOX).arg("--list").output().context("run busybox --list")?;
    for applet in String::from_utf8_lossy(&list.stdout).lines().filter(|name| *name != "busybox") {
        tree.link(&format!("bin/{applet}"), BUSYBOX);
    }
    // The kernel's own choice of path when it wants a module.
    tree.link("sbin/modprobe", BUSYBOX);
    Ok(())
}

fn add_programs(tree: &mut Tree) -> Result<()> {
    let programs = binaries::programs()?;
    for program in &programs {
        let name = program.file_name().context("a program without a name")?.to_string_lossy();
        tree.file(&format!("usr/bin/{name}"), 0o755, &binaries::stripped(program)?);
    }
    for library in binaries::libraries(&programs)? {
        tree.file(&library, 0o755, &fs::read(&library).with_context(|| library.clone())?);
    }
    tree.link("init", "/usr/bin/bulkhead-guest");
    Ok(())
}

fn add_modules(tree: &mut Tree, files: &KernelFiles) -> Result<()> {
    let modules = Modules::collect(files)?;
    let directory = format!("lib/modules/{}", files.release);
    for (path, content) in &modules.files {
        tree.file(&format!("{directory}/{path}"), 0o644, content);
    }
    tree.file(&format!("{directory}/modules.dep"), 0o644, modules.dep.as_bytes());
    let at_boot: String =
        modules.at_boot.iter().map(|path| format!("/{directory}/{path}\n")).collect();
    tree.file("etc/modules", 0o644, at_boot.as_bytes());
    Ok(())
}

/// Under a name made of the content: what another run of the tests is booting never changes under it.
fn store(kernel: Kernel, content: &[u8]) -> Result<PathBuf> {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    let directory = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let prefix = format!("initramfs-{}-", kernel.series());
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

/// An archive whose directories appear when something is put into them.
#[derive(Default)]
struct Tree {
    archive: Archive,
    directories: BTreeSet<String>,
}

impl Tree {
    fn directory(&mut self, path: &str) {
        let path = path.trim_start_matches('/');
        if path.is_empty() || self.directories.contains(path) {
            return;
        }
        self.parent(path);
        self.archive.directory(path);
        self.directories.insert(path.to_owned());
    }

    fn file(&mut self, path: &str, mode: u32, content: &[u8]) {
        self.parent(path);
        self.archive.file(path, mode, content);
    }

    fn link(&mut self, path: &str, target: &str) {
        self.parent(path);
        self.archive.link(path, target);
    }

    fn parent(&mut self, path: &str) {
        if let Some((parent, _)) = path.rsplit_once('/') {
            self.directory(parent);
        }
    }
}
