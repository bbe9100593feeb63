//! The parsers of this module, as `fuzz/` calls them.

use super::request::Request;
use super::wire::Call;

/// A client's message.
pub fn message(message: &[u8]) {
    if let Ok(call) = serde_json::from_slice::<Call>(message) {
        if let Ok(request) = Request::parse(&call.method, call.parameters) {
            let (method, parameters) = request.to_call();
            assert_eq!(Request::parse(&method, Some(parameters)), Ok(request));
        }
    }
}
