//! Rows in the order of their worth: doubly linked queues that run through the
//! rows' own places, so that moving a row costs no search and no room.

/// No place.
const END: u32 = u32::MAX;
/// Rows with so many records and more are of equal worth.
const MOST_RECORDS: u32 = 31;
/// One queue for each number of records, twice: without an open fault, and
/// with one.
const QUEUES: usize = 2 * (MOST_RECORDS as usize + 1);
/// The queues of rows without an open fault.
const IDLE: u64 = (1 << (MOST_RECORDS + 1)) - 1;

/// A row's place in its queue.
#[derive(Debug, Clone, Copy)]
pub(super) struct Link {
    before: u32,
    behind: u32,
    /// Which queue; [`QUEUES`] for none.
    queue: u8,
}

impl Default for Link {
    fn default() -> Link {
        Link { before: END, behind: END, queue: QUEUES as u8 }
    }
}

/// The queues: least worth first, and in each the one that was touched longest
/// ago.
#[derive(Debug)]
pub(super) struct Queues {
    ends: [(u32, u32); QUEUES],
    /// Bit n: queue n is not empty.
    filled: u64,
}

impl Default for Queues {
    fn default() -> Queues {
        Queues { ends: [(END, END); QUEUES], filled: 0 }
    }
}

impl Queues {
    /// Places that a link can name.
    pub const MOST: usize = END as usize;

    /// Puts the row at `place`, new or known, behind all of equal worth.
    pub fn put<S: AsMut<Link>>(&mut self, slots: &mut [S], place: u32, held: bool, records: u32) {
        let queue = records.min(MOST_RECORDS) + if held { MOST_RECORDS + 1 } else { 0 };
        let Some((_, tail)) = self.ends.get(queue as usize).copied() else { return };
        if tail == place {
            return;
        }
        self.remove(slots, place);
        let Some((head, tail)) = self.ends.get_mut(queue as usize) else { return };
        let before = std::mem::replace(tail, place);
        match slots.get_mut(before as usize) {
            Some(slot) => slot.as_mut().behind = place,
            None => *head = place,
        }
        self.filled |= 1 << queue;
        if let Some(slot) = slots.get_mut(place as usize) {
            *slot.as_mut() = Link { before, behind: END, queue: queue as u8 };
        }
    }

    /// Takes the row at `place` out.
    pub fn remove<S: AsMut<Link>>(&mut self, slots: &mut [S], place: u32) {
        let Some(slot) = slots.get_mut(place as usize) else { return };
        let Link { before, behind, queue } = std::mem::take(slot.as_mut());
        let Some((head, tail)) = self.ends.get_mut(usize::from(queue)) else { return };
        match slots.get_mut(before as usize) {
            Some(slot) => slot.as_mut().behind = behind,
            None => *head = behind,
        }
        match slots.get_mut(behind as usize) {
            Some(slot) => slot.as_mut().before = before,
            None => *tail = before,
        }
        if *head == END {
            self.filled &= !(1 << queue);
        }
    }

    /// The row that is worth least.
    pub fn least(&self) -> Option<u32> {
        self.heads(self.filled).next()
    }

    /// Of each number of records, the row without an open fault that was
    /// touched longest ago.
    pub fn oldest_idle(&self) -> impl Iterator<Item = u32> + '_ {
        self.heads(self.filled & IDLE)
    }

    fn heads(&self, mut queues: u64) -> impl Iterator<Item = u32> + '_ {
        std::iter::from_fn(move || {
            let queue = queues.trailing_zeros();
            let (head, _) = self.ends.get(queue as usize)?;
            queues &= queues - 1;
            Some(*head)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Default)]
    struct Slot(Link);

    impl AsMut<Link> for Slot {
        fn as_mut(&mut self) -> &mut Link {
            &mut self.0
        }
    }

    proptest! {
        #[test]
        fn the_least_is_what_sorting_would_find(
            steps in prop::collection::vec((0u32..6, any::<bool>(), 0u32..40, any::<bool>()), 0..80),
        ) {
            let mut slots = vec![Slot::default(); 6];
            let mut queues = Queues::default();
            let mut model: Vec<((bool, u32, usize), u32)> = Vec::new();
            for (touch, (place, held, records, remove)) in steps.into_iter().enumerate() {
                model.retain(|(_, other)| *other != place);
                if remove {
                    queues.remove(&mut slots, place);
                } else {
                    queues.put(&mut slots, place, held, records);
                    model.push(((held, records.min(MOST_RECORDS), touch), place));
                }
                model.sort_unstable();
                prop_assert_eq!(queues.least(), model.first().map(|(_, place)| *place));
                let mut idle = model.clone();
                idle.retain(|((held, ..), _)| !held);
                idle.dedup_by_key(|((_, records, _), _)| *records);
                prop_assert!(queues.oldest_idle().eq(idle.iter().map(|(_, place)| *place)));
            }
        }
    }
}
