//! Teams of agents inside your own program.
mod builder;
mod heard;
mod home;
mod hosting;
mod member;
mod place;
mod result;
mod stream;
mod team;

pub use builder::{BuildError, Mode, TeamBuilder};
pub use home::CallFailed;
pub use hosting::MemberInfo;
pub use member::{Member, ModelChoice, Role};
pub use result::{Durations, RunResult};
pub use stream::RunStream;
pub use team::{Board, Members, Messages, RunError, Team};

pub use agent_team_protocol as protocol;
pub use agent_team_protocol::envelope::{AgUi, Envelope};
pub use agent_team_protocol::notification::{Assignment, DeliveredMessage};
pub use agent_team_protocol::spec::TaskSpec;
pub use agent_team_teammate::hosted::{Engine, Seat, Worked, Working};
pub use agent_team_teammate::model::{self, Model};
