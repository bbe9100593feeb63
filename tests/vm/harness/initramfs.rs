//! Builds the guest's root file system, once for each kernel and run.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::binaries;
use super::kernel::{Kernel, KernelFiles};
use super::modules::Modules;
use super::tree::{self, PerKernel, Tree};

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
    "pretimeout_panic",
    "ipmi_si",
    "ipmi_devintf",
    "ipmi_watchdog",
];

/// Units that are installed with Bulkhead and enabled, and the tests' own; for the guest with systemd.
const UNITS: &[(&str, &str)] = &[
    ("bulkhead.service", include_str!("../../../systemd/bulkhead.service")),
    ("bulkhead-guest.service", include_str!("../debian/bulkhead-guest.service")),
    ("witness.service", include_str!("../debian/witness.service")),
];

/// Units that are installed with Bulkhead and not enabled; another may want them.
const DISABLED_UNITS: &[(&str, &str)] = &[
    ("bulkhead-clean-end.service", include_str!("../../../systemd/bulkhead-clean-end.service")),
    ("bulkhead-stalled.service", include_str!("../../../systemd/bulkhead-stalled.service")),
    ("bulkhead-stopping.service", include_str!("../../../systemd/bulkhead-stopping.service")),
    ("bulkhead-watchdog.service", include_str!("../../../systemd/bulkhead-watchdog.service")),
];

const USERS: &str = "root:x:0:0::/root:/bin/sh\nnobody:x:65534:65534::/:/bin/sh\n";

/// The path of the archive for a kernel.
pub fn built(kernel: Kernel, files: &KernelFiles) -> Result<&'static Path> {
    static BUILT: PerKernel = PerKernel::new();
    BUILT.get(kernel, || build(kernel, files))
}

fn build(kernel: Kernel, files: &KernelFiles) -> Result<PathBuf> {
    let mut tree = Tree::default();
    DIRECTORIES.iter().for_each(|path| tree.directory(path));
    tree.busybox()?;
    tree.programs(&binaries::programs()?)?;
    tree.link("init", "/usr/bin/bulkhead-guest");
    let mut modules = Modules::collect(files, AT_BOOT, ON_DEMAND)?;
    modules.add_tests_own(files)?;
    tree.modules(files, &modules);
    for (directory, units) in [("units", UNITS), ("units-disabled", DISABLED_UNITS)] {
        for (name, text) in units {
            tree.file(&format!("{directory}/{name}"), 0o644, text.as_bytes());
        }
    }
    tree.file("etc/group", 0o644, GROUPS.as_bytes());
    tree.file("etc/passwd", 0o644, USERS.as_bytes());
    tree::store("initramfs", kernel, &tree.finish())
}
