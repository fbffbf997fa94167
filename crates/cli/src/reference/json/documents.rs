//! The document that each verb prints with `--json`. A test compares the list with the verbs; the end-to-end test
//! `documents` compares the documents with the output of the verbs.

use agent_team_protocol::RoleName;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::spec::{Colour, DelegateSpec};
use agent_team_protocol::value::Effort;
use clap::{Command, CommandFactory};
use schemars::{JsonSchema, SchemaGenerator};

use super::wire::Wire;
use crate::args::Cli;
use crate::error::ErrorDocument;
use crate::verb::acp::setup::AcpSetup;
use crate::verb::audit::entry::AuditEntry;
use crate::verb::audit::export::AuditDecision;
use crate::verb::completions::CompletionScript;
use crate::verb::config::{ChangedSetting, Settings};
use crate::verb::doctor::Report;
use crate::verb::init::from::ImportedTeam;
use crate::verb::init::{Templates, WrittenFile};
use crate::verb::logs::{Lines, MemberOutput};
use crate::verb::man::{ManualPage, WrittenPages};
use crate::verb::mcp::setup::McpSetup;
use crate::verb::messages::Messages;
use crate::verb::models::{Models, UpdatedModels};
use crate::verb::next::NextMember;
use crate::verb::notes::{ChangedNote, NoteList, NoteText};
use crate::verb::requests::Requests;
use crate::verb::role::Roles;
use crate::verb::rules::{CheckResult, Revoked, Rules};
use crate::verb::send::reply::SentAndAnswered;
use crate::verb::serve::ServiceAddress;
use crate::verb::supervisor::{LogText, Restarted};
use crate::verb::why::{Explanation, TaskExplanation};

/// The rows of the page: each verb, with the options that change its document, and the document. `[Name]` becomes a
/// link to a type of the page.
pub(super) const DOCUMENTS: &[(&str, &str)] = &[
    ("up", "[UpAnswer]"),
    (
        "up --wait",
        "[RunResult]; without a goal, its `outcome` is a [WaitResult]",
    ),
    ("down", "[DownAnswer]"),
    ("run", "[RunResult]"),
    ("run --events", "one [Envelope] per line"),
    ("cancel", "[CancelAnswer]"),
    ("goal show", "[RunView]"),
    ("goal cancel", "[CancelAnswer]"),
    (
        "attach",
        "[AttachAnswer]: the command that shows the team; it is not run",
    ),
    ("next", "[NextMember]"),
    ("panes reopen", "[ReopenAnswer]"),
    ("ps", "[TeamStatus]"),
    ("top", "[Snapshot]"),
    ("stats", "[TeamStats]"),
    ("why", "[Explanation]; for a task, a [TaskExplanation]"),
    (
        "logs",
        "[Lines]; for one member without `--tail`, `--since` and `--timestamps`, a [MemberOutput]",
    ),
    (
        "logs -f",
        "one [OutputLine] per line; for one member without `--tail`, `--since` and `--timestamps`, a [MemberOutput] for \
         each new piece of output",
    ),
    ("events", "one [Envelope] per line"),
    ("report", "[TeamReport]"),
    (
        "serve",
        "[ServiceAddress] on one line, when the service accepts requests",
    ),
    ("spawn", "[MemberAnswer]"),
    ("stop", "[MemberAnswer]"),
    ("kill", "[MemberAnswer]"),
    ("restart", "[MemberAnswer]"),
    ("compact", "[MemberAnswer]"),
    ("member remove", "[RemoveAnswer]"),
    ("send", "[SendAnswer]"),
    ("send --wait", "[SentAndAnswered]"),
    ("messages", "[Messages]"),
    ("requests", "[Requests]"),
    ("requests list", "[Requests]"),
    ("requests show", "[RequestView]"),
    ("requests allow", "[RequestView]"),
    ("requests deny", "[RequestView]"),
    (
        "requests watch",
        "one [RequestView], [UserQuestionView] or [MessageView] per line, with the additional field `kind`: `\"request\"`, \
         `\"question\"` or `\"message\"`",
    ),
    ("mode", "[ModesView]"),
    ("rules list", "[Rules]"),
    ("rules check", "[CheckResult]"),
    ("rules revoke", "[Revoked]"),
    ("audit", "one [AuditEntry] per line"),
    ("audit export", "one [AuditDecision] per line"),
    ("task add", "[TaskAnswer]"),
    ("task list", "[BoardView]"),
    ("task show", "[TaskView]"),
    ("task update", "[TaskAnswer]"),
    ("task claim", "[TaskAnswer]"),
    ("task assign", "[TaskAnswer]"),
    ("task complete", "[TaskAnswer]"),
    ("task fail", "[TaskAnswer]"),
    ("task retry", "[TaskAnswer]"),
    ("task release", "[TaskAnswer]"),
    ("task cancel", "[TaskAnswer]"),
    ("task wait", "[TaskView]"),
    ("task graph", "[BoardView]"),
    ("notes", "[NoteList]"),
    ("notes list", "[NoteList]"),
    ("notes show", "[NoteText]"),
    ("notes edit", "[ChangedNote]"),
    ("notes add", "[ChangedNote]"),
    ("notes remove", "[ChangedNote]"),
    ("init", "[WrittenFile]"),
    ("init --from", "[ImportedTeam]"),
    ("init --list", "[Templates]"),
    ("team list", "[TeamListAnswer]"),
    ("team show", "[TeamView]"),
    ("team delete", "[DownAnswer]"),
    ("role list", "[Roles]"),
    ("role show", "[RoleDefinition]"),
    ("models", "[Models]"),
    ("models list", "[Models]"),
    ("models update", "[UpdatedModels]"),
    ("config get", "[Settings]"),
    ("config set", "[ChangedSetting]"),
    ("config reset", "[ChangedSetting]"),
    ("supervisor status", "[SupervisorView]"),
    ("supervisor stop", "[DownAnswer]"),
    ("supervisor restart", "[Restarted]"),
    ("supervisor run", "none: it runs in the foreground"),
    ("supervisor logs", "[LogText]"),
    (
        "supervisor logs -f",
        "one [LogText] for each new piece of the log",
    ),
    ("doctor", "[Report]"),
    ("completions", "[CompletionScript]"),
    ("mcp", "none: it serves MCP on stdin and stdout"),
    ("mcp --how", "[McpSetup]"),
    ("mcp --create", "[UpAnswer]"),
    ("acp", "none: it serves ACP on stdin and stdout"),
    ("acp --how", "[AcpSetup]"),
    ("man", "[ManualPage]"),
    ("man --out", "[WrittenPages]"),
];

