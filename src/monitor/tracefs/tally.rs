//! Single records, counted per key as the BPF programs count them
//! (ebpf/ras.bpf.c): both sources yield the same reports.

use super::record::Decoded;
use bulkhead_core::model::{CxlMedia, Record, Report, Source, Stamp};
use std::collections::HashMap;

/// A decoder runs in the notifier chain that the record was just traced in, ns.
const DECODE_WINDOW: u64 = 100_000_000;

/// MCi_STATUS (SDM vol. 3B, IA32_MCi_STATUS).
const STATUS_OVER: u64 = 1 << 62;
const STATUS_ADDRV: u64 = 1 << 58;
const STATUS_COUNT: u64 = 0x7fff << 38;
/// MCi_MISC: recoverable address LSB and address mode.
const MISC_ADDRESS: u64 = 0x1ff;
/// X86_VENDOR_INTEL (arch/x86/include/asm/processor.h).
const VENDOR_INTEL: u8 = 0;

/// What makes two records call for the same decisions.
#[derive(PartialEq, Eq, Hash)]
enum Key {
    Mce {
        cpu: u32,
        bank: u8,
        status: u64,
        addr: u64,
        misc: u64,
    },
    Mc {
        error_type: u8,
        mc: u8,
        layers: [i8; 3],
        grain_bits: u8,
        address: u64,
    },
    MemoryFailure {
        pfn: u64,
        page_type: i32,
        result: i32,
    },
    /// All but what merely numbers the record. These sources are rare, so that
    /// keeping it whole costs little.
    Whole(Box<Record>),
}

impl Key {
    fn of(record: &Record) -> Key {
        match record {
            Record::Mce(mce) => {
                let count = if mce.cpuvendor == VENDOR_INTEL { STATUS_COUNT } else { 0 };
                Key::Mce {
                    cpu: mce.cpu,
                    bank: mce.bank,
                    status: mce.status & !STATUS_OVER & !count,
                    addr: if mce.status & STATUS_ADDRV == 0 { 0 } else { mce.addr },
                    misc: mce.misc & MISC_ADDRESS,
                }
            }
            Record::MemoryController(event) => Key::Mc {
                error_type: event.error_type,
                mc: event.mc_index,
                layers: [event.top_layer, event.middle_layer, event.lower_layer],
                grain_bits: event.grain_bits,
                address: event.address,
            },
            Record::MemoryFailure(failure) => Key::MemoryFailure {
                pfn: failure.pfn.0,
                page_type: failure.page_type,
                result: failure.result,
            },
            other => Key::Whole(Box::new(unnumbered(other.clone()))),
        }
    }
}

/// Without what differs between any two records.
fn unnumbered(mut record: Record) -> Record {
    match &mut record {
        Record::Extlog(event) => event.err_seq = 0,
        Record::CxlDram(event) => {
            event.cvme_count = 0;
            unnumber(&mut event.media);
        }
        Record::CxlGeneralMedia(event) => {
            event.cme_count = 0;
            unnumber(&mut event.media);
        }
        _ => {}
    }
    record
}

fn unnumber(media: &mut CxlMedia) {
    media.hdr_handle = 0;
    media.hdr_related_handle = 0;
    media.hdr_timestamp = 0;
}

/// The machine check that was reported last on each CPU, until a decode used it
/// up.
#[derive(Debug, Default)]
pub struct Reported(HashMap<u32, (u32, u64)>);

impl Reported {
    /// Whether this record, next on `cpu` at `time`, is the decode of the
    /// machine check that the same task reported there just before.
    fn is_decode(&mut self, cpu: u32, time: u64, decoded: &Decoded) -> bool {
        let Some(task) = decoded.task else { return false };
        match decoded.record {
            Record::Mce(_) => {
                self.0.insert(cpu, (task, time));
                false
            }
            Record::MemoryController(_) if self.0.get(&cpu).is_some_and(|(t, _)| *t == task) => {
                let reported = self.0.remove(&cpu);
                reported.is_some_and(|(_, at)| time.saturating_sub(at) <= DECODE_WINDOW)
            }
            _ => false,
        }
    }
}

/// Reports in the making.
#[derive(Default)]
pub struct Tally {
    places: HashMap<Key, usize>,
    reports: Vec<Report>,
}

impl Tally {
    /// Counts one record, raised on `cpu` at `time` on CLOCK_BOOTTIME, which
    /// is `stamp`.
    pub fn add(
        &mut self,
        source: Source,
        cpu: u32,
        time: u64,
        stamp: Stamp,
        decoded: Decoded,
        reported: &mut Reported,
    ) {
        let decodes = u64::from(reported.is_decode(cpu, time, &decoded));
        let record = decoded.record;
        let errors = record.errors();
        let place = *self.places.entry(Key::of(&record)).or_insert(self.reports.len());
        match self.reports.get_mut(place) {
            Some(report) => {
                report.records += 1;
                report.errors += errors;
                report.decodes += decodes;
                // CPUs are read one after the other.
                if stamp.at >= report.last.at {
                    report.last = stamp;
                    replace(&mut report.record, record);
                } else if stamp.at < report.first.at {
                    report.first = stamp;
                }
            }
            None => self.reports.push(Report {
                source,
                first: stamp,
                last: stamp,
                records: 1,
                errors,
                decodes,
                record,
            }),
        }
    }

