//! The argument of `why`: a member or a task.

use std::str::FromStr;

use agent_team_protocol::id::InvalidId;
use agent_team_protocol::{MemberName, TaskId};

#[derive(Debug, Clone)]
pub(crate) enum WhySubject {
    Member(MemberName),
    Task(TaskId),
}

impl FromStr for WhySubject {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // A name such as `t-5` is a member.
        match text.starts_with("T-") {
            true => text.parse().map(Self::Task),
            false => text.parse().map(Self::Member),
        }
    }
}
