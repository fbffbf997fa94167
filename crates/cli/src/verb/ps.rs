//! `ps`: lists the members and what they are doing.

use std::process::ExitCode;

use agent_team_protocol::attention::Need;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::document::TeamStatus;
use agent_team_protocol::method::{Nothing, RunShow, TeamShow};
use agent_team_protocol::status::Status;
use agent_team_protocol::text::visible;
use agent_team_protocol::view::{MemberState, MemberView, RunState, TeamState, TeamView};
use agent_team_terminal_ui::style::Style;

use crate::args::Global;
use crate::error::Failure;
use crate::output::style::paint;
use crate::output::{Output, member, task, text};

pub(super) async fn run(global: &Global, output: Output) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let team = session.query::<TeamShow>(Nothing {}).await?;
    let document = TeamStatus::of(&team);
    let answer = match &team.goal {
        Some(goal) if goal.state == RunState::Finished && !output.is_json() => {
            let run = session.query::<RunShow>(Nothing {}).await?;
            run.answer.filter(|_| run.run == goal.run)
        }
        Some(_) | None => None,
    };
    output.show(&document, || {
        let table = member::table(&team.members);
        format!(
            "{}{}{}{}{}{table}{}{}{}{}",
            head(&team),
            goal(&team, answer.as_deref()),
            storage_error(&team),
            placement(&team),
            mode(&team),
            without_pane(&team.members),
            with_program(&team.members),
            unasked(&team.members),
            unread(team.unread)
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

/// `✓ R-1 Done in 42 s · 3 tasks · $0.31: the parser reads empty files`
///
/// `answer`: the whole answer, if the goal is finished.
fn goal(team: &TeamView, answer: Option<&str>) -> String {
    let Some(goal) = &team.goal else {
        return String::new();
    };
    let status = match goal.state {
        RunState::Finished => Status::Success,
        RunState::UnderWay => Status::Working,
        RunState::MaxRounds
        | RunState::Failed
        | RunState::Cancelled
        | RunState::Abandoned
        | RunState::Unknown => Status::Failure,
    };
    let headline = format!("{} {} {}: ", status.sign(), goal.run, goal.headline());
    let painted = paint(Style::of(status.into()), headline.trim_end_matches(": "));
    if let Some(answer) = answer.map(str::trim).filter(|answer| !answer.is_empty()) {
        let line = text::line(answer);
        let is_line = answer.lines().count() == 1 && text::cut_beside(&headline, &line) == line;
        return match is_line {
            true => format!("{painted}: {line}\n"),
            false => format!("{painted}:\n{}", indented(answer)),
        };
    }
    let rest = text::line(goal.answer.as_ref().unwrap_or(&goal.goal));
    let rest = text::cut_beside(&headline, &rest);
    let waits = match (goal.state, team.state) {
        (RunState::UnderWay, TeamState::Up) => waits(team),
        _ => String::new(),
    };
    format!("{painted}: {rest}\n{waits}")
}

/// The whole answer, indented.
fn indented(answer: &str) -> String {
    visible(answer)
        .lines()
        .map(|line| format!("  {line}\n"))
        .collect()
}

/// The storage error of the team, and the command that still works.
pub(super) fn storage_error(team: &TeamView) -> String {
    let Some(error) = &team.storage_error else {
        return String::new();
    };
    format!(
        "storage failed: {}; stop the members with: agent-team down --force\n",
        text::line(error)
    )
}

/// The placement of a team that is up; for a team that is down, the command that starts it.
fn placement(team: &TeamView) -> String {
    match team.state {
        TeamState::Up => text::wrapped(&text::line(&team.placement)),
        TeamState::Down => format!("the team is down; start it with: {}\n", CommandLine::Up),
    }
}

/// `mode accept-edits (ben: plan)`, for a team that is up and has agents.
pub(super) fn mode(team: &TeamView) -> String {
    let has_agents = team.members.iter().any(|member| member.engine.uses_model());
    let Some(mode) = team
        .mode
        .filter(|_| has_agents && team.state == TeamState::Up)
    else {
        return String::new();
    };
    let own = team.members.iter();
    let own = own.filter_map(|member| Some(format!("{}: {}", member.name, member.mode?)));
    let own: Vec<String> = own.collect();
    let line = match own.as_slice() {
        [] => format!("mode {mode}"),
        own => format!("mode {mode} ({})", own.join(", ")),
    };
    text::wrapped(&line)
}

/// The members that the goal under way waits for.
fn waits(team: &TeamView) -> String {
    let needs_user = |member: &&MemberView| Need::of(member).is_some();
    let is_busy = |member: &&MemberView| {
        matches!(member.state, MemberState::Working | MemberState::Waiting) || member.task.is_some()
    };
    let line = match (
        names(team.members.iter().filter(needs_user)),
        names(team.members.iter().filter(is_busy)),
    ) {
        (Some(names), _) => format!("  waits for you: {names}"),
        (None, Some(names)) => format!("  waits for {names}"),
        (None, None) => {
            return format!(
                "  no member works on it\n  continue with: {}\n  or end it with: {}\n",
                CommandLine::SendLead,
                CommandLine::Cancel
            );
        }
    };
    text::wrapped(&line)
}

/// The names of these members; `None` without members.
fn names<'a>(members: impl Iterator<Item = &'a MemberView>) -> Option<String> {
    let names: Vec<_> = members.map(|member| member.name.as_str()).collect();
    (!names.is_empty()).then(|| names.join(", "))
}

/// Members that lost their pane, with the command that reopens it.
fn without_pane(members: &[MemberView]) -> String {
    let names = members.iter().filter(|member| member.lost_pane);
    let names: Vec<_> = names.map(|member| member.name.as_str()).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => text::wrapped(&format!(
            "{name} runs without a pane: agent-team panes reopen {name}"
        )),
        names => {
            let names = names.join(", ");
            text::wrapped(&format!(
                "{names} run without panes: agent-team panes reopen"
            ))
        }
    }
}

/// Members whose pane shows a program that receives no messages.
fn with_program(members: &[MemberView]) -> String {
    let with_program = members.iter().filter(|it| it.engine.shows_program());
    match names(with_program) {
        None => String::new(),
        Some(names) => {
            let rest = "messages are shown in the pane, not delivered to its program";
            text::wrapped(&format!("{names}: {rest}"))
        }
    }
}

/// The calls that agents of other vendors make without asking: one line for each agent.
fn unasked(members: &[MemberView]) -> String {
    let mut lines: Vec<(&str, Vec<&MemberView>)> = Vec::new();
    for member in members {
        let Some(unasked) = member.unasked.as_deref() else {
            continue;
        };
        match lines.iter_mut().find(|(line, _)| *line == unasked) {
            Some((_, members)) => members.push(member),
            None => lines.push((unasked, vec![member])),
        }
    }
    let text = lines.into_iter().map(|(unasked, members)| {
        let many = members.len() > 1;
        let names = names(members.into_iter()).unwrap_or_default();
        let verb = if many { "run" } else { "runs" };
        let line = format!("{names} {verb} without asking: {unasked}");
        text::wrapped(&text::line(&line))
    });
    text.collect()
}

/// The number of unread messages to the user.
fn unread(messages: u32) -> String {
    match messages {
        0 => String::new(),
        1 => "1 unread message to you: agent-team messages user\n".to_owned(),
        several => format!("{several} unread messages to you: agent-team messages user\n"),
    }
}

/// Name, project and task counts of the team, on one line.
pub(super) fn head(team: &TeamView) -> String {
    let (name, tasks) = (&team.name, task::counts(team.tasks));
    let project = text::line(&team.project.to_string_lossy());
    let project = text::cut_beside(&format!("{name} in : {tasks}"), &project);
    format!("{name} in {project}: {tasks}\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_escaped_and_whole() {
        assert_eq!(indented("a\n\u{1b}[2Jb"), "  a\n  \\e[2Jb\n");
        let long = "é".repeat(3000);
        assert_eq!(indented(&long), format!("  {long}\n"));
    }
}
