//! Teams inside a program: what a caller does with them, with models and engines of its own.

mod engines;
mod runs;
mod scripted;
mod sessions;
mod streams;
