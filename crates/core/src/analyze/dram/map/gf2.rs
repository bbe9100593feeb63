//! Linear algebra over GF(2): vectors are words, addition is XOR.

/// Vectors none of which is a sum of others.
#[derive(Default)]
pub(super) struct Basis {
    /// One per highest bit, zero where there is none.
    by_top_bit: [u32; 32],
}

impl Basis {
    /// Adds a vector; false where it is a sum of those there already.
    pub fn extend(&mut self, mut vector: u32) -> bool {
        while let Some(top) = vector.checked_ilog2() {
            match self.by_top_bit.get_mut(top as usize) {
                Some(slot @ 0) => {
                    *slot = vector;
                    return true;
                }
                Some(slot) => vector ^= *slot,
                None => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_of_what_is_there_extends_nothing() {
        let mut basis = Basis::default();
        assert!(basis.extend(0b0110) && basis.extend(0b0011) && basis.extend(0b1000));
        assert!(!basis.extend(0b0101) && !basis.extend(0b1101) && !basis.extend(0));
        assert!(basis.extend(1 << 31));
    }
}
