//! What the process needs of the kernel, so that nothing keeps it from running.

use std::io;

/// The calling thread at SCHED_FIFO 99.
///
/// # Errors
/// When the kernel does not give it: EPERM without CAP_SYS_NICE, or in a
/// control group of version 1 without real-time time (sched(7)).
pub fn be_first() -> io::Result<()> {
    schedule(libc::SCHED_FIFO, 99)
}

/// The calling thread as any other: what starts another program, or was so
/// started, takes its priority with it.
///
/// # Errors
/// None that is known.
pub fn be_ordinary() -> io::Result<()> {
    schedule(libc::SCHED_OTHER, 0)
}

fn schedule(policy: i32, priority: i32) -> io::Result<()> {
    // SAFETY: a parameter of zeroes is one; the kernel reads it.
    let done = unsafe {
        let mut parameters = std::mem::zeroed::<libc::sched_param>();
        parameters.sched_priority = priority;
        libc::sched_setscheduler(0, policy, &parameters)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}

/// All memory resident, now and later.
///
/// # Errors
/// When the kernel does not: RLIMIT_MEMLOCK without CAP_IPC_LOCK.
pub fn lock_memory() -> io::Result<()> {
    // SAFETY: what is unused goes back first; neither call has memory of ours.
    let done = unsafe {
        libc::malloc_trim(0);
        libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE)
    };
    if done == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
    }
}
