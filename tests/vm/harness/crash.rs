//! The crash kernel: what a guest boots into when its kernel dies, to save what is left of it.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{ensure, Context, Result};

use super::initramfs;
use super::kernel::{cache, Kernel, KernelFiles};
use super::modules::Modules;
use super::tree::{self, PerKernel, Tree};

/// What it takes to mount the disk.
const AT_BOOT: &[&str] = &["virtio_pci", "virtio_blk", "crc32c_generic", "ext4"];

/// The watchdogs that may be armed when the kernel dies.
const ON_DEMAND: &[&str] = &["i6300esb", "softdog", "ipmi_si", "ipmi_watchdog"];

const INIT: &[u8] = include_bytes!("../crash/init");

/// What Bulkhead ships for crash kernels.
const FEED: &[u8] = include_bytes!("../../../examples/crash/feed-watchdog");

/// Of kexec-tools, below the cache: reads the kernel's log out of its memory.
const DMESG: &str = "kexec-tools/sbin/vmcore-dmesg";

/// A guest's root file system with a crash kernel in /crash, whose dumps are in /var/crash, and so on the disk.
pub fn built(kernel: Kernel, files: &KernelFiles) -> Result<&'static Path> {
    static BUILT: PerKernel = PerKernel::new();
    BUILT.get(kernel, || build(kernel, files))
}

/// One archive after the other, which a kernel unpacks over each other
/// (Documentation/driver-api/early-userspace/buffer-format.rst).
fn build(kernel: Kernel, files: &KernelFiles) -> Result<PathBuf> {
    let mut both = fs::read(initramfs::built(kernel, files)?).context("the guest's archive")?;
    let mut tree = Tree::default();
    let image = files.image();
    let image = fs::read(&image).with_context(|| image.display().to_string())?;
    tree.file("crash/vmlinuz", 0o644, &image);
    tree.file("crash/initramfs", 0o644, &own_initramfs(files)?);
    tree.link("var/crash", "/var/lib/bulkhead/crash");
    both.extend(tree.finish());
    tree::store("crash", kernel, &both)
}

fn own_initramfs(files: &KernelFiles) -> Result<Vec<u8>> {
    let mut tree = Tree::default();
    for directory in ["proc", "sys", "dev", "mnt"] {
        tree.directory(directory);
    }
    tree.busybox()?;
    let dmesg = cache().join(DMESG);
    ensure!(dmesg.exists(), "no {}: run scripts/vm-setup", dmesg.display());
    tree.programs(&[dmesg])?;
    tree.modules(files, &Modules::collect(files, AT_BOOT, ON_DEMAND)?);
    tree.file("usr/bin/feed-watchdog", 0o755, FEED);
    tree.file("init", 0o755, INIT);
    Ok(tree.finish())
}
