//! Logs that a crash kernel saved with the memory of the one that died:
//! kdump-tools' `/var/crash/202611210819/dmesg.202611210819`, kexec-tools'
//! `/var/crash/127.0.0.1-2026-11-21-08:19:27/vmcore-dmesg.txt`.

use super::{files, klog, pstore, LastBoot, Root};
use bulkhead_core::analyze::verdict::Dump;
use bulkhead_core::model::{Source, Wall};

const PLACE: &str = "var/crash";

/// Dumps that are read, the newest first.
const MOST: usize = 8;

pub fn read(root: &Root, from: Wall, found: &mut LastBoot) {
    let mut left = MOST;
    for dump in files::entries(&root.path(PLACE), |data| data.is_dir()) {
        let logs = files::entries(&dump.path, |data| data.is_file());
        if dump.changed.0 >= from.0 && found.dumps.len() < MOST {
            let place = files::shown(root, &dump.path).display().to_string();
            let names = logs.iter().map(|file| file.name.as_str());
            found.dumps.extend(saved(names).map(|complete| Dump { place, complete }));
        }
        for log in logs.into_iter().filter(|log| is_log(&log.name) && log.changed.0 >= from.0) {
            left = match left.checked_sub(1) {
                Some(left) => left,
                None => return,
            };
            let path = files::shown(root, &log.path);
            match files::tail(&log.path) {
                Ok(text) => {
                    let lines: Vec<_> = klog::all(&text).collect();
                    pstore::add(&lines, &path, Source::CrashDump, log.changed, found);
                }
                Err(error) => {
                    found.notes.push(format!("{} cannot be read: {error}", path.display()));
                }
            }
        }
    }
}

/// Whether the memory in a directory is whole; `None` where there is none, nor
/// a log: the directory is then no crash kernel's. kdump-tools writes
/// `dump-incomplete` and makes it `dump.202611210819` (kdump-config,
/// kdump_save_core()), kexec-tools' scripts `vmcore-incomplete` and `vmcore`.
fn saved<'n>(names: impl Iterator<Item = &'n str> + Clone) -> Option<bool> {
    let is_memory = |name: &str| name.starts_with("dump") || name.starts_with("vmcore");
    let is_whole = |name: &str| {
        let cut = name.contains("incomplete") || name.ends_with(".tmp");
        is_memory(name) && !is_log(name) && !cut
    };
    let mut all = names.clone();
    all.any(|name| is_memory(name) || is_log(name)).then(|| names.clone().any(is_whole))
}

/// One that is cut off (`…-incomplete`, `….tmp`) may hold the end all the same.
fn is_log(name: &str) -> bool {
    name.starts_with("dmesg") || name.starts_with("vmcore-dmesg")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_that_was_cut_off_is_told_from_a_whole_one() {
        for (names, whole) in [
            (&["dump-incomplete"][..], Some(false)),
            (&["dump.202611210819", "dmesg.202611210819"], Some(true)),
            (&["vmcore-incomplete", "vmcore-dmesg.txt"], Some(false)),
            (&["vmcore", "vmcore-dmesg.txt"], Some(true)),
            (&["vmcore-dmesg-incomplete.txt"], Some(false)),
            (&["dmesg.202611210819"], Some(false)),
            (&["core.1234", "notes"], None),
            (&[], None),
        ] {
            assert_eq!(saved(names.iter().copied()), whole, "{names:?}");
        }
    }
}
