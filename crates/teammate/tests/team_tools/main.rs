//! The team tools, as a model calls them, over a desk whose supervisor is played by the test.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod board;
mod offered;
mod prompt;
mod rig;
mod talking;
mod waiting;
