//! The last lines of a log, judged.
#![no_main]
use bulkhead_core::analyze::verdict::{judge, reset, signs, Death, Evidence};

libfuzzer_sys::fuzz_target!(|text: &str| {
    let mut evidence = Evidence::default();
    let mut death = Death::default();
    for line in text.lines() {
        death.signs.extend(signs::sign(line, false));
        death.on = death.on.or(signs::panicked_on(line));
        evidence.reset = evidence.reset.or_else(|| reset::reason(line));
        if let Some(reason) = signs::panic_reason(line) {
            death.reason = reason;
            evidence.deaths.push(std::mem::take(&mut death));
        }
    }
    let ending = judge(&evidence);
    assert!((1..=99).contains(&ending.percent) && ending.evidence.len() <= 16);
});
