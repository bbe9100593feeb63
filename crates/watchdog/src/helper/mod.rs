//! The helper: a process of its own, forked before anything is locked or
//! real-time. It does what may take its time, the disk, systemd, other
//! people's commands, and is never waited for.

mod checks;
mod kernel_log;
mod later;
mod words;

pub use checks::Checks;

use crate::board::Shared;
use crate::log;
use bulkhead_config::Watchdog;
use bulkhead_watchdog::note::{Note, BYTES};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::path::{Path, PathBuf};
use std::thread;

/// The way to it. It ends when this is gone.
#[derive(Debug)]
pub struct Helper {
    pipe: OwnedFd,
}

impl Helper {
    /// Starts it. To be called while there is one thread.
    ///
    /// # Errors
    /// When the kernel gives no pipe or no process.
    pub fn start(
        shared: &'static Shared,
        config: &Watchdog,
        state_dir: &Path,
    ) -> io::Result<Helper> {
        let mut ends = [0; 2];
        // SAFETY: the kernel writes two descriptors, which are nobody else's.
        let (read, write) = unsafe {
            if libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC | libc::O_NONBLOCK) != 0 {
                return Err(io::Error::last_os_error());
            }
            let [read, write] = ends;
            (OwnedFd::from_raw_fd(read), OwnedFd::from_raw_fd(write))
        };
        // SAFETY: there is one thread, so the child may go on as the parent.
        match unsafe { libc::fork() } {
            -1 => Err(io::Error::last_os_error()),
            0 => {
                drop(write);
                run(shared, config.clone(), state_dir.to_owned(), File::from(read));
                // SAFETY: nothing is to be cleaned up.
                unsafe { libc::_exit(0) }
            }
            _ => Ok(Helper { pipe: write }),
        }
    }

    /// Notes go here. It reports an error (poll(2), POLLERR) when the helper is
    /// gone.
    pub fn fd(&self) -> RawFd {
        self.pipe.as_raw_fd()
    }
}

/// Until the watchdog is gone and all its notes are written.
fn run(shared: &'static Shared, config: Watchdog, state_dir: PathBuf, pipe: File) {
    // SAFETY: no handler is installed. systemd's SIGTERM is for the watchdog:
    // when it is gone, so are we, and its last notes are written then.
    unsafe {
        libc::signal(libc::SIGTERM, libc::SIG_IGN);
        libc::signal(libc::SIGINT, libc::SIG_IGN);
        libc::signal(libc::SIGHUP, libc::SIG_IGN);
        libc::prctl(libc::PR_SET_NAME, c"watchdog-helper".as_ptr());
        // Only the watchdog's own writing must not wait.
        let flags = libc::fcntl(pipe.as_raw_fd(), libc::F_GETFL);
        libc::fcntl(pipe.as_raw_fd(), libc::F_SETFL, flags & !libc::O_NONBLOCK);
    }
    let checks = Checks::of(&config);
    let names = checks.names();
    if !checks.is_empty() {
        // Without it the checks fail, as they should.
        let _ = thread::Builder::new().spawn(move || checks.run(shared));
    }
    let _ = thread::Builder::new().spawn(move || later::look_out(shared, &config));
    take_notes(pipe, &names, words::File::new(&state_dir));
}

fn take_notes(mut pipe: File, names: &[String], mut file: words::File) {
    let mut bytes = [0; BYTES];
    while pipe.read_exact(&mut bytes).is_ok() {
        let Some(note) = Note::from_bytes(&bytes) else { continue };
        let name = usize::try_from(note.id).ok().and_then(|id| names.get(id));
        let sentence = note.sentence(name.map_or("", String::as_str)).to_string();
        // Of what ends the host, whoever ends it has told the kernel log.
        if !note.action.gives_up() {
            kernel_log::say(&sentence);
        }
        // Later, since the disk may wait for the CPU that this is about; before the
        // journal, since it has little time left when the host goes down.
        let written = file.add(&note, &sentence);
        log::line(format_args!("{sentence}"));
        if let Err(error) = written {
            log::line(format_args!("its last words cannot be written: {error}"));
        }
    }
}
