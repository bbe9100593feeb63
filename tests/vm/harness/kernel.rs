//! Where the kernels are that scripts/vm-setup fetched.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// A stock Debian kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Has a corrected-error collector of its own, which acts at the second error of a page on Intel.
    V6_12,
    /// Has none, and records without ppin.
    V6_1,
}

impl Kernel {
    /// As in `uname -r`, the first two parts.
    pub fn series(self) -> &'static str {
        match self {
            Self::V6_12 => "6.12",
            Self::V6_1 => "6.1",
        }
    }

    pub fn files(self) -> Result<KernelFiles> {
        let directory = cache().join(self.series());
        let release = fs::read_to_string(directory.join("release")).with_context(|| {
            format!("no {} kernel in {}: run scripts/vm-setup", self.series(), directory.display())
        })?;
        Ok(KernelFiles { directory, release: release.trim().to_owned() })
    }
}

/// The tests' own modules: errors of a memory controller, and stalls.
const OWN_MODULES: [&str; 2] = ["bulkhead_edac_test.ko", "bulkhead_stall_test.ko"];

/// The kernel's unpacked package, and the tests' own modules beside it.
pub struct KernelFiles {
    directory: PathBuf,
    pub release: String,
}

impl KernelFiles {
    /// As a boot loader takes it.
    pub fn image(&self) -> PathBuf {
        self.directory.join("vmlinuz")
    }

    /// The same unpacked, which QEMU starts by its PVH entry.
    pub fn unpacked(&self) -> PathBuf {
        self.directory.join("vmlinux")
    }

    pub fn modules(&self) -> PathBuf {
        self.directory.join("lib/modules").join(&self.release)
    }

    pub fn tests_own_modules(&self) -> [PathBuf; 2] {
        OWN_MODULES.map(|name| self.directory.join(name))
    }
}

/// Where scripts/vm-setup puts what it fetches.
pub(super) fn cache() -> PathBuf {
    match std::env::var_os("BULKHEAD_VM_CACHE") {
        Some(path) => path.into(),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/vm"),
    }
}
