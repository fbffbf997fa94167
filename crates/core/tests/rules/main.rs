//! The rules of a team: each test states one rule of the design and checks an example of it.

mod board;
mod budgets;
mod claims;
mod completing;
mod ending;
mod locks;
mod messages;
mod modes;
mod requests;
mod restarts;
mod rig;
mod rounds;
mod rounds_progress;
mod runs;
mod shutdown;
mod specs;
mod up;
