//! Permission rules as pure functions: no I/O, no clock, no async. Called by the supervisor, which decides, and by
//! `rules check`, which explains.
//!
//! A [`Call`] is what a member wants to do. A [`RuleBook`] holds the rules of all sources. [`RuleBook::judge`] answers
//! with a [`Decision`], a value that says for every command, file and host in the call which rule of which source
//! decided. Deny comes before ask and ask before allow, and how specific a rule is never matters. Rules that forbid
//! reach as far as they can be read to reach, rules that allow no further than they say.
//!
//! A reader who looks for …
//! - what rules look like, and what is wrong with one: [`rule`]; paths in them: [`glob`]
//! - which text of a shell is understood at all: [`shell`]; which programs run others: [`program`]
//! - the order of judgement and what each mode does: [`judge`]; what is asked in which tool: [`call`]
//! - what a decision binds to: [`digest`]; what a person is offered beside "this once": [`offer`]

mod book;
mod call;
mod decision;
mod digest;
mod domain;
mod glob;
mod judge;
mod mode;
mod offer;
mod place;
mod program;
pub mod protected;
mod rule;
pub mod shell;
mod words;

pub use book::{Effect, RuleBook, Source};
pub use call::{Action, Call};
pub use decision::{Decision, Part, Ruling, Runnable, What, Why};
pub use digest::{Digest, canonical};
pub use domain::ascii_host;
pub use mode::Mode;
pub use offer::{Offer, offers};
pub use place::{Ground, Place, Places};
pub use rule::{Rule, RuleError};
