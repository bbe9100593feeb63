//! Whether a ledger line of an earlier boot is still of the same hardware.

use super::settle::targets_name;
use super::Context;
use crate::model::{CpuId, Home, Isolation, Target};

/// The line's target as it is called now.
///
/// # Errors
/// Why it is not surely the same hardware, as a sentence.
pub(super) fn belongs(ctx: &Context, line: &Isolation) -> Result<Target, String> {
    // Very many lines come here, and nearly all belong.
    if matches!(line.target, Target::Page(_)) && line.home == Home::Memory(ctx.machine.memory) {
        return Ok(line.target);
    }
    let name = targets_name(ctx, &[line.target]);
    match (line.target, line.home) {
        (Target::Page(_), Home::Memory(_)) => Err(format!(
            "The memory modules or the firmware are not what they were, so {name} may be another \
             cell now."
        )),
        (Target::Page(_), _) => Err(format!(
            "{name} is of an earlier boot, and nobody can tell whether its memory is still the \
             same."
        )),
        (Target::Cpu(_), Home::Thread(identity)) => {
            let found = ctx.machine.by_identity(&identity);
            let gone = || {
                format!("The processor core that was {name} is no longer present, or not on line.")
            };
            found.map(|cpu| Target::Cpu(cpu.id)).ok_or_else(gone)
        }
        (Target::Cpu(CpuId(_)), _) => Err(format!(
            "{name} is of an earlier boot, and nobody can tell which core it was: firmware gave \
             it no identity."
        )),
    }
}
