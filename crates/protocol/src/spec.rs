//! Desired state: a team as its file describes it, resolved by the program that read the file.

mod external;

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::engine::Engine;
use crate::hook::HookEvent;
use crate::id::{MemberName, RoleName, TeamName};
use crate::permissions::{PermissionDefaults, Permissions};
use crate::placement::PlacementChoice;
use crate::text::visible_label;
use crate::value::Effort;

pub use self::external::{ExternalAgent, OwnTerminal, SideChannelKind, Steering};
pub use crate::value::{Budget, milliseconds};

/// The desired state of a team, with every default of the team file filled in.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TeamSpec {
    pub name: TeamName,
    /// Canonical path of the project directory.
    pub project: PathBuf,
    pub placement: PlacementChoice,
    pub layout: Layout,
    pub limits: Limits,
    pub hooks: Hooks,
    #[serde(default, skip_serializing_if = "Notify::is_default")]
    pub notify: Notify,
    /// The permissions in the team file.
    #[serde(default)]
    pub permissions: Permissions,
    /// The permissions in the user's settings, for every team and for this team.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_permissions: Vec<Permissions>,
    #[serde(rename = "stance", default)]
    pub permission_defaults: PermissionDefaults,
    /// The roles of `spawn ROLE`, by name; `worker` always exists.
    pub roles: Vec<RoleSpec>,
    pub members: Vec<MemberSpec>,
    pub tasks: Vec<TaskSpec>,
    /// Shell lines of hooks and tasks, with the scripts that they start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<TrustedLine>,
    /// The scripts that trusted lines, MCP servers and the program of [`Notify::Command`] start, and the paths that
    /// git's configuration refers to; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<KeptPath>,
}

/// How the user is notified when a member waits for the user, or when a goal ends.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Notify {
    /// The bell, and a desktop notification in terminals that support it.
    #[default]
    Desktop,
    Bell,
    Off,
    /// The supervisor runs a program; terminals receive nothing.
    Command(NotifyCommand),
}

impl Notify {
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// A program that notifies the user.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct NotifyCommand {
    /// The program and its arguments; the text of the notification is added as the last argument.
    pub argv: Vec<String>,
    /// The project's scripts that the program starts, with the content that the user trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDigest>,
}

/// A shell line that the user trusted, and the project's scripts that it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TrustedLine {
    pub line: String,
    pub files: Vec<FileDigest>,
}

/// A file with the content that the user trusted, or a file that did not exist then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileDigest {
    /// Canonical.
    pub path: PathBuf,
    /// SHA-256 of the content in hexadecimal digits, or [`FileDigest::ABSENT`].
    pub sha256: String,
}

impl FileDigest {
    /// In place of a digest: the file did not exist.
    pub const ABSENT: &str = "absent";

    pub fn is_absent(&self) -> bool {
        self.sha256 == Self::ABSENT
    }
}

/// A path of the project that agents must not change, in addition to the built-in list of protected paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeptPath {
    pub path: PathBuf,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_directory: bool,
    /// The file did not exist when the user trusted the line that starts it. Edit tools ask before they create the
    /// file. The sandbox does not prevent its creation, because the line is not run before the user trusts the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_absent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limits {
    /// Maximum number of teammates that are not stopped; the lead does not count.
    pub teammates: u32,
    /// Maximum number of launches of external agents that are in progress at the same time.
    pub starting: u32,
    /// Limits on what all members spend together on one goal.
    #[serde(default)]
    pub budget: Budget,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            teammates: 10,
            starting: 4,
            budget: Budget::default(),
        }
    }
}

/// Shell lines that the supervisor runs in the project directory, with JSON on stdin, for at most 60 s. The hooks of
/// [`AgentSpec::hooks`] run in the worker.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hooks {
    /// Runs before a task counts as completed. The completion is refused unless the hook exits with code 0. With code
    /// 2, stderr of the hook is the reason.
    #[serde(default)]
    pub task_completed: Option<String>,
    /// Runs when a member becomes idle. If the hook exits with code 2, the member continues, and receives stderr of the
    /// hook as the reason.
    #[serde(default)]
    pub teammate_idle: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RoleSpec {
    pub name: RoleName,
    #[serde(default)]
    pub description: String,
    pub engine: Engine,
    #[serde(default)]
    pub colour: Option<Colour>,
    #[serde(default)]
    pub agent: AgentSpec,
}

/// The desired state of one member. A difference requires a new launch, except a difference in `claim`, `colour` or
/// `budget`, and a change of `placement` that involves neither `headless` nor `hosted`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberSpec {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
    pub engine: Engine,
    /// `None`: the first free colour of the palette.
    #[serde(default)]
    pub colour: Option<Colour>,
    /// Absolute.
    pub cwd: PathBuf,
    /// Added to the environment of `up`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub claim: ClaimPolicy,
    /// `None`: the team's.
    #[serde(default)]
    pub placement: Option<PlacementChoice>,
    #[serde(default)]
    pub agent: AgentSpec,
    /// Only used with the engines `native` and `external`.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    pub budget: Budget,
}

