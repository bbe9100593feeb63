//! Which CPUs are probed.

use bulkhead_config::watchdog::Cpus;
use bulkhead_core::model::cpulist;
use std::fs;
use std::path::Path;

/// The configured ones that the host has, off line or not; by default all that
/// nobody keeps for himself (`isolcpus=`, `nohz_full=`).
pub fn probed(root: &Path, wanted: &Cpus) -> Vec<u32> {
    let list = |file: &str| {
        let text = fs::read_to_string(root.join("sys/devices/system/cpu").join(file));
        // Without nohz_full the kernel writes "(null)".
        text.ok().and_then(|text| cpulist::parse(&text)).unwrap_or_default()
    };
    let present = list("present");
    let cpus: Vec<u32> = match wanted {
        Cpus::List(wanted) => wanted.intersection(&present).map(|cpu| cpu.0).collect(),
        Cpus::Housekeeping => {
            let (isolated, full) = (list("isolated"), list("nohz_full"));
            let kept = |cpu| isolated.contains(cpu) || full.contains(cpu);
            present.iter().filter(|cpu| !kept(cpu)).map(|cpu| cpu.0).collect()
        }
    };
    cpus
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bulkhead_core::model::CpuId;

    #[test]
    fn cpus_that_somebody_keeps_are_not_probed_unless_they_are_configured() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("sys/devices/system/cpu");
        fs::create_dir_all(&dir).unwrap();
        for (file, text) in [("present", "0-5\n"), ("isolated", "2\n"), ("nohz_full", "4-5\n")] {
            fs::write(dir.join(file), text).unwrap();
        }
        assert_eq!(probed(root.path(), &Cpus::Housekeeping), [0, 1, 3]);
        let list = Cpus::List([CpuId(2), CpuId(9)].into());
        assert_eq!(probed(root.path(), &list), [2]);
        fs::write(dir.join("nohz_full"), "(null)\n").unwrap();
        assert_eq!(probed(root.path(), &Cpus::Housekeeping), [0, 1, 3, 4, 5]);
    }
}
