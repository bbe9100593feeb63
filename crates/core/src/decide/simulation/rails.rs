//! The guard rails, each by its name: what no history may break.
//!
//! Three tables: for each order as it goes out, for each moment at which the
//! daemon has done all there is to do, and for the end, when everything was
//! answered with yes for hours.

mod cpus;
mod ledger;
mod pages;

use super::super::{Order, Plan};
use super::host::{is_write, overlap, Host};
use crate::model::{CpuId, Target};

/// What is wrong, if anything is.
type Breach = Option<String>;

/// For an order.
struct OfOrder {
    name: &'static str,
    breach: fn(&Host, &Order) -> Breach,
    /// What decide says of what it holds back for it: docs/guards.md. Empty where
    /// it does something else instead, and says nothing.
    says: &'static str,
}

/// For the host as it is.
type OfHost = fn(&Host) -> Breach;

const fn rail(
    name: &'static str,
    says: &'static str,
    breach: fn(&Host, &Order) -> Breach,
) -> OfOrder {
    OfOrder { name, breach, says }
}

/// For the order that just went out.
const ORDERED: &[OfOrder] = &[
    rail("mode observe writes nothing", "", observe_writes_nothing),
    rail("no order beside another one for the same", "Another order for ", no_order_beside_another),
    rail(
        "no page with an uncorrected error is soft-offlined",
        "it is memory_failure()'s to take",
        pages::no_ue_is_soft_offlined,
    ),
    rail("no page that an uncorrected error came from is moved", "", pages::no_bad_cell_is_read),
    rail(
        "only an uncorrected error hard-offlines a page, and only by page.ue",
        "page.ue = \"report\"",
        pages::only_ue_is_hard_offlined,
    ),
    rail("huge pages stay as page.hugetlb has it", "(page.hugetlb)", pages::huge_pages_stay),
    rail("pages in all (limits.memory)", "(limits.memory)", pages::in_all),
    rail("pages a day (limits.pages_per_day)", "(limits.pages_per_day)", pages::a_day),
    rail("no page beyond the address width", "no such address", pages::only_addresses),
    rail("nothing is asked about a masked page", "masked at boot", pages::no_masked_page),
    rail(
        "what the kernel's policy refuses is not asked for again",
        "The kernel's policy",
        pages::no_means_no,
    ),
    rail("what does not come off for long is asked for hourly", "every hour", pages::hourly),
    rail("memory of another configuration is never applied", "", pages::of_this_memory),
    rail("only CPUs that are there (guard.present)", "(guard.present)", cpus::present),
    rail("only what the kernel can take (guard.switch)", "(guard.switch)", cpus::switch),
    rail("the last CPU stays (guard.last-cpu)", "(guard.last-cpu)", cpus::last),
    rail(
        "the last CPU for housekeeping stays (guard.housekeeping)",
        "(guard.housekeeping)",
        cpus::housekeeping,
    ),
    rail(
        "CPUs of a node that stay (limits.cpus_per_node)",
        "(limits.cpus_per_node)",
        cpus::of_a_node,
    ),
    rail(
        "CPUs of a socket that stay (limits.cpus_per_socket)",
        "(limits.cpus_per_socket)",
        cpus::of_a_socket,
    ),
    rail("CPUs in all (limits.cpus)", "(limits.cpus)", cpus::in_all),
    rail("a core goes whole", "", cpus::whole_core),
    rail(
        "one core in 10 minutes (guard.core-interval)",
        "(guard.core-interval)",
        cpus::one_core_in_10_minutes,
    ),
    rail("what somebody keeps stays (cpu.dedicated)", "(cpu.dedicated)", cpus::dedicated),
];

/// That a page which does not come off is told of: reached when one is.
const PINNED: &str = "a human is told of a page that is pinned (EBUSY for a day)";
const UNMOVABLE: &str = "a human is told of a page that cannot be moved (EIO for a day)";

/// For a daemon with nothing to do.
const AT_REST: &[(&str, OfHost)] = &[
    (PINNED, |host| pages::untold(host, |tries| tries.is_pinned())),
    (UNMOVABLE, |host| pages::untold(host, |tries| tries.is_unmovable())),
    ("the ledger says of each order whether it is out", ledger::knows_what_is_out),
    ("no error is waited for by nobody", ledger::no_error_is_left),
    ("what is off is not to be taken", ledger::nothing_off_is_to_be_taken),
    ("what was told of each row is true of its pages", ledger::rows_stand_as_told),
    ("no line names a closed fault", ledger::no_line_names_a_closed_fault),
];

