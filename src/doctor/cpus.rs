//! The kernel lets CPUs go.

use super::Check;
use bulkhead_core::model::Machine;

const NAME: &str = "cpu-hotplug";

pub(super) fn check(machine: &Machine) -> Check {
    let all = machine.cpus.len();
    let removable = machine.cpus.values().filter(|cpu| cpu.removable).count();
    if all == 0 {
        let found = "the CPUs cannot be read from /sys/devices/system/cpu";
        return Check::fail(NAME, found, "mount -t sysfs sysfs /sys");
    }
    if removable == 0 {
        let found = format!("none of {all} CPUs can be taken off line");
        return Check::warn(NAME, found, "boot a kernel with CONFIG_HOTPLUG_CPU");
    }
    Check::ok(NAME, format!("{removable} of {all} CPUs can be taken off line"))
}
