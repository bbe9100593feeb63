//! Tasks that may run on nothing else (proc_pid_stat(5), proc_pid_status(5)).

use super::{Look, LONGEST_LIST, MOST_LISTED};
use crate::host::{cpulist, HostError, Root};
use bulkhead_core::model::{BoundTask, Scheduling, Survey};

/// A kernel thread (include/linux/sched.h).
const PF_KTHREAD: u32 = 0x0020_0000;

/// Nobody may change its affinity: the kernel's own threads of a CPU, which
/// stop and start with it (include/linux/sched.h).
const PF_NO_SETAFFINITY: u32 = 0x0400_0000;

/// What is known of a task, bound or not.
pub struct Task {
    /// The task.
    pub task: BoundTask,
    flags: u32,
}

pub(super) fn look(look: &mut Look, survey: &mut Survey) {
    let root = look.root;
    let processes = match root.list("proc") {
        Ok(names) => names.iter().filter_map(|name| number(name)).collect::<Vec<_>>(),
        Err(error) => return look.failed(&error),
    };
    if !processes.is_empty() && !processes.contains(&1) {
        // hidepid, or ProtectProc= of the service.
        look.unknown.push("other users' processes, which /proc hides".to_owned());
    }
    let mut done = 0;
    for pid in processes {
        let threads = match root.list(&format!("proc/{pid}/task")) {
            Ok(threads) => threads,
            Err(error) => {
                look.failed(&error);
                continue;
            }
        };
        for tid in threads.iter().filter_map(|name| number(name)) {
            if !look.goes_on("tasks", done) {
                return;
            }
            done += 1;
            match bound(look, pid, tid) {
                Ok(Some(task)) => list(survey, task),
                Ok(None) => {}
                Err(error) => look.failed(&error),
            }
        }
    }
}

/// Real-time ones first, as they may keep the CPUs.
fn list(survey: &mut Survey, task: BoundTask) {
    if task.allowed.len() > LONGEST_LIST {
        survey.more_tasks += 1;
        return;
    }
    match task.is_real_time() {
        true => survey.tasks.insert(0, task),
        false => survey.tasks.push(task),
    }
    if survey.tasks.len() > MOST_LISTED {
        survey.tasks.pop();
        survey.more_tasks += 1;
    }
}

fn bound(look: &Look, pid: u32, tid: u32) -> Result<Option<BoundTask>, HostError> {
    let found = stat(look.root, pid, tid)?;
    // Threads of interrupts follow these wherever they go
    // (irq_thread_check_affinity() in kernel/irq/manage.c).
    let of_interrupt = found.task.kernel && found.task.comm.starts_with("irq/");
    if found.flags & PF_NO_SETAFFINITY != 0 || of_interrupt {
        return Ok(None);
    }
    let allowed = allowed(look.root, pid, tid)?;
    let is_bound = cpulist::parse(&allowed).is_some_and(|cpus| look.is_bound(&cpus));
    Ok(is_bound.then_some(BoundTask { allowed, ..found.task }))
}

/// What a task is; its CPUs are left out.
///
/// # Errors
/// When it is not there any more, or cannot be read.
pub fn stat(root: &Root, pid: u32, tid: u32) -> Result<Task, HostError> {
    let path = format!("proc/{pid}/task/{tid}/stat");
    parse(pid, tid, &root.read(&path)?).ok_or_else(|| {
        HostError::unexpected(root.path(&path), "it is no such file of the kernel's")
    })
}

/// Reads the one line of `stat`. (procfs::process::Stat panics where a name is
/// not UTF-8, as a thread's may be.)
pub(crate) fn parse(pid: u32, tid: u32, line: &str) -> Option<Task> {
    let (_, rest) = line.split_once('(')?;
    // A name may hold brackets; what follows it does not.
    let (comm, rest) = rest.rsplit_once(')')?;
    // Counted as proc_pid_stat(5) does; what follows the name is field 3.
    let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
    let field = |n: usize| fields.get(n.checked_sub(3)?).copied();
    let flags: u32 = field(9)?.parse().ok()?;
    let task = BoundTask {
        tid,
        pid,
        start: field(22)?.parse().ok()?,
        comm: comm.chars().filter(|c| !c.is_control()).collect(),
        // include/uapi/linux/sched.h; all others share with everybody.
        policy: match field(41)? {
            "1" => Scheduling::Fifo,
            "2" => Scheduling::Rr,
            "6" => Scheduling::Deadline,
            _ => Scheduling::Normal,
        },
        kernel: flags & PF_KTHREAD != 0,
        allowed: String::new(),
    };
    Some(Task { task, flags })
}

/// The CPUs a task may run on, as the kernel lists them.
///
/// # Errors
/// As [`stat`].
pub fn allowed(root: &Root, pid: u32, tid: u32) -> Result<String, HostError> {
    let path = format!("proc/{pid}/task/{tid}/status");
    let status = root.read(&path)?;
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:"));
    let list = list.map(str::trim).filter(|list| cpulist::parse(list).is_some());
    list.map(str::to_owned)
        .ok_or_else(|| HostError::unexpected(root.path(&path), "it has no list of CPUs"))
}

