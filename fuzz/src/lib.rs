//! What the targets about the pure part share: any record and any stream of
//! reports, out of a fuzzer's bytes.

use arbitrary::{Result, Unstructured};
use bulkhead_core::analyze::{Analyzer, Rules};
use bulkhead_core::decide::Policy;
use bulkhead_core::model::{
    ArmEvent, BitPattern, Bytes, CxlDram, CxlGeneralMedia, CxlMedia, DimmId, DimmSpace, DramPlace,
    ExtlogMemEvent, LoggedError, Machine, McEvent, MceRecord, MemoryFailure, NonStandardEvent, Pfn,
    PhysAddr, Record, Report, Source, Stamp, Time, Vendor, Wall,
};

/// A host of this make, with 46 bits of physical address and no CPUs.
pub fn machine(vendor: Vendor) -> Machine {
    let (family, model) = match vendor {
        Vendor::Intel => (6, 0x6a),
        Vendor::Amd => (0x19, 1),
        Vendor::Other => (0, 0),
    };
    Machine { vendor, family, model, memory_bytes: 1 << 38, phys_bits: 46, ..Machine::default() }
}

/// An analyzer with small books, so that they fill up.
pub fn analyzer() -> Analyzer {
    Analyzer::with_capacity(Rules::from(&Policy::default()), 64)
}

/// Any make.
pub fn vendor(u: &mut Unstructured) -> Result<Vendor> {
    Ok(*u.choose(&[Vendor::Intel, Vendor::Amd, Vendor::Other])?)
}

/// Any machine check.
pub fn machine_check(u: &mut Unstructured) -> Result<MceRecord> {
    Ok(MceRecord {
        status: u.arbitrary()?,
        addr: u.arbitrary()?,
        misc: u.arbitrary()?,
        mcgcap: u.arbitrary()?,
        mcgstatus: u.arbitrary()?,
        synd: u.arbitrary()?,
        ipid: u.arbitrary()?,
        cpu: u.int_in_range(0..=3)?,
        cpuid: u.arbitrary()?,
        apicid: u.int_in_range(0..=3)?,
        socketid: u.int_in_range(0..=1)?,
        bank: u.arbitrary()?,
        cpuvendor: *u.choose(&[0, 2, 9, 10])?,
        ..MceRecord::default()
    })
}

/// Any decoded memory error.
pub fn memory_error(u: &mut Unstructured) -> Result<McEvent> {
    Ok(McEvent {
        error_type: u.int_in_range(0..=4)?,
        error_count: u.arbitrary()?,
        mc_index: u.int_in_range(0..=3)?,
        top_layer: u.int_in_range(-1..=3)?,
        middle_layer: u.int_in_range(-1..=3)?,
        lower_layer: u.int_in_range(-1..=3)?,
        address: u.arbitrary()?,
        grain_bits: u.arbitrary()?,
        syndrome: u.arbitrary()?,
        msg: String::new(),
        label: u.arbitrary()?,
        driver_detail: u.arbitrary()?,
    })
}

fn media(u: &mut Unstructured) -> Result<CxlMedia> {
    Ok(CxlMedia {
        memdev: u.arbitrary()?,
        log: u.arbitrary()?,
        dpa: u.arbitrary()?,
        dpa_flags: u.arbitrary()?,
        descriptor: u.arbitrary()?,
        kind: u.arbitrary()?,
        transaction_type: u.arbitrary()?,
        validity_flags: u.arbitrary()?,
        channel: u.arbitrary()?,
        rank: u.arbitrary()?,
        hpa: u.arbitrary::<Option<u64>>()?.map(PhysAddr),
        ..CxlMedia::default()
    })
}

