//! Stale lines of pages whose place another line has taken.
//!
//! An address names other cells in every memory configuration, and each may
//! fail. The ledger lists one line per address; what it knew of the same
//! address in another configuration is set aside until that one is back.

use crate::model::{Home, Isolation, IsolationState, MemoryConfigId, Target, Time};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

type Key = (Target, MemoryConfigId);

/// The lines, by what they are of.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Aside {
    lines: BTreeMap<Key, Isolation>,
    oldest: BTreeSet<(Time, Key)>,
}

impl Aside {
    /// `new` takes the place of `old`, which is kept if it may be wanted again.
    pub fn replaced(&mut self, old: Option<Isolation>, new: &Isolation) {
        if let Some(key) = key(new) {
            self.remove(&key);
        }
        if let Some(old) = old {
            if old.state == IsolationState::Stale && old.home != new.home {
                self.put(old);
            }
        }
    }

    /// Keeps a stale line of a page.
    pub fn put(&mut self, line: Isolation) {
        let Some(key) = key(&line) else { return };
        self.remove(&key);
        self.oldest.insert((line.since.at, key));
        self.lines.insert(key, line);
    }

    pub fn lines(&self) -> impl Iterator<Item = &Isolation> {
        self.lines.values()
    }

    pub fn of(&self, target: Target) -> impl Iterator<Item = &Isolation> {
        let least = MemoryConfigId(Uuid::nil());
        let most = MemoryConfigId(Uuid::max());
        self.lines.range((target, least)..=(target, most)).map(|(_, line)| line)
    }

    /// Forgets the oldest beyond `most`, and answers of which target it was.
    pub fn trim(&mut self, most: usize) -> Option<(Target, Option<Uuid>)> {
        if self.lines.len() <= most {
            return None;
        }
        let (_, key) = self.oldest.pop_first()?;
        let line = self.lines.remove(&key);
        Some((key.0, line.and_then(|line| line.fault)))
    }

    fn remove(&mut self, key: &Key) {
        if let Some(line) = self.lines.remove(key) {
            self.oldest.remove(&(line.since.at, *key));
        }
    }
}

fn key(line: &Isolation) -> Option<Key> {
    match (line.target, line.home) {
        (Target::Page(_), Home::Memory(memory)) => Some((line.target, memory)),
        _ => None,
    }
}
