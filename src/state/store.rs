//! Reading everything at start, and writing what changed.

use super::copy::Copy;
use super::error::{Note, StateError};
use super::file::{self, Database, Lock};
use super::history;
use super::{BootRow, Change, EvidenceName, Growth, Saved, FILE_CURSOR, LAST_BOOT_CURSOR};
use bulkhead_core::model::{
    Fault, Home, Isolation, IsolationState, Ledger, MemoryConfig, MemoryConfigId, Stamp, Target,
    Time, Wall,
};
use rusqlite::{params, params_from_iter, Connection, Row, Transaction};
use serde::de::DeserializeOwned;
use serde::Serialize;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// The state directory, held by this process.
pub struct Store {
    dir: PathBuf,
    /// `None`: it cannot be used now, and is tried again.
    file: Option<Database>,
    /// Held as soon as the directory is there.
    lock: Option<Lock>,
    /// What is read instead of a file that cannot be opened in its place.
    copy: Option<Copy>,
    /// What the file holds was never read: it is not written over.
    unread: bool,
}

impl Store {
    /// Opens the state directory `dir`, making it (mode 0700) if it is missing.
    /// A database that cannot be used is set aside; the notes tell.
    ///
    /// # Errors
    ///
    /// [`StateError::InUse`] when another process holds the directory, and
    /// whatever the file system or SQLite refuses.
    pub fn open(dir: &Path) -> Result<(Store, Vec<Note>), StateError> {
        let lock = file::take(dir)?;
        let (file, note) = Database::open(dir)?;
        let (dir, lock) = (dir.to_owned(), Some(lock));
        let store = Store { dir, file: Some(file), lock, copy: None, unread: true };
        Ok((store, note.into_iter().collect()))
    }

    /// Like [`Store::open`], but where the directory cannot be used now, a full
    /// or read-only file system among it, nothing is kept until
    /// [`Store::reopen`] succeeds; a note says so. A host without its memory is
    /// better off than one without protection.
    ///
    /// # Errors
    ///
    /// [`StateError::InUse`] and [`StateError::NotADirectory`]: another daemon
    /// runs, or the admin named something else.
    pub fn open_or_wait(dir: &Path) -> Result<(Store, Vec<Note>), StateError> {
        let fatal = |error: &StateError| {
            matches!(error, StateError::InUse { .. } | StateError::NotADirectory { .. })
        };
        let (lock, opened) = match file::take(dir) {
            Ok(lock) => (Some(lock), Database::open(dir)),
            Err(error) if fatal(&error) => return Err(error),
            Err(error) => (None, Err(error)),
        };
        let (file, note) = match opened {
            Ok((file, note)) => (Some(file), note),
            Err(error) => (None, Some(Note::NotKept { why: error.to_string() })),
        };
        let store = Store { dir: dir.to_owned(), file, lock, copy: None, unread: true };
        Ok((store, note.into_iter().collect()))
    }

    /// Gives up the database file, which [`StateError::must_reopen`] said is
    /// of no use any more, and begins with what is there, or a new one. One that
    /// was never read is set aside: what it says may contradict what came since.
    ///
    /// # Errors
    ///
    /// Whatever the file system or SQLite refuses; the old file stays in use.
    pub fn reopen(&mut self) -> Result<Vec<Note>, StateError> {
        if self.lock.is_none() {
            self.lock = Some(file::take(&self.dir)?);
        }
        let mut notes = Vec::new();
        if self.unread {
            notes.extend(Database::set_aside_unread(&self.dir)?);
        }
        let (file, note) = Database::open(&self.dir)?;
        self.file = Some(file);
        self.unread = false;
        notes.extend(note);
        Ok(notes)
    }

    /// All that is remembered, as seen from the boot `boot_id`, but for the
    /// evidence. Rows that cannot be read are left alone; [`Saved::notes`]
    /// counts them. Where the directory cannot be used, what the file in it
    /// says, if that can be read.
    ///
    /// # Errors
    ///
    /// When SQLite cannot read: the file is given up then, until
    /// [`Store::reopen`] sets it aside.
    pub fn load(&mut self, boot_id: &str) -> Result<Saved, StateError> {
        let mut saved = Saved::default();
        self.read(|db| load(db, boot_id, &mut saved))?;
        Ok(saved)
    }

