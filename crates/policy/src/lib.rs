//! Permission rules as pure functions: no I/O, no clock, no async. The supervisor judges calls with them. The tools and
//! the command line use the paths and the protected list. The crate `team-file` checks rules and digests scripts.
//!
//! A [`ToolCall`] is a call for which a member requests permission. A [`RuleBook`] contains the rules of all sources.
//! [`RuleBook::judge`] returns a [`Judgement`]. For every command, file and host in the call, it contains the rule that
//! decided, with the source of the rule. Deny is evaluated before ask, and ask before allow; a more specific rule has
//! no precedence. If programs could read a text in several ways, a deny or ask rule applies if it matches one of these
//! readings. An allow rule applies only if it matches all of them.
//!
//! Where to look:
//! - the syntax of rules and its errors: [`rule`]; paths in rules: [`glob`]
//! - the shell text that is understood: [`shell`]; programs that run other programs: [`program`]; commands that only
//!   read: [`reading`]
//! - the evaluation order and the effect of each mode: [`judge`]; the actions of each tool: [`call`]
//! - the digests to which decisions are bound: [`digest`]; the rules offered to the user: [`offer`]

mod call;
mod decision;
mod digest;
mod domain;
mod glob;
mod judge;
mod offer;
mod path;
mod pattern;
mod program;
pub mod protected;
mod reading;
mod rule;
mod rule_book;
pub mod shell;
mod warning;
mod words;

pub use agent_team_protocol::permissions::Mode;
pub use agent_team_protocol::request::Containment;
pub use call::{Action, ToolCall};
pub use decision::{Judgement, Part, PartAction, Reason, Ruling, quoted};
pub use digest::{Digest, canonical};
pub use domain::call_line;
pub use offer::{Offer, offers};
pub use path::{CallPath, CallPaths, RuleContext};
pub use reading::reading_commands;
pub use rule::{Rule, RuleError};
pub use rule_book::{RuleBook, RuleKind, Source};
pub use warning::warnings;
