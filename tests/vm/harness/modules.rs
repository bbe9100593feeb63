//! Picks kernel modules, and what they depend on, for the guest.

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};

use super::kernel::KernelFiles;

/// Where the tests' own modules go, below the modules' directory.
const OWN: &str = "extra";

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
    /// Modules by name, with what they need, those that are `at_boot` before those that are not.
    pub fn collect(kernel: &KernelFiles, at_boot: &[&str], on_demand: &[&str]) -> Result<Self> {
        let directory = kernel.modules();
        let index = Index::read(&directory)?;
        let mut modules = Self { files: Vec::new(), dep: String::new(), at_boot: Vec::new() };
        for name in at_boot.iter().chain(on_demand) {
            for path in index.in_load_order(name)? {
                let plain = uncompressed(path).to_owned();
                if modules.files.iter().any(|(known, _)| *known == plain) {
                    continue;
                }
                if at_boot.contains(name) {
                    modules.at_boot.push(plain.clone());
                }
                let needs: Vec<_> =
                    index.dependencies[path].iter().map(|d| uncompressed(d)).collect();
                modules.dep += &format!("{plain}: {}\n", needs.join(" "));
                modules.files.push((plain, read(&directory.join(path))?));
            }
        }
        Ok(modules)
    }

    /// The tests' own, to load on demand.
    pub fn add_tests_own(&mut self, kernel: &KernelFiles) -> Result<()> {
        for module in kernel.tests_own_modules() {
            let name = module.file_name().context("a module without a name")?.to_string_lossy();
            let path = format!("{OWN}/{name}");
            self.dep += &format!("{path}:\n");
            self.files.push((path, read(&module)?));
        }
        Ok(())
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
        return fs::read(path)
            .with_context(|| format!("{} (scripts/vm-setup makes it)", path.display()));
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
