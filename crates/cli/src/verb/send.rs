//! `send`: sends a message of the user; with `--wait` waits for the reply.

pub(crate) mod reply;

use std::process::ExitCode;

use agent_team_protocol::Party;
use agent_team_protocol::method::{MessageSend, SendMessage};
use agent_team_protocol::text::visible;

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
    let answer = session.call::<MessageSend>(message).await?;
    output.show(&answer, || {
        let names: Vec<_> = answer.to.iter().map(Party::to_string).collect();
        match names.as_slice() {
            [] => format!(
                "{} has no recipient: the team has no other members\n",
                answer.id
            ),
            names => {
                let sent = format!("sent {} to {}\n", answer.id, names.join(", "));
                match answer.shown_not_delivered() {
                    Some(note) => format!("{sent}{note}\n"),
                    None => sent,
                }
            }
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