    /// Adds to `saved` the evidence of what is not memory, and of memory in the
    /// configuration `memory`. That of other configurations stays where it is.
    ///
    /// # Errors
    ///
    /// As [`Store::load`].
    pub fn load_evidence(
        &mut self,
        memory: MemoryConfigId,
        saved: &mut Saved,
    ) -> Result<(), StateError> {
        let sql = "SELECT body, key FROM evidence WHERE memory IN ('', ?1) ORDER BY key";
        let id = memory.0.to_string();
        let read = self.read(|db| rows(db, "evidence", sql, &[&id], named, &mut saved.notes))?;
        saved.evidence = read.unwrap_or_default();
        // Nothing else is read in passing.
        self.copy = None;
        Ok(())
    }

    /// What `read` makes of the file, or of a copy where it cannot be opened in
    /// its place; `None` where there is none.
    fn read<T>(
        &mut self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<Option<T>, StateError> {
        let read = self.readable().and_then(|file| match file {
            Some(file) => read(&file.db).map(Some).map_err(StateError::sql("read", &file.path)),
            None => Ok(None),
        });
        match &read {
            Ok(_) => self.unread = false,
            Err(_) => {
                self.file = None;
                self.unread = true;
            }
        }
        read
    }

    fn readable(&mut self) -> Result<Option<&Database>, StateError> {
        if self.file.is_none() && self.copy.is_none() {
            self.copy = Copy::of(&self.dir)?;
        }
        Ok(self.file.as_ref().or(self.copy.as_ref().map(Copy::database)))
    }

    /// Whether anything can be written at all.
    ///
    /// # Errors
    /// [`StateError::NotOpen`].
    pub fn ready(&mut self) -> Result<(), StateError> {
        self.file().map(drop)
    }

    /// The database.
    ///
    /// # Errors
    ///
    /// When there is none now.
    pub(super) fn file(&mut self) -> Result<&mut Database, StateError> {
        self.file.as_mut().ok_or_else(|| StateError::NotOpen { dir: self.dir.clone() })
    }

    /// Writes `change`, all of it or nothing. It is on the disk when this
    /// returns `Ok`.
    ///
    /// # Errors
    ///
    /// Nothing was written then. The store stays usable, and the next commit
    /// may succeed, unless [`StateError::must_reopen`] says otherwise.
    pub fn commit(&mut self, change: &Change) -> Result<(), StateError> {
        let file = self.file()?;
        file.check()?;
        let sql = StateError::sql("write to", &file.path);
        // Dropping the transaction on an error rolls it back.
        let tx = file.db.transaction().map_err(&sql)?;
        write(&tx, change).map_err(&sql)?;
        tx.commit().map_err(&sql)
    }
}

fn load(db: &Connection, boot_id: &str, saved: &mut Saved) -> rusqlite::Result<()> {
    let notes = &mut saved.notes;
    saved.boots = rows(db, "boot", "SELECT body FROM boot ORDER BY seq", &[], parse, notes)?;
    saved.boot = saved.boots.iter().find(|boot| boot.boot_id == boot_id).cloned();
    saved.last = saved.boots.iter().map(|boot| boot.last.at).max();

    let sql = "SELECT body, target FROM isolation";
    let lines = rows(db, "isolation", sql, &[], line, notes)?;
    saved.ledger = ledger(lines);
    let sql = "SELECT body, errors, at, wall FROM fault LEFT JOIN growth ON fault = fault.id
               ORDER BY changed, fault.id";
    saved.faults = rows(db, "fault", sql, &[], fault, notes)?;
    let sql = "SELECT body, id FROM memory_config ORDER BY seq";
    saved.memory = rows(db, "memory_config", sql, &[], memory_config, notes)?;
    let sql = "SELECT body FROM count WHERE boot = ?1 ORDER BY source";
    saved.counts = rows(db, "count", sql, &[boot_id], parse, notes)?;
    let sql = "SELECT body, name FROM cursor WHERE boot IN ('', ?1)";
    saved.cursors = rows(db, "cursor", sql, &[boot_id], named, notes)?.into_iter().collect();
    let sql = "SELECT machine FROM boot WHERE id = ?1 AND machine IS NOT NULL";
    saved.machine = rows(db, "boot", sql, &[boot_id], text, notes)?.pop();
    // The last boot's, and no earlier one's in its place.
    let sql = "SELECT machine FROM (SELECT machine FROM boot WHERE id <> ?1
               ORDER BY seq DESC LIMIT 1) WHERE machine IS NOT NULL";
    saved.machine_before = rows(db, "boot", sql, &[boot_id], text, notes)?.pop();
    Ok(())
}

