//! Lists the parts of a project's files that require the user's trust: lines that allow calls, start programs or send
//! data without asking, the scripts that these lines start, and the instructions, skills and command files of the
//! project. Called when the team is read.
//!
//! Rules that deny or ask apply without trust and are not listed.

pub(super) mod git_config;
mod scripts;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use agent_team_policy::Digest;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::Scope;
use agent_team_protocol::spec::{
    BaseUrl, CommandFile, ExternalAgent, FileDigest, HookSpec, Hooks, KeptPath, McpServer,
    McpTransport, Notify, NotifyCommand, ProviderSpec, Search, Skill, TaskSpec, TrustedLine,
};
use serde_json::Value;

use super::member::{Defaults, Member};
use super::permissions::PermissionSettings;
use super::role::Roles;
use super::source::{Fault, Source};
pub(super) use git_config::repository_around;
use scripts::Scripts;

/// The permissions and commands for which a project's files need the user's trust.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequiredTrust {
    /// The descriptions, one complete description per line.
    pub lines: Vec<String>,
    /// The digest of the lines. When the digest changes, the user is asked again.
    pub digest: String,
}

impl RequiredTrust {
    fn of(lines: Vec<String>) -> Self {
        let digest = Digest::of_bytes(lines.join("\n").as_bytes()).to_string();
        Self { lines, digest }
    }
}

/// The parts of a team that can require trust.
pub(super) struct Team<'a> {
    pub(super) project: &'a Path,
    pub(super) permissions: &'a PermissionSettings,
    /// The user's files, which take precedence over the project's file.
    pub(super) user: &'a [PermissionSettings],
    pub(super) hooks: &'a Hooks,
    /// The hooks of agents in the project's file.
    pub(super) agent_hooks: &'a mut [HookSpec],
    /// The user's own hooks. They need no trust, but the scripts of the project that they start need it.
    pub(super) user_hooks: &'a mut [HookSpec],
    /// The notifications of the project's file.
    pub(super) notify: Option<&'a mut Notify>,
    pub(super) servers: &'a mut [McpServer],
    /// The members and roles whose commands have network access.
    pub(super) networked: Vec<String>,
    /// See [`external`].
    pub(super) external: Vec<String>,
    pub(super) texts: &'a ProjectTexts,
    /// The user's home directory, for the user's git configuration.
    pub(super) home: Option<&'a Path>,
    pub(super) defaults: &'a Defaults,
    pub(super) members: &'a [Member],
    pub(super) tasks: &'a [TaskSpec],
    /// The search of the project's file.
    pub(super) search: Option<&'a Search>,
    pub(super) providers: &'a BTreeMap<String, ProviderSpec>,
    /// The resolved files from which `ca` of the providers was read.
    pub(super) certificate_files: &'a BTreeMap<String, PathBuf>,
}

/// The texts of the project that agents receive.
#[derive(Debug, Default)]
pub(super) struct ProjectTexts {
    pub(super) instructions: BTreeSet<PathBuf>,
    /// The skills, each with the digest of its files.
    pub(super) skills: Vec<(Skill, String)>,
    pub(super) commands: Vec<CommandFile>,
}

pub(super) struct Trust {
    /// `None` when nothing needs trust.
    pub(super) required_trust: Option<RequiredTrust>,
    /// The shell lines that start scripts, with the digests of these scripts.
    pub(super) trusted: Vec<TrustedLine>,
    /// See [`agent_team_protocol::spec::TeamSpec::protected`].
    pub(super) protected: Vec<KeptPath>,
}

