//! Picks kernel modules, and what they depend on, for the guest.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::kernel::KernelFiles;

/// For the channel to the host, and to see machine-check banks being cleared.
const AT_BOOT: &[&str] = &["virtio_pci", "virtio_console", "msr"];

/// For tests to load with modprobe.
const ON_DEMAND: &[&str] = &[
    "virtio_blk",
    "crc32c_generic",
    "ext4",
    "overlay",
    "mce_inject",
    "hwpoison_inject",
    "softdog",
    "i6300esb",
    "ipmi_si",
    "ipmi_devintf",
    "ipmi_watchdog",
];

/// Where the test EDAC module goes, below the modules' directory.
const EDAC_TEST: &str = "extra/bulkhead_edac_test.ko";

/// What to put below /lib/modules/RELEASE.
pub struct Modules {
    /// Path and content, uncompressed: 6.1 cannot decompress modules itself.
    pub files: Vec<(String, Vec<u8>)>,
    /// For modprobe.
    pub dep: String,
    /// Paths to load at boot, in this order.
    pub at_boot: Vec<String>,
}

impl Modules {
    pub fn collect(kernel: &KernelFiles) -> Result<Self> {
        let directory = kernel.modules();
        let index = Index::read(&directory)?;
        let mut modules = Self { files: Vec::new(), dep: String::new(), at_boot: Vec::new() };
        for name in AT_BOOT.iter().chain(ON_DEMAND) {
            for path in index.in_load_order(name)? {
                let plain = uncompressed(path).to_owned();
                if modules.files.iter().any(|(known, _)| *known == plain) {
                    continue;
                }
                if AT_BOOT.contains(name) {
                    modules.at_boot.push(plain.clone());
                }
                let needs: Vec<_> =
                    index.dependencies[path].iter().map(|d| uncompressed(d)).collect();
                modules.dep += &format!("{plain}: {}\n", needs.join(" "));
                modules.files.push((plain, read(&directory.join(path))?));
            }
        }
        modules.dep += &format!("{EDAC_TEST}:\n");
        modules.files.push((EDAC_TEST.to_owned(), read(&kernel.edac_test_module())?));
        Ok(modules)
    }
}

struct Index {
    /// Path → the paths it needs, all of them, the first to load last.
    dependencies: HashMap<String, Vec<String>>,
    /// Name → path.
    paths: HashMap<String, String>,
    built_in: String,
}

impl Index {
    fn read(directory: &Path) -> Result<Self> {
        let text = |name: &str| {
            let path = directory.join(name);
            fs::read_to_string(&path).with_context(|| path.display().to_string())
        };
        let (mut dependencies, mut paths) = (HashMap::new(), HashMap::new());
        for (path, needs) in text("modules.dep")?.lines().filter_map(|line| line.split_once(':')) {
            paths.insert(name_of(path), path.to_owned());
            dependencies
                .insert(path.to_owned(), needs.split_whitespace().map(str::to_owned).collect());
        }
        Ok(Self { dependencies, paths, built_in: text("modules.builtin")? })
    }

    /// A module and what it needs; nothing if it is built in.
    fn in_load_order(&self, name: &str) -> Result<Vec<&String>> {
        if self.built_in.lines().any(|path| name_of(path) == name) {
            return Ok(Vec::new());
        }
        let path =
            self.paths.get(name).with_context(|| format!("the kernel has no module {name}"))?;
        Ok(self.dependencies[path].iter().rev().chain([path]).collect())
    }
}

/// `kernel/a/b-c.ko.xz` → `b_c`.
fn name_of(path: &str) -> String {
    let file = path.rsplit('/').next().unwrap_or(path);
    file.split('.').next().unwrap_or(file).replace('-', "_")
}

fn uncompressed(path: &str) -> &str {
    path.strip_suffix(".xz").unwrap_or(path)
}

fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return fs::read(path).with_context(|| path.display().to_string());
    }
    let xz = Command::new("xz").arg("-dc").arg(path).output().context("run xz")?;
    ensure!(
        xz.status.success(),
        "xz -dc {}: {}",
        path.display(),
        String::from_utf8_lossy(&xz.stderr)
    );
    Ok(xz.stdout)
}
