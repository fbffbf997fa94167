//! What is wanted: a team as its file describes it, resolved by the one who read the file.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::id::{MemberName, RoleName, TeamName};
use crate::permissions::{Permissions, Stance};
use crate::text::visible_label;

/// A team as wanted. Every default of the team file is filled in.
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
    /// The team file's.
    #[serde(default)]
    pub permissions: Permissions,
    /// The person's own, for every team and for this one.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub own_permissions: Vec<Permissions>,
    #[serde(default)]
    pub stance: Stance,
    /// What `spawn ROLE` can make, by name; `worker` is always there.
    pub roles: Vec<RoleSpec>,
    pub members: Vec<MemberSpec>,
    pub tasks: Vec<TaskSpec>,
    /// The scripts that hooks and lines of tasks start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub trusted: Vec<TrustedLine>,
    /// Scripts that trusted lines and MCP servers start, and what git's configuration leads to; sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub protected: Vec<KeptPath>,
}

/// A shell line that the user trusted, and the scripts of the project that it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TrustedLine {
    pub line: String,
    pub files: Vec<FileDigest>,
}

/// A file with the content that the user trusted, or one that did not exist then.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct FileDigest {
    /// Canonical.
    pub path: PathBuf,
    /// Of its content, in hexadecimal digits, or [`FileDigest::ABSENT`].
    pub sha256: String,
}

impl FileDigest {
    /// In place of a digest: the file did not exist.
    pub const ABSENT: &str = "absent";

    pub fn is_absent(&self) -> bool {
        self.sha256 == Self::ABSENT
    }
}

/// A path of the project that agents must not change, besides the list of protected paths.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct KeptPath {
    pub path: PathBuf,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_directory: bool,
    /// It did not exist when the user trusted the line that starts it. Edit tools ask before they create it; the sandbox
    /// does not prevent it, because the line is not run before the user trusts the file.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_absent: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Limits {
    /// Members that are not stopped, at most.
    pub teammates: u32,
    /// Launches under way at once, at most.
    pub starting: u32,
    /// What all members may spend together on one goal.
    #[serde(default)]
    pub budget: Budget,
}

/// What may be spent on models for one goal; each at least 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Budget {
    /// Read and written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Millionths of a US dollar. What costs nobody knows how much does not count.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub micro_usd: Option<u64>,
    /// Milliseconds in which somebody works.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub work_ms: Option<u64>,
}

impl Budget {
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Read and written.
    #[must_use]
    pub fn tokens(self, tokens: u64) -> Self {
        Self {
            tokens: Some(tokens),
            ..self
        }
    }

    /// US dollars, to the millionth; at least one of these.
    #[must_use]
    pub fn usd(self, usd: f64) -> Self {
        Self {
            micro_usd: Some(((usd * 1e6).round() as u64).max(1)),
            ..self
        }
    }

    /// Minutes in which somebody works, to the millisecond; at least one of these.
    #[must_use]
    pub fn minutes(self, minutes: f64) -> Self {
        Self {
            work_ms: Some(milliseconds(minutes)),
            ..self
        }
    }
}

/// Of minutes; at least one.
pub fn milliseconds(minutes: f64) -> u64 {
    ((minutes * 60_000.0).round() as u64).max(1)
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

/// Shell lines that the supervisor runs in the project directory, JSON on stdin, at most 60 s.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Hooks {
    /// Between "asked to complete" and "completed"; exit 2 refuses with stderr as the reason.
    #[serde(default)]
    pub task_completed: Option<String>,
    /// When a member has nothing to do; exit 2 tells it why it should go on.
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

/// One member as wanted. A difference in any field but `claim`, `colour` and `budget` means a new launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct MemberSpec {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
    pub engine: Engine,
    /// `None`: the first of the palette that nobody has.
    #[serde(default)]
    pub colour: Option<Colour>,
    /// Absolute.
    pub cwd: PathBuf,
    /// On top of the environment of `up`.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    pub claim: ClaimPolicy,
    /// `None`: the team's.
    #[serde(default)]
    pub placement: Option<PlacementChoice>,
    #[serde(default)]
    pub agent: AgentSpec,
    /// Of the native engine.
    #[serde(default, skip_serializing_if = "Budget::is_empty")]
    pub budget: Budget,
}

