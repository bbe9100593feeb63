//! Which boot this is, of which kernel.

use super::{HostError, Root};
use uuid::Uuid;

const BOOT_ID: &str = "proc/sys/kernel/random/boot_id";

/// The kernel's random id of this boot.
///
/// # Errors
/// When it cannot be read, or is no UUID.
pub fn boot_id(root: &Root) -> Result<Uuid, HostError> {
    let text = root.read(BOOT_ID)?;
    Uuid::try_parse(text.trim())
        .map_err(|_| HostError::unexpected(root.path(BOOT_ID), "it holds no UUID"))
}

/// Its release, as `uname -r` says it.
///
/// # Errors
/// When it cannot be read.
pub fn kernel_release(root: &Root) -> Result<String, HostError> {
    Ok(root.read("proc/sys/kernel/osrelease")?.trim().to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_id_that_is_none_is_refused_by_path() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.path("proc/sys/kernel/random")).unwrap();
        std::fs::write(root.path(BOOT_ID), "0f6a\n").unwrap();
        let said = boot_id(&root).unwrap_err().to_string();
        assert!(said.contains("boot_id") && said.contains("no UUID"), "{said}");

        let id = "7a0bcf5e-9a5c-4f0b-8c44-6d5b1c2f3e4d";
        std::fs::write(root.path(BOOT_ID), format!("{id}\n")).unwrap();
        assert_eq!(boot_id(&root).unwrap().to_string(), id);
    }

    #[test]
    fn the_release_comes_without_its_line_end() {
        let dir = tempfile::tempdir().unwrap();
        let root = Root::new(dir.path());
        std::fs::create_dir_all(root.path("proc/sys/kernel")).unwrap();
        std::fs::write(root.path("proc/sys/kernel/osrelease"), "6.12.9-amd64\n").unwrap();
        assert_eq!(kernel_release(&root).unwrap(), "6.12.9-amd64");
    }
}