/// What `read` makes of each row; rows that it cannot read are counted in a
/// note.
fn rows<T>(
    db: &Connection,
    table: &'static str,
    sql: &str,
    params: &[&str],
    read: impl Fn(&Row) -> Result<T, String>,
    notes: &mut Vec<Note>,
) -> rusqlite::Result<Vec<T>> {
    let mut statement = db.prepare(sql)?;
    let mut rows = statement.query(params_from_iter(params))?;
    let mut good = Vec::new();
    let mut bad: Option<(usize, String)> = None;
    while let Some(row) = rows.next()? {
        match read(row) {
            Ok(value) => good.push(value),
            Err(why) => bad.get_or_insert((0, why)).0 += 1,
        }
    }
    notes.extend(bad.map(|(rows, first)| Note::UnreadableRows { table, rows, first }));
    Ok(good)
}

/// The JSON in column `body`, which comes first, or what is wrong with it.
pub(super) fn parse<T: DeserializeOwned>(row: &Row) -> Result<T, String> {
    serde_json::from_str(&text(row)?).map_err(|e| e.to_string())
}

/// The first column.
fn text(row: &Row) -> Result<String, String> {
    row.get(0).map_err(|e| e.to_string())
}

/// The second column and the first: a name and what stands under it.
fn named(row: &Row) -> Result<(String, String), String> {
    Ok((row.get(1).map_err(|e| e.to_string())?, text(row)?))
}

/// A memory configuration, under the name that it had when it was written.
fn memory_config(row: &Row) -> Result<(MemoryConfigId, MemoryConfig), String> {
    let (id, body) = named(row)?;
    let id = Uuid::try_parse(&id).map_err(|e| e.to_string())?;
    Ok((MemoryConfigId(id), serde_json::from_str(&body).map_err(|e| e.to_string())?))
}

/// A fault, as it was written and has grown since.
fn fault(row: &Row) -> Result<Fault, String> {
    let mut fault: Fault = parse(row)?;
    let column = |at: usize| row.get::<_, Option<i64>>(at).map_err(|e| e.to_string());
    if let (Some(errors), Some(at), Some(wall)) = (column(1)?, column(2)?, column(3)?) {
        let count = |number: i64| u64::try_from(number).unwrap_or(0);
        fault.errors = count(errors);
        fault.last = Stamp { at: Time(count(at)), wall: Wall(wall) };
    }
    Ok(fault)
}

/// A ledger line, and whether it is set aside.
fn line(row: &Row) -> Result<(Isolation, bool), String> {
    let (target, body) = named(row)?;
    Ok((serde_json::from_str(&body).map_err(|e| e.to_string())?, target.contains(ASIDE)))
}

fn ledger(lines: Vec<(Isolation, bool)>) -> Ledger {
    let mut ledger = Ledger::new();
    for (line, is_aside) in lines {
        match is_aside {
            true => ledger.put_aside(line),
            false => ledger.insert(line),
        }
    }
    ledger
}

/// As stored.
pub(super) fn json<T: Serialize>(value: &T) -> rusqlite::Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(e.into()))
}

/// The key of a ledger line, and of its attempts: `cpu:3`, `page:524288`.
pub(super) fn key(target: Target) -> String {
    match target {
        Target::Cpu(cpu) => format!("cpu:{}", cpu.0),
        Target::Page(pfn) => format!("page:{}", pfn.0),
    }
}

