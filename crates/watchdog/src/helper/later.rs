//! A watchdog that could not be had at the start, and can be now.

use crate::board::Shared;
use bulkhead_config::Watchdog;
use bulkhead_watchdog::choose::{choose, Used};
use bulkhead_watchdog::look::look;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::thread;
use std::time::Duration;

/// From one look to the next.
const LOOK: Duration = Duration::from_secs(10);

/// What would be chosen, and whether somebody has it now.
fn outlook(config: &Watchdog) -> (Used, bool) {
    let used = choose(&look(Path::new("/")), &config.device, config.timeout.as_secs()).used;
    let active = matches!(&used, Used::Hardware { device: Some(device), .. } if device.active);
    (used, active)
}

/// Says so when something comes within reach, while the watchdog has none. What
/// is as it was at the start has been tried.
pub fn look_out(shared: &Shared, config: &Watchdog) {
    let mut before = outlook(config);
    loop {
        thread::sleep(LOOK);
        if !shared.watching.load(Ordering::SeqCst) {
            continue;
        }
        let now = outlook(config);
        let (used, active) = &now;
        if now != before && *used != Used::Nothing && !active {
            shared.look_again.store(true, Ordering::SeqCst);
        }
        before = now;
    }
}
