//! How a command ends when it does not end well.

use super::output::one_line;
use crate::api::{ApiError, ClientError};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// Each with one line that says what, and what to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Exit {
    /// 1: it did not work.
    Failed(String),
    /// 2: it was called wrongly.
    Usage(String),
    /// 3: the daemon is not reachable.
    Unreachable(String),
    /// 4: policy or permission forbids it.
    Refused(String),
    /// Nobody reads our output any more: not our failure.
    ClosedPipe,
}

impl Exit {
    fn code(&self) -> u8 {
        match self {
            Exit::ClosedPipe => 0,
            Exit::Failed(_) => 1,
            Exit::Usage(_) => 2,
            Exit::Unreachable(_) => 3,
            Exit::Refused(_) => 4,
        }
    }

    /// The line for stderr.
    pub(super) fn message(&self) -> Option<&str> {
        match self {
            Exit::Failed(m) | Exit::Usage(m) | Exit::Unreachable(m) | Exit::Refused(m) => Some(m),
            Exit::ClosedPipe => None,
        }
    }

    /// Says it on stderr; the exit code.
    pub(super) fn report(self) -> ExitCode {
        if let Some(message) = self.message() {
            // With stderr gone as well there is nobody left to tell.
            let _ = writeln!(io::stderr(), "bulkhead: {}", one_line(message));
        }
        ExitCode::from(self.code())
    }
}

impl From<ClientError> for Exit {
    fn from(error: ClientError) -> Exit {
        match &error {
            ClientError::Unreachable { .. } => Exit::Unreachable(format!(
                "{error}; start it with `systemctl start bulkhead`, or name its socket with \
                 --socket"
            )),
            ClientError::Forbidden(_) => Exit::Refused(format!(
                "{error}; run this as root, or as a member of the group bulkhead"
            )),
            ClientError::Lost { .. } | ClientError::Io { .. } => {
                Exit::Failed(format!("{error}; see `journalctl -u bulkhead`, and try again"))
            }
            ClientError::Protocol { .. } => {
                Exit::Failed(format!("{error}; see that bulkhead and bulkheadd are of one version"))
            }
            ClientError::Api(error) => Exit::from(error),
        }
    }
}

impl From<&ApiError> for Exit {
    fn from(error: &ApiError) -> Exit {
        match error {
            ApiError::Refused(_) => Exit::Refused(error.to_string()),
            ApiError::PermissionDenied(_) => Exit::Refused(format!("{error}; run this as root")),
            ApiError::NotFound(_) => Exit::Failed(format!(
                "{error}; `bulkhead faults` and `bulkhead list` show what there is"
            )),
            ApiError::TooManyClients(_) => {
                Exit::Failed(format!("{error}; try again when one has gone"))
            }
            ApiError::TooSlow => Exit::Failed(format!(
                "{error}; go on with `bulkhead events --since` and the time of the last event"
            )),
            ApiError::Failed(_) => Exit::Failed(format!("{error}; see `journalctl -u bulkhead`")),
            _ => {
                Exit::Failed(format!("{error}; see that bulkhead and bulkheadd are of one version"))
            }
        }
    }
}

/// For writing to stdout.
impl From<io::Error> for Exit {
    fn from(error: io::Error) -> Exit {
        match error.kind() {
            ErrorKind::BrokenPipe => Exit::ClosedPipe,
            _ => Exit::Failed(format!("cannot write to stdout: {error}")),
        }
    }
}

impl From<serde_json::Error> for Exit {
    fn from(error: serde_json::Error) -> Exit {
        match error.io_error_kind() {
            Some(kind) => io::Error::from(kind).into(),
            None => Exit::Failed(format!("this cannot be said in JSON: {error}")),
        }
    }
}
