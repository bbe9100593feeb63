//! Byte buffers of records, as hexadecimal text in JSON.

use serde::{de, Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// Bytes as the kernel handed them out, not interpreted. In JSON two
/// lower-case hexadecimal digits a byte, nothing between them.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Bytes(pub Vec<u8>);

impl Bytes {
    /// How many.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// There are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The byte at `offset`; `None` beyond the end.
    pub fn u8_at(&self, offset: usize) -> Option<u8> {
        self.array_at(offset).map(u8::from_le_bytes)
    }

    /// The little-endian number at `offset`, aligned or not.
    pub fn u16_at(&self, offset: usize) -> Option<u16> {
        self.array_at(offset).map(u16::from_le_bytes)
    }

    /// Likewise.
    pub fn u32_at(&self, offset: usize) -> Option<u32> {
        self.array_at(offset).map(u32::from_le_bytes)
    }

    /// Likewise.
    pub fn u64_at(&self, offset: usize) -> Option<u64> {
        self.array_at(offset).map(u64::from_le_bytes)
    }

    fn array_at<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.0.get(offset..offset.checked_add(N)?)?.try_into().ok()
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Bytes({self})")
    }
}

impl Serialize for Bytes {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Bytes {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Bytes, D::Error> {
        let text = String::deserialize(d)?;
        let bytes = text.as_bytes().chunks(2).map(byte).collect::<Option<Vec<u8>>>();
        bytes.map(Bytes).ok_or_else(|| {
            de::Error::custom("a byte buffer is an even number of hexadecimal digits")
        })
    }
}

fn byte(digits: &[u8]) -> Option<u8> {
    let [high, low] = digits else { return None };
    let digit = |c: &u8| char::from(*c).to_digit(16);
    u8::try_from(digit(high)? << 4 | digit(low)?).ok()
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_buffer_is_written_as_hexadecimal_digits() {
        assert_eq!(serde_json::to_string(&Bytes(vec![0, 0x1f, 0xff])).unwrap(), r#""001fff""#);
        assert_eq!(serde_json::to_string(&Bytes::default()).unwrap(), r#""""#);
    }

    #[test]
    fn text_that_is_no_buffer_is_refused() {
        for bad in [r#""0""#, r#""0g""#, r#""+1""#, r#""0x00""#, r#""äö""#, "1"] {
            assert!(serde_json::from_str::<Bytes>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn numbers_are_little_endian_and_never_read_beyond_the_end() {
        let bytes = Bytes((1..=9).collect());
        assert_eq!((bytes.u8_at(8), bytes.u16_at(7)), (Some(9), Some(0x0908)));
        assert_eq!(bytes.u64_at(1), Some(0x0908_0706_0504_0302));
        assert_eq!(
            (bytes.u16_at(8), bytes.u32_at(6), bytes.u64_at(usize::MAX)),
            (None, None, None)
        );
    }

    proptest! {
        #[test]
        fn a_buffer_survives_being_written_and_read(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            let text = serde_json::to_string(&Bytes(bytes.clone())).unwrap();
            prop_assert_eq!(serde_json::from_str::<Bytes>(&text).unwrap().0, bytes);
        }
    }
}
