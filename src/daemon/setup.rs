//! Start-up: everything that must be there before the first turn.

use super::alive::Alive;
use super::closings::Closings;
use super::conflicts::Conflicts;
use super::cycle::Cycle;
use super::dimms::LateDimms;
use super::edac::EdacCheck;
use super::heartbeat::Heartbeats;
use super::kernel_pages::KernelPages;
use super::last_boot;
use super::last_end::{boot_began, LastEnd};
use super::memory::Memory;
use super::pace::Pace;
use super::progress::Progress;
use super::requests::Requests;
use super::{privileges, Daemon, Options};
use crate::act::Actor;
use crate::api::server::from_environment;
use crate::api::Server;
use crate::host::uevents::Uevents;
use crate::host::{self, clock, HostError, Root};
use crate::log;
use crate::monitor::{Choice, Monitor};
use crate::state::{BootRow, EvidenceName, Note, Saved, Store};
use anyhow::Context as _;
use bulkhead_config::{self as config, ConfigError};
use bulkhead_core::analyze::{over_a_boot, Analyzer, EvidenceKey, Remembered, Rules};
use bulkhead_core::decide::{Boot, Policy};
use bulkhead_core::model::time::Anchor;
use bulkhead_core::model::{KnownMemory, Machine, MemoryConfigId, Stamp};
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::time::Duration;

/// So long after the boot, in ns, what a driver says of the last one may still
/// come.
const EARLY: u64 = 600 * 1_000_000_000;

/// Opens everything. What another daemon may hold comes first, so that a
/// second one ends before it has touched anything.
///
/// The sources come later, by [`Daemon::watch`]; where they were left goes beside
/// the daemon.
pub(super) fn daemon(options: &Options) -> anyhow::Result<(Daemon, HashMap<String, String>)> {
    log::init();
    let policy = policy(options)?;
    if matches!(options.source, Choice::File(_)) && !policy.observe {
        anyhow::bail!(
            "--source file:… decides on what happened elsewhere or long ago, so it only goes with \
             --observe: add --observe"
        );
    }
    let (mut store, mut notes) = Store::open_or_wait(&options.state_dir)?;
    let root = Root::new(options.root.clone().unwrap_or_else(|| "/".into()));
    let boot_id = boot_id(&root, options)?;
    let mut saved = store.load(&boot_id).unwrap_or_else(|error| {
        notes.push(Note::NotKept { why: error.to_string() });
        Saved::default()
    });
    for note in notes.iter().chain(&saved.notes) {
        tracing::warn!("{note}");
    }
    let anchor = saved
        .boot
        .as_ref()
        .map(|boot| boot.anchor)
        .unwrap_or_else(|| Anchor::of_new_boot(clock::boottime(), clock::wall(), saved.last));
    let now = clock::now(anchor);
    let machine = machine(&root, &saved)?;
    if let Err(error) = store.load_evidence(machine.memory, &mut saved) {
        tracing::warn!("what is known of errors is not: {error}");
    }

    let server = match from_environment()? {
        Some(listener) => Server::from_fd(listener.into())?,
        None => Server::bind(&options.socket)?,
    };
    privileges::drop_others();
    let actor = Actor::new(root.clone(), !policy.observe)?;
    // Before the ledger is compared with the CPUs, so that no change is missed.
    let uevents = uevents(options);
    let edac = EdacCheck::new(&root, saved.cursors.get(EdacCheck::key()).cloned());

    let boot_is = match &saved.boot {
        None => Boot::New,
        Some(boot) if !boot.restored => Boot::Unfinished,
        Some(_) => Boot::Same,
    };
    let mut boots = std::mem::take(&mut saved.boots);
    boots.retain(|boot| boot.boot_id != boot_id);
    let mut analyzer = Analyzer::new(Rules::from(&policy));
    let forgotten = restore(&mut analyzer, &mut saved, &machine);
    let memory_known = KnownMemory {
        now: host::memory_config::read(&root),
        before: std::mem::take(&mut saved.memory),
    };
    let row = boot(boot_id, anchor, now, saved.boot.take());
    let memory = Memory::new(&mut saved, row, machine.page_size);
    let mut cycle = Cycle::new(memory, policy, machine, analyzer);
    cycle.save_machine();
    cycle.boot_event("bulkheadd started", now);
    for note in notes {
        cycle.config_event(&note.to_string(), now);
    }
    for name in forgotten {
        cycle.core.books.forget_evidence(name);
    }
    if memory_known.now.id() == cycle.core.machine.memory {
        cycle.core.books.memory_config(memory_known.now.clone());
    }
    let window = last_boot::window(&boots, now);
    let is_early = clock::boottime() < EARLY;
    let mut last_end = LastEnd::new(
        root.clone(),
        options.state_dir.clone(),
        boot_began(now),
        window,
        saved.cursors.get(&LastEnd::key()),
        is_early || boot_is == Boot::New,
        now.at,
    );
    cycle.regroup(boot_is);
    if boot_is == Boot::New {
        cycle.rehome(&memory_known, now);
        let found = host::last_boot::read(&root, window.0, window.1);
        last_boot::learn(&mut cycle, &found, &saved, now);
        last_end.look(&found, &mut cycle, &mut boots, now);
    }
    let progress = Progress::begun(clock::now(anchor).at);
    cycle.start(boot_is, now);
    let mut kernel_pages = KernelPages::new(root.clone(), options.root.is_none());
    kernel_pages.compare(cycle.pages_out(), cycle.core.machine.page_size);
    let daemon = Daemon {
        options: options.clone(),
        kernel: host::boot::kernel_release(&root).unwrap_or_else(|_| "unknown".to_owned()),
        conflicts: Conflicts::new(root.clone(), now.at),
        root,
        anchor,
        started: now,
        store,
        monitor: Monitor::new(anchor).context("watch for errors")?,
        actor,
        server,
        uevents,
        cycle,
        requests: Requests::default(),
        closings: Closings::default(),
        edac,
        late_dimms: LateDimms::default(),
        kernel_pages,
        heartbeats: Heartbeats::beside(&options.socket),
        alive: Alive::default(),
        last_end,
        boots,
        pace: Pace::default(),
        drained: false,
        more: false,
        part: false,
        commit_again: None,
        keep_alive: keep_alive(now),
        progress,
    };
    Ok((daemon, saved.cursors))
}

