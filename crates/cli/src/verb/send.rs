//! `send`: sends a message of the user; with `--wait` waits for the reply.

pub(crate) mod reply;

use std::process::ExitCode;

use agent_team_protocol::Party;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::{MessageSend, Nothing, SendMessage, TeamShow};
use agent_team_protocol::text::visible;
use agent_team_protocol::view::{MemberState, TeamState, TeamView, Waiting};

use crate::args::Global;
use crate::error::Failure;
use crate::output::Output;

/// With `wants_reply`, waits for the reply at most `timeout` seconds.
pub(super) async fn run(
    global: &Global,
    output: Output,
    message: SendMessage,
    timeout: Option<u64>,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    if message.wants_reply {
        let answered = reply::send_and_wait(&mut session, message, timeout).await?;
        output.show(&answered, || {
            format!("{}\n", visible(answered.reply.text.trim_end()))
        })?;
        return Ok(ExitCode::SUCCESS);
    }
    let urgent = message.urgent;
    let answer = session.call::<MessageSend>(message).await?;
    // The message is stored: a failure here must not make a script send it again.
    let waits = match output.is_json() {
        true => String::new(),
        false => {
            let team = session.query::<TeamShow>(Nothing {}).await;
            team.map_or_else(|_| String::new(), |team| waits(&team, &answer.to, urgent))
        }
    };
    output.show(&answer, || {
        let names: Vec<_> = answer.to.iter().map(Party::to_string).collect();
        match names.as_slice() {
            [] => format!(
                "{} has no recipient: the team has no other members\n",
                answer.id
            ),
            names => {
                let turn = answer
                    .reaches_turn(urgent)
                    .map(|turn| format!("; it {turn}"));
                let turn = turn.unwrap_or_default();
                let sent = format!("sent {} to {}{turn}\n", answer.id, names.join(", "));
                match answer.shown_not_delivered() {
                    Some(note) => format!("{sent}{note}\n{waits}"),
                    None => sent + &waits,
                }
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}

/// The recipients that do not run, and those that wait for a decision, each with the command after which it receives
/// the message.
fn waits(team: &TeamView, to: &[Party], urgent: bool) -> String {
    if team.state == TeamState::Down {
        let up = CommandLine::Up;
        return format!("the team is down: the message is stored, and delivered after {up}\n");
    }
    let is_to = |name| to.contains(&Party::Member(name));
    let members = team.members.iter().filter(|it| is_to(it.name.clone()));
    let lines = members.filter_map(|member| {
        let name = &member.name;
        if let Some(Waiting::Permission { request } | Waiting::Plan { request, .. }) =
            member.waiting
            && !urgent
        {
            let show = CommandLine::ShowRequest(request);
            return Some(format!(
                "{name} waits for a decision: it receives the message after that, see {show}\n"
            ));
        }
        let is_held = member.state == MemberState::Held;
        if !is_held && member.state != MemberState::Stopped {
            return None;
        }
        let state = if is_held { "held" } else { "stopped" };
        let restart = CommandLine::Restart(name);
        Some(format!(
            "{name} is {state}: the message is stored, and delivered after {restart}\n"
        ))
    });
    lines.collect()
}
