//! The layouts of the maps, as in ebpf/ras.h, and what they say as records.

use crate::monitor::clock::Clock;
use bulkhead_core::model::{McEvent, MceRecord, MemoryFailure, Pfn, Record, Report, Source};

/// Counted up whenever ebpf/ras.h changes: maps of another layout cannot be
/// read.
pub const LAYOUT: u32 = 2;

/// Entries of a side, per kind: RAS_MCE_KEYS, RAS_MC_KEYS and RAS_MF_KEYS.
pub const KEYS: [u32; 3] = [4_096, 65_536, 4_096];

/// So many entries of memory errors, the first of a side, have texts:
/// RAS_MC_TEXTS.
pub const TEXTS: u32 = 2_048;

/// A mirrored structure: any bytes are a value of it, and it has no padding.
///
/// # Safety
/// The type must be `repr(C)`, of integers and arrays of them, with every byte
/// spoken for.
pub unsafe trait Plain: Copy {}

/// A value out of a map; `None` unless the size is right.
pub fn read<T: Plain>(bytes: &[u8]) -> Option<T> {
    // SAFETY: the size is right, the read needs no alignment, and any bytes are a T.
    (bytes.len() == size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
}

/// A value for a map.
pub fn bytes_of<T: Plain>(value: &T) -> &[u8] {
    // SAFETY: a T is so many initialized bytes, without padding.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(value).cast(), size_of::<T>()) }
}

macro_rules! mirror {
    ($(#[$doc:meta] $c:literal $name:ident { $($field:ident: $type:ty,)* })*) => {
        $(
            #[$doc]
            #[repr(C)]
            #[derive(Debug, Clone, Copy)]
            pub struct $name { $(#[allow(missing_docs)] pub $field: $type,)* }
            // SAFETY: integers, arrays of them and other mirrored structures; the test below finds padding.
            unsafe impl Plain for $name {}
        )*
        #[cfg(test)]
        const MIRRORED: &[(&str, usize, &[(&str, usize)])] = &[
            $((
                $c,
                size_of::<$name>(),
                &[$((stringify!($field), std::mem::offset_of!($name, $field)),)*],
            ),)*
        ];
    };
}

mirror! {
    /// What a key of any kind counts; times in ns of CLOCK_BOOTTIME.
    "ras_tally" Tally {
        records: u64,
        errors: u64,
        decodes: u64,
        first: u64,
        last: u64,
    }

    /// Machine checks that call for the same decisions.
    "ras_mce_key" MceKey {
        status: u64,
        addr: u64,
        misc: u32,
        cpu: u32,
        bank: u32,
        reserved: u32,
    }

    /// The latest of them.
    "ras_mce_value" MceValue {
        tally: Tally,
        status: u64,
        addr: u64,
        misc: u64,
        mcgcap: u64,
        mcgstatus: u64,
        synd: u64,
        ipid: u64,
        ip: u64,
        ppin: u64,
        time: u64,
        cpu: u32,
        cpuid: u32,
        apicid: u32,
        socketid: u32,
        microcode: u32,
        bank: u8,
        cpuvendor: u8,
        reserved: [u8; 2],
    }

    /// Both.
    "ras_mce_entry" MceEntry {
        key: MceKey,
        value: MceValue,
    }

    /// Memory errors that call for the same decisions.
    "ras_mc_key" McKey {
        address: u64,
        error_type: u8,
        mc_index: u8,
        top_layer: i8,
        middle_layer: i8,
        lower_layer: i8,
        grain_bits: u8,
        reserved: [u8; 2],
    }

    /// What the latest of them adds.
    "ras_mc_value" McValue {
        tally: Tally,
        syndrome: u64,
        error_count: u32,
        reserved: u32,
    }

    /// Both.
    "ras_mc_entry" McEntry {
        key: McKey,
        value: McValue,
    }

    /// The texts of a key's first record.
    "ras_mc_text" McText {
        msg: [u8; 64],
        label: [u8; 128],
        driver_detail: [u8; 512],
    }

    /// Results of memory_failure() for one page.
    "ras_mf_key" MfKey {
        pfn: u64,
        page_type: i32,
        result: i32,
    }

    /// How often they came.
    "ras_mf_value" MfValue {
        tally: Tally,
    }

    /// Both.
    "ras_mf_entry" MfEntry {
        key: MfKey,
        value: MfValue,
    }

    /// Written by user space alone.
    "ras_control" Control {
        generation: u64,
        carried: [u64; 3],
        set: [u8; 16],
    }
}

impl Tally {
    fn report(&self, source: Source, clock: &Clock, record: Record) -> Report {
        Report {
            source,
            first: clock.stamp(self.first.min(self.last)),
            last: clock.stamp(self.last),
            records: self.records,
            errors: self.errors,
            decodes: self.decodes.min(self.records),
            record,
        }
    }
}

impl MceEntry {
    /// The report of these machine checks; `None` where none was counted.
    pub fn report(&self, clock: &Clock) -> Option<Report> {
        Some(self.value.report(clock)).filter(counted)
    }
}

impl McEntry {
    /// The report of these memory errors, likewise; without `text` where that
    /// found no room.
    pub fn report(&self, text: Option<&McText>, clock: &Clock) -> Option<Report> {
        Some(self.key.report(&self.value, text, clock)).filter(counted)
    }
}

impl MfEntry {
    /// The report of these results, likewise.
    pub fn report(&self, clock: &Clock) -> Option<Report> {
        Some(self.key.report(&self.value, clock)).filter(counted)
    }
}

/// Two programs that met the same new key at once took an entry each, and use
/// one of them.
fn counted(report: &Report) -> bool {
    report.records > 0
}

impl MceValue {
    fn report(&self, clock: &Clock) -> Report {
        let record = MceRecord {
            status: self.status,
            addr: self.addr,
            misc: self.misc,
            mcgcap: self.mcgcap,
            mcgstatus: self.mcgstatus,
            synd: self.synd,
            ipid: self.ipid,
            ip: self.ip,
            ppin: self.ppin,
            time: self.time,
            cpu: self.cpu,
            cpuid: self.cpuid,
            apicid: self.apicid,
            socketid: self.socketid,
            microcode: self.microcode,
            bank: self.bank,
            cpuvendor: self.cpuvendor,
        };
        self.tally.report(Source::MceRecord, clock, Record::Mce(record))
    }
}

impl McKey {
    fn report(&self, value: &McValue, text: Option<&McText>, clock: &Clock) -> Report {
        let record = McEvent {
            error_type: self.error_type,
            error_count: value.error_count,
            mc_index: self.mc_index,
            top_layer: self.top_layer,
            middle_layer: self.middle_layer,
            lower_layer: self.lower_layer,
            address: self.address,
            grain_bits: self.grain_bits,
            syndrome: value.syndrome,
            msg: text.map_or_else(String::new, |t| words(&t.msg)),
            label: text.map_or_else(String::new, |t| words(&t.label)),
            driver_detail: text.map_or_else(String::new, |t| words(&t.driver_detail)),
        };
        value.tally.report(Source::McEvent, clock, Record::MemoryController(record))
    }
}

impl MfKey {
    fn report(&self, value: &MfValue, clock: &Clock) -> Report {
        let record =
            MemoryFailure { pfn: Pfn(self.pfn), page_type: self.page_type, result: self.result };
        value.tally.report(Source::MemoryFailure, clock, Record::MemoryFailure(record))
    }
}

/// A text up to its NUL. One that fills its room was cut off there, and goes
/// back to its last whole word: half a number is a wrong number.
fn words(room: &[u8]) -> String {
    let end = room.iter().position(|b| *b == 0).unwrap_or(room.len());
    let text = room.get(..end).unwrap_or_default();
    let cut = end + 1 >= room.len();
    let end = match text.iter().rposition(u8::is_ascii_whitespace) {
        Some(space) if cut => space,
        _ => end,
    };
    String::from_utf8_lossy(text.get(..end).unwrap_or_default()).into_owned()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bulkhead_core::model::time::Anchor;
    use bulkhead_core::model::{Stamp, Time, Wall};
    use libbpf_rs::btf::{types::MemberAttr, types::Struct, Btf, HasSize};

    #[test]
    fn the_mirrored_layouts_are_those_of_the_object() {
        let btf = Btf::from_path(concat!(env!("OUT_DIR"), "/ras.bpf.o")).unwrap();
        for (name, size, fields) in MIRRORED {
            let theirs =
                btf.type_by_name::<Struct<'_>>(name).unwrap_or_else(|| panic!("no {name}"));
            let theirs_fields: Vec<(String, usize)> = theirs
                .iter()
                .map(|m| {
                    let MemberAttr::Normal { offset } = m.attr else {
                        panic!("bit field in {name}")
                    };
                    (m.name.unwrap().to_str().unwrap().to_owned(), offset as usize / 8)
                })
                .collect();
            let ours: Vec<(String, usize)> =
                fields.iter().map(|(f, o)| ((*f).to_owned(), *o)).collect();
            assert_eq!(ours, theirs_fields, "{name}");
            assert_eq!(*size, theirs.size(), "{name}");
        }
    }

    #[test]
    fn no_mirrored_layout_has_padding() {
        assert_eq!(size_of::<Tally>(), 5 * 8);
        assert_eq!(size_of::<MceKey>(), 2 * 8 + 4 * 4);
        assert_eq!(size_of::<MceValue>(), size_of::<Tally>() + 10 * 8 + 5 * 4 + 4);
        assert_eq!(size_of::<McKey>(), 8 + 6 + 2);
        assert_eq!(size_of::<McValue>(), size_of::<Tally>() + 8 + 2 * 4);
        assert_eq!(size_of::<McText>(), 64 + 128 + 512);
        assert_eq!(size_of::<MfKey>(), 8 + 2 * 4);
        assert_eq!(size_of::<MceEntry>(), size_of::<MceKey>() + size_of::<MceValue>());
        assert_eq!(size_of::<McEntry>(), size_of::<McKey>() + size_of::<McValue>());
        assert_eq!(size_of::<MfEntry>(), size_of::<MfKey>() + size_of::<MfValue>());
        assert_eq!(size_of::<Control>(), 8 + 3 * 8 + 16);
    }

    #[test]
    fn an_entry_that_nothing_was_counted_in_is_no_report() {
        let clock = Clock::new(Anchor(0), Stamp { at: Time(400), wall: Wall(1_400) });
        let mut entry: MfEntry = read(&[0; size_of::<MfEntry>()]).unwrap();
        assert!(entry.report(&clock).is_none());
        entry.value.tally.records = 1;
        assert!(entry.report(&clock).is_some());
    }

    #[test]
    fn there_are_as_many_entries_as_the_object_has() {
        let header = include_str!("../../../ebpf/ras.h");
        let [mce, mc, mf] = KEYS;
        for (name, value) in
            [("MCE_KEYS", mce), ("MC_KEYS", mc), ("MF_KEYS", mf), ("MC_TEXTS", TEXTS)]
        {
            assert!(header.contains(&format!("#define RAS_{name} {value}\n")), "{name}");
        }
    }

    #[test]
    fn a_value_of_the_wrong_size_is_none() {
        assert!(read::<MfKey>(&[0; 15]).is_none());
        assert!(read::<MfKey>(&[0; 17]).is_none());
        let key = MfKey { pfn: 0x1234, page_type: 5, result: -3 };
        let back: MfKey = read(bytes_of(&key)).unwrap();
        assert_eq!((back.pfn, back.page_type, back.result), (0x1234, 5, -3));
    }

    #[test]
    fn a_text_that_was_cut_off_ends_with_its_last_whole_word() {
        assert_eq!(words(b"row:0x12 col:0x3\0\0\0"), "row:0x12 col:0x3");
        assert_eq!(words(b"row:0x12 col:0x3\0"), "row:0x12");
        assert_eq!(words(b"row:0x12 col:0x3"), "row:0x12");
        assert_eq!(words(b"\0\0"), "");
        assert_eq!(words(b""), "");
    }

    #[test]
    fn a_key_without_its_text_is_a_report_all_the_same() {
        let mut key: McKey = read(&[0; size_of::<McKey>()]).unwrap();
        (key.address, key.top_layer) = (0x8000_0000, -1);
        let mut value: McValue = read(&[0; size_of::<McValue>()]).unwrap();
        value.tally = Tally { records: 3, errors: 30, decodes: 1, first: 100, last: 300 };
        let clock = Clock::new(Anchor(0), Stamp { at: Time(400), wall: Wall(1_400) });
        let report = key.report(&value, None, &clock);
        assert_eq!((report.records, report.errors, report.decodes), (3, 30, 1));
        assert_eq!((report.first.wall, report.last.wall), (Wall(1_100), Wall(1_300)));
        let Record::MemoryController(event) = report.record else { panic!("not an mc_event") };
        assert_eq!((event.address, event.top_layer, event.label.as_str()), (0x8000_0000, -1, ""));
    }
}
