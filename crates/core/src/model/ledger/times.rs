//! Moments in order, several at once allowed.

use crate::model::Time;

/// A sorted multiset of moments that tells in O(log n) how many are later than
/// another. Nearly all are entered at the end, since time goes on, so a plain
/// sorted list serves.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Times(Vec<Time>);

impl Times {
    /// One that was `from` is `to`.
    pub(super) fn change(&mut self, from: Option<Time>, to: Option<Time>) {
        if from != to {
            from.into_iter().for_each(|at| self.remove(at));
            to.into_iter().for_each(|at| self.insert(at));
        }
    }

    fn insert(&mut self, at: Time) {
        let place = self.0.partition_point(|t| *t <= at);
        self.0.insert(place, at);
    }

    /// Takes one such moment out; nothing if there is none.
    fn remove(&mut self, at: Time) {
        let place = self.0.partition_point(|t| *t < at);
        if self.0.get(place) == Some(&at) {
            self.0.remove(place);
        }
    }

    /// Those for which `earlier` does not hold; it must hold for all moments
    /// before one for which it does.
    pub(super) fn rest(&self, earlier: impl Fn(Time) -> bool) -> &[Time] {
        let from = self.0.partition_point(|t| earlier(*t));
        self.0.get(from..).unwrap_or(&[])
    }
}

/// The `n`th of all moments of two sorted lists, counted from zero.
pub(crate) fn nth(a: &[Time], b: &[Time], n: usize) -> Option<Time> {
    // So many of the first n come from `a`.
    let (mut low, mut high) = (n.saturating_sub(b.len()), n.min(a.len()));
    while low < high {
        let middle = low + (high - low) / 2;
        if a.get(middle)? < b.get(n - middle - 1)? {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    [a.get(low), b.get(n.checked_sub(low)?)].into_iter().flatten().min().copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn list(of: Vec<u64>) -> Vec<Time> {
        let mut list: Vec<Time> = of.into_iter().map(Time).collect();
        list.sort_unstable();
        list
    }

    proptest! {
        #[test]
        fn the_nth_of_two_lists_is_the_nth_of_both_together(
            a in prop::collection::vec(0u64..20, 0..20).prop_map(list),
            b in prop::collection::vec(0u64..20, 0..20).prop_map(list),
        ) {
            let mut both = [a.clone(), b.clone()].concat();
            both.sort_unstable();
            for n in 0..both.len() + 2 {
                prop_assert_eq!(nth(&a, &b, n), both.get(n).copied());
            }
        }

        #[test]
        fn what_is_left_is_in_order(
            put in prop::collection::vec(0u64..20, 0..40),
            gone in prop::collection::vec(0u64..20, 0..40),
        ) {
            let (mut times, mut plain) = (Times::default(), put.clone());
            put.iter().for_each(|at| times.insert(Time(*at)));
            for at in gone {
                times.remove(Time(at));
                plain.iter().position(|t| *t == at).map(|i| plain.remove(i));
            }
            prop_assert_eq!(times.rest(|_| false), list(plain.clone()));
            let later = plain.into_iter().filter(|t| *t > 10).collect();
            prop_assert_eq!(times.rest(|t| t <= Time(10)), list(later));
        }
    }
}
