//! Stands in for journald: prints each entry's fields as they arrive.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result};

const SOCKET: &str = "/run/systemd/journal/socket";

/// Largest entry printed; journald takes larger ones through a memfd, which no entry of ours needs.
const MOST: usize = 64 << 10;

/// Prints every entry's fields, a line each, and an empty line after it, until killed. Fields with line breaks come in
/// the protocol's binary form and are shown as they are.
pub fn print() -> Result<()> {
    fs::create_dir_all("/run/systemd/journal")?;
    let socket = UnixDatagram::bind(SOCKET).context(SOCKET)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening")?;
    let mut entry = vec![0; MOST];
    loop {
        let length = socket.recv(&mut entry)?;
        stdout.write_all(&entry[..length])?;
        writeln!(stdout)?;
        stdout.flush()?;
    }
}
