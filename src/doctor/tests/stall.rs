//! The chain from a stall to a dump, over made-up hosts.

use super::*;
use std::os::unix::fs::symlink;

const DEVICE: &str = "sys/class/watchdog/watchdog0";
const HOOK: &str = "etc/initramfs-tools/hooks/bulkhead-watchdog";
const SCRIPT: &str = "etc/initramfs-tools/scripts/init-top/bulkhead-watchdog";

impl Host {
    fn linked(self, file: &str, to: &str) -> Host {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(to, path).unwrap();
        self
    }

    fn all(&self) -> Vec<Check> {
        let heard = Heard::Answer { saved: true, observes: false };
        examine(self.0.path(), self.0.path(), &heard)
    }

    fn result(&self, name: &str) -> Verdict {
        self.check(name).result
    }

    /// The process that has the watchdog open.
    fn held_by(self, pid: u32, name: &str) -> Host {
        let host = self.with(&format!("proc/{pid}/comm"), &format!("{name}\n"));
        host.linked(&format!("proc/{pid}/fd/3"), "/dev/watchdog0")
    }
}

/// A host without a watchdog or a crash kernel, with Debian's sysctls.
fn bare() -> Host {
    root()
        .with("proc/sys/kernel/panic", "0\n")
        .with("proc/sys/kernel/unknown_nmi_panic", "0\n")
        .with("proc/sys/kernel/softlockup_panic", "0\n")
        .with("proc/sys/kernel/hardlockup_panic", "0\n")
        .with("proc/sys/kernel/nmi_watchdog", "1\n")
        .with("proc/1/comm", "systemd\n")
        .with("proc/1/fd/x", "")
        .with("proc/meminfo", "MemTotal: 4000000 kB\n")
        .with("sys/kernel/kexec_crash_loaded", "0\n")
        .with("sys/kernel/kexec_crash_size", "0\n")
}

/// One with the device of a virtual machine, which nobody uses.
fn idle() -> Host {
    bare()
        .with(&format!("{DEVICE}/identity"), "i6300ESB timer\n")
        .with(&format!("{DEVICE}/state"), "inactive\n")
        .with(&format!("{DEVICE}/timeout"), "30\n")
        .with(&format!("{DEVICE}/pretimeout"), "0\n")
        .with(&format!("{DEVICE}/pretimeout_governor"), "panic\n")
        .with(&format!("{DEVICE}/pretimeout_available_governors"), "noop\npanic\n")
}

/// One where a stall becomes a dump and a reboot.
fn set_up() -> Host {
    idle()
        .with(&format!("{DEVICE}/state"), "active\n")
        .with(&format!("{DEVICE}/timeout"), "60\n")
        .with(&format!("{DEVICE}/pretimeout"), "10\n")
        .with("proc/sys/kernel/panic", "10\n")
        .with("proc/sys/kernel/unknown_nmi_panic", "1\n")
        .with("proc/sys/kernel/softlockup_panic", "1\n")
        .with("proc/sys/kernel/hardlockup_panic", "1\n")
        .with("sys/kernel/kexec_crash_loaded", "1\n")
        .with("sys/kernel/kexec_crash_size", "268435456\n")
        .with("etc/default/kdump-tools", "USE_KDUMP=1\nSSH=\"root@keeper\"\n")
        .with(HOOK, "")
        .with(SCRIPT, "")
        .with("var/lib/kdump/initrd.img", "")
        .with("etc/systemd/system/sysinit.target.wants/bulkhead-watchdog.service", "")
        .held_by(700, "bulkhead-watchd")
}

#[test]
fn a_chain_that_is_set_up_is_well() {
    let checks = set_up().all();
    let names: Vec<&str> = checks.iter().map(|check| check.check).skip(13).collect();
    assert_eq!(
        names,
        [
            "watchdog",
            "watchdog-owner",
            "watchdog-unit",
            "pretimeout",
            "nmi",
            "panic",
            "lockups",
            "crash-kernel",
            "crash-memory",
            "dump-room",
            "dump-watchdog",
            "shutdown",
        ]
    );
    for check in &checks[13..] {
        assert_eq!((check.result, check.mend.as_str()), (Verdict::Ok, ""), "{check:?}");
    }
}

