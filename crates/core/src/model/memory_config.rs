//! Which memory is behind the host's addresses.
//!
//! With interleaving one DIMM more or less, or a firmware setting, moves every
//! address to another cell. So what is known of an address holds only in the
//! configuration it was learned in.

use super::Dimm;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Makes [`MemoryConfigId`]s unlike any other UUID v5.
const NAMESPACE: Uuid = Uuid::from_u128(0x7d1c_4a0e_52f3_4f6b_9d0b_6f2b_91c8_33aa);

/// DIMMs named one by one when a configuration changes; a sentence with more is
/// not read.
const MOST_SAID: usize = 6;

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
    /// BIOS version and date: another one may interleave the DIMMs otherwise.
    pub bios: Option<String>,
    /// The modules, in the order of SMBIOS.
    pub modules: Vec<Module>,
    /// Large ranges of memory as firmware lists them, in ascending order.
    pub ranges: Vec<MemoryRange>,
}

/// The memory that a host has, and what is known of the one it had.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct KnownMemory {
    /// What is there now.
    pub now: MemoryConfig,
    /// Configurations of earlier boots, that of the last boot last, under the
    /// names that they had then.
    pub before: Vec<(MemoryConfigId, MemoryConfig)>,
}

impl KnownMemory {
    /// The configuration of the last boot that could read one.
    pub fn last(&self) -> Option<MemoryConfigId> {
        self.before.last().map(|(id, _)| *id)
    }

    /// What became different since the configuration `id`, in words for people.
    pub fn changes_since(&self, id: MemoryConfigId) -> String {
        if self.now == MemoryConfig::default() {
            return "firmware does not tell which memory it is now".to_owned();
        }
        match self.before.iter().find(|(known, _)| *known == id) {
            Some((_, before)) => self.now.changes_since(before),
            None => "what it was is no longer known in detail".to_owned(),
        }
    }
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
    /// The most modules that are kept; the largest hosts have some 400.
    pub const MOST_MODULES: usize = 1024;

    /// Its name. Nil for a configuration of which nothing is known: two hosts
    /// of that kind are not known to be alike.
    pub fn id(&self) -> MemoryConfigId {
        if *self == MemoryConfig::default() {
            return MemoryConfigId::default();
        }
        let MemoryConfig { bios, modules, ranges } = self;
        let mut form = Canonical::default();
        form.text(bios.as_deref());
        form.number(modules.len() as u64);
        for Module { locator, bank_locator, serial, part, size_bytes } in modules {
            for text in [locator, bank_locator, serial, part] {
                form.text(text.as_deref());
            }
            form.number(*size_bytes);
        }
        form.number(ranges.len() as u64);
        for MemoryRange { start, end, kind } in ranges {
            form.number(*start);
            form.number(*end);
            form.text(Some(kind));
        }
        MemoryConfigId(Uuid::new_v5(&NAMESPACE, &form.0))
    }

    /// What became different since `before`, in words for people, such as
    /// "DIMM A2 (serial 7) is gone, BIOS 1.2 is 1.3 now"; empty where nothing
    /// did.
    pub fn changes_since(&self, before: &MemoryConfig) -> String {
        let absent = |module: &&Module, from: &[Module]| !from.contains(module);
        let gone = before.modules.iter().filter(|module| absent(module, &self.modules));
        let new = self.modules.iter().filter(|module| absent(module, &before.modules));
        let gone = gone.map(|module| format!("{} is gone", module.fru()));
        let new = new.map(|module| format!("{} is new", module.fru()));
        let mut said: Vec<String> = gone.chain(new).collect();
        let more = said.len().saturating_sub(MOST_SAID);
        said.truncate(MOST_SAID);
        match more {
            0 => {}
            1 => said.push("one more DIMM is gone or new".to_owned()),
            more => said.push(format!("{more} more DIMMs are gone or new")),
        }
        if said.is_empty() && self.modules != before.modules {
            said.push("the DIMMs are listed in another order".to_owned());
        }
        if self.bios != before.bios {
            let name = |bios: &Option<String>| bios.clone().unwrap_or("not known".to_owned());
            said.push(format!("BIOS {} is {} now", name(&before.bios), name(&self.bios)));
        }
        if self.ranges != before.ranges {
            said.push("firmware lists other ranges of memory".to_owned());
        }
        said.join(", ")
    }
}

impl Module {
    /// As people find it.
    fn fru(&self) -> String {
        let Module { locator, bank_locator, serial, part, size_bytes } = self.clone();
        let label = "in a slot without a name".to_owned();
        Dimm { label, locator, bank_locator, serial, part, size_bytes, ..Dimm::default() }.fru()
    }
}

/// The bytes that a name is made of: never changes its form. Every text has its
/// length before it, so that no two configurations have the same bytes.
#[derive(Default)]
struct Canonical(Vec<u8>);

impl Canonical {
    fn number(&mut self, number: u64) {
        self.0.extend(number.to_le_bytes());
    }

    fn text(&mut self, text: Option<&str>) {
        self.0.push(u8::from(text.is_some()));
        if let Some(text) = text {
            self.number(text.len() as u64);
            self.0.extend(text.as_bytes());
        }
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

    #[test]
    fn a_name_is_the_same_in_every_version() {
        assert_eq!(config().id().0.to_string(), "6597fe70-39c8-5f88-b169-962c87da5684");
    }

    #[test]
    fn what_changed_is_said_by_the_names_of_the_parts() {
        let dimm = |slot: &str, serial: &str| Module {
            locator: Some(slot.to_owned()),
            serial: Some(serial.to_owned()),
            ..Module::default()
        };
        let before = MemoryConfig { modules: vec![dimm("A1", "1"), dimm("A2", "2")], ..config() };
        let mut after = before.clone();
        assert_eq!(after.changes_since(&before), "");
        after.modules[1] = dimm("B1", "3");
        after.bios = Some("1.3".to_owned());
        after.ranges.clear();
        assert_eq!(
            after.changes_since(&before),
            "DIMM A2 (serial 2) is gone, DIMM B1 (serial 3) is new, BIOS 1.2 is 1.3 now, firmware \
             lists other ranges of memory"
        );
        let swapped = MemoryConfig { modules: vec![dimm("A2", "2"), dimm("A1", "1")], ..config() };
        assert_eq!(swapped.changes_since(&before), "the DIMMs are listed in another order");
    }

    #[test]
    fn a_host_that_lost_many_dimms_is_told_of_some() {
        let module = |n: usize| Module { locator: Some(n.to_string()), ..Module::default() };
        let before = MemoryConfig { modules: (0..100).map(module).collect(), ..config() };
        let said = MemoryConfig { modules: vec![], ..config() }.changes_since(&before);
        assert!(said.ends_with("DIMM 5 is gone, 94 more DIMMs are gone or new"), "{said}");
    }
}
