//! The only code that writes to the kernel. Every order is read back, and
//! answered with what *is*.

mod actor;
mod affinity;
mod cpu;
mod lane;
mod page;
mod reply;
mod restore;
mod sysfs;

pub use actor::{ActError, Actor};
pub use lane::TIME_LIMIT;
