//! The few bpf(2) calls on programs and pins that libbpf-rs has no call for, or
//! none that tells the errno.

use libbpf_rs::libbpf_sys;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// Pins a map, program or link.
///
/// # Errors
/// Those of BPF_OBJ_PIN.
pub fn pin(fd: BorrowedFd<'_>, path: &Path) -> io::Result<()> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a valid descriptor and a NUL-terminated path.
    check(unsafe { libbpf_sys::bpf_obj_pin(fd.as_raw_fd(), path.as_ptr()) }).map(drop)
}

/// Opens what is pinned at `path`.
///
/// # Errors
/// Those of BPF_OBJ_GET.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    let path = CString::new(path.as_os_str().as_bytes())?;
    // SAFETY: a NUL-terminated path; the descriptor that comes back is nobody else's.
    unsafe { check(libbpf_sys::bpf_obj_get(path.as_ptr())).map(|fd| OwnedFd::from_raw_fd(fd)) }
}

/// Attaches a raw_tp program; it stays attached for as long as the link that
/// comes back is open or pinned.
///
/// # Errors
/// Those of BPF_RAW_TRACEPOINT_OPEN: ENOENT for a tracepoint that this kernel
/// has not, EINVAL when it has fewer arguments than the program reads.
pub fn attach(program: BorrowedFd<'_>, tracepoint: &str) -> io::Result<OwnedFd> {
    let name = CString::new(tracepoint)?;
    // SAFETY: as in `open`.
    unsafe {
        check(libbpf_sys::bpf_raw_tracepoint_open(name.as_ptr(), program.as_raw_fd()))
            .map(|fd| OwnedFd::from_raw_fd(fd))
    }
}

/// How often the kernel skipped a program because it was running on that CPU
/// already (`recursion_misses` of struct bpf_prog_info, include/uapi/linux/bpf.h).
///
/// # Errors
/// Those of BPF_OBJ_GET_INFO_BY_FD.
pub fn recursion_misses(program: BorrowedFd<'_>) -> io::Result<u64> {
    let mut info = libbpf_sys::bpf_prog_info::default();
    let mut size = size_of::<libbpf_sys::bpf_prog_info>() as u32;
    // SAFETY: `info` has room for `size` bytes.
    check(unsafe {
        libbpf_sys::bpf_obj_get_info_by_fd(
            program.as_raw_fd(),
            std::ptr::from_mut(&mut info).cast(),
            &mut size,
        )
    })?;
    Ok(info.recursion_misses)
}

/// libbpf's calls answer a negative errno.
fn check(ret: i32) -> io::Result<i32> {
    if ret < 0 {
        return Err(io::Error::from_raw_os_error(-ret));
    }
    Ok(ret)
}
