use super::*;

fn fired(reports: &[Report]) -> Vec<Finding> {
    feed(&mut analyzer(), &machine(), reports)
}

/// So many equal errors, an hour apart.
fn repeat(record: &MceRecord, times: u64) -> Vec<Report> {
    (0..times).map(|n| mce(record.clone(), n * HOUR)).collect()
}

fn verdict_of(record: &MceRecord, times: u64, machine: &Machine) -> Vec<(String, Response)> {
    let findings = feed(&mut analyzer(), machine, &repeat(record, times));
    findings.into_iter().map(|f| (f.fault.rule.id, f.response)).collect()
}

#[test]
fn what_a_status_word_in_a_bank_calls_for() {
    let core = || take(&[1, 5]);
    let uc = |status| status | 1 << 61;
    for (bank, status, errors, rule, response) in [
        (0, 0x9000_0000_0000_0150, 3, "cpu-cache", core()),
        (1, 0x9000_0000_0000_0134, 3, "cpu-cache", core()),
        (1, L1, 3, "cpu-cache", core()),
        (1, L1 | 1 << 12, 3, "cpu-cache", core()),
        (1, 0x9000_0000_0000_000d, 3, "cpu-cache", core()),
        (3, L2, 3, "cpu-cache", core()),
        (3, ANY_LEVEL, 12, "cpu-cache", core()),
        (2, TLB, 3, "cpu-tlb", core()),
        (2, 0x9000_0000_0000_0017, 12, "cpu-tlb", core()),
        (0, PARITY, 3, "cpu-internal", core()),
        (3, 0x9000_0000_0000_0400, 3, "cpu-internal", core()),
        (1, 0x9000_0000_0000_0001, 3, "cpu-internal", core()),
        (1, L1 | YELLOW, 1, "cpu-threshold", core()),
        (1, BUS, 3, "bus", Response::Report),
        (5, BUS, 3, "bus", Response::Report),
        (9, L1, 3, "cache-shared", Response::Report),
        (10, ANY_LEVEL, 3, "cache-shared", Response::Report),
        (4, ANY_LEVEL, 12, "cache-shared", Response::Report),
        (9, L1 | YELLOW, 1, "cpu-threshold", Response::Report),
        (4, PARITY, 3, "bank-shared", Response::Report),
        (1, uc(L1), 1, "cpu-ue", Response::Escalate),
        (4, uc(PARITY), 1, "cpu-ue", Response::Escalate),
        (5, uc(BUS), 1, "cpu-ue", Response::Escalate),
        (4, 0xb000_0000_0000_2222, 1, "cpu-ue", Response::Escalate),
    ] {
        let record = on_cpu(1, bank, status);
        let what = format!("bank {bank} status {status:#x}");
        assert_eq!(
            verdict_of(&record, errors, &machine()),
            [(rule.to_owned(), response)],
            "{what}"
        );
        assert_eq!(verdict_of(&record, errors - 1, &machine()), [], "{what}, one less");
    }
}

#[test]
fn what_an_amd_bank_type_calls_for() {
    let amd = Machine { vendor: Vendor::Amd, family: 23, model: 1, ..machine() };
    let core = || take(&[1, 5]);
    let generic = ANY_LEVEL;
    for (ipid, status, errors, rule, response) in [
        (0xb0_u64 << 32, L1, 3, "cpu-cache", core()),
        (0x10 << 48 | 0xb0 << 32, L1, 3, "cpu-cache", core()),
        (1 << 48 | 0xb0 << 32, 0x9000_0000_0000_0151, 3, "cpu-cache", core()),
        (1 << 48 | 0xb0 << 32, 0x9000_0000_0000_0011, 3, "cpu-tlb", core()),
        (2 << 48 | 0xb0 << 32, generic, 3, "cpu-cache", core()),
        (3 << 48 | 0xb0 << 32, L1, 3, "cpu-internal", core()),
        (5 << 48 | 0xb0 << 32, PARITY, 3, "cpu-internal", core()),
        (7 << 48 | 0xb0 << 32, generic, 3, "cache-shared", Response::Report),
        (1 << 48 | 0x2e << 32, BUS, 3, "bus", Response::Report),
        (0, L1, 3, "bank-unknown", Response::Report),
        (0, L1 | YELLOW, 3, "bank-unknown", Response::Report),
    ] {
        let record = MceRecord { ipid, cpuvendor: 2, cpuid: 0x0080_0f12, ..on_cpu(1, 1, status) };
        let what = format!("ipid {ipid:#x} status {status:#x}");
        assert_eq!(verdict_of(&record, errors, &amd), [(rule.to_owned(), response)], "{what}");
        assert_eq!(verdict_of(&record, errors - 1, &amd), [], "{what}, one less");
    }
}

