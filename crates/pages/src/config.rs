//! bulkhead.toml(5): every key with what it takes, and the installed file, in
//! which the numbers stand.

use super::Page;
use clap_mangen::roff::{bold, roman, Roff};

/// As it is installed.
const FILE: &str = include_str!("../../../etc/bulkhead.toml");

pub(super) fn page(see_also: &str) -> Page {
    let mut roff = Roff::new();
    let source = concat!("bulkhead ", env!("CARGO_PKG_VERSION"));
    roff.control("TH", ["bulkhead.toml", "5", "", source, "Bulkhead"]);
    roff.control("SH", ["NAME"]);
    roff.text([roman("bulkhead.toml - configuration of bulkheadd and bulkhead-watchdog")]);
    roff.control("SH", ["SYNOPSIS"]);
    roff.text([roman("/etc/bulkhead/bulkhead.toml")]);
    roff.control("PP", []);
    roff.text([roman("/etc/bulkhead/conf.d/*.toml")]);
    roff.control("SH", ["DESCRIPTION"]);
    roff.text([roman(
        "TOML. Built-in numbers come first, then the file, then those in conf.d in the order of \
         their names; a later one wins, key by key. Nothing need be there. A key that is not \
         known, or a value that is not allowed, is an error: bulkheadd does not start with it, \
         and keeps what it had if it runs. Try a change with bulkhead config check.",
    )]);
    roff.control("PP", []);
    roff.text([roman(
        "bulkheadd reads it at its start and on SIGHUP (systemctl reload bulkhead); \
         bulkhead-watchdog at its start alone.",
    )]);
    let mut section = None;
    for key in bulkhead_config::keys() {
        if section != Some(key.section) {
            section = Some(key.section);
            let title = match key.section {
                "" => "TOP OF THE FILE".to_owned(),
                name => format!("SECTION [{name}]"),
            };
            roff.control("SH", [title.as_str()]);
        }
        roff.control("TP", []);
        roff.text([bold(key.name)]);
        roff.text([roman(key.takes)]);
    }
    roff.control("SH", ["THE FILE AS INSTALLED"]);
    roff.control("nf", []);
    roff.text([roman(FILE)]);
    roff.control("fi", []);
    roff.control("SH", ["SEE ALSO"]);
    roff.text([roman(see_also)]);
    Page { name: "bulkhead.toml.5".to_owned(), text: roff.render().into_bytes() }
}
