//! What came of an order, before it is an outcome.

use super::sysfs;
use crate::host::HostError;
use bulkhead_core::decide::{Answer, Apart};
use bulkhead_core::model::{CpuId, Survey};

/// The answer and its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reply {
    pub answer: Answer,
    /// For people: what came back, and what reading back says.
    pub answered: String,
    /// What a survey found.
    pub survey: Option<Box<Survey>>,
    /// CPUs taken, and not brought back when another did not go.
    pub left_off: Vec<CpuId>,
    /// Of several pages those with an answer of their own.
    pub apart: Vec<Apart>,
}

impl Reply {
    pub fn new(answer: Answer, answered: impl Into<String>) -> Reply {
        let (survey, left_off, apart) = (None, Vec::new(), Vec::new());
        Reply { answer, answered: answered.into(), survey, left_off, apart }
    }
}

/// Something could not be read that must be known before anything is written.
impl From<HostError> for Reply {
    fn from(error: HostError) -> Reply {
        Reply::new(sysfs::answer(&error.cause), format!("{error}; nothing was written"))
    }
}