/// Another root may be a copy of /sys alone; its time is then that of the boot
/// that looks at it.
fn boot_id(root: &Root, options: &Options) -> Result<String, HostError> {
    let id = match host::boot::boot_id(root) {
        Err(_) if options.root.is_some() => host::boot::boot_id(&Root::default())?,
        id => id?,
    };
    Ok(id.to_string())
}

/// The policy in the configuration, as the command line narrows it.
pub(super) fn policy(options: &Options) -> Result<Policy, ConfigError> {
    let mut policy = config::check(options.config.as_deref())?.policy;
    policy.observe |= options.observes();
    Ok(policy)
}

/// The machine, with what an earlier daemon of this boot knew of the CPUs that
/// are off line now.
fn machine(root: &Root, saved: &Saved) -> anyhow::Result<Machine> {
    let known = saved.machine.as_deref().and_then(|json| parsed::<Machine>("machine", json));
    Ok(host::topology::machine(root, known.as_ref())?)
}

/// Takes up what is remembered of the hardware that is there, and answers what
/// is to be forgotten: it is of an earlier boot, and nobody can tell of what.
fn restore(analyzer: &mut Analyzer, saved: &mut Saved, machine: &Machine) -> Vec<EvidenceName> {
    let before = saved.machine_before.as_deref().and_then(|json| parsed("machine", json));
    let (mut rows, mut forgotten) = (Vec::new(), Vec::new());
    for (text, value) in saved.evidence.drain(..) {
        let Some(key) = parsed::<EvidenceKey>("evidence key", &text) else { continue };
        let Some(value) = parsed::<Remembered>("evidence", &value) else { continue };
        let memory = key.is_memory().then_some(machine.memory);
        let value = match memory {
            _ if saved.boot.is_some() => Some(value),
            Some(memory) => (memory != MemoryConfigId::default()).then_some(value),
            None => over_a_boot(&key, value, before.as_ref(), machine),
        };
        match value {
            Some(value) => rows.push((key, value)),
            None => forgotten.push(EvidenceName { memory, key: text }),
        }
    }
    let here = saved.faults.iter().filter(|fault| fault.is_of(machine, saved.boot.is_some()));
    analyzer.restore(rows.into_iter(), here, machine);
    forgotten
}

fn parsed<T: DeserializeOwned>(what: &str, json: &str) -> Option<T> {
    serde_json::from_str(json)
        .map_err(|error| tracing::warn!("saved {what} cannot be read, and is left out: {error}"))
        .ok()
}

/// The row of this boot, with what was known of it `before`.
fn boot(boot_id: String, anchor: Anchor, now: Stamp, before: Option<BootRow>) -> BootRow {
    let (armed, silence) = before.map_or((None, None), |row| (row.armed, row.silence));
    BootRow { armed, silence, ..BootRow::new(boot_id, boot_began(now), anchor, now) }
}

/// Hotplug of this host; another root's CPUs send nothing.
fn uevents(options: &Options) -> Option<Uevents> {
    if options.root.is_some() {
        return None;
    }
    Uevents::open()
        .map_err(|error| {
            tracing::warn!("CPUs that others bring on or off line will not be noticed: {error}");
        })
        .ok()
}

/// systemd wants to hear from us twice in its WatchdogSec.
fn keep_alive(now: Stamp) -> Option<(Duration, bulkhead_core::model::Time)> {
    let limit = sd_notify::watchdog_enabled()?;
    Some((limit / 2, now.at))
}
