//! What only grows: events and attempts, and the bounds they are kept in.

use super::error::StateError;
use super::store::{json, key, parse, Store};
use super::{Attempt, Change};
use crate::event::{self, Event};
use bulkhead_core::model::Wall;
use rusqlite::{params, Connection, Transaction};
use uuid::Uuid;

/// Events kept; the newest.
pub const MAX_EVENTS: i64 = 100_000;
/// Attempts kept for one target; the newest.
const MAX_ATTEMPTS_PER_TARGET: i64 = 64;
/// Attempts kept in all; the newest.
const MAX_ATTEMPTS: i64 = 100_000;

/// Some events, oldest first.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct EventPage {
    /// In the order they were committed.
    pub events: Vec<Event>,
    /// The place behind this page: pass it as `after` to continue.
    pub last: i64,
    /// There is more behind this page now.
    pub more: bool,
    /// Rows that could not be read and were passed over.
    pub unreadable: usize,
}

impl Store {
    /// Up to `limit` events behind the place `after` (0 for the beginning), of
    /// those that happened at `since` or later.
    ///
    /// A reader that passes on [`EventPage::last`] sees each event once, and
    /// all of them as long as it stays within [`MAX_EVENTS`] of the newest.
    ///
    /// # Errors
    ///
    /// When SQLite cannot read.
    pub fn events(
        &mut self,
        since: Option<Wall>,
        after: i64,
        limit: u32,
    ) -> Result<EventPage, StateError> {
        let file = self.file()?;
        events(&file.db, since, after, limit)
            .map_err(StateError::sql("read events from", &file.path))
    }

    /// What was asked of the kernel on account of `fault`, oldest first. Rows
    /// that cannot be read are passed over.
    ///
    /// # Errors
    ///
    /// When SQLite cannot read.
    pub fn attempts(&mut self, fault: Uuid) -> Result<Vec<Attempt>, StateError> {
        let file = self.file()?;
        attempts(&file.db, fault).map_err(StateError::sql("read attempts from", &file.path))
    }
}

fn events(
    db: &Connection,
    since: Option<Wall>,
    after: i64,
    limit: u32,
) -> rusqlite::Result<EventPage> {
    // Wall time may step, so the first event of that time bounds the search
    // from below, and each event behind it is looked at all the same (`+wall`:
    // in order of ids, not by the index on wall).
    let since = since.map_or(i64::MIN, |wall| wall.0);
    let mut statement = db.prepare(
        "SELECT body, id FROM event
         WHERE id > ?1 AND id >= (SELECT min(id) FROM event WHERE wall >= ?2) AND +wall >= ?2
         ORDER BY id LIMIT ?3",
    )?;
    let mut rows = statement.query(params![after, since, i64::from(limit) + 1])?;
    let mut page = EventPage { last: after, ..EventPage::default() };
    let mut read = 0;
    while let Some(row) = rows.next()? {
        if read == limit {
            page.more = true;
            break;
        }
        read += 1;
        page.last = row.get(1)?;
        match parse(row) {
            Ok(event) => page.events.push(event),
            Err(_) => page.unreadable += 1,
        }
    }
    Ok(page)
}

fn attempts(db: &Connection, fault: Uuid) -> rusqlite::Result<Vec<Attempt>> {
    let mut statement = db.prepare("SELECT body FROM attempt WHERE fault = ?1 ORDER BY id")?;
    let mut rows = statement.query([fault.to_string()])?;
    let mut attempts = Vec::new();
    while let Some(row) = rows.next()? {
        attempts.extend(parse(row).ok());
    }
    Ok(attempts)
}

/// Adds the events and attempts of `change`, and drops the oldest beyond the
/// bounds: as many as come in, so that no commit pays for the others.
pub(super) fn append(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    let mut put = tx.prepare("INSERT INTO event (wall, body) VALUES (?1, ?2)")?;
    for event in change.events {
        put.execute(params![event::wall(event.time).0, json(event)?])?;
    }
    if !change.events.is_empty() {
        drop_oldest(tx, "event", MAX_EVENTS)?;
    }

    let mut put = tx.prepare("INSERT INTO attempt (fault, target, body) VALUES (?1, ?2, ?3)")?;
    let mut crowd = tx.prepare(
        "DELETE FROM attempt WHERE target = ?1 AND id <=
         (SELECT id FROM attempt WHERE target = ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2)",
    )?;
    for attempt in change.attempts {
        let target = key(attempt.target);
        let fault = attempt.fault.map(|id| id.to_string());
        put.execute(params![fault, target, json(attempt)?])?;
        crowd.execute(params![target, MAX_ATTEMPTS_PER_TARGET])?;
    }
    if !change.attempts.is_empty() {
        drop_oldest(tx, "attempt", MAX_ATTEMPTS)?;
    }
    Ok(())
}

/// Ids are given in order, so all but the newest `keep` lie below one of them.
fn drop_oldest(tx: &Transaction, table: &str, keep: i64) -> rusqlite::Result<()> {
    let sql = format!("DELETE FROM {table} WHERE id <= (SELECT max(id) FROM {table}) - ?1");
    tx.execute(&sql, [keep]).map(|_| ())
}
