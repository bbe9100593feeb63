//! Binding tasks as they were before their CPUs went (sched_setaffinity(2)).

use super::reply::Reply;
use super::sysfs;
use crate::host::survey::tasks;
use crate::host::{cpulist, HostError, Root};
use bulkhead_core::decide::Answer;
use bulkhead_core::model::{BoundTask, CpuId};
use std::collections::BTreeSet;
use std::io;

/// Bytes of a CPU mask that has room for all that cpulist believes; the kernel
/// takes as many as it has CPUs.
const MASK: usize = 8192 / 8;

/// So many tasks that could not be put back are named, the rest is counted.
const NAMED: usize = 8;

/// What became of one task.
#[derive(Debug, PartialEq, Eq)]
enum Became {
    /// Bound as it was, by this.
    PutBack,
    /// Bound as it was already: by a newer kernel, or never driven off.
    AsItWas,
    /// It has ended.
    Gone,
    /// Somebody bound it elsewhere meanwhile, and is not fought.
    Rebound,
    /// It is not bound as it was, for this reason.
    Not(String),
}

/// What [`put_back`] asks, for people.
pub(super) fn asked(tasks: &[BoundTask]) -> String {
    match tasks {
        [task] => format!("the CPUs {} of {}", task.allowed, task.name()),
        tasks => format!("the CPUs of {} tasks as they were", tasks.len()),
    }
}

/// Binds these tasks as they were, as far as they are still there and nobody has
/// bound them elsewhere, and reads each back.
pub(super) fn put_back(root: &Root, tasks: &[BoundTask]) -> Reply {
    let became: Vec<(&BoundTask, Became)> =
        tasks.iter().map(|task| (task, put_one_back(root, task, set))).collect();
    conclude(&became)
}

fn conclude(became: &[(&BoundTask, Became)]) -> Reply {
    let count = |which: fn(&Became) -> bool| became.iter().filter(|(_, b)| which(b)).count();
    let parts: Vec<String> = [
        (count(|b| *b == Became::PutBack), "put back"),
        (count(|b| *b == Became::AsItWas), "bound as before already"),
        (count(|b| *b == Became::Gone), "ended meanwhile"),
        (count(|b| *b == Became::Rebound), "bound elsewhere by somebody, and left so"),
    ]
    .into_iter()
    .filter(|(count, _)| *count > 0)
    .map(|(count, words)| format!("{count} {words}"))
    .collect();
    let failed: Vec<String> = became
        .iter()
        .filter_map(|(task, became)| match became {
            Became::Not(why) => Some(format!("{} to CPUs {}: {why}", task.name(), task.allowed)),
            _ => None,
        })
        .collect();
    let mut answered = parts.join(", ");
    if failed.is_empty() {
        return Reply::new(Answer::On, answered);
    }
    if !answered.is_empty() {
        answered += "; ";
    }
    let shown = failed.iter().take(NAMED).cloned().collect::<Vec<_>>().join("; ");
    answered += &format!("{} not put back: {shown}", failed.len());
    if failed.len() > NAMED {
        answered += &format!(" and {} more", failed.len() - NAMED);
    }
    Reply::new(Answer::Unconfirmed, answered)
}

fn put_one_back(
    root: &Root,
    task: &BoundTask,
    set: impl Fn(u32, &BTreeSet<CpuId>) -> io::Result<()>,
) -> Became {
    let Some(wanted) = cpulist::parse(&task.allowed) else {
        return Became::Not("no list of CPUs is known of it".to_owned());
    };
    match now(root, task) {
        Ok(None) => Became::Gone,
        Ok(Some(now)) if now == wanted => Became::AsItWas,
        // The kernel, when it drives a task off, lets it run everywhere.
        Ok(Some(now)) if !now.is_superset(&wanted) => Became::Rebound,
        Ok(Some(_)) => match (set(task.tid, &wanted), now(root, task)) {
            (_, Ok(None)) => Became::Gone,
            (_, Ok(Some(after))) if after == wanted => Became::PutBack,
            (Ok(()), Ok(Some(_))) => Became::Not("accepted, but it reads back as before".into()),
            (Ok(()), Err(error)) => Became::Not(format!("accepted, but {error}")),
            (Err(error), _) => Became::Not(sysfs::words(&error)),
        },
        Err(error) => Became::Not(error.to_string()),
    }
}

/// The CPUs it may run on now; `None` where it has ended, and perhaps another
/// one goes by its number.
fn now(root: &Root, task: &BoundTask) -> Result<Option<BTreeSet<CpuId>>, HostError> {
    let ended = |error: &HostError| {
        error.cause.kind() == io::ErrorKind::NotFound || error.errno() == Some(libc::ESRCH)
    };
    let read = || {
        let found = tasks::stat(root, task.pid, task.tid)?;
        if found.task.start != task.start {
            return Ok(None);
        }
        tasks::allowed(root, task.pid, task.tid).map(|list| cpulist::parse(&list))
    };
    match read() {
        Err(error) if ended(&error) => Ok(None),
        other => other,
    }
}

