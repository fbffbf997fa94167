//! The keys of an agent in `[lead]`, `[[member]]`, `[roles.<name>]` and role files, and their combination from role,
//! member and `[defaults]`. Called by the modules that read these tables.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use agent_team_protocol::spec::{
    AgentSpec, DelegateSpec, ExternalAgent, McpServer, ProviderSpec, TOOLS, is_tool, with_parts,
};
use agent_team_protocol::value::{Effort, milliseconds};
use agent_team_providers::ModelName;

use super::commands::FoundCommands;
use super::instructions::{self, FoundInstructions, InstructionsKey};
use super::overrides::Overrides;
use super::skills::FoundSkills;
use super::source::Source;
use super::table::{At, Table, suggest};
use super::unsupported::Level;
use super::variables::{self, Variables};

/// Values of `plan`. Without the key, no plan is required.
pub(super) const PLANS: &[(&str, ())] = &[("required", ())];

/// Tools that a coordinating role does not have.
pub(super) const EDITING: [&str; 4] = ["apply_patch", "bash", "edit", "write"];

const REPLAY: &str = "replay:";

/// The keys of an agent in one table or role file.
#[derive(Debug, Clone, Default)]
pub(super) struct AgentKeys {
    pub(super) model: Option<String>,
    /// The models after the first in `model`.
    pub(super) fallbacks: Vec<String>,
    /// The time for which a model may stay overloaded before a fallback replaces it.
    pub(super) fallback_ms: Option<u64>,
    pub(super) effort: Option<Effort>,
    /// The model that writes summaries.
    pub(super) compact: Option<String>,
    pub(super) delegate: Option<DelegateKey>,
    pub(super) prompt: String,
    pub(super) max_steps: Option<u32>,
    pub(super) tools: Option<Vec<String>>,
    pub(super) deny_tools: Vec<String>,
    /// `plan = "required"`.
    pub(super) must_plan: bool,
    /// Whether sandboxed commands have network access.
    pub(super) network: Option<bool>,
    /// The names of the MCP servers that the agent uses. `None`: all servers of the file.
    pub(super) mcp: Option<Vec<String>>,
    /// The position of `mcp`.
    pub(super) mcp_at: usize,
    /// Set only in `[defaults]`: the MCP servers of the whole file.
    pub(super) servers: Vec<McpServer>,
    pub(super) instructions: Option<InstructionsKey>,
    /// Set only for a member: its directory.
    pub(super) cwd: Option<PathBuf>,
    /// Set only in `[defaults]`: the instruction files of project and user.
    pub(super) found_instructions: FoundInstructions,
    /// Set only in `[defaults]`: the skills of project and user.
    pub(super) found_skills: FoundSkills,
    /// Set only in `[defaults]`: the command files of project and user.
    pub(super) found_commands: FoundCommands,
    /// Set only in `[defaults]`: the providers of the whole file.
    pub(super) providers: BTreeMap<String, ProviderSpec>,
    /// The program of `engine`.
    pub(super) external: Option<ExternalAgent>,
    /// The first of these keys that concerns tools, with its position.
    pub(super) tools_at: Option<At<&'static str>>,
    /// The first of these keys, with its position. `None`: no key is set.
    pub(super) first_key: Option<At<&'static str>>,
    /// The first of these keys that an external agent does not use.
    pub(super) native_key: Option<At<&'static str>>,
}

/// The value of `delegate`.
#[derive(Debug, Clone)]
pub(super) enum DelegateKey {
    Off,
    On(DelegateSpec),
}

impl From<bool> for DelegateKey {
    fn from(is_on: bool) -> Self {
        match is_on {
            true => Self::On(DelegateSpec::default()),
            false => Self::Off,
        }
    }
}

/// Additional inputs for reading keys.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) project: &'a Path,
    /// `None`: the values are not known yet, and variables are not replaced.
    pub(super) variables: Option<&'a Variables>,
    /// The user's overrides, which take precedence over all files.
    pub(super) overrides: &'a Overrides,
}

