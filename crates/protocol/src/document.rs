//! Documents that clients make from the supervisor's answers: `--json` of the command line prints them, and the HTTP
//! service returns them. Other verbs print the supervisor's answer, or a document of another module, such as
//! [`crate::result`].

use std::collections::BTreeMap;

use serde::Serialize;

use crate::goal::GoalView;
use crate::id::{MemberName, Revision, TeamId};
use crate::permissions::Mode;
use crate::value::Usage;
use crate::view::{MemberView, TaskView, TeamView};

/// The document of `ps`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamStatus<'a> {
    pub team: &'a TeamId,
    pub revision: Revision,
    /// The permission mode.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// The chosen placement and the reason.
    pub placement: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub goal: Option<&'a GoalView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub storage_error: Option<&'a str>,
    pub members: &'a [MemberView],
    /// Messages to the user that the user has not read.
    pub unread: u32,
}

impl<'a> TeamStatus<'a> {
    pub fn of(team: &'a TeamView) -> Self {
        Self {
            team: &team.team,
            revision: team.revision,
            mode: team.mode,
            placement: &team.placement,
            goal: team.goal.as_ref(),
            storage_error: team.storage_error.as_deref(),
            members: &team.members,
            unread: team.unread,
        }
    }
}

/// The document of `mode`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ModesView<'a> {
    /// The mode of the team. `None`: the team was never brought up.
    pub mode: Option<Mode>,
    /// Members whose mode differs from the team's.
    pub members: BTreeMap<&'a MemberName, Mode>,
}

impl<'a> ModesView<'a> {
    pub fn of(team: &'a TeamView) -> Self {
        let differ = team.members.iter();
        let differ = differ.filter_map(|member| Some((&member.name, member.mode?)));
        Self {
            mode: team.mode,
            members: differ.collect(),
        }
    }
}

/// The document of `task list` and `task graph`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct BoardView {
    pub tasks: Vec<TaskView>,
}

/// The document of `stats`.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamStats<'a> {
    pub team: &'a TeamId,
    pub members: Vec<MemberStats<'a>>,
    /// The sums over all members, including removed ones. The times count the periods in which at least one member was
    /// up, or worked.
    pub total: Stats,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberStats<'a> {
    pub name: &'a MemberName,
    pub stats: Stats,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Stats {
    pub tokens_in: u64,
    pub tokens_out: u64,
    /// The cached part of `tokens_in`.
    pub tokens_cached: u64,
    /// US dollars. `None` when a price is unknown.
    pub cost: Option<f64>,
    pub up_ms: u64,
    pub working_ms: u64,
    pub tasks_completed: u64,
}

impl<'a> TeamStats<'a> {
    pub fn of(team: &'a TeamView) -> Self {
        let members = team.members.iter().map(|member| MemberStats {
            name: &member.name,
            stats: Stats::new(
                &member.usage,
                member.up_ms,
                member.working_ms,
                member.completed,
            ),
        });
        Self {
            team: &team.team,
            members: members.collect(),
            total: Stats::new(
                &team.usage,
                team.up_ms,
                team.working_ms,
                team.tasks.completed,
            ),
        }
    }
}

impl Stats {
    fn new(usage: &Usage, up_ms: u64, working_ms: u64, tasks_completed: u64) -> Self {
        Self {
            tokens_in: usage.input,
            tokens_out: usage.output,
            tokens_cached: usage.cached,
            cost: usage.usd(),
            up_ms,
            working_ms,
            tasks_completed,
        }
    }
}
