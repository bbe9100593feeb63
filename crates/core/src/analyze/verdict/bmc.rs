//! Records of a BMC's system event log that tell of the end of a boot.

use crate::model::Wall;

/// Bytes of a record (IPMI 2.0 32.1).
pub const RECORD: usize = 16;

/// What a record tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BmcKind {
    /// The operating system's watchdog reset the host, or switched it off.
    WatchdogFired,
    /// It ran out, or warned, and did not reset the host by that.
    WatchdogWarned,
    /// The operating system stopped at an error: a panic.
    OsStopped,
    /// The operating system says that it shuts down.
    OsShutDown,
    /// The power to the host failed.
    PowerLost,
    /// Somebody pressed the reset button.
    ResetButton,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BmcEvent {
    /// Its number in the log.
    pub id: u16,
    /// When, by the BMC's clock as it was set against the host's; `None` of one
    /// that the BMC logged before its clock was set.
    pub wall: Option<Wall>,
    /// What it tells.
    pub kind: BmcKind,
}

/// Sensor types (IPMI 2.0 table 42-3).
const POWER_UNIT: u8 = 0x09;
const WATCHDOG_1: u8 = 0x11;
const BUTTON: u8 = 0x14;
const OS_STOP: u8 = 0x20;
const WATCHDOG_2: u8 = 0x23;

/// Record type of an event with its time (32.1).
const SYSTEM_EVENT: u8 = 0x02;

/// Event type of an offset that its sensor type names (42.1), and the bit above
/// it that says that the state was left, not entered (29.7).
const SENSOR_SPECIFIC: u8 = 0x6f;
const DEASSERTED: u8 = 0x80;

/// Times up to this count from the start of the BMC (37.1).
const UNSET_CLOCK: u32 = 0x2000_0000;

/// The record, and its time by the BMC's clock in seconds since 1970, if it
/// tells of the end of a boot.
pub fn read(record: &[u8; RECORD]) -> Option<(u16, Option<u32>, BmcKind)> {
    let [id0, id1, kind, t0, t1, t2, t3, _, _, _, sensor, _, event, data1, data2, _] = *record;
    if kind != SYSTEM_EVENT || event & !DEASSERTED != SENSOR_SPECIFIC || event & DEASSERTED != 0 {
        return None;
    }
    let kind = meaning(sensor, data1 & 0x0f, data2)?;
    let time = Some(u32::from_le_bytes([t0, t1, t2, t3]));
    let time = time.filter(|t| *t > UNSET_CLOCK && *t != u32::MAX);
    Some((u16::from_le_bytes([id0, id1]), time, kind))
}

fn meaning(sensor: u8, offset: u8, data2: u8) -> Option<BmcKind> {
    use BmcKind::{OsShutDown, OsStopped, PowerLost, ResetButton, WatchdogFired, WatchdogWarned};
    Some(match (sensor, offset) {
        // Hard reset, power down, power cycle; by whom the timer was used is in
        // the second byte: 1 to 3 are firmware's and the loader's.
        (WATCHDOG_2, _) if matches!(data2 & 0x0f, 1..=3) => return None,
        (WATCHDOG_2, 1..=3) => WatchdogFired,
        // Expired, status only; timer interrupt.
        (WATCHDOG_2, 0 | 8) => WatchdogWarned,
        // Reset, shut down, power down, power cycle of the system's watchdog.
        (WATCHDOG_1, 1..=4) => WatchdogFired,
        // NMI, expired without action, pre-timeout interrupt.
        (WATCHDOG_1, 5..=7) => WatchdogWarned,
        // "Run-time critical stop": a core dump, a blue screen.
        (OS_STOP, 1) => OsStopped,
        (OS_STOP, 2..=4) => OsShutDown,
        // AC lost; power unit failure.
        (POWER_UNIT, 4 | 6) => PowerLost,
        (BUTTON, 2) => ResetButton,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(sensor: u8, event: u8, data1: u8, data2: u8) -> [u8; RECORD] {
        let [t0, t1, t2, t3] = 1_790_000_000u32.to_le_bytes();
        [7, 1, 2, t0, t1, t2, t3, 0x20, 0, 4, sensor, 0x2a, event, data1, data2, 0xff]
    }

    #[test]
    fn a_watchdog_that_reset_the_system_is_told_from_one_that_warned() {
        // As QEMU's BMC logs them: the second byte holds the action and the use.
        let fired = read(&record(WATCHDOG_2, 0x6f, 0xc1, 0x04));
        assert_eq!(fired, Some((0x107, Some(1_790_000_000), BmcKind::WatchdogFired)));
        let warned = read(&record(WATCHDOG_2, 0x6f, 0xc8, 0x24)).map(|(.., kind)| kind);
        assert_eq!(warned, Some(BmcKind::WatchdogWarned));
    }

    #[test]
    fn firmwares_own_use_of_the_timer_tells_nothing_of_the_system() {
        for firmware in 1..=3 {
            assert_eq!(read(&record(WATCHDOG_2, 0x6f, 0xc1, firmware)), None);
        }
    }

    #[test]
    fn a_state_that_was_left_is_no_event() {
        assert_eq!(read(&record(OS_STOP, 0xef, 0xa1, 0xff)), None);
        assert!(read(&record(OS_STOP, 0x6f, 0xa1, 0xff)).is_some());
        assert_eq!(read(&record(OS_STOP, 0x01, 0xa1, 0xff)), None, "a threshold");
    }

    #[test]
    fn a_clock_that_was_not_set_tells_no_time() {
        let mut early = record(POWER_UNIT, 0x6f, 0x04, 0xff);
        early[3..7].copy_from_slice(&77u32.to_le_bytes());
        assert_eq!(read(&early), Some((0x107, None, BmcKind::PowerLost)));
    }
}