/// The built-in tools, by the names that the user and models write.
pub const TOOLS: [&str; 13] = [
    "apply_patch",
    "bash",
    "edit",
    "fetch",
    "git_diff",
    "git_status",
    "glob",
    "grep",
    "note",
    "read",
    "todo",
    "web_search",
    "write",
];

/// The tools of [`TOOLS`] that can change something.
const CHANGING_TOOLS: [&str; 5] = ["apply_patch", "bash", "edit", "note", "write"];

/// The tools of [`TOOLS`] that change nothing.
pub fn reading_tools() -> Vec<String> {
    let reading = TOOLS.iter().filter(|tool| !CHANGING_TOOLS.contains(tool));
    reading.map(|tool| (*tool).to_owned()).collect()
}

/// Tools that belong to another tool. They are available if and only if that tool is available.
const PARTS: &[(&str, &[&str])] = &[
    ("bash", &["bash_kill", "bash_output"]),
    ("read", &["notes", "skill"]),
];

/// Whether this is the name of a built-in tool, or begins with `mcp__` like the tools of MCP servers.
pub fn is_tool(name: &str) -> bool {
    TOOLS.contains(&name) || name.starts_with("mcp__")
}

/// These tools, and the tools that belong to them.
pub fn with_parts(tools: &[String]) -> Vec<String> {
    let mut all = tools.to_vec();
    for (tool, parts) in PARTS {
        if tools.iter().any(|name| name == tool) {
            all.extend(parts.iter().map(|part| (*part).to_owned()));
        }
    }
    all
}

/// The model, the prompt and the permissions of an agent.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentSpec {
    /// `provider/model` or `replay:FILE`. `None`: the first provider for which the member's environment has a key or a
    /// server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// The models that replace `model`, in this order, when a model stays overloaded, rejects its key or has no budget.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub fallbacks: Vec<String>,
    /// How long a model may stay overloaded or unreachable before the next of `fallbacks` replaces it, in milliseconds.
    /// `None`: 3 minutes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fallback_ms: Option<u64>,
    /// `None`: medium, for models that are known to think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// The model that writes the summaries of long conversations. `None`: the member's own model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub compact: Option<String>,
    /// Whether the member may delegate questions to helpers, and their limits. `None`: it may not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delegate: Option<DelegateSpec>,
    /// Describes the member's role, to the member itself and to other members.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// The prompt after the team's rules: the role's prompt, then the member's own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// Maximum number of model replies for one task or turn. `None`: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// Names of built-in tools, and names of MCP tools, which begin with `mcp__`. `None`: all tools.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny_tools: Vec<String>,
    /// The member must have a plan approved before it may change anything.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_plan: bool,
    /// Programs in the sandbox have the network access of this machine.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// The files whose texts are in the agent's system prompt, from the lowest to the highest precedence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub instructions: Vec<InstructionFile>,
    /// The skills that the agent can read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<Skill>,
    /// The command files of user and project, for the prompt of the agent's pane.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub commands: Vec<CommandFile>,
    /// Roles that the lead may spawn. `None`: all roles.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_spawn: Option<Vec<RoleName>>,
    /// Servers whose tools the agent may use.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp: Vec<McpServer>,
    /// The socket of the MCP host, the process that runs the team's shared MCP servers. Set by the supervisor at each
    /// launch. `None`: the team has no such process.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mcp_host: Option<PathBuf>,
    /// The hooks of the agent, in the order in which they run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hooks: Vec<HookSpec>,
    /// How the agent searches the web. `None`: through its model's provider, if the provider supports searching.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Rules about files that the agent must not read without a decision. The rest of the project is readable.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<String>,
    /// The paths of [`TeamSpec::protected`] that are not [`KeptPath::is_absent`]: the sandbox prevents changes to them.
    /// Written by the supervisor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptPath>,
    /// The agent is the lead, and the user delegated some decisions to it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_allow: bool,
    /// The provider of the agent's model may search the web by itself, without a decision for each search.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provider_may_search: bool,
    /// All calls run without a decision and without a sandbox.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypass: bool,
    /// Settings of providers, by their canonical names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub providers: BTreeMap<String, ProviderSpec>,
    /// The strategy of a lead without tools. Only for the lead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// A file to which every exchange with the model is appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
    /// The program of a member with the external engine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external: Option<ExternalAgent>,
}

