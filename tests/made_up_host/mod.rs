//! A directory for `--root` that looks like a host.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

/// CPUID of a Skylake server, whose banks 0 to 3 are a core's own.
pub const SKYLAKE: u32 = 0x50654;

/// What a host has. Each socket is a NUMA node, and the threads of a core, and the cores of a socket, follow each other.
pub struct Shape {
    pub sockets: u32,
    pub cores_per_socket: u32,
    pub threads_per_core: u32,
    pub memory_bytes: u64,
}

impl Shape {
    pub fn cpus(&self) -> u32 {
        self.sockets * self.cores_per_socket * self.threads_per_core
    }
}

/// Puts it below `dir`.
pub fn make(dir: &Path, shape: &Shape) {
    let put = |path: &str, text: &str| {
        let path = dir.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put("proc/sys/kernel/random/boot_id", "11111111-2222-4333-8444-555555555555\n");
    put("proc/sys/kernel/osrelease", "6.12.0-made-up\n");
    put("proc/meminfo", &format!("MemTotal:       {} kB\n", shape.memory_bytes >> 10));
    for list in ["present", "online", "possible"] {
        put(&format!("sys/devices/system/cpu/{list}"), &format!("0-{}\n", shape.cpus() - 1));
    }
    let threads = shape.threads_per_core;
    let mut cpuinfo = String::new();
    for cpu in 0..shape.cpus() {
        let core = cpu / threads;
        let socket = core / shape.cores_per_socket;
        let base = format!("sys/devices/system/cpu/cpu{cpu}");
        let siblings = format!("{}-{}\n", core * threads, core * threads + threads - 1);
        put(&format!("{base}/topology/physical_package_id"), &format!("{socket}\n"));
        put(&format!("{base}/topology/core_id"), &format!("{}\n", core % shape.cores_per_socket));
        put(&format!("{base}/topology/thread_siblings_list"), &siblings);
        put(&format!("{base}/topology/core_cpus_list"), &siblings);
        if cpu > 0 {
            put(&format!("{base}/online"), "1\n");
        }
        fs::create_dir_all(dir.join(format!("{base}/node{socket}"))).unwrap();
        cpuinfo += &format!(
            "processor\t: {cpu}\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 85\n\
             apicid\t\t: {cpu}\ninitial apicid\t: {cpu}\n\
             address sizes\t: 46 bits physical, 48 bits virtual\n\n"
        );
    }
    put("proc/cpuinfo", &cpuinfo);
}
