//! The kernel hands its errors out: through BPF, and through tracefs where a
//! source is rare or BPF cannot be had.

use super::{Check, AS_ROOT};
use crate::host::Root;

/// Documentation/ABI/testing/sysfs-kernel-btf.
const BTF: &str = "sys/kernel/btf/vmlinux";

/// security/lockdown/lockdown.c: `none [integrity] confidentiality`.
const LOCKDOWN: &str = "sys/kernel/security/lockdown";

/// Under it neither BPF may read kernel memory nor anybody tracefs.
fn is_confidential(root: &Root) -> bool {
    root.read(LOCKDOWN).is_ok_and(|text| text.contains("[confidentiality]"))
}

const LESS_LOCKDOWN: &str = "boot with lockdown=integrity";

pub(super) fn bpf(root: &Root) -> Check {
    let name = "bpf";
    let instead = "tracefs is read instead, which loses what a full buffer loses";
    if is_confidential(root) {
        let found = format!("kernel lockdown (confidentiality) forbids it; {instead}");
        return Check::warn(name, found, LESS_LOCKDOWN);
    }
    if !root.path(BTF).exists() {
        let found = format!("/{BTF} is not there; {instead}");
        return Check::warn(name, found, "boot a kernel with CONFIG_DEBUG_INFO_BTF");
    }
    let mounts = root.read("proc/mounts").unwrap_or_default();
    if !mounted(&mounts, "/sys/fs/bpf", "bpf") {
        let found = "no bpf file system on /sys/fs/bpf: errors are not counted while the daemon \
                     is down";
        return Check::warn(name, found, "mount -t bpf bpf /sys/fs/bpf");
    }
    Check::ok(name, "BTF and the bpf file system are there")
}

pub(super) fn tracefs(root: &Root) -> Check {
    let name = "tracefs";
    if is_confidential(root) {
        let found = "kernel lockdown (confidentiality) forbids it: only EDAC's counters are left";
        return Check::fail(name, found, LESS_LOCKDOWN);
    }
    match root.list("sys/kernel/tracing/events") {
        Ok(events) if !events.is_empty() => Check::ok(name, "the tracepoints can be read"),
        Ok(_) => Check::warn(
            name,
            "no tracefs on /sys/kernel/tracing: firmware's and CXL's records are not heard of",
            "mount -t tracefs tracefs /sys/kernel/tracing",
        ),
        Err(error) => Check::unknown(name, error.to_string(), AS_ROOT),
    }
}

/// A line of /proc/mounts: what, where, of which type.
fn mounted(mounts: &str, at: &str, kind: &str) -> bool {
    mounts.lines().any(|line| {
        let mut words = line.split(' ').skip(1);
        words.next() == Some(at) && words.next() == Some(kind)
    })
}