impl AgentKeys {
    pub(super) fn read(source: &Source<'_>, table: &mut Table<'_>, reader: Reader<'_>) -> Self {
        let mut keys = Self::default();
        if let Some(found) = table.string_or_strings("model") {
            keys.read_models(source, &found, table.at, reader.project);
        }
        keys.read_fallback_minutes(table);
        if let Some(found) = table.word("effort", &Effort::NAMES) {
            keys.note_key("effort", found.at);
            keys.effort = Some(found.value);
        }
        if let Some(found) = table.string("compact") {
            keys.read_compact(source, found, reader.project);
        }
        keys.read_delegate(source, table, reader.project);
        if let Some(found) = table.string("prompt") {
            keys.note_key("prompt", found.at);
            keys.prompt = prompt(source, found, reader.variables);
        }
        if let Some(found) = max_steps(table) {
            keys.note_key("max_steps", table.at);
            keys.max_steps = Some(found);
        }
        if let Some(found) = table.strings("tools") {
            let at = found.first().map_or(table.at, |tool| tool.at);
            keys.note_tool_key("tools", at);
            keys.tools = Some(tools(source, "tools", &found));
        }
        if let Some(found) = table.strings("deny_tools") {
            let at = found.first().map_or(table.at, |tool| tool.at);
            keys.note_tool_key("deny_tools", at);
            keys.deny_tools = tools(source, "deny_tools", &found);
        }
        if let Some(found) = table.word("plan", PLANS) {
            keys.note_tool_key("plan", found.at);
            keys.must_plan = true;
        }
        keys.network = table.boolean("network");
        if keys.network.is_some() {
            keys.note_tool_key("network", table.at);
        }
        if let Some(found) = table.strings("mcp") {
            keys.mcp_at = found.first().map_or(table.at, |name| name.at);
            keys.note_tool_key("mcp", keys.mcp_at);
            let names = found.iter().map(|name| name.value.to_owned());
            keys.mcp = Some(names.collect());
        }
        keys.read_instructions(source, table, reader.project);
        keys
    }

    /// Reports names in `mcp` that are not among the servers of the file.
    pub(super) fn check_servers(&self, source: &Source<'_>, servers: &[McpServer]) {
        let known: Vec<_> = servers.iter().map(|server| server.name.as_str()).collect();
        let unknown = |name: &&String| !known.contains(&name.as_str());
        for name in self.mcp.iter().flatten().filter(unknown) {
            source.fault_with_hint(
                self.mcp_at,
                format!("`mcp`: there is no MCP server {name:?}"),
                match known.is_empty() {
                    true => format!("add [mcp.{name}]"),
                    false => suggest(name, &known),
                },
            );
        }
    }

    /// Reads `instructions`: whether the agent receives instruction files, or the project's files that it receives.
    pub(super) fn read_instructions(
        &mut self,
        source: &Source<'_>,
        table: &mut Table<'_>,
        project: &Path,
    ) {
        const KEY: &str = "instructions";
        self.instructions = if table.is_array(KEY) {
            let names = table.strings(KEY);
            names.map(|names| instructions::of_list(source, &names, project))
        } else {
            table.boolean(KEY).map(|is_on| match is_on {
                true => InstructionsKey::On,
                false => InstructionsKey::Off,
            })
        };
        if self.instructions.is_some() {
            self.note_key(KEY, table.position_of(KEY).unwrap_or(table.at));
        }
    }

    /// Reads `model`: a model, or a list whose later models are fallbacks.
    pub(super) fn read_models(
        &mut self,
        source: &Source<'_>,
        found: &[At<&str>],
        table_at: usize,
        project: &Path,
    ) {
        self.note_key("model", found.first().map_or(table_at, |first| first.at));
        let mut models = found
            .iter()
            .filter_map(|name| model(source, "model", *name, project));
        self.model = models.next();
        self.fallbacks = models.collect();
        if found.is_empty() {
            source.fault(table_at, "`model` is an empty list".to_owned());
        }
    }

    /// Reads `fallback_minutes`: the time for which a model may stay overloaded before a fallback replaces it.
    pub(super) fn read_fallback_minutes(&mut self, table: &mut Table<'_>) {
        const KEY: &str = "fallback_minutes";
        self.fallback_ms = table.amount(KEY).map(milliseconds);
        if self.fallback_ms.is_some() {
            self.note_key(KEY, table.position_of(KEY).unwrap_or(table.at));
        }
    }

    pub(super) fn read_compact(&mut self, source: &Source<'_>, found: At<&str>, project: &Path) {
        self.note_key("compact", found.at);
        self.compact = model(source, "compact", found, project);
    }

