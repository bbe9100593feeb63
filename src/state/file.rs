//! The directory, its lock, and the file in it: found, made, or set aside.

use super::error::{Note, StateError, Why};
use super::schema::{self, Kind};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::ffi::OsString;
use std::fs::{self, DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Name of the database in the state directory.
pub(super) const DATABASE: &str = "bulkhead.db";

/// What SQLite keeps beside a database: the write-ahead log, its index, and the
/// rollback journal of a file that never was in WAL mode.
const SIDECARS: [&str; 3] = ["-wal", "-shm", "-journal"];

/// How long a commit waits for somebody else's write lock, such as an admin's
/// sqlite3: short, because the daemon's loop waits with it, and the next commit
/// makes up for this one.
const BUSY: Duration = Duration::from_secs(1);

/// The log is cut to this many bytes when it is done with, so that one large
/// commit does not occupy the disk for ever.
const LOG_BYTES: i64 = 16 << 20;

/// Holds the directory for this process until dropped.
///
/// The directory itself is locked, which a full or read-only file system does
/// not keep from; and a file in it, which says by whom, where it can be written.
pub(super) struct Lock {
    _dir: Flock<File>,
    _file: Option<Flock<File>>,
}

/// Makes the directory if it is missing (its parent must exist), and takes it.
pub(super) fn take(dir: &Path) -> Result<Lock, StateError> {
    match DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => sync_parent(dir).map_err(StateError::io("sync the parent of", dir))?,
        Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::metadata(dir).map_err(StateError::io("look at", dir))?;
            if !found.is_dir() {
                return Err(StateError::NotADirectory { dir: dir.to_owned() });
            }
            is_ours(dir)?;
        }
        Err(e) => return Err(StateError::io("create the state directory", dir)(e)),
    }

    let path = dir.join("lock");
    let in_use = || {
        let pid = fs::read_to_string(&path).ok().and_then(|text| text.trim().parse().ok());
        StateError::InUse { dir: dir.to_owned(), pid }
    };
    let locked = |file: File, path: &Path| match Flock::lock(file, FlockArg::LockExclusiveNonblock)
    {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => Err(in_use()),
        Err((_, errno)) => Err(StateError::io("lock", path)(errno.into())),
    };
    let itself = File::open(dir).map_err(StateError::io("open", dir))?;
    let _dir = locked(itself, dir)?;
    let Ok(Some(file)) = open_own(&path) else { return Ok(Lock { _dir, _file: None }) };
    let mut file = locked(file, &path)?;
    // Only for people: on a full disk it stays empty.
    let _ = file.set_len(0);
    let _ = file.write_all(format!("{}\n", std::process::id()).as_bytes());
    Ok(Lock { _dir, _file: Some(file) })
}

/// Nobody but root and ourselves can have put anything into the directory.
pub(super) fn is_ours(dir: &Path) -> Result<(), StateError> {
    let found = fs::metadata(dir).map_err(StateError::io("look at", dir))?;
    let owner = [0, nix::unistd::geteuid().as_raw()].contains(&found.uid());
    match owner && found.mode() & 0o002 == 0 {
        true => Ok(()),
        false => Err(StateError::NotOurs { dir: dir.to_owned() }),
    }
}

/// Opens a file of the directory, made if need be, that is ours alone. `None`: a
/// symbolic link, or what has another name too: writing to it or changing its
/// mode would be done to somebody else's.
fn open_own(path: &Path) -> io::Result<Option<File>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    let file = match options.custom_flags(libc::O_NOFOLLOW).open(path) {
        Err(e) if e.raw_os_error() == Some(libc::ELOOP) => return Ok(None),
        file => file?,
    };
    let found = file.metadata()?;
    Ok((found.is_file() && found.nlink() == 1).then_some(file))
}

/// A directory just made must itself survive a power cut.
fn sync_parent(dir: &Path) -> io::Result<()> {
    let parent = dir.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(parent)?.sync_all()
}

/// An open database, and how to tell that it is still the one at its path.
pub(super) struct Database {
    /// Ready for use: migrated, in WAL mode.
    pub(super) db: Connection,
    /// Where it is.
    pub(super) path: PathBuf,
    /// The database and its log, each with device and inode.
    identity: [(PathBuf, (u64, u64)); 2],
}

impl Database {
    /// Opens the database of `dir`, which the caller has taken; sets aside one
    /// that cannot be used, and begins a new one.
    pub(super) fn open(dir: &Path) -> Result<(Database, Option<Note>), StateError> {
        let path = dir.join(DATABASE);
        let (why, found) = match usable(&path) {
            Ok(Ok(db)) => return Ok((Database::of(db, path)?, None)),
            Ok(Err(reason)) => reason,
            Err(StateError::Corrupt { cause, .. }) => (Why::Corrupt, cause.to_string()),
            Err(e) => return Err(e),
        };
        let kept = set_aside(&path, why).map_err(StateError::io("set aside", &path))?;
        let note = Note::SetAside { why, found, path: path.clone(), kept };
        match usable(&path)? {
            Ok(db) => Ok((Database::of(db, path)?, Some(note))),
            Err((_, found)) => Err(StateError::io("begin", &path)(io::Error::other(found))),
        }
    }

