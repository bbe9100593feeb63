//! What the shells complete, for `bulkhead`. Nobody types the names of the two
//! services.

use super::Page;
use clap_complete::aot::{Bash, Fish, Generator, Zsh};

/// By shell, each under the name that it looks for.
pub(super) fn pages() -> [(&'static str, Page); 3] {
    [
        ("bash", page(Bash, "bulkhead")),
        ("zsh", page(Zsh, "_bulkhead")),
        ("fish", page(Fish, "bulkhead.fish")),
    ]
}

fn page(shell: impl Generator, name: &str) -> Page {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut bulkhead::cli::command(), "bulkhead", &mut text);
    Page { name: name.to_owned(), text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_completed_in_every_shell() {
        for (shell, page) in pages() {
            let text = String::from_utf8_lossy(&page.text);
            for command in bulkhead::cli::command().get_subcommands() {
                assert!(text.contains(command.get_name()), "{shell}: {command}");
            }
        }
    }
}
