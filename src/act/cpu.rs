//! Taking CPUs off line, all or none, and bringing them back
//! (Documentation/core-api/cpu_hotplug.rst).

use super::reply::Reply;
use super::sysfs;
use crate::host::{cpulist, survey, HostError, Root};
use bulkhead_core::decide::Answer;
use bulkhead_core::model::CpuId;
use std::collections::BTreeSet;

const ONLINE: &str = "sys/devices/system/cpu/online";

/// What [`take`] (`on` false) and [`give`] (true) ask, for people.
pub(super) fn asked(root: &Root, cpus: &[CpuId], on: bool) -> String {
    let files: Vec<String> =
        cpus.iter().map(|cpu| root.path(&file(*cpu)).display().to_string()).collect();
    format!("{} > {}", value(on), files.join(", "))
}

/// What [`look`] asks, for people.
pub(super) fn asked_look(cpus: &[CpuId]) -> String {
    let cpus: BTreeSet<CpuId> = cpus.iter().copied().collect();
    format!("what is bound to {} alone", named(&cpus))
}

/// Looks what is bound to these CPUs alone. Writes nothing.
pub(super) fn look(root: &Root, cpus: &[CpuId]) -> Reply {
    let survey = survey::take(root, &cpus.iter().copied().collect());
    let reply = Reply::new(Answer::On, survey.sentence());
    Reply { survey: Some(Box::new(survey)), ..reply }
}

/// Takes these CPUs, or none of them: where one does not go, those that went
/// before it are brought back. One that is off line already counts as gone.
/// Writes nothing unless each can be read.
pub(super) fn take(root: &Root, cpus: &[CpuId]) -> Reply {
    let cpus: BTreeSet<CpuId> = cpus.iter().copied().collect();
    let left = match online_of(root, &cpus) {
        Ok(left) => left,
        Err(error) => return error.into(),
    };
    if cpus.is_empty() {
        return Reply::new(Answer::NoSuch, "no CPU was named; nothing was written");
    }
    if left.is_empty() {
        let answered = format!("{} off line already; nothing was written", are(&cpus));
        return Reply::new(Answer::WasOff, answered);
    }
    let mut taken = Vec::new();
    for cpu in left {
        if let Err(failed) = guard(root, &cpus).and_then(|()| set(root, cpu, false)) {
            return roll_back(root, &taken, failed);
        }
        taken.push(cpu);
    }
    Reply::new(Answer::Off, format!("accepted; {} off line", are(&cpus)))
}

/// Brings these CPUs on line: each that can be, whatever becomes of the others.
pub(super) fn give(root: &Root, cpus: &[CpuId]) -> Reply {
    let cpus: BTreeSet<CpuId> = cpus.iter().copied().collect();
    if cpus.is_empty() {
        return Reply::new(Answer::NoSuch, "no CPU was named; nothing was written");
    }
    let failed: Vec<Reply> = cpus
        .iter()
        .filter_map(|cpu| match is_online(root, *cpu) {
            Ok(true) => None,
            Ok(false) => set(root, *cpu, true).err(),
            Err(error) => {
                let answered = format!("CPU {cpu}: {error}");
                Some(Reply::new(sysfs::answer(&error.cause), answered))
            }
        })
        .collect();
    match failed.first() {
        None => Reply::new(Answer::On, format!("{} on line", are(&cpus))),
        Some(first) => {
            let words: Vec<&str> = failed.iter().map(|reply| reply.answered.as_str()).collect();
            Reply::new(first.answer, words.join("; "))
        }
    }
}

/// The last CPU is decide's to spare, and the kernel's; this looks once more,
/// right before the write.
fn guard(root: &Root, going: &BTreeSet<CpuId>) -> Result<(), Reply> {
    let online = online_list(root).map_err(|error| {
        let answered = format!("refused, since nobody can tell what stays on line: {error}");
        Reply::new(sysfs::answer(&error.cause), answered)
    })?;
    if online.is_subset(going) {
        let answered = format!("refused: only {} on line, no other would stay", are(&online));
        return Err(Reply::new(Answer::NotAllowed, answered));
    }
    Ok(())
}

fn online_list(root: &Root) -> Result<BTreeSet<CpuId>, HostError> {
    cpulist::parse(&root.read(ONLINE)?)
        .ok_or_else(|| HostError::unexpected(root.path(ONLINE), "it holds no list of CPUs"))
}

/// Writes one CPU's file and reads it back.
fn set(root: &Root, cpu: CpuId, on: bool) -> Result<(), Reply> {
    let path = root.path(&file(cpu));
    if let Err(error) = sysfs::write(&path, value(on)) {
        let answered = format!("CPU {cpu}: {}", sysfs::words(&error));
        return Err(Reply::new(sysfs::answer(&error), answered));
    }
    confirm(cpu, on, is_online(root, cpu))
}

