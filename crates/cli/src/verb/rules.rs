//! `rules …`: lists permission rules, checks a command against them, and revokes grants.

use std::path::Path;
use std::process::ExitCode;

use agent_team_client::Session;
use agent_team_policy::{Action, CallPath};
use agent_team_protocol::id::NumberedId;
use agent_team_protocol::method::{Nothing, RuleCheck, RuleForget, RuleList, RuleRevoke, TeamShow};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::{AskRequest, Containment, OneRequest, ResolvedCallPath, Scope};
use agent_team_protocol::rule::{
    CheckRules, ForgetRule, JudgementView, RuleListAnswer, RuleView, RulingView,
};
use agent_team_protocol::text::visible_line;
use agent_team_protocol::{ErrorCode, RequestId};
use agent_team_system::directories::Directories;
use agent_team_system::{path, sandbox};
use serde::Serialize;
use serde_json::value::to_raw_value;

use super::mode;
use crate::args::{Global, RulesCommand};
use crate::caller;
use crate::error::Failure;
use crate::output::Output;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Rules {
    /// The permission mode of the team.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::reference::json::Wire<Mode>>"))]
    mode: Option<Mode>,
    /// In evaluation order.
    #[cfg_attr(test, schemars(with = "Vec<crate::reference::json::Wire<RuleView>>"))]
    rules: Vec<RuleView>,
    /// The commands that the built-in rule for reading allows.
    reading_commands: Vec<String>,
}

