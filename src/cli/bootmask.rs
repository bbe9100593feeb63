//! `bulkhead bootmask`.

use super::exit::Exit;
use super::output::{count, one_line, print, print_json};
use super::Json;
use crate::api::views::IsolationView;
use crate::api::{ActTarget, Client, ClientError, TargetKind};
use crate::bootmask::grub::{self, Change, GrubError};
use crate::bootmask::parameter::{self, TooLong};
use crate::bootmask::{Boot, Parameter};
use bulkhead_core::model::Pfn;
use bulkhead_core::model::{Isolation, IsolationState, PageSize, PhysAddr};
use jiff::{SignedDuration, Timestamp};
use serde::Serialize;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Install them for GRUB, as /etc/default/grub.d/bulkhead.cfg
    ///
    /// Without pages to mask the file is removed. GRUB is not run: what to run
    /// is told.
    #[arg(long)]
    grub: bool,
    /// Pages that failed less than a day ago, too
    #[arg(long)]
    all_failed: bool,
    #[command(flatten)]
    json: Json,
}

/// What is printed.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Answer {
    /// What to put on the kernel's command line; empty for nothing.
    parameters: String,
    pages: usize,
    ranges: Vec<Range>,
    warnings: Vec<String>,
    /// With `--grub`: the drop-in, what was done with it, and what to run now.
    drop_in: Option<PathBuf>,
    done: Option<&'static str>,
    run: Option<&'static str>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Range {
    start: PhysAddr,
    bytes: u64,
}

pub(super) fn run(
    connect: impl FnOnce() -> Result<Client, ClientError>,
    arguments: &Arguments,
) -> Result<(), Exit> {
    if !cfg!(any(target_arch = "x86", target_arch = "x86_64")) {
        return Err(Exit::Failed(
            "only x86 kernels know memmap=nn$ss, which keeps pages out of a boot; take the \
             memory's module out instead"
                .to_owned(),
        ));
    }
    let list = connect()?.isolations(Some(TargetKind::Page))?;
    let boot = Boot::read().map_err(|error| Exit::Failed(format!("{error}; mount /proc")))?;
    let mask = mask(&list, &boot, arguments.all_failed, Timestamp::now())?;
    let mut answer = Answer::of(&mask, boot.page_size);
    if arguments.grub {
        answer.install(Path::new("/etc"), &mask)?;
    }
    if arguments.json.json {
        return print_json(&answer);
    }
    print(&answer.text(arguments))
}

/// What masks the pages of `list` that should be.
fn mask(
    list: &[IsolationView],
    boot: &Boot,
    all_failed: bool,
    now: Timestamp,
) -> Result<Parameter, TooLong> {
    let pfn = |line: &IsolationView| match ActTarget::parse(TargetKind::Page, &line.id) {
        Ok(ActTarget::Page(addr)) => Some(boot.page_size.pfn(addr)),
        _ => None,
    };
    let pages = |of: &dyn Fn(&IsolationView) -> bool| -> BTreeSet<Pfn> {
        list.iter().filter(|line| of(line)).filter_map(pfn).collect()
    };
    let listed = pages(&|_| true);
    let gone = pages(&is_given_back);
    let mut masked = parameter::present(&listed, &boot.command_line, boot.page_size);
    masked.retain(|pfn| !gone.contains(pfn));
    masked.extend(pages(&|line| is_stuck(line, all_failed, now)));
    Parameter::masking(&masked, &listed, &boot.command_line, boot.page_size)
}

/// It did not come off for more than a day, or failed at all.
fn is_stuck(line: &IsolationView, all_failed: bool, now: Timestamp) -> bool {
    let limit = SignedDuration::try_from(Isolation::STUCK_AFTER).unwrap_or(SignedDuration::MAX);
    let long = |since: Timestamp| now.duration_since(since) > limit;
    match line.state {
        IsolationState::Failed => all_failed || line.failing_since.is_some_and(long),
        IsolationState::Wanted => line.failing_since.is_some_and(long),
        _ => false,
    }
}

/// It is to be in service again: somebody wants it so, or its address is
/// another cell now.
fn is_given_back(line: &IsolationView) -> bool {
    line.release.is_some() || matches!(line.state, IsolationState::Released | IsolationState::Stale)
}

impl Answer {
    fn of(mask: &Parameter, page_size: PageSize) -> Answer {
        let ranges: Vec<Range> = mask
            .ranges
            .iter()
            .map(|range| {
                let pages = range.end.0.saturating_sub(range.start.0);
                let bytes = pages.saturating_mul(page_size.bytes());
                Range { start: page_size.addr(range.start), bytes }
            })
            .collect();
        let bytes: u64 = ranges.iter().map(|range| range.bytes).sum();
        Answer {
            parameters: mask.text.clone(),
            pages: usize::try_from(bytes / page_size.bytes()).unwrap_or(usize::MAX),
            ranges,
            warnings: mask.warnings.clone(),
            drop_in: None,
            done: None,
            run: None,
        }
    }

