//! Varlink's wire format (<https://varlink.org/Protocol>).

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The interface's name.
pub const INTERFACE: &str = "io.bulkhead";

/// The interface definition.
pub const DESCRIPTION: &str = include_str!("io.bulkhead.varlink");

/// The interface that every Varlink service has.
pub const SERVICE: &str = "org.varlink.service";

/// Its definition, as <https://varlink.org/Service> has it, with the error
/// `ExpectedMore` that sd-varlink added.
pub const SERVICE_DESCRIPTION: &str = include_str!("org.varlink.service.varlink");

/// The longest call that is taken, in bytes without the NUL. The longest that
/// makes sense here is a hundredth of it.
pub const MAX_MESSAGE: usize = 1 << 20;

/// What a client sends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Call {
    /// Qualified name of the method.
    pub method: String,
    /// Its parameters, an object.
    #[serde(default)]
    pub parameters: Option<Value>,
    /// No reply is wanted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub oneway: bool,
    /// More than one reply is welcome.
    #[serde(default, skip_serializing_if = "is_false")]
    pub more: bool,
    /// Another protocol is to follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub upgrade: bool,
}

/// What the server answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Reply<T> {
    /// The answer, or the details of the error.
    pub parameters: Option<T>,
    /// More replies to the same call follow.
    #[serde(default, skip_serializing_if = "is_false")]
    pub continues: bool,
    /// Qualified name of the error.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
}

fn is_false(value: &bool) -> bool {
    !value
}

/// One message, with its NUL. JSON escapes control characters, so there is no
/// other.
pub fn encode<T: Serialize>(message: &T) -> serde_json::Result<Vec<u8>> {
    let mut bytes = serde_json::to_vec(message)?;
    bytes.push(0);
    Ok(bytes)
}
