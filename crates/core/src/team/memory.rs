//! The memory that all members of a team share: JSON values by key, and their limits.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Limits of the memory: bytes of a key, bytes of a value, and number of keys.
pub(crate) const KEY_MAX: usize = 256;
pub(crate) const VALUE_MAX: usize = 64 << 10;
pub(crate) const KEYS_MAX: usize = 256;

/// JSON values by key.
pub type Memory = BTreeMap<Arc<str>, Arc<str>>;

/// An output as stored in the team's memory: a JSON string, cut to the maximum length of a value.
pub(crate) fn stored_output(output: &str) -> Arc<str> {
    let mut max = output.len();
    loop {
        let kept = &output[..output.floor_char_boundary(max)];
        let json = serde_json::to_string(kept).expect("a string is valid in JSON");
        if json.len() <= VALUE_MAX {
            return json.into();
        }
        max = max / 8 * 7;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_are_cut_to_the_memory_limit() {
        assert_eq!(&*stored_output("a \"b\""), "\"a \\\"b\\\"\"");
        let long = stored_output(&"\u{1}".repeat(64 << 10));
        assert!(long.len() <= VALUE_MAX && long.len() > VALUE_MAX / 2);
    }
}
