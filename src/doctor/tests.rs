//! Each check over a made-up host: well, and not.
#![allow(clippy::unwrap_used)]

use super::*;
use std::fs;
use tempfile::TempDir;

struct Host(TempDir);

impl Host {
    /// One that lacks nothing.
    fn well() -> Host {
        let host = Host(tempfile::tempdir().unwrap());
        for (file, text) in [
            ("proc/cpuinfo", "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu\n"),
            ("proc/cmdline", "quiet\n"),
            ("proc/mounts", "bpf /sys/fs/bpf bpf rw 0 0\n"),
            ("proc/kpageflags", ""),
            ("proc/sys/kernel/osrelease", "6.1.0-1-amd64\n"),
            ("proc/sys/vm/enable_soft_offline", "1\n"),
            ("boot/config-6.1.0-1-amd64", "# CONFIG_RAS_CEC is not set\n"),
            ("dev/kmsg", ""),
            ("sys/kernel/btf/vmlinux", ""),
            ("sys/kernel/tracing/events/enable", "0\n"),
            ("sys/kernel/security/lockdown", "none [integrity] confidentiality\n"),
            ("sys/devices/system/memory/soft_offline_page", ""),
            ("sys/devices/system/memory/hard_offline_page", ""),
            ("sys/devices/system/edac/mc/mc0/mc_name", "Skylake Socket#0 IMC#0\n"),
            ("sys/devices/system/cpu/present", "0-1\n"),
            ("sys/devices/system/cpu/online", "0-1\n"),
            ("sys/devices/system/cpu/cpu1/online", "1\n"),
            ("etc/systemd/system/multi-user.target.wants/bulkhead.service", ""),
        ] {
            host.write(file, text);
        }
        host
    }

