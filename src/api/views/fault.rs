//! Faults, and the case behind each.

use crate::event::timestamp;
use bulkhead_core::analyze::RuleId;
use bulkhead_core::model::{
    Cover, CoverBy, Evidence, Fault, FaultKind, FaultState, PageSize, PhysAddr, Record, Rule,
    Severity,
};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

/// One line of `faults`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FaultView {
    /// Its name for ever.
    pub id: Uuid,
    /// What kind of component fails.
    pub kind: FaultKind,
    /// Which one, for people.
    pub component: String,
    /// The rule that found it.
    pub rule: String,
    /// How much it matters.
    pub severity: Severity,
    /// Where it stands.
    pub state: FaultState,
    /// First error.
    pub first: Timestamp,
    /// Last error so far.
    pub last: Timestamp,
    /// Errors so far, each counted once.
    pub errors: u64,
    /// The part to replace, where known.
    pub fru: Option<String>,
}

/// A fault with everything known about it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// As in `faults`.
    pub fault: FaultView,
    /// The rule that fired.
    pub rule: RuleView,
    /// The pages it covers, where it is not a page's own and they are known.
    #[serde(default)]
    pub cover: Option<CoverView>,
    /// What it fired on, oldest first.
    pub evidence: Vec<EvidenceView>,
    /// One sentence: what was decided and why.
    pub decision: String,
    /// What the kernel was asked, oldest first.
    pub attempts: Vec<AttemptView>,
    /// One sentence: what the admin should do.
    pub advice: String,
}

/// A rule and the numbers it fired on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RuleView {
    /// Stable name.
    pub id: String,
    /// Stable number, as in docs/diagnosis.md; `None` for a rule of another
    /// version.
    #[serde(default)]
    pub number: Option<String>,
    /// Name → number, or text with its unit; in the rule's order.
    #[serde(with = "object")]
    pub numbers: Vec<(String, Value)>,
}

/// The pages that a fault covers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CoverView {
    /// How they are known.
    pub by: CoverBy,
    /// Their addresses, ascending.
    pub pages: Vec<PhysAddr>,
}

/// A piece of evidence.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EvidenceView {
    /// First record it stands for.
    pub first: Timestamp,
    /// Last record it stands for.
    pub last: Timestamp,
    /// Records it stands for.
    pub records: u64,
    /// Errors it stands for.
    pub errors: u64,
    /// `system:name` of the source.
    pub source: String,
    /// The raw record.
    pub record: Record,
}

/// What the kernel was asked, and what it answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptView {
    /// When it was asked.
    pub time: Timestamp,
    /// What was written where.
    pub asked: String,
    /// What came back.
    pub answered: String,
}

impl FaultView {
    /// The line for `fault`.
    pub fn of(fault: &Fault, page_size: PageSize) -> FaultView {
        FaultView {
            id: fault.id,
            kind: fault.kind(),
            component: fault.component.name(page_size),
            rule: fault.rule.id.clone(),
            severity: fault.severity,
            state: fault.state,
            first: timestamp(fault.first.wall),
            last: timestamp(fault.last.wall),
            errors: fault.errors,
            fru: fault.fru.clone(),
        }
    }
}

impl Explanation {
    /// The case of `fault`, with what was asked of the kernel on its account.
    pub fn of(fault: &Fault, page_size: PageSize, attempts: Vec<AttemptView>) -> Explanation {
        Explanation {
            fault: FaultView::of(fault, page_size),
            rule: RuleView::of(&fault.rule),
            cover: fault.cover.as_ref().map(|cover| CoverView::of(cover, page_size)),
            evidence: fault.evidence.iter().map(EvidenceView::of).collect(),
            decision: fault.decision.clone(),
            attempts,
            advice: fault.advice.clone(),
        }
    }
}

impl RuleView {
    fn of(rule: &Rule) -> RuleView {
        let numbers = rule.numbers.iter().map(|(name, value)| (name.clone(), number(value)));
        let number = RuleId::by_name(&rule.id).map(|id| id.number().to_owned());
        RuleView { id: rule.id.clone(), number, numbers: numbers.collect() }
    }
}

impl CoverView {
    fn of(cover: &Cover, page_size: PageSize) -> CoverView {
        let pages = cover.pages.iter().map(|pfn| page_size.addr(*pfn));
        CoverView { by: cover.by, pages: pages.collect() }
    }
}

impl EvidenceView {
    fn of(evidence: &Evidence) -> EvidenceView {
        EvidenceView {
            first: timestamp(evidence.first),
            last: timestamp(evidence.last),
            records: evidence.records,
            errors: evidence.errors,
            source: evidence.source.name().to_owned(),
            record: evidence.record.clone(),
        }
    }
}

/// A count as a JSON number; anything with a unit, or beyond the 53 bits that a
/// JSON number holds safely, as the text it is.
fn number(text: &str) -> Value {
    match text.parse::<u64>() {
        Ok(n) if n < 1 << 53 && n.to_string() == text => n.into(),
        _ => text.into(),
    }
}

/// Pairs as a JSON object, in their order.
mod object {
    use serde::de::{MapAccess, Visitor};
    use serde::{Deserializer, Serializer};
    use serde_json::Value;
    use std::fmt;

    pub fn serialize<S: Serializer>(pairs: &[(String, Value)], s: S) -> Result<S::Ok, S::Error> {
        s.collect_map(pairs.iter().map(|(name, value)| (name, value)))
    }

    pub fn deserialize<'de, D>(d: D) -> Result<Vec<(String, Value)>, D::Error>
    where
        D: Deserializer<'de>,
    {
        struct Pairs;
        impl<'de> Visitor<'de> for Pairs {
            type Value = Vec<(String, Value)>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(pairs)
            }
        }
        d.deserialize_map(Pairs)
    }
}