/// Stands behind a line's key where the line is set aside, before the memory
/// configuration that it is of: `page:524288@6597fe70-…`.
const ASIDE: char = '@';

/// The keys of all lines of `target` that are set aside lie between these.
fn aside_keys(target: Target) -> [String; 2] {
    // 'A' is the character behind '@'.
    [format!("{}{ASIDE}", key(target)), format!("{}A", key(target))]
}

/// Nanoseconds as SQLite holds them; the year 2262 and later are all one.
fn nanos(time: Time) -> i64 {
    i64::try_from(time.0).unwrap_or(i64::MAX)
}

fn write(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    write_boot(tx, change)?;
    write_memory(tx, change)?;
    write_isolations(tx, change)?;
    write_faults(tx, change)?;
    write_sources(tx, change)?;
    history::append(tx, change)?;
    trim(tx, change)
}

fn write_boot(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    let BootRow { boot_id, .. } = change.boot;
    tx.execute(
        "INSERT INTO boot (id, seq, body, machine)
         VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM boot), ?2, ?3)
         ON CONFLICT (id) DO UPDATE
         SET body = excluded.body, machine = coalesce(excluded.machine, machine)",
        params![boot_id, json(change.boot)?, change.machine],
    )?;
    if let Some(ended) = change.ended {
        let sql = "UPDATE boot SET body = ?2 WHERE id = ?1";
        tx.execute(sql, params![ended.boot_id, json(ended)?])?;
    }
    Ok(())
}

fn write_memory(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    let Some(config) = change.memory else { return Ok(()) };
    tx.execute(
        "INSERT OR REPLACE INTO memory_config (id, seq, body)
         VALUES (?1, (SELECT coalesce(max(seq), 0) + 1 FROM memory_config), ?2)",
        params![config.id().0.to_string(), json(config)?],
    )?;
    tx.execute(
        "DELETE FROM memory_config WHERE id NOT IN
         (SELECT id FROM memory_config ORDER BY seq DESC LIMIT ?1)",
        [MAX_MEMORY_CONFIGS],
    )?;
    tx.execute(
        "DELETE FROM evidence WHERE memory NOT IN ('', ?1)
         AND memory NOT IN (SELECT id FROM memory_config)",
        [MemoryConfigId::default().0.to_string()],
    )?;
    Ok(())
}

fn write_isolations(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    let mut put = tx.prepare(
        "INSERT OR REPLACE INTO isolation (target, settled, since, body) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for line in change.isolations {
        let settled = line.state == IsolationState::Released && line.release.is_none();
        put.execute(params![key(line.target), settled, nanos(line.since.at), json(line)?])?;
    }
    let mut forget = tx.prepare("DELETE FROM isolation WHERE target = ?1")?;
    for target in change.removed {
        forget.execute([key(*target)])?;
    }
    let mut forget = tx.prepare("DELETE FROM isolation WHERE target > ?1 AND target < ?2")?;
    let changed = change.isolations.iter().map(|line| line.target);
    for target in changed.chain(change.removed.iter().copied()) {
        forget.execute(aside_keys(target))?;
    }
    for line in change.aside {
        let Home::Memory(memory) = line.home else { continue };
        let key = format!("{}{ASIDE}{}", key(line.target), memory.0);
        put.execute(params![key, false, nanos(line.since.at), json(line)?])?;
    }
    Ok(())
}

fn write_faults(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    let mut put = tx.prepare(
        "INSERT OR REPLACE INTO fault (id, closed, changed, body) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for fault in change.faults {
        let id = fault.id.to_string();
        put.execute(params![id, !fault.is_open(), nanos(change.boot.last.at), json(fault)?])?;
    }
    let mut forget = tx.prepare("DELETE FROM fault WHERE id = ?1")?;
    for id in change.forgotten {
        forget.execute([id.to_string()])?;
    }
    // What is written whole needs none; so no growth outlives its open fault.
    let mut forget = tx.prepare("DELETE FROM growth WHERE fault = ?1")?;
    for id in change.faults.iter().map(|fault| &fault.id).chain(change.forgotten) {
        forget.execute([id.to_string()])?;
    }
    let mut put = tx.prepare(
        "INSERT OR REPLACE INTO growth (fault, errors, at, wall) VALUES (?1, ?2, ?3, ?4)",
    )?;
    for Growth { fault, errors, last } in change.grown {
        let errors = i64::try_from(*errors).unwrap_or(i64::MAX);
        put.execute(params![fault.to_string(), errors, nanos(last.at), last.wall.0])?;
    }
    Ok(())
}