/// Finds the parts of a team that require trust. Stores the digests of scripts in the specification of the MCP server,
/// of `notify` or of the agent's hook that starts the script.
pub(super) fn of(team: Team<'_>) -> Trust {
    let mut lines = rules(team.permissions, team.user);
    let hooks = [
        ("task_completed", &team.hooks.task_completed),
        ("teammate_idle", &team.hooks.teammate_idle),
    ];
    for (event, line) in hooks {
        lines.extend(line.iter().map(|line| format!("hook {event} runs {line}")));
    }
    lines.extend(team.agent_hooks.iter().map(agent_hook));
    if let Some(Notify::Command(command)) = &team.notify {
        let argv: String = command.argv.iter().map(|arg| format!(" {arg:?}")).collect();
        lines.push(format!("notify runs{argv}"));
    }
    lines.extend(team.servers.iter().map(server));
    let networked = team.networked.iter();
    lines.extend(networked.map(|subject| format!("network = true for {subject}")));
    lines.extend(team.external.iter().cloned());
    lines.extend(environment(team.defaults, team.members));
    let outside = team
        .members
        .iter()
        .filter(|member| !member.spec.cwd.starts_with(team.project));
    lines.extend(outside.map(|member| {
        let (name, cwd) = (&member.spec.name, member.spec.cwd.display());
        format!("member {name} works in {cwd}, outside the project")
    }));
    for task in team.tasks {
        let (key, run, verify) = (&task.key, task.run.iter(), task.verify.iter());
        lines.extend(run.map(|line| format!("task {key:?} runs {line}")));
        lines.extend(verify.map(|line| format!("task {key:?} is verified by {line}")));
    }
    lines.extend(team.search.and_then(search));
    lines.extend(providers(&team));
    // The lines of instruction files have no digest: the files change with the project and give no permission. They are
    // protected paths.
    lines.extend(team.texts.instructions.iter().map(|file| {
        let file = file.strip_prefix(team.project).unwrap_or(file);
        format!("the instructions in {}", file.display())
    }));
    lines.extend(team.texts.skills.iter().map(|(skill, sha256)| {
        let Skill {
            name, directory, ..
        } = skill;
        let directory = directory.strip_prefix(team.project).unwrap_or(directory);
        format!(
            "the skill {name} in {} (SHA-256 {sha256})",
            directory.display()
        )
    }));
    lines.extend(team.texts.commands.iter().map(|command| {
        let CommandFile { name, file, .. } = command;
        let path = file.path.strip_prefix(team.project).unwrap_or(&file.path);
        format!(
            "the command /{name} in {} (SHA-256 {})",
            path.display(),
            file.sha256
        )
    }));

    let mut scripts = Scripts::new(team.project);
    let mut directories: Vec<&Path> = vec![team.project];
    let commands = team
        .members
        .iter()
        .filter(|member| member.spec.engine.runs_lines());
    directories.extend(commands.map(|member| member.spec.cwd.as_path()));
    directories.sort();
    directories.dedup();
    let of_hooks = hooks.iter().filter_map(|(_, line)| line.as_deref());
    let of_tasks = team.tasks.iter();
    let of_tasks = of_tasks.flat_map(|task| task.run.iter().chain(&task.verify));
    let mut trusted: Vec<TrustedLine> = Vec::new();
    for line in of_hooks.chain(of_tasks.map(String::as_str)) {
        let files = scripts.of_line(line, &directories);
        let is_known = trusted.iter().any(|known| known.line == line);
        if !files.is_empty() && !is_known {
            let line = line.to_owned();
            trusted.push(TrustedLine { line, files });
        }
    }
    for hook in team.agent_hooks.iter_mut().chain(team.user_hooks) {
        let line = in_project(&hook.run);
        hook.files = scripts.of_line(&line, &[team.project]);
    }
    if let Some(Notify::Command(NotifyCommand { argv, files })) = team.notify
        && let Some((program, args)) = argv.split_first()
    {
        *files = scripts.of_program(program, args);
    }
    for server in team.servers {
        if let McpTransport::Program { command, args, .. } = &server.via {
            server.files = scripts.of_program(command, args);
        }
    }
    lines.extend(scripts.found().map(|file| script(team.project, file)));
    let mut protected = git_config::kept(team.project, team.home);
    protected.extend(scripts.found().map(|file| KeptPath {
        path: file.path.clone(),
        is_directory: false,
        is_absent: file.is_absent(),
    }));
    let commands = team.texts.commands.iter();
    let files = team.texts.instructions.iter();
    let files = files.chain(commands.map(|command| &command.file.path));
    let files = files.map(|file| (file, false));
    let skills = team.texts.skills.iter();
    let texts = files.chain(skills.map(|(skill, _)| (&skill.directory, true)));
    protected.extend(texts.map(|(path, is_directory)| KeptPath {
        path: path.clone(),
        is_directory,
        is_absent: false,
    }));
    protected.sort();
    protected.dedup_by(|a, b| a.path == b.path);
    let required_trust = (!lines.is_empty()).then(|| RequiredTrust::of(lines));
    Trust {
        required_trust,
        trusted,
        protected,
    }
}

