//! What becomes of faults that cover several pages: told once for all of them,
//! not page by page.

use super::{Context, Decision, DecisionKind, FaultNote, Plan};
use crate::model::{FaultState, Group, Isolation, Pfn, Standing, Standings, Target};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// What a decision on a single page would have said beyond how many pages stand
/// how and why they are to go.
#[derive(Default)]
struct Words {
    /// What keeps pages in service.
    why: String,
    next: String,
}

/// `group` is new, or has more pages, by the lines of `plan`: tells what is
/// done about it.
pub(super) fn taken_up(ctx: &Context, plan: &mut Plan, group: Group) {
    let lines = last_lines(plan);
    let mut standings = Standings::default();
    for pfn in &group.pages {
        let line = lines.get(pfn).copied();
        standings.add(Standing::of(line.or_else(|| ctx.ledger.get(&Target::Page(*pfn)))));
    }
    let kept = quieten(plan, |id| id == group.fault);
    tell(plan, &group, &standings, kept.unwrap_or_default(), true);
    plan.groups.push(group);
}

/// `plan`, with what it means for the groups that its pages belong to, instead
/// of what it says of each page that is taken for a group.
pub(super) fn told(ctx: &Context, mut plan: Plan) -> Plan {
    if !ctx.ledger.has_groups() {
        return plan;
    }
    let mut changed: BTreeMap<Uuid, Standings> = BTreeMap::new();
    for (pfn, line) in last_lines(&plan) {
        let before = Standing::of(ctx.ledger.get(&Target::Page(pfn)));
        let after = Standing::of(Some(line));
        if before == after {
            continue;
        }
        for fault in ctx.ledger.covering(pfn) {
            let Some((_, standings)) = ctx.ledger.group(fault) else { continue };
            let standings = changed.entry(fault).or_insert(*standings);
            standings.remove(before);
            standings.add(after);
        }
    }
    let told_already: BTreeSet<Uuid> = plan.groups.iter().map(|group| group.fault).collect();
    let is_group = |id| ctx.ledger.group(id).is_some() && !told_already.contains(&id);
    let mut words: BTreeMap<Uuid, Words> = BTreeMap::new();
    for id in groups_told_of(&plan).into_iter().filter(|id| is_group(*id)) {
        words.extend(quieten(&mut plan, |other| other == id).map(|words| (id, words)));
    }
    for (id, after) in changed.into_iter().filter(|(id, _)| is_group(*id)) {
        let Some((group, before)) = ctx.ledger.group(id) else { continue };
        let (old, new) = (state_of(before), state_of(&after));
        let at_rest = after.count(Standing::Going) == 0;
        let came_to_rest = at_rest && before.count(Standing::Going) > 0;
        // What was told as held back goes page by page as room comes: no news.
        let news = old != new || (came_to_rest && after.count(Standing::Held) == 0);
        // Said already of the page that others, or an admin, had a hand in.
        let said = plan.decisions.iter().any(|decision| decision.fault == Some(id));
        if news || at_rest {
            let mut words = words.remove(&id).unwrap_or_default();
            if words.why.is_empty() && after.count(Standing::Held) > 0 {
                words.why = held_back_by(ctx, &plan, group).unwrap_or_default();
            }
            tell(&mut plan, group, &after, words, news && !said);
        }
    }
    plan
}

/// The last line of each page in `plan`, which is the one that counts.
fn last_lines(plan: &Plan) -> BTreeMap<Pfn, &Isolation> {
    plan.isolations.iter().filter_map(|line| Some((line.target.page()?, line))).collect()
}

fn groups_told_of(plan: &Plan) -> BTreeSet<Uuid> {
    let noted = plan.faults.iter().map(|note| note.fault);
    noted.chain(plan.decisions.iter().filter_map(|decision| decision.fault)).collect()
}

