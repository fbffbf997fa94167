//! Tests of the built-in tools, with real files, processes, git repositories and sockets.

#![expect(clippy::unwrap_used, reason = "in a test a panic is the report")]

mod arguments;
mod bash;
mod changes;
mod confined;
mod context;
mod fetching;
mod git;
mod limits;
mod notes;
mod patching;
mod protected;
mod reading;
mod searching;
mod skills;
mod todo;
