//! Waiting for a guest to come up, or up again after a reset.
//!
//! A kernel under emulation now and then dies before it runs anything: 6.12 was seen to run an instruction that another
//! of its CPUs was about to patch. No test is about that: such a boot, and nothing else, is tried again.

use std::io::Write;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Result};

use super::qemu::Qemu;

/// How often a boot is tried.
pub const ATTEMPTS: u32 = 3;

/// Between two looks at the console of a guest that has not said a word yet.
const PERIOD: Duration = Duration::from_secs(1);

/// Waits for the first word of a guest that was just started. An early end of its kernel is an error at once: where the
/// kernel neither reboots nor ends the machine, nothing else would tell.
pub fn wait(qemu: &Qemu, limit: Duration) -> Result<()> {
    match first_word(qemu, 0, limit)? {
        Outcome::Up => Ok(()),
        Outcome::Dead => bail!("the kernel died before it ran anything"),
    }
}

/// As [`wait`], for a guest that is reset: an early end of its kernel is answered with one more reset, after which the
/// devices and the platform still say what they would have said.
pub fn wait_again(qemu: &Qemu, limit: Duration) -> Result<()> {
    let mut seen = 0;
    let mut attempt = 1;
    while let Outcome::Dead = first_word(qemu, seen, limit)? {
        ensure!(attempt < ATTEMPTS, "{ATTEMPTS} boots after a reset died before they ran anything");
        tell(&format!("after a reset, attempt {attempt}: the kernel died before it ran anything"));
        attempt += 1;
        seen = qemu.console()?.len();
        qemu.monitor.human("system_reset")?;
    }
    Ok(())
}

enum Outcome {
    Up,
    Dead,
}

/// Waits for the guest's first word, or for an early end on its console past what was `seen` of that.
fn first_word(qemu: &Qemu, seen: usize, limit: Duration) -> Result<Outcome> {
    let since = Instant::now();
    while !qemu.agent.wait_hello(PERIOD)? {
        if died_early(qemu.console()?.get(seen..).unwrap_or_default()) {
            return Ok(Outcome::Dead);
        }
        if since.elapsed() > limit {
            bail!("not a word from the guest in {limit:?}");
        }
    }
    Ok(Outcome::Up)
}

/// Tells of one more try, past the test runner's capture: nobody reads the output of a test that passes.
pub fn tell(what: &str) {
    static RETRIES: AtomicU32 = AtomicU32::new(0);
    let count = RETRIES.fetch_add(1, Ordering::Relaxed) + 1;
    _ = writeln!(std::io::stderr(), "boot retry {count} of this run: {what}");
}

/// Whether the newest boot on this console ended in a panic before the kernel ran its first program
/// (init/main.c, `run_init_process`).
fn died_early(console: &str) -> bool {
    let boot = console.rfind("] Linux version ").map_or(console, |at| &console[at..]);
    boot.contains("] Kernel panic - not syncing: ") && !boot.contains("] Run /init as init process")
}

#[cfg(test)]
mod tests {
    use super::died_early;

    const UP: &str = "[    0.000000] Linux version 6.12\n[    2.1] Run /init as init process\n";
    const DEAD: &str = "[    0.000000] Linux version 6.12\n\
        [    1.305063] Kernel panic - not syncing: Fatal exception in interrupt\n";
    const CRASH: &str = "[   31.2] Kernel panic - not syncing: sysrq triggered crash\n";

    #[test]
    fn a_panic_before_the_first_program_is_an_early_end() {
        assert!(died_early(DEAD));
        assert!(died_early(&[UP, CRASH, DEAD].concat()), "the newest boot counts");
    }

    #[test]
    fn a_panic_that_a_test_made_is_none_and_a_boot_on_its_way_neither() {
        assert!(!died_early(""));
        assert!(!died_early(&[UP, CRASH].concat()));
        assert!(!died_early(&[UP, CRASH, UP].concat()));
        assert!(!died_early(&[DEAD, "[    0.000000] Linux version 6.12\n"].concat()));
    }
}