#[test]
fn errors_of_sibling_threads_add_up_and_both_go() {
    let findings =
        fired(&[mce(on_cpu(1, 1, L1), 0), mce(on_cpu(5, 1, L1), 1), mce(on_cpu(1, 1, L1), 2)]);
    assert_eq!(verdicts(&findings), [("cpu-cache", take(&[1, 5]))]);
    let fault = &findings[0].fault;
    assert_eq!(fault.component.to_string(), "L1 data cache of CPUs 1,5");
    assert_eq!((fault.errors, fault.evidence.len(), fault.severity), (3, 3, Severity::Major));
}

#[test]
fn errors_of_different_cores_levels_or_structures_do_not_add_up() {
    let findings = fired(&[
        mce(on_cpu(1, 1, L1), 0),
        mce(on_cpu(1, 1, L1), 1),
        mce(on_cpu(2, 1, L1), 2),
        mce(on_cpu(1, 3, L2), 3),
        mce(on_cpu(1, 2, TLB), 4),
        mce(on_cpu(1, 0, PARITY), 5),
    ]);
    assert_eq!(findings, []);
}

#[test]
fn errors_further_apart_than_72_hours_do_not_add_up() {
    let at = |n| mce(on_cpu(1, 1, L1), n);
    assert_eq!(fired(&[at(0), at(40 * HOUR), at(72 * HOUR + 1)]), []);
    assert_eq!(fired(&[at(0), at(40 * HOUR), at(72 * HOUR)]).len(), 1);
}

#[test]
fn a_level_above_the_policys_is_only_reported() {
    let mut rules = rules();
    rules.cpu.max_cache_level = 1;
    let verdict = |bank, status, times| {
        let findings =
            feed(&mut Analyzer::new(rules), &machine(), &repeat(&on_cpu(1, bank, status), times));
        findings[0].response.clone()
    };
    assert_eq!(verdict(1, L1, 3), take(&[1, 5]));
    assert_eq!(verdict(3, L2, 3), Response::Report);
    assert_eq!(verdict(3, ANY_LEVEL, 12), Response::Report);
    assert_eq!(verdict(2, TLB, 3), take(&[1, 5]));
}

#[test]
fn the_policy_may_reach_for_the_whole_l3() {
    let mut rules = rules();
    rules.cpu.max_cache_level = 3;
    let l3 = repeat(&on_cpu(1, 9, ANY_LEVEL), 3);
    let findings = feed(&mut Analyzer::new(rules), &machine(), &l3);
    assert_eq!(verdicts(&findings), [("cache-shared", take(&[0, 1, 4, 5]))]);

    let mut blind = machine();
    blind.cpus.values_mut().for_each(|cpu| cpu.caches.clear());
    let findings = feed(&mut Analyzer::new(rules), &blind, &l3);
    assert_eq!(verdicts(&findings), [("cache-shared", Response::Report)]);
}

#[test]
fn a_storm_of_shared_bank_errors_is_one_fault_and_takes_nothing() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let storm: Vec<_> = (0..1000)
        .map(|n| aggregate(mce(on_cpu((n % 8) as u32, 9, L2), n * SECOND), 50, n * SECOND + 9))
        .collect();
    let findings = feed(&mut analyzer, &machine, &storm);
    assert_eq!(
        verdicts(&findings),
        [("cache-shared", Response::Report), ("cache-shared", Response::Report)],
        "one per socket"
    );
}

#[test]
fn an_unknown_model_is_a_fault_and_no_more() {
    let record = |status| MceRecord { cpuid: 0x000b_0671, ..on_cpu(1, 1, status) };
    let hybrid = Machine { model: 0xb7, ..machine() };
    let expected = [("bank-unknown".to_owned(), Response::Report)];
    assert_eq!(verdict_of(&record(L1), 3, &hybrid), expected);
    // Without MCG_CAP's word its bits 54:53 mean nothing.
    assert_eq!(verdict_of(&record(L1 | YELLOW), 2, &hybrid), []);
    let tes = MceRecord { mcgcap: 1 << 11, ..record(L1 | YELLOW) };
    assert_eq!(verdict_of(&tes, 1, &hybrid), [("cpu-threshold".to_owned(), Response::Report)]);
}

#[test]
fn a_green_threshold_status_is_an_error_like_any_other() {
    assert_eq!(fired(&[mce(on_cpu(1, 1, L1 | 1 << 53), 0)]), []);
}

#[test]
fn a_yellow_status_counts_for_caches_only() {
    assert_eq!(fired(&[mce(on_cpu(1, 2, TLB | YELLOW), 0)]), []);
}

