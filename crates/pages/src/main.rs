//! Writes what is made of the programs' own command lines, and so cannot part
//! from them: the man pages and the shells' completions. Run where packages are
//! built; not installed.

mod completions;
mod config;
mod man;
mod watchdog;

use anyhow::{bail, Context as _};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

/// A file to be written.
#[derive(Debug)]
struct Page {
    /// Its name below the directory of its kind.
    name: String,
    text: Vec<u8>,
}

/// DIR/man/NAME.SECTION, and DIR/bash, DIR/zsh and DIR/fish with the name that
/// each of the shells looks for.
fn main() -> anyhow::Result<()> {
    let mut arguments = env::args_os().skip(1);
    let (Some(directory), None) = (arguments.next(), arguments.next()) else {
        bail!("usage: bulkhead-pages DIR");
    };
    let directory = PathBuf::from(directory);
    write(&directory.join("man"), &man::pages()?)?;
    for (shell, page) in completions::pages() {
        write(&directory.join(shell), &[page])?;
    }
    Ok(())
}

fn write(directory: &Path, pages: &[Page]) -> anyhow::Result<()> {
    fs::create_dir_all(directory)
        .with_context(|| format!("cannot make {}", directory.display()))?;
    for page in pages {
        let path = directory.join(&page.name);
        fs::write(&path, &page.text).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