fn number(name: &str) -> Option<u32> {
    name.bytes().all(|b| b.is_ascii_digit()).then(|| name.parse().ok())?
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::take;
    use super::*;
    use crate::host::testing::Tree;
    use bulkhead_core::model::CpuId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn host() -> Tree {
        let tree = Tree::new();
        tree.write("sys/devices/system/cpu/online", "0-3\n");
        add(&tree, 1, 1, "init", 0, 0, "0-3");
        tree
    }

    fn add(tree: &Tree, pid: u32, tid: u32, comm: &str, flags: u32, policy: u32, cpus: &str) {
        let dir = format!("proc/{pid}/task/{tid}");
        tree.write(&format!("{dir}/stat"), &line(tid, comm, flags, policy));
        let status = format!("Name:\t{comm}\nCpus_allowed:\tf\nCpus_allowed_list:\t{cpus}\n");
        tree.write(&format!("{dir}/status"), &status);
    }

    /// As the kernel prints it: 52 fields.
    fn line(tid: u32, comm: &str, flags: u32, policy: u32) -> String {
        format!(
            "{tid} ({comm}) S 1 1 1 0 -1 {flags} 0 0 0 0 0 0 0 0 20 0 1 0 777 0 0 \
             18446744073709551615 0 0 0 0 0 0 0 0 0 0 0 0 17 3 0 {policy} 0 0 0 0 0 0 0 0 0 0 0\n"
        )
    }

    fn survey(tree: &Tree, cpus: &[u32]) -> Survey {
        take(&tree.root, &cpus.iter().copied().map(CpuId).collect::<BTreeSet<_>>())
    }

    fn names(survey: &Survey) -> Vec<&str> {
        survey.tasks.iter().map(|task| task.comm.as_str()).collect()
    }

    #[test]
    fn a_task_that_may_run_on_nothing_else_is_bound() {
        let tree = host();
        add(&tree, 20, 20, "clock", 0, 0, "3");
        add(&tree, 20, 21, "tick (x)", 0, 0, "2-3");
        add(&tree, 30, 30, "free", 0, 0, "1,3");
        let found = survey(&tree, &[3]);
        assert_eq!(names(&found), ["clock"]);
        let task = &found.tasks[0];
        assert_eq!((task.pid, task.tid, task.start, task.allowed.as_str()), (20, 20, 777, "3"));
        assert_eq!(names(&survey(&tree, &[2, 3])), ["clock", "tick (x)"]);
        assert_eq!(found.unknown, Vec::<String>::new());
    }

    #[test]
    fn cpus_that_are_off_line_are_no_way_out() {
        let tree = host();
        tree.write("sys/devices/system/cpu/online", "0-1,3\n");
        add(&tree, 20, 20, "clock", 0, 0, "2-3");
        assert_eq!(names(&survey(&tree, &[3])), ["clock"]);
    }

    #[test]
    fn the_kernels_own_threads_of_a_cpu_are_left_out() {
        let tree = host();
        add(&tree, 18, 18, "migration/3", PF_KTHREAD | PF_NO_SETAFFINITY, 1, "3");
        add(&tree, 19, 19, "irq/9-acpi", PF_KTHREAD, 1, "3");
        add(&tree, 22, 22, "rcuop/3", PF_KTHREAD, 1, "3");
        let found = survey(&tree, &[3]);
        assert_eq!(names(&found), ["rcuop/3"]);
        assert!(!found.tasks[0].is_real_time());
    }

    #[test]
    fn real_time_tasks_come_first() {
        let tree = host();
        for (pid, policy) in [(20, 0), (21, 1), (22, 2), (23, 6), (24, 3)] {
            add(&tree, pid, pid, &format!("t{policy}"), 0, policy, "3");
        }
        let found = survey(&tree, &[3]);
        let real_time: Vec<bool> = found.tasks.iter().map(BoundTask::is_real_time).collect();
        assert_eq!(real_time, [true, true, true, false, false]);
    }

    #[test]
    fn beyond_a_thousand_they_are_counted() {
        let tree = host();
        for pid in 100..100 + MOST_LISTED as u32 + 3 {
            add(&tree, pid, pid, "one of many", 0, 0, "3");
        }
        add(&tree, 9999, 9999, "fifo", 0, 1, "3");
        let found = survey(&tree, &[3]);
        assert_eq!((found.tasks.len(), found.more_tasks), (MOST_LISTED, 4));
        assert_eq!(found.tasks[0].comm, "fifo");
    }

    #[test]
    fn processes_that_are_hidden_are_not_known() {
        let tree = host();
        tree.remove("proc/1");
        add(&tree, 20, 20, "me", 0, 0, "0-3");
        assert_eq!(survey(&tree, &[3]).unknown, ["other users' processes, which /proc hides"]);
    }

    #[test]
    fn a_file_that_makes_no_sense_is_not_known() {
        let tree = host();
        tree.write("proc/20/task/20/stat", "what?");
        assert!(survey(&tree, &[3]).unknown[0].contains("proc/20/task/20/stat"));
    }

    #[test]
    fn a_task_that_ended_meanwhile_is_not_missed() {
        let tree = host();
        tree.write("proc/20/task/20/x", "");
        assert_eq!(survey(&tree, &[3]), Survey::default());
    }

    proptest! {
        #[test]
        fn any_text_is_read_or_refused(text in "\\PC{0,200}") {
            let _ = parse(1, 1, &text);
        }

        #[test]
        fn a_name_may_hold_anything(comm in "\\PC{0,15}") {
            let read = parse(7, 7, &line(7, &comm, PF_KTHREAD, 1)).unwrap();
            prop_assert_eq!(read.task.comm, comm);
            prop_assert_eq!((read.flags, read.task.start), (PF_KTHREAD, 777));
        }

        #[test]
        fn a_line_cut_short_is_refused_before_its_policy(length in 0usize..80) {
            let line = line(7, "clock", 0, 1);
            prop_assert!(parse(7, 7, &line[..length.min(line.len())]).is_none());
        }
    }
}
