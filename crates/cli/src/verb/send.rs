//! `send`: a message from the user.

use std::process::ExitCode;

use agent_team_protocol::method::{MessageSend, SendMessage};
use agent_team_protocol::{ErrorCode, MessageId, Party, Recipient};

use crate::args::Global;
use crate::error::Failure;
use crate::output::Output;
use crate::session::Session;

pub(super) async fn run(
    global: &Global,
    output: Output,
    to: Recipient,
    words: Vec<String>,
    urgent: bool,
    reply_to: Option<MessageId>,
) -> Result<ExitCode, Failure> {
    let text = super::text_or_stdin(words.join(" "), ErrorCode::MessageTooLarge)?;
    let message = SendMessage {
        to,
        text,
        urgent,
        reply_to,
    };
    let answer = Session::of_team(global)?
        .call::<MessageSend>(message)
        .await?;
    output.show(&answer, || {
        let names: Vec<_> = answer.to.iter().map(Party::to_string).collect();
        match names.as_slice() {
            [] => format!("{} has no recipient: nobody else is there\n", answer.id),
            names => format!("{} is in the inbox of {}\n", answer.id, names.join(", ")),
        }
    })?;
    Ok(ExitCode::SUCCESS)
}
