//! What the kernel's verifier had to say, out of what libbpf prints.

use libbpf_rs::PrintLevel;
use std::sync::{Mutex, PoisonError};

/// The last program that was refused. libbpf has one printer for the process.
static VERDICT: Mutex<Option<String>> = Mutex::new(None);

/// Listens to libbpf from here on; all it says goes to the debug log.
pub fn listen() {
    libbpf_rs::set_print(Some((PrintLevel::Warn, |_, message| {
        tracing::debug!("libbpf: {}", message.trim_end());
        if let Some(verdict) = verdict_in(&message) {
            *VERDICT.lock().unwrap_or_else(PoisonError::into_inner) = Some(verdict.to_owned());
        }
    })));
}

/// Why a program was refused since the last call, if one was.
pub fn take() -> Option<String> {
    VERDICT.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// The verifier's log ends with its verdict and then its statistics
/// (kernel/bpf/verifier.c, print_verification_stats).
fn verdict_in(message: &str) -> Option<&str> {
    let before = message.split("\nprocessed ").next().filter(|before| *before != message)?;
    before.lines().last()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_verdict_is_the_line_before_the_statistics() {
        let log = "libbpf: prog 'x': -- BEGIN PROG LOAD LOG --\n0: R1=ctx() R10=fp0\n\
                   unknown func bpf_probe_read_kernel#113\nprocessed 7 insns (limit 1000000)\n\
                   -- END PROG LOAD LOG --\n";
        assert_eq!(verdict_in(log), Some("unknown func bpf_probe_read_kernel#113"));
        assert_eq!(verdict_in("libbpf: failed to load object\n"), None);
    }
}