#[test]
fn what_nobody_set_up_is_warned_of_and_never_a_failure() {
    for host in [bare(), idle()] {
        for check in host.all().split_off(13) {
            assert!(check.result != Verdict::Fail && !check.unknown, "{check:?}");
            assert_eq!(check.mend.is_empty(), check.result == Verdict::Ok, "{check:?}");
        }
        for name in ["panic", "lockups", "crash-kernel", "shutdown", "watchdog-unit"] {
            assert_eq!(host.result(name), Verdict::Warn, "{name}");
        }
    }
    assert_eq!(bare().result("watchdog"), Verdict::Warn);
    assert_eq!(idle().result("watchdog"), Verdict::Ok);
    assert_eq!(idle().result("watchdog-owner"), Verdict::Warn);
}

#[test]
fn what_is_in_use_and_will_not_work_fails() {
    let dead = set_up().without("proc/700").with(&format!("{DEVICE}/state"), "inactive\n");
    let unloaded = set_up().with("sys/kernel/kexec_crash_loaded", "0\n");
    let nmi = set_up().with("proc/sys/kernel/unknown_nmi_panic", "0\n");
    let soft = set_up()
        .with(&format!("{DEVICE}/identity"), "Software Watchdog\n")
        .with("sys/kernel/kexec_crash_loaded", "0\n")
        .with("proc/sys/kernel/panic", "0\n");
    for (host, name) in
        [(dead, "watchdog-unit"), (unloaded, "crash-kernel"), (nmi, "nmi"), (soft, "panic")]
    {
        let check = host.check(name);
        assert_eq!(check.result, Verdict::Fail, "{check:?}");
        assert!(!check.mend.is_empty(), "{check:?}");
    }
}

#[test]
fn every_link_that_is_missing_is_told_with_what_mends_it() {
    for (host, name, mend) in [
        (bare(), "watchdog", "modprobe "),
        (
            set_up().with(&format!("{DEVICE}/identity"), "Software Watchdog\n"),
            "watchdog",
            "modprobe",
        ),
        (set_up().without("etc/systemd"), "watchdog-unit", "systemctl enable --now"),
        (
            set_up().with(&format!("{DEVICE}/pretimeout"), "0\n"),
            "pretimeout",
            "watchdog.pretimeout",
        ),
        (
            set_up().with(&format!("{DEVICE}/pretimeout_governor"), "noop\n"),
            "pretimeout",
            "pretimeout",
        ),
        (
            set_up().with(&format!("{DEVICE}/pretimeout_available_governors"), "noop\n"),
            "pretimeout",
            "modprobe pretimeout_panic",
        ),
        (set_up().without(&format!("{DEVICE}/pretimeout")), "pretimeout", "HRTIMER_PRETIMEOUT"),
        (set_up().with("proc/sys/kernel/panic", "0\n"), "panic", "sysctl kernel.panic=10"),
        (
            set_up().with("proc/sys/kernel/softlockup_panic", "0\n"),
            "lockups",
            "sysctl kernel.softlockup_panic=1\n",
        ),
        (bare(), "crash-kernel", "crashkernel="),
        (
            set_up().with("sys/kernel/kexec_crash_size", "134217728\n"),
            "crash-memory",
            "crashkernel=192M",
        ),
        (set_up().without("etc/default/kdump-tools"), "dump-room", "install and enable kdump"),
        (
            set_up().without("etc/default/kdump-tools").with("usr/bin/apt", ""),
            "dump-room",
            "apt install kdump-tools",
        ),
        (set_up().without(HOOK), "dump-watchdog", "cp -r /usr/share/bulkhead/initramfs-tools"),
        (set_up().without("var/lib/kdump"), "dump-watchdog", "kdump-config reload"),
        (set_up().without("etc/default/kdump-tools"), "dump-watchdog", "feed-watchdog"),
        (set_up().without("etc/systemd"), "shutdown", "systemctl enable --now"),
    ] {
        let check = host.check(name);
        assert_eq!((check.result, check.unknown), (Verdict::Warn, false), "{check:?}");
        assert!(check.mend.contains(mend), "{check:?}");
    }
}

