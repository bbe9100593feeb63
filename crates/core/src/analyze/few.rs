//! A list that mostly holds nothing or one thing, in little room.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::ops::{Deref, DerefMut};

/// A list whose first item needs no room of its own. Read it as a slice.
#[derive(Debug, Clone, Default)]
pub(super) enum Few<T> {
    /// Empty.
    #[default]
    None,
    /// One.
    One(T),
    /// Any number. Boxed, so that a list is not larger than its first item.
    #[allow(clippy::box_collection)]
    Many(Box<Vec<T>>),
}

impl<T> Few<T> {
    /// Adds an item behind all others.
    pub fn push(&mut self, item: T) {
        self.insert(self.len(), item);
    }

    /// Adds an item before the one at `place`, or at the end.
    pub fn insert(&mut self, place: usize, item: T) {
        *self = match std::mem::take(self) {
            Few::None => Few::One(item),
            Few::One(first) if place == 0 => Few::Many(Box::new(vec![item, first])),
            Few::One(first) => Few::Many(Box::new(vec![first, item])),
            Few::Many(mut items) => {
                items.insert(place.min(items.len()), item);
                Few::Many(items)
            }
        }
    }

    /// Keeps the items that `keep` says so of.
    pub fn retain_mut(&mut self, mut keep: impl FnMut(&mut T) -> bool) {
        match self {
            Few::None => {}
            Few::One(item) => {
                if !keep(item) {
                    *self = Few::None;
                }
            }
            Few::Many(items) => items.retain_mut(keep),
        }
    }

    /// Empties the list, and gives its room back.
    pub fn clear(&mut self) {
        *self = Few::None;
    }
}

impl<T> Deref for Few<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        match self {
            Few::None => &[],
            Few::One(item) => std::slice::from_ref(item),
            Few::Many(items) => items,
        }
    }
}

impl<T> DerefMut for Few<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Few::None => &mut [],
            Few::One(item) => std::slice::from_mut(item),
            Few::Many(items) => items,
        }
    }
}

impl<T: PartialEq> PartialEq for Few<T> {
    fn eq(&self, other: &Few<T>) -> bool {
        **self == **other
    }
}

impl<T: Eq> Eq for Few<T> {}

impl<T> FromIterator<T> for Few<T> {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Few<T> {
        let mut few = Few::None;
        items.into_iter().for_each(|item| few.push(item));
        few
    }
}

impl<T: Serialize> Serialize for Few<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter())
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Few<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Few<T>, D::Error> {
        Ok(Vec::deserialize(deserializer)?.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_holds_what_a_vec_would(
            steps in prop::collection::vec((0usize..4, 0usize..5, any::<u8>()), 0..20),
        ) {
            let (mut few, mut vec) = (Few::default(), Vec::new());
            for (step, place, item) in steps {
                match step {
                    0 => {
                        few.insert(place, item);
                        vec.insert(place.min(vec.len()), item);
                    }
                    1 => {
                        few.retain_mut(|i| *i > item);
                        vec.retain(|i| *i > item);
                    }
                    2 => {
                        few.iter_mut().for_each(|i| *i = i.wrapping_add(item));
                        vec.iter_mut().for_each(|i| *i = i.wrapping_add(item));
                    }
                    _ => {
                        few.push(item);
                        vec.push(item);
                    }
                }
                prop_assert_eq!(&*few, &*vec);
            }
        }
    }
}
