//! Raw records of CXL memory devices' event logs, as the kernel's tracepoints
//! show them (drivers/cxl/core/trace.h).
//!
//! CXL 3.1 section 8.2.9.2.1 describes the event records. Fields that only
//! newer kernels show are zero or `None` where a kernel has not got them.

use super::{Bytes, PhysAddr};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What `cxl:cxl_dram` and `cxl:cxl_general_media` both tell.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CxlMedia {
    /// Memory device, `memN`.
    pub memdev: String,
    /// The PCI device behind it.
    pub host: String,
    /// Serial number of the device.
    #[serde(with = "super::hex")]
    pub serial: u64,
    /// Which log: 0 informational, 1 warning, 2 failure, 3 fatal.
    pub log: i32,
    /// Kind of event record.
    pub hdr_uuid: Uuid,
    /// Event record flags: bit 2 permanent condition, 3 maintenance needed,
    /// 4 performance degraded, 5 hardware replacement needed.
    pub hdr_flags: u32,
    /// Handle of the record.
    pub hdr_handle: u16,
    /// Handle of a record that belongs to it.
    pub hdr_related_handle: u16,
    /// The device's time in ns, or 0.
    pub hdr_timestamp: u64,
    /// Bytes of the record.
    pub hdr_length: u8,
    /// Maintenance operation class asked for.
    pub hdr_maint_op_class: u8,
    /// Its subclass.
    pub hdr_maint_op_sub_class: u8,
    /// The device's own physical address: no address of the host's.
    #[serde(with = "super::hex")]
    pub dpa: u64,
    /// Bit 0 volatile, bit 1 not repairable.
    pub dpa_flags: u8,
    /// Bit 0 uncorrectable, bit 1 threshold, bit 2 poison list overflow.
    pub descriptor: u8,
    /// Memory event type; DRAM and general media number them differently.
    #[serde(rename = "type")]
    pub kind: u8,
    /// Memory event subtype.
    pub sub_type: u8,
    /// What the device did at the time.
    pub transaction_type: u8,
    /// Which of the fields mean something; DRAM and general media number them
    /// differently.
    pub validity_flags: u16,
    /// Channel of the device.
    pub channel: u8,
    /// Rank.
    pub rank: u8,
    /// The component, as the device names it.
    pub comp_id: Bytes,
    /// The host's physical address; all ones unknown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hpa: Option<PhysAddr>,
    /// The other address that may be meant, where local memory caches the
    /// device's (extended linear cache); all ones where there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hpa_alias0: Option<PhysAddr>,
    /// The region that the address lies in, may be empty.
    pub region_name: String,
    /// Its UUID, may be nil.
    pub region_uuid: Uuid,
    /// Bit 0: corrected errors in several media components; bit 1: their
    /// programmable threshold was exceeded.
    pub cme_threshold_ev_flags: u8,
}

/// An error of a CXL device's DRAM: the fields of `cxl:cxl_dram`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CxlDram {
    /// What other media tell, too.
    pub media: CxlMedia,
    /// Which nibbles of the bus were wrong.
    pub nibble_mask: u32,
    /// Bank group.
    pub bank_group: u8,
    /// Bank.
    pub bank: u8,
    /// Row.
    pub row: u32,
    /// Column.
    pub column: u16,
    /// Which bits were corrected, per nibble.
    pub cor_mask: Bytes,
    /// Sub-channel.
    pub sub_channel: u8,
    /// Corrected volatile memory errors so far: a running total.
    pub cvme_count: u32,
}

/// An error of a CXL device's media of whichever kind: the fields of
/// `cxl:cxl_general_media`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CxlGeneralMedia {
    /// What DRAM tells, too.
    pub media: CxlMedia,
    /// Device (chip) of the rank, a bit each.
    pub device: u32,
    /// Corrected memory errors so far: a running total.
    pub cme_count: u32,
}