#[test]
fn a_cpu_that_is_not_surely_named_is_never_taken() {
    let good = on_cpu(1, 1, L1);
    let with = |change: fn(&mut Machine)| {
        let mut machine = machine();
        change(&mut machine);
        machine
    };
    let no_threads: fn(&mut Machine) = |m| m.cpus.values_mut().for_each(|c| c.threads.clear());
    let other_apic = MceRecord { apicid: apic(2).0 as u32, ..good.clone() };
    for (what, record, machine) in [
        ("APIC id of another CPU", other_apic, machine()),
        ("APIC id of nobody", MceRecord { apicid: 99, ..good.clone() }, machine()),
        ("number of nobody", MceRecord { cpu: 64, ..good.clone() }, machine()),
        ("another model", good.clone(), with(|m| m.model = 0x4f)),
        ("no topology", good.clone(), with(|m| m.cpus.clear())),
        ("no threads", good.clone(), with(no_threads)),
    ] {
        let expected = [("bank-unknown".to_owned(), Response::Report)];
        assert_eq!(verdict_of(&record, 3, &machine), expected, "{what}");
        assert!(analyzer().observe(&mce(record, 0), &machine).undecodable.is_some(), "{what}");
    }
}

#[test]
fn a_host_without_apic_ids_goes_by_number() {
    let mut plain = machine();
    plain.cpus.values_mut().for_each(|cpu| cpu.apic = None);
    let verdict = verdict_of(&on_cpu(1, 1, L1), 3, &plain);
    assert_eq!(verdict, [("cpu-cache".to_owned(), take(&[1, 5]))]);
}

#[test]
fn a_record_without_cpuid_is_read_as_the_hosts() {
    let verdict = verdict_of(&MceRecord { cpuid: 0, ..on_cpu(1, 1, L1) }, 3, &machine());
    assert_eq!(verdict, [("cpu-cache".to_owned(), take(&[1, 5]))]);
}

#[test]
fn a_second_core_of_the_socket_by_the_same_kind_of_bank_escalates() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let mut core = |cpu, bank, status| {
        verdicts(&feed(&mut analyzer, &machine, &repeat(&on_cpu(cpu, bank, status), 3)))
            .into_iter()
            .map(|(_, response)| response)
            .next()
            .unwrap()
    };
    assert_eq!(core(0, 1, L1), take(&[0, 4]));
    assert_eq!(core(1, 1, L1), Response::Escalate);
    assert_eq!(core(1, 3, L2), take(&[1, 5]), "another kind of bank");
    assert_eq!(core(2, 1, L1), take(&[2, 6]), "another socket");
}

#[test]
fn a_closed_fault_no_longer_speaks_against_its_socket() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let first = feed(&mut analyzer, &machine, &repeat(&on_cpu(0, 1, L1), 3)).remove(0).fault;
    analyzer.closed(&repaired(&first), &machine);
    let findings = feed(&mut analyzer, &machine, &repeat(&on_cpu(1, 1, L1), 3));
    assert_eq!(findings[0].response, take(&[1, 5]));
}

#[test]
fn a_core_that_stayed_does_not_speak_against_its_socket() {
    let (mut analyzer, machine) = (analyzer(), machine());
    let first = feed(&mut analyzer, &machine, &repeat(&on_cpu(0, 1, L1), 3)).remove(0);
    let second = feed(&mut analyzer, &machine, &repeat(&on_cpu(1, 1, L1), 3)).remove(0);
    assert_eq!(second.response, Response::Escalate);
    analyzer.closed(&repaired(&first.fault), &machine);
    let again = feed(&mut analyzer, &machine, &repeat(&on_cpu(0, 1, L1), 3)).remove(0);
    assert_eq!(again.response, take(&[0, 4]));
}

#[test]
fn a_cache_error_that_corrupted_its_context_is_the_processors_not_the_pages() {
    let record = |status| MceRecord { addr: 0x800_0000, misc: 0x8c, ..on_cpu(1, 1, status) };
    let intact = 0xbd80_0000_0000_0134;
    assert_eq!(verdict_of(&record(intact), 1, &machine())[0].0, "page-ue");
    let expected = [("cpu-ue".to_owned(), Response::Escalate)];
    assert_eq!(verdict_of(&record(intact | 1 << 57), 1, &machine()), expected);
}

#[test]
fn the_sentences_say_what_why_and_what_next() {
    let fault = |record: MceRecord, times| fired(&repeat(&record, times)).remove(0).fault;
    let core = fault(on_cpu(1, 1, L1), 3);
    assert_eq!(
        core.decision,
        "3 corrected errors in L1 data cache of CPUs 1,5 within 72h: \
         these CPUs are to be taken off line."
    );
    let shared = fault(on_cpu(1, 9, L1), 3);
    assert_eq!(
        shared.decision,
        "3 corrected errors in shared structure of socket 0 (machine-check bank 9) within 72h: \
         nothing is taken, since whoever read that bank is not known to be the culprit."
    );
    assert!(!core.advice.is_empty() && !shared.advice.is_empty());
}