    fn install(&mut self, etc: &Path, mask: &Parameter) -> Result<(), Exit> {
        let (path, change) = grub::install(etc, &mask.text)?;
        self.drop_in = Some(path);
        let (done, run) = match change {
            Change::Written => ("written", Some(grub::COMMAND)),
            Change::Removed => ("removed", Some(grub::COMMAND)),
            Change::None => ("unchanged", None),
        };
        (self.done, self.run) = (Some(done), run);
        Ok(())
    }

    fn text(&self, arguments: &Arguments) -> String {
        let mut text = match self.parameters.as_str() {
            "" if arguments.all_failed => "No page is to be masked: none has failed.\n".to_owned(),
            "" => "No page is to be masked: none has failed to come off for more than a day.\n"
                .to_owned(),
            parameters => format!("{parameters}\n"),
        };
        for warning in &self.warnings {
            text += &format!("Warning: {warning}\n");
        }
        if let (Some(path), Some(done)) = (&self.drop_in, self.done) {
            text += &format!("{}: {done}.", one_line(&path.display().to_string()));
            text += &match self.run {
                Some(command) => format!(" Now run `{command}`, and reboot when it suits.\n"),
                None => "\n".to_owned(),
            };
        } else if !self.parameters.is_empty() {
            text += &format!(
                "On the kernel's command line this keeps {} out of the next boot; `--grub` puts \
                 it there.\n",
                count(self.pages as u64, "page")
            );
        }
        text
    }
}

impl From<TooLong> for Exit {
    fn from(error: TooLong) -> Exit {
        Exit::Refused(format!(
            "{error}; so many failing pages mean a failing module: replace it, or shorten the \
             rest of the command line"
        ))
    }
}

impl From<GrubError> for Exit {
    fn from(error: GrubError) -> Exit {
        match &error {
            GrubError::NoDropIns(_) => Exit::Failed(format!(
                "{error}; put what `bulkhead bootmask` prints on the kernel's command line by \
                 hand, with each $ escaped as your boot loader has it"
            )),
            GrubError::Io { cause, .. } if cause.kind() == std::io::ErrorKind::PermissionDenied => {
                Exit::Refused(format!("{error}; run this as root"))
            }
            GrubError::Io { .. } => Exit::Failed(format!("{error}; see that /etc can be written")),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::samples;

    const DAY: i64 = 24 * 3600;

    fn line(pfn: u64, state: IsolationState, failing_for: Option<i64>) -> IsolationView {
        let failing_since = failing_for.map(|seconds| samples::stamp(-seconds));
        let line = Isolation { failing_since, ..samples::page(pfn, state) };
        IsolationView::of(&line, PageSize::KIB_4)
    }

    fn list() -> Vec<IsolationView> {
        vec![
            line(0x8000, IsolationState::Failed, Some(DAY + 1)),
            line(0x8001, IsolationState::Failed, Some(DAY)),
            line(0x8002, IsolationState::Wanted, Some(DAY)),
            line(0x8003, IsolationState::Wanted, Some(DAY + 1)),
            line(0x9000, IsolationState::Isolated, None),
        ]
    }

    fn masked(list: &[IsolationView], command_line: &str, all_failed: bool) -> String {
        let boot = Boot { command_line: command_line.to_owned(), page_size: PageSize::KIB_4 };
        mask(list, &boot, all_failed, samples::time(0)).unwrap().text
    }

    #[test]
    fn pages_that_fail_for_more_than_a_day_are_masked() {
        assert_eq!(masked(&list(), "ro", false), "memmap=4K$0x8000000,4K$0x8003000");
        assert_eq!(masked(&list(), "ro", true), "memmap=8K$0x8000000,4K$0x8003000");
        assert_eq!(masked(&[], "ro", true), "");
    }

    #[test]
    fn a_masked_page_stays_so_until_it_is_released_or_its_address_is_another_cell() {
        let line = "ro memmap=4K$0x9000000";
        assert_eq!(masked(&list(), line, false), "memmap=4K$0x8000000,4K$0x8003000,4K$0x9000000");
        let mut released = list();
        released[4].release = Some(bulkhead_core::model::Undo::NextBoot);
        assert_eq!(masked(&released, line, false), "memmap=4K$0x8000000,4K$0x8003000");
        let mut stale = list();
        stale[4].state = IsolationState::Stale;
        assert_eq!(masked(&stale, line, false), "memmap=4K$0x8000000,4K$0x8003000");
    }

    #[test]
    fn what_is_done_and_what_to_run_is_told() {
        let etc = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(etc.path().join("default/grub.d")).unwrap();
        let arguments = Arguments { grub: true, all_failed: false, json: Json { json: false } };
        let mut told = String::new();
        for stuck in [true, true, false] {
            let list = if stuck { list() } else { Vec::new() };
            let boot = Boot { command_line: "ro".to_owned(), page_size: PageSize::KIB_4 };
            let mask = mask(&list, &boot, false, samples::time(0)).unwrap();
            let mut answer = Answer::of(&mask, boot.page_size);
            told += &answer.text(&arguments);
            answer.install(etc.path(), &mask).unwrap();
            told += &answer.text(&arguments);
        }
        insta::assert_snapshot!(told.replace(&etc.path().display().to_string(), "/etc"));
    }
}
