//! Several pages of one fault.

use super::{page, Cause, Context, Plan};
use crate::model::Pfn;

/// A fault calls for all of `pages`, each for itself.
pub(super) fn found(ctx: &Context, pages: &[Pfn], cause: &Cause) -> Plan {
    let mut ledger = ctx.ledger.clone();
    let mut all = Plan::default();
    for pfn in pages {
        let plan = page::found(&Context { ledger: &ledger, ..*ctx }, *pfn, cause);
        plan.record(&mut ledger);
        all.extend(plan);
    }
    all
}
