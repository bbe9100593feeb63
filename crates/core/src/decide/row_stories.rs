//! Stories of rows: several pages of one fault.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::testing::{machine, restore, row, Desk};
use super::*;
use crate::analyze::Response;
use crate::model::*;

const HOUR: u64 = 3600;

fn desk() -> Desk {
    Desk::new(Policy::default(), machine(1, 4))
}

fn with_places(pages_per_day: u32) -> Desk {
    let mut desk = desk();
    desk.policy.limits.pages_per_day = pages_per_day;
    desk
}

fn soft(pfn: u64) -> Order {
    Order::SoftOffline(Pfn(pfn))
}

fn all_off(desk: &mut Desk, pages: impl IntoIterator<Item = u64>) -> Vec<Plan> {
    pages.into_iter().map(|pfn| desk.answer(soft(pfn), Answer::Off)).collect()
}

fn kinds(plan: &Plan) -> Vec<DecisionKind> {
    plan.decisions.iter().map(|decision| decision.kind).collect()
}

/// What `plan` says of the fault.
fn state_of(plan: &Plan, fault: &Fault) -> Option<FaultState> {
    plan.faults.iter().rfind(|note| note.fault == fault.id).map(|note| note.state)
}

#[test]
fn a_row_is_told_once_when_it_is_to_be_taken_and_once_when_it_is_gone() {
    let mut desk = desk();
    let fault = row(1, 0..24);
    let plan = desk.find_row(&fault);
    assert_eq!(plan.orders, (0..24).map(soft).collect::<Vec<_>>());
    assert_eq!(kinds(&plan), [DecisionKind::Take]);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Open));
    let done = &plan.decisions[0].done;
    assert!(done.starts_with("All 24 pages of row 0x1"), "{done}");
    assert!(done.ends_with("are to be taken."), "{done}");

    let plans = all_off(&mut desk, 0..24);
    assert!(plans[..23].iter().all(|plan| plan.decisions.is_empty() && plan.faults.is_empty()));
    assert_eq!(kinds(&plans[23]), [DecisionKind::Taken]);
    let text = &plans[23].faults[0].decision;
    assert!(
        text.ends_with(" are out of service. 2 corrected errors in a test (rule rule)."),
        "{text}"
    );
    assert_eq!(state_of(&plans[23], &fault), Some(FaultState::Isolated));
}

#[test]
fn what_the_limits_hold_back_of_a_row_is_counted_and_escalates_it() {
    let mut desk = with_places(20);
    let fault = row(1, 0..24);
    let plan = desk.find_row(&fault);
    assert_eq!(plan.orders.len(), 20);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Escalated));
    let decision = &plan.decisions[0];
    assert!(decision.human && plan.decisions.len() == 1);
    assert!(decision.done.contains("20 are to be taken and 4 are held back."), "{decision:?}");
    assert!(decision.why.contains("limits.pages_per_day"), "{}", decision.why);

    let next = |pfn| desk.page(pfn).next_try.map(|next| next.at.since(desk.now.at).as_secs());
    assert_eq!(next(20), Some(24 * HOUR));

    // The text keeps up, and nobody is told again, until nothing is held back.
    let plans = all_off(&mut desk, 0..20);
    assert!(plans.iter().all(|plan| plan.decisions.is_empty()));
    let text = &plans[19].faults[0].decision;
    assert!(text.contains("20 are out of service and 4 are held back."), "{text}");
    assert!(text.contains("2 corrected errors in a test (rule rule)."), "what for: {text}");
    assert!(text.contains("limits.pages_per_day"), "which limit: {text}");
    desk.pass(24 * HOUR);
    let plan = desk.due();
    assert_eq!(plan.orders, (20..24).map(soft).collect::<Vec<_>>());
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Open));
    let plans = all_off(&mut desk, 20..24);
    assert_eq!(state_of(&plans[3], &fault), Some(FaultState::Isolated));
}