    /// Reads `delegate`: whether the agent may delegate questions to helpers, or the settings of its helpers.
    pub(super) fn read_delegate(
        &mut self,
        source: &Source<'_>,
        table: &mut Table<'_>,
        project: &Path,
    ) {
        const KEY: &str = "delegate";
        self.delegate = if table.is_table(KEY) {
            table.table(KEY, Level::Delegate).map(|mut table| {
                let settings = delegate(source, &mut table, project);
                table.finish();
                DelegateKey::On(settings)
            })
        } else {
            table.boolean(KEY).map(DelegateKey::from)
        };
        if self.delegate.is_some() {
            self.note_key(KEY, table.position_of(KEY).unwrap_or(table.at));
        }
    }

    pub(super) fn note_key(&mut self, key: &'static str, at: usize) {
        self.first_key.get_or_insert(At { value: key, at });
        if !["prompt", "limits"].contains(&key) {
            self.native_key.get_or_insert(At { value: key, at });
        }
    }

    fn note_tool_key(&mut self, key: &'static str, at: usize) {
        self.note_key(key, at);
        self.tools_at.get_or_insert(At { value: key, at });
    }

    /// Refuses agent keys beside the command engine, which does not use them.
    pub(super) fn refuse_for_command_engine(&self, source: &Source<'_>) {
        if let Some(At { value: key, at }) = self.first_key {
            source.fault_with_hint(
                at,
                format!("`{key}` applies only to agents, but `engine = \"command\"` runs commands"),
                "set engine = \"native\", or remove `engine`",
            );
        }
    }

    /// Refuses keys of native agents beside an external engine, which does not use them.
    pub(super) fn refuse_for_external_engine(&self, source: &Source<'_>) {
        if let Some(At { value: key, at }) = self.native_key {
            source.fault_with_hint(
                at,
                format!("`{key}` applies only to native agents, but `engine` names another agent"),
                format!("remove `{key}`, or set engine = \"native\""),
            );
        }
    }

    /// Refuses the keys of agents beside an engine that shows a program.
    pub(super) fn refuse_for_terminal_engine(&self, source: &Source<'_>) {
        if let Some(At { value: key, at }) = self.first_key {
            source.fault_with_hint(
                at,
                format!("`{key}` applies only to agents, but `engine` shows a program"),
                format!("remove `{key}`"),
            );
        }
    }

    /// Combines the keys of a role (`self`), of a member and of `[defaults]`. A value of the member takes precedence
    /// over a value of the role, and both take precedence over the defaults. The prompts of role and member are joined,
    /// and so are their denied tools.
    pub(super) fn agent(&self, member: &Self, defaults: &Self, description: &str) -> AgentSpec {
        let prompts = [&self.prompt, &member.prompt];
        let prompts: Vec<_> = prompts
            .into_iter()
            .filter(|prompt| !prompt.is_empty())
            .map(String::as_str)
            .collect();
        let mut deny_tools = [self.deny_tools.as_slice(), member.deny_tools.as_slice()].concat();
        deny_tools.sort();
        deny_tools.dedup();
        let instructions = [member, self, defaults]
            .into_iter()
            .find_map(|keys| keys.instructions.as_ref());
        // Take the list of models from one table: fallbacks of one table must not follow the model of another table.
        let of_model = [member, self, defaults]
            .into_iter()
            .find(|keys| keys.model.is_some());
        AgentSpec {
            model: of_model.and_then(|keys| keys.model.clone()),
            fallbacks: of_model
                .map(|keys| keys.fallbacks.clone())
                .unwrap_or_default(),
            fallback_ms: [member, self, defaults]
                .iter()
                .find_map(|keys| keys.fallback_ms),
            effort: member.effort.or(self.effort).or(defaults.effort),
            compact: [member, self, defaults]
                .iter()
                .find_map(|keys| keys.compact.clone()),
            delegate: match [member, self, defaults]
                .iter()
                .find_map(|keys| keys.delegate.as_ref())
            {
                Some(DelegateKey::On(settings)) => Some(settings.clone()),
                Some(DelegateKey::Off) | None => None,
            },
            description: description.to_owned(),
            prompt: prompts.join("\n\n"),
            max_steps: member.max_steps.or(self.max_steps).or(defaults.max_steps),
            tools: member
                .tools
                .as_ref()
                .or(self.tools.as_ref())
                .map(|tools| with_parts(tools)),
            deny_tools: with_parts(&deny_tools),
            must_plan: self.must_plan || member.must_plan,
            network: [member, self, defaults]
                .iter()
                .find_map(|keys| keys.network)
                .unwrap_or(false),
            instructions: defaults
                .found_instructions
                .of_agent(instructions, member.cwd.as_deref()),
            skills: match instructions {
                Some(InstructionsKey::Off) => Vec::new(),
                Some(_) | None => defaults.found_skills.all(),
            },
            commands: match instructions {
                Some(InstructionsKey::Off) => Vec::new(),
                Some(_) | None => defaults.found_commands.all(),
            },
            may_spawn: None,
            mcp: chosen(&defaults.servers, member.mcp.as_ref().or(self.mcp.as_ref())),
            mcp_host: None,
            hooks: Vec::new(),
            search: None,
            guarded: Vec::new(),
            kept: Vec::new(),
            may_allow: false,
            provider_may_search: false,
            bypass: false,
            providers: defaults.providers.clone(),
            external: [member, self, defaults]
                .iter()
                .find_map(|keys| keys.external.clone()),
            strategy: None,
            record: None,
        }
    }
}