    /// The reports, in the order of their first records.
    pub fn finish(mut self) -> Vec<Report> {
        self.reports.sort_by_key(|r| (r.first.at, r.last.at));
        self.reports
    }
}

/// Takes over the later record, but for the texts: of those the first stay.
fn replace(old: &mut Record, new: Record) {
    match (old, new) {
        (Record::MemoryController(old), Record::MemoryController(new)) => {
            (old.syndrome, old.error_count) = (new.syndrome, new.error_count);
        }
        (old, new) => *old = new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bulkhead_core::model::{ExtlogMemEvent, McEvent, MceRecord, Time};

    fn mce(status: u64, vendor: u8) -> Record {
        Record::Mce(MceRecord { status, cpuvendor: vendor, ..Default::default() })
    }

    fn mc(address: u64, syndrome: u64, label: &str) -> Record {
        let label = label.to_owned();
        Record::MemoryController(McEvent { address, syndrome, label, ..Default::default() })
    }

    /// (CPU, ms, task or interrupt, record)
    fn count(records: Vec<(u32, u64, Option<u32>, Record)>) -> Vec<Report> {
        let (mut tally, mut reported) = (Tally::default(), Reported::default());
        for (cpu, ms, task, record) in records {
            let source = match record {
                Record::Mce(_) => Source::MceRecord,
                _ => Source::McEvent,
            };
            let time = ms * 1_000_000;
            let stamp = Stamp { at: Time(time), ..Default::default() };
            tally.add(source, cpu, time, stamp, Decoded { task, record }, &mut reported);
        }
        tally.finish()
    }

    #[test]
    fn equal_records_are_one_report() {
        let reports = count(vec![
            (0, 5, None, mc(0x1000, 1, "A")),
            (0, 6, None, mc(0x2000, 0, "B")),
            (1, 9, None, mc(0x1000, 2, "A")),
            (1, 4, None, mc(0x1000, 3, "A")),
        ]);
        assert_eq!(reports.len(), 2);
        let first = &reports[0];
        assert_eq!((first.records, first.errors), (3, 3));
        assert_eq!((first.first.at, first.last.at), (Time(4_000_000), Time(9_000_000)));
        assert_eq!(first.record, mc(0x1000, 2, "A"));
    }

    #[test]
    fn on_intel_the_count_adds_errors_and_makes_no_report_of_its_own() {
        let ce = 0x8c00_0000_0000_009f;
        let reports = count(vec![
            (0, 1, None, mce(ce | 3 << 38, 0)),
            (0, 2, None, mce(ce | STATUS_OVER | 5 << 38, 0)),
        ]);
        assert_eq!(reports.len(), 1);
        assert_eq!((reports[0].records, reports[0].errors), (2, 8));
        assert_eq!(reports[0].record, mce(ce | STATUS_OVER | 5 << 38, 0));
    }

    #[test]
    fn on_amd_the_same_bits_are_flags_and_tell_records_apart() {
        let deferred = 0x8c00_0000_0000_009f | 1 << 44;
        let reports =
            count(vec![(0, 1, None, mce(deferred, 2)), (0, 2, None, mce(deferred ^ 1 << 44, 2))]);
        assert_eq!(reports.iter().map(|r| r.errors).collect::<Vec<_>>(), [1, 1]);
    }

    #[test]
    fn records_of_firmware_are_one_report_but_for_their_numbers() {
        let extlog = |err_seq, pa| {
            let event = ExtlogMemEvent { err_seq, pa, ..ExtlogMemEvent::default() };
            (0, err_seq.into(), None, Record::Extlog(event))
        };
        let reports = count(vec![extlog(1, 0x1000), extlog(2, 0x2000), extlog(3, 0x1000)]);
        assert_eq!(reports.iter().map(|r| r.records).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(reports[0].record, extlog(3, 0x1000).3, "the latest is kept whole");
    }

    #[test]
    fn an_mc_event_of_the_same_task_right_after_a_machine_check_is_its_decode() {
        let reports = count(vec![
            (0, 1, Some(7), mce(1, 0)),
            (0, 2, Some(7), mc(0x1000, 0, "A")),
            (0, 3, Some(7), mc(0x1000, 0, "A")),
        ]);
        let decoded = reports.iter().find(|r| r.source == Source::McEvent);
        assert_eq!(decoded.map(|r| (r.records, r.decodes)), Some((2, 1)));
    }

    #[test]
    fn another_task_an_interrupt_another_cpu_or_a_late_one_decodes_nothing() {
        let reports = count(vec![
            (0, 1, Some(7), mce(1, 0)),
            (0, 2, Some(8), mc(0x1000, 0, "A")),
            (0, 2, None, mc(0x1000, 0, "A")),
            (1, 2, Some(7), mc(0x1000, 0, "A")),
            (0, 102, Some(7), mc(0x1000, 0, "A")),
        ]);
        assert_eq!(reports.iter().map(|r| r.decodes).sum::<u64>(), 0);
    }
}
