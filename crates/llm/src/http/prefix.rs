//! The digest of everything before an answer: model, system text, tools and earlier messages. Called by `messages`,
//! by `chat` for OpenRouter, and by `responses` for the key of the provider's cache.
//!
//! Anthropic's newer models bind the signature of a thought to this prefix, and reject a thought after another prefix
//! with status 400, together with all later thoughts. The prefix changes when a summary replaces old messages, and when
//! another launch has another system text or other tools. Each answer stores the digest of its prefix, so that the next
//! request drops thoughts with another prefix. A digest covers the blocks as they are sent: once a thought is dropped,
//! later thoughts do not match either. Cache marks are not part of the digest.
//!
//! Source: platform.claude.com/docs/en/build-with-claude/preserved-thinking, read in November 2026.

use agent_team_protocol::text::hex;
use serde_json::Value;
use sha2::{Digest, Sha256};

#[derive(Debug)]
pub(super) struct Prefix(Sha256);

impl Prefix {
    /// The prefix before all messages. `fixed` contains the model, the system text and the tools.
    pub(super) fn new(fixed: &Value) -> Self {
        let mut prefix = Self(Sha256::new());
        prefix.update("", fixed);
        prefix
    }

    /// Adds blocks of a message with this role.
    pub(super) fn extend(&mut self, role: &str, blocks: &[Value]) {
        for block in blocks {
            self.update(role, block);
        }
    }

    pub(super) fn digest(&self) -> String {
        hex(&self.0.clone().finalize()[..16])
    }

    /// Adds a value with its length: the lengths keep two different sequences of blocks from having the same bytes.
    fn update(&mut self, role: &str, value: &Value) {
        let json = value.to_string();
        self.0.update(format!("{role} {}\n", json.len()));
        self.0.update(json);
    }
}
