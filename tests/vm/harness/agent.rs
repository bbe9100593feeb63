//! The host's end of the channel to the guest.

use std::collections::HashMap;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, ensure, Context, Result};
use bulkhead_guest::wire::Message;

/// What a script printed and how it ended: 128 + N if by signal N.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    pub stdout: String,
    pub stderr: String,
    pub code: i32,
}

/// A connection that outlives the guest's reboots.
pub struct Agent {
    shared: Arc<Shared>,
    hellos: Mutex<Receiver<()>>,
}

struct Shared {
    stream: UnixStream,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    last_id: u32,
    /// Where the messages about a script go. Emptied, and so all waiting ended, when the guest reboots or ends.
    running: HashMap<u32, Sender<Message>>,
}

impl Agent {
    pub fn new(stream: UnixStream) -> Result<Self> {
        let mut input = stream.try_clone().context("agent")?;
        let shared = Arc::new(Shared { stream, state: Mutex::default() });
        let (send, hellos) = mpsc::channel();
        let reader = Arc::clone(&shared);
        thread::spawn(move || {
            while let Ok(message) = Message::read_from(&mut input) {
                match &message {
                    Message::Hello => {
                        reader.state().running.clear();
                        _ = send.send(());
                    }
                    Message::Started { id, .. }
                    | Message::Stdout { id, .. }
                    | Message::Stderr { id, .. }
                    | Message::Exit { id, .. } => {
                        if let Some(receiver) = reader.state().running.get(id) {
                            // A test may have lost interest in a process.
                            _ = receiver.send(message);
                        }
                    }
                    Message::Run { .. } | Message::Signal { .. } => (),
                }
            }
            reader.state().running.clear();
        });
        Ok(Self { shared, hellos: Mutex::new(hellos) })
    }

    /// Waits for the guest to come up, or up again. Tells whether it did in time.
    pub fn wait_hello(&self, limit: Duration) -> Result<bool> {
        let hellos = self.hellos.lock().unwrap_or_else(PoisonError::into_inner);
        match hellos.recv_timeout(limit) {
            Ok(()) => Ok(true),
            Err(RecvTimeoutError::Timeout) => Ok(false),
            Err(RecvTimeoutError::Disconnected) => {
                bail!("the machine ended before the guest said a word")
            }
        }
    }

    pub fn start(&self, script: &str) -> Result<Process> {
        let (send, messages) = mpsc::channel();
        let id = {
            let mut state = self.shared.state();
            state.last_id += 1;
            let id = state.last_id;
            state.running.insert(id, send);
            id
        };
        self.shared.send(&Message::Run { id, script: script.to_owned() })?;
        Ok(Process {
            shared: Arc::clone(&self.shared),
            messages,
            id,
            script: script.to_owned(),
            pid: None,
            stdout: Vec::new(),
            read: 0,
            stderr: Vec::new(),
            code: None,
        })
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn send(&self, message: &Message) -> Result<()> {
        // Under the lock, as frames must not mix.
        let _turn = self.state();
        message.write_to(&mut &self.stream).context("write to the guest")
    }
}

/// A script that runs in the guest. Dropping it leaves it running.
pub struct Process {
    shared: Arc<Shared>,
    messages: Receiver<Message>,
    id: u32,
    script: String,
    pid: Option<i32>,
    stdout: Vec<u8>,
    /// How much of `stdout` has been handed out as lines.
    read: usize,
    stderr: Vec<u8>,
    code: Option<i32>,
}

impl Process {
    /// Its process id in the guest.
    pub fn pid(&mut self) -> Result<i32> {
        loop {
            match self.pid {
                Some(pid) => return Ok(pid),
                None => self.take_in(None)?,
            }
        }
    }

    /// Sends a signal, by number.
    pub fn signal(&self, signal: i32) -> Result<()> {
        self.shared.send(&Message::Signal { id: self.id, signal })
    }

    /// The next whole line of its standard output, or none when it has ended.
    pub fn next_line(&mut self, limit: Duration) -> Result<Option<String>> {
        // A limit beyond what the clock can say is none; the machine has one in any case.
        let deadline = Instant::now().checked_add(limit);
        loop {
            let rest = &self.stdout[self.read..];
            if let Some(length) = rest.iter().position(|&byte| byte == b'\n') {
                let line = String::from_utf8_lossy(&rest[..length]).into_owned();
                self.read += length + 1;
                return Ok(Some(line));
            }
            if self.code.is_some() {
                return Ok(None);
            }
            self.take_in(deadline)?;
        }
    }

    /// Reads lines up to one that starts with `prefix`, and returns what follows the prefix.
    pub fn wait_line(&mut self, prefix: &str, limit: Duration) -> Result<String> {
        let deadline = Instant::now() + limit;
        let left = || deadline.saturating_duration_since(Instant::now());
        while let Some(line) =
            self.next_line(left()).with_context(|| format!("waiting for a line {prefix:?}…"))?
        {
            if let Some(rest) = line.strip_prefix(prefix) {
                return Ok(rest.to_owned());
            }
        }
        bail!("{:?} ended without a line {prefix:?}…: {:?}", self.script, self.output()?);
    }

    /// Waits for its end. Output is that of the whole run.
    pub fn wait(mut self) -> Result<Output> {
        while self.code.is_none() {
            self.take_in(None)?;
        }
        self.output()
    }

    fn output(&self) -> Result<Output> {
        Ok(Output {
            stdout: String::from_utf8_lossy(&self.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&self.stderr).into_owned(),
            code: self.code.context("it still runs")?,
        })
    }

    /// Takes in one message; without a deadline the machine's time limit is one.
    fn take_in(&mut self, deadline: Option<Instant>) -> Result<()> {
        let message = match deadline {
            None => self.messages.recv().map_err(RecvTimeoutError::from),
            Some(deadline) => {
                self.messages.recv_timeout(deadline.saturating_duration_since(Instant::now()))
            }
        };
        match message {
            Ok(Message::Started { pid, .. }) => self.pid = Some(pid),
            Ok(Message::Stdout { bytes, .. }) => self.stdout.extend(bytes),
            Ok(Message::Stderr { bytes, .. }) => self.stderr.extend(bytes),
            Ok(Message::Exit { code, .. }) => self.code = Some(code),
            Ok(Message::Hello | Message::Run { .. } | Message::Signal { .. }) => (),
            Err(RecvTimeoutError::Timeout) => bail!(
                "{:?} printed nothing more in time; so far {:?} and on stderr {:?}",
                self.script,
                String::from_utf8_lossy(&self.stdout),
                String::from_utf8_lossy(&self.stderr),
            ),
            Err(RecvTimeoutError::Disconnected) => bail!(
                "the guest ended or restarted during {:?}; it had printed {:?} and on stderr {:?}",
                self.script,
                String::from_utf8_lossy(&self.stdout),
                String::from_utf8_lossy(&self.stderr),
            ),
        }
        Ok(())
    }
}

impl Output {
    /// Standard output without the white space around it, provided that the script succeeded.
    pub fn succeeded(self, script: &str) -> Result<String> {
        let Self { stdout, stderr, code } = self;
        ensure!(
            code == 0,
            "{script:?} ended with {code}; it printed {stdout:?} and on stderr {stderr:?}"
        );
        Ok(stdout.trim().to_owned())
    }
}
