//! Typed, read-only access to rasdaemon's database (`ras-mc_event.db`),
//! as versions 0.6.8 to 0.8.5 write it.
//!
//! rasdaemon keeps one table per kind of event and one row per event
//! (`ras-record.c`). A newer version adds tables and columns, to the databases
//! of older ones too, so columns are found by name, and what a database lacks
//! is `None`.
//!
//! ```no_run
//! use rasdaemon_bindings::{Database, McEvent};
//! # fn main() -> Result<(), rasdaemon_bindings::OpenError> {
//! let database = Database::open("/var/lib/rasdaemon/ras-mc_event.db".as_ref())?;
//! let mut events = database.cursor::<McEvent>();
//! while let Some(event) = events.next(&database) {
//!     println!("{event:?}");
//! }
//! # Ok(())
//! # }
//! ```

mod cursor;
mod cxl;
mod database;
mod firmware;
mod tables;
mod time;
mod value;

pub use cursor::{Cursor, Entry, RowError};
pub use cxl::{CxlDramEvent, CxlGeneralMediaEvent, CxlMedia};
pub use database::{Condition, Database, OpenError, Table};
pub use firmware::{ArmEvent, ExtlogEvent, NonStandardEvent};
pub use tables::{McEvent, MceRecord, MemoryFailureEvent, Row, TABLES};
pub use value::{Columns, ValueError};
