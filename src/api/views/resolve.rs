//! What closing a fault came to.

use super::{FaultView, IsolationView};
use serde::{Deserialize, Serialize};

/// The answer to `resolve`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ResolveReply {
    /// The fault, closed.
    pub fault: FaultView,
    /// In service again.
    pub released: Vec<IsolationView>,
    /// Given back by the next reboot, and not before.
    pub waiting: Vec<IsolationView>,
    /// To be given back, which did not come off.
    pub failed: Vec<IsolationView>,
    /// Staying out of service; `why` says why it stays.
    pub staying: Vec<IsolationView>,
    /// Other faults that stand open, of the part that was replaced.
    pub same_part: Vec<FaultView>,
}

impl ResolveReply {
    /// Of a fault that held nothing.
    pub fn of(fault: FaultView) -> ResolveReply {
        ResolveReply {
            fault,
            released: Vec::new(),
            waiting: Vec::new(),
            failed: Vec::new(),
            staying: Vec::new(),
            same_part: Vec::new(),
        }
    }
}
