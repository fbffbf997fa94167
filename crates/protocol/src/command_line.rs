//! Command lines of the user, as they appear in hints, notices and views. The protocol, the core and the supervisor
//! contain no other command lines, except in [`crate::request::waiting_line`] and in format strings of tmux. A test of
//! the crate `cli` parses each command line.

use std::fmt;

use crate::engine::LEAD_ENGINE;
use crate::id::{MemberName, RequestId, Revision, TaskId};

/// The refusal of a goal for a lead that is not an agent. Two programs check the lead: the command line before `up`, and
/// the supervisor at each goal.
pub const LEAD_NOT_AGENT: &str = "cannot give a goal: the lead is not an agent";

/// The hint of [`LEAD_NOT_AGENT`].
pub fn lead_not_agent_hint() -> String {
    format!(
        "in the team file, {LEAD_ENGINE}, then run {}",
        CommandLine::Up
    )
}

/// A command line. The user replaces `MEMBER`, `REQUEST`, `MORE` and `…` with values.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CommandLine<'a> {
    Up,
    UpInTmux,
    Down,
    DownForced,
    Ps,
    KillAny,
    Cancel,
    ShowGoal,
    SendLead,
    Send(&'a MemberName),
    Messages,
    Requests,
    ShowAnyRequest,
    ShowRequest(RequestId),
    DenyRequest(RequestId),
    ListRules,
    ListTasks,
    AddTask,
    ReleaseTask(TaskId),
    RetryTask(TaskId),
    Restart(&'a MemberName),
    StopForced(&'a MemberName),
    RemoveMember(&'a MemberName),
    RemoveForced(&'a MemberName),
    FollowLog(&'a MemberName),
    Attach(&'a MemberName),
    AttachAny,
    WatchAny,
    ReopenPanes,
    ReopenPane(&'a MemberName),
    ListTeams,
    EventsAfter(Revision),
    RestartSupervisor,
    /// Raises the limit `key` of the member. `member: None`: raises the limit of the team.
    RaiseLimit {
        member: Option<&'a str>,
        key: &'a str,
    },
}

impl fmt::Display for CommandLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("agent-team ")?;
        match self {
            Self::Up => f.write_str("up"),
            Self::UpInTmux => f.write_str("up --panes tmux"),
            Self::Down => f.write_str("down"),
            Self::DownForced => f.write_str("down --force"),
            Self::Ps => f.write_str("ps"),
            Self::KillAny => f.write_str("kill MEMBER"),
            Self::Cancel => f.write_str("cancel"),
            Self::ShowGoal => f.write_str("goal show"),
            Self::SendLead => f.write_str("send lead \"…\""),
            Self::Send(member) => write!(f, "send {member} \"…\""),
            Self::Messages => f.write_str("messages"),
            Self::Requests => f.write_str("requests"),
            Self::ShowAnyRequest => f.write_str("requests show REQUEST"),
            Self::ShowRequest(request) => write!(f, "requests show {request}"),
            Self::DenyRequest(request) => write!(f, "requests deny {request} --reason \"…\""),
            Self::ListRules => f.write_str("rules list"),
            Self::ListTasks => f.write_str("task list"),
            Self::AddTask => f.write_str("task add \"…\""),
            Self::ReleaseTask(task) => write!(f, "task release {task}"),
            Self::RetryTask(task) => write!(f, "task retry {task}"),
            Self::Restart(member) => write!(f, "restart {member}"),
            Self::StopForced(member) => write!(f, "stop {member} --force"),
            Self::RemoveMember(member) => write!(f, "member remove {member}"),
            Self::RemoveForced(member) => write!(f, "member remove {member} --force"),
            Self::FollowLog(member) => write!(f, "logs -f {member}"),
            Self::Attach(member) => write!(f, "attach {member}"),
            Self::AttachAny => f.write_str("attach MEMBER"),
            Self::WatchAny => f.write_str("attach MEMBER --read-only"),
            Self::ReopenPanes => f.write_str("panes reopen"),
            Self::ReopenPane(member) => write!(f, "panes reopen {member}"),
            Self::ListTeams => f.write_str("team list"),
            Self::EventsAfter(revision) => write!(f, "events --after {}", revision.0),
            Self::RestartSupervisor => f.write_str("supervisor restart"),
            Self::RaiseLimit { member: None, key } => write!(f, "config set {key} MORE"),
            Self::RaiseLimit {
                member: Some(member),
                key,
            } => write!(f, "config set members.{member}.{key} MORE"),
        }
    }
}
