//! Permission requests on the wire: calls of members, decisions about them, and the views of both.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::hook::HookDecision;
use crate::id::{MemberName, MessageId, Party, RequestId};
use crate::text::{visible, visible_line};

pub use crate::value::Scope;

/// Arguments of `request/ask`: one call of a tool, before it runs.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AskRequest {
    pub tool: String,
    /// The tool's arguments, an object.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub arguments: Box<RawValue>,
    /// The working directory of the call. Canonical.
    pub directory: PathBuf,
    /// Whether a sandbox confines the programs that the call starts.
    #[serde(default)]
    pub confined: bool,
    /// The guarantees of the sandbox.
    #[serde(default, skip_serializing_if = "Containment::is_unknown")]
    pub containment: Containment,
    /// The paths in the call, resolved.
    #[serde(rename = "places", default, skip_serializing_if = "Vec::is_empty")]
    pub paths: Vec<ResolvedCallPath>,
    /// The decision of the member's hooks. `None`: no hook decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hook: Option<HookDecision>,
}

impl AskRequest {
    /// The request to add this shell line to a task. The owner of the task runs the line later, in the project and
    /// without a sandbox. By then, the paths in the line may lead elsewhere, so no path is resolved here. The member
    /// and the supervisor must compute the same digest, so both use this function.
    pub fn for_task_line(line: &str, project: PathBuf) -> Self {
        let arguments = serde_json::json!({ "command": line, "for": "a task, without a sandbox" });
        Self {
            tool: "bash".to_owned(),
            arguments: serde_json::value::to_raw_value(&arguments).expect("strings are JSON"),
            directory: project,
            confined: false,
            containment: Containment::Unknown,
            paths: Vec::new(),
            hook: None,
        }
    }
}

/// The guarantees of the sandbox of a call's programs beyond confining them. Ordered: each value includes the
/// guarantees of the values before it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Containment {
    #[default]
    Unknown,
    /// The worker can start the programs with the project read-only and without network: see
    /// [`RunnableView::reads_only`].
    ReadOnly,
    /// Programs that may write to the project cannot change its protected paths, and cannot read files that a deny or
    /// ask rule for `Read` matches.
    Protects,
}

impl Containment {
    pub fn is_unknown(&self) -> bool {
        *self == Self::Unknown
    }
}

/// Arguments of `plan/propose`: the intended changes of a member, as text for the user.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProposePlan {
    /// At most [`TEXT_MAX`](crate::method::TEXT_MAX) bytes.
    pub text: String,
}

/// The tool name of a plan in views of calls.
pub const PROPOSE_PLAN: &str = "propose_plan";

/// A path of a call, resolved by the process that would use it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ResolvedCallPath {
    /// The path as written in the call.
    pub given: String,
    /// The path, made absolute without looking at the file system.
    pub path: PathBuf,
    /// The path with all symbolic links resolved.
    pub resolved: PathBuf,
}

/// The answer to `request/ask`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Permission {
    Allowed {
        /// How a shell line must be executed. `None`: execute the call as requested.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunnableView>,
    },
    Denied {
        why: String,
    },
    /// A decision is pending: see `request/wait`.
    Asked {
        request: RequestId,
    },
    /// A value from a newer supervisor: the call is not allowed.
    #[serde(other)]
    Unknown,
}

/// An allowed shell line as commands that are started directly, without a shell, with exactly these arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunnableView {
    pub directory: PathBuf,
    #[serde(rename = "steps")]
    pub pipelines: Vec<RunnablePipeline>,
    /// The commands only read: they must be started with the project read-only and without network.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reads_only: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunnablePipeline {
    pub join: RunnableJoin,
    #[serde(rename = "pipeline")]
    pub commands: Vec<RunnableCommand>,
}

