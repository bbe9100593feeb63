//! The watchdog does not cut off the dump: it goes on counting in the crash
//! kernel, where nobody feeds it.

use super::{Chain, Check, EXAMPLES};
use crate::host::kdump::Kdump;
use crate::host::Root;
use std::path::Path;
use std::time::SystemTime;

const NAME: &str = "dump-watchdog";

/// Ours, which initramfs-tools puts into every initramfs.
const HOOK: &str = "etc/initramfs-tools/hooks/bulkhead-watchdog";
const SCRIPT: &str = "etc/initramfs-tools/scripts/init-top/bulkhead-watchdog";

/// That of the crash kernel (kdump-config(8)).
const INITRAMFS: &str = "var/lib/kdump/initrd.img";

const FED: &str = "the crash kernel feeds the watchdog while it saves the dump";

pub(super) fn check(root: &Root, chain: &Chain) -> Option<Check> {
    // The kernel's own timer does not come along.
    let hardware = chain.main().filter(|watchdog| !watchdog.device.is_softdog());
    if !chain.is_crash_loaded() || (hardware.is_none() && chain.ipmi.is_none()) {
        return None;
    }
    let timeout = hardware.and_then(|watchdog| watchdog.device.timeout_s);
    let after = timeout.map_or(String::new(), |seconds| format!(" after {seconds} s"));
    let cut =
        format!("the watchdog goes on counting in the crash kernel, and cuts off a dump{after}");
    Some(match &chain.kdump {
        None => {
            let mend = format!("have the crash kernel run {EXAMPLES}/crash/feed-watchdog first");
            Check::warn(NAME, cut, mend)
        }
        Some(kdump) if kdump.is_debian() => by_its_initramfs(root, cut),
        Some(kdump) => by_its_file(kdump, cut),
    })
}

fn by_its_file(kdump: &Kdump, cut: String) -> Check {
    if kdump.pre.as_ref().is_some_and(|pre| pre.contains("feed-watchdog")) {
        return Check::ok(NAME, FED);
    }
    let mend = format!(
        "add the lines of {EXAMPLES}/kdump.conf to /etc/kdump.conf, then systemctl restart kdump"
    );
    Check::warn(NAME, cut, mend)
}

fn by_its_initramfs(root: &Root, cut: String) -> Check {
    let rebuild = "/etc/kernel/postinst.d/kdump-tools \"$(uname -r)\" && kdump-config reload";
    let changed = |file: &str| modified(&root.path(file));
    let (Some(hook), Some(script)) = (changed(HOOK), changed(SCRIPT)) else {
        let mend = format!("cp -r {EXAMPLES}/initramfs-tools/. /etc/initramfs-tools/\n{rebuild}");
        return Check::warn(NAME, cut, mend);
    };
    match changed(INITRAMFS) {
        Some(built) if built >= hook.max(script) => Check::ok(NAME, FED),
        _ => {
            let found = format!("{cut}: its initramfs is older than the hook that feeds it");
            Check::warn(NAME, found, rebuild)
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
