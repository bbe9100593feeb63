//! EDAC's own totals in sysfs: a cross-check on what the event path saw.

use super::{HostError, Root};

/// Corrected and uncorrected errors of all memory controllers since they were
/// registered or reset, with and without a place
/// (Documentation/admin-guide/ras.rst, `mcX/{ce,ue}_count`, which include the
/// `*_noinfo_count`s). `None` where no controller is registered.
///
/// # Errors
/// A counter that is there and cannot be read.
pub fn total(root: &Root) -> Result<Option<u64>, HostError> {
    let mut total = None;
    for mc in root.list("sys/devices/system/edac/mc")? {
        if mc.strip_prefix("mc").is_none_or(|n| n.parse::<u32>().is_err()) {
            continue;
        }
        for counter in ["ce_count", "ue_count"] {
            let text = root.read(&format!("sys/devices/system/edac/mc/{mc}/{counter}"))?;
            if let Ok(count) = text.trim().parse::<u64>() {
                total = Some(total.unwrap_or(0_u64).saturating_add(count));
            }
        }
    }
    Ok(total)
}
