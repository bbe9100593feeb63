//! The tables, and how an older file becomes a current one.

use rusqlite::{Connection, Result};
use std::collections::BTreeSet;

/// Marks a SQLite file as Bulkhead's: "Bulk" in ASCII
/// (<https://www.sqlite.org/pragma.html#pragma_application_id>).
pub(super) const APPLICATION_ID: i32 = 0x4275_6c6b;

/// Step N brings a file of version N to version N + 1. A step that was released
/// is never edited: what changes is a new step.
const MIGRATIONS: &[&str] = &[
    "
    CREATE TABLE boot (
        id      TEXT PRIMARY KEY,
        seq     INTEGER NOT NULL,
        body    TEXT NOT NULL,
        machine TEXT
    ) STRICT;

    -- settled: given back, so that only history is left of it
    CREATE TABLE isolation (
        target  TEXT PRIMARY KEY,
        settled INTEGER NOT NULL,
        since   INTEGER NOT NULL,
        body    TEXT NOT NULL
    ) STRICT;
    CREATE INDEX isolation_settled ON isolation (since) WHERE settled;

    CREATE TABLE fault (
        id      TEXT PRIMARY KEY,
        closed  INTEGER NOT NULL,
        changed INTEGER NOT NULL,
        body    TEXT NOT NULL
    ) STRICT;
    CREATE INDEX fault_closed ON fault (changed) WHERE closed;

    CREATE TABLE evidence (
        key  TEXT PRIMARY KEY,
        body TEXT NOT NULL
    ) STRICT;

    CREATE TABLE count (
        boot   TEXT NOT NULL,
        source TEXT NOT NULL,
        body   TEXT NOT NULL,
        PRIMARY KEY (boot, source)
    ) STRICT, WITHOUT ROWID;

    -- boot: empty for a place that outlives the boot
    CREATE TABLE cursor (
        boot TEXT NOT NULL,
        name TEXT NOT NULL,
        body TEXT NOT NULL,
        PRIMARY KEY (boot, name)
    ) STRICT, WITHOUT ROWID;

    -- AUTOINCREMENT, here and below: an id is never given twice, so a reader
    -- that continues behind an id misses nothing and sees nothing twice
    CREATE TABLE event (
        id   INTEGER PRIMARY KEY AUTOINCREMENT,
        wall INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;
    CREATE INDEX event_wall ON event (wall);

    CREATE TABLE attempt (
        id     INTEGER PRIMARY KEY AUTOINCREMENT,
        fault  TEXT,
        target TEXT NOT NULL,
        body   TEXT NOT NULL
    ) STRICT;
    CREATE INDEX attempt_fault ON attempt (fault);
    CREATE INDEX attempt_target ON attempt (target);
",
    "
    -- seq: the greatest is that of the last boot
    CREATE TABLE memory_config (
        id   TEXT PRIMARY KEY,
        seq  INTEGER NOT NULL,
        body TEXT NOT NULL
    ) STRICT;

    -- memory: the configuration it was learned in; empty for what is not of
    -- memory, nil for one that nobody can tell, as of all that is older
    ALTER TABLE evidence RENAME TO evidence_1;
    CREATE TABLE evidence (
        memory TEXT NOT NULL,
        key    TEXT NOT NULL,
        body   TEXT NOT NULL,
        PRIMARY KEY (memory, key)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO evidence SELECT
        CASE WHEN key GLOB '{\"page\"*' OR key GLOB '{\"row\"*' OR key GLOB '{\"memory\"*'
            THEN '00000000-0000-0000-0000-000000000000' ELSE '' END,
        key, body FROM evidence_1;
    DROP TABLE evidence_1;
",
    "
    -- what each error adds to, of open faults that grew since their bodies, which
    -- are large, were written; at, wall: the last error
    CREATE TABLE growth (
        fault  TEXT PRIMARY KEY,
        errors INTEGER NOT NULL,
        at     INTEGER NOT NULL,
        wall   INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
",
];

/// What a file turns out to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Kind {
    /// Empty, or of this version or an older one.
    Ours,
    /// Another application's; says what marks it as such.
    Foreign(String),
    /// A newer Bulkhead's; says which version.
    Newer(String),
}

/// Looks at a file without changing it.
pub(super) fn kind(db: &Connection) -> Result<Kind> {
    let id: i32 = db.pragma_query_value(None, "application_id", |row| row.get(0))?;
    let version: i64 = db.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let objects: i64 = db.query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))?;
    Ok(match id {
        APPLICATION_ID if usize::try_from(version).is_ok_and(|v| v <= MIGRATIONS.len()) => {
            Kind::Ours
        }
        APPLICATION_ID => {
            Kind::Newer(format!("schema {version}, known up to {}", MIGRATIONS.len()))
        }
        // as left by a daemon that was killed before its first commit
        0 if version == 0 && objects == 0 => Kind::Ours,
        _ => Kind::Foreign(format!("application id {id:#x}, {objects} tables and indexes")),
    })
}

/// Brings a file of ours to this version, in one transaction.
pub(super) fn migrate(db: &mut Connection) -> Result<()> {
    let tx = db.transaction()?;
    let version: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version == MIGRATIONS.len() as i64 {
        return Ok(());
    }
    for step in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "application_id", APPLICATION_ID)?;
    tx.pragma_update(None, "user_version", MIGRATIONS.len() as i64)?;
    tx.commit()
}

/// Whether the file holds together: its pages, and the tables of this version.
/// Says what is wrong, or nothing.
///
/// Reads the whole file once, some 100 MB when the history is full: a start is
/// the time to find damage, not the day the page is needed.
pub(super) fn damage(db: &Connection) -> Result<Option<String>> {
    let verdict: String = db.pragma_query_value(None, "quick_check", |row| row.get(0))?;
    if verdict != "ok" {
        return Ok(Some(verdict));
    }
    let mut expected = Connection::open_in_memory()?;
    migrate(&mut expected)?;
    let found = names(db)?;
    let missing = names(&expected)?.into_iter().find(|name| !found.contains(name));
    Ok(missing.map(|name| format!("table or index {name} is missing")))
}

/// Names of all tables and indexes. An admin may have added to them.
fn names(db: &Connection) -> Result<BTreeSet<String>> {
    let mut rows = db.prepare("SELECT name FROM sqlite_schema")?;
    let rows = rows.query_map([], |row| row.get(0))?;
    rows.collect()
}
