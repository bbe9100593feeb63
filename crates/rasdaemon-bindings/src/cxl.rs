//! Events of CXL memory devices (`ras-cxl-handler.c`); since 0.8.1.
//!
//! No version stores `validity_flags`: what a device did not tell stands there as
//! zero. Ids of logical devices, heads and PLDM (0.8.3 and 0.8.4) are left out.

use super::tables::Row;
use super::value::{Columns, ValueError};

/// What both tables hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CxlMedia {
    /// Memory device, `memN`.
    pub memdev: Option<String>,
    /// The PCI device behind it.
    pub host: Option<String>,
    /// Serial number of the device.
    pub serial: Option<u64>,
    /// Which log: `Informational`, `Warning`, `Failure`, `Fatal` or `Unknown`.
    pub log_type: Option<String>,
    /// Kind of event record, a UUID. Since 0.8.2 it is a copy of `region_uuid`:
    /// rasdaemon keeps one buffer for the text of both.
    pub hdr_uuid: Option<String>,
    /// Event record flags.
    pub hdr_flags: Option<u32>,
    /// Handle of the record.
    pub hdr_handle: Option<u16>,
    /// Handle of a record that belongs to it.
    pub hdr_related_handle: Option<u16>,
    /// The device's own time in seconds since the Unix epoch; 0 for none.
    pub hdr_ts: Option<i64>,
    /// Bytes of the record.
    pub hdr_length: Option<u8>,
    /// Maintenance operation class asked for.
    pub hdr_maint_op_class: Option<u8>,
    /// Its subclass; since 0.8.3.
    pub hdr_maint_op_sub_class: Option<u8>,
    /// The device's own physical address.
    pub dpa: Option<u64>,
    /// Bit 0 volatile, bit 1 not repairable.
    pub dpa_flags: Option<u8>,
    /// Bit 0 uncorrectable, bit 1 threshold, bit 2 poison list overflow.
    pub descriptor: Option<u8>,
    /// Memory event type; the column `type`.
    pub kind: Option<u8>,
    /// Memory event subtype; since 0.8.3.
    pub sub_type: Option<u8>,
    /// What the device did at the time.
    pub transaction_type: Option<u8>,
    /// Channel of the device.
    pub channel: Option<u8>,
    /// Rank.
    pub rank: Option<u8>,
    /// The component, as the device names it; of DRAM since 0.8.3.
    pub comp_id: Option<Vec<u8>>,
    /// The host's physical address, all ones unknown; since 0.8.2.
    pub hpa: Option<u64>,
    /// The other address that may be meant, all ones for none; since 0.8.4.
    pub hpa_alias0: Option<u64>,
    /// The region that the address lies in; since 0.8.2.
    pub region: Option<String>,
    /// Its UUID; since 0.8.2.
    pub region_uuid: Option<String>,
    /// Why the threshold of corrected errors spoke up; since 0.8.3.
    pub cme_threshold_ev_flags: Option<u8>,
}

impl CxlMedia {
    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(CxlMedia {
            memdev: columns.text("memdev")?,
            host: columns.text("host")?,
            serial: columns.word("serial")?,
            log_type: columns.text("log_type")?,
            hdr_uuid: columns.text("hdr_uuid")?,
            hdr_flags: columns.word32("hdr_flags")?,
            hdr_handle: columns.int("hdr_handle")?,
            hdr_related_handle: columns.int("hdr_related_handle")?,
            hdr_ts: columns.seconds("hdr_ts")?,
            hdr_length: columns.int("hdr_length")?,
            hdr_maint_op_class: columns.int("hdr_maint_op_class")?,
            hdr_maint_op_sub_class: columns.int("hdr_maint_op_sub_class")?,
            dpa: columns.word("dpa")?,
            dpa_flags: columns.int("dpa_flags")?,
            descriptor: columns.int("descriptor")?,
            kind: columns.int("type")?,
            sub_type: columns.int("sub_type")?,
            transaction_type: columns.int("transaction_type")?,
            channel: columns.int("channel")?,
            rank: columns.int("rank")?,
            comp_id: columns.bytes("comp_id")?,
            hpa: columns.word("hpa")?,
            hpa_alias0: columns.word("hpa_alias0")?,
            region: columns.text("region")?,
            region_uuid: columns.text("region_uuid")?,
            cme_threshold_ev_flags: columns.int("cme_threshold_ev_flags")?,
        })
    }
}

/// The columns of [`CxlMedia`], and more.
macro_rules! media_and {
    ($($more:literal),*) => {
        &[
            "memdev",
            "host",
            "serial",
            "log_type",
            "hdr_uuid",
            "hdr_flags",
            "hdr_handle",
            "hdr_related_handle",
            "hdr_ts",
            "hdr_length",
            "hdr_maint_op_class",
            "hdr_maint_op_sub_class",
            "dpa",
            "dpa_flags",
            "descriptor",
            "type",
            "sub_type",
            "transaction_type",
            "channel",
            "rank",
            "comp_id",
            "hpa",
            "hpa_alias0",
            "region",
            "region_uuid",
            "cme_threshold_ev_flags",
            $($more),*
        ]
    };
}

/// `cxl_dram_event`: an error of a device's DRAM.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CxlDramEvent {
    /// What the other table holds, too.
    pub media: CxlMedia,
    /// Which nibbles of the bus were wrong.
    pub nibble_mask: Option<u32>,
    /// Bank group.
    pub bank_group: Option<u8>,
    /// Bank.
    pub bank: Option<u8>,
    /// Row.
    pub row: Option<u32>,
    /// Column.
    pub column: Option<u16>,
    /// Which bits were corrected.
    pub cor_mask: Option<Vec<u8>>,
    /// Sub-channel; since 0.8.3.
    pub sub_channel: Option<u8>,
    /// Corrected volatile memory errors so far; since 0.8.3.
    pub cvme_count: Option<u32>,
}

impl Row for CxlDramEvent {
    const TABLE: &'static str = "cxl_dram_event";
    const COLUMNS: &'static [&'static str] = media_and![
        "nibble_mask",
        "bank_group",
        "bank",
        "row",
        "column",
        "cor_mask",
        "sub_channel",
        "cvme_count"
    ];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(CxlDramEvent {
            media: CxlMedia::read(columns)?,
            nibble_mask: columns.word32("nibble_mask")?,
            bank_group: columns.int("bank_group")?,
            bank: columns.int("bank")?,
            row: columns.word32("row")?,
            column: columns.int("column")?,
            cor_mask: columns.bytes("cor_mask")?,
            sub_channel: columns.int("sub_channel")?,
            cvme_count: columns.word32("cvme_count")?,
        })
    }
}

/// `cxl_general_media_event`: an error of a device's media of whichever kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CxlGeneralMediaEvent {
    /// What the other table holds, too.
    pub media: CxlMedia,
    /// Device (chip) of the rank, a bit each.
    pub device: Option<u32>,
    /// Corrected memory errors so far; since 0.8.3.
    pub cme_count: Option<u32>,
}

impl Row for CxlGeneralMediaEvent {
    const TABLE: &'static str = "cxl_general_media_event";
    const COLUMNS: &'static [&'static str] = media_and!["device", "cme_count"];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(CxlGeneralMediaEvent {
            media: CxlMedia::read(columns)?,
            device: columns.word32("device")?,
            cme_count: columns.word32("cme_count")?,
        })
    }
}
