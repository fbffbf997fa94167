//! `next`: shows the pane of the member that has waited for the user longest. Meant for a tmux key binding: inside tmux
//! it switches the tmux client, so stdin and stdout of the command need not be a terminal.

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

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct NextMember<'a> {
    /// `null` when no member waits.
    #[cfg_attr(
        test,
        schemars(with = "Option<crate::reference::json::Wire<MemberName>>")
    )]
    member: Option<&'a MemberName>,
    /// The reason of the wait.
    why: Option<&'a str>,
}

pub(super) async fn run(global: &Global, output: Output, print: bool) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let members = session.query::<TeamShow>(Nothing {}).await?.members;
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
    let pending = session.query::<RequestList>(list).await?.requests;
    let next = attention::next(&members, &pending);
    let (false, Some(next)) = (output.is_json(), next) else {
        let document = NextMember {
            member: next.map(|next| &next.name),
            why: next.map(|next| next.why.as_str()),
        };
        output.show(&document, || "no member waits for you\n".into())?;
        return Ok(ExitCode::SUCCESS);
    };
    match attach::member(session, output, next.name.clone()).await {
        Err(Failure::Reported(report)) if report.has_code(ErrorCode::NoPane) => {
            let hint = match Need::of(next) {
                Some(Need::Decision) => "see its request with: agent-team requests".to_owned(),
                Some(Need::Answer) => "see its question with: agent-team messages user".to_owned(),
                Some(Need::Reading) => "read its message with: agent-team messages user".to_owned(),
                Some(Need::Dialog | Need::Limit | Need::Restart) | None => text::line(&next.why),
            };
            Err(Failure::Reported(report).hint(hint))
        }
        attached => attached,
    }
}
