//! Evidence of cores, over a reboot that numbers or changes them.

use super::*;
use crate::model::time::Anchor;

/// What an analyzer that saw these reports has to save.
fn saved(reports: &[Report], machine: &Machine) -> Vec<(EvidenceKey, Remembered)> {
    let mut analyzer = analyzer();
    feed(&mut analyzer, machine, reports);
    take_changes(&mut analyzer).into_iter().map(|(key, state)| (key, state.unwrap())).collect()
}

/// What goes on from it on `now`.
fn carried(
    rows: Vec<(EvidenceKey, Remembered)>,
    before: Option<&Machine>,
    now: &Machine,
) -> Analyzer {
    let rows = rows.into_iter().filter_map(|(key, state)| {
        let state = over_a_boot(&key, state, before, now)?;
        Some((key, state))
    });
    let mut analyzer = analyzer();
    analyzer.restore(rows, std::iter::empty(), now);
    analyzer
}

fn two_errors() -> Vec<Report> {
    [0, HOUR].map(|at| mce(on_cpu(1, 1, L1), at)).into()
}

/// The kernel has given the numbers of the two cores of socket 0 to each other.
fn renumbered() -> Machine {
    let mut machine = machine();
    for cpu in machine.cpus.values_mut() {
        cpu.apic = match cpu.id.0 {
            0 | 4 => Some(apic(cpu.id.0 + 1)),
            1 | 5 => Some(apic(cpu.id.0 - 1)),
            other => Some(apic(other)),
        };
    }
    machine
}

fn with_ppin(mut machine: Machine, socket: u32, ppin: u64) -> Machine {
    for cpu in machine.cpus.values_mut().filter(|cpu| cpu.socket == SocketId(socket)) {
        cpu.ppin = Some(Ppin(ppin));
    }
    machine
}

#[test]
fn a_core_is_the_same_under_another_number() {
    let now = renumbered();
    let mut analyzer = carried(saved(&two_errors(), &machine()), Some(&machine()), &now);
    let third = MceRecord { cpu: 0, ..on_cpu(1, 1, L1) };
    let findings = feed(&mut analyzer, &now, [&mce(third, 2 * HOUR)]);
    assert_eq!(verdicts(&findings), [("cpu-cache", take(&[0, 4]))]);
}

#[test]
fn a_release_by_number_is_of_the_core_that_has_it_now() {
    let now = renumbered();
    let rows = || saved(&two_errors(), &machine());
    let third = mce(MceRecord { cpu: 0, ..on_cpu(1, 1, L1) }, 2 * HOUR);
    for (cpu, fired) in [(0, 0), (1, 1)] {
        let mut analyzer = carried(rows(), Some(&machine()), &now);
        analyzer.release(&Target::Cpu(CpuId(cpu)));
        assert_eq!(feed(&mut analyzer, &now, [&third]).len(), fired, "CPU {cpu}");
    }
}

#[test]
fn what_is_known_by_a_number_alone_is_dropped() {
    let mut nameless = machine();
    nameless.cpus.values_mut().for_each(|cpu| cpu.apic = None);
    let rows = saved(&two_errors(), &nameless);
    assert_eq!(rows.len(), 1);
    assert_eq!(carried(rows, Some(&nameless), &nameless).tracked(), 0);
}

#[test]
fn a_core_that_is_gone_is_dropped() {
    let mut now = machine();
    now.cpus.retain(|id, _| id.0 % 4 != 1);
    assert_eq!(carried(saved(&two_errors(), &machine()), None, &now).tracked(), 0);
}

#[test]
fn another_processor_in_the_socket_has_none_of_the_old_ones_evidence() {
    let reports = [
        mce(on_cpu(1, 1, L1), 0),
        mce(on_cpu(1, 5, BUS), 1),
        mce(on_cpu(1, 4, PARITY), 2),
        mce(on_cpu(2, 1, L1), 3),
    ];
    let before = with_ppin(with_ppin(machine(), 0, 7), 1, 8);
    let rows = saved(&reports, &before);
    assert_eq!(rows.len(), 4);
    let now = with_ppin(before.clone(), 0, 9);
    assert_eq!(carried(rows.clone(), Some(&before), &now).tracked(), 1, "of the other socket");
    assert_eq!(carried(rows.clone(), Some(&before), &before).tracked(), 4);
    assert_eq!(carried(rows, Some(&machine()), &now).tracked(), 4, "it was not known before");
}

#[test]
fn memory_is_left_to_its_configuration() {
    let rows = saved(&[mce(dram(CE, 0x800_0000), 0)], &machine());
    assert!(rows.iter().all(|(key, _)| key.is_memory()) && rows.len() == 1);
    let other = with_ppin(machine(), 0, 9);
    assert_eq!(carried(rows, Some(&with_ppin(machine(), 0, 7)), &other).tracked(), 1);
}

#[test]
fn a_page_with_an_error_before_a_reboot_and_one_after_it_within_a_day_goes() {
    let last = stamp(0).at;
    let rows = saved(&[mce(dram(CE, 0x800_0000), 0)], &machine());
    // The clock of a boot starts at zero again; its anchor is put behind the last moment recorded.
    let after = |hours: u64| {
        let wall = Wall(i64::try_from(START + hours * HOUR).unwrap());
        let up = Anchor::of_new_boot(30 * SECOND, wall, Some(last)).time(30 * SECOND);
        let mut analyzer = carried(rows.clone(), Some(&machine()), &machine());
        let second = mce(dram(CE, 0x800_0000), up.0 - START);
        verdicts(&feed(&mut analyzer, &machine(), [&second])).len()
    };
    assert_eq!((after(23), after(25)), (1, 0));
    let clock_went_back = Anchor::of_new_boot(0, Wall(0), Some(last));
    assert_eq!(clock_went_back.time(0), last, "the downtime counts as zero");
}
