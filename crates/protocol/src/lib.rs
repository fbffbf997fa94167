//! Everything that crosses the supervisor's socket, as bare data.
//!
//! This crate is the only definition of the frames that clients, members and the supervisor exchange. It does no I/O:
//! [`codec`] converts between bytes and frames. Most other modules are types with a JSON form; [`attention`],
//! [`command_line`], [`hook`], [`status`], [`style`], [`template`] and [`text`] are functions on such data that several
//! programs share. JSON field names are a public interface: fields are added, never renamed.

pub mod attention;
pub mod codec;
pub mod command_line;
pub mod document;
pub mod engine;
pub mod envelope;
pub mod error;
pub mod event;
pub mod exit;
pub mod external;
pub mod goal;
pub mod hook;
pub mod host;
pub mod id;
pub mod initialize;
pub mod joined;
pub mod launch;
pub mod method;
pub mod note;
pub mod notification;
pub mod permissions;
pub mod placement;
pub mod request;
pub mod result;
pub mod rpc;
pub mod rule;
#[cfg(test)]
mod schema;
pub mod spec;
pub mod status;
pub mod style;
pub mod template;
pub mod text;
pub mod value;
pub mod view;

pub use error::{ErrorCode, Refusal, with_causes};
pub use id::{
    Generation, LaunchId, MemberName, MessageId, Party, Recipient, RequestId, Revision, RoleName,
    RunId, TaskId, TeamId, TeamName,
};
