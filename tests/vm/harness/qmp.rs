//! The monitor of a running QEMU.

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{self, Receiver};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, SystemTime};

use anyhow::{anyhow, bail, ensure, Context, Result};
use serde_json::{json, Value};

/// Something that happened to the machine.
#[derive(Clone, Debug)]
pub struct Event {
    /// `RESET`, `WATCHDOG`, …
    pub name: String,
    /// When, by this machine's clock.
    pub time: SystemTime,
}

/// A connection to the monitor. QMP rather than the human monitor, whose answers are mixed with its prompts; the
/// human monitor's commands go through it.
pub struct Qmp {
    conversation: Mutex<(UnixStream, Receiver<Value>)>,
    events: Arc<Mutex<Vec<Event>>>,
}

impl Qmp {
    pub fn new(stream: UnixStream) -> Result<Self> {
        let (send, replies) = mpsc::channel();
        let events = Arc::new(Mutex::new(Vec::new()));
        let lines = BufReader::new(stream.try_clone().context("monitor")?).lines();
        let heard = Arc::clone(&events);
        thread::spawn(move || {
            let messages =
                lines.map_while(Result::ok).filter_map(|line| serde_json::from_str(&line).ok());
            for message in messages {
                let message: Value = message;
                match event(&message) {
                    Some(event) => heard.lock().unwrap_or_else(PoisonError::into_inner).push(event),
                    None => _ = send.send(message),
                }
            }
        });
        replies.recv().map_err(|_| anyhow!("QEMU ended at once"))?;
        let qmp = Self { conversation: Mutex::new((stream, replies)), events };
        qmp.execute("qmp_capabilities", json!({}))?;
        Ok(qmp)
    }

    /// A command of QMP, and what it returns.
    pub fn execute(&self, command: &str, arguments: Value) -> Result<Value> {
        let conversation = self.conversation.lock().unwrap_or_else(PoisonError::into_inner);
        let (stream, replies) = &*conversation;
        let request = json!({ "execute": command, "arguments": arguments });
        (&mut &*stream)
            .write_all(format!("{request}\n").as_bytes())
            .context("write to the monitor")?;
        let mut reply = replies
            .recv()
            .map_err(|_| anyhow!("the machine ended before the monitor answered {command}"))?;
        if let Some(error) = reply.get("error") {
            bail!("monitor: {command}: {error}");
        }
        Ok(reply["return"].take())
    }

    /// A command of the human monitor that has nothing to say when it succeeds.
    pub fn human(&self, command: &str) -> Result<()> {
        let answer = self.execute("human-monitor-command", json!({ "command-line": command }))?;
        let answer = answer.as_str().unwrap_or_default().trim();
        ensure!(answer.is_empty(), "monitor: {command}: {answer}");
        Ok(())
    }

    /// The events so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

fn event(message: &Value) -> Option<Event> {
    let time = &message["timestamp"];
    let since = Duration::from_secs(time["seconds"].as_u64().unwrap_or_default())
        + Duration::from_micros(time["microseconds"].as_u64().unwrap_or_default());
    Some(Event {
        name: message["event"].as_str()?.to_owned(),
        time: SystemTime::UNIX_EPOCH + since,
    })
}
