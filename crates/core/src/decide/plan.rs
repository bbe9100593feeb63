//! What decide hands to act, and what act answers.

use super::HugetlbPolicy;
use crate::model::{
    Asked, BoundTask, CpuId, FaultState, Group, Isolation, IsolationState, Ledger, Pfn, Stamp,
    Survey, Target,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One thing to ask of the kernel.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Migrate the page away and never use it again.
    SoftOffline(Pfn),
    /// The same, but a page of a huge page only as the policy allows; what it
    /// does not is answered [`Answer::Spared`]. It is looked at in one step
    /// with the order, since the orders before it may have used the pool up.
    SoftOfflineSparing(Pfn, HugetlbPolicy),
    /// The same with each of these pages, which an earlier boot had out of
    /// service.
    Restore(Vec<Pfn>, HugetlbPolicy),
    /// Take the page if it is free: nothing of it is read.
    OfflineFree(Pfn),
    /// Hand the page to memory_failure(): may kill its users.
    HardOffline(Pfn),
    /// Only look whether the page is out of service.
    Inspect(Pfn),
    /// Give a page back, where the kernel can.
    Unpoison(Pfn),
    /// Take these CPUs off line, all or none.
    TakeCpus(Vec<CpuId>),
    /// Bring these CPUs on line.
    GiveCpus(Vec<CpuId>),
    /// Only look what is bound to these CPUs alone.
    Survey(Vec<CpuId>),
    /// Bind these tasks, which were bound to these CPUs, as they were.
    PutBack(Vec<CpuId>, Vec<BoundTask>),
}

impl Order {
    /// To take `pfn` out of service without hurting its users, as the policy
    /// for huge pages has it.
    pub fn soft_offline(pfn: Pfn, hugetlb: HugetlbPolicy) -> Order {
        match hugetlb {
            HugetlbPolicy::Always => Order::SoftOffline(pfn),
            sparing => Order::SoftOfflineSparing(pfn, sparing),
        }
    }

    /// It moves the content of a page away.
    pub fn is_soft_offline(&self) -> bool {
        matches!(self, Order::SoftOffline(_) | Order::SoftOfflineSparing(..))
    }

    /// The page it is about, if it is about one alone.
    pub fn page(&self) -> Option<Pfn> {
        match self {
            Order::Restore(..) => None,
            order => order.pages().first().copied(),
        }
    }

    /// The CPUs it is about; none for pages.
    pub fn cpus(&self) -> &[CpuId] {
        match self {
            Order::TakeCpus(cpus)
            | Order::GiveCpus(cpus)
            | Order::Survey(cpus)
            | Order::PutBack(cpus, _) => cpus,
            _ => &[],
        }
    }

    /// Nothing is written for it.
    pub fn is_look(&self) -> bool {
        matches!(self, Order::Inspect(_) | Order::Survey(_))
    }

    /// The pages it is about; none for CPUs.
    pub fn pages(&self) -> &[Pfn] {
        match self {
            Order::SoftOffline(pfn)
            | Order::SoftOfflineSparing(pfn, _)
            | Order::OfflineFree(pfn)
            | Order::HardOffline(pfn)
            | Order::Inspect(pfn)
            | Order::Unpoison(pfn) => std::slice::from_ref(pfn),
            Order::Restore(pages, _) => pages,
            Order::TakeCpus(_) | Order::GiveCpus(_) | Order::Survey(_) | Order::PutBack(..) => &[],
        }
    }

    /// It takes something, whether or not for the first time.
    pub fn is_take(&self) -> bool {
        use Order::{HardOffline, OfflineFree, Restore, TakeCpus};
        self.is_soft_offline()
            || matches!(self, Restore(..) | OfflineFree(_) | HardOffline(_) | TakeCpus(_))
    }
}

/// What is, after asking: read back, not assumed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    /// Out of service by this order, and read back as such.
    Off,
    /// Out of service before the order was carried out.
    WasOff,
    /// In service, and read back as such (inspected, or given back).
    On,
    /// Nothing was asked: the page is in use, and only a free one was to go.
    InUse,
    /// EBUSY: a race or a veto; later.
    Busy,
    /// EIO: what the page is used for now cannot be moved.
    Unhandlable,
    /// EOPNOTSUPP, EPERM or EACCES: the kernel's policy.
    NotAllowed,
    /// ENXIO, ENOENT or ENODEV: there is no such thing, or no such file.
    NoSuch,
    /// The kernel said yes and reading back says no.
    Unconfirmed,
    /// No answer in time; the write may still be under way.
    TimedOut,
    /// Part of a huge page that the policy keeps; nothing was asked.
    Spared,
    /// Any other errno.
    Errno(i32),
}

/// An order carried out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// What was asked.
    pub order: Order,
    /// What is.
    pub answer: Answer,
    /// When it was asked.
    pub time: Stamp,
    /// What was written where, for people.
    pub asked: String,
    /// What came back, for people: path, errno, read-back.
    pub answered: String,
    /// What a survey found.
    #[serde(default)]
    pub survey: Option<Box<Survey>>,
    /// CPUs that an order to take several took, and could not bring back when
    /// another did not go.
    #[serde(default)]
    pub left_off: Vec<CpuId>,
    /// Of the pages of [`Order::Restore`] those with an answer of their own:
    /// what is said above is of all the others.
    #[serde(default)]
    pub apart: Vec<Apart>,
}

/// A page of [`Order::Restore`] that did not come off as the others did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Apart {
    /// Which.
    pub pfn: Pfn,
    /// What is.
    pub answer: Answer,
    /// What was written where, for people.
    pub asked: String,
    /// What came back, for people.
    pub answered: String,
}