/// The tools of the domain, by the names that the user and models write.
pub const TOOLS: [&str; 11] = [
    "bash",
    "edit",
    "fetch",
    "git_diff",
    "git_status",
    "glob",
    "grep",
    "read",
    "todo",
    "web_search",
    "write",
];

/// Those of [`TOOLS`] that change something.
const CHANGING_TOOLS: [&str; 3] = ["bash", "edit", "write"];

/// Those of [`TOOLS`] that change nothing.
pub fn reading_tools() -> Vec<String> {
    let reading = TOOLS.iter().filter(|tool| !CHANGING_TOOLS.contains(tool));
    reading.map(|tool| (*tool).to_owned()).collect()
}

/// Tools that belong to another one, and come and go with it.
const PARTS: &[(&str, &[&str])] = &[("bash", &["bash_kill", "bash_output"])];

/// Whether it is a tool of the domain, or has the form `mcp__<server>__<tool>` of a server's.
pub fn is_tool(name: &str) -> bool {
    TOOLS.contains(&name) || name.starts_with("mcp__")
}

/// These tools and those that belong to them.
pub fn with_parts(tools: &[String]) -> Vec<String> {
    let mut all = tools.to_vec();
    for (tool, parts) in PARTS {
        if tools.iter().any(|name| name == tool) {
            all.extend(parts.iter().map(|part| (*part).to_owned()));
        }
    }
    all
}

/// How a member of the native engine thinks, and what it may do.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct AgentSpec {
    /// `provider/model` or `replay:FILE`. `None`: the first for which the member's environment has a key or a server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<String>,
    /// What its role is for, in a line for the others.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
    /// What it is told besides the rules of the team: its role's prompt, then its own.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub prompt: String,
    /// Answers of the model for one task or turn, at most. `None`: 100.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_steps: Option<u32>,
    /// Names of tools of the domain. `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tools: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deny_tools: Vec<String>,
    /// It changes nothing before a plan of it is approved.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub must_plan: bool,
    /// What it runs in the sandbox reaches what this machine reaches.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub network: bool,
    /// Roles that it may spawn, as the lead. `None`: all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub may_spawn: Option<Vec<RoleName>>,
    /// Servers whose tools it is offered besides.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mcp: Vec<McpServer>,
    /// Who searches the web for it. `None`: its model's provider, where that is known to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub search: Option<Search>,
    /// Rules about files that it may not read without asking: the rest of the project it may.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub guarded: Vec<String>,
    /// The existing paths of [`TeamSpec::protected`]: the sandbox prevents changes of them. Written by the supervisor.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kept: Vec<KeptPath>,
    /// The person lets it, as the lead, allow some of what others ask.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_allow: bool,
    /// Its model's provider may search the web by itself, which nobody can be asked about each time.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub provider_may_search: bool,
    /// Carries out everything without asking, and without a sandbox.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bypass: bool,
    /// How providers are asked, by their canonical names.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub providers: BTreeMap<String, ProviderSpec>,
    /// How it leads, if not with tools. The lead's alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub strategy: Option<Strategy>,
    /// A file to which every exchange with the model is appended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub record: Option<PathBuf>,
}

/// How a provider of models is asked, where that differs from what it usually is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct ProviderSpec {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_url: Option<BaseUrl>,
    /// Sent besides what is needed. A value `$NAME` stands for that variable of the member's environment, so that no
    /// secret is written down.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Where a provider is asked, and whose word that is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum BaseUrl {
    /// A file says so that comes with the project: neither the person's key nor another variable of theirs is sent there.
    OfProject(String),
    /// The person says so.
    Own(String),
}

/// How a lead without tools brings a run to its answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Strategy {
    /// Each round its model says who works next, or gives the answer.
    Coordinator {
        /// Rounds that a run may have.
        max_rounds: u32,
        /// What the model is asked with, see [`crate::template`]. `None`: the built-in text.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        prompt: Option<String>,
    },
    /// Every member works on it in turn, then its model sums up.
    Collaborate,
}

