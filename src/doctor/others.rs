//! Nobody else takes pages or CPUs out of service.

use super::Check;
use crate::host::isolators::{isolators, Isolator};
use crate::host::Root;

const NAME: &str = "others";

pub(super) fn check(root: &Root) -> Check {
    let found = isolators(root);
    if found.is_empty() {
        return Check::ok(NAME, "neither rasdaemon nor mcelog takes pages or CPUs here");
    }
    let lines = |line: fn(&Isolator) -> String, by: &str| {
        found.iter().map(line).collect::<Vec<_>>().join(by)
    };
    let check = Check::warn(NAME, lines(sentence, "; "), lines(|i| format!("set {}", i.off), "\n"));
    Check { unknown: found.iter().all(|i| i.doubtful), ..check }
}

/// A sentence each for `status`.
pub(super) fn conflicts(root: &Root) -> Vec<String> {
    let all = isolators(root);
    all.iter().map(|i| format!("{}. To turn that off, set {}.", sentence(i), i.off)).collect()
}

fn sentence(isolator: &Isolator) -> String {
    let may = if isolator.doubtful { "may take" } else { "takes" };
    let settings = isolator.settings.join(", ");
    format!("{} {may} pages or CPUs out of service beside us: {settings}", isolator.who)
}
