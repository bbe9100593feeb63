//! From the initramfs into a small Debian with systemd, which becomes process 1.
//!
//! Its image is mounted read-only, and a tmpfs laid over it takes what is written and what this build adds: programs,
//! kernel modules, units. So every boot begins with the same root, and what is to last is on the disk that Debian's
//! fstab has on /var/lib/bulkhead.

use std::convert::Infallible;
use std::fs;
use std::os::unix::fs::{chroot, symlink};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use nix::mount::{mount, MsFlags};

/// On the kernel's command line: go there.
const ARGUMENT: &str = "bulkhead.debian";

/// In the order they are needed. ext4 asks for its checksum too late for the kernel to find a module of it by itself.
const MODULES: &[&str] = &["virtio_blk", "crc32c_generic", "ext4", "overlay"];

/// The second disk; the first is for the state.
const IMAGE: &str = "/dev/vdb";

/// The initramfs's own programs, and where a package installs them.
const PROGRAMS: &[(&str, &str)] = &[
    ("/usr/bin/bulkheadd", "usr/sbin/bulkheadd"),
    ("/usr/bin/bulkhead", "usr/bin/bulkhead"),
    ("/usr/bin/bulkhead-watchdog", "usr/sbin/bulkhead-watchdog"),
    ("/usr/bin/bulkhead-guest", "usr/bin/bulkhead-guest"),
];

/// Where the initramfs has units, all to be enabled.
const UNITS: &str = "/units";

/// Where it has units that are to be there, and no more.
const DISABLED_UNITS: &str = "/units-disabled";

/// A link to where a crash kernel saves what it does, if there is one.
const DUMPS: &str = "/var/crash";

/// Whether this boot is to go there.
pub fn is_wanted() -> bool {
    fs::read_to_string("/proc/cmdline")
        .is_ok_and(|line| line.split_whitespace().any(|argument| argument == ARGUMENT))
}

/// Goes there; returns only if that fails.
pub fn enter() -> Result<Infallible> {
    for module in MODULES {
        run(Command::new("/sbin/modprobe").arg(module))?;
    }
    let none = MsFlags::empty();
    for directory in ["/base", "/over", "/root"] {
        fs::create_dir_all(directory)?;
    }
    mount(Some(IMAGE), "/base", Some("ext4"), MsFlags::MS_RDONLY, None::<&str>).context(IMAGE)?;
    mount(Some("tmpfs"), "/over", Some("tmpfs"), none, None::<&str>).context("tmpfs")?;
    fs::create_dir("/over/upper")?;
    fs::create_dir("/over/work")?;
    let layers = "lowerdir=/base,upperdir=/over/upper,workdir=/over/work";
    mount(Some("overlay"), "/root", Some("overlay"), none, Some(layers)).context("overlay")?;

    let root = Path::new("/root");
    for (from, to) in PROGRAMS {
        fs::copy(from, root.join(to)).with_context(|| (*from).to_owned())?;
    }
    // Debian's /lib is a link to usr/lib.
    copy_tree(Path::new("/lib/modules"), &root.join("usr/lib/modules")).context("modules")?;
    for units in [UNITS, DISABLED_UNITS] {
        copy_tree(Path::new(units), &root.join("etc/systemd/system")).context("units")?;
    }
    if fs::symlink_metadata(DUMPS).is_ok() {
        symlink(fs::read_link(DUMPS)?, root.join(&DUMPS[1..])).context(DUMPS)?;
    }
    let units = fs::read_dir(UNITS)?.map(|entry| Ok(entry?.file_name()));
    let units = units.collect::<Result<Vec<_>>>()?;

    // systemd mounts the rest itself.
    for kernel in ["/proc", "/sys", "/dev", "/run"] {
        let there = format!("/root{kernel}");
        mount(Some(kernel), &*there, None::<&str>, MsFlags::MS_MOVE, None::<&str>)
            .with_context(|| format!("move {kernel}"))?;
    }
    std::env::set_current_dir("/root")?;
    mount(Some("."), "/", None::<&str>, MsFlags::MS_MOVE, None::<&str>).context("switch root")?;
    chroot(".").context("chroot")?;
    std::env::set_current_dir("/")?;
    // Debian's modprobe reads an index that busybox's does without.
    run(&mut Command::new("/sbin/depmod"))?;
    run(Command::new("/bin/systemctl").args(["--quiet", "enable"]).args(units))?;
    Err(Command::new("/sbin/init").exec()).context("/sbin/init")
}

fn run(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}