fn set(tid: u32, cpus: &BTreeSet<CpuId>) -> io::Result<()> {
    let tid = libc::pid_t::try_from(tid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // The words of the mask are longs; nix's CpuSet ends at CPU 1023.
    const BITS: usize = libc::c_ulong::BITS as usize;
    let mut mask = [0 as libc::c_ulong; MASK * 8 / BITS];
    for cpu in cpus {
        let cpu = usize::try_from(cpu.0).unwrap_or(usize::MAX);
        if let Some(word) = mask.get_mut(cpu / BITS) {
            *word |= 1 << (cpu % BITS);
        }
    }
    // SAFETY: the kernel reads so many bytes from a mask that is so long.
    let result = unsafe { libc::sched_setaffinity(tid, size_of_val(&mask), mask.as_ptr().cast()) };
    nix::errno::Errno::result(result).map(drop).map_err(io::Error::from)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use bulkhead_core::model::Scheduling;
    use std::fs;

    fn task(allowed: &str) -> BoundTask {
        BoundTask {
            tid: 21,
            pid: 20,
            start: 777,
            comm: "clock".to_owned(),
            policy: Scheduling::Normal,
            kernel: false,
            allowed: allowed.to_owned(),
        }
    }

    /// Thread 21 of process 20, started at `start`, may run on `allowed`.
    fn host(start: u64, allowed: &str) -> (tempfile::TempDir, Root) {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        let task = root.path("proc/20/task/21");
        fs::create_dir_all(&task).unwrap();
        let stat = format!(
            "21 (clock) S 1 1 1 0 -1 0 0 0 0 0 0 0 0 0 20 0 1 0 {start} 0 0 0 0 0 0 0 0 0 0 0 0 \
             0 0 0 17 3 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
        );
        fs::write(task.join("stat"), stat).unwrap();
        allow(&root, allowed);
        (dir, root)
    }

    fn allow(root: &Root, allowed: &str) {
        let text = format!("Cpus_allowed_list:\t{allowed}\n");
        fs::write(root.path("proc/20/task/21/status"), text).unwrap();
    }

    fn never(_: u32, _: &BTreeSet<CpuId>) -> io::Result<()> {
        unreachable!("nothing was to be set")
    }

    #[test]
    fn a_task_that_the_kernel_drove_off_is_bound_again_and_read_back() {
        let (_dir, root) = host(777, "0-3");
        let became = put_one_back(&root, &task("2-3"), |tid, cpus| {
            assert_eq!((tid, cpus), (21, &BTreeSet::from([CpuId(2), CpuId(3)])));
            allow(&root, "2-3");
            Ok(())
        });
        assert_eq!(became, Became::PutBack);
        let became = put_one_back(&root, &task("1"), |_, _| Ok(()));
        assert_eq!(became, Became::Rebound, "it may not run on CPU 1 now");
        allow(&root, "0-3");
        let became = put_one_back(&root, &task("1"), |_, _| Ok(()));
        assert!(matches!(became, Became::Not(_)), "{became:?}");
    }

    #[test]
    fn who_is_bound_as_before_or_elsewhere_or_is_another_is_left_alone() {
        let (_dir, root) = host(777, "3");
        assert_eq!(put_one_back(&root, &task("3"), never), Became::AsItWas);
        assert_eq!(put_one_back(&root, &task("2"), never), Became::Rebound);
        let other = BoundTask { start: 778, ..task("2") };
        assert_eq!(put_one_back(&root, &other, never), Became::Gone);
        let other = BoundTask { tid: 22, ..task("2") };
        assert_eq!(put_one_back(&root, &other, never), Became::Gone);
    }

    #[test]
    fn what_could_not_be_put_back_is_listed() {
        let tasks = [task("3"), task("2")];
        let no = Became::Not("EINVAL: Invalid argument".to_owned());
        let reply = conclude(&[(&tasks[0], Became::PutBack), (&tasks[1], no)]);
        assert_eq!(reply.answer, Answer::Unconfirmed);
        assert_eq!(
            reply.answered,
            "1 put back; 1 not put back: clock (thread 21 of process 20) to CPUs 2: EINVAL: \
             Invalid argument"
        );
        let reply = conclude(&[(&tasks[0], Became::AsItWas), (&tasks[1], Became::Gone)]);
        assert_eq!(reply, Reply::new(Answer::On, "1 bound as before already, 1 ended meanwhile"));
    }

    #[test]
    fn a_thread_of_our_own_is_bound_to_its_first_cpu() {
        let before = nix::sched::sched_getaffinity(nix::unistd::gettid()).unwrap();
        let first = (0..1024).find(|cpu| before.is_set(*cpu).unwrap_or(false)).unwrap();
        let tid = u32::try_from(nix::unistd::gettid().as_raw()).unwrap();
        set(tid, &BTreeSet::from([CpuId(u32::try_from(first).unwrap())])).unwrap();
        let after = nix::sched::sched_getaffinity(nix::unistd::gettid()).unwrap();
        let cpus: Vec<usize> = (0..1024).filter(|cpu| after.is_set(*cpu).unwrap()).collect();
        assert_eq!(cpus, [first]);
    }
}
