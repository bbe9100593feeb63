//! `bulkhead resolve`: an admin closes a fault.

use super::exit::Exit;
use super::output::{one_line, print, print_json};
use super::{FaultId, Json};
use crate::api::views::{IsolationView, ResolveReply};
use crate::api::{Client, Resolution};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    fault: FaultId,
    #[command(flatten)]
    word: Word,
    #[command(flatten)]
    json: Json,
}

/// Exactly one of them.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = false)]
struct Word {
    /// The component was repaired
    #[arg(long)]
    repaired: bool,
    /// The part was replaced
    #[arg(long)]
    replaced: bool,
    /// It was no fault
    #[arg(long)]
    acquitted: bool,
}

impl Word {
    fn resolution(&self) -> Resolution {
        if self.repaired {
            Resolution::Repaired
        } else if self.replaced {
            Resolution::Replaced
        } else {
            Resolution::Acquitted
        }
    }
}

pub(super) fn run(mut client: Client, arguments: &Arguments) -> Result<(), Exit> {
    let reply = client.resolve(arguments.fault.id, arguments.word.resolution())?;
    if arguments.json.json {
        print_json(&reply)?;
    } else {
        print(&told(&reply))?;
    }
    match reply.failed.as_slice() {
        [] => Ok(()),
        [first, ..] => Err(Exit::Failed(format!(
            "the fault is closed, and {} did not come back: {}; see `bulkhead list`",
            names(&reply.failed),
            one_line(&first.why)
        ))),
    }
}

/// A line for the fault, and one for each of what became of what it held.
fn told(reply: &ResolveReply) -> String {
    let fault = &reply.fault;
    let mut lines =
        vec![format!("fault {}, {}: {}", fault.id, fault.component, fault.state.name())];
    if !reply.released.is_empty() {
        lines.push(format!("  in service again: {}", names(&reply.released)));
    }
    if let [first, ..] = reply.waiting.as_slice() {
        let waiting = names(&reply.waiting);
        lines.push(format!("  back at the next boot, not before: {waiting}. {}", first.why));
    }
    let staying = reply.staying.iter();
    lines.extend(staying.map(|line| format!("  stays: {}. {}", names([line]), line.why)));
    for other in &reply.same_part {
        lines.push(format!(
            "  of the same part, and still {}: fault {}, {}",
            other.state.name(),
            other.id,
            other.component
        ));
    }
    lines.iter().map(|line| one_line(line) + "\n").collect()
}

/// "cpu 1, cpu 5", and of many the first and how many more.
fn names<'v>(lines: impl IntoIterator<Item = &'v IsolationView>) -> String {
    const MOST: usize = 4;
    let names: Vec<String> =
        lines.into_iter().map(|line| format!("{} {}", line.kind, line.id)).collect();
    match names.len().checked_sub(MOST) {
        Some(more @ 1..) => {
            format!(
                "{} and {more} more",
                names.iter().take(MOST).cloned().collect::<Vec<_>>().join(", ")
            )
        }
        _ => names.join(", "),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::samples;

    #[test]
    fn what_became_of_what_the_fault_held_is_told() {
        insta::assert_snapshot!(told(&samples::resolved()));
    }

    #[test]
    fn of_many_the_first_are_named() {
        let reply = samples::resolved();
        let five = std::iter::repeat_n(&reply.waiting[0], 6);
        assert!(names(five).ends_with(", page 0x8000000 and 2 more"));
    }
}
