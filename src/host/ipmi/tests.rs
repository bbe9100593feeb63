//! Logs of BMCs, as far as the end of a boot is in them.
#![allow(clippy::unwrap_used)]

use super::*;
use bulkhead_core::analyze::verdict::BmcKind;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// When the host's clock says that the log is read, in s.
const NOW: u32 = 1_790_000_000;

/// A BMC whose clock is `ahead` seconds before the host's.
struct Made {
    records: BTreeMap<u16, [u8; bmc::RECORD]>,
    ahead: u32,
    asked: usize,
}

fn made(records: &[(u16, u32, u8, u8)], ahead: u32) -> Made {
    let record = |(id, time, sensor, data1): &(u16, u32, u8, u8)| {
        let ([i0, i1], [t0, t1, t2, t3]) = (id.to_le_bytes(), (time + ahead).to_le_bytes());
        (*id, [i0, i1, 2, t0, t1, t2, t3, 0x20, 0, 4, *sensor, 1, 0x6f, *data1, 4, 0xff])
    };
    Made { records: records.iter().map(record).collect(), ahead, asked: 0 }
}

impl Bmc for Made {
    fn ask(&mut self, command: u8, data: &[u8], _: Instant) -> io::Result<Option<Vec<u8>>> {
        self.asked += 1;
        Ok(match (command, data) {
            (GET_SEL_INFO, _) => {
                let [low, high] = (self.records.len() as u16).to_le_bytes();
                Some(vec![0x51, low, high, 0, 0])
            }
            (GET_SEL_TIME, _) => Some((NOW + self.ahead).to_le_bytes().to_vec()),
            (GET_SEL_ENTRY, [_, _, low, high, ..]) => {
                let found = match u16::from_le_bytes([*low, *high]) {
                    LAST => self.records.values().next_back(),
                    id => self.records.get(&id),
                };
                found.map(|record| [&[0xff, 0xff], &record[..]].concat())
            }
            _ => None,
        })
    }
}

fn kinds(bmc: &mut Made, since: u32) -> Vec<BmcKind> {
    let wall = |seconds: u32| Wall(i64::from(seconds) * 1_000_000_000);
    let until = Instant::now() + Duration::from_secs(60);
    read(bmc, wall(since), wall(NOW), until).unwrap().into_iter().map(|event| event.kind).collect()
}

#[test]
fn records_of_that_boot_are_told_oldest_first() {
    let mut bmc = made(
        &[
            (1, NOW - 900, 0x09, 4),
            (2, NOW - 100, 0x23, 8),
            (4, NOW - 90, 0x23, 1),
            (5, NOW - 80, 0x01, 1),
        ],
        0,
    );
    assert_eq!(kinds(&mut bmc, NOW - 600), [BmcKind::WatchdogWarned, BmcKind::WatchdogFired]);
}

#[test]
fn a_bmc_whose_clock_is_wrong_tells_the_right_time_all_the_same() {
    let mut bmc = made(&[(0, NOW - 900, 0x09, 4), (1, NOW - 90, 0x20, 1)], 86_400);
    assert_eq!(kinds(&mut bmc, NOW - 600), [BmcKind::OsStopped]);
}

#[test]
fn an_empty_log_and_a_long_one_are_read_in_bounded_time() {
    assert_eq!(kinds(&mut made(&[], 0), 0), []);
    let long: Vec<_> = (0..1000).map(|id| (id, NOW - 90, 0x09, 4)).collect();
    let mut bmc = made(&long, 0);
    assert_eq!(kinds(&mut bmc, 0).len(), usize::from(MOST));
    assert!(bmc.asked < 80, "{}", bmc.asked);
}

#[test]
fn a_record_from_before_the_clock_was_set_is_of_no_boot() {
    assert_eq!(kinds(&mut made(&[(0, 17, 0x09, 4)], 0), 0), []);
}

proptest! {
    #[test]
    fn no_answer_is_too_odd(bytes in prop::collection::vec(any::<u8>(), 0..2000)) {
        read_anything(&bytes);
    }
}
