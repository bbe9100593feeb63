//! Whether the system is being shut down.

use super::Root;
use nix::poll::{poll, PollFd, PollFlags, PollTimeout};
use std::io::Read;
use std::os::fd::AsFd;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Where systemd is process 1 (sd_booted(3)).
const SYSTEMD: &str = "run/systemd/system";

/// The name of process 1 in the last step of a shutdown, after all units; a name
/// has 15 characters (systemd-shutdown).
const LAST_STEP: &str = "systemd-shutdow";

/// How long systemd may take to answer.
const LIMIT: Duration = Duration::from_secs(3);

/// What is known of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shutdown {
    /// It is under way.
    UnderWay,
    /// It is not.
    No,
    /// Nobody can tell: process 1 is not systemd, or does not answer.
    Unknown,
}

/// Asks; takes 3 s at most.
pub fn state(root: &Root) -> Shutdown {
    if root.read("proc/1/comm").is_ok_and(|name| name.trim() == LAST_STEP) {
        return Shutdown::UnderWay;
    }
    if !root.path(SYSTEMD).is_dir() {
        return Shutdown::Unknown;
    }
    // "stopping" from when the job for shutdown.target is there, by which a
    // reboot, a poweroff and a kexec begin (systemctl(1), is-system-running).
    let ask = Command::new("systemctl")
        .arg("is-system-running")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn();
    match ask.ok().and_then(|child| answer(child, Instant::now() + LIMIT)) {
        Some(word) => of_word(&word),
        None => Shutdown::Unknown,
    }
}

fn of_word(word: &str) -> Shutdown {
    match word.trim() {
        "stopping" => Shutdown::UnderWay,
        "initializing" | "starting" | "running" | "degraded" | "maintenance" => Shutdown::No,
        // "offline", "unknown", or nothing.
        _ => Shutdown::Unknown,
    }
}

/// What it prints, if it ends in time; it is gone after that in any case.
fn answer(mut child: Child, until: Instant) -> Option<String> {
    let text = child.stdout.take().and_then(|mut out| {
        let (mut text, mut buffer) = (Vec::new(), [0; 64]);
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let left = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
            let mut fds = [PollFd::new(out.as_fd(), PollFlags::POLLIN)];
            if poll(&mut fds, left).ok()? == 0 || text.len() > 4096 {
                return None;
            }
            match out.read(&mut buffer).ok()? {
                0 => return String::from_utf8(text).ok(),
                n => text.extend_from_slice(buffer.get(..n)?),
            }
        }
    });
    let _ = child.kill();
    let _ = child.wait();
    text
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::super::testing::Tree;
    use super::*;

    #[test]
    fn the_last_step_of_a_shutdown_is_known_by_process_1() {
        let tree = Tree::new();
        tree.write("proc/1/comm", "systemd-shutdow\n");
        assert_eq!(state(&tree.root), Shutdown::UnderWay);
    }

    #[test]
    fn without_systemd_nobody_can_tell() {
        let tree = Tree::new();
        tree.write("proc/1/comm", "init\n");
        assert_eq!(state(&tree.root), Shutdown::Unknown);
    }

    #[test]
    fn only_stopping_is_a_shutdown() {
        assert_eq!(of_word("stopping\n"), Shutdown::UnderWay);
        assert_eq!(of_word("degraded\n"), Shutdown::No);
        assert_eq!(of_word(""), Shutdown::Unknown);
    }

    fn shell(script: &str) -> Child {
        Command::new("sh").args(["-c", script]).stdout(Stdio::piped()).spawn().unwrap()
    }

    #[test]
    fn an_answer_that_does_not_come_is_not_waited_for() {
        let soon = || Instant::now() + Duration::from_millis(50);
        assert_eq!(answer(shell("exec sleep 60"), soon()), None);
        let late = Instant::now() + Duration::from_secs(60);
        assert_eq!(answer(shell("echo stopping; exit 1"), late).unwrap(), "stopping\n");
    }
}