#[test]
fn pages_of_a_row_that_do_not_come_off_are_told_once_for_all() {
    let mut desk = desk();
    let fault = row(1, 0..3);
    desk.find_row(&fault);
    assert_eq!(desk.answer(soft(0), Answer::Off).decisions, []);
    assert_eq!(desk.answer(soft(1), Answer::Unhandlable).decisions, []);
    let plan = desk.answer(soft(2), Answer::Busy);
    assert_eq!(kinds(&plan), [DecisionKind::Failed]);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Open));
    desk.pass(1);
    assert_eq!(desk.due().orders, [soft(2)]);
    assert_eq!(desk.answer(soft(2), Answer::Off).decisions, []);
    desk.pass(HOUR);
    desk.due();
    let plan = desk.answer(soft(1), Answer::Off);
    assert_eq!(kinds(&plan), [DecisionKind::Taken]);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Isolated));
}

#[test]
fn a_page_of_two_rows_counts_for_both() {
    let mut desk = desk();
    let (one, two) = (row(1, 0..2), row(2, 1..3));
    desk.find_row(&one);
    let plan = desk.find_row(&two);
    assert_eq!(plan.orders, [soft(2)]);
    assert_eq!(desk.page(1).fault, Some(one.id), "the first fault stays behind it");
    all_off(&mut desk, [0, 2]);
    let plan = desk.answer(soft(1), Answer::Off);
    assert_eq!(state_of(&plan, &one), Some(FaultState::Isolated));
    assert_eq!(state_of(&plan, &two), Some(FaultState::Isolated));
}

#[test]
fn a_page_past_its_own_threshold_is_its_own_faults_and_still_counts_for_its_row() {
    let mut desk = with_places(1);
    let fault = row(1, 0..2);
    desk.find_row(&fault);
    let own = desk.find(Response::TakePage(Pfn(1)));
    assert_eq!(own.orders, [], "held back as before");
    let own = own.faults[0].fault;
    assert_eq!(desk.page(1).fault, Some(own));
    desk.answer(soft(0), Answer::Off);
    desk.pass(24 * HOUR);
    assert_eq!(desk.due().orders, [soft(1)]);
    let plan = desk.answer(soft(1), Answer::Off);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Isolated));
    assert!(plan.faults.iter().any(|note| note.fault == own));
}

#[test]
fn a_page_past_its_own_threshold_goes_though_its_bank_escalates() {
    let mut desk = desk();
    desk.find(Response::Escalate);
    assert_eq!(desk.find(Response::TakePage(Pfn(1))).orders, [soft(1)]);
}

#[test]
fn a_row_that_grows_takes_only_what_is_new() {
    let mut desk = desk();
    let fault = row(1, 0..2);
    desk.find_row(&fault);
    all_off(&mut desk, 0..2);
    let grown_fault = Fault { state: FaultState::Isolated, ..row(1, 0..4) };
    let plan = grown(&desk.ctx(), &grown_fault);
    let plan = desk.enter(plan);
    assert_eq!(plan.orders, [soft(2), soft(3)]);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Open));
    assert_eq!(grown(&desk.ctx(), &grown_fault), Plan::default(), "and no more than once");
    all_off(&mut desk, 2..3);
    assert_eq!(state_of(&desk.answer(soft(3), Answer::Off), &fault), Some(FaultState::Isolated));
}

#[test]
fn growth_of_a_fault_that_takes_no_pages_or_is_closed_takes_none() {
    let mut desk = desk();
    assert_eq!(grown(&desk.ctx(), &row(1, 0..4)), Plan::default());
    desk.find_row(&row(1, 0..2));
    let closed = Fault { state: FaultState::Replaced, ..row(1, 0..4) };
    assert_eq!(grown(&desk.ctx(), &closed), Plan::default());
}

#[test]
fn a_page_given_back_reopens_its_row() {
    let mut desk = desk();
    let fault = row(1, 0..2);
    desk.find_row(&fault);
    all_off(&mut desk, 0..2);
    let plan = release(&desk.ctx(), Target::Page(Pfn(0))).unwrap();
    desk.enter(plan);
    let plan = desk.answer(Order::Unpoison(Pfn(0)), Answer::On);
    assert_eq!(desk.page(0).state, IsolationState::Released);
    assert_eq!(kinds(&plan), [DecisionKind::Released]);
    assert!(desk.states[&fault.id] == FaultState::Open);
}

