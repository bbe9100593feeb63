//! Extended error logs are handed to tracepoints only while somebody says that
//! he reads them, and are printed to the console otherwise
//! (drivers/acpi/acpi_extlog.c, extlog_print; drivers/ras/debugfs.c). Kernels
//! that have no such file hand them out in any case.

use nix::sys::statfs::{statfs, DEBUGFS_MAGIC};
use std::fs::File;
use std::io;

const DEBUGFS: &str = "/sys/kernel/debug";

/// Whoever holds it open is a reader. It counts them, and nothing else.
const DAEMON_ACTIVE: &str = "/sys/kernel/debug/ras/daemon_active";

/// Says so for as long as the file is held; `None` where the kernel does not
/// ask.
///
/// # Errors
/// A sentence, where it cannot be said.
pub fn announce() -> Result<Option<File>, String> {
    match File::open(DAEMON_ACTIVE) {
        Ok(file) => Ok(Some(file)),
        Err(e) if e.kind() == io::ErrorKind::NotFound && has_debugfs() => Ok(None),
        Err(e) => Err(format!(
            "this kernel keeps them to itself, since {DAEMON_ACTIVE} cannot be opened: {e}"
        )),
    }
}

fn has_debugfs() -> bool {
    statfs(DEBUGFS).is_ok_and(|fs| fs.filesystem_type() == DEBUGFS_MAGIC)
}
