//! Short lists that are kept whole over restarts, under a cursor's name, as JSON.

use super::memory::Memory;
use serde::de::DeserializeOwned;
use serde::Serialize;

/// The list that an earlier daemon saved; an empty one where there is none, or
/// it cannot be read.
pub(super) fn load<T: DeserializeOwned>(json: Option<&String>) -> Vec<T> {
    json.and_then(|json| serde_json::from_str(json).ok()).unwrap_or_default()
}

/// Forgets all of `list` but the last `most`, and has the rest saved under `key`.
pub(super) fn save<T: Serialize>(list: &mut Vec<T>, most: usize, key: String, books: &mut Memory) {
    list.drain(..list.len().saturating_sub(most));
    match serde_json::to_string(list) {
        Ok(json) => books.cursor(key, json),
        Err(error) => tracing::warn!("{key} is not saved: {error}"),
    }
}
