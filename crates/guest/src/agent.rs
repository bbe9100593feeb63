//! Runs the host's shell scripts side by side and sends back what they print.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{bail, Context, Result};
use bulkhead_guest::wire::{Message, MAX_CHUNK, PORT};
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

/// The port appears a moment after its driver was loaded.
const PORT_LIMIT: Duration = Duration::from_secs(10);

/// Serves until the host goes away.
pub fn run() -> Result<()> {
    let port = find_port()?;
    let mut input = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&port)
        .with_context(|| format!("open {}", port.display()))?;
    let host = Host { port: Arc::new(Mutex::new(input.try_clone()?)), running: Arc::default() };
    host.send(&Message::Hello)?;
    loop {
        match Message::read_from(&mut input).context("read from the host")? {
            Message::Run { id, script } => host.start(id, &script)?,
            Message::Signal { id, signal } => host.signal(id, signal)?,
            other => bail!("the host sent {other:?}"),
        }
    }
}

fn find_port() -> Result<PathBuf> {
    let since = Instant::now();
    while since.elapsed() < PORT_LIMIT {
        for entry in fs::read_dir("/sys/class/virtio-ports").into_iter().flatten() {
            let entry = entry?;
            let name = fs::read_to_string(entry.path().join("name")).unwrap_or_default();
            let device = PathBuf::from("/dev").join(entry.file_name());
            if name.trim() == PORT && device.exists() {
                return Ok(device);
            }
        }
        thread::sleep(Duration::from_millis(10));
    }
    bail!("no virtio port named {PORT}");
}

#[derive(Clone)]
struct Host {
    port: Arc<Mutex<File>>,
    /// Ids and processes of the scripts that run.
    running: Arc<Mutex<Vec<(u32, Pid)>>>,
}

impl Host {
    fn send(&self, message: &Message) -> Result<()> {
        let mut port = self.port.lock().unwrap_or_else(PoisonError::into_inner);
        message.write_to(&mut *port).context("write to the host")
    }

    fn running(&self) -> std::sync::MutexGuard<'_, Vec<(u32, Pid)>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, id: u32, script: &str) -> Result<()> {
        let child = Command::new("/bin/sh")
            .args(["-c", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        match child {
            Ok(child) => {
                let pid = Pid::from_raw(child.id().try_into()?);
                self.running().push((id, pid));
                self.send(&Message::Started { id, pid: pid.as_raw() })?;
                let host = self.clone();
                thread::spawn(move || {
                    if let Err(error) = host.attend(id, child) {
                        eprintln!("agent: {error:#}");
                    }
                });
            }
            Err(error) => {
                let bytes = format!("agent: /bin/sh: {error}\n").into_bytes();
                self.send(&Message::Stderr { id, bytes })?;
                self.send(&Message::Exit { id, code: 126 })?;
            }
        }
        Ok(())
    }

    /// Sends all a script prints and then how it ended.
    fn attend(&self, id: u32, mut child: Child) -> Result<()> {
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        thread::scope(|scope| -> Result<()> {
            let errors =
                scope.spawn(|| self.forward(stderr, |bytes| Message::Stderr { id, bytes }));
            self.forward(stdout, |bytes| Message::Stdout { id, bytes })?;
            errors.join().unwrap_or(Ok(()))
        })?;
        let status = child.wait().context("wait for a script")?;
        self.running().retain(|&(other, _)| other != id);
        let code = status.code().or(status.signal().map(|signal| 128 + signal));
        self.send(&Message::Exit { id, code: code.unwrap_or(-1) })
    }

    fn forward(&self, pipe: Option<impl Read>, message: impl Fn(Vec<u8>) -> Message) -> Result<()> {
        let Some(mut pipe) = pipe else { return Ok(()) };
        let mut buffer = vec![0; MAX_CHUNK];
        loop {
            match pipe.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => self.send(&message(buffer[..n].to_vec()))?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => (),
                Err(error) => return Err(error).context("read from a script"),
            }
        }
    }

    /// A script that has ended needs no signal.
    fn signal(&self, id: u32, signal: i32) -> Result<()> {
        let signal = Signal::try_from(signal).with_context(|| format!("signal {signal}"))?;
        if let Some(&(_, pid)) = self.running().iter().find(|&&(other, _)| other == id) {
            kill(pid, signal).with_context(|| format!("{signal} to process {pid}"))?;
        }
        Ok(())
    }
}
