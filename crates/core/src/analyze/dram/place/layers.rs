//! What the layers of an EDAC driver mean: `top_layer` of one is a channel, of
//! another a chip select.

use crate::model::{DimmId, DramPlace, Machine, McEvent, Vendor};

/// The layers of a memory controller, outermost first (edac_layer_name[] in
/// drivers/edac/edac_mc.c).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layers {
    /// Channel and slot: skx, i10nm, sb, igen6 and others.
    ChannelSlot,
    /// Chip select and channel of a driver that sees ranks, not DIMMs.
    CsrowChannel,
    /// DIMMs in a row, without a known place: ghes.
    Memory,
}

impl Layers {
    /// By their names, outermost first; `None` where there are others.
    pub fn by_names<'n>(mut names: impl Iterator<Item = &'n str>) -> Option<Layers> {
        match (names.next(), names.next(), names.next()) {
            (Some("channel"), Some("slot"), None) => Some(Layers::ChannelSlot),
            (Some("csrow"), Some("channel"), None) => Some(Layers::CsrowChannel),
            (Some("memory"), None, None) => Some(Layers::Memory),
            _ => None,
        }
    }

    /// The DIMM of memory controller `mcN` at these indices of the two outermost
    /// layers, and the rank where a layer counts ranks. A negative index is
    /// unknown; a slot is known only with its channel.
    pub fn place(self, controller: u16, layers: [i64; 2], vendor: Vendor) -> DramPlace {
        let [top, middle] = layers.map(|index| u16::try_from(index).ok());
        let mut place = DramPlace {
            dimm: DimmId { controller: Some(controller), ..DimmId::default() },
            ..DramPlace::default()
        };
        match self {
            Layers::ChannelSlot => {
                place.dimm.channel = top;
                place.dimm.slot = top.and(middle);
            }
            Layers::Memory => place.dimm.slot = top,
            Layers::CsrowChannel => {
                let csrow = middle.and(top);
                place.dimm.channel = middle;
                // amd64_edac: two chip selects to a DIMM
                // (umc_debug_display_dimm_sizes() in drivers/edac/amd64_edac.c).
                if vendor == Vendor::Amd {
                    place.dimm.slot = csrow.map(|csrow| csrow / 2);
                    place.rank = csrow.map(|csrow| csrow % 2);
                } else {
                    place.rank = csrow;
                }
            }
        }
        place
    }
}

/// What the layers of an event mean whose text does not say it: by the name
/// that EDAC's core gives to DIMMs without a label, `mc#0csrow#3channel#1`
/// (edac_mc_alloc_dimms()), or because amd64_edac, which leaves the text empty,
/// is the only one of its vendor.
pub fn of_event(event: &McEvent, machine: &Machine) -> Option<Layers> {
    if let Some(label) = event.label.strip_prefix("mc#") {
        let first = label.split_ascii_whitespace().next().unwrap_or_default();
        // "0csrow#3channel#1": a name ends where its number begins.
        let names =
            first.split('#').map(|part| part.trim_start_matches(|c: char| c.is_ascii_digit()));
        return Layers::by_names(names.filter(|name| !name.is_empty()));
    }
    let amd64 = machine.vendor == Vendor::Amd && event.driver_detail.is_empty();
    amd64.then_some(Layers::CsrowChannel)
}
