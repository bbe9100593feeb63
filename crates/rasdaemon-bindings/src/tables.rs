//! The tables, and the rows of those that the kernel's own handlers fill.
//!
//! Every table and column below was compared over rasdaemon's tags v0.6.8 to
//! v0.8.5 (`ras-record.c`, the `*_fields` arrays).

use super::value::{Columns, ValueError};

/// Every table that one of these versions makes in its base configuration;
/// vendors' own ones (`hip08_…`, `yitian_…`) come beside them.
///
/// 0.6.8 to 0.8.0 have the first nine; 0.8.1 added `cxl_…`, 0.8.4
/// `signal_event`, 0.8.5 `reri_event`.
pub const TABLES: &[&str] = &[
    "mc_event",
    "mce_record",
    "memory_failure_event",
    "extlog_event",
    "aer_event",
    "non_standard_event",
    "arm_event",
    "devlink_event",
    "disk_errors",
    "cxl_poison_event",
    "cxl_aer_ue_event",
    "cxl_aer_ce_event",
    "cxl_overflow_event",
    "cxl_generic_event",
    "cxl_general_media_event",
    "cxl_dram_event",
    "cxl_memory_module_event",
    "signal_event",
    "reri_event",
];

/// A row of a table.
pub trait Row: Sized {
    /// The table.
    const TABLE: &'static str;
    /// The columns beside `id` and `timestamp`.
    const COLUMNS: &'static [&'static str];

    /// Makes one of its values.
    ///
    /// # Errors
    /// A value that its column cannot hold.
    fn read(columns: &Columns) -> Result<Self, ValueError>;
}

/// `mc_event`: a memory error decoded by an EDAC driver (`ras-mc-handler.c`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct McEvent {
    /// Errors that the event stands for.
    pub err_count: Option<u32>,
    /// `Corrected`, `Uncorrected`, `Deferred`, `Fatal` or `Info`. 0.6.8 writes
    /// a deferred one as `Info` (its handler has no case for it).
    pub err_type: Option<String>,
    /// The driver's message.
    pub err_msg: Option<String>,
    /// DIMM label.
    pub label: Option<String>,
    /// Memory controller.
    pub mc: Option<u8>,
    /// Layers of its memory; -1 for none.
    pub top_layer: Option<i8>,
    /// See `top_layer`.
    pub middle_layer: Option<i8>,
    /// See `top_layer`.
    pub lower_layer: Option<i8>,
    /// System physical address; 0 for none.
    pub address: Option<u64>,
    /// log2 of the grain in bytes: the trace event's `grain_bits`, under
    /// another name.
    pub grain: Option<u8>,
    /// ECC syndrome.
    pub syndrome: Option<u64>,
    /// The driver's own text.
    pub driver_detail: Option<String>,
}

impl Row for McEvent {
    const TABLE: &'static str = "mc_event";
    const COLUMNS: &'static [&'static str] = &[
        "err_count",
        "err_type",
        "err_msg",
        "label",
        "mc",
        "top_layer",
        "middle_layer",
        "lower_layer",
        "address",
        "grain",
        "syndrome",
        "driver_detail",
    ];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(McEvent {
            err_count: columns.word32("err_count")?,
            err_type: columns.text("err_type")?,
            err_msg: columns.text("err_msg")?,
            label: columns.text("label")?,
            mc: columns.int("mc")?,
            top_layer: columns.int("top_layer")?,
            middle_layer: columns.int("middle_layer")?,
            lower_layer: columns.int("lower_layer")?,
            address: columns.word("address")?,
            grain: columns.int("grain")?,
            syndrome: columns.word("syndrome")?,
            driver_detail: columns.text("driver_detail")?,
        })
    }
}

/// `mce_record`: an x86 machine check (`ras-mce-handler.c`). SYND and IPID are
/// not stored by any version, so AMD's bank types are not known; the columns of
/// decoded text are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MceRecord {
    /// MCG_CAP, its lower 32 bits.
    pub mcgcap: Option<u32>,
    /// MCG_STATUS, its lower 32 bits.
    pub mcgstatus: Option<u32>,
    /// MCi_STATUS.
    pub status: Option<u64>,
    /// MCi_ADDR.
    pub addr: Option<u64>,
    /// MCi_MISC.
    pub misc: Option<u64>,
    /// Instruction pointer.
    pub ip: Option<u64>,
    /// Time-stamp counter.
    pub tsc: Option<u64>,
    /// The kernel's own time of the record, seconds since the Unix epoch.
    pub walltime: Option<u64>,
    /// Protected processor inventory number; since 0.8.1.
    pub ppin: Option<u64>,
    /// Logical CPU.
    pub cpu: Option<u32>,
    /// CPUID leaf 1 EAX.
    pub cpuid: Option<u32>,
    /// Initial APIC id.
    pub apicid: Option<u32>,
    /// Package.
    pub socketid: Option<u32>,
    /// Bank.
    pub bank: Option<u8>,
    /// X86_VENDOR_*.
    pub cpuvendor: Option<u8>,
    /// Microcode revision; since 0.8.1.
    pub microcode: Option<u32>,
}

impl Row for MceRecord {
    const TABLE: &'static str = "mce_record";
    const COLUMNS: &'static [&'static str] = &[
        "mcgcap",
        "mcgstatus",
        "status",
        "addr",
        "misc",
        "ip",
        "tsc",
        "walltime",
        "ppin",
        "cpu",
        "cpuid",
        "apicid",
        "socketid",
        "bank",
        "cpuvendor",
        "microcode",
    ];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(MceRecord {
            mcgcap: columns.word32("mcgcap")?,
            mcgstatus: columns.word32("mcgstatus")?,
            status: columns.word("status")?,
            addr: columns.word("addr")?,
            misc: columns.word("misc")?,
            ip: columns.word("ip")?,
            tsc: columns.word("tsc")?,
            walltime: columns.word("walltime")?,
            ppin: columns.word("ppin")?,
            cpu: columns.word32("cpu")?,
            cpuid: columns.word32("cpuid")?,
            apicid: columns.word32("apicid")?,
            socketid: columns.word32("socketid")?,
            bank: columns.int("bank")?,
            cpuvendor: columns.int("cpuvendor")?,
            microcode: columns.word32("microcode")?,
        })
    }
}

/// `memory_failure_event`: what memory_failure() came to
/// (`ras-memory-failure-handler.c`).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemoryFailureEvent {
    /// Page frame number; stored as text, `0x…`.
    pub pfn: Option<u64>,
    /// The kind of page, in words.
    pub page_type: Option<String>,
    /// `Ignored`, `Failed`, `Delayed`, `Recovered`, or `unknown`-like text.
    pub action_result: Option<String>,
}

impl Row for MemoryFailureEvent {
    const TABLE: &'static str = "memory_failure_event";
    const COLUMNS: &'static [&'static str] = &["pfn", "page_type", "action_result"];

    fn read(columns: &Columns) -> Result<Self, ValueError> {
        Ok(MemoryFailureEvent {
            pfn: columns.word("pfn")?,
            page_type: columns.text("page_type")?,
            action_result: columns.text("action_result")?,
        })
    }
}
