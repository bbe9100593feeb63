//! The command line of `bulkheadd`.

use crate::monitor::Choice;
use clap::Parser;
use std::path::PathBuf;

/// Watches corrected CPU and memory errors, and takes what fails out of service.
#[derive(Debug, Clone, Parser)]
#[command(name = "bulkheadd", version)]
pub struct Options {
    /// Configuration file, instead of /etc/bulkhead/bulkhead.toml; conf.d/*.toml
    /// beside it is read too
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Where to remember evidence and isolations
    #[arg(long, value_name = "DIR", default_value = "/var/lib/bulkhead")]
    pub state_dir: PathBuf,

    /// Where to listen for `bulkhead`
    #[arg(long, value_name = "PATH", default_value = "/run/bulkhead/io.bulkhead")]
    pub socket: PathBuf,

    /// Decide and record, touch nothing
    #[arg(long)]
    pub observe: bool,

    /// Read DIR/sys and DIR/proc instead of this host's; implies --observe
    #[arg(long, value_name = "DIR")]
    pub root: Option<PathBuf>,

    /// Where reports come from: auto, bpf, tracefs, or file:PATH (event JSON
    /// lines; only with --observe)
    #[arg(long, value_name = "SOURCE", default_value = "auto", value_parser = source)]
    pub source: Choice,

    /// Mark that this boot ends in order, and end: for the unit that runs late
    /// in a shutdown
    #[arg(long, hide = true)]
    pub mark_clean_end: bool,
}

impl Options {
    /// Nothing may be touched.
    pub fn observes(&self) -> bool {
        self.observe || self.root.is_some()
    }

    /// The source to open. With another root the kernel that runs is not the
    /// one looked at, so its tracepoints say nothing about it.
    pub fn choice(&self) -> Choice {
        match (&self.root, &self.source) {
            (Some(_), Choice::Auto | Choice::Bpf | Choice::Tracefs) => Choice::None,
            (_, choice) => choice.clone(),
        }
    }
}

fn source(text: &str) -> Result<Choice, String> {
    match text {
        "auto" => Ok(Choice::Auto),
        "bpf" => Ok(Choice::Bpf),
        "tracefs" => Ok(Choice::Tracefs),
        _ => match text.strip_prefix("file:").filter(|path| !path.is_empty()) {
            Some(path) => Ok(Choice::File(PathBuf::from(path))),
            None => Err("give one of auto, bpf, tracefs, file:PATH".to_owned()),
        },
    }
}
