//! Errors that cross the socket.

use super::wire::{INTERFACE, SERVICE};
use serde_json::{json, Value};

/// An error reply. The display form is for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// There is no such fault, page or CPU.
    #[error("there is no {0} here")]
    NotFound(String),
    /// Policy or the state of the host forbids it.
    #[error("refused: {0}")]
    Refused(String),
    /// It was tried and did not come off.
    #[error("failed: {0}")]
    Failed(String),
    /// The caller may not do this.
    #[error("permission denied: {0}")]
    PermissionDenied(String),
    /// All connections are taken; the number is how many there are.
    #[error("the daemon serves {0} clients already")]
    TooManyClients(u64),
    /// The subscriber did not read what it was sent.
    #[error("the daemon dropped us, because we read too slowly")]
    TooSlow,
    /// Not a Varlink call.
    #[error("not a Varlink call: {0}")]
    BadRequest(String),
    /// org.varlink.service: no such interface.
    #[error("the daemon has no interface {0}")]
    InterfaceNotFound(String),
    /// org.varlink.service: no such method.
    #[error("the daemon has no method {0}")]
    MethodNotFound(String),
    /// org.varlink.service: known and not there.
    #[error("the daemon does not implement {0}")]
    MethodNotImplemented(String),
    /// org.varlink.service: this parameter is missing, unknown or wrong.
    #[error("the parameter `{0}` is missing, unknown or wrong")]
    InvalidParameter(String),
    /// org.varlink.service: the answer does not fit one reply.
    #[error("the answer takes more than one reply; call with `more`")]
    ExpectedMore,
    /// From a server that knows more errors than we do.
    #[error("the daemon answered {name} {parameters}")]
    Other {
        /// Qualified name.
        name: String,
        /// Its details, as JSON.
        parameters: Value,
    },
}

impl ApiError {
    /// Qualified name on the wire.
    pub fn name(&self) -> String {
        use ApiError::*;
        let (interface, name) = match self {
            NotFound(_) => (INTERFACE, "NotFound"),
            Refused(_) => (INTERFACE, "Refused"),
            Failed(_) => (INTERFACE, "Failed"),
            PermissionDenied(_) => (INTERFACE, "PermissionDenied"),
            TooManyClients(_) => (INTERFACE, "TooManyClients"),
            TooSlow => (INTERFACE, "TooSlow"),
            BadRequest(_) => (INTERFACE, "BadRequest"),
            InterfaceNotFound(_) => (SERVICE, "InterfaceNotFound"),
            MethodNotFound(_) => (SERVICE, "MethodNotFound"),
            MethodNotImplemented(_) => (SERVICE, "MethodNotImplemented"),
            InvalidParameter(_) => (SERVICE, "InvalidParameter"),
            ExpectedMore => (SERVICE, "ExpectedMore"),
            Other { name, .. } => return name.clone(),
        };
        format!("{interface}.{name}")
    }

    /// Details on the wire.
    pub fn parameters(&self) -> Value {
        use ApiError::*;
        match self {
            NotFound(id) => json!({ "id": id }),
            Refused(reason) | Failed(reason) | PermissionDenied(reason) | BadRequest(reason) => {
                json!({ "reason": reason })
            }
            TooManyClients(max) => json!({ "max": max }),
            InterfaceNotFound(interface) => json!({ "interface": interface }),
            MethodNotFound(method) | MethodNotImplemented(method) => json!({ "method": method }),
            InvalidParameter(parameter) => json!({ "parameter": parameter }),
            TooSlow | ExpectedMore => json!({}),
            Other { parameters, .. } => parameters.clone(),
        }
    }

    /// The error of this name and these details.
    pub fn from_wire(name: &str, parameters: Value) -> ApiError {
        let text = |key| parameters.get(key).and_then(Value::as_str).unwrap_or("?").to_owned();
        let own = name.strip_prefix(INTERFACE).and_then(|n| n.strip_prefix('.'));
        let service = name.strip_prefix(SERVICE).and_then(|n| n.strip_prefix('.'));
        match (own, service) {
            (Some("NotFound"), _) => ApiError::NotFound(text("id")),
            (Some("Refused"), _) => ApiError::Refused(text("reason")),
            (Some("Failed"), _) => ApiError::Failed(text("reason")),
            (Some("PermissionDenied"), _) => ApiError::PermissionDenied(text("reason")),
            (Some("BadRequest"), _) => ApiError::BadRequest(text("reason")),
            (Some("TooManyClients"), _) => {
                let max = parameters.get("max").and_then(Value::as_u64);
                ApiError::TooManyClients(max.unwrap_or_default())
            }
            (Some("TooSlow"), _) => ApiError::TooSlow,
            (_, Some("InterfaceNotFound")) => ApiError::InterfaceNotFound(text("interface")),
            (_, Some("MethodNotFound")) => ApiError::MethodNotFound(text("method")),
            (_, Some("MethodNotImplemented")) => ApiError::MethodNotImplemented(text("method")),
            (_, Some("InvalidParameter")) => ApiError::InvalidParameter(text("parameter")),
            (_, Some("ExpectedMore")) => ApiError::ExpectedMore,
            _ => ApiError::Other { name: name.to_owned(), parameters },
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::api::wire::{DESCRIPTION, SERVICE_DESCRIPTION};
    use std::collections::BTreeSet;
    use varlink_parser::IDL;

    fn all() -> Vec<ApiError> {
        let word = || "word".to_owned();
        vec![
            ApiError::NotFound(word()),
            ApiError::Refused(word()),
            ApiError::Failed(word()),
            ApiError::PermissionDenied(word()),
            ApiError::TooManyClients(64),
            ApiError::TooSlow,
            ApiError::BadRequest(word()),
            ApiError::InterfaceNotFound(word()),
            ApiError::MethodNotFound(word()),
            ApiError::MethodNotImplemented(word()),
            ApiError::InvalidParameter(word()),
            ApiError::ExpectedMore,
            ApiError::Other { name: "io.bulkhead.New".to_owned(), parameters: json!({ "a": 1 }) },
        ]
    }

    #[test]
    fn every_error_survives_the_wire() {
        for error in all() {
            assert_eq!(ApiError::from_wire(&error.name(), error.parameters()), error);
        }
    }

    #[test]
    fn an_error_without_its_details_is_still_that_error() {
        let error = ApiError::from_wire("io.bulkhead.Refused", Value::Null);
        assert_eq!(error, ApiError::Refused("?".to_owned()));
    }

    #[test]
    fn the_interfaces_define_every_error_and_no_other() {
        let mut defined = BTreeSet::new();
        for text in [DESCRIPTION, SERVICE_DESCRIPTION] {
            let interface = IDL::try_from(text).unwrap();
            for (name, error) in &interface.errors {
                let details: BTreeSet<_> = error.parm.elts.iter().map(|e| e.name.into()).collect();
                defined.insert((format!("{}.{name}", interface.name), details));
            }
        }
        let known = all()
            .into_iter()
            .filter(|error| !matches!(error, ApiError::Other { .. }))
            .map(|error| {
                let details: BTreeSet<String> =
                    error.parameters().as_object().unwrap().keys().cloned().collect();
                (error.name(), details)
            })
            .collect();
        assert_eq!(defined, known);
    }
}