    /// Sets aside the database of `dir`, if there is one that is not empty: a
    /// daemon has gone on without knowing what it says.
    pub(super) fn set_aside_unread(dir: &Path) -> Result<Option<Note>, StateError> {
        let path = dir.join(DATABASE);
        if !fs::metadata(&path).is_ok_and(|found| found.len() > 0) {
            return Ok(None);
        }
        let why = Why::Unread;
        let kept = set_aside(&path, why).map_err(StateError::io("set aside", &path))?;
        let found = "what it holds was not known to the daemon that runs".to_owned();
        Ok(Some(Note::SetAside { why, found, path, kept }))
    }

    fn of(db: Connection, path: PathBuf) -> Result<Database, StateError> {
        let log = with_suffix(&path, "-wal");
        let id = |path: &Path| inode(path).map_err(StateError::io("look at", path));
        let identity = [(path.clone(), id(&path)?), (log.clone(), id(&log)?)];
        Ok(Database { db, path, identity })
    }

    /// Whether the files at their paths are those that are open. SQLite itself
    /// goes on writing to a file without a name, and says nothing.
    pub(super) fn check(&self) -> Result<(), StateError> {
        for (path, id) in &self.identity {
            if inode(path).ok() != Some(*id) {
                return Err(StateError::Gone { path: path.clone() });
            }
        }
        Ok(())
    }
}

fn inode(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}

/// Opens, or begins, the file; or says why it is not to be used. In that case
/// the file is as it was.
fn usable(path: &Path) -> Result<Result<Connection, (Why, String)>, StateError> {
    // SQLite would make it readable to the world; what it makes beside it
    // inherits the mode.
    let Some(file) = open_own(path).map_err(StateError::io("open", path))? else {
        return Ok(Err((Why::Foreign, "a link, or no file".to_owned())));
    };
    file.set_permissions(Permissions::from_mode(0o600))
        .map_err(StateError::io("restrict", path))?;

    let sql = StateError::sql("open", path);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut db = Connection::open_with_flags(path, flags).map_err(&sql)?;
    db.busy_timeout(BUSY).map_err(&sql)?;
    let keep_log = DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE;
    db.set_db_config(keep_log, true).map_err(&sql)?;
    match schema::kind(&db).map_err(&sql)? {
        Kind::Ours => {}
        Kind::Foreign(found) => return Ok(Err((Why::Foreign, found))),
        Kind::Newer(found) => return Ok(Err((Why::Newer, found))),
    }
    db.set_db_config(keep_log, false).map_err(&sql)?;

    let mode: String =
        db.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0)).map_err(&sql)?;
    if mode != "wal" {
        let why = io::Error::other(format!("the file system allows only journal mode {mode}"));
        return Err(StateError::io("keep a write-ahead log for", path)(why));
    }
    db.pragma_update(None, "synchronous", "FULL").map_err(&sql)?;
    db.pragma_update(None, "journal_size_limit", LOG_BYTES).map_err(&sql)?;
    schema::migrate(&mut db).map_err(StateError::sql("migrate", path))?;
    match schema::damage(&db).map_err(StateError::sql("check", path))? {
        Some(found) => Ok(Err((Why::Corrupt, found))),
        None => Ok(Ok(db)),
    }
}

/// Renames the database and what belongs to it, never over another file.
fn set_aside(path: &Path, why: Why) -> io::Result<PathBuf> {
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ");
    let base = with_suffix(path, &format!(".{}-{time}", why.word()));
    let free = |to: &Path| {
        let taken = |p: &Path| fs::symlink_metadata(p).is_ok();
        !taken(to) && !SIDECARS.iter().any(|s| taken(&with_suffix(to, s)))
    };
    // The lock keeps other daemons out, so what is free stays free.
    let to = std::iter::once(base.clone())
        .chain((1..1000).map(|n| with_suffix(&base, &format!(".{n}"))))
        .find(|to| free(to))
        .ok_or(io::ErrorKind::AlreadyExists)?;
    // The log first: a database without its log is an older state that looks
    // like the present one, a log without its database is nothing.
    for suffix in SIDECARS {
        match fs::rename(with_suffix(path, suffix), with_suffix(&to, suffix)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
            _ => {}
        }
    }
    fs::rename(path, &to)?;
    Ok(to)
}

pub(super) fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = OsString::from(path);
    name.push(suffix);
    name.into()
}
