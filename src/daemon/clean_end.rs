//! What is left in the state directory for the next boot to judge this one's end
//! by: made ready at the start, and `bulkheadd --mark-clean-end`, which
//! systemd/bulkhead-clean-end.service runs late in a shutdown, while the daemon is
//! gone.

use super::Options;
use crate::host::shutdown::{self, Shutdown};
use crate::host::{boot, clock, Root};
use crate::state::{clean_end, last_words};
use anyhow::Context as _;
use bulkhead_core::analyze::verdict::Moment;
use std::path::Path;

/// The boot `boot_id` runs. What cannot be made ready is told, and all else goes on.
pub(super) fn begin(state_dir: &Path, boot_id: &str) {
    if let Err(error) = clean_end::begin(state_dir, boot_id) {
        tracing::warn!("the end of this boot will not be known to be an orderly one: {error}");
    }
    last_words::remove_old(state_dir, boot_id);
}

/// Marks that this boot ends in order, unless the system is known not to be
/// going down: a unit may be stopped by hand.
///
/// # Errors
/// When it cannot be written.
pub(super) fn mark(options: &Options) -> anyhow::Result<()> {
    let root = Root::new(options.root.clone().unwrap_or_else(|| "/".into()));
    if shutdown::state(&root) == Shutdown::No {
        println!("The system is not being shut down: no end is marked.");
        return Ok(());
    }
    let boot_id = boot::boot_id(&root)?.to_string();
    let now = Moment { up: clock::monotonic(), wall: clock::wall() };
    clean_end::mark(&options.state_dir, &boot_id, now).with_context(|| {
        format!("the end of this boot is not marked in {}", options.state_dir.display())
    })
}
