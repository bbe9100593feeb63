//! The man pages: one for each program and each command of `bulkhead`, and
//! bulkhead.toml(5).

use super::{config, watchdog, Page};
use bulkhead::daemon::Options;
use clap::{Command, CommandFactory as _};
use clap_mangen::roff::{bold, roman, Roff};
use clap_mangen::Man;
use std::io;

/// What a program's page ends with.
const FILES: &[(&str, &str)] = &[
    ("/etc/bulkhead/bulkhead.toml, /etc/bulkhead/conf.d/*.toml", "The configuration."),
    ("/var/lib/bulkhead", "What is remembered over reboots."),
    ("/run/bulkhead/io.bulkhead", "Where bulkheadd listens."),
    ("/usr/share/bulkhead", "Examples, which nobody uses until they are copied."),
    ("/usr/share/doc/bulkhead", "How all of it works, in words."),
];

const SEE_ALSO: &str = "bulkhead(1), bulkhead.toml(5), bulkheadd(8), bulkhead-watchdog(8)";

/// All pages.
///
/// # Errors
/// None that writing to memory does not have.
pub(super) fn pages() -> io::Result<Vec<Page>> {
    let mut cli = bulkhead::cli::command().disable_help_subcommand(true);
    cli.build();
    let mut pages = Vec::new();
    of_all(&cli, &mut pages)?;
    pages.push(page(Options::command(), "8", true)?);
    pages.push(page(watchdog::command(), "8", true)?);
    pages.push(config::page(SEE_ALSO));
    Ok(pages)
}

/// `command`, and those below it.
fn of_all(command: &Command, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push(page(command.clone(), "1", name == "bulkhead")?);
    let shown = command.get_subcommands().filter(|command| !command.is_hide_set());
    shown.into_iter().try_for_each(|command| of_all(command, pages))
}

fn page(command: Command, section: &str, files: bool) -> io::Result<Page> {
    let man = Man::new(command)
        .section(section)
        .source(concat!("bulkhead ", env!("CARGO_PKG_VERSION")))
        .manual("Bulkhead");
    let mut text = Vec::new();
    man.render(&mut text)?;
    let mut roff = Roff::new();
    if files {
        roff.control("SH", ["FILES"]);
        for (path, what) in FILES {
            roff.control("TP", []);
            roff.text([bold(*path)]);
            roff.text([roman(*what)]);
        }
    }
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(SEE_ALSO)]);
    roff.to_writer(&mut text)?;
    Ok(Page { name: man.get_filename(), text })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_program_and_every_command_has_a_page() {
        let names: BTreeSet<String> = pages().unwrap().into_iter().map(|page| page.name).collect();
        let mut wanted: BTreeSet<String> =
            ["bulkhead.1", "bulkhead-config-check.1", "bulkheadd.8", "bulkhead-watchdog.8"]
                .map(str::to_owned)
                .into();
        wanted.insert("bulkhead.toml.5".to_owned());
        for command in bulkhead::cli::command().get_subcommands() {
            wanted.insert(format!("bulkhead-{}.1", command.get_name()));
        }
        assert_eq!(names, wanted);
    }

    #[test]
    fn a_page_names_every_option_that_is_shown() {
        let pages = pages().unwrap();
        let of = |name: &str| {
            let page = pages.iter().find(|page| page.name == name).unwrap();
            String::from_utf8_lossy(&page.text).replace('\\', "")
        };
        let mut daemon = Options::command();
        daemon.build();
        for option in daemon.get_arguments().filter_map(|argument| argument.get_long()) {
            let hidden = option == "mark-clean-end";
            assert_eq!(of("bulkheadd.8").contains(&format!("--{option}")), !hidden, "{option}");
        }
        assert!(of("bulkhead-replay.1").contains("--failed-at"));
    }

    #[test]
    fn the_configurations_page_names_every_key() {
        let text = String::from_utf8(config::page(SEE_ALSO).text).unwrap();
        for key in bulkhead_config::keys() {
            assert!(text.contains(&format!(".TP\n\\fB{}\\fR\n", key.name)), "{}", key.name);
        }
    }
}
