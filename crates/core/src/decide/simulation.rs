//! A simulated host, and whatever may happen to it in whatever order: the
//! guard rails hold after every step, and ledger and host agree in the end.
//!
//! The rails, each with its name, are in `rails`; they are checked against the
//! host's own books, which share nothing with the code under test; some of the
//! rails ask the ledger besides whose a line is, or whether it is restored.
//! `PROPTEST_CASES` scales the number of histories; a failing one is told as the
//! shortest list of [`Step`](step::Step)s that fails the same way.

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod boot;
mod build;
mod host;
mod keepers;
mod kernel;
mod life;
mod rails;
mod step;
mod stubborn;

use build::build;
use host::Host;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use std::collections::BTreeSet;
use step::{knobs, story, Step, Story};

/// A thousand histories, or as many as `PROPTEST_CASES` says, which comes before
/// what is said here. Each step is drawn with several generators of its own:
/// cheap ones, since a tenth of the time goes into better ones otherwise.
fn config() -> ProptestConfig {
    ProptestConfig {
        cases: 1024,
        failure_persistence: None,
        rng_algorithm: RngAlgorithm::XorShift,
        ..ProptestConfig::default()
    }
}

/// Takes a host through a history, and lets it end well.
fn live(mut host: Host, story: &Story) -> Host {
    for step in &story.0 {
        host.take(step);
    }
    host.drain();
    // A start looks at everything anew.
    host.take(&Step::Restart(0));
    host.drain();
    host.agrees();
    host
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_guard_rails_hold_whatever_happens(
        knobs in knobs(),
        build in build(),
        story in story(120),
    ) {
        live(Host::new(knobs, build), &story);
    }
}

/// A rail that no history comes up against proves nothing.
#[test]
fn the_histories_reach_each_rail() {
    let rng = TestRng::from_seed(RngAlgorithm::XorShift, &[7; 16]);
    let mut runner = TestRunner::new_with_rng(Config::default(), rng);
    let histories = (knobs(), build(), story(120));
    let mut left: BTreeSet<&str> = rails::names().collect();
    for _ in 0..512 {
        if left.is_empty() {
            return;
        }
        let (knobs, build, story) = histories.new_tree(&mut runner).unwrap().current();
        let host = Host { reached: Some(BTreeSet::new()), ..Host::new(knobs, build) };
        let reached = live(host, &story).reached.unwrap();
        left.retain(|name| !reached.contains(name));
    }
    panic!("never held anything back: {left:#?}");
}
