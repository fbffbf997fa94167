//! The shell parser and the judge of calls.

mod context;
mod corpus;
mod judging;
mod oracle;
mod protected;
mod reading;
mod rules;
mod shell_lines;
