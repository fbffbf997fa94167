//! One team as a pure state machine: inputs in, events and effects out.
//!
//! [`Team::advance`] decides on an input and applies the events; a replay of the journal only applies events, with
//! [`Team::apply`]. The core reads no clock, draws no random number, does no I/O and never waits. Time and randomness
//! arrive in an [`InputContext`]. Actions outside the core are returned as [`Effect`]s, which the driver runs after it
//! has stored the events; [`effect`] describes the exception.
//!
//! `team/` contains the state, the events, and how events change the state. `decide/` reads the state and returns
//! events and effects. Start reading at [`member`] and [`task`], the two main state machines.

mod decide;
pub mod effect;
mod globs;
pub mod input;
pub mod refusal;
mod team;
pub mod time;
mod timer;
mod transition;

pub use effect::Effect;
pub use input::{Call, Input, Origin, ReplyTo};
pub use refusal::Refused;
pub use team::answers::{Answer, AnsweredCall, CallKey, Caller, Change, ChangeKind, Changed};
pub use team::event::{Event, Record};
pub use team::{
    Team, budget, event, mail, member, memory, mode, plan_lock, request, restarts, round, run,
    spec, task, user_mail,
};
pub use time::{InputContext, Tick};
pub use timer::Timer;
pub use transition::{CompletedTask, TranscriptItems, Transition};
