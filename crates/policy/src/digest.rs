//! The canonical form of a call and its digest. A decision is bound to the digest, so that only the call that was shown
//! can run.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::call::ToolCall;

/// SHA-256, mostly of a call's canonical form. It prints as 64 hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

impl Digest {
    pub fn of(call: &ToolCall) -> Digest {
        Self::of_bytes(canonical(call).as_bytes())
    }

    /// The digest of any other bytes to which a decision is bound.
    pub fn of_bytes(bytes: &[u8]) -> Digest {
        Digest(Sha256::digest(bytes).into())
    }
}

/// Formats a call as one JSON document: the tool, its arguments, whether a sandbox confines the call, the directory and
/// the changes to the environment, with sorted keys in every object. A decision about an exact call applies to each
/// call with the same document. The resolved paths of the arguments, and the guarantees of the sandbox, are not part of
/// the document.
pub fn canonical(call: &ToolCall) -> String {
    let mut text = String::from("{\"arguments\":");
    write(&mut text, &call.arguments);
    text.push_str(if call.confined {
        ",\"confined\":true"
    } else {
        ",\"confined\":false"
    });
    text.push_str(",\"directory\":");
    let directory = call.directory.resolved.as_os_str().as_encoded_bytes();
    match std::str::from_utf8(directory) {
        Ok(directory) => write_string(&mut text, directory),
        // Write bytes that are not UTF-8 as an array, so that they cannot equal a text.
        Err(_) => {
            let bytes = directory.iter().map(|byte| Value::from(*byte)).collect();
            write(&mut text, &Value::Array(bytes));
        }
    }
    text.push_str(",\"environment\":{");
    for (index, (name, value)) in call.environment.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        write_string(&mut text, name);
        text.push(':');
        write_string(&mut text, value);
    }
    text.push_str("},\"tool\":");
    write_string(&mut text, &call.tool);
    text.push('}');
    text
}

fn write(text: &mut String, value: &Value) {
    match value {
        Value::Object(object) => {
            // Sort explicitly: another crate can enable serde_json's `preserve_order` feature, which leaves the map
            // unordered.
            let mut keys: Vec<&String> = object.keys().collect();
            keys.sort_unstable();
            text.push('{');
            for (index, key) in keys.into_iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write_string(text, key);
                text.push(':');
                write(text, &object[key]);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    text.push(',');
                }
                write(text, item);
            }
            text.push(']');
        }
        Value::String(string) => write_string(text, string),
        Value::Null | Value::Bool(_) | Value::Number(_) => text.push_str(&value.to_string()),
    }
}

fn write_string(text: &mut String, string: &str) {
    text.push_str(&Value::from(string).to_string());
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// The text is not a digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a digest is 64 hexadecimal digits")]
pub struct NoDigest;

impl FromStr for Digest {
    type Err = NoDigest;

    fn from_str(text: &str) -> Result<Self, NoDigest> {
        let digits = text.as_bytes();
        if digits.len() != 64
            || !digits
                .iter()
                .all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
        {
            return Err(NoDigest);
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| NoDigest)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| NoDigest)?;
        }
        Ok(Digest(bytes))
    }
}