/// Who searches the web for agents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(tag = "api", rename_all = "snake_case")]
pub enum Search {
    /// They have no `web_search`.
    Nobody,
    /// A model's own provider, at whatever base URL it is asked.
    Provider,
    /// A server of SearXNG whose settings allow JSON; `url` is without `/search`.
    Searxng { url: String },
    /// Brave's Search API.
    Brave {
        /// `None`: Brave's own.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        url: Option<String>,
        /// The variable of a member's programs that holds the key.
        key: String,
    },
}

/// A server of the Model Context Protocol. Its tools are called `mcp__<name>__<tool>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct McpServer {
    pub name: String,
    pub via: McpTransport,
    /// The scripts that its program is, or is given.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<FileDigest>,
}

/// How an MCP server is reached.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum McpTransport {
    /// Started in the project directory, and spoken to over its stdin and stdout.
    Program {
        command: String,
        args: Vec<String>,
        /// On top of the member's own.
        env: BTreeMap<String, String>,
    },
    /// Streamable HTTP.
    Http {
        url: String,
        /// Sent with every request. `$NAME` or `${NAME}` in a value stands for that variable of the member's programs,
        /// so that no secret is written down.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        headers: BTreeMap<String, String>,
    },
}

/// What does a member's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Runs each task's `run` line.
    Command,
    /// Our own agent: a model with tools.
    Native,
    /// Of a newer version. Views show it; no member is launched with it.
    #[serde(other)]
    Unknown,
}

impl Engine {
    /// The program that a member of this engine runs as.
    pub fn worker(self) -> &'static str {
        match self {
            Self::Command => "agent-teammate",
            Self::Native => "agent-teammate-native",
            Self::Unknown => "an unknown worker (newer version)",
        }
    }
}

/// Which tasks an idle member takes by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum ClaimPolicy {
    /// Any ready task that its role may take.
    Ready,
    /// Only tasks that are assigned to it.
    Assigned,
}

/// Where members are wanted to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlacementChoice {
    /// The first that can be used: the caller's own tmux, its iTerm2, a tmux server of ours, headless. Which and why is
    /// said.
    Auto,
    Tmux,
    /// Sessions of iTerm2's own.
    Iterm,
    /// A tmux server of ours whose windows and panes iTerm2 draws as its own.
    ItermTmux,
    Headless,
    /// Several members in one process.
    Hosted,
}

/// How tmux lays the panes of a team's window out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Layout {
    /// The lead, or whoever is first, beside a grid of the others.
    MainVertical,
    Tiled,
    EvenHorizontal,
    EvenVertical,
    /// Each member in a window of its own.
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
    /// Also stands in for a colour of a newer version.
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

    /// As [`Colour::name`] has it; a colour of a newer version is none.
    pub fn named(name: &str) -> Option<Self> {
        Self::PALETTE
            .into_iter()
            .find(|colour| colour.name() == name)
    }

    /// Its number in the 256-colour palette of terminals.
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
            Self::Red => 203,
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

/// One task as wanted. `after` names tasks by id (`T-3`) or by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct TaskSpec {
    /// Identity within the team file; the title unless given.
    pub key: String,
    pub title: String,
    #[serde(default)]
    pub description: String,
    /// Higher first.
    #[serde(default)]
    pub priority: i32,
    #[serde(default)]
    pub labels: Vec<String>,
    #[serde(default)]
    pub after: Vec<String>,
    #[serde(default)]
    pub role: Option<RoleName>,
    #[serde(default, rename = "for")]
    pub assignee: Option<MemberName>,
    /// Globs of files it means to touch; advisory.
    #[serde(default)]
    pub files: Vec<String>,
    /// A shell line that does it.
    #[serde(default)]
    pub run: Option<String>,
    /// A shell line that must exit 0 before it counts as completed.
    #[serde(default)]
    pub verify: Option<String>,
    /// Whether a run that was lost may be repeated.
    #[serde(default = "yes")]
    pub rerun: bool,
    /// The work while it is in progress, such as "Adding the tests".
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub active_form: Option<String>,
    /// Data of the creator's own: a JSON object of at most 32 KiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata: Option<Map<String, Value>>,
}

/// Longest title of a typed task, in characters.
const TYPED_TITLE: usize = 60;

impl TaskSpec {
    /// A line that a person typed for this member, which is not repeated when its run is lost.
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
