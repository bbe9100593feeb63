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
}
