//! The wake-ups of a team. All wake-ups except the two for pings are derived from the state, so a restart of the
//! supervisor does not lose them. The driver sleeps until the earliest wake-up; an idle team has none.

use agent_team_protocol::id::{LaunchId, MemberName, RequestId};

/// Every wake-up, by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timer<'a> {
    /// The member must be ready by now.
    StartTimeout(&'a MemberName),
    /// The member must have answered the stop request by now.
    StopAnswer(&'a MemberName),
    /// The member must have exited by now.
    Kill(&'a MemberName),
    /// The backoff after a crash is over.
    Restart(&'a MemberName),
    /// The request is denied unless it was decided.
    RequestExpiry(RequestId),
    /// The working minutes of the member reach the warning or the limit of its budget.
    MemberMinutes(&'a MemberName),
    /// The working minutes of the team reach the warning or the limit of its budget.
    TeamMinutes,
    /// The worker left a frame unanswered. The driver sets `Ping` and `PingTimeout`: the core has no connections.
    Ping(&'a LaunchId),
    /// The worker left a ping unanswered.
    PingTimeout(&'a LaunchId),
}
