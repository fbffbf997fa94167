//! The tools of the domain by what they do, with real files, real processes, real git and a real socket.

mod arguments;
mod bash;
mod bench;
mod changes;
mod fetching;
mod git;
mod reading;
mod searching;
mod todo;
