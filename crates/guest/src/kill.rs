//! A kill at a moment of choice: at a system call that changes what outlives the process. And a stop at the first page
//! that goes.

use std::process::ExitCode;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use nix::sys::ptrace;
use nix::sys::signal::Signal;
use nix::sys::wait::{waitpid, WaitPidFlag, WaitStatus};
use nix::unistd::Pid;

/// From `ready` to the first such call: whatever causes it has yet to happen.
const FIRST: Duration = Duration::from_secs(60);

/// A process that makes no further call for so long has done its work, on a busy machine too.
const IDLE: Duration = Duration::from_secs(8);

/// bpf(2)'s commands that change a map: BPF_MAP_UPDATE_ELEM, _DELETE_ELEM, and the batches of LOOKUP_AND_DELETE, UPDATE
/// and DELETE (include/uapi/linux/bpf.h).
const BPF_CHANGES: &[u64] = &[2, 3, 25, 26, 27];

/// Prints `ready`, and kills the process before its `nth` call that matters: exit code 0. It lets it go, with exit
/// code 1, if that does not come.
pub fn run(nth: u32, pid: i32) -> Result<ExitCode> {
    let pid = Pid::from_raw(pid);
    ptrace::seize(pid, ptrace::Options::PTRACE_O_TRACESYSGOOD).context("seize")?;
    ptrace::interrupt(pid).context("interrupt")?;
    let mut calls = 0;
    let mut since = Instant::now();
    let mut ready = false;
    while since.elapsed() < if calls == 0 { FIRST } else { IDLE } {
        let status = waitpid(pid, Some(WaitPidFlag::WNOHANG)).context("wait")?;
        let signal = match status {
            WaitStatus::StillAlive => {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            WaitStatus::PtraceSyscall(_) if matters(pid)? => {
                calls += 1;
                if calls == nth {
                    nix::sys::signal::kill(pid, Signal::SIGKILL).context("kill")?;
                    return Ok(ExitCode::SUCCESS);
                }
                since = Instant::now();
                None
            }
            WaitStatus::Stopped(_, signal) => Some(signal),
            WaitStatus::PtraceSyscall(_) | WaitStatus::PtraceEvent(..) => None,
            other => bail!("{other:?}"),
        };
        ptrace::syscall(pid, signal).context("go on")?;
        if !ready {
            println!("ready");
            ready = true;
        }
    }
    // The end of the tracer lets it go.
    Ok(ExitCode::FAILURE)
}

/// Stops a process, all its threads, as soon as any memory is out of service; prints how much is by then, in KiB.
pub fn stop_at_poison(pid: i32) -> Result<()> {
    while poisoned_kib()? == 0 {}
    nix::sys::signal::kill(Pid::from_raw(pid), Signal::SIGSTOP).context("stop")?;
    println!("stopped {}", poisoned_kib()?);
    Ok(())
}

fn poisoned_kib() -> Result<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").context("/proc/meminfo")?;
    let line = text.lines().find_map(|line| line.strip_prefix("HardwareCorrupted:"));
    let kib = line.and_then(|rest| rest.split_whitespace().next()).context("HardwareCorrupted")?;
    Ok(kib.parse()?)
}

fn matters(pid: Pid) -> Result<bool> {
    let info = ptrace::syscall_info(pid).context("system call")?;
    if info.op != libc::PTRACE_SYSCALL_INFO_ENTRY {
        return Ok(false);
    }
    // SAFETY: the kernel says that the union holds an entry.
    let entry = unsafe { info.u.entry };
    Ok(match i64::try_from(entry.nr)? {
        libc::SYS_bpf => BPF_CHANGES.contains(&entry.args[0]),
        libc::SYS_pwrite64 | libc::SYS_fdatasync | libc::SYS_fsync | libc::SYS_ftruncate => true,
        _ => false,
    })
}