/// The result of `check`; `commands` are the parts of the shell line.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct CheckResult {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<RulingView>"))]
    decision: RulingView,
    commands: Vec<CheckedCommand>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct CheckedCommand {
    command: String,
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<RulingView>"))]
    decision: RulingView,
    why: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Revoked {
    /// As typed: the id of a request, or the text of a rule.
    revoked: String,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: RulesCommand,
) -> Result<ExitCode, Failure> {
    match evaluate(global, output, command).await {
        Err(Failure::Reported(report))
            if report.has_code(ErrorCode::UnknownTeam) && global.team.is_none() =>
        {
            Err(before_first_up(Failure::Reported(report)))
        }
        done => done,
    }
}

/// The supervisor evaluates rules, and knows a team only after its first `up`.
fn before_first_up(unknown_team: Failure) -> Failure {
    let here = caller::current_directory().ok();
    let has_file = here.is_some_and(|here| agent_team_file::find(&here).is_some());
    if !has_file {
        return unknown_team.hint(
            "write a team file with: agent-team init; then start the team with: agent-team up",
        );
    }
    let text = "cannot evaluate the rules of the team file: its team was never started";
    Failure::of(ErrorCode::UnknownTeam, text).hint("start the team with: agent-team up")
}

async fn evaluate(
    global: &Global,
    output: Output,
    command: RulesCommand,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    match command {
        RulesCommand::List => {
            let RuleListAnswer {
                rules,
                reading_commands,
                mode,
            } = session.query::<RuleList>(Nothing {}).await?;
            let document = Rules {
                mode,
                rules,
                reading_commands,
            };
            output.show(&document, || list(&document))?;
        }
        RulesCommand::Check { member, command } => {
            let call = bash_request(&command.join(" "), &caller::current_directory()?).await;
            let check = CheckRules { call, member };
            let judged = session.query::<RuleCheck>(check).await?;
            let document = check_result(judged);
            output.show(&document, || explanation(&document))?;
            if command.last().is_some_and(|word| word == "--json") {
                output.note(
                    "note: --json is part of the command here; for JSON: agent-team rules check --json -- COMMAND",
                );
            }
        }
        RulesCommand::Revoke { what } => revoke(&mut session, output, what).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The mode, the rules, and the built-in rule for reading.
fn list(document: &Rules) -> String {
    let mut text = match document.mode {
        Some(mode) => format!("mode {mode}: {}\n", mode::effect(mode)),
        None => String::new(),
    };
    text.extend(document.rules.iter().map(line));
    if document.rules.is_empty() {
        text.push_str("no rules: the mode decides\n");
    }
    if document.mode == Some(Mode::Bypass) {
        return text;
    }
    // git can start programs that a repository configures, and only bubblewrap contains these programs.
    let (git, others): (Vec<&str>, Vec<&str>) = document
        .reading_commands
        .iter()
        .map(String::as_str)
        .partition(|command| command.starts_with("git "));
    for (commands, sandbox) in [(others, "a sandbox"), (git, "bubblewrap")] {
        if !commands.is_empty() {
            let commands = commands.join(", ");
            text.push_str(&format!(
                "allow  reading, in {sandbox} with the project read-only, built in: {commands}\n"
            ));
        }
    }
    text
}

/// Revokes permissions. With the id of a request: its grant, and the always-rules that its decision stored in the
/// user's settings. With the text of an always-rule: this rule, and the grants of the decisions that stored it.
async fn revoke(session: &mut Session, output: Output, what: String) -> Result<(), Failure> {
    let team = session.query::<TeamShow>(Nothing {}).await?.team;
    let settings = Directories::from_environment()?.config;
    let document = Revoked {
        revoked: what.clone(),
    };
    let mut rules = session.query::<RuleList>(Nothing {}).await?.rules;
    rules.retain(|view| view.scope == Some(Scope::Always));
    let Ok(request) = RequestId::from_typed(&what) else {
        if !agent_team_file::revoke_always(&settings, &team, &what)? {
            let text =
                format!("cannot revoke {what}: it is not among your always-rules of this project");
            let failure = Failure::of(ErrorCode::UnknownGrant, text);
            return Err(failure.hint("list the rules with: agent-team rules list"));
        }
        // The grant of the decision that stored the rule may still be in force in the running team.
        rules.retain(|view| view.rule.as_ref() == Some(&what));
        for request in rules.into_iter().filter_map(|view| view.request) {
            session.call::<RuleRevoke>(OneRequest { request }).await?;
        }
        let rule = what.clone();
        session.call::<RuleForget>(ForgetRule { rule }).await?;
        let text = format!("revoked {}\n", visible_line(&what));
        return output.show(&document, || text);
    };
    session.call::<RuleRevoke>(OneRequest { request }).await?;
    rules.retain(|view| view.request == Some(request));
    for rule in rules.into_iter().filter_map(|view| view.rule) {
        agent_team_file::revoke_always(&settings, &team, &rule)?;
    }
    output.show(&document, || format!("revoked the grant of {request}\n"))
}

/// The permission request of a member that would run this line in this directory.
async fn bash_request(line: &str, directory: &Path) -> AskRequest {
    let arguments = serde_json::json!({ "command": line });
    let paths = Action::of("bash", &arguments).paths().into_iter();
    let sandbox = sandbox::find(&std::env::var_os("PATH").unwrap_or_default()).await;
    AskRequest {
        tool: "bash".into(),
        arguments: to_raw_value(&arguments).expect("a value is JSON"),
        directory: directory.to_owned(),
        confined: sandbox.is_ok(),
        containment: match &sandbox {
            Ok(sandbox) if sandbox.protects() => Containment::Protects,
            Ok(_) => Containment::ReadOnly,
            Err(_) => Containment::Unknown,
        },
        paths: paths
            .filter_map(|given| {
                let path = CallPath::lexical(directory, &given);
                let resolved = path::resolve(&path).ok()?;
                Some(ResolvedCallPath {
                    given,
                    path,
                    resolved,
                })
            })
            .collect(),
        hook: None,
    }
}

fn check_result(judged: JudgementView) -> CheckResult {
    let parts = judged.parts.into_iter().map(|part| CheckedCommand {
        command: part.what,
        decision: part.decision,
        why: part.why,
    });
    CheckResult {
        decision: judged.decision,
        commands: parts.collect(),
    }
}

fn explanation(checked: &CheckResult) -> String {
    let mut text = format!("{}\n", decision_name(checked.decision));
    for CheckedCommand {
        command,
        decision,
        why,
    } in &checked.commands
    {
        let decision = decision_name(*decision);
        let why = visible_line(why);
        text.push_str(&format!(
            "  {decision:5}  {}: {why}\n",
            visible_line(command)
        ));
    }
    text
}

/// `allow  Bash(cargo test:*)  for all members, by P-4`
fn line(view: &RuleView) -> String {
    let rule = view.rule.as_deref().unwrap_or("exactly what was asked");
    let whom = match (&view.member, view.scope) {
        (Some(member), Some(Scope::Task)) => format!("{member}'s task"),
        (Some(member), _) => member.to_string(),
        (None, Some(Scope::Always)) => "all members, always".into(),
        (None, _) => "all members".into(),
    };
    let source = match (view.request, &view.from) {
        (Some(request), _) => format!("by {request}"),
        (None, Some(from)) => format!("by {}", visible_line(from)),
        (None, None) => "by the team file".into(),
    };
    let (effect, rule) = (decision_name(view.effect), visible_line(rule));
    format!("{effect:5}  {rule}  for {whom}, {source}\n")
}

fn decision_name(ruling: RulingView) -> &'static str {
    match ruling {
        RulingView::Allow => "allow",
        RulingView::Ask => "ask",
        RulingView::Deny => "deny",
        RulingView::Approve => "approve",
        RulingView::Unknown => "?",
    }
}
