//! Stands in for journald: prints each entry's fields as they arrive.

use std::fs;
use std::io::Write;
use std::os::unix::net::UnixDatagram;

use anyhow::{Context, Result};

const SOCKET: &str = "/run/systemd/journal/socket";

/// Largest entry printed; journald takes larger ones through a memfd, which no entry of ours needs.
const MOST: usize = 64 << 10;

/// Prints every entry's fields as `NAME=value`, a line each, and an empty line after it, until killed.
pub fn print() -> Result<()> {
    fs::create_dir_all("/run/systemd/journal")?;
    let socket = UnixDatagram::bind(SOCKET).context(SOCKET)?;
    let mut stdout = std::io::stdout();
    writeln!(stdout, "listening")?;
    let mut buffer = vec![0; MOST];
    loop {
        let length = socket.recv(&mut buffer)?;
        let mut entry = &buffer[..length];
        while let Some((field, rest)) = field(entry) {
            writeln!(stdout, "{field}")?;
            entry = rest;
        }
        writeln!(stdout)?;
        stdout.flush()?;
    }
}

/// The first field and what follows it, in either form of journald's native protocol: `NAME=value` and a line break,
/// or `NAME`, a line break, the length as a little-endian u64, the value, a line break.
fn field(entry: &[u8]) -> Option<(String, &[u8])> {
    let end = entry.iter().position(|byte| *byte == b'\n')?;
    let (line, rest) = (String::from_utf8_lossy(&entry[..end]), &entry[end + 1..]);
    if line.contains('=') {
        return Some((line.into_owned(), rest));
    }
    let (length, rest) = rest.split_first_chunk()?;
    let length = usize::try_from(u64::from_le_bytes(*length)).ok()?;
    let value = String::from_utf8_lossy(rest.get(..length)?);
    Some((format!("{line}={value}"), rest.get(length + 1..)?))
}