/// A warning for each script that a trusted line starts but that does not exist.
pub(super) fn absent_scripts(
    source: &Source<'_>,
    project: &Path,
    protected: &[KeptPath],
) -> Vec<Fault> {
    let absent = protected.iter().filter(|path| path.is_absent);
    let names = absent.map(|script| {
        let name = script.path.strip_prefix(project).unwrap_or(&script.path);
        name.display().to_string()
    });
    names
        .map(|name| {
            let at = source.find(0, &[&name]).unwrap_or_default();
            let message = format!(
                "script {name} does not exist; after you create it, run agent-team up again to trust it, or the command \
                 that starts it fails"
            );
            source.warning(at, message)
        })
        .collect()
}

fn rules(file: &PermissionSettings, user: &[PermissionSettings]) -> Vec<String> {
    let mut lines = Vec::new();
    let user_sets_mode = user.iter().any(|settings| settings.mode.is_some());
    let wider = file.mode.filter(|mode| *mode > Mode::Default);
    if let (false, Some(mode)) = (user_sets_mode, wider) {
        lines.push(format!("mode = {:?}", mode.name()));
    }
    let user_sets_scope = user.iter().any(|settings| settings.default_scope.is_some());
    if let (false, Some(scope)) = (user_sets_scope, file.default_scope)
        && scope != Scope::Once
    {
        lines.push(format!("default_scope = {:?}", scope.name()));
    }
    for (key, rules) in [
        ("allow", &file.rules.allow),
        ("approve", &file.rules.approve),
    ] {
        lines.extend(rules.iter().map(|rule| format!("{key} {rule}")));
    }
    lines
}

fn agent_hook(hook: &HookSpec) -> String {
    let HookSpec {
        event,
        run,
        matcher,
        ..
    } = hook;
    let event = event.name();
    match matcher.as_str() {
        "" => format!("hook {event} runs {run}"),
        matcher => format!("hook {event} for {matcher:?} runs {run}"),
    }
}

/// Replaces the variable of the project directory by `.`. Hooks written for Claude Code start their scripts with this
/// variable.
fn in_project(line: &str) -> String {
    let variables = [
        "\"$CLAUDE_PROJECT_DIR\"",
        "\"${CLAUDE_PROJECT_DIR}\"",
        "${CLAUDE_PROJECT_DIR}",
        "$CLAUDE_PROJECT_DIR",
    ];
    let replace = |line: String, variable: &&str| line.replace(*variable, ".");
    variables.iter().fold(line.to_owned(), replace)
}

fn server(server: &McpServer) -> String {
    match &server.via {
        McpTransport::Program { command, args, env } => {
            let args: String = args.iter().map(|arg| format!(" {arg:?}")).collect();
            let env = pairs(env);
            format!("MCP server {} runs{env} {command:?}{args}", server.name)
        }
        McpTransport::Http { url, headers } => {
            let headers = pairs(headers);
            format!("MCP server {} is at {url}{headers}", server.name)
        }
    }
}

