//! What `bulkhead-watchdog` left in the state directory before a boot ended.

use bulkhead_watchdog::last_words::{self, Words, MOST};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

/// Files that are kept, one a boot.
const KEPT: usize = 16;

/// Files that are looked at when old ones are removed.
const LOOKED_AT: usize = 4096;

/// Those of the boot `boot_id`, oldest first; none where there are none, or they
/// cannot be read.
pub fn of(state_dir: &Path, boot_id: &str) -> Vec<Words> {
    let read = || -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
        let file: File = OpenOptions::new()
            .read(true)
            .custom_flags(flags)
            .open(last_words::file(state_dir, boot_id))?;
        file.take(MOST).read_to_end(&mut bytes)?;
        Ok(bytes)
    };
    last_words::parse(&read().unwrap_or_default())
}

/// Removes all but the newest, and never that of `running`.
pub fn remove_old(state_dir: &Path, running: &str) {
    let directory = last_words::directory(state_dir);
    let running = last_words::file(state_dir, running);
    let Ok(entries) = fs::read_dir(directory) else { return };
    let entries = entries.take(LOOKED_AT).filter_map(Result::ok).map(|entry| entry.path());
    let is_ours = |path: &Path| path.extension().is_some_and(|e| e == "jsonl") && path != running;
    let changed = |path: &Path| {
        let time = fs::symlink_metadata(path).and_then(|data| data.modified());
        time.unwrap_or(SystemTime::UNIX_EPOCH)
    };
    let mut files: Vec<_> = entries
        .filter(|path| is_ours(path))
        .map(|path| (std::cmp::Reverse(changed(&path)), path))
        .collect();
    files.sort();
    for (_, path) in files.iter().skip(KEPT) {
        if let Err(error) = fs::remove_file(path) {
            tracing::debug!("{} is not removed: {error}", path.display());
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::time::{Duration, UNIX_EPOCH};

    const LINE: &str = r#"{"time":"2026-11-21T11:00:00Z","boottime_ms":42000,"check":"cpu","cpu":3,"silent_ms":20000,"limit_ms":20000,"action":"crash","text":"CPU 3 was not scheduled"}"#;

    #[test]
    fn words_are_of_their_boot_and_a_line_that_was_cut_is_none() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(of(dir.path(), "a"), []);
        fs::create_dir(last_words::directory(dir.path())).unwrap();
        fs::write(last_words::file(dir.path(), "a"), format!("{LINE}\n{}", &LINE[..60])).unwrap();
        let found = of(dir.path(), "a");
        assert!(found.len() == 1 && found[0].cpu == Some(3), "{found:?}");
        assert_eq!(of(dir.path(), "b"), []);
    }

    #[test]
    fn those_of_sixteen_boots_are_kept() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(last_words::directory(dir.path())).unwrap();
        for n in 0..30u64 {
            let path = last_words::file(dir.path(), &format!("boot-{n:02}"));
            fs::write(&path, LINE).unwrap();
            let time = UNIX_EPOCH + Duration::from_secs(n);
            File::options().write(true).open(&path).unwrap().set_modified(time).unwrap();
        }
        fs::write(last_words::directory(dir.path()).join("notes"), "an admin's").unwrap();
        remove_old(dir.path(), "boot-00");
        let mut left: Vec<_> = fs::read_dir(last_words::directory(dir.path()))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        left.sort();
        assert_eq!(left.len(), 2 + KEPT);
        assert!(left[0] == "boot-00.jsonl" && left[1] == "boot-14.jsonl", "{left:?}");
    }
}
