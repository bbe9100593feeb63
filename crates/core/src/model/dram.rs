//! Places in DRAM: which DIMM, and where inside it.

use super::PhysAddr;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::hash::{Hash, Hasher};

/// Who numbers the controllers and channels of a [`DimmId`]: the same numbers
/// of two of them are not the same DIMM.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(rename_all = "lowercase")]
pub enum DimmSpace {
    /// EDAC: `controller` is `mcN`, `channel` and `slot` are its layers.
    #[default]
    Edac,
    /// Firmware (CPER): node, card, module are `socket`, `channel`, `slot`.
    Firmware,
    /// CXL: `controller` is `memN`.
    Cxl,
    /// A log that somebody else decoded.
    Log,
}

/// A DIMM, as far as reports name it. Fields that the numbering has not, or the
/// report does not say, are `None`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct DimmId {
    /// Whose numbers these are.
    pub space: DimmSpace,
    /// Package.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub socket: Option<u16>,
    /// Memory controller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub controller: Option<u16>,
    /// Channel of the controller (of the socket where no controller is named).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Slot on the channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub slot: Option<u16>,
}

impl Hash for DimmId {
    /// As one number: a DIMM is looked up several times for each report, and
    /// hashing its fields one by one was 6% of a replay.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let numbers = [self.socket, self.controller, self.channel, self.slot];
        state.write_u128(numbers.into_iter().fold(self.space as u128, append));
    }
}

/// `number` behind `rest`, in 17 bits, so that none differs from each.
pub(crate) fn append(rest: u128, number: Option<u16>) -> u128 {
    rest << 17 | number.map_or(0, |number| u128::from(number) + 1)
}

/// Which bits of a burst were wrong: Intel's retry-read log of a x4 device, 8
/// beats of 4 DQ, bit `4 * beat + dq`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BitPattern(pub u32);

/// A place inside a DIMM. What the report does not say is `None`.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(default, deny_unknown_fields)]
pub struct DramPlace {
    /// Which DIMM.
    pub dimm: DimmId,
    /// Rank of the DIMM.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rank: Option<u16>,
    /// Die of a 3D-stacked rank (its chip id, C0 to C2): each has rows of its
    /// own under the same numbers.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub_rank: Option<u16>,
    /// Bank group.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank_group: Option<u16>,
    /// Bank (of the group, where there is one).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bank: Option<u16>,
    /// Row.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub row: Option<u32>,
    /// Column.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u32>,
    /// DRAM device (chip) of the rank.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device: Option<u16>,
    /// Which bits of the burst were wrong.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bits: Option<BitPattern>,
}

/// A DIMM slot with a DIMM in it, as EDAC and SMBIOS type 17 describe it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dimm {
    /// How reports name it, where EDAC knows it.
    pub id: Option<DimmId>,
    /// EDAC's label (`dimmN/dimm_label`); empty where it has none.
    pub label: String,
    /// SMBIOS: what is printed beside the slot.
    pub locator: Option<String>,
    /// SMBIOS: its bank.
    pub bank_locator: Option<String>,
    /// SMBIOS.
    pub manufacturer: Option<String>,
    /// SMBIOS.
    pub serial: Option<String>,
    /// SMBIOS.
    pub part: Option<String>,
    /// Size in bytes; 0 where not known.
    pub size_bytes: u64,
    /// SMBIOS handle of the memory device, by which CPER names it.
    pub handle: Option<u16>,
}

/// One memory error of a log that somebody else decoded, such as the CSV form
/// that `replay` reads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LoggedError {
    /// System physical address; `None` where the log has none.
    pub addr: Option<PhysAddr>,
    /// It was not corrected.
    pub uncorrected: bool,
    /// Found by patrol scrub, not by a demand read.
    pub scrub: bool,
    /// Where.
    pub place: DramPlace,
}

impl BitPattern {
    /// Distinct DQ lines with a wrong bit, 0 to 4.
    pub fn dqs(self) -> u32 {
        (0..4).filter(|dq| self.0 & (0x1111_1111 << dq) != 0).count() as u32
    }

    /// Distinct beats with a wrong bit, 0 to 8.
    pub fn beats(self) -> u32 {
        (0..8).filter(|beat| self.0 & (0xf << (4 * beat)) != 0).count() as u32
    }

    /// More than one DQ and more than one beat: no single cell's or line's
    /// doing.
    pub fn is_wide(self) -> bool {
        self.dqs() > 1 && self.beats() > 1
    }
}

impl DramPlace {
    /// "row 0x9, column 0x40, bank 1, rank 0": what is known of the place inside
    /// its DIMM, from the inside out; empty where nothing is. Rows and columns in
    /// hexadecimal, as the drivers of memory controllers write them.
    pub fn inside(&self) -> String {
        let hex = |number: u32| format!("{number:#x}");
        let decimal = |number: u16| number.to_string();
        let numbers = [
            ("row", self.row.map(hex)),
            ("column", self.column.map(hex)),
            ("bank", self.bank.map(decimal)),
            ("bank group", self.bank_group.map(decimal)),
            ("device", self.device.map(decimal)),
            ("sub-rank", self.sub_rank.map(decimal)),
            ("rank", self.rank.map(decimal)),
        ];
        let known = numbers.into_iter().filter_map(|(name, v)| Some(format!("{name} {}", v?)));
        known.collect::<Vec<_>>().join(", ")
    }
}

impl fmt::Display for DimmId {
    /// `socket 0 mc1 channel 2 slot 0`, as far as known.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let controller = match self.space {
            DimmSpace::Cxl => "mem",
            _ => "mc",
        };
        let mut gap = "";
        for (name, value) in [
            ("socket ", self.socket),
            (controller, self.controller),
            ("channel ", self.channel),
            ("slot ", self.slot),
        ] {
            if let Some(value) = value {
                write!(f, "{gap}{name}{value}")?;
                gap = " ";
            }
        }
        if gap.is_empty() {
            f.write_str("unknown DIMM")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_wide_only_over_more_than_one_dq_and_beat() {
        for (bits, dqs, beats, wide) in [
            (0x0000_0000, 0, 0, false),
            (0x0000_0002, 1, 1, false),
            (0x0c00_0000, 2, 1, false),
            (0x1000_1000, 1, 2, false),
            (0x000d_0009, 3, 2, true),
            (0xffff_ffff, 4, 8, true),
        ] {
            let pattern = BitPattern(bits);
            assert_eq!((pattern.dqs(), pattern.beats()), (dqs, beats), "{bits:#010x}");
            assert_eq!(pattern.is_wide(), wide, "{bits:#010x}");
        }
    }

    #[test]
    fn a_place_is_told_from_the_inside_out_as_far_as_it_is_known() {
        let place = DramPlace { device: Some(7), rank: Some(0), ..DramPlace::default() };
        assert_eq!(place.inside(), "device 7, rank 0");
        let place = DramPlace { row: Some(9), bank: Some(1), bits: Some(BitPattern(1)), ..place };
        assert_eq!(place.inside(), "row 0x9, bank 1, device 7, rank 0");
        assert_eq!(DramPlace::default().inside(), "");
    }

    #[test]
    fn a_dimm_is_named_as_far_as_it_is_known() {
        let id = DimmId { socket: Some(1), channel: Some(4), slot: Some(0), ..DimmId::default() };
        assert_eq!(id.to_string(), "socket 1 channel 4 slot 0");
        assert_eq!(DimmId::default().to_string(), "unknown DIMM");
    }
}
