//! BPF programs and maps, by system calls alone: what a benchmark compares with, and what the kernel says that they
//! cost.
//!
//! Layouts and numbers are those of `union bpf_attr` and its enumerations in include/uapi/linux/bpf.h.

use std::ffi::{c_long, CString};
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::ExitCode;
use std::thread;

use anyhow::{Context, Result};
use nix::errno::Errno;

const BPF_PROG_LOAD: c_long = 5;
const BPF_PROG_GET_NEXT_ID: c_long = 11;
const BPF_MAP_GET_NEXT_ID: c_long = 12;
const BPF_PROG_GET_FD_BY_ID: c_long = 13;
const BPF_MAP_GET_FD_BY_ID: c_long = 14;
const BPF_RAW_TRACEPOINT_OPEN: c_long = 17;

const BPF_PROG_TYPE_RAW_TRACEPOINT: u32 = 17;

/// `r0 = 0` and `exit`: opcode, registers, 16 bits of offset, 32 bits of number.
const RETURN_0: [u8; 16] = [0xb7, 0, 0, 0, 0, 0, 0, 0, 0x95, 0, 0, 0, 0, 0, 0, 0];

#[repr(C)]
struct ProgLoad {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    /// From `log_level` to `kern_version`.
    unused: [u32; 6],
}

#[repr(C)]
struct RawTracepointOpen {
    name: u64,
    prog_fd: u32,
    unused: u32,
}

/// Of the calls that go by id: where to start or what to open, and what comes next.
#[repr(C)]
#[derive(Default)]
struct ById {
    id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Puts a program that does nothing on a raw tracepoint, prints `attached`, and holds it until it is killed.
pub fn hold_empty(tracepoint: &str) -> Result<ExitCode> {
    let load = ProgLoad {
        prog_type: BPF_PROG_TYPE_RAW_TRACEPOINT,
        insn_cnt: 2,
        insns: RETURN_0.as_ptr() as u64,
        license: c"GPL".as_ptr() as u64,
        unused: [0; 6],
    };
    let program = descriptor(BPF_PROG_LOAD, &load).context("load an empty program")?;
    let name = CString::new(tracepoint)?;
    let open = RawTracepointOpen {
        name: name.as_ptr() as u64,
        prog_fd: program.as_raw_fd().try_into()?,
        unused: 0,
    };
    let _link = descriptor(BPF_RAW_TRACEPOINT_OPEN, &open)
        .with_context(|| format!("attach to {tracepoint}"))?;
    println!("attached");
    loop {
        thread::park();
    }
}

/// Prints the memory of all maps of the kernel, in bytes, and the time that all its programs have run, in ns, as
/// `bpftool` finds it out: a name and a number to a line. Time counts while kernel.bpf_stats_enabled is 1.
pub fn print_costs() -> Result<()> {
    let (mut map_bytes, mut run_ns) = (0, 0);
    each(BPF_MAP_GET_NEXT_ID, BPF_MAP_GET_FD_BY_ID, |fdinfo| {
        map_bytes += number(fdinfo, "memlock:");
    })?;
    each(BPF_PROG_GET_NEXT_ID, BPF_PROG_GET_FD_BY_ID, |fdinfo| {
        run_ns += number(fdinfo, "run_time_ns:");
    })?;
    println!("map_bytes {map_bytes}\nrun_ns {run_ns}");
    Ok(())
}

/// Hands out what /proc says of each map, or program.
fn each(next: c_long, open: c_long, mut of: impl FnMut(&str)) -> Result<()> {
    let mut id = 0;
    loop {
        let mut by_id = ById { id, ..ById::default() };
        match bpf(next, &mut by_id) {
            Err(Errno::ENOENT) => return Ok(()),
            result => result.context("the next id")?,
        };
        id = by_id.next_id;
        let object = match descriptor(open, &ById { id, ..ById::default() }) {
            // Gone since.
            Err(Errno::ENOENT) => continue,
            result => result.with_context(|| format!("open id {id}"))?,
        };
        of(&fs::read_to_string(format!("/proc/self/fdinfo/{}", object.as_raw_fd()))?);
    }
}

/// The number behind a name in a file of /proc; 0 where the kernel does not tell it.
fn number(text: &str, name: &str) -> u64 {
    let words = |line: &str| line.strip_prefix(name)?.trim().parse().ok();
    text.lines().find_map(words).unwrap_or(0)
}

fn descriptor<T>(command: c_long, attributes: &T) -> Result<OwnedFd, Errno> {
    // SAFETY: the kernel only reads the attributes of the commands that answer a descriptor, which is then nobody
    // else's.
    unsafe {
        let fd = libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>());
        Errno::result(fd).map(|fd| OwnedFd::from_raw_fd(fd as i32))
    }
}

fn bpf<T>(command: c_long, attributes: &mut T) -> Result<(), Errno> {
    // SAFETY: the attributes are as long as said, and the kernel writes no farther.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes, size_of::<T>()) };
    Errno::result(result).map(drop)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_number_is_found_by_its_name_and_is_0_where_there_is_none() {
        let fdinfo = "pos:\t0\nmemlock:\t4096\nrun_time_ns:\t12\nrun_cnt:\t3\n";
        assert_eq!(number(fdinfo, "memlock:"), 4096);
        assert_eq!(number(fdinfo, "run_cnt:"), 3);
        assert_eq!(number(fdinfo, "recursion_misses:"), 0);
    }
}