/// The helpers of a member. A helper answers one question of the member, and can only read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct DelegateSpec {
    /// `None`: the member's own model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// Maximum number of model replies for one question.
    pub steps: u32,
    /// Maximum number of input and output tokens for one question.
    pub tokens: u64,
}

impl Default for DelegateSpec {
    fn default() -> Self {
        Self {
            model: None,
            steps: 20,
            tokens: 200_000,
        }
    }
}

/// A file with instructions of the user or of the project. The member reads the file at the start of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct InstructionFile {
    /// Canonical.
    pub path: PathBuf,
    /// The maximum number of bytes of the file that the prompt contains.
    pub max_bytes: u64,
}

/// Instructions for one kind of work, in the file `SKILL.md` of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Skill {
    pub name: String,
    /// One line.
    pub description: String,
    /// Canonical.
    pub directory: PathBuf,
    /// The digest of the files that the user trusted, in hexadecimal digits. `None`: a skill of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
}

/// One hook of an agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct HookSpec {
    pub event: HookEvent,
    /// A shell line. It runs in the project directory, with JSON on stdin.
    pub run: String,
    /// The subjects of the event for which the hook runs, see [`crate::hook::matches`]. Empty: all.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub matcher: String,
    pub timeout_seconds: u32,
    /// The scripts that the line starts, with the content that the user trusted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDigest>,
}

/// A slash command whose text is in a file. The text is a message of the user to the agent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CommandFile {
    /// The name without the slash.
    pub name: String,
    /// The arguments in the help, such as `ISSUE [PRIORITY]`; may be empty.
    pub arguments: String,
    /// One line.
    pub description: String,
    pub file: FileDigest,
    /// The offset of the text in the file, in bytes. The text follows the front matter.
    pub text_at: u64,
}

impl CommandFile {
    /// The maximum size of the file.
    pub const MAX_BYTES: u64 = 32 << 10;
}

/// Settings of a provider that differ from its defaults.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProviderSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<BaseUrl>,
    /// Additional headers. A value `$NAME` is replaced by the variable `NAME` of the member's environment, so that no
    /// file needs to contain a secret.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// Additional fields of the request body. They replace fields of the same name.
    #[serde(default, skip_serializing_if = "Map::is_empty")]
    pub extra_body: Map<String, Value>,
    /// `None`: the API that the provider and the model use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wire: Option<Wire>,
    /// Later requests repeat the model's reasoning in `reasoning_content`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub reasoning_content: bool,
    /// The time without any byte from the server after which a request is repeated. `None`: 120 s, and 600 s for a server
    /// on this machine.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub silence_seconds: Option<u64>,
    /// Certificates in PEM that are trusted in addition to the built-in certificates. The field contains the text of
    /// the file, not its path: the user trusts this text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<String>,
}

/// An API of model providers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Wire {
    /// OpenAI's Chat Completions, which most other providers use as well.
    #[serde(rename = "chat")]
    ChatCompletions,
    /// OpenAI's Responses.
    Responses,
    /// Anthropic's Messages.
    Messages,
}

impl Wire {
    /// The name of each API in the team file.
    pub const NAMES: [(&'static str, Wire); 3] = [
        ("chat", Wire::ChatCompletions),
        ("responses", Wire::Responses),
        ("messages", Wire::Messages),
    ];
}

/// The base URL of a provider, and the source that sets it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BaseUrl {
    /// Set by a file of the project: neither the user's key nor another variable of the user is sent to this URL.
    OfProject(String),
    /// Set by the user.
    Own(String),
}

/// The method by which a lead without tools brings a run to its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Strategy {
    /// In each round the lead's model names the next member, or gives the answer.
    Coordinator {
        /// Maximum number of rounds of a run.
        max_rounds: u32,
        /// The template of the question, see [`crate::template`]. `None`: the built-in text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
    },
    /// The members work one after another, each once. Then the lead's model writes a synthesis.
    Collaborate,
}

/// How agents search the web.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "api", rename_all = "snake_case")]
pub enum Search {
    /// No `web_search` tool.
    #[serde(rename = "nobody")]
    Off,
    /// The model's own provider, at its configured base URL.
    Provider,
    /// A SearXNG server whose settings allow JSON; `url` is without `/search`.
    Searxng { url: String },
    /// Brave's Search API.
    Brave {
        /// `None`: Brave's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// The name of the environment variable that contains the API key, in the environment of the member's programs.
        key: String,
    },
}

/// An MCP server. Its tools are named `mcp__<name>__<tool>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct McpServer {
    pub name: String,
    pub via: McpTransport,
    /// The time limit of a call without progress, in seconds. `None`: 300.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout_s: Option<u32>,
    /// Whether the model finds the server's tools by search. `None`: the model searches if all tools together are too
    /// many to be offered in each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<bool>,
    /// All members use one process of the server's program. Only for [`McpTransport::Program`].
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub shared: bool,
    /// The scripts that the server's program consists of or receives as arguments.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDigest>,
}

