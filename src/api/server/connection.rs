//! One client's socket and its two buffers.

use super::super::wire::MAX_MESSAGE;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// Most bytes that one visit reads.
const READ: usize = 64 << 10;

/// Output that waits before nothing more is produced for this client.
pub(super) const HIGH_WATER: usize = 64 << 10;

/// How long a message may take from its first byte to its NUL.
pub(super) const MESSAGE_TIME: Duration = Duration::from_secs(30);

/// A non-blocking stream that cuts what comes in at NUL bytes.
#[derive(Debug)]
pub(super) struct Connection {
    stream: UnixStream,
    input: Vec<u8>,
    /// Where the first NUL in `input` is.
    message_end: Option<usize>,
    /// When the first byte of the message in hand came, while it has no NUL.
    begun: Option<Instant>,
    /// The peer writes no more.
    ended: bool,
    output: Vec<u8>,
    /// Bytes of `output` that are gone already.
    sent: usize,
}

/// The next message of a client.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// A whole one, without its NUL.
    Message(Vec<u8>),
    /// It has not come yet.
    Nothing,
    /// It is longer than [`MAX_MESSAGE`].
    TooLong,
    /// The peer ended in the middle of it.
    CutShort,
}

impl Connection {
    /// `stream` must be non-blocking.
    pub(super) fn new(stream: UnixStream) -> Connection {
        Connection {
            stream,
            input: Vec::new(),
            message_end: None,
            begun: None,
            ended: false,
            output: Vec::new(),
            sent: 0,
        }
    }

    pub(super) fn stream(&self) -> &UnixStream {
        &self.stream
    }

    /// Reads what is there, at most [`READ`] bytes.
    pub(super) fn fill(&mut self, now: Instant) -> io::Result<()> {
        let old = self.input.len();
        let mut chunk = [0; 4096];
        while !self.ended && self.input.len() - old < READ {
            match self.stream.read(&mut chunk) {
                Ok(0) => self.ended = true,
                Ok(n) => self.input.extend(chunk.iter().take(n)),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        if self.message_end.is_none() {
            self.find_end(old, now);
        }
        Ok(())
    }

    /// Looks for the NUL from `from` on, and starts the clock if there is none.
    fn find_end(&mut self, from: usize, now: Instant) {
        let rest = self.input.get(from..).unwrap_or_default();
        self.message_end = rest.iter().position(|b| *b == 0).map(|at| from + at);
        let partial = self.message_end.is_none() && !self.input.is_empty();
        self.begun = partial.then(|| self.begun.unwrap_or(now));
    }

    /// Takes the next message off the input.
    pub(super) fn next(&mut self, now: Instant) -> Next {
        match self.message_end {
            Some(end) if end > MAX_MESSAGE => Next::TooLong,
            Some(end) => {
                let mut message: Vec<u8> = self.input.drain(..=end).collect();
                message.pop();
                if self.input.is_empty() {
                    self.input = Vec::new();
                }
                self.begun = None;
                self.find_end(0, now);
                Next::Message(message)
            }
            None if self.input.len() > MAX_MESSAGE => Next::TooLong,
            None if self.ended && !self.input.is_empty() => Next::CutShort,
            None => Next::Nothing,
        }
    }

    /// Forgets what came in and reads no more.
    pub(super) fn stop_reading(&mut self) {
        self.input = Vec::new();
        self.message_end = None;
        self.begun = None;
        self.ended = true;
    }

    /// Adds to the output. [`Connection::flush`] sends it.
    pub(super) fn queue(&mut self, bytes: &[u8]) {
        self.output.extend_from_slice(bytes);
    }

    /// Sends as much as the peer takes now.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        while let Some(rest) = self.output.get(self.sent..).filter(|rest| !rest.is_empty()) {
            match self.stream.write(rest) {
                Ok(n) => self.sent += n,
                Err(e) if e.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(e) if e.kind() == ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.output = Vec::new();
        self.sent = 0;
        Ok(())
    }

    /// Bytes of output that the peer has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// Bytes of input that nobody has taken.
    pub(super) fn unread(&self) -> usize {
        self.input.len()
    }

    /// A whole message, or an end in the middle of one, waits to be taken.
    pub(super) fn has_next(&self) -> bool {
        self.message_end.is_some() || (self.ended && !self.input.is_empty())
    }

    /// The peer writes no more.
    pub(super) fn ended(&self) -> bool {
        self.ended
    }

    /// When the message in hand must be whole.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.begun.map(|begun| begun + MESSAGE_TIME)
    }
}
