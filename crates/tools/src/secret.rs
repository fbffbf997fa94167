//! Redacts the user's secrets, which tools receive as environment variables, in the output of programs and tools,
//! before it reaches a model, a pane, a log or the supervisor.
//!
//! Recognizes the value of a secret, each of its lines of at least [`SECRET_MIN`] bytes, and their encodings in JSON,
//! URLs and base64, even if consecutive pieces of output split them. Other transformations (reversed, hashed,
//! encrypted, hexadecimal) are not recognized, nor are values that were truncated before redaction.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use agent_team_protocol::method::SECRET_MIN;
use aho_corasick::{AhoCorasick, MatchKind};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};

/// The minimum number of base64 characters to search for; fewer characters would match unrelated text.
const BASE64_MIN: usize = 8;

/// The secrets to redact. Cheap to clone.
#[derive(Clone, Default)]
pub struct Secrets(Option<Arc<SecretForms>>);

struct SecretForms {
    finder: AhoCorasick,
    /// The byte strings to search for.
    forms: Vec<Vec<u8>>,
    /// The replacement for each of the forms.
    marks: Vec<String>,
}

/// Shows no values.
impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let forms = self.0.as_ref().map_or(0, |known| known.forms.len());
        write!(f, "Secrets({forms} forms)")
    }
}

impl Secrets {
    /// Creates the redaction of these values, by name. Values shorter than [`SECRET_MIN`] are not redacted.
    pub fn new(values: &BTreeMap<String, String>) -> Self {
        let (mut forms, mut marks) = (Vec::new(), Vec::new());
        for (name, value) in values {
            for form in forms_of(value) {
                forms.push(form);
                marks.push(format!("[secret {name}]"));
            }
        }
        if forms.is_empty() {
            return Self(None);
        }
        let finder = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(&forms);
        Self(Some(Arc::new(SecretForms {
            finder: finder.expect("the secrets of one user fit into an automaton"),
            forms,
            marks,
        })))
    }

    /// Replaces each secret in the text by its name.
    pub fn redact<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.0 {
            Some(known) if known.finder.is_match(text) => {
                known.finder.replace_all(text, &known.marks).into()
            }
            Some(_) | None => text.into(),
        }
    }

    /// Returns the redaction of one output that arrives in pieces.
    pub fn stream(&self) -> RedactedStream {
        RedactedStream {
            known: self.0.clone(),
            held: Vec::new(),
        }
    }
}

/// Redacts secrets in a stream. Holds back bytes that may be the beginning of a secret.
pub struct RedactedStream {
    known: Option<Arc<SecretForms>>,
    held: Vec<u8>,
}

impl fmt::Debug for RedactedStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RedactedStream({} bytes held back)", self.held.len())
    }
}

impl RedactedStream {
    /// Adds a piece of the stream. Returns the bytes that can be shown now.
    pub fn bytes(&mut self, piece: &[u8]) -> Vec<u8> {
        let Some(known) = &self.known else {
            return piece.to_vec();
        };
        self.held.extend_from_slice(piece);
        let (mut shown, mut done) = (Vec::new(), 0);
        loop {
            let rest = &self.held[done..];
            let unclear = known.begins_at(rest);
            let found = known.finder.find(rest);
            match found.filter(|found| found.start() < unclear) {
                Some(found) => {
                    shown.extend_from_slice(&rest[..found.start()]);
                    shown.extend_from_slice(known.marks[found.pattern()].as_bytes());
                    done += found.end();
                }
                None => {
                    shown.extend_from_slice(&rest[..unclear]);
                    done += unclear;
                    break;
                }
            }
        }
        self.held.drain(..done);
        shown
    }

    /// Like `bytes`, for text. Never splits a character, since every form of a secret consists of whole characters.
    pub fn text(&mut self, piece: &str) -> String {
        String::from_utf8_lossy(&self.bytes(piece.as_bytes())).into_owned()
    }

    /// Ends the stream. Returns the held-back bytes, redacted.
    pub fn rest(&mut self) -> Vec<u8> {
        let held = std::mem::take(&mut self.held);
        match &self.known {
            Some(known) => known.finder.replace_all_bytes(&held, &known.marks),
            None => held,
        }
    }

    /// Like `rest`, for text.
    pub fn rest_of_text(&mut self) -> String {
        String::from_utf8_lossy(&self.rest()).into_owned()
    }
}

impl SecretForms {
    /// Returns the first offset at which the rest of the text is the beginning of a secret that more bytes could
    /// complete; otherwise the text's length.
    fn begins_at(&self, text: &[u8]) -> usize {
        let longest = self.forms.iter().map(Vec::len).max().unwrap_or(0);
        let from = text.len().saturating_sub(longest);
        let could_be = |at: &usize| {
            let rest = &text[*at..];
            let continues = |form: &Vec<u8>| form.len() > rest.len() && form.starts_with(rest);
            self.forms.iter().any(continues)
        };
        (from..text.len()).find(could_be).unwrap_or(text.len())
    }
}

