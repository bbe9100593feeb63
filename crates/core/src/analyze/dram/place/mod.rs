//! Where a decoded memory error lies, out of `ras:mc_event`'s layers and the
//! free text of its driver.

mod apei;
mod fields;
mod intel;
mod layers;
mod retry_log;

pub use apei::handle;
pub use layers::Layers;

use crate::model::{DimmId, DramPlace, Machine, McEvent};

/// The place that an event names; `None` where it names not even a channel.
///
/// What is not known stays `None`: a number that the text does not have, that
/// is not one, or that is beyond what DRAM has. Where the DIMM is not fully
/// known, nothing inside it is told, since two DIMMs' rows would look like one.
///
/// Allocates nothing.
pub fn of_mc_event(event: &McEvent, machine: &Machine) -> Option<DramPlace> {
    let place = match apei::place(&event.driver_detail) {
        Some(place) => firmware(place, event, machine),
        None => edac(event, machine),
    };
    let dimm = &place.dimm;
    dimm.channel.or(dimm.slot).map(|_| place)
}

/// What a driver's text alone tells of a place inside a DIMM, and of the DIMM
/// as far as it names one: to show a record where the host that it came from is
/// not known. `None` for a text of no known dialect.
pub fn of_detail(detail: &str) -> Option<DramPlace> {
    apei::place(detail).or_else(|| of_intel(detail))
}

fn of_intel(detail: &str) -> Option<DramPlace> {
    intel::skx(detail).or_else(|| intel::sb(detail))
}

/// An event of a driver that decodes errors by itself.
fn edac(event: &McEvent, machine: &Machine) -> DramPlace {
    let inside = of_intel(&event.driver_detail);
    let layers = match inside {
        Some(_) => Some(Layers::ChannelSlot),
        None => layers::of_event(event, machine),
    };
    let place = match layers {
        Some(layers) => by_layers(layers, event, machine),
        None => {
            let dimm = machine.dimm_by_label(&event.label).and_then(|dimm| dimm.id);
            outside(dimm.unwrap_or_default())
        }
    };
    let Some(inside) = inside else { return place };
    let dimm = DimmId { socket: inside.dimm.socket, ..place.dimm };
    match place.dimm.slot {
        Some(_) => DramPlace { dimm, ..inside },
        None => outside(dimm),
    }
}

/// An event that firmware decoded. Firmware that names no node, card or module
/// may name the DIMM by its SMBIOS handle, which ghes_edac turns into its layer.
fn firmware(place: DramPlace, event: &McEvent, machine: &Machine) -> DramPlace {
    let DimmId { socket, channel, slot, .. } = place.dimm;
    if socket.and(channel).and(slot).is_some() {
        return place;
    }
    let by_handle = by_layers(Layers::Memory, event, machine).dimm;
    match by_handle.slot {
        Some(_) => DramPlace { dimm: by_handle, ..place },
        None => outside(place.dimm),
    }
}

fn by_layers(layers: Layers, event: &McEvent, machine: &Machine) -> DramPlace {
    let indices = [event.top_layer, event.middle_layer].map(i64::from);
    layers.place(u16::from(event.mc_index), indices, machine.vendor)
}

/// Of a DIMM, nothing more.
fn outside(dimm: DimmId) -> DramPlace {
    DramPlace { dimm, ..DramPlace::default() }
}

#[cfg(test)]
mod tests;
