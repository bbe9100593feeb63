//! Text without an allocation.

use std::fmt;

/// A short text on the stack; what does not fit is cut off.
pub struct Text<const N: usize> {
    bytes: [u8; N],
    used: usize,
}

impl<const N: usize> Text<N> {
    /// Formats: `Text::<64>::of(format_args!("…"))`.
    pub fn of(arguments: fmt::Arguments) -> Text<N> {
        let mut text = Text { bytes: [0; N], used: 0 };
        // An error means that it is full.
        let _ = fmt::write(&mut text, arguments);
        text
    }

    /// The same as a line for the kernel log, which ends however much is cut off:
    /// one without an end is shown to nobody before the next record comes, since it
    /// might go on (vprintk_store() in kernel/printk/printk.c).
    pub fn line(arguments: fmt::Arguments) -> Text<N> {
        let mut text = Text::of(arguments);
        text.used = text.used.min(N.saturating_sub(1));
        let _ = fmt::Write::write_str(&mut text, "\n");
        text
    }

    /// What fitted.
    pub fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.used).unwrap_or_default()
    }
}

impl<const N: usize> fmt::Write for Text<N> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.bytes.get_mut(self.used..).unwrap_or_default();
        let n = text.len().min(room.len());
        for (to, from) in room.iter_mut().zip(text.as_bytes()) {
            *to = *from;
        }
        self.used = self.used.saturating_add(n);
        if n == text.len() {
            Ok(())
        } else {
            Err(fmt::Error)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_is_cut_off() {
        assert_eq!(Text::<8>::of(format_args!("cpu {}", 3)).bytes(), b"cpu 3");
        assert_eq!(Text::<8>::of(format_args!("{} {}", "12345", "6789")).bytes(), b"12345 67");
    }

    #[test]
    fn a_line_ends_however_long_it_is() {
        assert_eq!(Text::<8>::line(format_args!("cpu {}", 3)).bytes(), b"cpu 3\n");
        assert_eq!(Text::<8>::line(format_args!("12345678")).bytes(), b"1234567\n");
    }
}
