//! The platform's storage: what a dying kernel wrote there
//! (Documentation/admin-guide/abi-testing, sysfs-fs-pstore), and where
//! systemd-pstore(8) moves it.

use super::files::{self, Entry};
use super::{death, klog, last_words, LastBoot, Root, Trace};
use bulkhead_core::model::{Record, Source, Wall};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const KERNELS: &str = "sys/fs/pstore";
const SYSTEMDS: &str = "var/lib/systemd/pstore";

/// `…/ID/COUNT/dmesg.txt` below systemd's directory.
const DEPTH: usize = 2;

/// Files that are read, the newest first. A dump of 64 KiB in EFI variables has
/// some 32 of them.
const MOST: usize = 256;

/// Digits at the end of a record's id that tell one part of a dump from
/// another, not one dump from another (systemd, src/pstore/pstore.c,
/// PSTORE_FILENAME_IGNORE).
const PART_DIGITS: usize = 6;

/// One of the pieces that a dump is cut into: `Panic#2 Part3` is the third from
/// the end of the second dump of its boot (fs/pstore/platform.c, pstore_dump()).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Part<'t> {
    /// The reason, and the number of the dump.
    pub dump: &'t str,
    /// 1 is the end of the log.
    pub number: u32,
    pub text: &'t str,
}

/// A file, as it was when it was read.
struct Saved {
    path: PathBuf,
    changed: Wall,
    text: String,
}

/// The parts in a file: one in each of pstore's, several where systemd joined
/// them. A text without a head is one part of a dump without a name.
pub fn parts(text: &str) -> Vec<Part<'_>> {
    let mut found = Vec::new();
    let (mut dump, mut number, mut start, mut at) = ("", 1, 0, 0);
    for line in text.split_inclusive('\n') {
        let next = at + line.len();
        if let Some(head) = head(line.trim_end()) {
            found.push(Part { dump, number, text: text.get(start..at).unwrap_or_default() });
            (dump, number) = head;
            start = next;
        }
        at = next;
    }
    found.push(Part { dump, number, text: text.get(start..).unwrap_or_default() });
    found.retain(|part| !part.text.trim().is_empty());
    found
}

fn head(line: &str) -> Option<(&str, u32)> {
    let (dump, part) = line.split_once(" Part")?;
    let (reason, count) = dump.split_once('#')?;
    let is_reason = !reason.is_empty() && reason.bytes().all(|b| b.is_ascii_alphabetic());
    count.parse::<u32>().ok()?;
    is_reason.then_some(())?;
    Some((dump, part.parse().ok()?))
}

pub fn read(root: &Root, from: Wall, found: &mut LastBoot) {
    // By directory, and by what the names of a dump's parts have in common.
    let mut texts: BTreeMap<(PathBuf, String), Vec<Saved>> = BTreeMap::new();
    let (kernels, systemds) = (root.path(KERNELS), root.path(SYSTEMDS));
    let mut left = MOST;
    // The kernel's first: systemd takes from there only what it has saved.
    for (directory, depth) in [(kernels, 0), (systemds, DEPTH)] {
        for entry in saved(&directory, depth, from) {
            if entry.name.ends_with(".enc.z") {
                let path = files::shown(root, &entry.path);
                found.notes.push(format!(
                    "{} is compressed in a way that the kernel did not know",
                    path.display()
                ));
                continue;
            }
            left = match left.checked_sub(1) {
                Some(left) => left,
                None => break,
            };
            let path = files::shown(root, &entry.path);
            match files::tail(&entry.path) {
                Ok(text) => {
                    let directory = entry.path.parent().unwrap_or(Path::new("")).to_owned();
                    let dumps = texts.entry((directory, stem(&entry.name))).or_default();
                    dumps.push(Saved { path, changed: entry.changed, text });
                }
                Err(error) => {
                    found.notes.push(format!("{} cannot be read: {error}", path.display()));
                }
            }
        }
    }
    for files in texts.values() {
        dumps(files, found);
    }
}

/// The dumps of a directory and those one level or more below.
fn saved(directory: &Path, depth: usize, from: Wall) -> Vec<Entry> {
    let files = files::entries(directory, |data| data.is_file());
    let is_part = |entry: &Entry| entry.name.starts_with("dmesg-");
    // What systemd joined is in the parts, if they are there.
    let has_parts = files.iter().any(is_part);
    let mut found: Vec<Entry> = files
        .into_iter()
        .filter(|entry| is_part(entry) || (!has_parts && entry.name == "dmesg.txt"))
        .filter(|entry| entry.changed.0 >= from.0)
        .collect();
    if depth > 0 {
        for below in files::entries(directory, |data| data.is_dir()).into_iter().take(MOST) {
            found.extend(saved(&below.path, depth - 1, from));
        }
    }
    found
}

/// What the parts of a dump have in common in their names: `dmesg-erst-` and
/// the front of the record's id.
fn stem(name: &str) -> String {
    let digits = name.bytes().rev().take_while(u8::is_ascii_digit).count();
    let kept = if digits > PART_DIGITS { name.len() - PART_DIGITS } else { name.len() };
    name.get(..kept).unwrap_or(name).to_owned()
}

/// Joins the parts of each dump, the oldest lines first, and reads its end.
fn dumps(files: &[Saved], found: &mut LastBoot) {
    let mut dumps: BTreeMap<&str, Vec<(Part, &Path, Wall)>> = BTreeMap::new();
    for Saved { path, changed, text } in files {
        for part in parts(text) {
            dumps.entry(part.dump).or_default().push((part, path, *changed));
        }
    }
    for mut parts in dumps.into_values() {
        parts.sort_by_key(|(part, ..)| std::cmp::Reverse(part.number));
        let lines: Vec<_> = parts.iter().flat_map(|(part, ..)| klog::all(part.text)).collect();
        let Some((_, path, changed)) = parts.last() else { continue };
        add(&lines, path, Source::Pstore, *changed, found);
    }
}

/// How `log` ends, which was saved at `saved`: in a panic, and by which records.
pub(super) fn add(
    log: &[klog::Line],
    path: &Path,
    source: Source,
    saved: Wall,
    found: &mut LastBoot,
) {
    found.deaths.extend(death::of(log, path));
    let kernels: Vec<_> = log.iter().filter(|line| !line.by_program).copied().collect();
    let Some(words) = last_words::of(&kernels) else { return };
    if words.records.is_empty() {
        let why = match words.cut {
            0 => "its record is not in it",
            _ => "its record is cut off",
        };
        let path = path.display();
        found.notes.push(format!("{path} ends by an error of the hardware, and {why}"));
    }
    found.traces.extend(words.records.into_iter().map(|record| Trace {
        source,
        path: path.to_owned(),
        time: Some(time_of(&record).unwrap_or(saved)),
        uptime: words.uptime,
        record,
    }));
}

/// When it was, if the record tells.
fn time_of(record: &Record) -> Option<Wall> {
    match record {
        Record::Mce(mce) if mce.time > 0 => {
            let seconds = i64::try_from(mce.time).ok()?;
            seconds.checked_mul(1_000_000_000).map(Wall)
        }
        _ => None,
    }
}
