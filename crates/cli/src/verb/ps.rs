//! `ps`: the members and what they are doing.

use std::process::ExitCode;

use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::view::{MemberView, TeamState, TeamView};
use agent_team_protocol::{Revision, TeamId};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, member, task, text};
use crate::session::Session;

#[derive(Serialize)]
struct Document<'a> {
    team: &'a TeamId,
    revision: Revision,
    /// Which placement was chosen, and why.
    placement: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_error: Option<&'a str>,
    members: &'a [MemberView],
    /// Messages to the user that the user has not read.
    unread: u32,
}

pub(super) async fn run(global: &Global, output: Output) -> Result<ExitCode, Failure> {
    let team = Session::of_team(global)?
        .ask::<TeamShow>(Nothing {})
        .await?;
    let document = Document {
        team: &team.team,
        revision: team.revision,
        placement: &team.placement,
        storage_error: team.storage_error.as_deref(),
        members: &team.members,
        unread: team.unread,
    };
    output.show(&document, || {
        let table = member::table(&team.members);
        format!(
            "{}{}{}{table}{}{}",
            head(&team),
            storage_error(&team),
            places(&team),
            unshown(&team.members),
            unread(team.unread)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Why nothing is stored any more, and what is left to do.
pub(super) fn storage_error(team: &TeamView) -> String {
    let Some(error) = &team.storage_error else {
        return String::new();
    };
    format!(
        "storage failed: {}; end the members with: agent-team down --force\n",
        text::line(error)
    )
}

/// Where the members are, of a team that is up.
fn places(team: &TeamView) -> String {
    match team.state {
        TeamState::Up => format!("{}\n", text::line(&team.placement)),
        TeamState::Down => String::new(),
    }
}

/// Who goes on without a pane, and how to get it back.
fn unshown(members: &[MemberView]) -> String {
    let names = members.iter().filter(|member| member.lost_pane);
    let names: Vec<_> = names.map(|member| member.name.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => format!("{name} goes on without a pane: agent-team panes reopen {name}\n"),
        names => format!(
            "{} go on without panes: agent-team panes reopen\n",
            names.join(", ")
        ),
    }
}

/// The user's unread messages.
fn unread(messages: u32) -> String {
    match messages {
        0 => String::new(),
        1 => "1 unread message to you: agent-team messages user\n".to_owned(),
        several => format!("{several} unread messages to you: agent-team messages user\n"),
    }
}

/// One line about the team.
pub(super) fn head(team: &TeamView) -> String {
    let tasks = task::counts(team.tasks);
    format!(
        "{} in {}: {tasks}\n",
        team.name,
        text::line(&team.project.to_string_lossy())
    )
}
