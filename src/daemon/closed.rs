//! Which of the faults that an admin closed are still listed.

use crate::state::MAX_CLOSED_FAULTS;
use std::collections::VecDeque;
use uuid::Uuid;

/// Closed faults, the one that was closed longest ago first; as many as the
/// store keeps, so that a restart shows the same.
#[derive(Debug, Default)]
pub(super) struct Closed {
    faults: VecDeque<Uuid>,
}

impl Closed {
    /// An admin closed `fault`, or closed it again. Answers the one that there
    /// is no room for any more.
    pub fn enter(&mut self, fault: Uuid) -> Option<Uuid> {
        self.faults.retain(|known| *known != fault);
        self.faults.push_back(fault);
        if self.faults.len() <= MAX_CLOSED_FAULTS {
            return None;
        }
        self.faults.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fault_that_was_closed_longest_ago_makes_room() {
        let mut closed = Closed::default();
        let fault = |n: usize| Uuid::from_u128(n as u128);
        for n in 0..MAX_CLOSED_FAULTS {
            assert_eq!(closed.enter(fault(n)), None);
        }
        assert_eq!(closed.enter(fault(0)), None, "it was closed again");
        assert_eq!(closed.enter(fault(MAX_CLOSED_FAULTS)), Some(fault(1)));
    }
}