/// The external agents of members, and of members that may be spawned later. A known agent needs trust, too: it reads
/// the project's own settings for it, such as `.claude/settings.json`, whose hooks, plugins and rules run programs without
/// asking.
pub(super) fn external(defaults: &Defaults, members: &[Member], roles: &Roles) -> Vec<String> {
    let line = external_line;
    let has_program =
        |member: &&Member| matches!(member.spec.engine, Engine::External | Engine::Terminal);
    let of_members = members.iter().filter(has_program).filter_map(|member| {
        let agent = member.agent.external.as_ref()?;
        Some(line(&format!("member {}", member.spec.name), agent))
    });
    let of_defaults = defaults.agent_keys.external.as_ref();
    let of_defaults = of_defaults.map(|agent| line(SPAWNED, agent));
    let of_roles = roles.external();
    let of_roles =
        of_roles.map(|(role, agent)| line(&format!("each member of role {role}"), agent));
    of_members.chain(of_defaults).chain(of_roles).collect()
}

/// The subject of the line about members that are spawned later.
const SPAWNED: &str = "each spawned member";

fn external_line(subject: &str, agent: &ExternalAgent) -> String {
    let own = agent.terminal.as_ref();
    let words = own.map_or(&agent.command, |own| &own.command).iter();
    let words: String = words.map(|word| format!(" {word:?}")).collect();
    format!("{subject} runs{words}, without the sandbox and with the project's settings for it")
}

/// The trust that a member with this agent requires when the user spawns the member. The line is the same as for a team
/// file that makes this agent the agent of spawned members.
pub fn of_spawned(agent: &ExternalAgent) -> RequiredTrust {
    RequiredTrust::of(vec![external_line(SPAWNED, agent)])
}

fn pairs(pairs: &BTreeMap<String, String>) -> String {
    let pairs = pairs
        .iter()
        .map(|(name, value)| format!(" {name}={value:?}"));
    pairs.collect()
}

fn environment(defaults: &Defaults, members: &[Member]) -> Vec<String> {
    let line = |subject: &str, name: &String, value: &String| {
        format!("env {name}={value:?} for {subject}")
    };
    let all = defaults.env.iter();
    let mut lines: Vec<String> = all
        .map(|(name, value)| line("all members", name, value))
        .collect();
    for member in members {
        let env = member.spec.env.iter();
        let changed = env.filter(|(name, value)| defaults.env.get(*name) != Some(value));
        let subject = format!("member {}", member.spec.name);
        lines.extend(changed.map(|(name, value)| line(&subject, name, value)));
    }
    lines
}

fn search(search: &Search) -> Option<String> {
    match search {
        Search::Off | Search::Provider => None,
        Search::Searxng { url } => Some(format!("searches are sent to {url}")),
        Search::Brave { url, key } => Some(match url {
            Some(url) => format!("searches are sent to {url}, with the secret {key}"),
            None => format!("searches are sent to Brave, with the secret {key}"),
        }),
    }
}

fn providers(team: &Team<'_>) -> Vec<String> {
    let mut lines = Vec::new();
    for (name, provider) in team.providers {
        if let Some(BaseUrl::OfProject(url)) = &provider.base_url {
            lines.push(format!("the model provider {name} is at {url}"));
        }
        if !provider.headers.is_empty() {
            let headers = pairs(&provider.headers);
            lines.push(format!("the model provider {name} is sent{headers}"));
        }
        if !provider.extra_body.is_empty() {
            let fields = Value::Object(provider.extra_body.clone());
            lines.push(format!(
                "the model provider {name} is sent the fields {fields}"
            ));
        }
        if let (Some(pem), Some(file)) = (&provider.ca, team.certificate_files.get(name)) {
            let sha256 = Digest::of_bytes(pem.as_bytes());
            let file = file.strip_prefix(team.project).unwrap_or(file);
            lines.push(format!(
                "the model provider {name} is identified by the certificates in {file:?} (SHA-256 {sha256})"
            ));
        }
    }
    lines
}

/// The end of the line about a script that does not exist.
pub const ABSENT: &str = " (does not exist yet)";

fn script(project: &Path, file: &FileDigest) -> String {
    let path = file.path.strip_prefix(project).unwrap_or(&file.path);
    match file.is_absent() {
        true => format!("the script {}{ABSENT}", path.display()),
        false => format!("the script {} (SHA-256 {})", path.display(), file.sha256),
    }
}
