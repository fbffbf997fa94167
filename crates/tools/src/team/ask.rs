//! `ask`: sends a question to a member or the user, and waits for the reply. Called by the model of any member.
//!
//! The supervisor stores the question as a message that wants a reply. A question to the user is open until the user
//! writes to the member or the member's turn ends. The reply arrives like every message, in the next step; this tool
//! only waits for it.

use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::method::{MessageSend, Nothing, SendMessage, TeamShow};
use agent_team_protocol::view::{MemberState, MemberView};
use agent_team_protocol::{MessageId, Party, Recipient};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::time::Instant;

use super::context::{TeamContext, changing};
use super::wait::{MAX_S, message_notice};
use crate::tool::{Tool, ToolError};

pub const NAME: &str = "ask";

/// The default timeouts, in seconds. A user may be away for longer than a member works on one step.
const MEMBER_S: u64 = 300;
const USER_S: u64 = 3600;

/// In results: the text between the asked party and the message with the question.
const NO_REPLY: &str = " has not replied to ";

pub(super) fn tool(team_context: &Arc<TeamContext>) -> Box<dyn Tool> {
    changing(
        team_context,
        NAME,
        "Ask the lead, another member or the user a question, and wait for the reply; waiting costs nothing. The reply \
         is in your next step. Any other message to you ends the wait too. Ask only questions that you can neither \
         answer by reading nor decide yourself. State the possible answers, and the one that you recommend. Your task stays \
         yours.",
        ask,
    )
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Ask {
    /// `lead`, `user` or a member's name.
    #[schemars(with = "String")]
    to: Recipient,
    /// The question, with everything that is needed to answer it.
    question: String,
    /// Default: 300; 3600 for the user.
    #[schemars(range(min = 1, max = 3600))]
    timeout_s: Option<u64>,
}

async fn ask(team_context: Arc<TeamContext>, args: Ask) -> Result<String, ToolError> {
    let Ask {
        to,
        question,
        timeout_s,
    } = args;
    let seconds = timeout_s.unwrap_or(match to {
        Recipient::User => USER_S,
        Recipient::Lead | Recipient::Member(_) | Recipient::All => MEMBER_S,
    });
    if !(1..=MAX_S).contains(&seconds) {
        let text = format!("`timeout_s` must be between 1 and {MAX_S}");
        return Err(ToolError::Input(text));
    }
    if question.trim().is_empty() {
        return Err(ToolError::Input("`question` is empty".to_owned()));
    }
    let party = recipient(&team_context, &to).await?;
    let message = SendMessage {
        to,
        text: question,
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: true,
        attach_outside: false,
    };
    let sent = team_context.call::<MessageSend>(message).await?.id;
    let until = Instant::now() + Duration::from_secs(seconds);
    // The reply can arrive before `call` returns. Then there is no open question.
    if !team_context.shared.arrivals.has_since(&party, sent) {
        team_context.shared.arrivals.record_question(&party);
    }
    loop {
        // Register for arrivals before reading them, so that an arrival in between is not missed.
        let arrived = team_context.shared.arrivals.arrived();
        let senders = team_context.shared.arrivals.senders();
        let requests = team_context.shared.arrivals.requests();
        if !senders.is_empty() || !requests.is_empty() {
            // An older message, which the model has not read yet, is not the reply.
            let has_replied = team_context.shared.arrivals.has_since(&party, sent);
            let waited_for = (!has_replied).then_some(&party);
            return Ok(ended(sent, waited_for, &senders, requests));
        }
        if Instant::now() >= until {
            return Ok(format!(
                "{party}{NO_REPLY}{sent} within {seconds} s. If you can decide without the reply, do so and \
                 state your decision in the result. Otherwise continue with other work, or call wait for messages."
            ));
        }
        // Read again after an arrival and after a timeout.
        let _arrived = tokio::time::timeout_at(until, arrived).await;
    }
}

/// The result of the call. `waited_for`: the party that has not replied yet.
fn ended(
    sent: MessageId,
    waited_for: Option<&Party>,
    senders: &[Party],
    requests: Vec<String>,
) -> String {
    let mut lines = Vec::new();
    if !senders.is_empty() {
        lines.push(message_notice(senders));
    }
    lines.extend(requests);
    if let Some(party) = waited_for {
        lines.push(format!(
            "{party}{NO_REPLY}{sent} yet. Act on what arrived, then call wait for messages."
        ));
    }
    lines.join("\n")
}

/// The party that has not replied, and the question's message, according to the result of a call of `ask`.
pub fn unanswered(result: &str) -> Option<(Party, MessageId)> {
    let line = |line: &str| {
        let (party, sent) = line.split_once(NO_REPLY)?;
        let sent = sent.split(' ').next()?;
        Some((party.parse().ok()?, sent.parse().ok()?))
    };
    result.lines().find_map(line)
}

/// The party that receives the question.
///
/// # Errors
/// If the recipient cannot reply.
async fn recipient(team_context: &TeamContext, to: &Recipient) -> Result<Party, ToolError> {
    let is_recipient = |member: &MemberView| match to {
        Recipient::Lead => member.lead,
        Recipient::Member(name) => member.name == *name,
        Recipient::User | Recipient::All => false,
    };
    match to {
        Recipient::User => return Ok(Party::User),
        Recipient::All => {
            let text = "`to`: ask one member, `lead` or `user`";
            return Err(ToolError::Input(text.to_owned()));
        }
        Recipient::Lead | Recipient::Member(_) => {}
    }
    let team = team_context.call::<TeamShow>(Nothing {}).await?;
    let member = team.members.iter().find(|member| is_recipient(member));
    let Some(member) = member else {
        let names: Vec<_> = team.members.iter().map(|it| it.name.as_str()).collect();
        let text = format!(
            "`to`: there is no member {to}. Members: {}",
            names.join(", ")
        );
        return Err(ToolError::Input(text));
    };
    if member.name == team_context.client.member {
        return Err(ToolError::Input("`to`: you cannot ask yourself".to_owned()));
    }
    match cannot_reply(member) {
        Some(why) => Err(ToolError::Failed(format!(
            "{} cannot reply: {why}. Ask another member or the user.",
            member.name
        ))),
        None => Ok(Party::Member(member.name.clone())),
    }
}

/// The reason why the member cannot reply. `None`: the member can reply.
fn cannot_reply(member: &MemberView) -> Option<&'static str> {
    if member.engine.runs_lines() {
        return Some("it only runs the commands of tasks");
    }
    if member.engine.shows_program() {
        return Some("its program receives no messages");
    }
    match member.state {
        MemberState::Held => Some("it is held"),
        MemberState::Stopped => Some("it is stopped"),
        MemberState::Draining => Some("it is stopping"),
        MemberState::Planned
        | MemberState::Launching
        | MemberState::Idle
        | MemberState::Working
        | MemberState::Waiting
        | MemberState::Unresponsive
        | MemberState::Cooling
        | MemberState::Unknown => None,
    }
}
