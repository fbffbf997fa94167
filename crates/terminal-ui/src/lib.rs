//! What a person sees of a member that thinks, and what they type to it, as a pure machine. Used by the member's own
//! pane, and by whoever shows members in another terminal.
//!
//! ```text
//!   what the member says and does ─┐              ┌─► bytes for the terminal
//!   keys ──────────────────────────┼─► TranscriptView ──────┤
//!   a request that waits ──────────┘              └─► what the person wants done
//! ```
//! A reader who looks for …
//! - what is shown where, and what keys do: `transcript_view`
//! - how text gets into the terminal's own scrollback: `canvas`
//! - Markdown, code: `markdown`, `code`
//! - the text that is typed: `editor`; what begins with a slash: `slash`
//! - calls of tools as lines: [`call`]; bytes into keys: [`keys`]; what cannot harm a terminal: [`line`]
//!
//! It reads no terminal, no clock and no file.

pub mod call;
mod canvas;
mod code;
mod editor;
pub mod keys;
pub mod line;
mod markdown;
mod slash;
mod transcript_view;

pub use transcript_view::{Act, Tone, TranscriptView, Words};
