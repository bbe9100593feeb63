//! The QEMU process.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use bulkhead_guest::wire::PORT;
use nix::sys::signal::{kill, Signal};
use nix::unistd::Pid;

use super::agent::Agent;
use super::logs::Logs;
use super::qmp::Qmp;

/// Always emulated: what /dev/kvm offers inside other virtual machines does not reliably boot a stock kernel. q35, as
/// it has PCI Express.
const ARGUMENTS: &[&str] = &[
    "-machine",
    "q35",
    "-accel",
    "tcg,thread=multi",
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    // The monitor and the agent are sockets that QEMU inherits as its standard input and output: nothing to connect,
    // nothing to clean up, and the end of either side is seen at once by the other.
    "-chardev",
    "socket,id=monitor,fd=0",
    "-mon",
    "chardev=monitor,mode=control",
    "-chardev",
    "socket,id=agent,fd=1",
    "-device",
    "virtio-serial-pci",
];

/// A machine, from power on to power off. It ends when this is dropped.
pub struct Qemu {
    process: Running,
    pub monitor: Qmp,
    pub agent: Agent,
    console: PathBuf,
}

impl Qemu {
    /// Starts a machine that ends after `limit`, even if by then nobody is left to see to it.
    pub fn start(
        arguments: &[String],
        limit: Duration,
        console: PathBuf,
        log: &Path,
        logs: Arc<Logs>,
    ) -> Result<Self> {
        let (monitor, qemu_monitor) = UnixStream::pair().context("socket")?;
        let (agent, qemu_agent) = UnixStream::pair().context("socket")?;
        let process = Command::new("timeout")
            .args(["--foreground", "--signal=KILL", &limit.as_secs().to_string()])
            .arg("qemu-system-x86_64")
            .args(ARGUMENTS)
            .args(["-device", &format!("virtserialport,chardev=agent,name={PORT}")])
            .args(arguments)
            .stdin(OwnedFd::from(qemu_monitor))
            .stdout(OwnedFd::from(qemu_agent))
            .stderr(File::create(log).with_context(|| log.display().to_string())?)
            .spawn()
            .context("run timeout")?;
        let process = Running(process, logs);
        let monitor = Qmp::new(monitor)
            .with_context(|| fs::read_to_string(log).unwrap_or_default())
            .context("start qemu-system-x86_64 (scripts/vm-setup installs it)")?;
        let agent = Agent::new(agent)?;
        Ok(Self { process, monitor, agent, console })
    }

    /// What the guest has printed on its console so far.
    pub fn console(&self) -> Result<String> {
        let bytes = fs::read(&self.console).with_context(|| self.console.display().to_string())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Kills it, without a chance to write what it still holds.
    pub fn kill(mut self) -> Result<()> {
        let timeout = self.process.0.id();
        let children = fs::read_to_string(format!("/proc/{timeout}/task/{timeout}/children"))
            .context("find QEMU")?;
        for child in children.split_whitespace() {
            kill(Pid::from_raw(child.parse()?), Signal::SIGKILL).context("kill QEMU")?;
        }
        self.process.0.wait().context("wait for QEMU")?;
        Ok(())
    }

    /// Whether the machine has ended.
    pub fn ended(&mut self) -> Result<bool> {
        Ok(self.process.0.try_wait().context("wait for QEMU")?.is_some())
    }
}

struct Running(Child, Arc<Logs>);

impl Drop for Running {
    fn drop(&mut self) {
        // To `timeout`, which passes it on. It fails when the machine has ended already.
        if let Ok(pid) = self.0.id().try_into() {
            _ = kill(Pid::from_raw(pid), Signal::SIGTERM);
        }
        // `timeout` ends as it did, or with 128 and the signal.
        let ended = self.0.wait().ok();
        let signal =
            ended.and_then(|status| status.signal().or(status.code().map(|code| code - 128)));
        if [libc::SIGSEGV, libc::SIGABRT].map(Some).contains(&signal) {
            self.1.crash();
        }
    }
}
