//! The embedding API with custom models and engines.

mod engines;
mod runs;
mod scripted;
mod sessions;
mod streams;