/// Whether the read-back bears out that the kernel accepted the write.
fn confirm(cpu: CpuId, on: bool, now: Result<bool, HostError>) -> Result<(), Reply> {
    let answered = match now {
        Ok(now) if now == on => return Ok(()),
        Ok(true) => format!("CPU {cpu}: accepted, but it is on line"),
        Ok(false) => format!("CPU {cpu}: accepted, but it is off line"),
        Err(error) => format!("CPU {cpu}: accepted, but {error}"),
    };
    Err(Reply::new(Answer::Unconfirmed, answered))
}

/// Brings back what this order took, and says what came of it.
fn roll_back(root: &Root, taken: &[CpuId], failed: Reply) -> Reply {
    let mut answered = failed.answered;
    let mut left_off = Vec::new();
    for cpu in taken.iter().rev() {
        answered += &match set(root, *cpu, true) {
            Ok(()) => format!("; CPU {cpu} was brought back"),
            Err(stuck) => {
                // Brought back all the same, or by somebody else.
                if !is_online(root, *cpu).unwrap_or(false) {
                    left_off.push(*cpu);
                }
                format!("; not brought back: {}", stuck.answered)
            }
        };
    }
    Reply { left_off, ..Reply::new(failed.answer, answered) }
}

/// Which of these are on line. An error if one cannot be taken at all.
fn online_of(root: &Root, cpus: &BTreeSet<CpuId>) -> Result<Vec<CpuId>, HostError> {
    let mut online = Vec::new();
    for cpu in cpus {
        if is_online(root, *cpu)? {
            online.push(*cpu);
        }
    }
    Ok(online)
}

fn is_online(root: &Root, cpu: CpuId) -> Result<bool, HostError> {
    match root.read(&file(cpu))?.trim() {
        "1" => Ok(true),
        "0" => Ok(false),
        _ => Err(HostError::unexpected(root.path(&file(cpu)), "it holds neither 0 nor 1")),
    }
}

fn file(cpu: CpuId) -> String {
    format!("sys/devices/system/cpu/cpu{cpu}/online")
}

fn value(on: bool) -> &'static str {
    if on {
        "1"
    } else {
        "0"
    }
}

/// "1,5".
fn names(cpus: &BTreeSet<CpuId>) -> String {
    let names: Vec<String> = cpus.iter().map(CpuId::to_string).collect();
    names.join(",")
}

/// "CPUs 1,5".
fn named(cpus: &BTreeSet<CpuId>) -> String {
    format!("CPU{} {}", if cpus.len() == 1 { "" } else { "s" }, names(cpus))
}