#[test]
fn a_closed_row_asks_for_nothing_more_unless_another_row_does() {
    let mut desk = with_places(1);
    let (one, two) = (row(1, 0..3), row(2, 2..4));
    desk.find_row(&one);
    desk.find_row(&two);
    desk.answer(soft(0), Answer::Off);
    let plan = desk.close(&one, &[&two]).plan;
    assert_eq!(state_of(&plan, &one), None, "and is not reopened");
    assert_eq!(plan.decisions.len(), 1, "{:?}", plan.decisions);
    assert_eq!(plan.orders, [Order::Unpoison(Pfn(0))]);
    assert_eq!(desk.page(1).state, IsolationState::Released);
    assert_eq!((desk.page(2).state, desk.page(2).fault), (IsolationState::Refused, Some(two.id)));
    assert!(desk.ledger.group(one.id).is_none());
    desk.pass(24 * HOUR);
    assert_eq!(desk.due().orders, [soft(2)]);
}

#[test]
fn grave_faults_and_pages_with_errors_go_first_when_room_appears() {
    let mut desk = with_places(1);
    desk.find(Response::TakePage(Pfn(100)));
    desk.answer(soft(100), Answer::Off);
    let minor = Fault { severity: Severity::Minor, ..row(1, 0..1) };
    let predicted = |id, pfns: std::ops::Range<u64>, severity, with_error| {
        let mut fault = Fault { severity, ..row(id, pfns) };
        fault.cover.as_mut().unwrap().by = CoverBy::Exact;
        let record =
            Record::MemoryController(McEvent { address: with_error, ..McEvent::default() });
        let at = Wall(0);
        let source = Source::McEvent;
        fault.evidence =
            vec![Evidence { first: at, last: at, records: 1, errors: 1, source, record }];
        fault
    };
    desk.find_row(&minor);
    desk.find_row(&predicted(2, 10..12, Severity::Major, 11 * 4096 + 64));
    desk.find_row(&predicted(3, 20..21, Severity::Critical, 0));
    let mut went = Vec::new();
    for _ in 0..4 {
        desk.pass(24 * HOUR);
        let plan = desk.due();
        assert_eq!(plan.orders.len(), 1, "one place a day");
        desk.answer(plan.orders[0].clone(), Answer::Off);
        went.extend(plan.orders);
    }
    assert_eq!(went, [20, 11, 10, 0].map(soft));
}

#[test]
fn in_mode_observe_a_row_is_told_as_one_and_nothing_is_touched() {
    let mut desk = desk();
    desk.policy.observe = true;
    let fault = row(1, 0..24);
    let plan = desk.find_row(&fault);
    assert_eq!(plan.orders, []);
    assert_eq!(kinds(&plan), [DecisionKind::Observed]);
    assert!(plan.decisions[0].next.contains("mode = \"isolate\""), "{:?}", plan.decisions);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Open));
}

#[test]
fn a_page_of_a_row_with_an_uncorrected_error_is_left_to_memory_failure() {
    let mut desk = desk();
    desk.find(Response::EnsureFailedPage(Pfn(1)));
    let fault = row(1, 0..3);
    assert_eq!(desk.find_row(&fault).orders, [soft(0), soft(2)]);
    all_off(&mut desk, [0, 2]);
    let plan = desk.answer(Order::Inspect(Pfn(1)), Answer::Off);
    assert_eq!(desk.page(1).by, By::Kernel);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Isolated));
}

#[test]
fn a_place_is_used_when_it_comes_free_whoevers_turn_it_is() {
    let mut desk = with_places(2);
    let take = |desk: &mut Desk, pfn| {
        let plan = desk.find(Response::TakePage(Pfn(pfn)));
        plan.orders.into_iter().for_each(|order| drop(desk.answer(order, Answer::Off)));
    };
    take(&mut desk, 1);
    desk.pass(HOUR);
    take(&mut desk, 2);
    take(&mut desk, 3);
    desk.find_row(&Fault { severity: Severity::Critical, ..row(1, 4..5) });
    take(&mut desk, 5);
    let hours =
        |desk: &Desk, pfn| desk.page(pfn).next_try.unwrap().at.since(desk.now.at).as_secs() / HOUR;
    assert_eq!([3, 4, 5].map(|pfn| hours(&desk, pfn)), [23, 24, 47]);
    desk.pass(23 * HOUR);
    assert_eq!(desk.due().orders, [soft(4)]);
    desk.answer(soft(4), Answer::Off);
    assert_eq!(hours(&desk, 3), 1, "the alarm of the one that went");
    desk.pass(HOUR);
    assert_eq!(desk.due().orders, [soft(3)]);
}

