//! `next`: to the member that waits for the person longest. Meant for a key of tmux's, so it needs no terminal where it
//! only has to switch one.

use std::process::ExitCode;

use agent_team_protocol::attention::{self, Need};
use agent_team_protocol::method::{Nothing, RequestList, TeamShow};
use agent_team_protocol::request::ListRequests;
use agent_team_protocol::{ErrorCode, MemberName};
use serde::Serialize;

use super::attach;
use crate::args::Global;
use crate::error::Failure;
use crate::output::{Output, text};
use crate::session::Session;

#[derive(Serialize)]
struct Document<'a> {
    /// `null`: nobody waits.
    member: Option<&'a MemberName>,
    /// What for.
    why: Option<&'a str>,
}

pub(super) async fn run(global: &Global, output: Output, print: bool) -> Result<ExitCode, Failure> {
    let mut session = Session::of_team(global)?;
    let members = session.ask::<TeamShow>(Nothing {}).await?.members;
    if print && !output.is_json() {
        let summary = attention::summary(&members);
        let line = if summary.is_empty() {
            summary
        } else {
            summary + "\n"
        };
        output.write(&line)?;
        return Ok(ExitCode::SUCCESS);
    }
    let list = ListRequests { all: false };
    let pending = session.ask::<RequestList>(list).await?.requests;
    let next = attention::next(&members, &pending);
    let (false, Some(next)) = (output.is_json(), next) else {
        let document = Document {
            member: next.map(|next| &next.name),
            why: next.map(|next| next.why.as_str()),
        };
        output.show(&document, || "nobody waits for you\n".into())?;
        return Ok(ExitCode::SUCCESS);
    };
    match attach::member(&mut session, next.name.clone()).await {
        Err(Failure::Told(told)) if told.is(ErrorCode::NoPane) => {
            let hint = match Need::of(next) {
                Some(Need::Decision) => "agent-team requests shows what it asks".to_owned(),
                Some(Need::Answer) => "agent-team messages user shows its question".to_owned(),
                Some(Need::Limit | Need::Start) | None => text::line(&next.why),
            };
            Err(Failure::Told(told).hint(hint))
        }
        attached => attached,
    }
}