    fn write(&self, file: &str, text: &str) {
        let path = self.0.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn with(self, file: &str, text: &str) -> Host {
        self.write(file, text);
        self
    }

    fn without(self, file: &str) -> Host {
        let path = self.0.path().join(file);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
        self
    }

    fn check(&self, name: &str) -> Check {
        let heard = Heard::Answer { saved: true, observes: false };
        let checks = examine(self.0.path(), self.0.path(), &heard);
        checks.into_iter().find(|check| check.check == name).unwrap()
    }
}

fn root() -> Host {
    Host::well()
}

#[test]
fn a_host_that_lacks_nothing_is_well() {
    let host = root();
    // Where the state is, and which memory is there, are the test machine's.
    for name in [
        "daemon",
        "unit",
        "memory-failure",
        "soft-offline",
        "cpu-hotplug",
        "bpf",
        "tracefs",
        "kernel-log",
        "cec",
        "others",
        "edac",
    ] {
        let check = host.check(name);
        assert_eq!((check.result, check.mend.as_str()), (Verdict::Ok, ""), "{check:?}");
    }
}

#[test]
fn what_is_missing_is_told_with_what_mends_it() {
    let fails = [
        (root().without("sys/devices/system/memory/soft_offline_page"), "memory-failure"),
        (root().without("proc/kpageflags"), "memory-failure"),
        (root().with("proc/sys/vm/enable_soft_offline", "0\n"), "soft-offline"),
        (root().without("sys/devices/system/cpu"), "cpu-hotplug"),
        (root().with("sys/kernel/security/lockdown", "none [confidentiality]\n"), "tracefs"),
    ];
    let warns = [
        (root().without("sys/devices/system/cpu/cpu1/online"), "cpu-hotplug"),
        (root().without("sys/kernel/btf"), "bpf"),
        (root().with("proc/mounts", "none /sys/fs/bpf tmpfs rw 0 0\n"), "bpf"),
        (root().with("sys/kernel/security/lockdown", "none [confidentiality]\n"), "bpf"),
        (root().without("sys/kernel/tracing"), "tracefs"),
        (root().without("dev/kmsg"), "kernel-log"),
        (root().without("etc/systemd"), "unit"),
        (root().without("sys/devices/system/edac"), "edac"),
        (root().with("proc/7/comm", "rasdaemon\n").with("proc/7/environ", ""), "others"),
        (root().with("boot/config-6.1.0-1-amd64", "CONFIG_RAS_CEC=y\n"), "cec"),
    ];
    let fails = fails.into_iter().map(|(host, name)| (Verdict::Fail, host, name));
    let warns = warns.into_iter().map(|(host, name)| (Verdict::Warn, host, name));
    for (result, host, name) in fails.chain(warns) {
        let check = host.check(name);
        assert_eq!((check.result, check.unknown), (result, false), "{check:?}");
        assert!(!check.mend.is_empty() && !check.found.is_empty(), "{check:?}");
    }
}

#[test]
fn what_nobody_can_say_is_unknown_and_a_warning() {
    for (host, name) in [
        (root().without("boot"), "cec"),
        (root().with("proc/7/comm", "rasdaemon\n"), "others"),
        (root(), "memory-config"),
    ] {
        let check = host.check(name);
        assert_eq!((check.result, check.unknown), (Verdict::Warn, true), "{check:?}");
    }
}

#[test]
fn a_kernel_without_the_switch_for_soft_offlining_is_well() {
    let host = root().without("proc/sys/vm/enable_soft_offline");
    assert_eq!(host.check("soft-offline").result, Verdict::Ok);
}

#[test]
fn why_no_memory_controller_is_watched_is_told() {
    let bare = || root().without("sys/devices/system/edac");
    assert!(bare().check("edac").mend.contains("skx_edac"));
    let firmware = bare().with("sys/bus/platform/drivers/GHES/GHES.0/x", "");
    assert!(firmware.check("edac").found.contains("firmware"), "{:?}", firmware.check("edac"));
    let flags = "processor\t: 0\nvendor_id\t: GenuineIntel\nflags\t\t: fpu hypervisor\n";
    assert_eq!(bare().with("proc/cpuinfo", flags).check("edac").result, Verdict::Ok);
}

#[test]
fn a_unit_that_is_there_and_not_enabled_is_to_be_enabled() {
    let host = root().without("etc/systemd").with("lib/systemd/system/bulkhead.service", "");
    assert_eq!(host.check("unit").mend, "systemctl enable bulkhead.service");
}

#[test]
fn the_collector_is_switched_off_by_the_tools_of_the_distribution() {
    let on = || root().with("boot/config-6.1.0-1-amd64", "CONFIG_RAS_CEC=y\n");
    let debian = on().with("usr/sbin/update-grub", "").check("cec").mend;
    let lines: Vec<&str> = debian.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("/etc/default/grub.d/bulkhead-cec.cfg"));
    assert!(lines[0].contains("'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX ras=cec_disable\"'"));
    let fedora = on().with("usr/sbin/grubby", "").check("cec").mend;
    assert!(fedora.starts_with("grubby "), "{fedora}");
    let other = on().check("cec").mend;
    assert!(other.contains("ras=cec_disable"), "{other}");
}

#[test]
fn conflicts_are_told_with_what_ends_them() {
    let host = root();
    assert!(conflicts(&Root::new(host.0.path())).is_empty());
    let host = host
        .with("boot/config-6.1.0-1-amd64", "CONFIG_RAS_CEC=y\n")
        .with("proc/7/comm", "rasdaemon\n")
        .with("proc/7/environ", "PAGE_CE_ACTION=hard\0");
    insta::assert_snapshot!(conflicts(&Root::new(host.0.path())).join("\n"));
}

#[test]
fn a_daemon_that_is_silent_or_cannot_save_fails() {
    let check = |heard| daemon::check(&heard);
    assert_eq!(check(Heard::Nothing("gone".to_owned())).result, Verdict::Fail);
    assert_eq!(check(Heard::Answer { saved: false, observes: true }).result, Verdict::Fail);
    assert_eq!(check(Heard::Answer { saved: true, observes: true }).result, Verdict::Ok);
    assert!(check(Heard::Forbidden("no".to_owned())).unknown);
}

mod stall;
