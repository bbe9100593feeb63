//! Interrupts that go nowhere else (Documentation/core-api/irq/irq-affinity.rst).

use super::{Look, LONGEST_LIST, MOST_LISTED};
use crate::host::cpulist;
use bulkhead_core::model::{BoundInterrupt, Survey};

const DIR: &str = "proc/irq";

/// Files of /proc/irq/N; a directory beside them is named after who handles the
/// interrupt (kernel/irq/proc.c).
const FILES: [&str; 7] = [
    "affinity_hint",
    "effective_affinity",
    "effective_affinity_list",
    "node",
    "smp_affinity",
    "smp_affinity_list",
    "spurious",
];

pub(super) fn look(look: &mut Look, survey: &mut Survey) {
    let root = look.root;
    let interrupts = match root.list(DIR) {
        Ok(names) => names,
        Err(error) => return look.failed(&error),
    };
    for (done, irq) in interrupts.iter().filter_map(|name| name.parse::<u32>().ok()).enumerate() {
        if !look.goes_on("interrupts", done) {
            return;
        }
        // Without the file, it is one that no CPU is chosen for.
        let Ok(list) = root.read(&format!("{DIR}/{irq}/smp_affinity_list")) else { continue };
        let allowed = list.trim();
        if !cpulist::parse(allowed).is_some_and(|cpus| look.is_bound(&cpus)) {
            continue;
        }
        let names = root.list(&format!("{DIR}/{irq}")).unwrap_or_default();
        let name = names.into_iter().find(|name| !FILES.contains(&name.as_str()));
        if survey.interrupts.len() < MOST_LISTED && allowed.len() <= LONGEST_LIST {
            survey.interrupts.push(BoundInterrupt {
                irq,
                name: name.unwrap_or_default(),
                allowed: allowed.to_owned(),
            });
        } else {
            survey.more_interrupts += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::take;
    use super::*;
    use crate::host::testing::Tree;
    use bulkhead_core::model::CpuId;
    use std::collections::BTreeSet;

    #[test]
    fn an_interrupt_that_goes_nowhere_else_is_bound() {
        let tree = Tree::new();
        tree.write("sys/devices/system/cpu/online", "0-3\n");
        tree.write("proc/irq/default_smp_affinity", "f\n");
        for (irq, name, cpus) in [(4, "ttyS0", "0-3"), (24, "nvme0q3", "3"), (25, "", "3")] {
            tree.write(&format!("proc/irq/{irq}/smp_affinity_list"), &format!("{cpus}\n"));
            if !name.is_empty() {
                tree.write(&format!("proc/irq/{irq}/{name}/x"), "");
            }
        }
        let survey = take(&tree.root, &BTreeSet::from([CpuId(3)]));
        let bound = |irq, name: &str| BoundInterrupt {
            irq,
            name: name.to_owned(),
            allowed: "3".to_owned(),
        };
        assert_eq!(survey.interrupts, [bound(24, "nvme0q3"), bound(25, "")]);
    }
}
