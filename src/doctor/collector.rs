//! The kernel's own collector of corrected errors is off, or harmless.

use super::{bootloader, Check, AS_ROOT};
use crate::host::collector::{collector, Collector};
use crate::host::Root;

const NAME: &str = "cec";
const PARAMETER: &str = "ras=cec_disable";

pub(super) fn check(root: &Root) -> Check {
    match collector(root) {
        Collector::On { threshold } => {
            Check::warn(NAME, meaning(threshold), bootloader::add(root, "bulkhead-cec", PARAMETER))
        }
        Collector::Inert => {
            let found = "the kernel's own collector (CEC) runs, and gets no address that it could \
                         use from this processor";
            Check::ok(NAME, found)
        }
        Collector::Off(why) => {
            Check::ok(NAME, format!("the kernel's own collector (CEC) is off: {why}"))
        }
        Collector::Unknown(why) => {
            let found = format!("whether the kernel's own collector (CEC) is on is unknown: {why}");
            Check::unknown(NAME, found, AS_ROOT)
        }
    }
}

/// A sentence for `status`, if it is on.
pub(super) fn conflict(root: &Root) -> Option<String> {
    let Collector::On { threshold } = collector(root) else { return None };
    let meaning = meaning(threshold);
    Some(format!(
        "{meaning}. {PARAMETER} on the kernel command line turns it off; `bulkhead doctor` tells \
         how."
    ))
}

/// What it takes in, it marks as handled (MCE_HANDLED_CEC), and EDAC's decoders
/// skip it (skx_mce_check_error() in drivers/edac/skx_common.c,
/// amd_decode_mce() in drivers/edac/mce_amd.c).
fn meaning(threshold: Option<u64>) -> String {
    let when = match threshold {
        Some(errors) => format!("at {errors} corrected errors of a page"),
        None => "at its own threshold".to_owned(),
    };
    format!(
        "the kernel's own collector (CEC) is on: {when} it takes the page by itself, and EDAC \
         never sees the errors that it takes in, so rows, banks and DIMM labels stay unknown"
    )
}