impl Outcome {
    /// What an answered survey found; where it came to nothing, that nothing is
    /// known.
    pub fn surveyed(&self) -> Survey {
        self.survey.as_deref().cloned().unwrap_or_else(|| Survey {
            unknown: vec![format!("the survey came to nothing ({})", self.answered)],
            ..Survey::default()
        })
    }

    /// What came of a page of [`Order::Restore`].
    pub fn answer_of(&self, pfn: Pfn) -> Answer {
        self.apart(pfn).map_or(self.answer, |apart| apart.answer)
    }

    /// What came of a page of [`Order::Restore`], as if it had been an order of
    /// its own.
    pub fn single(&self, pfn: Pfn) -> Outcome {
        let hugetlb = match self.order {
            Order::Restore(_, hugetlb) => hugetlb,
            _ => HugetlbPolicy::Always,
        };
        let (asked, answered) = match self.apart(pfn) {
            Some(apart) => (apart.asked.clone(), apart.answered.clone()),
            None => (self.asked.clone(), self.answered.clone()),
        };
        Outcome {
            order: Order::soft_offline(pfn, hugetlb),
            answer: self.answer_of(pfn),
            time: self.time,
            asked,
            answered,
            survey: None,
            left_off: Vec::new(),
            apart: Vec::new(),
        }
    }

    fn apart(&self, pfn: Pfn) -> Option<&Apart> {
        self.apart.iter().find(|apart| apart.pfn == pfn)
    }
}

/// What kind of sentence a decision is; each has a stable MESSAGE_ID in the
/// journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DecisionKind {
    /// A component is to be taken.
    Take,
    /// It is out of service.
    Taken,
    /// The kernel took it by itself.
    KernelTook,
    /// It would have been taken.
    Observed,
    /// A limit, a guard or the kernel's policy holds it back.
    Refused,
    /// It did not come off; it is tried again.
    Failed,
    /// A human must act.
    Escalated,
    /// A fault to know of, with nothing to take.
    Reported,
    /// It was given back on request.
    Released,
    /// Somebody brought it back behind our back, and is not fought.
    BroughtBack,
}

/// One decision, told to the admin in one line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// Which kind.
    pub kind: DecisionKind,
    /// What it is about, for people.
    pub component: String,
    /// The ledger entry, if one.
    pub target: Option<Target>,
    /// The fault behind it, if one.
    pub fault: Option<Uuid>,
    /// Why.
    pub why: String,
    /// What was, or will be, done.
    pub done: String,
    /// What the admin should do next; empty where the fault's advice says it.
    pub next: String,
    /// A human must act: logged as critical.
    pub human: bool,
}

/// What becomes of a fault.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FaultNote {
    /// Which.
    pub fault: Uuid,
    /// Its new state.
    pub state: FaultState,
    /// Its new decision, one sentence.
    pub decision: String,
    /// Its new advice, one sentence; `None` where the old one stands.
    pub advice: Option<String>,
}

/// What happens to a line that says isolated, and is of an earlier boot. There
/// may be very many, so it is changed where it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RestoreStep {
    /// Its page is ordered off.
    Ask,
    /// It is ordered off again: an order of this boot may have taken it.
    AskAgain,
    /// It is off.
    Off,
}

impl RestoreStep {
    /// Changes the line.
    pub fn apply(self, line: &mut Isolation) {
        let (state, asked) = match self {
            RestoreStep::Ask => (IsolationState::Wanted, Some(Asked::Take)),
            RestoreStep::AskAgain => (IsolationState::Wanted, Some(Asked::Retake)),
            RestoreStep::Off => (IsolationState::Isolated, None),
        };
        line.state = state;
        line.asked = asked;
        line.restores = self != RestoreStep::Off;
        line.failures = 0;
        line.next_try = None;
    }
}

/// Everything that follows from one look at the world. The ledger lines and
/// fault notes are made durable before the orders go out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Plan {
    /// Ledger lines to insert or replace.
    pub isolations: Vec<Isolation>,
    /// Pages whose lines the store has right already, as isolated: how far the
    /// restoring of them has come is for memory alone.
    #[serde(default)]
    pub restoring: Vec<(Pfn, RestoreStep)>,
    /// Ledger lines to forget, before the others are entered.
    #[serde(default)]
    pub gone: Vec<Target>,
    /// Pages that stand or fall as one fault: to insert, to replace, or to end.
    #[serde(default)]
    pub groups: Vec<Group>,
    /// What becomes of faults.
    pub faults: Vec<FaultNote>,
    /// What to ask of the kernel.
    pub orders: Vec<Order>,
    /// What to tell.
    pub decisions: Vec<Decision>,
}

impl Plan {
    /// Adds all of `other`.
    pub fn extend(&mut self, other: Plan) {
        self.isolations.extend(other.isolations);
        self.restoring.extend(other.restoring);
        self.gone.extend(other.gone);
        self.groups.extend(other.groups);
        self.faults.extend(other.faults);
        self.orders.extend(other.orders);
        self.decisions.extend(other.decisions);
    }

    /// Enters the lines and groups into `ledger`, and answers the targets whose
    /// lines it forgot for want of room. Every plan is entered before the next
    /// one is made: a plan counts only what the ledger holds.
    pub fn record(&self, ledger: &mut Ledger) -> Vec<Target> {
        for target in &self.gone {
            ledger.remove(target);
        }
        for line in &self.isolations {
            ledger.insert(line.clone());
        }
        for (pfn, step) in &self.restoring {
            ledger.change(&Target::Page(*pfn), |line| step.apply(line));
        }
        for group in &self.groups {
            ledger.put_group(group.clone());
        }
        ledger.trim().into_iter().map(|(target, _)| target).collect()
    }
}
