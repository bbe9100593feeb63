//! CPUs that cgroups have to themselves: cpuset partitions of cgroup v2
//! (Documentation/admin-guide/cgroup-v2.rst). Version 1 has none.

use super::Look;
use crate::host::{cpulist, HostError};
use bulkhead_core::model::{Partition, Survey};

const DIR: &str = "sys/fs/cgroup";

/// Partitions listed; each has a CPU at least.
const MOST: usize = 8192;

pub(super) fn look(look: &mut Look, survey: &mut Survey) {
    let mut done = 0;
    // Paths below the root cgroup. It has no partition file itself.
    let mut todo = children(look, "");
    while let Some(cgroup) = todo.pop() {
        if !look.goes_on("cgroups", done) {
            return;
        }
        done += 1;
        let kind = match look.root.read(&format!("{DIR}{cgroup}/cpuset.cpus.partition")) {
            Ok(kind) => kind,
            Err(error) => {
                // Without the file there is no cpuset here, nor below: the
                // controller is handed down level by level.
                look.failed(&error);
                continue;
            }
        };
        todo.extend(children(look, &cgroup));
        // "root invalid (…)" is none.
        let isolated = match kind.trim() {
            "root" => false,
            "isolated" => true,
            _ => continue,
        };
        let file = format!("{DIR}{cgroup}/cpuset.cpus.effective");
        let cpus = look.root.read(&file).and_then(|text| {
            let error = || HostError::unexpected(look.root.path(&file), "it is no list of CPUs");
            cpulist::parse(&text).ok_or_else(error)
        });
        match cpus {
            Ok(cpus) if survey.partitions.len() < MOST => {
                survey.partitions.push(Partition { cgroup, isolated, cpus });
            }
            Ok(_) => return look.unknown.push(format!("cpuset partitions beyond {MOST}")),
            Err(error) => look.failed(&error),
        }
    }
}

/// Cgroups right below, as paths.
fn children(look: &mut Look, cgroup: &str) -> Vec<String> {
    match look.root.directories(&format!("{DIR}{cgroup}")) {
        Ok(names) => names.into_iter().map(|name| format!("{cgroup}/{name}")).collect(),
        Err(error) => {
            look.failed(&error);
            Vec::new()
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

    fn partitions(groups: &[(&str, &str, &str)]) -> Survey {
        let tree = Tree::new();
        tree.write("sys/devices/system/cpu/online", "0-7\n");
        tree.write(&format!("{DIR}/cpuset.cpus.effective"), "0-7\n");
        for (group, kind, cpus) in groups {
            tree.write(&format!("{DIR}{group}/cpuset.cpus.partition"), &format!("{kind}\n"));
            tree.write(&format!("{DIR}{group}/cpuset.cpus.effective"), &format!("{cpus}\n"));
        }
        take(&tree.root, &BTreeSet::from([CpuId(3)]))
    }

    #[test]
    fn valid_partitions_are_found_at_any_depth() {
        let survey = partitions(&[
            ("/a", "member", "0-7"),
            ("/a/b", "root", "2-3"),
            ("/a/c", "isolated", "4"),
            ("/d", "isolated invalid (Cpu list in cpuset.cpus not exclusive)", "5"),
        ]);
        let mut found: Vec<_> = survey
            .partitions
            .iter()
            .map(|p| (p.cgroup.as_str(), p.isolated, p.cpus.len()))
            .collect();
        found.sort_unstable();
        assert_eq!(found, [("/a/b", false, 2), ("/a/c", true, 1)]);
        assert_eq!(survey.unknown, Vec::<String>::new());
    }

    #[test]
    fn a_partition_whose_cpus_cannot_be_told_is_not_known() {
        let survey = partitions(&[("/a", "root", "many")]);
        assert_eq!(survey.unknown.len(), 1, "{:?}", survey.unknown);
    }
}
