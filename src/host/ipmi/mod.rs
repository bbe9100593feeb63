//! The BMC's system event log: read, and nothing else asked of it.
//!
//! The commands are those that read (IPMI 2.0 31.2, 31.5, 31.10): Get SEL Info,
//! Get SEL Entry, Get SEL Time. A BMC is slow, some 20 ms a record, and may not
//! answer at all: call this beside the loop.

mod device;

use super::clock;
use bulkhead_core::analyze::verdict::{bmc, BmcEvent};
use bulkhead_core::model::Wall;
use device::Device;
use std::io;
use std::time::{Duration, Instant};

pub use device::PATH;

/// Records that are read, from the last backwards.
const MOST: u16 = 64;

/// All of it, however slow the BMC is.
const LIMIT: Duration = Duration::from_secs(20);

/// Network function of the commands, and the commands.
const STORAGE: u8 = 0x0a;
const GET_SEL_INFO: u8 = 0x40;
const GET_SEL_ENTRY: u8 = 0x43;
const GET_SEL_TIME: u8 = 0x48;

/// The number of "the last record" (31.5).
const LAST: u16 = 0xffff;

/// Who answers the commands: the BMC, or a test.
trait Bmc {
    /// Sends a command and gives its answer's data, after a completion code of
    /// zero; `None` for another one.
    fn ask(&mut self, command: u8, data: &[u8], until: Instant) -> io::Result<Option<Vec<u8>>>;
}

/// Records since `from` that tell of the end of a boot, oldest first.
///
/// # Errors
/// When there is no BMC, or it does not answer. What was read until then is
/// lost: half a log may tell half of the story.
pub fn events(from: Wall) -> io::Result<Vec<BmcEvent>> {
    read(&mut Device::open()?, from, clock::wall(), Instant::now() + LIMIT)
}

fn read(bmc: &mut impl Bmc, from: Wall, now: Wall, until: Instant) -> io::Result<Vec<BmcEvent>> {
    // Version, and how many records there are.
    let info = bmc.ask(GET_SEL_INFO, &[], until)?;
    let entries = info.as_deref().and_then(|info| match info {
        [_version, low, high, ..] => Some(u16::from_le_bytes([*low, *high])),
        _ => None,
    });
    if entries.unwrap_or(0) == 0 {
        return Ok(Vec::new());
    }
    let time = bmc.ask(GET_SEL_TIME, &[], until)?;
    let ahead = time.and_then(|time| time.try_into().ok()).map_or(0, |time| {
        i64::from(u32::from_le_bytes(time)).saturating_mul(1_000_000_000).saturating_sub(now.0)
    });
    let mut found = Vec::new();
    let mut next = Some(LAST);
    for _ in 0..MOST {
        let Some(id) = next else { break };
        let Some(record) = entry(bmc, id, until)? else {
            // A number that was skipped, or deleted.
            next = id.checked_sub(1).filter(|_| id != LAST);
            continue;
        };
        let [low, high, ..] = record;
        let id = u16::from_le_bytes([low, high]);
        next = id.checked_sub(1);
        let Some((id, time, kind)) = bmc::read(&record) else { continue };
        let wall = time
            .map(|time| Wall(i64::from(time).saturating_mul(1_000_000_000).saturating_sub(ahead)));
        if wall.is_some_and(|wall| wall < from) {
            break;
        }
        found.push(BmcEvent { id, wall, kind });
    }
    found.reverse();
    // Of one that was logged before the BMC's clock was set, nobody can tell of
    // which boot it is.
    found.retain(|event| event.wall.is_some());
    Ok(found)
}

/// A record, whole.
fn entry(bmc: &mut impl Bmc, id: u16, until: Instant) -> io::Result<Option<[u8; bmc::RECORD]>> {
    let [low, high] = id.to_le_bytes();
    // No reservation, from its first byte, to its end (31.5).
    let answer = bmc.ask(GET_SEL_ENTRY, &[0, 0, low, high, 0, 0xff], until)?;
    // The next record's number goes before it.
    Ok(answer.and_then(|data| data.get(2..2 + bmc::RECORD)?.try_into().ok()))
}

#[cfg(test)]
mod tests;

/// The answers of a BMC, out of a fuzzer's bytes.
#[cfg(any(test, fuzzing))]
pub fn read_anything(bytes: &[u8]) {
    struct Any<'b>(std::slice::Chunks<'b, u8>);
    impl Bmc for Any<'_> {
        fn ask(&mut self, _: u8, _: &[u8], _: Instant) -> io::Result<Option<Vec<u8>>> {
            Ok(self.0.next().map(<[u8]>::to_vec))
        }
    }
    let _ = read(&mut Any(bytes.chunks(18)), Wall(0), Wall(0), Instant::now());
}
