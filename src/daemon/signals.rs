//! Signals as something to poll.

use anyhow::Context as _;
use nix::sys::signal::{SigSet, Signal as Number};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use std::os::fd::{AsFd, BorrowedFd};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGTERM, SIGINT.
    Stop,
    /// SIGHUP: read the configuration again.
    Reload,
}

/// The signals of this process, blocked and read in order.
pub struct Signals(SignalFd);

impl Signals {
    /// Blocks them. To be called while there is only one thread: the others
    /// inherit it.
    ///
    /// # Errors
    /// When no descriptor can be had.
    pub fn block() -> anyhow::Result<Signals> {
        let mut set = SigSet::empty();
        for signal in [Number::SIGTERM, Number::SIGINT, Number::SIGHUP] {
            set.add(signal);
        }
        set.thread_block().context("block signals")?;
        let fd = SignalFd::with_flags(&set, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .context("signalfd")?;
        Ok(Signals(fd))
    }

    /// Those that arrived.
    pub fn take(&self) -> Vec<Signal> {
        let mut signals = Vec::new();
        while let Ok(Some(info)) = self.0.read_signal() {
            signals.push(match Number::try_from(info.ssi_signo as i32) {
                Ok(Number::SIGHUP) => Signal::Reload,
                _ => Signal::Stop,
            });
        }
        signals
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
