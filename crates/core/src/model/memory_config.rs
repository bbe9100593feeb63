//! Which memory is behind the host's addresses.
//!
//! With interleaving one DIMM more or less, or a firmware setting, moves every
//! address to another cell. So what is known of an address holds only in the
//! configuration it was learned in.

use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Makes [`MemoryConfigId`]s unlike any other UUID v5.
const NAMESPACE: Uuid = Uuid::from_u128(0x7d1c_4a0e_52f3_4f6b_9d0b_6f2b_91c8_33aa);

/// Names a [`MemoryConfig`]: equal configurations have equal names, on every
/// host and in every version. Nil where nothing is known.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct MemoryConfigId(pub Uuid);

/// All that decides which cell an address is, as far as firmware tells.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct MemoryConfig {
    /// BIOS version and date, which stand for its settings' defaults.
    pub bios: Option<String>,
    /// The modules, in the order of SMBIOS.
    pub modules: Vec<Module>,
    /// Large ranges of memory as firmware lists them, in ascending order.
    pub ranges: Vec<MemoryRange>,
}

/// A DIMM in its slot (SMBIOS type 17).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub struct Module {
    /// Slot, as printed on the board.
    pub locator: Option<String>,
    /// Bank of slots.
    pub bank_locator: Option<String>,
    /// Serial number.
    pub serial: Option<String>,
    /// Part number.
    pub part: Option<String>,
    /// Size in bytes.
    pub size_bytes: u64,
}

/// An entry of the firmware's memory map (`/sys/firmware/memmap`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct MemoryRange {
    /// First byte.
    pub start: u64,
    /// Last byte.
    pub end: u64,
    /// As the kernel names it, such as `System RAM`.
    pub kind: String,
}

impl MemoryConfig {
    /// Its name. Nil for a configuration of which nothing is known: two hosts
    /// of that kind are not known to be alike.
    pub fn id(&self) -> MemoryConfigId {
        if *self == MemoryConfig::default() {
            return MemoryConfigId::default();
        }
        // Debug text of plain data: every field, quoted, in a fixed order.
        let text = format!("{:?} {:?} {:?}", self.bios, self.modules, self.ranges);
        MemoryConfigId(Uuid::new_v5(&NAMESPACE, text.as_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> MemoryConfig {
        let module = Module { locator: Some("A1".to_owned()), ..Module::default() };
        let range = MemoryRange { start: 0, end: 0xffff, kind: "System RAM".to_owned() };
        MemoryConfig { bios: Some("1.2".to_owned()), modules: vec![module], ranges: vec![range] }
    }

    #[test]
    fn equal_configurations_have_equal_names() {
        assert_eq!(config().id(), config().id());
    }

    #[test]
    fn whatever_differs_names_another_configuration() {
        let mut serial = config();
        serial.modules[0].serial = Some("1".to_owned());
        let mut range = config();
        range.ranges[0].end += 1;
        let mut bios = config();
        bios.bios = None;
        for other in [serial, range, bios, MemoryConfig::default()] {
            assert_ne!(other.id(), config().id(), "{other:?}");
        }
    }

    #[test]
    fn what_is_not_known_has_no_name() {
        assert_eq!(MemoryConfig::default().id(), MemoryConfigId::default());
    }
}
