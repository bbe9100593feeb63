//! What can be asked: methods and their parameters, read and written.

use super::error::ApiError;
use super::wire::{INTERFACE, SERVICE};
use bulkhead_core::model::{hex, CpuId, PhysAddr};
use jiff::Timestamp;
use serde_json::{Map, Value};
use std::fmt;
use uuid::Uuid;

/// A call, with its parameters checked.
#[derive(Debug, Clone, PartialEq)]
pub enum Request {
    /// org.varlink.service.GetInfo.
    GetInfo,
    /// org.varlink.service.GetInterfaceDescription.
    GetInterfaceDescription(String),
    /// The state of the host and of the daemon.
    Status,
    /// The ledger, or the lines of one kind.
    ListIsolations(Option<TargetKind>),
    /// All faults.
    ListFaults,
    /// One fault with its evidence.
    ExplainFault(Uuid),
    /// Take out of service.
    Isolate(ActRequest),
    /// Give back.
    Release(ActRequest),
    /// Close a fault.
    Resolve(Uuid, Resolution),
    /// The boots known.
    Boots,
    /// What happened.
    Subscribe {
        /// Go on with what happens.
        follow: bool,
        /// Leave out what is older.
        since: Option<Timestamp>,
    },
}

/// Kinds of component that can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    /// A hardware thread.
    Cpu,
    /// A page of memory.
    Page,
}

/// A component as a caller names it: the page may be named by any address in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActTarget {
    /// A hardware thread.
    Cpu(CpuId),
    /// The page that holds this address.
    Page(PhysAddr),
}

/// An order to isolate or release.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActRequest {
    /// What.
    pub target: ActTarget,
    /// Why, in the admin's words: at most [`ActRequest::MAX_REASON`] bytes, no
    /// control characters.
    pub reason: Option<String>,
    /// Only tell what would be done.
    pub dry_run: bool,
}

/// What an admin says of a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resolution {
    /// It was repaired.
    Repaired,
    /// The part was replaced.
    Replaced,
    /// It was no fault.
    Acquitted,
}

impl ActRequest {
    /// Longest reason, in bytes: it goes into logs and lists as one sentence.
    pub const MAX_REASON: usize = 512;

    /// Whether `text` may be a reason.
    pub fn is_reason(text: &str) -> bool {
        text.len() <= Self::MAX_REASON && !text.contains(char::is_control)
    }
}

impl TargetKind {
    /// As in `list`.
    pub fn name(self) -> &'static str {
        match self {
            TargetKind::Cpu => "cpu",
            TargetKind::Page => "page",
        }
    }

    /// From its name.
    pub fn parse(name: &str) -> Option<TargetKind> {
        [TargetKind::Cpu, TargetKind::Page].into_iter().find(|kind| kind.name() == name)
    }
}

impl ActTarget {
    /// From kind and id as in `list`: a CPU by its number, a page by an address
    /// with `0x`. The error is one sentence.
    pub fn parse(kind: TargetKind, id: &str) -> Result<ActTarget, String> {
        match kind {
            // `+3` is a number to Rust and not to an admin.
            TargetKind::Cpu => match id.parse() {
                Ok(n) if !id.starts_with('+') => Ok(ActTarget::Cpu(CpuId(n))),
                _ => Err(format!("`{id}` is not the number of a CPU, such as 3")),
            },
            TargetKind::Page => {
                hex::parse(id).map(|a| ActTarget::Page(PhysAddr(a))).ok_or_else(|| {
                    format!(
                        "`{id}` is not a physical address; write it in hexadecimal with 0x, such \
                         as 0x8000000"
                    )
                })
            }
        }
    }

    /// Its kind.
    pub fn kind(self) -> TargetKind {
        match self {
            ActTarget::Cpu(_) => TargetKind::Cpu,
            ActTarget::Page(_) => TargetKind::Page,
        }
    }

    fn id(self) -> String {
        match self {
            ActTarget::Cpu(cpu) => cpu.to_string(),
            ActTarget::Page(addr) => addr.to_string(),
        }
    }
}

impl fmt::Display for ActTarget {
    /// "cpu 3", "page 0x8000000".
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind().name(), self.id())
    }
}

impl Resolution {
    /// As in `faults`.
    pub fn name(self) -> &'static str {
        match self {
            Resolution::Repaired => "repaired",
            Resolution::Replaced => "replaced",
            Resolution::Acquitted => "acquitted",
        }
    }

    fn parse(name: &str) -> Option<Resolution> {
        [Resolution::Repaired, Resolution::Replaced, Resolution::Acquitted]
            .into_iter()
            .find(|word| word.name() == name)
    }
}

