//! One team as a pure state machine: inputs in, events and effects out.
//!
//! [`Team::step`] decides and applies; [`Team::apply`] alone replays a journal. The core reads no clock, draws no
//! random
//! number, does no I/O and never waits: time and randomness arrive in a [`Context`], and actions outside leave as
//! [`Effect`]s, which the driver runs only after it has stored the step's events.
//!
//! Start reading at [`member`] and [`task`] for the two state machines, then [`decide`](Team::step).

mod answers;
pub mod budget;
mod decide;
pub mod effect;
pub mod event;
mod globs;
pub mod input;
pub mod lock;
pub mod mail;
pub mod member;
pub mod plan;
pub mod refusal;
pub mod request;
pub mod restarts;
pub mod round;
pub mod run;
mod snapshot;
pub mod task;
mod team;
pub mod time;
pub mod user_mail;

pub use answers::{Answer, AnsweredCall, CallKey, Caller, Change, ChangeKind, Changed};
pub use effect::Effect;
pub use event::{Event, Record};
pub use input::{Call, Input, Origin, ReplyTo};
pub use refusal::Refused;
pub use team::{CompletedTask, Step, Team, TranscriptItems};
pub use time::{Context, Tick};
