//! What survives its machine: a disk, storage of the platform, and files that QEMU reads.

use std::io::Write;
use std::path::Path;
use std::process::Command;

use anyhow::{ensure, Context, Result};
use tempfile::NamedTempFile;

const SIZE: u64 = 64 << 20;

/// An ext4 file system. The machine it is given to mounts it on /var/lib/bulkhead.
pub struct Disk {
    image: NamedTempFile,
}

impl Disk {
    pub fn new() -> Result<Self> {
        Self::of(SIZE)
    }

    /// Of so many bytes, which cost room only as they are written.
    pub fn of(size: u64) -> Result<Self> {
        let image = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).context("disk image")?;
        image.as_file().set_len(size).context("disk image")?;
        // Debian has it in a directory that is not on everybody's path.
        let mkfs = Command::new("/sbin/mkfs.ext4")
            .args(["-q", "-F"])
            .arg(image.path())
            .output()
            .context("run mkfs.ext4 (package e2fsprogs)")?;
        ensure!(mkfs.status.success(), "mkfs.ext4: {}", String::from_utf8_lossy(&mkfs.stderr));
        Ok(Self { image })
    }

    pub fn path(&self) -> &Path {
        self.image.path()
    }
}

/// Storage of the platform that neither a reset nor a loss of power clears.
pub struct Storage(NamedTempFile);

impl Storage {
    /// In bytes, as in QEMU's own example (docs/specs/acpi_erst.rst).
    pub const SIZE: u64 = 0x10000;

    pub fn new() -> Result<Self> {
        NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).context("storage").map(Self)
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

/// A file that holds these bytes, for an argument of QEMU's.
pub fn file_of(bytes: &[u8]) -> Result<NamedTempFile> {
    let mut file = NamedTempFile::new_in(env!("CARGO_TARGET_TMPDIR")).context("file")?;
    file.write_all(bytes).context("file")?;
    Ok(file)
}