/// "CPUs 1,5 are".
fn are(cpus: &BTreeSet<CpuId>) -> String {
    format!("{} {}", named(cpus), if cpus.len() == 1 { "is" } else { "are" })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// CPUs 0 to 3, all on line. CPU 0 has no file of its own; the others'
    /// take what is written to them.
    fn host() -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        for cpu in 0..4 {
            fs::create_dir_all(root.path(&format!("sys/devices/system/cpu/cpu{cpu}"))).unwrap();
        }
        for cpu in 1..4 {
            write(&root, &file(CpuId(cpu)), "1\n");
        }
        write(&root, ONLINE, "0-3\n");
        (dir, root)
    }

    fn write(root: &Root, relative: &str, text: &str) {
        fs::write(root.path(relative), text).unwrap();
    }

    fn on(root: &Root) -> Vec<u32> {
        (1..4).filter(|cpu| is_online(root, CpuId(*cpu)).unwrap_or(false)).collect()
    }

    /// Makes CPU 3 one that says it is on line whatever is written to it.
    fn cpu3_stays(root: &Root) {
        fs::remove_file(root.path(&file(CpuId(3)))).unwrap();
        symlink("/dev/null", root.path("sys/devices/system/cpu/cpu3/online")).unwrap();
    }

    #[test]
    fn all_threads_of_a_core_go() {
        let (_dir, root) = host();
        let reply = take(&root, &[CpuId(1), CpuId(3)]);
        assert_eq!(reply, Reply::new(Answer::Off, "accepted; CPUs 1,3 are off line"));
        assert_eq!(on(&root), [2]);
    }

    #[test]
    fn one_that_is_off_line_already_counts_as_gone() {
        let (_dir, root) = host();
        write(&root, &file(CpuId(1)), "0\n");
        assert_eq!(take(&root, &[CpuId(1), CpuId(3)]).answer, Answer::Off);
        assert_eq!(take(&root, &[CpuId(1), CpuId(3)]).answer, Answer::WasOff);
        assert_eq!(on(&root), [2]);
    }

    #[test]
    fn none_goes_where_one_cannot() {
        let (_dir, root) = host();
        let reply = take(&root, &[CpuId(0), CpuId(2)]);
        assert_eq!(reply.answer, Answer::NoSuch);
        assert!(reply.answered.contains("cpu0/online"), "{}", reply.answered);
        assert_eq!(on(&root), [1, 2, 3]);
        assert!(!root.path(&file(CpuId(0))).exists(), "and no file is made for it");
    }

    #[test]
    fn none_goes_where_the_state_of_one_is_not_understood() {
        let (_dir, root) = host();
        cpu3_stays(&root);
        let reply = take(&root, &[CpuId(1), CpuId(3)]);
        assert_eq!(reply.answer, Answer::Unconfirmed);
        assert_eq!(on(&root), [1, 2]);
    }

    #[test]
    fn an_order_that_fails_halfway_is_undone() {
        let (_dir, root) = host();
        // CPU 0's file doubles as the list: once it is written, the list names
        // CPU 0 alone, and the guard refuses what would have come next.
        write(&root, ONLINE, "1\n");
        symlink(root.path(ONLINE), root.path(&file(CpuId(0)))).unwrap();
        let reply = take(&root, &[CpuId(0), CpuId(2)]);
        assert_eq!(reply.answer, Answer::NotAllowed);
        assert!(reply.answered.ends_with("CPU 0 was brought back"), "{}", reply.answered);
        assert!(is_online(&root, CpuId(0)).unwrap());
        assert_eq!(on(&root), [1, 2, 3]);
    }

    #[test]
    fn a_yes_that_the_read_back_does_not_bear_out_is_none() {
        assert_eq!(confirm(CpuId(3), false, Ok(false)), Ok(()));
        let reply = confirm(CpuId(3), false, Ok(true)).unwrap_err();
        assert_eq!(reply.answer, Answer::Unconfirmed);
        assert_eq!(reply.answered, "CPU 3: accepted, but it is on line");
    }

    #[test]
    fn those_that_went_come_back_last_first() {
        let (_dir, root) = host();
        let failed = Reply::new(Answer::Busy, "CPU 3: EBUSY: Device or resource busy");
        set(&root, CpuId(1), false).unwrap();
        set(&root, CpuId(2), false).unwrap();
        let reply = roll_back(&root, &[CpuId(1), CpuId(2)], failed);
        assert_eq!(reply.answer, Answer::Busy);
        assert_eq!(
            reply.answered,
            "CPU 3: EBUSY: Device or resource busy; CPU 2 was brought back; CPU 1 was brought back"
        );
        assert_eq!(on(&root), [1, 2, 3]);
    }

    #[test]
    fn one_that_cannot_be_brought_back_is_said() {
        let (_dir, root) = host();
        cpu3_stays(&root);
        let failed = Reply::new(Answer::Busy, "CPU 2: EBUSY: Device or resource busy");
        let reply = roll_back(&root, &[CpuId(1), CpuId(3)], failed);
        assert_eq!(reply.left_off, [CpuId(3)], "and known, not only told");
        assert!(reply.answered.contains("not brought back: CPU 3"), "{}", reply.answered);
    }

    #[test]
    fn the_last_cpus_stay() {
        let (_dir, root) = host();
        write(&root, ONLINE, "1,3\n");
        let reply = take(&root, &[CpuId(3), CpuId(1)]);
        assert_eq!(reply.answer, Answer::NotAllowed);
        assert!(reply.answered.contains("no other would stay"), "{}", reply.answered);
        assert_eq!(on(&root), [1, 2, 3]);
    }

    #[test]
    fn nothing_goes_while_nobody_can_tell_which_cpus_are_left() {
        let (_dir, root) = host();
        write(&root, ONLINE, "many\n");
        assert_eq!(take(&root, &[CpuId(1)]).answer, Answer::Unconfirmed);
        fs::remove_file(root.path(ONLINE)).unwrap();
        assert_eq!(take(&root, &[CpuId(1)]).answer, Answer::NoSuch);
        assert_eq!(on(&root), [1, 2, 3]);
    }

    #[test]
    fn given_back_is_what_can_be_whatever_becomes_of_the_rest() {
        let (_dir, root) = host();
        write(&root, &file(CpuId(1)), "0\n");
        write(&root, &file(CpuId(2)), "0\n");
        let reply = give(&root, &[CpuId(7), CpuId(1), CpuId(2)]);
        assert_eq!(reply.answer, Answer::NoSuch);
        assert!(reply.answered.contains("cpu7/online"), "{}", reply.answered);
        assert_eq!(on(&root), [1, 2, 3]);
        assert_eq!(give(&root, &[CpuId(1)]), Reply::new(Answer::On, "CPU 1 is on line"));
    }

    #[test]
    fn an_order_that_names_no_cpu_does_nothing() {
        let (_dir, root) = host();
        assert_eq!(take(&root, &[]).answer, Answer::NoSuch);
        assert_eq!(give(&root, &[]).answer, Answer::NoSuch);
    }
}