/// The connection to an MCP server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum McpTransport {
    /// A program that is started in the project directory, and connected by stdin and stdout.
    Program {
        command: String,
        args: Vec<String>,
        /// Added to the member's own environment.
        env: BTreeMap<String, String>,
    },
    /// Streamable HTTP.
    Http {
        url: String,
        /// Sent with every request. `$NAME` or `${NAME}` in a value is replaced by the variable `NAME` in the
        /// environment of the member's programs, so that no file needs to contain a secret.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
    },
}

/// Which tasks an idle member takes by itself.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClaimPolicy {
    /// Any ready task that the member's role may claim.
    #[default]
    Ready,
    /// Only tasks that are assigned to the member.
    Assigned,
}

impl ClaimPolicy {
    /// The policy of a member whose configuration names none. A lead that is an agent distributes the tasks. A chat
    /// session works only while its user prompts it, so it claims a task only by a call.
    pub fn default_of(engine: Engine, lead: bool) -> Self {
        if engine == Engine::Joined || (lead && !engine.runs_lines()) {
            Self::Assigned
        } else {
            Self::Ready
        }
    }
}

/// How the terminal backend arranges the panes of a team.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// The lead, or the first member, beside a grid of the other members.
    MainVertical,
    Tiled,
    EvenHorizontal,
    EvenVertical,
    /// Each member in its own window of tmux, or in its own tab of iTerm2.
    Windows,
}

/// A member's colour, one of the palette.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Colour {
    Blue,
    Green,
    Yellow,
    Magenta,
    Cyan,
    Orange,
    Pink,
    Lime,
    Violet,
    Teal,
    Red,
    /// Also used for an unknown colour of a newer version.
    #[serde(other)]
    Grey,
}

impl Colour {
    pub const PALETTE: [Self; 12] = [
        Self::Blue,
        Self::Green,
        Self::Yellow,
        Self::Magenta,
        Self::Cyan,
        Self::Orange,
        Self::Pink,
        Self::Lime,
        Self::Violet,
        Self::Teal,
        Self::Red,
        Self::Grey,
    ];

    /// The colour with this [`Colour::name`]; `None` for an unknown name.
    pub fn named(name: &str) -> Option<Self> {
        Self::PALETTE
            .into_iter()
            .find(|colour| colour.name() == name)
    }

    /// The number of the colour in the 256-colour palette of terminals.
    pub fn ansi256(self) -> u8 {
        match self {
            Self::Blue => 75,
            Self::Green => 78,
            Self::Yellow => 221,
            Self::Magenta => 176,
            Self::Cyan => 80,
            Self::Orange => 215,
            Self::Pink => 211,
            Self::Lime => 155,
            Self::Violet => 141,
            Self::Teal => 43,
            Self::Red => 167,
            Self::Grey => 248,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Self::Blue => "blue",
            Self::Green => "green",
            Self::Yellow => "yellow",
            Self::Magenta => "magenta",
            Self::Cyan => "cyan",
            Self::Orange => "orange",
            Self::Pink => "pink",
            Self::Lime => "lime",
            Self::Violet => "violet",
            Self::Teal => "teal",
            Self::Red => "red",
            Self::Grey => "grey",
        }
    }
}

/// The desired state of one task. `after` names tasks by id (`T-3`) or by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskSpec {
    /// Identifies the task within the team file; defaults to the title.
    pub key: String,
    pub title: String,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// Higher first.
    #[serde(default)]
    pub priority: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub labels: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub role: Option<RoleName>,
    #[serde(default, rename = "for", skip_serializing_if = "Option::is_none")]
    pub assignee: Option<MemberName>,
    /// Globs of the files that the task changes; advisory.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<String>,
    /// A shell line that does the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
    /// A shell line that must exit 0 before the task counts as completed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verify: Option<String>,
    /// Whether the `run` line may run again after a crash.
    #[serde(default = "yes")]
    pub rerun: bool,
    /// Describes the work while it is in progress, such as "Adding the tests".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<String>,
    /// The creator's own data: a JSON object of at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// Maximum length of the title of a typed task, in characters.
const TYPED_TITLE: usize = 60;

impl TaskSpec {
    /// A task from a line that the user typed for this member. The line does not run again after a crash.
    pub fn typed(line: &str, member: MemberName) -> Self {
        let title = visible_label(line, TYPED_TITLE);
        Self {
            key: title.clone(),
            title,
            run: Some(line.to_owned()),
            assignee: Some(member),
            rerun: false,
            ..Self::default()
        }
    }
}

fn yes() -> bool {
    true
}
