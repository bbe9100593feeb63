//! `bulkhead isolate` and `bulkhead release`.

use super::exit::Exit;
use super::output::{count, one_line, print, print_json};
use super::Json;
use crate::api::views::{ActReply, InterruptView, IsolationView, PlanView};
use crate::api::{ActRequest, ActTarget, Client, ClientError, TargetKind};
use bulkhead_core::model::{IsolationState, Undo};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// `cpu` or `page`
    #[arg(value_parser = kind)]
    kind: TargetKind,
    /// The CPU's number, or a physical address in the page, with 0x
    #[arg(value_name = "N|ADDR")]
    id: String,
    /// Why, for the record: one line
    #[arg(long, value_name = "TEXT", value_parser = reason)]
    reason: Option<String>,
    /// Only tell what would be done
    #[arg(long)]
    dry_run: bool,
    #[command(flatten)]
    json: Json,
}

fn kind(text: &str) -> Result<TargetKind, String> {
    TargetKind::parse(text).ok_or_else(|| "say `cpu` or `page`".to_owned())
}

fn reason(text: &str) -> Result<String, String> {
    match ActRequest::is_reason(text) {
        true => Ok(text.to_owned()),
        false => Err(format!("one line of at most {} bytes", ActRequest::MAX_REASON)),
    }
}

impl Arguments {
    fn request(&self) -> Result<ActRequest, Exit> {
        let target = ActTarget::parse(self.kind, &self.id).map_err(Exit::Usage)?;
        Ok(ActRequest { target, reason: self.reason.clone(), dry_run: self.dry_run })
    }
}

pub(super) fn isolate(
    connect: impl FnOnce() -> Result<Client, ClientError>,
    arguments: &Arguments,
) -> Result<(), Exit> {
    let request = arguments.request()?;
    let reply = connect()?.isolate(request)?;
    show(&reply, arguments.json)?;
    isolated(&reply)
}

pub(super) fn release(
    connect: impl FnOnce() -> Result<Client, ClientError>,
    arguments: &Arguments,
) -> Result<(), Exit> {
    let request = arguments.request()?;
    let reply = connect()?.release(request)?;
    show(&reply, arguments.json)?;
    released(&reply)
}

/// As a line of `list`, or in words.
fn show(reply: &ActReply, json: Json) -> Result<(), Exit> {
    if json.json {
        return match &reply.plan {
            Some(plan) => print_json(&Planned { isolation: &reply.isolation, plan }),
            None => print_json(&reply.isolation),
        };
    }
    print(&(told(reply) + &reply.plan.as_deref().map(moves).unwrap_or_default()))
}

/// The line of a dry run, and beside its keys the plan.
#[derive(serde::Serialize)]
struct Planned<'a> {
    #[serde(flatten)]
    isolation: &'a IsolationView,
    plan: &'a PlanView,
}

/// What has to move, a line each.
fn moves(plan: &PlanView) -> String {
    let mut lines: Vec<String> = Vec::new();
    for task in &plan.tasks {
        let thread = match task.tid == task.pid {
            true => String::new(),
            false => format!("thread {} of ", task.tid),
        };
        lines.push(format!(
            "{thread}process {} ({}, {}) may run on CPU {} alone, and will be moved",
            task.pid, task.name, task.policy, task.cpus
        ));
    }
    for interrupt in &plan.interrupts {
        let InterruptView { irq, name, cpus } = interrupt;
        let name = if name.is_empty() { String::new() } else { format!(" ({name})") };
        lines.push(format!(
            "interrupt {irq}{name} goes to CPU {cpus} alone, and will be moved or shut down"
        ));
    }
    for (more, what) in [(plan.more_tasks, "task"), (plan.more_interrupts, "interrupt")] {
        if more > 0 {
            lines.push(format!("and {} beyond those", count(more, what)));
        }
    }
    lines.extend(plan.partitions.iter().map(|own| format!("cgroup {own} has it to itself")));
    lines.extend(plan.unknown.iter().map(|unknown| format!("not known: {unknown}")));
    if lines.is_empty() {
        lines.push("no task and no interrupt is bound to it alone".to_owned());
    }
    lines.iter().map(|line| format!("  {}\n", one_line(line))).collect()
}

fn told(reply: &ActReply) -> String {
    let line = &reply.isolation;
    let dry = if reply.dry_run { "dry run: " } else { "" };
    let with = match reply.together.as_slice() {
        [] | [_] => String::new(),
        all => format!(" (with {}s {})", line.kind, all.join(", ")),
    };
    let when = match line.release {
        Some(Undo::NextBoot) => ", back at the next boot",
        None => "",
    };
    let text =
        format!("{dry}{}{with} {}{when}: {}", name(line), super::list::state(line.state), line.why);
    one_line(&text) + "\n"
}

