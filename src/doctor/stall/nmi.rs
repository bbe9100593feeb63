//! A watchdog that ends in an NMI ends in a panic: without the sysctl for it the
//! kernel takes the NMI, says that it is dazed, and hangs on.

use super::{set_ipmi_watchdog, set_sysctls, sysctl, Chain, Check};
use crate::host::Root;

const NAME: &str = "nmi";

/// Either makes an NMI that nobody knows a panic (unknown_nmi_error() and
/// io_check_error() in arch/x86/kernel/nmi.c).
const SYSCTLS: [&str; 2] = ["kernel.unknown_nmi_panic", "kernel.panic_on_unrecovered_nmi"];

/// The identities of drivers (drivers/watchdog/hpwdt.c, of HP and of HPE;
/// drivers/watchdog/i6300esb.c).
const HPWDT: &str = "iLO2+ HW Watchdog";
const I6300ESB: &str = "i6300ESB";

pub(super) fn check(root: &Root, chain: &Chain) -> Option<Check> {
    let has = |name: &str| chain.watchdogs.iter().any(|w| w.device.identity.contains(name));
    let ipmi = chain.ipmi.as_ref().filter(|ipmi| ipmi.preaction == "pre_nmi");
    if let Some(ipmi) = ipmi.filter(|ipmi| ipmi.preop != "preop_panic") {
        // ipmi_nmi() in ipmi_watchdog.c takes the NMI for itself, whatever the
        // sysctl says.
        let found = format!("the BMC's watchdog raises an NMI, and {} lets it pass", ipmi.preop);
        return Some(Check::fail(NAME, found, set_ipmi_watchdog()));
    }
    let who = if ipmi.is_some() {
        "the BMC's watchdog"
    } else if has(HPWDT) {
        "hpwdt"
    } else if has(I6300ESB) {
        "i6300esb, if the hypervisor is told so (QEMU: -action watchdog=inject-nmi),"
    } else {
        return None;
    };
    if SYSCTLS.iter().any(|name| sysctl(root, name).is_some_and(|value| value != 0)) {
        return Some(Check::ok(NAME, format!("{who} raises an NMI, and that is a panic")));
    }
    let found = format!(
        "{who} raises an NMI, and kernel.unknown_nmi_panic is 0: the host would hang on, neither \
         dumped nor reset"
    );
    let mend = format!("sysctl kernel.unknown_nmi_panic=1\nfor each boot: {}", set_sysctls());
    // What a hypervisor would do cannot be seen; while nobody relies on it, it
    // is no failure.
    let possible = ipmi.is_none() && !has(HPWDT) && !chain.is_in_use();
    Some(if possible { Check::warn } else { Check::fail }(NAME, found, mend))
}
