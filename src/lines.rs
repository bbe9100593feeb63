//! Lines of a file, each of a bounded length: a file without a newline must
//! not fill the memory.

use std::io::{self, BufRead};

/// Reads line by line.
#[derive(Debug)]
pub struct Lines<R> {
    input: R,
    longest: usize,
}

/// What [`Lines::read`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// Its length in the file, bytes, its newline included.
    pub length: u64,
    /// It is whole in the buffer; otherwise it is too long, and cut.
    pub fits: bool,
    /// It ends with a newline, not with the file.
    pub ended: bool,
}

impl<R: BufRead> Lines<R> {
    /// No line longer than `longest` bytes, its newline included, is kept.
    pub fn new(input: R, longest: usize) -> Lines<R> {
        Lines { input, longest }
    }

    /// What is read from.
    pub fn get_ref(&self) -> &R {
        &self.input
    }

    /// What is read from; moving its place moves the next line's.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.input
    }

    /// Reads the next line into `line`, its newline included, in place of what
    /// was there; `None` at the end.
    ///
    /// # Errors
    /// Those of the file.
    pub fn read(&mut self, line: &mut Vec<u8>) -> io::Result<Option<Line>> {
        line.clear();
        let mut found = Line { length: 0, fits: true, ended: false };
        loop {
            let chunk = match self.input.fill_buf() {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                chunk => chunk?,
            };
            if chunk.is_empty() {
                return Ok((found.length > 0).then_some(found));
            }
            let end = memchr::memchr(b'\n', chunk).map(|at| at + 1);
            let taken = end.unwrap_or(chunk.len());
            let room = self.longest.saturating_sub(line.len());
            line.extend_from_slice(chunk.get(..taken.min(room)).unwrap_or_default());
            self.input.consume(taken);
            found.length += taken as u64;
            found.fits &= taken <= room;
            if end.is_some() {
                found.ended = true;
                return Ok(Some(found));
            }
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::BufReader;

    fn all(text: &[u8], longest: usize, capacity: usize) -> Vec<(Vec<u8>, Line)> {
        let mut lines = Lines::new(BufReader::with_capacity(capacity, text), longest);
        let mut line = Vec::new();
        std::iter::from_fn(|| lines.read(&mut line).unwrap().map(|l| (line.clone(), l))).collect()
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_and_the_next_one_is_whole() {
        let found = all(b"123456789\nab\nend", 4, 3);
        assert_eq!(found[0], (b"1234".to_vec(), Line { length: 10, fits: false, ended: true }));
        assert_eq!(found[1], (b"ab\n".to_vec(), Line { length: 3, fits: true, ended: true }));
        assert_eq!(found[2], (b"end".to_vec(), Line { length: 3, fits: true, ended: false }));
        assert_eq!(found.len(), 3);
    }

    proptest! {
        #[test]
        fn lines_are_the_file_however_it_is_buffered(
            text in prop::collection::vec(prop_oneof![Just(b'\n'), any::<u8>()], 0..200),
            capacity in 1usize..40,
        ) {
            let found = all(&text, 1000, capacity);
            let joined: Vec<u8> = found.iter().flat_map(|(line, _)| line.clone()).collect();
            prop_assert_eq!(joined, text);
            prop_assert!(found.iter().all(|(line, l)| l.fits && l.length == line.len() as u64));
        }
    }
}
