//! `bulkhead resolve`: an admin closes a fault.

use super::exit::Exit;
use super::output::{one_line, print, print_json};
use super::{FaultId, Json};
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
    let fault = client.resolve(arguments.fault.id, arguments.word.resolution())?;
    if arguments.json.json {
        return print_json(&fault);
    }
    let text = format!("fault {}, {}: {}", fault.id, fault.component, fault.state.name());
    print(&(one_line(&text) + "\n"))
}
