//! The watchdog does not cut off the dump: it goes on counting in the crash
//! kernel, where nobody feeds it.

use super::{Chain, Check, EXAMPLES};
use crate::host::Root;
use std::path::Path;
use std::time::SystemTime;

const NAME: &str = "dump-watchdog";

/// Ours, which initramfs-tools puts into every initramfs.
const HOOK: &str = "etc/initramfs-tools/hooks/bulkhead-watchdog";
const SCRIPT: &str = "etc/initramfs-tools/scripts/init-top/bulkhead-watchdog";

/// That of the crash kernel (kdump-config(8)).
const INITRAMFS: &str = "var/lib/kdump/initrd.img";

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
    let Some(kdump) = &chain.kdump else {
        let mend = format!("have the crash kernel run {EXAMPLES}/crash/feed-watchdog first");
        return Some(Check::warn(NAME, cut, mend));
    };
    if !kdump.is_debian() {
        return Some(match &kdump.pre {
            Some(pre) if pre.contains("feed-watchdog") => {
                Check::ok(NAME, "the crash kernel feeds the watchdog while it saves the dump")
            }
            _ => {
                let mend = format!(
                    "add the lines of {EXAMPLES}/kdump.conf to /etc/kdump.conf, then systemctl \
                     restart kdump"
                );
                Check::warn(NAME, cut, mend)
            }
        });
    }
    let rebuild = "/etc/kernel/postinst.d/kdump-tools \"$(uname -r)\" && kdump-config reload";
    let changed = |file: &str| modified(&root.path(file));
    let (Some(hook), Some(script)) = (changed(HOOK), changed(SCRIPT)) else {
        let mend = format!("cp -r {EXAMPLES}/initramfs-tools/. /etc/initramfs-tools/\n{rebuild}");
        return Some(Check::warn(NAME, cut, mend));
    };
    match changed(INITRAMFS) {
        Some(built) if built >= hook.max(script) => {
            Some(Check::ok(NAME, "the crash kernel feeds the watchdog while it saves the dump"))
        }
        _ => {
            let found = format!("{cut}: its initramfs is older than the hook that feeds it");
            Some(Check::warn(NAME, found, rebuild))
        }
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    path.metadata().ok()?.modified().ok()
}