/// Takes what is said of single pages of a group's fault out of `plan`, and
/// answers the words for what keeps a page in service. What others did, and
/// what an admin asked for, stays told.
fn quieten(plan: &mut Plan, is_group: impl Fn(Uuid) -> bool) -> Option<Words> {
    plan.faults.retain(|note| !is_group(note.fault));
    let is_routine = |decision: &Decision| {
        use DecisionKind::{Failed, Observed, Refused, Take, Taken};
        matches!(decision.kind, Take | Taken | Observed | Refused | Failed)
            && matches!(decision.target, Some(Target::Page(_)))
            && decision.fault.is_some_and(&is_group)
    };
    let decisions = std::mem::take(&mut plan.decisions);
    let (quiet, told): (Vec<_>, Vec<_>) = decisions.into_iter().partition(is_routine);
    plan.decisions = told;
    let keeps = |d: &Decision| {
        use DecisionKind::{Failed, Observed, Refused};
        matches!(d.kind, Refused | Failed | Observed)
    };
    let kept = quiet.into_iter().filter(keeps).max_by_key(|decision| decision.human)?;
    Some(Words { why: kept.why, next: kept.next })
}

/// Contained only with all pages out of service; a human's where some are held
/// back.
fn state_of(standings: &Standings) -> FaultState {
    if standings.count(Standing::Off) == standings.all() {
        FaultState::Isolated
    } else if standings.count(Standing::Held) > 0 {
        FaultState::Escalated
    } else {
        FaultState::Open
    }
}

fn kind_of(standings: &Standings) -> DecisionKind {
    let has = |standing| standings.count(standing) > 0;
    if has(Standing::Held) {
        DecisionKind::Refused
    } else if has(Standing::Going) {
        DecisionKind::Take
    } else if has(Standing::Trying) {
        DecisionKind::Failed
    } else if has(Standing::Observed) {
        DecisionKind::Observed
    } else if has(Standing::Back) {
        DecisionKind::Released
    } else {
        DecisionKind::Taken
    }
}

fn tell(plan: &mut Plan, group: &Group, standings: &Standings, words: Words, news: bool) {
    let done = sentence(group, standings);
    let kind = kind_of(standings);
    let why = match words.why.as_str() {
        "" => group.why.clone(),
        kept if kept == group.why => group.why.clone(),
        kept => format!("{} {kept}", group.why),
    };
    plan.faults.push(FaultNote {
        fault: group.fault,
        state: state_of(standings),
        decision: format!("{done} {why}"),
        advice: (kind != DecisionKind::Take && !words.next.is_empty()).then(|| words.next.clone()),
    });
    if news {
        plan.decisions.push(Decision {
            kind,
            component: group.name.clone(),
            target: None,
            fault: Some(group.fault),
            why,
            done,
            next: words.next,
            human: standings.count(Standing::Held) > 0,
        });
    }
}

/// Why a page of the group is held back, by the lines of `plan` or as before.
fn held_back_by(ctx: &Context, plan: &Plan, group: &Group) -> Option<String> {
    let lines = last_lines(plan);
    let line = |pfn: &Pfn| lines.get(pfn).copied().or_else(|| ctx.ledger.get(&Target::Page(*pfn)));
    let held = |line: &&Isolation| Standing::of(Some(line)) == Standing::Held;
    group.pages.iter().filter_map(line).find(held).map(|line| line.why.clone())
}

/// "Of the 24 pages of row …, 19 are to be taken and 5 are held back."
fn sentence(group: &Group, standings: &Standings) -> String {
    const PHRASES: [(Standing, &str, &str); 6] = [
        (Standing::Off, "is out of service", "are out of service"),
        (Standing::Going, "is to be taken", "are to be taken"),
        (
            Standing::Trying,
            "did not come off and is tried again",
            "did not come off and are tried again",
        ),
        (Standing::Observed, "would have been taken", "would have been taken"),
        (Standing::Held, "is held back", "are held back"),
        (Standing::Back, "is left in service", "are left in service"),
    ];
    let all = standings.all();
    let parts: Vec<(usize, &str)> = PHRASES
        .into_iter()
        .map(|(standing, one, many)| (standings.count(standing), one, many))
        .filter(|(count, ..)| *count > 0)
        .map(|(count, one, many)| (count, if count == 1 { one } else { many }))
        .collect();
    match parts.as_slice() {
        [(1, phrase)] => format!("The page of {} {phrase}.", group.name),
        [(_, phrase)] => format!("All {all} pages of {} {phrase}.", group.name),
        parts => {
            let said: Vec<String> =
                parts.iter().map(|(n, phrase)| format!("{n} {phrase}")).collect();
            let (last, others) = said.split_last().map_or(("", &[][..]), |(l, o)| (l.as_str(), o));
            format!("Of the {all} pages of {}, {} and {last}.", group.name, others.join(", "))
        }
    }
}
