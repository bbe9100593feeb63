//! What an admin gets to read.
#![allow(clippy::unwrap_used, clippy::expect_used)]

use super::*;
use bulkhead_core::model::{CpuId, Pfn};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex};
use tracing::subscriber::with_default;
use tracing_subscriber::layer::{Context, Layer};
use uuid::Uuid;

const KINDS: [DecisionKind; 10] = [
    DecisionKind::Take,
    DecisionKind::Taken,
    DecisionKind::KernelTook,
    DecisionKind::Observed,
    DecisionKind::Refused,
    DecisionKind::Failed,
    DecisionKind::Escalated,
    DecisionKind::Reported,
    DecisionKind::Released,
    DecisionKind::BroughtBack,
];

fn taken() -> Decision {
    Decision {
        kind: DecisionKind::Taken,
        component: "page 0x8000000".into(),
        target: Some(Target::Page(Pfn(0x8000))),
        fault: Some(Uuid::from_u128(1)),
        why: "2 corrected errors in 24h.".into(),
        done: "It was soft-offlined and read back as such.".into(),
        next: String::new(),
        human: false,
    }
}

fn refused() -> Decision {
    Decision {
        kind: DecisionKind::Refused,
        component: "CPUs 1,3 (one core)".into(),
        target: Some(Target::Cpu(CpuId(1))),
        why: "3 corrected errors of its L1 data cache in 72h".into(),
        done: "It stays: limits.cpus allows 2 CPUs, and 2 are taken".into(),
        next: "Replace the processor".into(),
        human: true,
        ..taken()
    }
}

/// What goes to stderr while `say` runs.
fn plain_lines(say: impl FnOnce()) -> String {
    #[derive(Clone, Default)]
    struct Buffer(Arc<Mutex<Vec<u8>>>);
    impl io::Write for Buffer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    let buffer = Buffer::default();
    let to = buffer.clone();
    with_default(tracing_subscriber::registry().with(plain::layer(move || to.clone())), say);
    let bytes = buffer.0.lock().unwrap().clone();
    String::from_utf8(bytes).unwrap()
}

/// Level and fields.
type Caught = (Level, BTreeMap<&'static str, String>);

/// Each event while `say` runs.
fn events(say: impl FnOnce()) -> Vec<Caught> {
    #[derive(Clone, Default)]
    struct Catch(Arc<Mutex<Vec<Caught>>>);
    impl<S: tracing::Subscriber> Layer<S> for Catch {
        fn on_event(&self, event: &tracing::Event<'_>, _: Context<'_, S>) {
            let mut fields = BTreeMap::new();
            event.record(&mut |field: &field::Field, value: &dyn std::fmt::Debug| {
                fields.insert(field.name(), format!("{value:?}"));
            });
            self.0.lock().unwrap().push((*event.metadata().level(), fields));
        }
    }
    let caught = Catch::default();
    with_default(tracing_subscriber::registry().with(caught.clone()), say);
    let events = caught.0.lock().unwrap().clone();
    events
}

#[test]
fn a_decision_is_one_line_that_says_what_why_what_was_done_and_what_next() {
    let lines = plain_lines(|| {
        decision(&taken());
        decision(&refused());
        decision(&Decision { human: false, ..refused() });
        tracing::warn!(path = %"/sys/x", "cannot read the topology");
    });
    insta::assert_snapshot!(lines);
}

#[test]
fn the_journal_gets_fields_to_filter_by() {
    insta::assert_debug_snapshot!(events(|| {
        decision(&refused());
        decision(&Decision { target: None, fault: None, ..taken() });
    }));
}

#[test]
fn only_what_a_human_must_act_on_is_critical() {
    for kind in KINDS {
        let level = |human| {
            let said = events(|| decision(&Decision { kind, human, ..taken() }));
            said[0].0
        };
        assert_eq!(level(true), Level::ERROR);
        assert_ne!(level(false), Level::ERROR);
    }
}

#[test]
fn message_ids_are_unique_and_never_change() {
    let table: BTreeMap<_, _> = KINDS.iter().map(|kind| (names(*kind).1, names(*kind).0)).collect();
    assert_eq!(table.values().collect::<BTreeSet<_>>().len(), KINDS.len());
    for id in table.values() {
        assert!(id.len() == 32 && id.parse::<Uuid>().is_ok(), "{id}");
    }
    insta::assert_debug_snapshot!(table);
}

#[test]
fn a_decision_is_called_the_same_in_the_journal_and_in_events() {
    for kind in KINDS {
        assert_eq!(serde_json::to_value(kind).unwrap(), names(kind).1);
    }
}

proptest! {
    #[test]
    fn whatever_firmware_calls_a_part_it_stays_one_line(
        component in "(?s).{0,20}", why in "(?s).{0,20}", next in "(?s).{0,20}",
    ) {
        let line = line(&Decision { component, why, next, ..taken() });
        prop_assert!(!line.contains(char::is_control), "{line:?}");
    }
}