/// When a pipeline runs, depending on the status of the previous pipeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunnableJoin {
    Then,
    And,
    Or,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunnableCommand {
    pub argv: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redirects: Vec<RunnableRedirect>,
    /// A built-in rule allowed the command because of the name of its program: start no program of the project.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub built_in: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunnableRedirect {
    pub fd: u8,
    pub to: RunnableTarget,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RunnableTarget {
    Read(String),
    Write(String),
    Append(String),
    Fd(u8),
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OneRequest {
    pub request: RequestId,
}

#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct WithdrawRequest {
    pub request: RequestId,
    /// Whether the user allowed the call in the agent's own terminal interface. `None`: the user did not decide there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub allowed_in_agent: Option<bool>,
}

/// The outcome of a request that is no longer pending.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decided {
    /// The call may begin.
    Allowed {
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Party>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        scope: Option<Scope>,
    },
    Denied {
        by: Party,
        reason: String,
    },
    /// The request was withdrawn or has ended: the call must not run.
    Over,
    #[serde(other)]
    Unknown,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ListRequests {
    /// Whether the answer also contains decided requests.
    #[serde(default)]
    pub all: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RequestListAnswer {
    /// Oldest first.
    pub requests: Vec<RequestView>,
    /// The questions of members that wait for an answer of the user, oldest first.
    #[serde(default)]
    pub questions: Vec<UserQuestionView>,
}

/// A question of a member to the user. The question is open until the user writes only to the member, or the member
/// asks another question, ends its turn or leaves the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct UserQuestionView {
    /// The message that contains the question.
    pub id: MessageId,
    pub member: MemberName,
    pub text: String,
    /// Unix time in milliseconds.
    pub asked_at: u64,
}

/// Arguments of `request/decide`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DecideRequest {
    pub request: RequestId,
    /// The digest of the request as the user saw it. If it differs, the decision is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<String>,
    pub decision: Decision,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Channel>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Decision {
    Allow {
        scope: Scope,
        /// Rules to grant instead of the exact call. They must cover the call.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        rules: Vec<String>,
    },
    Deny {
        reason: String,
    },
    /// A value from a newer client: the call is denied.
    #[serde(other)]
    Unknown,
}

/// The program in which the user decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Channel {
    Pane,
    Cli,
    Top,
    #[serde(other)]
    Other,
}

impl Channel {
    pub fn name(self) -> &'static str {
        match self {
            Channel::Pane => "pane",
            Channel::Cli => "cli",
            Channel::Top => "top",
            Channel::Other => "other",
        }
    }
}

/// One request, as `requests` shows it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RequestView {
    pub id: RequestId,
    pub member: MemberName,
    pub tool: String,
    /// The tool's arguments.
    #[cfg_attr(test, schemars(with = "serde_json::Value"))]
    pub input: Box<RawValue>,
    pub directory: PathBuf,
    /// The number of the plan if the request is a plan and not a call. Counts from 1 for each member.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub plan: Option<u64>,
    pub state: RequestState,
    pub digest: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub scope: Option<Scope>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decided_by: Option<Party>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Unix time in milliseconds.
    pub asked_at: u64,
    /// Why a decision is needed, one line for each part of the call.
    pub why: Vec<String>,
    /// Warnings about the call, such as a change outside the project, as phrases without a subject.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// The permissions that a decision can grant, from the narrowest to the widest. The first entry covers exactly this
    /// call. Empty for a plan.
    pub offers: Vec<OfferView>,
    /// The scope of a decision that does not name one.
    #[serde(default)]
    pub default_scope: Scope,
}

impl RequestView {
    /// The complete call as plain text, with its warnings: the subject of the user's decision, the same in every client.
    /// Several lines, without a final newline.
    pub fn whole(&self) -> String {
        let input: serde_json::Value = serde_json::from_str(self.input.get()).unwrap_or_default();
        if let Some(number) = self.plan {
            let plan = input["text"].as_str().unwrap_or_default();
            return format!("plan {number}\n{}", visible(plan.trim_end()));
        }
        let mut text = visible_line(&self.tool).into_owned();
        let mut fields: Vec<_> = input.as_object().into_iter().flatten().collect();
        // Long values come last.
        fields.sort_by_key(|(_, value)| value.as_str().is_some_and(|text| text.contains('\n')));
        for (name, value) in fields {
            let value = match value.as_str() {
                Some(text) => visible(text).replace('\n', "\n      "),
                None => visible(&value.to_string()).into_owned(),
            };
            text.push_str(&format!("\n  {}\n      {value}", visible_line(name)));
        }
        let directory = self.directory.display().to_string();
        text.push_str(&format!("\n  in\n      {}", visible_line(&directory)));
        for why in &self.why {
            text.push_str(&format!("\nreason     {}", visible_line(why)));
        }
        for warning in &self.warnings {
            text.push_str(&format!("\nwarning    {}", visible_line(warning)));
        }
        text
    }
}

/// A call of a tool on one line of plain text: the tool, each argument that changes what the call does, and the subject
/// of the call. Example: `bash (outside the sandbox): cargo test`. The line for a change with a diff contains only the
/// tool and the subject.
///
/// The arguments come before the command, whose text could imitate them.
pub fn summary(tool: &str, input: &serde_json::Value) -> String {
    /// The arguments that can be the subject.
    const SUBJECTS: [&str; 4] = ["command", "url", "path", "query"];

    let text = |name: &str| input[name].as_str();
    let subject = SUBJECTS.into_iter().find(|name| text(name).is_some());
    // `requests show` prints the complete change as a diff.
    if let Some(paths) = changed_paths(tool, input) {
        return visible_line(&format!("{tool}: {paths}")).into_owned();
    }
    let (Some(subject), Some(fields)) = (subject, input.as_object()) else {
        return visible_line(&format!("{tool}: {input}")).into_owned();
    };
    let shows = |value| is_mcp_tool(tool) || !is_default(value);
    let options: Vec<String> = fields
        .iter()
        .filter(|(name, value)| *name != subject && shows(value))
        .map(|(name, value)| match (name.as_str(), value) {
            ("outside_sandbox", serde_json::Value::Bool(true)) => "outside the sandbox".to_owned(),
            ("background", serde_json::Value::Bool(true)) => "in the background".to_owned(),
            (name, serde_json::Value::String(text)) => format!("{name}: {text}"),
            (name, value) => format!("{name}: {value}"),
        })
        .collect();
    let options = match options.as_slice() {
        [] => String::new(),
        options => format!(" ({})", options.join(", ")),
    };
    let subject = text(subject).unwrap_or_default();
    visible_line(&format!("{tool}{options}: {subject}")).into_owned()
}

