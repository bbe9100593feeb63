//! 64-bit words as `"0x…"` in JSON: a JSON number holds 53 bits safely.

use serde::{de, Deserialize, Deserializer, Serializer};

/// Writes lower-case hexadecimal with `0x`.
pub fn serialize<S: Serializer>(value: &u64, s: S) -> Result<S::Ok, S::Error> {
    s.collect_str(&format_args!("{value:#x}"))
}

/// Reads what [`serialize`] writes.
pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<u64, D::Error> {
    let text = String::deserialize(d)?;
    parse(&text).ok_or_else(|| {
        de::Error::custom(format!("`{text}` is not a hexadecimal number such as \"0x1f\""))
    })
}

/// `0x…` of at most 16 digits.
pub fn parse(text: &str) -> Option<u64> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))?;
    if digits.starts_with('+') {
        return None;
    }
    u64::from_str_radix(digits, 16).ok()
}