/// For the end.
const IN_THE_END: &[(&str, OfHost)] = &[
    ("what we took is listed", ledger::what_we_took_is_listed),
    ("no half of a core is left off", ledger::no_half_of_a_core_is_left),
    ("what no open fault holds is on its way back", ledger::nothing_is_held_for_nothing),
];

/// The rails that hold something back.
pub(super) fn names() -> impl Iterator<Item = &'static str> {
    ORDERED.iter().map(|rail| rail.name).chain([PINNED, UNMOVABLE])
}

/// The last order of the queue just went out.
pub(super) fn ordered(host: &Host) {
    let (order, _) = host.queue.last().unwrap();
    for OfOrder { name, breach, .. } in ORDERED {
        if let Some(breach) = breach(host, order) {
            panic!("{name}: {order:?}: {breach}");
        }
    }
}

pub(super) fn at_rest(host: &mut Host) {
    check(host, AT_REST);
    let Some(reached) = &mut host.reached else { return };
    for tries in host.stubborn.tries.values() {
        reached.extend(tries.is_pinned().then_some(PINNED));
        reached.extend(tries.is_unmovable().then_some(UNMOVABLE));
    }
}

pub(super) fn in_the_end(host: &Host) {
    check(host, IN_THE_END);
}

fn check(host: &Host, rails: &[(&str, OfHost)]) {
    for (name, breach) in rails {
        if let Some(breach) = breach(host) {
            panic!("{name}: {breach}");
        }
    }
}

fn breach(is_one: bool, what: impl FnOnce() -> String) -> Breach {
    is_one.then(what)
}

/// `plan` was entered, and its orders are not out yet: notes the rails that it
/// stopped at.
pub(super) fn held_back(host: &mut Host, plan: &Plan) {
    if host.reached.is_none() {
        return;
    }
    for line in &plan.isolations {
        let told = plan.decisions.iter().filter(|decision| decision.target == Some(line.target));
        let said: String = told.flat_map(|told| [told.why.as_str(), &told.done]).collect();
        let mut instead = instead(host, line.target, &line.together);
        instead.retain(|order| !plan.orders.contains(order));
        reach(host, instead, &format!("{}{said}", line.why));
    }
}

/// An admin's request for `target` was refused.
pub(super) fn refused(host: &mut Host, target: Target, why: &str) {
    let instead = instead(host, target, &[]);
    reach(host, instead, why);
}

/// What might have been ordered.
fn instead(host: &Host, target: Target, together: &[CpuId]) -> Vec<Order> {
    match target {
        Target::Page(pfn) => vec![Order::SoftOffline(pfn), Order::HardOffline(pfn)],
        Target::Cpu(cpu) => {
            let on = together.iter().copied().filter(|cpu| host.is_online(*cpu)).collect();
            vec![Order::TakeCpus(vec![cpu]), Order::TakeCpus(on)]
        }
    }
}

/// A rail is reached where one of these orders, which decide did not give, would
/// have broken it, and decide said so.
fn reach(host: &mut Host, instead: Vec<Order>, said: &str) {
    let Some(mut reached) = host.reached.take() else { return };
    for order in instead {
        host.queue.push((order.clone(), host.desk.now));
        let told = ORDERED.iter().filter(|rail| said.contains(rail.says));
        let held = told.filter(|rail| (rail.breach)(host, &order).is_some());
        reached.extend(held.map(|rail| rail.name));
        host.queue.pop();
    }
    host.reached = Some(reached);
}

/// But what ends an order from before: our own half of a core is rolled back,
/// and the tasks of a core that came back are bound again.
fn observe_writes_nothing(host: &Host, order: &Order) -> Breach {
    let threads = |cpu| &host.desk.machine.cpus[cpu].threads;
    let is_half = |cpu| threads(cpu).iter().any(|cpu| host.is_online(*cpu));
    let ends = match order {
        Order::GiveCpus(cpus) => cpus.iter().all(is_half),
        Order::PutBack(..) => true,
        _ => false,
    };
    breach(host.desk.policy.observe && is_write(order) && !ends, String::new)
}

fn no_order_beside_another(host: &Host, order: &Order) -> Breach {
    let (_, earlier) = host.queue.split_last()?;
    let double = earlier.iter().find(|(out, _)| is_write(out) && overlap(out, order))?;
    breach(is_write(order), || format!("{double:?} is out"))
}
