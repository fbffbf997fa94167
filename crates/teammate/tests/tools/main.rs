//! The tools of the domain by what they do, with real files, real processes, real git and a real socket.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod arguments;
mod bash;
mod bench;
mod changes;
mod confined;
mod fetching;
mod git;
mod limits;
mod protected;
mod reading;
mod searching;
mod todo;
