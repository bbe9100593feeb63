//! The messages between a test and the agent in its guest.
//!
//! A message is a frame: length, kind, command id, payload. Commands run side by side, each under the id the host gave
//! it, and their output comes in pieces as it appears, so that a test can wait for a line of a process that goes on.

use std::io::{self, Read, Write};

/// The name of the virtio-serial port, by which the guest finds it.
pub const PORT: &str = "bulkhead.agent";

/// No piece of output is larger: a frame fits into the buffers of the port.
pub const MAX_CHUNK: usize = 16 * 1024;

/// A longer frame is not one of ours: the stream is out of step.
const MAX_FRAME: usize = 1024 * 1024;

/// One message, in either direction.
#[expect(missing_docs, reason = "the fields say what they are")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Guest: up, and ready for commands. Comes again when the guest has rebooted.
    Hello,
    /// Host: run this shell script.
    Run { id: u32, script: String },
    /// Host: send this signal to the script's process.
    Signal { id: u32, signal: i32 },
    /// Guest: the script runs as this process.
    Started { id: u32, pid: i32 },
    /// Guest: a piece of standard output.
    Stdout { id: u32, bytes: Vec<u8> },
    /// Guest: a piece of standard error.
    Stderr { id: u32, bytes: Vec<u8> },
    /// Guest: the script ended, with 128 + N if by signal N, and all its output has been sent.
    Exit { id: u32, code: i32 },
}

impl Message {
    /// Writes the message as one frame.
    pub fn write_to(&self, out: &mut impl Write) -> io::Result<()> {
        let number;
        let (kind, id, payload): (u8, u32, &[u8]) = match self {
            Self::Hello => (0, 0, &[]),
            Self::Run { id, script } => (1, *id, script.as_bytes()),
            Self::Stdout { id, bytes } => (2, *id, bytes),
            Self::Stderr { id, bytes } => (3, *id, bytes),
            Self::Signal { id, signal: n } => {
                number = n.to_le_bytes();
                (4, *id, &number)
            }
            Self::Started { id, pid: n } => {
                number = n.to_le_bytes();
                (5, *id, &number)
            }
            Self::Exit { id, code: n } => {
                number = n.to_le_bytes();
                (6, *id, &number)
            }
        };
        let length = u32::try_from(payload.len()).map_err(io::Error::other)?;
        let mut frame = Vec::with_capacity(HEADER + payload.len());
        frame.extend(length.to_le_bytes());
        frame.push(kind);
        frame.extend(id.to_le_bytes());
        frame.extend(payload);
        out.write_all(&frame)
    }

    /// Reads one frame; an orderly end of the stream is an `UnexpectedEof` like any other.
    pub fn read_from(input: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; HEADER];
        input.read_exact(&mut header)?;
        let [l0, l1, l2, l3, kind, i0, i1, i2, i3] = header;
        let length = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
        if length > MAX_FRAME {
            return Err(invalid(format!("a frame of {length} bytes")));
        }
        let id = u32::from_le_bytes([i0, i1, i2, i3]);
        let mut bytes = vec![0; length];
        input.read_exact(&mut bytes)?;
        Ok(match kind {
            0 => Self::Hello,
            1 => Self::Run {
                id,
                script: String::from_utf8(bytes).map_err(|error| invalid(error.to_string()))?,
            },
            2 => Self::Stdout { id, bytes },
            3 => Self::Stderr { id, bytes },
            4 => Self::Signal { id, signal: number(&bytes)? },
            5 => Self::Started { id, pid: number(&bytes)? },
            6 => Self::Exit { id, code: number(&bytes)? },
            other => return Err(invalid(format!("a frame of kind {other}"))),
        })
    }
}

const HEADER: usize = 9;

fn number(bytes: &[u8]) -> io::Result<i32> {
    let bytes =
        bytes.try_into().map_err(|_| invalid(format!("a number of {} bytes", bytes.len())))?;
    Ok(i32::from_le_bytes(bytes))
}

fn invalid(what: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_come_back_as_sent() -> io::Result<()> {
        let messages = [
            Message::Hello,
            Message::Run { id: 7, script: "echo ü".into() },
            Message::Signal { id: 7, signal: 10 },
            Message::Started { id: 7, pid: -1 },
            Message::Stdout { id: u32::MAX, bytes: vec![0, 255, b'\n'] },
            Message::Stderr { id: 8, bytes: vec![] },
            Message::Exit { id: 8, code: 139 },
        ];
        let mut stream = Vec::new();
        for message in &messages {
            message.write_to(&mut stream)?;
        }
        let mut stream = stream.as_slice();
        for message in messages {
            assert_eq!(Message::read_from(&mut stream)?, message);
        }
        assert!(stream.is_empty());
        Ok(())
    }

    #[test]
    fn a_stream_out_of_step_is_an_error() {
        assert!(Message::read_from(&mut [0xff; 64].as_slice()).is_err());
        assert!(Message::read_from(&mut [0, 0, 0, 0, 99, 0, 0, 0, 0].as_slice()).is_err());
        assert!(Message::read_from(&mut [0, 0, 0].as_slice()).is_err());
    }
}
