//! Runs a command without some of root's capabilities, as a container or a locked-down unit would.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{bail, Result};

/// capabilities(7), include/uapi/linux/capability.h.
const CAP_SYS_ADMIN: i32 = 21;
const CAP_PERFMON: i32 = 38;
const CAP_BPF: i32 = 39;

/// Becomes `command`, which may not load BPF programs: that takes CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN.
pub fn without_bpf(command: &[&str]) -> Result<()> {
    let [program, arguments @ ..] = command else { bail!("no command") };
    for capability in [CAP_SYS_ADMIN, CAP_PERFMON, CAP_BPF] {
        // What root may have after exec is bounded by this set.
        // SAFETY: prctl with integers touches no memory of ours.
        if unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) } != 0 {
            bail!("drop capability {capability}: {}", std::io::Error::last_os_error());
        }
    }
    Err(Command::new(program).args(arguments).exec().into())
}