/// Any record of firmware's or of a CXL device's, with its source.
pub fn firmware(u: &mut Unstructured) -> Result<(Source, Record)> {
    Ok(match u.int_in_range(0..=4)? {
        0 => {
            let event = ExtlogMemEvent {
                etype: u.arbitrary()?,
                sev: u.arbitrary()?,
                pa: u.arbitrary()?,
                pa_mask_lsb: u.arbitrary()?,
                fru_text: u.arbitrary()?,
                data: Bytes(u.arbitrary()?),
                ..ExtlogMemEvent::default()
            };
            (Source::ExtlogMemEvent, Record::Extlog(event))
        }
        1 => {
            // The memory sections, by their GUIDs (UEFI 2.10, N.2.2), or any.
            let known =
                [0xa5bc1114_6f64_4ede_b863_3e83ed7c83b1, 0x61ec04fc_48e6_d813_25c9_8daa44750b12];
            let sec_type = match u.arbitrary()? {
                true => *u.choose(&known)?,
                false => u.arbitrary()?,
            };
            let event = NonStandardEvent {
                sec_type: uuid::Uuid::from_u128(sec_type),
                sev: u.arbitrary()?,
                fru_text: u.arbitrary()?,
                buf: Bytes(u.arbitrary()?),
                ..NonStandardEvent::default()
            };
            (Source::NonStandardEvent, Record::NonStandard(event))
        }
        2 => {
            let event = ArmEvent {
                mpidr: u.arbitrary()?,
                affinity: u.arbitrary()?,
                running_state: u.arbitrary()?,
                sev: u.arbitrary()?,
                cpu: u.arbitrary()?,
                pei_buf: Bytes(u.arbitrary()?),
                ..ArmEvent::default()
            };
            (Source::ArmEvent, Record::Arm(event))
        }
        3 => {
            let event = CxlDram {
                media: media(u)?,
                nibble_mask: u.arbitrary()?,
                bank_group: u.arbitrary()?,
                bank: u.arbitrary()?,
                row: u.arbitrary()?,
                column: u.arbitrary()?,
                ..CxlDram::default()
            };
            (Source::CxlDram, Record::CxlDram(Box::new(event)))
        }
        _ => {
            let event = CxlGeneralMedia {
                media: media(u)?,
                device: u.arbitrary()?,
                cme_count: u.arbitrary()?,
            };
            (Source::CxlGeneralMedia, Record::CxlGeneralMedia(Box::new(event)))
        }
    })
}

/// An error in a small part of a DIMM, so that places meet.
pub fn located(u: &mut Unstructured) -> Result<LoggedError> {
    let small = |u: &mut Unstructured, most: u16| -> Result<Option<u16>> {
        Ok(u.ratio(15, 16)?.then_some(u.int_in_range(0..=most)?))
    };
    let row = u32::from(u.int_in_range(0..=7u8)?);
    let column = u32::from(u.int_in_range(0..=7u8)?) * 8;
    let line = u64::from(row) << 16 | u64::from(column) << 9;
    Ok(LoggedError {
        addr: match u.int_in_range(0..=7u8)? {
            0 => None,
            1 => Some(PhysAddr(u.arbitrary()?)),
            _ => Some(PhysAddr(line)),
        },
        uncorrected: u.ratio(1, 32)?,
        scrub: u.arbitrary()?,
        place: DramPlace {
            dimm: DimmId {
                space: DimmSpace::Log,
                socket: small(u, 1)?,
                controller: None,
                channel: small(u, 1)?,
                slot: small(u, 1)?,
            },
            rank: small(u, 1)?,
            sub_rank: None,
            bank_group: small(u, 1)?,
            bank: small(u, 1)?,
            row: Some(row),
            column: Some(column),
            device: small(u, 3)?,
            bits: u.arbitrary::<Option<u32>>()?.map(BitPattern),
        },
    })
}

/// Any record with its source.
pub fn record(u: &mut Unstructured) -> Result<(Source, Record)> {
    Ok(match u.int_in_range(0..=9u8)? {
        0 => (Source::MceRecord, Record::Mce(machine_check(u)?)),
        1 => (Source::McEvent, Record::MemoryController(memory_error(u)?)),
        2 => {
            let pfn = Pfn(u.arbitrary()?);
            let failure =
                MemoryFailure { pfn, page_type: u.arbitrary()?, result: u.int_in_range(0..=4)? };
            (Source::MemoryFailure, Record::MemoryFailure(failure))
        }
        3 => firmware(u)?,
        _ => (Source::Log, Record::Logged(located(u)?)),
    })
}

/// A report of `record` some time after `*clock`, mostly; sometimes before.
pub fn report(
    u: &mut Unstructured,
    clock: &mut u64,
    (source, record): (Source, Record),
) -> Result<Report> {
    let stamp = |at: u64| Stamp { at: Time(at), wall: Wall(i64::try_from(at).unwrap_or(i64::MAX)) };
    *clock = match u.int_in_range(0..=15u8)? {
        0 => u.arbitrary()?,
        _ => clock.saturating_add(u64::from(u.arbitrary::<u32>()?) << u.int_in_range(0..=20)?),
    };
    let records = match u.int_in_range(0..=15u8)? {
        0 => u.arbitrary()?,
        _ => 1,
    };
    Ok(Report {
        source,
        first: stamp(*clock),
        last: stamp(clock.saturating_add(u64::from(u.arbitrary::<u16>()?))),
        records,
        errors: records,
        decodes: if u.ratio(1, 16)? { u.arbitrary()? } else { 0 },
        record,
    })
}
