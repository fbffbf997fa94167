//! The embedding API with custom models and engines.

mod crash;
mod decisions;
mod ending;
mod engines;
mod examples;
mod goals;
mod own_loops;
mod own_tools;
mod rounds;
mod runs;
mod scripted;
mod sessions;
mod settings;
mod streams;
