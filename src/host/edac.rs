//! EDAC in sysfs: its totals, a cross-check on what the event path saw, and the
//! DIMMs it knows.

use super::{HostError, Root};
use bulkhead_core::analyze::dram::place::Layers;
use bulkhead_core::model::{Dimm, DimmId, Vendor};

const CONTROLLERS: &str = "sys/devices/system/edac/mc";

/// The longest label: the kernel has 32 bytes for it (EDAC_MC_LABEL_LEN,
/// include/linux/edac.h).
const LONGEST: usize = 64;

/// Memory controllers by number, with their directories.
pub(crate) fn controllers(root: &Root) -> Result<Vec<(u16, String)>, HostError> {
    let numbered = |mc: &String| Some((mc.strip_prefix("mc")?.parse().ok()?, mc.clone()));
    let mut found: Vec<(u16, String)> =
        root.list(CONTROLLERS)?.iter().filter_map(numbered).collect();
    found.sort();
    Ok(found.into_iter().map(|(mc, name)| (mc, format!("{CONTROLLERS}/{name}"))).collect())
}

/// Corrected and uncorrected errors of all memory controllers since they were
/// registered or reset, with and without a place
/// (Documentation/admin-guide/ras.rst, `mcX/{ce,ue}_count`, which include the
/// `*_noinfo_count`s). `None` where no controller is registered.
///
/// # Errors
/// A counter that is there and cannot be read.
pub fn total(root: &Root) -> Result<Option<u64>, HostError> {
    let mut total = None;
    for (_, dir) in controllers(root)? {
        for counter in ["ce_count", "ue_count"] {
            let text = root.read(&format!("{dir}/{counter}"))?;
            if let Ok(count) = text.trim().parse::<u64>() {
                total = Some(total.unwrap_or(0_u64).saturating_add(count));
            }
        }
    }
    Ok(total)
}

/// The DIMMs that have memory, in the order of their controllers; none where
/// nothing can be read
/// (Documentation/ABI/testing/sysfs-devices-edac, `mcX/(dimm|rank)Y/*`).
///
/// A driver that sees ranks, not DIMMs, has a directory for each: those of one
/// DIMM become one, under the first one's label.
pub fn dimms(root: &Root, vendor: Vendor) -> Vec<Dimm> {
    let mut dimms: Vec<Dimm> = Vec::new();
    for (mc, dir) in controllers(root).unwrap_or_default() {
        for name in root.list(&dir).unwrap_or_default() {
            if !(name.starts_with("dimm") || name.starts_with("rank")) {
                continue;
            }
            let Some(dimm) = dimm(root, mc, &format!("{dir}/{name}"), vendor) else { continue };
            let slot = dimm.id.and_then(|id| id.slot);
            match dimms.iter_mut().find(|known| slot.is_some() && known.id == dimm.id) {
                Some(known) => known.size_bytes = known.size_bytes.saturating_add(dimm.size_bytes),
                None => dimms.push(dimm),
            }
        }
    }
    dimms
}

fn dimm(root: &Root, mc: u16, dir: &str, vendor: Vendor) -> Option<Dimm> {
    let text = |file: &str| root.read(&format!("{dir}/{file}")).ok();
    let location = text("dimm_location")?;
    let mib: u64 = text("size").and_then(|size| size.trim().parse().ok()).unwrap_or(0);
    let label = text("dimm_label").unwrap_or_default();
    Some(Dimm {
        id: id(&location, mc, vendor),
        label: label.trim().chars().filter(|c| !c.is_control()).take(LONGEST).collect(),
        size_bytes: mib.saturating_mul(1 << 20),
        ..Dimm::default()
    })
}

/// `channel 0 slot 1`: a layer and its index, outermost first
/// (edac_dimm_info_location() in drivers/edac/edac_mc.c).
fn id(location: &str, mc: u16, vendor: Vendor) -> Option<DimmId> {
    let words = || location.split_ascii_whitespace();
    let layers = Layers::by_names(words().step_by(2))?;
    let mut indices = words().skip(1).step_by(2).map(|index| index.parse().unwrap_or(-1));
    let indices = [indices.next().unwrap_or(-1), indices.next().unwrap_or(-1)];
    Some(layers.place(mc, indices, vendor).dimm)
}
