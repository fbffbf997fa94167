//! The rules of a team, one by one: each test is a sentence of the contract and an example of it.

mod board;
mod budgets;
mod claims;
mod completing;
mod ending;
mod locks;
mod messages;
#[path = "../plans/mod.rs"]
mod plans;
mod requests;
mod restarts;
mod rig;
mod rounds;
mod rounds_go_on;
mod runs;
mod shutdown;
mod up;
