//! Writing to stdout.

use super::exit::Exit;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// For people: colours reach a terminal only.
pub(super) fn print(text: &str) -> Result<(), Exit> {
    let mut out = anstream::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// For programs: over several lines on a terminal, else on one.
pub(super) fn print_json<T: Serialize>(value: &T) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    if out.is_terminal() {
        serde_json::to_writer_pretty(&mut out, value)?;
    } else {
        serde_json::to_writer(&mut out, value)?;
    }
    writeln!(out)?;
    Ok(())
}

/// One of many, on one line everywhere, and out at once.
pub(super) fn print_json_line<T: Serialize>(value: &T) -> Result<(), Exit> {
    let mut out = io::stdout().lock();
    serde_json::to_writer(&mut out, value)?;
    writeln!(out)?;
    out.flush()?;
    Ok(())
}

/// Text that came from the kernel, the firmware or the daemon, safe to show: a
/// DIMM's label must not steer the admin's terminal.
pub(super) fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

/// "1 page", "2 pages".
pub(super) fn count(n: u64, noun: &str) -> String {
    format!("{n} {noun}{}", if n == 1 { "" } else { "s" })
}

/// Bytes in the largest binary unit that shows them whole or to one decimal.
pub(super) fn bytes(n: u64) -> String {
    let units = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
    match units.into_iter().find(|(_, shift)| n >= 1 << shift) {
        None => format!("{n} B"),
        Some((unit, shift)) => {
            let tenths = (u128::from(n) * 10) >> shift;
            match tenths % 10 {
                0 => format!("{} {unit}", tenths / 10),
                tenth => format!("{}.{tenth} {unit}", tenths / 10),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_are_shown_in_the_unit_that_fits() {
        for (n, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (12288, "12 KiB"),
            (4 << 20, "4 MiB"),
            (1_073_741, "1 MiB"),
            (3 << 29, "1.5 GiB"),
            (u64::MAX, "16777215.9 TiB"),
        ] {
            assert_eq!(bytes(n), text);
        }
    }

    #[test]
    fn a_label_cannot_steer_the_terminal() {
        assert_eq!(one_line("DIMM\x1b[2J\n\u{9b}A"), "DIMM\u{fffd}[2J\u{fffd}\u{fffd}A");
    }
}