/// The line in the output of a call while the request of this call waits for a decision.
pub fn waiting_line(request: RequestId) -> String {
    format!("{request} waits for permission: agent-team requests show {request}")
}

/// The paths that a call of a built-in tool changes, separated by commas. The argument `diff` contains the change
/// itself.
pub fn changed_paths(tool: &str, input: &serde_json::Value) -> Option<String> {
    if is_mcp_tool(tool) || !input["diff"].is_string() {
        return None;
    }
    let several = || {
        let paths = input["paths"].as_array()?.iter();
        let paths: Option<Vec<&str>> = paths.map(serde_json::Value::as_str).collect();
        Some(paths?.join(", "))
    };
    input["path"].as_str().map(str::to_owned).or_else(several)
}

/// Whether the tool belongs to an MCP server. The meaning of its arguments is unknown here, so clients must show all of
/// them.
pub fn is_mcp_tool(tool: &str) -> bool {
    tool.starts_with("mcp__")
}

/// Whether a value means the same as an omitted argument of a built-in tool.
fn is_default(value: &serde_json::Value) -> bool {
    match value {
        serde_json::Value::Null => true,
        serde_json::Value::Bool(value) => !value,
        serde_json::Value::String(text) => text.is_empty(),
        serde_json::Value::Array(items) => items.is_empty(),
        serde_json::Value::Object(fields) => fields.is_empty(),
        serde_json::Value::Number(_) => false,
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct OfferView {
    /// Empty: the offer covers exactly this call.
    pub rules: Vec<String>,
    pub covers: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum RequestState {
    Pending,
    Allowed,
    /// The call is running.
    Begun,
    Ended,
    /// The call began, and its result is unknown.
    Lost,
    Denied,
    Withdrawn,
    #[serde(other)]
    Unknown,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::{RequestView, summary};

    #[test]
    fn the_whole_call_ends_with_its_warnings() {
        let view: RequestView = serde_json::from_value(json!({
            "id": "P-4", "member": "ada", "tool": "bash", "input": {"command": "make"}, "directory": "/p",
            "state": "pending", "digest": "d", "asked_at": 0, "why": ["no rule"], "offers": [],
            "warnings": ["changes\na file outside the project"],
        }))
        .unwrap();
        assert_eq!(
            view.whole(),
            "bash\n  command\n      make\n  in\n      /p\nreason     no rule\n\
             warning    changes\\na file outside the project"
        );
    }

    #[test]
    fn a_summary_omits_defaults_and_diffs() {
        for (tool, input, expected) in [
            ("bash", json!({"command": "cargo test"}), "bash: cargo test"),
            (
                "bash",
                json!({"command": "cargo test", "outside_sandbox": false, "timeout_seconds": null}),
                "bash: cargo test",
            ),
            (
                "bash",
                json!({"command": "cargo test", "outside_sandbox": true, "background": true}),
                "bash (in the background, outside the sandbox): cargo test",
            ),
            (
                "bash",
                json!({"command": "x\n\u{a0}y", "timeout_seconds": 5}),
                "bash (timeout_seconds: 5): x\\n\\u{a0}y",
            ),
            (
                "bash",
                json!({"command": "cargo test", "for": "a task, without a sandbox"}),
                "bash (for: a task, without a sandbox): cargo test",
            ),
            (
                "edit",
                json!({"path": "src/a.rs", "diff": "-a\n+b"}),
                "edit: src/a.rs",
            ),
            (
                "apply_patch",
                json!({"paths": ["a.rs", "b\n.rs"], "diff": "-a\n+b"}),
                "apply_patch: a.rs, b\\n.rs",
            ),
            (
                "mcp__x__run",
                json!({"command": "ls", "host": "prod"}),
                "mcp__x__run (host: prod): ls",
            ),
            ("mcp__x__go", json!({"id": 3}), "mcp__x__go: {\"id\":3}"),
            (
                "fetch",
                json!({"url": "https://x.org"}),
                "fetch: https://x.org",
            ),
        ] {
            assert_eq!(summary(tool, &input), expected);
        }
    }
}