#[test]
fn who_feeds_the_watchdog_is_named() {
    let none = || set_up().without("proc/700");
    let systemd = none().held_by(1, "systemd").check("watchdog-owner");
    assert_eq!(systemd.result, Verdict::Warn, "{systemd:?}");
    assert!(systemd.found.starts_with("systemd (process 1) feeds /dev/watchdog0"), "{systemd:?}");
    let with_us = none().held_by(1, "systemd").with("proc/700/comm", "bulkhead-watchd\n");
    let with_us = with_us.with("proc/700/fd/x", "");
    assert_eq!(with_us.result("watchdog-owner"), Verdict::Ok);
    let other = none().held_by(99, "sbd").check("watchdog-owner");
    assert!(other.result == Verdict::Warn && other.mend.contains("unit of sbd"), "{other:?}");
    let nobody = none().check("watchdog-owner");
    assert!(nobody.found.contains("no program feeds it"), "{nobody:?}");
}

#[test]
fn an_nmi_that_nothing_makes_a_panic_fails() {
    let ipmi = |preaction: &str, preop: &str| {
        bare()
            .with("sys/module/ipmi_watchdog/parameters/preaction", preaction)
            .with("sys/module/ipmi_watchdog/parameters/preop", preop)
    };
    // With the driver's own panic switched off no sysctl would help.
    let lost = ipmi("pre_nmi\n", "preop_none\n").with("proc/sys/kernel/unknown_nmi_panic", "1\n");
    assert!(lost.check("nmi").mend.contains("modprobe.d"), "{:?}", lost.check("nmi"));
    assert_eq!(lost.result("nmi"), Verdict::Fail);
    let fails = ipmi("pre_nmi\n", "preop_panic\n");
    assert_eq!(fails.result("nmi"), Verdict::Fail);
    let well = fails.with("proc/sys/kernel/unknown_nmi_panic", "1\n");
    assert_eq!((well.result("nmi"), well.result("pretimeout")), (Verdict::Ok, Verdict::Ok));
    // No NMI, no need for the sysctl.
    assert!(ipmi("pre_int\n", "preop_panic\n").all().iter().all(|check| check.check != "nmi"));
    // Nobody uses it yet, and what the hypervisor would do cannot be seen.
    assert_eq!(idle().result("nmi"), Verdict::Warn);
}

#[test]
fn fedoras_kdump_feeds_the_watchdog_by_a_line_of_its_configuration() {
    let fedora = || {
        let host = set_up().without("etc/default/kdump-tools");
        host.with("etc/kdump.conf", "path /var/crash\nnfs keeper:/export\n")
    };
    let check = fedora().check("dump-watchdog");
    assert!(check.result == Verdict::Warn && check.mend.contains("/etc/kdump.conf"), "{check:?}");
    let text = "path /var/crash\nkdump_pre /usr/share/bulkhead/crash/feed-watchdog\n";
    assert_eq!(fedora().with("etc/kdump.conf", text).result("dump-watchdog"), Verdict::Ok);
    assert!(fedora().check("dump-room").found.contains("nfs keeper:/export"));
}

#[test]
fn without_our_watchdog_systemd_alone_watches_the_end_of_a_reboot() {
    let host = set_up().without("etc/systemd");
    assert!(host.check("shutdown").found.contains("systemd watches the end of a reboot"));
    let off = host.with("etc/systemd/system.conf", "[Manager]\nRebootWatchdogSec=0\n");
    assert!(off.check("shutdown").found.contains("RebootWatchdogSec is off"));
}

#[test]
fn the_first_watchdog_is_known_by_its_old_name_too() {
    let host = idle()
        .with("sys/class/watchdog/watchdog1/state", "active\n")
        .with("proc/700/comm", "feeder\n")
        .linked("proc/700/fd/3", "/dev/watchdog");
    let found = host.check("pretimeout").found;
    assert!(found.starts_with("/dev/watchdog0 "), "{found}");
}