/// Adds the types of this crate to the generator.
pub(super) fn register(generator: &mut SchemaGenerator) {
    macro_rules! register {
        ($($type:ty),* $(,)?) => {
            $(generator.subschema_for::<$type>();)*
        };
    }
    register!(
        ChangedNote,
        ChangedSetting,
        CheckResult,
        CompletionScript,
        AcpSetup,
        McpSetup,
        AuditDecision<'_>,
        AuditEntry,
        ErrorDocument<'_>,
        Explanation<'_>,
        TaskExplanation,
        Lines<'_>,
        ImportedTeam<'_>,
        LogText<'_>,
        ManualPage,
        MemberOutput<'_>,
        Messages,
        Models,
        NextMember<'_>,
        NoteList,
        NoteText,
        Report,
        Requests,
        Restarted,
        Revoked,
        Roles,
        Rules,
        SentAndAnswered,
        ServiceAddress,
        Settings,
        crate::top::Snapshot,
        crate::verb::report::ReportDocument,
        Templates,
        UpdatedModels,
        WrittenFile<'_>,
        WrittenPages<'_>,
    );
}

/// A role of the project.
// The fields of [`agent_team_file::RoleDefinition`], which derives no schema.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct RoleDefinition {
    #[schemars(with = "Wire<RoleName>")]
    name: RoleName,
    description: String,
    from: RoleLayer,
    /// The file; for a role in a TOML table also the line.
    place: String,
    /// Roles of the same name in lower layers.
    hides: Vec<RoleSource>,
    /// `None`: the team's default.
    #[schemars(with = "Option<Wire<Engine>>")]
    engine: Option<Engine>,
    /// `None`: the team's default.
    model: Option<String>,
    /// The file that sets the model, if it is not the role's file.
    #[serde(skip_serializing_if = "Option::is_none")]
    model_from: Option<String>,
    /// `None`: the team's default.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Wire<Effort>>")]
    effort: Option<Effort>,
    /// `None`: the team's default, else the agent's own model.
    #[serde(skip_serializing_if = "Option::is_none")]
    compact: Option<String>,
    /// `None`: the team's default, else no delegation.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Wire<DelegateSpec>>")]
    delegate: Option<DelegateSpec>,
    max_steps: Option<u32>,
    /// `None`: all.
    tools: Option<Vec<String>>,
    deny_tools: Vec<String>,
    /// Whether sandboxed commands have network access.
    network: bool,
    #[schemars(with = "Option<Wire<Colour>>")]
    colour: Option<Colour>,
    prompt: String,
    /// Faults that prevent the use of the role.
    faults: Vec<String>,
    /// Changed and ignored parts of an imported role file.
    warnings: Vec<String>,
}

/// The origin of a role, in order of precedence.
#[derive(JsonSchema)]
#[schemars(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum RoleLayer {
    TeamFile,
    Project,
    Claude,
    Nyzhi,
    User,
    BuiltIn,
}

/// A role's layer and file.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
struct RoleSource {
    from: RoleLayer,
    place: String,
}

/// The current value of one key and its origin.
// The fields of [`agent_team_file::Setting`], which derives no schema.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) struct Setting {
    key: String,
    /// `None`: not set; `from` describes the fallback.
    value: Option<String>,
    /// A file with its line, or a description.
    from: String,
}

/// The command lines that run a verb, without their options.
fn verbs(command: &Command, words: &str, into: &mut Vec<String>) {
    if !command.has_subcommands() || !command.is_subcommand_required_set() {
        into.push(words.to_owned());
    }
    for verb in command.get_subcommands() {
        verbs(verb, format!("{words} {}", verb.get_name()).trim(), into);
    }
}

#[test]
fn the_document_of_each_verb_is_described() {
    let (mut all, mut described) = (Vec::new(), Vec::new());
    verbs(&Cli::command(), "", &mut all);
    for (verb, _) in DOCUMENTS {
        let verb = verb.split(" -").next().unwrap_or(verb);
        described.push(verb.to_owned());
    }
    all.sort();
    described.sort();
    described.dedup();
    assert_eq!(described, all);
}
