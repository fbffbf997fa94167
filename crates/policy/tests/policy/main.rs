//! Tests of the shell parser and of the judge of calls.

mod context;
mod corpus;
mod judging;
mod oracle;
mod protected;
mod reading;
mod rules;
mod shell_lines;