fn name(line: &IsolationView) -> String {
    format!("{} {}", line.kind, line.id)
}

/// How an isolation ends: done, refused, or not (yet) come off.
fn isolated(reply: &ActReply) -> Result<(), Exit> {
    let line = &reply.isolation;
    match line.state {
        IsolationState::Isolated => Ok(()),
        IsolationState::Wanted | IsolationState::Observed if reply.dry_run => Ok(()),
        IsolationState::Observed => Err(Exit::Refused(format!(
            "{} stays: the daemon is in mode observe and touches nothing; see `mode` in its \
             configuration",
            name(line)
        ))),
        IsolationState::Refused => Err(refused(line)),
        IsolationState::Wanted => Err(Exit::Failed(format!(
            "{} did not come off yet: {}; the daemon tries again, `bulkhead list` shows when",
            name(line),
            line.why
        ))),
        IsolationState::Failed | IsolationState::Stale | IsolationState::Released => {
            Err(failed(line))
        }
    }
}

/// How a release ends. A page that comes back at the next boot is released as
/// far as the kernel lets it be.
fn released(reply: &ActReply) -> Result<(), Exit> {
    let line = &reply.isolation;
    match line.state {
        IsolationState::Released => Ok(()),
        IsolationState::Isolated if line.release.is_some() => Ok(()),
        IsolationState::Refused => Err(refused(line)),
        _ => Err(failed(line)),
    }
}

fn refused(line: &IsolationView) -> Exit {
    Exit::Refused(format!("{} was refused: {}", name(line), line.why))
}

fn failed(line: &IsolationView) -> Exit {
    Exit::Failed(format!(
        "{} is {}: {}; see `bulkhead list`",
        name(line),
        super::list::state(line.state),
        line.why
    ))
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::samples;
    use bulkhead_core::model::{CpuId, PageSize, Survey};

    fn reply(state: IsolationState, dry_run: bool) -> ActReply {
        ActReply::of(&samples::cpu(1, state), PageSize::KIB_4, dry_run)
    }

    #[test]
    fn an_isolation_is_done_when_it_is_isolated() {
        use IsolationState::*;
        assert_eq!(isolated(&reply(Isolated, false)), Ok(()));
        for state in [Wanted, Failed, Stale, Released] {
            assert!(matches!(isolated(&reply(state, false)), Err(Exit::Failed(_))), "{state:?}");
        }
        for state in [Refused, Observed] {
            assert!(matches!(isolated(&reply(state, false)), Err(Exit::Refused(_))), "{state:?}");
        }
    }

    #[test]
    fn a_dry_run_is_done_unless_it_would_be_refused() {
        assert_eq!(isolated(&reply(IsolationState::Observed, true)), Ok(()));
        assert_eq!(isolated(&reply(IsolationState::Wanted, true)), Ok(()));
        assert!(isolated(&reply(IsolationState::Refused, true)).is_err());
    }

    #[test]
    fn a_release_that_waits_for_a_reboot_is_done() {
        let mut reply = reply(IsolationState::Isolated, false);
        assert!(matches!(released(&reply), Err(Exit::Failed(_))));
        reply.isolation.release = Some(Undo::NextBoot);
        assert_eq!(released(&reply), Ok(()));
    }

    #[test]
    fn a_dry_run_tells_what_has_to_move() {
        let survey = samples::survey();
        let text = moves(&PlanView::of(&survey, &[CpuId(1)]));
        assert_eq!(
            text,
            "  thread 4712 of process 4711 (clock, SCHED_OTHER) may run on CPU 1 alone, and will be \
             moved\n  interrupt 24 (nvme0q1) goes to CPU 1 alone, and will be moved or shut down\n  \
             and 2 tasks beyond those\n  not known: tasks beyond the first 9\n"
        );
        let nothing = PlanView::of(&Survey::default(), &[CpuId(1)]);
        assert_eq!(moves(&nothing), "  no task and no interrupt is bound to it alone\n");
    }

    #[test]
    fn who_goes_along_is_told() {
        let text = told(&reply(IsolationState::Isolated, false));
        assert_eq!(
            text,
            "cpu 1 (with cpus 1, 5) isolated: 3 corrected errors in its L1 data cache within 72h\n"
        );
    }
}
