//! Waits for conditions that can be observed; nothing in these tests sleeps and hopes.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Result};

/// Between two looks. A look mostly costs a process in the guest.
const PERIOD: Duration = Duration::from_millis(100);

/// Waits until `condition` gives something, and returns that; an error of `condition` ends the waiting.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let since = Instant::now();
    loop {
        if let Some(value) = condition()? {
            return Ok(value);
        }
        if since.elapsed() > limit {
            bail!("waited {limit:?} in vain: {what}");
        }
        thread::sleep(PERIOD);
    }
}

/// Waits until `condition` holds.
pub fn wait_until(
    what: &str,
    limit: Duration,
    mut condition: impl FnMut() -> Result<bool>,
) -> Result<()> {
    wait_for(what, limit, || Ok(condition()?.then_some(())))
}
