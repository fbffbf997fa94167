//! Randomness from the operating system, for tokens, ids, names and jitter.
//!
//! Tests that need repeatable choices use a generator with a seed instead.

/// Random bytes.
///
/// # Panics
/// If the operating system has no randomness, which is possible only while it boots.
pub fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the system has randomness after boot");
    bytes
}

/// 128 random bits as 32 hexadecimal digits, used as a client's id and as the key of a call.
pub fn id() -> String {
    format!("{:032x}", u128::from_ne_bytes(bytes()))
}

/// A number in 0..1.
pub fn fraction() -> f64 {
    f64::from(u32::from_ne_bytes(bytes())) / (f64::from(u32::MAX) + 1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn random_ids_differ_and_have_32_digits() {
        let (one, other) = (id(), id());
        assert_ne!(one, other);
        assert_eq!((one.len(), other.len()), (32, 32));
    }

    #[test]
    fn random_fractions_are_below_1() {
        let fractions: Vec<f64> = (0..100).map(|_| fraction()).collect();
        assert!(
            fractions.iter().all(|f| (0.0..1.0).contains(f)),
            "{fractions:?}"
        );
        assert!(
            fractions.iter().any(|f| *f != fractions[0]),
            "{fractions:?}"
        );
    }
}
