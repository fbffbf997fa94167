//! `requests …`: lists, shows and decides permission requests; also lists the open questions to the user.

mod watch;

use std::process::ExitCode;

use agent_team_client::Session;
use agent_team_protocol::method::{Nothing, RequestDecide, RequestList, RequestShow, TeamShow};
use agent_team_protocol::request::{
    Channel, DecideRequest, Decision, ListRequests, OneRequest, RequestState, RequestView, Scope,
    UserQuestionView,
};
use agent_team_protocol::text::visible_line;
use agent_team_protocol::{ErrorCode, RequestId};
use agent_team_system::directories::Directories;
use agent_team_terminal_ui::style::Style;
use serde::Serialize;

use super::text_argument::text_or_stdin;
use crate::args::{self, Global, RequestsCommand};
use crate::error::Failure;
use crate::output::request::{action_line, brief, question_with_command, state};
use crate::output::style::paint;
use crate::output::{Output, text, time};

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Requests {
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::reference::json::Wire<RequestView>>")
    )]
    requests: Vec<RequestView>,
    /// The questions of members that wait for your answer.
    #[cfg_attr(
        test,
        schemars(with = "Vec<crate::reference::json::Wire<UserQuestionView>>")
    )]
    questions: Vec<UserQuestionView>,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: Option<RequestsCommand>,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    match command.unwrap_or(RequestsCommand::List { all: false }) {
        RequestsCommand::List { all } => list(&mut session, output, all).await,
        RequestsCommand::Show { request } => {
            let view = show(&mut session, request).await?;
            output.show(&view, || details(&view))?;
            Ok(ExitCode::SUCCESS)
        }
        RequestsCommand::Allow {
            request,
            scope,
            rules,
        } => {
            let scope = scope.map(|scope| match scope {
                args::Scope::Once => Scope::Once,
                args::Scope::Task => Scope::Task,
                args::Scope::Member => Scope::Member,
                args::Scope::Team => Scope::Team,
                args::Scope::Always => Scope::Always,
            });
            let view = show(&mut session, request).await?;
            let scope = scope.unwrap_or(view.default_scope);
            let kept = rules.clone();
            let decision = Decision::Allow { scope, rules };
            let code = decide(&mut session, output, view, decision).await?;
            if scope == Scope::Always {
                store_rules(&mut session, output, &kept).await?;
            }
            Ok(code)
        }
        RequestsCommand::Watch { exec } => watch::run(session, output, exec).await,
        RequestsCommand::Deny { request, reason } => {
            let reason = text_or_stdin(reason, ErrorCode::Invalid)?;
            let view = show(&mut session, request).await?;
            decide(&mut session, output, view, Decision::Deny { reason }).await
        }
    }
}

async fn list(session: &mut Session, output: Output, all: bool) -> Result<ExitCode, Failure> {
    let answer = session.query::<RequestList>(ListRequests { all }).await?;
    let document = Requests {
        requests: answer.requests,
        questions: answer.questions,
    };
    output.show(&document, || {
        let Requests {
            requests,
            questions,
        } = &document;
        if requests.is_empty() && questions.is_empty() {
            return "no pending requests\n".into();
        }
        let requests = requests.iter().map(brief);
        requests
            .chain(questions.iter().map(question_with_command))
            .collect()
    })?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn show(
    session: &mut Session,
    request: RequestId,
) -> Result<RequestView, Failure> {
    Ok(session.query::<RequestShow>(OneRequest { request }).await?)
}

/// Stores the rules of a decision with scope `always` in the user's settings for this project.
pub(super) async fn store_rules(
    session: &mut Session,
    output: Output,
    rules: &[String],
) -> Result<(), Failure> {
    let team = session.query::<TeamShow>(Nothing {}).await?.team;
    let settings = Directories::from_environment()?.config;
    let file = agent_team_file::allow_always(&settings, &team, rules)?;
    output.note(&format!(
        "stored for this project in {}; undo it with: agent-team rules revoke",
        text::line(&file.display().to_string())
    ));
    Ok(())
}

/// Sends the decision with the digest of the request that was just read. If the request has changed since, the
/// supervisor refuses the decision.
async fn decide(
    session: &mut Session,
    output: Output,
    view: RequestView,
    decision: Decision,
) -> Result<ExitCode, Failure> {
    let request = view.id;
    let decide = DecideRequest {
        request,
        digest: Some(view.digest),
        decision,
        via: Some(Channel::Cli),
    };
    session.call::<RequestDecide>(decide).await?;
    let view = show(session, request).await?;
    output.show(&view, || {
        format!("{request} is {}: {}\n", state(&view), action_line(&view))
    })?;
    Ok(ExitCode::SUCCESS)
}

fn details(view: &RequestView) -> String {
    let mut text = format!(
        "{}  {}\nasked by   {}, {}\n",
        paint(Style::BOLD, view.id.to_string()),
        state(view),
        view.member,
        time::ago(view.asked_at),
    );
    if let Some(by) = &view.decided_by {
        let reason = view.reason.as_deref().unwrap_or_default();
        text.push_str(&format!("decided by {by} {}\n", visible_line(reason)));
    }
    text.push_str(&view.whole());
    text.push('\n');
    if view.state == RequestState::Pending && view.plan.is_some() {
        text.push_str(&format!(
            "agent-team requests allow {0}\n    approves this plan\n\
             agent-team requests deny {0} --reason \"…\"\n    rejects it, with the changes you want\n",
            view.id
        ));
    }
    if view.state == RequestState::Pending {
        for offer in &view.offers {
            let rules: String = offer
                .rules
                .iter()
                .map(|rule| format!(" --as {}", shell_word(rule)))
                .collect();
            let scope = if offer.rules.is_empty() {
                ""
            } else {
                " --for team"
            };
            text.push_str(&format!(
                "agent-team requests allow {}{scope}{}\n    allows {}\n",
                view.id,
                visible_line(&rules),
                visible_line(&offer.covers)
            ));
        }
    }
    text
}

fn shell_word(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}
