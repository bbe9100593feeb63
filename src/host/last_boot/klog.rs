//! Lines of a kernel's log as it is saved: `<0>[   12.345678][   T42] text`, any
//! part of the front may be missing (kernel/printk/printk.c,
//! record_print_text()).

use std::time::Duration;

/// A line of the kernel's log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line<'t> {
    /// Since the kernel booted, if it says.
    pub at: Option<Duration>,
    /// What it says.
    pub text: &'t str,
    /// A program wrote it to /dev/kmsg, where the log tells.
    pub by_program: bool,
}

/// The kernel's longest record has 1024 bytes (PRINTK_MESSAGE_MAX is 2048 since
/// 6.6); what is longer is no line of it.
const LONGEST: usize = 2048;

/// The lines in `text` that the kernel wrote. Those that a program wrote to
/// /dev/kmsg are left out, where the log tells.
pub fn lines(text: &str) -> impl Iterator<Item = Line<'_>> {
    all(text).filter(|line| !line.by_program)
}

/// All lines in `text`.
pub fn all(text: &str) -> impl Iterator<Item = Line<'_>> {
    text.lines().filter(|line| line.len() <= LONGEST).filter_map(parse)
}

fn parse(line: &str) -> Option<Line<'_>> {
    let mut by_program = false;
    let line = match line.strip_prefix('<').and_then(|rest| rest.split_once('>')) {
        Some((priority, rest)) if priority.bytes().all(|b| b.is_ascii_digit()) => {
            // Facility 0 is the kernel's (include/linux/kern_levels.h).
            by_program = priority.parse::<u32>().ok()? >= 8;
            rest
        }
        _ => line,
    };
    let (at, line) = match bracketed(line) {
        Some((inner, rest)) => match seconds(inner) {
            Some(at) => (Some(at), rest),
            None => (None, line),
        },
        None => (None, line),
    };
    // CONFIG_PRINTK_CALLER: a task or a CPU.
    let text = bracketed(line)
        .filter(|(inner, _)| {
            let id = inner.trim_start().strip_prefix(['T', 'C']);
            id.is_some_and(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()))
        })
        .map_or(line, |(_, rest)| rest);
    Some(Line { at, text: text.trim(), by_program })
}

fn bracketed(line: &str) -> Option<(&str, &str)> {
    line.trim_start_matches(' ').strip_prefix('[')?.split_once(']')
}

/// `   12.345678`, whose fraction has 6 digits.
fn seconds(text: &str) -> Option<Duration> {
    let (whole, micros) = text.trim().split_once('.')?;
    let digits = |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_digit());
    if !digits(whole) || !digits(micros) || micros.len() != 6 {
        return None;
    }
    let micros = Duration::from_micros(micros.parse().ok()?);
    Duration::from_secs(whole.parse().ok()?).checked_add(micros)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn line(text: &str) -> Option<(Option<u64>, String)> {
        let line = lines(text).next()?;
        Some((line.at.map(|at| at.as_micros() as u64), line.text.to_owned()))
    }

    #[test]
    fn every_front_is_taken_off() {
        let bare = "mce: [Hardware Error]: TSC 0";
        for front in ["", "<0>", "<0>[   12.000345] ", "[   12.000345] ", "[   12.000345][  T42] "]
        {
            let at = front.contains('.').then_some(12_000_345);
            assert_eq!(line(&format!("{front}{bare}")), Some((at, bare.to_owned())), "{front}");
        }
        assert_eq!(line("[Hardware Error]: x"), Some((None, "[Hardware Error]: x".to_owned())));
    }

    #[test]
    fn what_a_program_wrote_is_left_out() {
        assert_eq!(
            line("<12>[    1.000000] Kernel panic - not syncing: Fatal machine check"),
            None
        );
        assert_eq!(line("<99999999999>x"), None);
    }
}
