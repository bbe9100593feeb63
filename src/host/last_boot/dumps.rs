//! Logs that a crash kernel saved with the memory of the one that died:
//! kdump-tools' `/var/crash/202611210819/dmesg.202611210819`, kexec-tools'
//! `/var/crash/127.0.0.1-2026-11-21-08:19:27/vmcore-dmesg.txt`.

use super::{files, klog, pstore, LastBoot, Root};
use bulkhead_core::model::{Source, Wall};

const PLACE: &str = "var/crash";

/// Dumps that are read, the newest first.
const MOST: usize = 8;

pub fn read(root: &Root, from: Wall, found: &mut LastBoot) {
    let mut left = MOST;
    for dump in files::entries(&root.path(PLACE), |data| data.is_dir()) {
        let logs = files::entries(&dump.path, |data| data.is_file());
        for log in logs.into_iter().filter(|log| is_log(&log.name) && log.changed.0 >= from.0) {
            left = match left.checked_sub(1) {
                Some(left) => left,
                None => return,
            };
            let path = files::shown(root, &log.path);
            match files::tail(&log.path) {
                Ok(text) => {
                    let lines: Vec<_> = klog::lines(&text).collect();
                    pstore::add(&lines, &path, Source::CrashDump, log.changed, found);
                }
                Err(error) => {
                    found.notes.push(format!("{} cannot be read: {error}", path.display()));
                }
            }
        }
    }
}

/// One that is cut off (`…-incomplete`, `….tmp`) may hold the end all the same.
fn is_log(name: &str) -> bool {
    name.starts_with("dmesg") || name.starts_with("vmcore-dmesg")
}
