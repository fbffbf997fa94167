//! The argument of `why`: a member or a task.

use std::str::FromStr;

use agent_team_protocol::id::{InvalidId, NumberedId};
use agent_team_protocol::{MemberName, TaskId};

#[derive(Debug, Clone)]
pub(crate) enum WhySubject {
    Member(MemberName),
    Task(TaskId),
}

impl FromStr for WhySubject {
    type Err = InvalidId;

    fn from_str(text: &str) -> Result<Self, InvalidId> {
        // A name such as `t-5` is a member; no name begins with a digit.
        match text.starts_with("T-") || text.starts_with(|c: char| c.is_ascii_digit()) {
            true => TaskId::from_typed(text).map(Self::Task),
            false => text.parse().map(Self::Member),
        }
    }
}
