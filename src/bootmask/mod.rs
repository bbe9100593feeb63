//! Pages kept out of the next boot, by the kernel's command line.

pub mod grub;
pub mod parameter;

pub use parameter::Parameter;

use crate::host::{topology, HostError, Root};
use bulkhead_core::model::PageSize;

/// What the running kernel was booted with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Boot {
    /// /proc/cmdline.
    pub command_line: String,
    /// Its base page.
    pub page_size: PageSize,
}

impl Boot {
    /// That of this host.
    ///
    /// # Errors
    /// When /proc is not there.
    pub fn read() -> Result<Boot, HostError> {
        let command_line = Root::default().read("proc/cmdline")?;
        Ok(Boot { command_line, page_size: topology::page_size() })
    }
}
