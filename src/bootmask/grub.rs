//! The GRUB drop-in that puts the parameter on the kernel's command line.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

/// Where `grub-mkconfig` of Debian and its kin looks for drop-ins.
const DIRECTORY: &str = "default/grub.d";
const NAME: &str = "bulkhead.cfg";

/// To be run by the admin after a change.
pub const COMMAND: &str = "update-grub";

/// The drop-in could not be changed.
#[derive(Debug, thiserror::Error)]
pub enum GrubError {
    /// There is no GRUB that reads drop-ins.
    #[error("{0} is not there: no GRUB that reads drop-ins is installed")]
    NoDropIns(PathBuf),
    /// A file could not be written or removed.
    #[error("cannot {operation} {}: {cause}", path.display())]
    Io {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// How it failed.
        cause: io::Error,
    },
}

/// What became of the drop-in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It was written, over whatever was there.
    Written,
    /// It is gone: nothing is to be masked any more.
    Removed,
    /// It was as it should be.
    None,
}

/// Makes the drop-in below `etc` hold `parameter` alone, or removes it if that
/// is empty. Answers where it is and what was done. Whoever reads it meanwhile
/// sees the old one or the new one, and so does the boot after a power cut.
///
/// # Errors
/// When there is no directory for it, or it cannot be changed.
pub fn install(etc: &Path, parameter: &str) -> Result<(PathBuf, Change), GrubError> {
    let directory = etc.join(DIRECTORY);
    let path = directory.join(NAME);
    let old = match fs::read(&path) {
        Ok(old) => Some(old),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(cause) => return Err(failed("read", &path)(cause)),
    };
    if parameter.is_empty() {
        if old.is_none() {
            return Ok((path, Change::None));
        }
        fs::remove_file(&path).map_err(failed("remove", &path))?;
        sync(&directory)?;
        return Ok((path, Change::Removed));
    }
    if !directory.is_dir() {
        return Err(GrubError::NoDropIns(directory));
    }
    let text = drop_in(parameter);
    if old.as_deref() == Some(text.as_bytes()) {
        return Ok((path, Change::None));
    }
    // Not named *.cfg: grub-mkconfig reads those.
    let new = directory.join(format!(".{NAME}.new"));
    let written = File::create(&new)
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(failed("write", &new))?;
    fs::rename(&new, &path).map_err(failed("replace", &path))?;
    sync(&directory)?;
    Ok((path, Change::Written))
}

/// Makes the names in a directory durable.
fn sync(directory: &Path) -> Result<(), GrubError> {
    File::open(directory).and_then(|file| file.sync_all()).map_err(failed("sync", directory))
}

fn failed(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> GrubError {
    let path = path.to_owned();
    move |cause| GrubError::Io { operation, path, cause }
}

/// The drop-in is read twice: by the shell of grub-mkconfig, which copies the
/// variable into grub.cfg (util/grub.d/10_linux.in), and at boot by GRUB
/// (grub-core/script/yylex.l). Between double quotes the shell takes `\\\$` for
/// `\$`, and GRUB that for `$`.
fn drop_in(parameter: &str) -> String {
    let escaped = parameter.replace('$', r"\\\$");
    format!(
        "# By `bulkhead bootmask --grub`: keeps failing pages of memory out of the next boot, \
         from the next\n# {COMMAND} on. The same command writes it anew, and removes it once \
         there are none.\n\
         GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {escaped}\"\n"
    )
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use std::process::Command;

    const PARAMETER: &str = "memmap=4K$0x1234000,12K$0x8000000";

    fn etc() -> tempfile::TempDir {
        let etc = tempfile::tempdir().unwrap();
        fs::create_dir_all(etc.path().join(DIRECTORY)).unwrap();
        etc
    }

    fn files(etc: &tempfile::TempDir) -> Vec<String> {
        let entries = fs::read_dir(etc.path().join(DIRECTORY)).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    /// What GRUB makes of an unquoted word: a backslash gives the next
    /// character as it is, and a dollar sign alone would begin a variable.
    fn read_by_grub(word: &str) -> String {
        let mut characters = word.chars();
        let mut read = String::new();
        while let Some(character) = characters.next() {
            assert_ne!(character, '$', "the variable of {word:?} is empty");
            read.extend(if character == '\\' { characters.next() } else { Some(character) });
        }
        read
    }

    #[test]
    fn the_shell_and_grub_read_back_the_very_parameter() {
        let etc = etc();
        let (path, _) = install(etc.path(), PARAMETER).unwrap();
        // As grub-mkconfig and 10_linux do: source, export, and a here-document.
        let script = "GRUB_CMDLINE_LINUX=ro; . \"$1\"; export GRUB_CMDLINE_LINUX; args=\
                      \"${GRUB_CMDLINE_LINUX}\"; sed 's/^/\t/' <<EOF\nlinux /vmlinuz ${args}\nEOF";
        let shell = Command::new("sh").args(["-ec", script, "sh"]).arg(path).output().unwrap();
        assert!(shell.status.success(), "{shell:?}");
        let line = String::from_utf8(shell.stdout).unwrap();
        assert_eq!(read_by_grub(line.trim()), format!("linux /vmlinuz ro {PARAMETER}"));
    }

    #[test]
    fn a_drop_in_is_written_once_replaced_and_removed_when_nothing_is_masked() {
        let etc = etc();
        for (parameter, change) in [
            ("", Change::None),
            (PARAMETER, Change::Written),
            (PARAMETER, Change::None),
            ("memmap=4K$0x1000", Change::Written),
            ("", Change::Removed),
            ("", Change::None),
        ] {
            let (path, done) = install(etc.path(), parameter).unwrap();
            assert_eq!(done, change, "{parameter:?}");
            assert_eq!(path.exists(), !parameter.is_empty());
        }
        install(etc.path(), PARAMETER).unwrap();
        assert_eq!(files(&etc), [NAME], "nothing else is left behind");
    }

    #[test]
    fn where_no_grub_reads_drop_ins_none_is_made() {
        let etc = tempfile::tempdir().unwrap();
        let error = install(etc.path(), PARAMETER).unwrap_err();
        assert!(matches!(error, GrubError::NoDropIns(_)), "{error}");
        assert_eq!(install(etc.path(), "").unwrap().1, Change::None);
    }
}