impl Request {
    /// From a call's method and parameters. An unknown parameter is an error:
    /// a misspelt `dry_run` must not isolate anything.
    pub fn parse(method: &str, parameters: Option<Value>) -> Result<Request, ApiError> {
        let unknown = || ApiError::MethodNotFound(method.to_owned());
        let (interface, name) = method.rsplit_once('.').ok_or_else(unknown)?;
        let mut p = Parameters::of(parameters)?;
        let request = match (interface, name) {
            (SERVICE, "GetInfo") => Request::GetInfo,
            (SERVICE, "GetInterfaceDescription") => {
                Request::GetInterfaceDescription(p.need("interface")?)
            }
            (INTERFACE, "Status") => Request::Status,
            (INTERFACE, "ListIsolations") => Request::ListIsolations(p.kind()?),
            (INTERFACE, "ListFaults") => Request::ListFaults,
            (INTERFACE, "ExplainFault") => Request::ExplainFault(p.uuid("id")?),
            (INTERFACE, "Isolate") => Request::Isolate(p.act()?),
            (INTERFACE, "Release") => Request::Release(p.act()?),
            (INTERFACE, "Resolve") => Request::Resolve(p.uuid("id")?, p.word()?),
            (INTERFACE, "Boots") => Request::Boots,
            (INTERFACE, "Subscribe") => Request::Subscribe {
                follow: p.flag("follow")?,
                since: p.take("since", |text| text.parse().ok())?,
            },
            (SERVICE | INTERFACE, _) => return Err(unknown()),
            _ => return Err(ApiError::InterfaceNotFound(interface.to_owned())),
        };
        p.end()?;
        Ok(request)
    }

    /// Method and parameters, for a call. What is not set is left out.
    pub fn to_call(&self) -> (String, Value) {
        let mut p = Map::new();
        let mut put = |key: &str, value: Value| p.insert(key.to_owned(), value);
        let (interface, name) = match self {
            Request::GetInfo => (SERVICE, "GetInfo"),
            Request::GetInterfaceDescription(interface) => {
                put("interface", interface.as_str().into());
                (SERVICE, "GetInterfaceDescription")
            }
            Request::Status => (INTERFACE, "Status"),
            Request::ListIsolations(kind) => {
                if let Some(kind) = kind {
                    put("kind", kind.name().into());
                }
                (INTERFACE, "ListIsolations")
            }
            Request::ListFaults => (INTERFACE, "ListFaults"),
            Request::ExplainFault(id) => {
                put("id", id.to_string().into());
                (INTERFACE, "ExplainFault")
            }
            Request::Isolate(act) | Request::Release(act) => {
                put("kind", act.target.kind().name().into());
                put("id", act.target.id().into());
                if let Some(reason) = &act.reason {
                    put("reason", reason.as_str().into());
                }
                if act.dry_run {
                    put("dry_run", true.into());
                }
                let isolate = matches!(self, Request::Isolate(_));
                (INTERFACE, if isolate { "Isolate" } else { "Release" })
            }
            Request::Resolve(id, word) => {
                put("id", id.to_string().into());
                put("word", word.name().into());
                (INTERFACE, "Resolve")
            }
            Request::Boots => (INTERFACE, "Boots"),
            Request::Subscribe { follow, since } => {
                put("follow", (*follow).into());
                if let Some(since) = since {
                    put("since", since.to_string().into());
                }
                (INTERFACE, "Subscribe")
            }
        };
        (format!("{interface}.{name}"), Value::Object(p))
    }

    /// It changes something, so only root may.
    pub fn acts(&self) -> bool {
        matches!(self, Request::Isolate(_) | Request::Release(_) | Request::Resolve(..))
    }
}

/// Parameters not yet read; every error names the parameter.
struct Parameters(Map<String, Value>);

impl Parameters {
    fn of(value: Option<Value>) -> Result<Parameters, ApiError> {
        match value {
            None => Ok(Parameters(Map::new())),
            Some(Value::Object(map)) => Ok(Parameters(map)),
            Some(_) => Err(invalid("parameters")),
        }
    }

    /// The string `key` as `read` makes it; `None` if it is not there or null.
    fn take<T>(
        &mut self,
        key: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Result<Option<T>, ApiError> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(None),
            Some(Value::String(text)) => read(&text).map(Some).ok_or_else(|| invalid(key)),
            Some(_) => Err(invalid(key)),
        }
    }

    fn need(&mut self, key: &str) -> Result<String, ApiError> {
        self.take(key, |text| Some(text.to_owned()))?.ok_or_else(|| invalid(key))
    }

    fn flag(&mut self, key: &str) -> Result<bool, ApiError> {
        match self.0.remove(key) {
            None | Some(Value::Null) => Ok(false),
            Some(Value::Bool(flag)) => Ok(flag),
            Some(_) => Err(invalid(key)),
        }
    }

    fn uuid(&mut self, key: &str) -> Result<Uuid, ApiError> {
        self.take(key, |text| text.parse().ok())?.ok_or_else(|| invalid(key))
    }

    fn kind(&mut self) -> Result<Option<TargetKind>, ApiError> {
        self.take("kind", TargetKind::parse)
    }

    fn word(&mut self) -> Result<Resolution, ApiError> {
        self.take("word", Resolution::parse)?.ok_or_else(|| invalid("word"))
    }

    fn act(&mut self) -> Result<ActRequest, ApiError> {
        let kind = self.kind()?.ok_or_else(|| invalid("kind"))?;
        let id = self.need("id")?;
        let target = ActTarget::parse(kind, &id).map_err(|_| invalid("id"))?;
        let reason =
            self.take("reason", |text| ActRequest::is_reason(text).then(|| text.to_owned()))?;
        Ok(ActRequest { target, reason, dry_run: self.flag("dry_run")? })
    }

    fn end(self) -> Result<(), ApiError> {
        match self.0.keys().next() {
            None => Ok(()),
            Some(key) => Err(invalid(key)),
        }
    }
}

