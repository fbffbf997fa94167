//! The desired state of a team, as far as the core decides on it. Everything else is opaque settings.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{MemberName, RoleName, TaskId};
use agent_team_protocol::value::Budget;

use crate::team::mode::Modes;
use crate::team::round::Strategy;

/// The desired state of one member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberSpec {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
    #[serde(rename = "takes")]
    pub claimable: ClaimableTasks,
    /// The engine starts an external agent, so the start counts against `limits.starting`.
    pub foreign: bool,
    /// The member was created by `spawn`. An `up` whose file does not name the member keeps the member and its spec.
    pub by_hand: bool,
    /// Launch settings; a difference requires a new launch. The core never reads them.
    pub settings: Arc<str>,
    /// Display colour.
    pub colour: Arc<str>,
    /// The member's limits. `None`: it does not use a model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub budget: Option<Budget>,
    /// The member must have a plan approved before it may change anything: see [`crate::team::plan_lock`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_plan: bool,
}

/// Which ready tasks an idle member claims by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClaimableTasks {
    /// Also tasks without an assignee.
    pub unassigned: bool,
    /// Also tasks without a `run` line.
    pub without_run: bool,
    /// No task, not even a task that is assigned to the member.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub nothing: bool,
}

impl ClaimableTasks {
    /// Whether the member can reach a goal: a member that only runs command lines, or takes no tasks, cannot.
    pub(crate) fn may_have_goal(self) -> bool {
        self.without_run && !self.nothing
    }
}

/// The desired state of one task, with resolved dependencies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskSpec {
    pub key: Arc<str>,
    pub title: Arc<str>,
    #[serde(default, skip_serializing_if = "str::is_empty")]
    pub description: Arc<str>,
    #[serde(default)]
    pub priority: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<TaskId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub assignee: Option<MemberName>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<Arc<str>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<Arc<str>>,
    pub rerun: bool,
    /// Describes the work while it is in progress, such as "Adding the tests".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<Arc<str>>,
    /// The creator's own data: the text of a JSON object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Arc<str>>,
    /// The task is defined in the team file, where `key` identifies it.
    pub from_file: bool,
}

impl TaskSpec {
    /// Shares equal texts: boards are long, and most tasks have a key that equals the title and an empty description.
    pub(crate) fn share_texts(&mut self) {
        if self.title == self.key {
            self.title = self.key.clone();
        }
        if self.description.is_empty() {
            self.description = Arc::default();
        }
    }
}

/// A task of the team file whose dependencies are still keys of that file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileTask {
    /// The spec of the task, with an empty `after`.
    pub spec: TaskSpec,
    pub after: Vec<Arc<str>>,
}

/// The desired state of the team itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TeamSpec {
    /// Maximum number of teammates that are not stopped, without the lead.
    pub teammates: u32,
    /// Maximum number of concurrent launches of external agents.
    pub starting: u32,
    /// Limits on the usage of all members together.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    pub budget: Budget,
    /// A hook decides whether a task may complete.
    pub asks_before_completing: bool,
    /// A hook decides whether a member may be idle.
    pub asks_when_idle: bool,
    #[serde(default, skip_serializing_if = "is_lead")]
    pub strategy: Strategy,
    /// The permission modes that the user chose since the last `up`.
    #[serde(default, skip_serializing_if = "Modes::is_empty")]
    pub modes: Modes,
    /// After how many milliseconds an unanswered request is denied. `None`: never.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests_expire_ms: Option<u64>,
    /// Placement, layout, hooks, roles. The core never reads them.
    pub settings: Arc<str>,
}

fn is_lead(strategy: &Strategy) -> bool {
    *strategy == Strategy::Lead
}