#[test]
fn where_memory_comes_free_and_the_day_is_full_the_next_place_is_waited_for() {
    let mut desk = with_places(1);
    desk.policy.limits.memory = Amount::Count(4096);
    desk.find_row(&row(1, 0..2));
    desk.answer(soft(0), Answer::Off);
    assert_eq!(desk.page(1).next_try, None, "no clock tells when memory comes free");
    let plan = release(&desk.ctx(), Target::Page(Pfn(0))).unwrap();
    desk.enter(plan);
    desk.answer(Order::Unpoison(Pfn(0)), Answer::On);
    assert_eq!(desk.due().orders, []);
    let next = next_due(&desk.ledger, &desk.checks).unwrap();
    assert_eq!(next.since(desk.now.at).as_secs(), 24 * HOUR);
    desk.pass(24 * HOUR);
    assert_eq!(desk.due().orders, [soft(1)]);
}

#[test]
fn a_restart_knows_the_rows_of_before() {
    let mut desk = desk();
    let fault = row(1, 0..2);
    desk.find_row(&fault);
    desk.answer(soft(0), Answer::Off);
    desk.ledger = desk.ledger.values().cloned().collect();
    desk.ledger.put_group(Group::of(&fault, PageSize::KIB_4).unwrap());
    desk.start(Boot::Same);
    assert_eq!(desk.due().orders.last(), Some(&soft(1)));
    let plan = desk.answer(soft(1), Answer::Off);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Isolated));
}

#[test]
fn a_reboot_tells_of_a_row_only_what_did_not_come_off_again() {
    let mut desk = desk();
    let fault = row(1, 0..24);
    desk.find_row(&fault);
    all_off(&mut desk, 0..24);
    let (ctx, checks) = desk.split();
    let plan = start(&ctx, checks, Boot::New);
    desk.enter(plan.clone());
    assert_eq!((plan.faults, plan.decisions), (vec![], vec![]));
    let batch = restore(0..24);
    assert_eq!(plan.orders, std::slice::from_ref(&batch));
    assert_eq!(desk.page(7).state, IsolationState::Wanted);

    let plan = desk.answer_batch(batch, &[(7, Answer::Unhandlable)]);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Open));
    assert_eq!(plan.decisions.len(), 1);
    assert!(plan.decisions[0].done.contains("23 are out of service"), "{:?}", plan.decisions);
    assert_eq!(desk.page(6).state, IsolationState::Isolated);
    assert_eq!(desk.page(7).state, IsolationState::Failed);
    desk.pass(3600);
    assert_eq!(desk.due().orders, [soft(7)]);
    let plan = desk.answer(soft(7), Answer::Off);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Isolated));
}

#[test]
fn a_row_that_grows_while_it_is_restored_takes_its_new_page_alone() {
    let mut desk = desk();
    let fault = row(1, 0..2);
    desk.find_row(&fault);
    all_off(&mut desk, 0..2);
    desk.start(Boot::New);
    let plan = grown(&desk.ctx(), &row(1, 0..3));
    desk.enter(plan.clone());
    assert_eq!(plan.orders, [soft(2)]);
    desk.answer_batch(restore(0..2), &[]);
    let plan = desk.answer(soft(2), Answer::Off);
    assert_eq!(state_of(&plan, &fault), Some(FaultState::Isolated));
}

#[test]
fn a_whole_failing_module_is_listed_in_bounds_and_the_rest_counted() {
    let mut desk = with_places(16);
    let rows = (Ledger::MOST_SPARE as u64 + 4096) / 128;
    for id in 0..rows {
        desk.find_row(&row(id as u32, id * 128..(id + 1) * 128));
    }
    assert_eq!(desk.ledger.len(), 16 + Ledger::MOST_SPARE);
    assert_eq!(desk.ledger.forgotten(), rows * 128 - 16 - Ledger::MOST_SPARE as u64);
    // What went is listed, and what is not counts as held back.
    all_off(&mut desk, 0..16);
    assert_eq!(desk.ledger.count(false, IsolationState::Isolated), 16);
    let last = row(rows as u32 - 1, 0..1);
    let (_, standings) = desk.ledger.group(last.id).unwrap();
    assert_eq!(standings.count(Standing::Held), 128);
}