fn invalid(parameter: &str) -> ApiError {
    ApiError::InvalidParameter(parameter.to_owned())
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::wire::{DESCRIPTION, SERVICE_DESCRIPTION};
    use proptest::prelude::*;
    use serde_json::json;
    use std::collections::{BTreeMap, BTreeSet};
    use varlink_parser::IDL;

    /// One of each, with every parameter set.
    fn all() -> Vec<Request> {
        let act = ActRequest {
            target: ActTarget::Page(PhysAddr(0x8000abc)),
            reason: Some("DIMM is on order".to_owned()),
            dry_run: true,
        };
        vec![
            Request::GetInfo,
            Request::GetInterfaceDescription("io.bulkhead".to_owned()),
            Request::Status,
            Request::ListIsolations(Some(TargetKind::Cpu)),
            Request::ListFaults,
            Request::ExplainFault(Uuid::nil()),
            Request::Isolate(act.clone()),
            Request::Release(act),
            Request::Resolve(Uuid::max(), Resolution::Replaced),
            Request::Boots,
            Request::Subscribe { follow: true, since: Some(Timestamp::UNIX_EPOCH) },
        ]
    }

    #[test]
    fn every_call_survives_the_wire() {
        for request in all() {
            let (method, parameters) = request.to_call();
            assert_eq!(Request::parse(&method, Some(parameters)), Ok(request));
        }
    }

    #[test]
    fn the_interfaces_define_every_method_that_is_served_and_no_other() {
        let mut defined = BTreeMap::new();
        for text in [DESCRIPTION, SERVICE_DESCRIPTION] {
            let interface = IDL::try_from(text).unwrap();
            assert!(interface.error.is_empty(), "{:?}", interface.error);
            for (name, method) in &interface.methods {
                let input: BTreeSet<String> =
                    method.input.elts.iter().map(|e| e.name.to_owned()).collect();
                defined.insert(format!("{}.{name}", interface.name), input);
            }
        }
        let served: BTreeMap<_, _> = all()
            .iter()
            .map(|request| {
                let (method, parameters) = request.to_call();
                (method, parameters.as_object().unwrap().keys().cloned().collect())
            })
            .collect();
        assert_eq!(defined, served);
    }

    #[test]
    fn a_misspelt_parameter_is_named_and_nothing_is_done() {
        let call = json!({ "kind": "cpu", "id": "3", "dryrun": true });
        let answer = Request::parse("io.bulkhead.Isolate", Some(call));
        assert_eq!(answer, Err(ApiError::InvalidParameter("dryrun".to_owned())));
    }

    #[test]
    fn a_bad_value_is_named_by_its_parameter() {
        for (parameters, bad) in [
            (json!({ "kind": "dimm", "id": "3" }), "kind"),
            (json!({ "id": "3" }), "kind"),
            (json!({ "kind": "cpu", "id": "-1" }), "id"),
            (json!({ "kind": "cpu", "id": "+1" }), "id"),
            (json!({ "kind": "cpu", "id": 3 }), "id"),
            (json!({ "kind": "page", "id": "134217728" }), "id"),
            (json!({ "kind": "page", "id": "0x1ffffffffffffffff" }), "id"),
            (json!({ "kind": "cpu", "id": "3", "dry_run": "no" }), "dry_run"),
            (json!({ "kind": "cpu", "id": "3", "reason": "a\nb" }), "reason"),
            (json!({ "kind": "cpu", "id": "3", "reason": "x".repeat(513) }), "reason"),
            (json!([1, 2]), "parameters"),
        ] {
            let answer = Request::parse("io.bulkhead.Isolate", Some(parameters.clone()));
            assert_eq!(answer, Err(ApiError::InvalidParameter(bad.to_owned())), "{parameters}");
        }
    }

    #[test]
    fn unknown_methods_and_interfaces_are_told_apart() {
        let parse = |method| Request::parse(method, None).unwrap_err().name();
        assert_eq!(parse("io.bulkhead.Explode"), "org.varlink.service.MethodNotFound");
        assert_eq!(parse("io.bulkheads.Status"), "org.varlink.service.InterfaceNotFound");
        assert_eq!(parse("Status"), "org.varlink.service.MethodNotFound");
    }

    proptest! {
        #[test]
        fn any_target_that_is_read_is_written_the_same(kind in 0..2u8, id in "\\PC{0,24}") {
            let kind = if kind == 0 { TargetKind::Cpu } else { TargetKind::Page };
            if let Ok(target) = ActTarget::parse(kind, &id) {
                prop_assert_eq!(ActTarget::parse(kind, &target.id()), Ok(target));
            }
        }
    }
}
