//! A kernel log out of a dump or pstore, and the time that passed in it.

use std::time::Duration;

use anyhow::{ensure, Context, Result};

/// So many of its lines are shown when one is missing.
const TAIL: usize = 60;

/// Lines that begin with the seconds since boot in brackets.
pub struct Log(pub String);

impl Log {
    pub fn contains(&self, text: &str) -> Result<()> {
        ensure!(self.0.contains(text), "no {text:?} in …\n{}", self.tail());
        Ok(())
    }

    /// From the first line with one text to the first with another: the guest's own clock.
    pub fn between(&self, from: &str, to: &str) -> Result<Duration> {
        let (from, to) = (self.moment(from)?, self.moment(to)?);
        Duration::try_from_secs_f64(to - from).with_context(|| format!("{to} before {from}"))
    }

    fn moment(&self, text: &str) -> Result<f64> {
        let line = self.0.lines().find(|line| line.contains(text));
        let line = line.with_context(|| format!("no {text:?} in …\n{}", self.tail()))?;
        let time = line.split_once('[').and_then(|(_, rest)| rest.split_once(']'));
        time.and_then(|(time, _)| time.trim().parse().ok()).with_context(|| line.to_owned())
    }

    /// A panic fits.
    fn tail(&self) -> &str {
        let start = self.0.rmatch_indices('\n').nth(TAIL).map_or(0, |(at, _)| at + 1);
        &self.0[start..]
    }
}