/// The servers with these names; all servers if `names` is `None`.
fn chosen(servers: &[McpServer], names: Option<&Vec<String>>) -> Vec<McpServer> {
    let is_chosen = |server: &&McpServer| names.is_none_or(|names| names.contains(&server.name));
    servers.iter().filter(is_chosen).cloned().collect()
}

/// Reads the settings of helpers.
fn delegate(source: &Source<'_>, table: &mut Table<'_>, project: &Path) -> DelegateSpec {
    let mut settings = DelegateSpec::default();
    let found = table.string("model");
    settings.model = found.and_then(|found| model(source, "delegate.model", found, project));
    if let Some(steps) = table.integer("steps", 1..=i32::MAX) {
        settings.steps = steps.unsigned_abs();
    }
    if let Some(tokens) = table.count("tokens") {
        settings.tokens = tokens;
    }
    settings
}

/// Reads `max_steps`: the maximum number of model replies for one task or turn.
pub(super) fn max_steps(table: &mut Table<'_>) -> Option<u32> {
    let steps = table.integer("max_steps", 1..=i32::MAX);
    steps.map(i32::unsigned_abs)
}

/// Reads the value of `key`, a model, and converts it to the canonical form. The path of a recording becomes absolute,
/// because members have different working directories.
pub(super) fn model(
    source: &Source<'_>,
    key: &str,
    found: At<&str>,
    project: &Path,
) -> Option<String> {
    let text = found.value.trim();
    if let Some(file) = text.strip_prefix(REPLAY) {
        let path = project.join(file);
        if !path.is_file() {
            source.fault_with_hint(
                found.at,
                format!("`{key}`: recording {} does not exist", path.display()),
                "relative paths start at the project directory",
            );
            return None;
        }
        return Some(format!("{REPLAY}{}", path.display()));
    }
    match text.parse::<ModelName>() {
        Ok(name) => Some(name.to_string()),
        Err(error) => {
            source.fault_with_hint(
                found.at,
                format!("`{key}`: {error}"),
                "write provider/model, such as \"anthropic/claude-sonnet-5-5\", or \"replay:FILE\"",
            );
            None
        }
    }
}

pub(super) fn prompt(
    source: &Source<'_>,
    found: At<&str>,
    variables: Option<&Variables>,
) -> String {
    let Some(variables) = variables else {
        return found.value.to_owned();
    };
    match variables::fill(found.value, variables) {
        Ok(text) => text,
        Err(unknown) => {
            for variable in unknown {
                report_unknown(source, found.at, variable.name);
            }
            found.value.to_owned()
        }
    }
}

/// Reports a variable without a value at its first position at or after `from`.
pub(super) fn report_unknown(source: &Source<'_>, from: usize, name: &str) {
    source.fault_with_hint(
        source.find(from, &["{{", name]).unwrap_or(from),
        format!("there is no value for `{{{{{name}}}}}`"),
        format!("pass --var {name}=VALUE"),
    );
}

pub(super) fn tools(source: &Source<'_>, key: &str, names: &[At<&str>]) -> Vec<String> {
    for name in names {
        if !is_tool(name.value) {
            source.fault_with_hint(
                name.at,
                format!("`{key}`: there is no tool {:?}", name.value),
                suggest(name.value, &TOOLS),
            );
        }
    }
    names.iter().map(|name| name.value.to_owned()).collect()
}