/// The forms in which a value may be printed.
fn forms_of(value: &str) -> Vec<Vec<u8>> {
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for text in std::iter::once(value).chain(value.lines()) {
        // Surrounding whitespace, such as a final newline of a file, is not part of the secret.
        let text = text.trim();
        if text.len() < SECRET_MIN {
            continue;
        }
        let json = serde_json::Value::from(text).to_string();
        forms.push(text.into());
        forms.push(text.replace('\n', "\r\n").into());
        forms.push(json[1..json.len() - 1].into());
        for upper in [true, false] {
            forms.push(percent(text, upper, "%20").into());
            forms.push(percent(text, upper, "+").into());
        }
        forms.extend(base64_of(text.as_bytes()));
    }
    forms.sort();
    forms.dedup();
    forms
}

fn percent(text: &str, upper: bool, space: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(byte.into());
            }
            b' ' => encoded.push_str(space),
            byte if upper => encoded.push_str(&format!("%{byte:02X}")),
            byte => encoded.push_str(&format!("%{byte:02x}")),
        }
    }
    encoded
}

/// The base64 characters that depend only on these bytes, for each alignment within a longer text.
fn base64_of(bytes: &[u8]) -> Vec<Vec<u8>> {
    let mut forms = Vec::new();
    for before in 0..3 {
        let padded = [&[0_u8; 3][..before], bytes].concat();
        // Three bytes become four characters. A character at either end may also depend on an adjacent byte.
        let first = (before * 8).div_ceil(6);
        let end = padded.len() * 8 / 6;
        if end.saturating_sub(first) < BASE64_MIN {
            continue;
        }
        for encoded in [
            STANDARD_NO_PAD.encode(&padded),
            URL_SAFE_NO_PAD.encode(&padded),
        ] {
            forms.push(encoded.as_bytes()[first..end].to_vec());
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secrets(values: &[(&str, &str)]) -> Secrets {
        let values = values
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Secrets::new(&values.collect())
    }

    #[test]
    fn a_split_value_is_redacted() {
        let secrets = secrets(&[
            ("TOKEN", "s3cr3t-välue"),
            ("LONGER", "s3cr3t-välue-and-more"),
        ]);
        let text = "a s3cr3t-välue, s3cr3t-välue-and-more, s3cr3t-välue-and-less s3cr";
        let hidden = "a [secret TOKEN], [secret LONGER], [secret TOKEN]-and-less s3cr";
        assert_eq!(secrets.redact(text), hidden);
        for piece in 1..text.len() {
            let mut stream = secrets.stream();
            let mut shown = Vec::new();
            for piece in text.as_bytes().chunks(piece) {
                shown.extend(stream.bytes(piece));
            }
            shown.extend(stream.rest());
            assert_eq!(
                String::from_utf8(shown).unwrap(),
                hidden,
                "pieces of {piece}"
            );
        }
    }

    #[test]
    fn only_possible_secrets_are_held_back() {
        let mut stream = secrets(&[("TOKEN", "s3cr3t")]).stream();
        assert_eq!(stream.text("Password: "), "Password: ");
        assert_eq!(stream.text("s3"), "");
        assert_eq!(stream.text("x"), "s3x");
        assert_eq!(stream.text("s3cr3"), "");
        assert_eq!(stream.rest_of_text(), "s3cr3");
    }

    #[test]
    fn json_url_and_base64_forms_are_redacted() {
        let value = "pa ss\"w/rd+1";
        let secrets = secrets(&[("TOKEN", value)]);
        let mut texts = vec![
            serde_json::json!({ "a": value }).to_string(),
            "?q=pa%20ss%22w%2Frd%2B1&x".to_owned(),
            "?q=pa+ss%22w%2frd%2b1&x".to_owned(),
        ];
        for beside in ["", "x", "xy", "user:"] {
            for engine in [STANDARD_NO_PAD, URL_SAFE_NO_PAD] {
                texts.push(engine.encode(format!("{beside}{value}{beside}")));
            }
        }
        for text in texts {
            let hidden = secrets.redact(&text);
            assert!(hidden.contains("[secret TOKEN]"), "{text} became {hidden}");
        }
    }

    #[test]
    fn each_line_that_is_not_too_short_is_redacted() {
        let secrets = secrets(&[("KEY", "-----BEGIN-----\nMIIabcdef\nab\n-----END KEY-----\n")]);
        let shown = secrets.redact("  1\t-----BEGIN-----\n  2\tMIIabcdef\n  3\tab\n");
        assert_eq!(shown, "  1\t[secret KEY]\n  2\t[secret KEY]\n  3\tab\n");
        let whole = "<-----BEGIN-----\r\nMIIabcdef\r\nab\r\n-----END KEY----->";
        assert_eq!(secrets.redact(whole), "<[secret KEY]>");
    }

    #[test]
    fn without_secrets_text_is_unchanged() {
        let secrets = Secrets::default();
        assert_eq!(secrets.redact("text"), "text");
        assert_eq!(secrets.stream().bytes(b"te\xff"), b"te\xff");
    }
}