fn write_sources(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    let boot = &change.boot.boot_id;
    let mut put =
        tx.prepare("INSERT OR REPLACE INTO evidence (memory, key, body) VALUES (?1, ?2, ?3)")?;
    let mut forget = tx.prepare("DELETE FROM evidence WHERE memory = ?1 AND key = ?2")?;
    for (EvidenceName { memory, key }, value) in change.evidence.rows() {
        let memory = memory.map_or_else(String::new, |memory| memory.0.to_string());
        match value {
            Some(value) => put.execute([&memory, &key, &value])?,
            None => forget.execute([&memory, &key])?,
        };
    }
    let mut put =
        tx.prepare("INSERT OR REPLACE INTO count (boot, source, body) VALUES (?1, ?2, ?3)")?;
    for count in change.counts {
        put.execute([boot, &count.source, &json(count)?])?;
    }
    let mut put =
        tx.prepare("INSERT OR REPLACE INTO cursor (boot, name, body) VALUES (?1, ?2, ?3)")?;
    for (name, place) in change.cursors {
        let outlives = name.starts_with(FILE_CURSOR) || name.starts_with(LAST_BOOT_CURSOR);
        let boot = if outlives { "" } else { boot.as_str() };
        put.execute([boot, name, place])?;
    }
    Ok(())
}

/// Memory configurations kept, with their evidence; those of the last boots
/// longest. Enough for a DIMM tried in another slot, and back.
const MAX_MEMORY_CONFIGS: i64 = 4;
/// Boots kept.
const MAX_BOOTS: i64 = 256;
/// Faults kept that an admin closed; those closed longest ago go first.
pub const MAX_CLOSED_FAULTS: usize = 1_000;
/// Ledger lines kept of what was given back; oldest go first.
const MAX_RELEASED: i64 = 4_096;
/// Lines younger than this are kept all the same, in ns: what was taken in the
/// last 24 hours counts against the pages a day, given back or not.
const RELEASED_STAY: i64 = 24 * 3600 * 1_000_000_000;

/// Keeps what no one will close, within bounds. Each statement costs something
/// only when the change adds to what it bounds.
fn trim(tx: &Transaction, change: &Change) -> rusqlite::Result<()> {
    let now = nanos(change.boot.last.at);
    if change.isolations.iter().any(|line| line.state == IsolationState::Released) {
        tx.execute(
            "DELETE FROM isolation WHERE settled AND since < ?1 AND target NOT IN
             (SELECT target FROM isolation WHERE settled ORDER BY since DESC LIMIT ?2)",
            [now.saturating_sub(RELEASED_STAY), MAX_RELEASED],
        )?;
    }
    if change.faults.iter().any(|fault| !fault.is_open()) {
        tx.execute(
            "DELETE FROM fault WHERE closed AND id NOT IN
             (SELECT id FROM fault WHERE closed ORDER BY changed DESC, id LIMIT ?1)",
            [MAX_CLOSED_FAULTS as i64],
        )?;
    }
    let oldest = "(SELECT max(seq) - ?1 FROM boot)";
    if tx.execute(&format!("DELETE FROM boot WHERE seq <= {oldest}"), [MAX_BOOTS])? > 0 {
        tx.execute("DELETE FROM count WHERE boot NOT IN (SELECT id FROM boot)", [])?;
        tx.execute(
            "DELETE FROM cursor WHERE boot <> '' AND boot NOT IN (SELECT id FROM boot)",
            [],
        )?;
    }
    Ok(())
}
