//! Language models behind one trait, independent of the provider. Called by the native engine and by embedding
//! programs.
//!
//! ```text
//!  choose ─► open ─► RetryingModel ─► HttpModel ─► POST ─► the provider
//!              └───► Replay (a recording instead)
//! ```
//! Where to look:
//! - images and PDFs in results: `media`
//! - the trait, prompts, answers and errors: `model`; tokens and cost: `usage`
//! - model names, and the table of providers: the crate `providers`
//! - keys, base URLs, proxies: `open`, `key`, `http_client`; the default model: `choose`
//! - window sizes and prices: `catalogue`; the windows of local servers: `window`
//! - the three HTTP APIs: `http`
//! - models around other models: `layer`; retries: `retry`; a list of models: `fallback`; recording and replay:
//!   `recording`
//!
//! This crate contains no team, no agent loop and no tool: a [`ToolSpec`] only describes a tool to the model.

pub mod catalogue;
pub mod choose;
pub mod fallback;
mod http;
pub mod http_client;
mod key;
mod layer;
mod media;
mod model;
pub mod open;
pub mod recording;
pub mod retry;
mod usage;
mod window;

pub use http::sse;
pub use media::{Media, MediaKind, MediaSupport};
pub use model::{
    Answer, Answering, Delta, Item, Model, ModelError, Prompt, SearchSupport, Stop, Thought,
    ToolCall, ToolResult, ToolSpec, Verbatim,
};
pub use usage::{Price, Rates, Tier, Usage};
