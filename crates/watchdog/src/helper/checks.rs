//! The checks of the configuration: files, units, commands.

use crate::board::Shared;
use bulkhead_config::watchdog::{CommandCheck, FileCheck};
use bulkhead_config::Watchdog;
use bulkhead_watchdog::note::Check;
use std::fs;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::Ordering;
use std::thread;
use std::time::{Duration, Instant, SystemTime};

/// From one round to the next.
const ROUND: Duration = Duration::from_secs(5);

/// systemd's answer about a unit takes no longer while it is well.
const UNIT_LIMIT: Duration = Duration::from_secs(10);

/// All of them: files, units, commands, each in the order of the configuration.
pub struct Checks {
    files: Vec<FileCheck>,
    units: Vec<String>,
    commands: Vec<CommandCheck>,
}

impl Checks {
    /// Those of the configuration.
    pub fn of(config: &Watchdog) -> Checks {
        Checks {
            files: config.files.clone(),
            units: config.units.clone(),
            commands: config.commands.clone(),
        }
    }

    /// There is none.
    pub fn is_empty(&self) -> bool {
        self.kinds().is_empty()
    }

    /// What each is.
    pub fn kinds(&self) -> Vec<Check> {
        let of = |kind, n| std::iter::repeat_n(kind, n);
        of(Check::File, self.files.len())
            .chain(of(Check::Unit, self.units.len()))
            .chain(of(Check::Command, self.commands.len()))
            .collect()
    }

    /// How each is called.
    pub fn names(&self) -> Vec<String> {
        let files = self.files.iter().map(|file| file.path.display().to_string());
        let commands = self.commands.iter().map(|command| command.run.join(" "));
        let names = files.chain(self.units.iter().cloned()).chain(commands);
        // A line of the kernel's log must stay one.
        names
            .map(|name| name.chars().map(|c| if c.is_control() { '?' } else { c }).collect())
            .collect()
    }

    /// Round by round, until the process ends. One that hangs holds up those
    /// after it, which then fail too: what they would say is not known.
    pub fn run(self, shared: &Shared) {
        let mut passed = self.rounds();
        loop {
            let begun = Instant::now();
            for (check, place) in passed.iter_mut().zip(&shared.passed) {
                if check() {
                    place.store(shared.clock.read(), Ordering::SeqCst);
                }
            }
            thread::sleep(ROUND.saturating_sub(begun.elapsed()));
        }
    }

    /// A function each that tells whether it passes now.
    fn rounds(self) -> Vec<Box<dyn FnMut() -> bool>> {
        let mut all: Vec<Box<dyn FnMut() -> bool>> = Vec::new();
        for check in self.files {
            let mut file = Touched::default();
            all.push(Box::new(move || {
                let modified = fs::metadata(&check.path).and_then(|meta| meta.modified()).ok();
                file.is_fresh(modified, Instant::now(), check.max_age)
            }));
        }
        for unit in self.units {
            let mut running = Running::default();
            all.push(Box::new(move || {
                let mut command = Command::new("systemctl");
                command.args(["is-active", "--quiet", "--"]).arg(&unit);
                running.succeeds(&mut command, UNIT_LIMIT)
            }));
        }
        for check in self.commands {
            let mut running = Running::default();
            all.push(Box::new(move || {
                let Some((program, arguments)) = check.run.split_first() else { return false };
                running.succeeds(Command::new(program).args(arguments), check.limit)
            }));
        }
        all
    }
}

/// When a file was last seen to have been modified. By our own clock: a file's
/// time is the wall clock's, which somebody may set.
#[derive(Default)]
struct Touched {
    last: Option<(SystemTime, Instant)>,
}

impl Touched {
    fn is_fresh(&mut self, modified: Option<SystemTime>, now: Instant, max_age: Duration) -> bool {
        let Some(modified) = modified else { return false };
        match self.last {
            Some((before, at)) if before == modified => {
                now.saturating_duration_since(at) <= max_age
            }
            _ => {
                self.last = Some((modified, now));
                true
            }
        }
    }
}

/// A command that is run again and again, and once at a time.
#[derive(Default)]
struct Running {
    /// It was killed, and did not go.
    left: Option<Child>,
}

impl Running {
    fn succeeds(&mut self, command: &mut Command, limit: Duration) -> bool {
        if let Some(left) = &mut self.left {
            match left.try_wait() {
                Ok(None) => return false,
                _ => self.left = None,
            }
        }
        // What systemd told the watchdog is not for others.
        for name in ["NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC"] {
            command.env_remove(name);
        }
        let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let Ok(mut child) = command.process_group(0).spawn() else { return false };
        if ends_within(&child, limit) {
            return child.wait().is_ok_and(|status| status.success());
        }
        kill_group(&child);
        // In the kernel it may be beyond any signal.
        if ends_within(&child, Duration::from_secs(1)) {
            let _ = child.wait();
        } else {
            self.left = Some(child);
        }
        false
    }
}

fn ends_within(child: &Child, limit: Duration) -> bool {
    // SAFETY: the descriptor is new and nobody else's; poll(2) writes into one
    // entry.
    unsafe {
        let fd = libc::syscall(libc::SYS_pidfd_open, child.id(), 0);
        let Ok(fd) = libc::c_int::try_from(fd) else { return false };
        if fd < 0 {
            return false;
        }
        let fd = OwnedFd::from_raw_fd(fd);
        let mut poll = libc::pollfd { fd: fd.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let ms = libc::c_int::try_from(limit.as_millis()).unwrap_or(libc::c_int::MAX);
        libc::poll(&mut poll, 1, ms) == 1
    }
}

fn kill_group(child: &Child) {
    if let Ok(pid) = libc::pid_t::try_from(child.id()) {
        // SAFETY: has no memory of ours; the group is the child's own.
        unsafe { libc::kill(-pid, libc::SIGKILL) };
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_fresh_while_it_is_touched_whatever_the_wall_clock_says() {
        let (start, age) = (Instant::now(), Duration::from_secs(30));
        let now = |s| start + Duration::from_secs(s);
        let time = |s| Some(SystemTime::UNIX_EPOCH + Duration::from_secs(s));
        let mut file = Touched::default();
        assert!(!file.is_fresh(None, now(0), age), "it is not there");
        assert!(file.is_fresh(time(9_000_000_000), now(10), age));
        assert!(file.is_fresh(time(9_000_000_000), now(40), age));
        assert!(!file.is_fresh(time(9_000_000_000), now(41), age));
        assert!(file.is_fresh(time(5), now(42), age), "touched with an older time");
    }

    #[test]
    fn a_command_passes_by_its_exit_and_fails_when_it_hangs() {
        let mut running = Running::default();
        let limit = Duration::from_secs(20);
        assert!(running.succeeds(&mut Command::new("true"), limit));
        assert!(!running.succeeds(&mut Command::new("false"), limit));
        assert!(!running.succeeds(&mut Command::new("/nowhere"), limit));
        let brief = Duration::from_millis(50);
        assert!(!running.succeeds(Command::new("sleep").arg("1000"), brief));
        assert!(running.left.is_none(), "it was killed");
    }

    #[test]
    fn checks_are_in_the_order_of_their_names() {
        let checks = Checks {
            files: vec![FileCheck { path: "/a\nb".into(), max_age: ROUND }],
            units: vec!["c.service".to_owned()],
            commands: vec![CommandCheck { run: vec!["/d".into(), "e".into()], limit: ROUND }],
        };
        assert_eq!(checks.kinds(), [Check::File, Check::Unit, Check::Command]);
        assert_eq!(checks.names(), ["/a?b", "c.service", "/d e"]);
    }
}
