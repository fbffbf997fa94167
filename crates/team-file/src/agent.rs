//! How a member of the native engine thinks: the keys of `[lead]`, `[[member]]` and `[roles.<name>]` that say so, and
//! what role, member and `[defaults]` make together.

use std::collections::BTreeMap;
use std::path::Path;

use agent_team_protocol::model::ModelName;
use agent_team_protocol::spec::{AgentSpec, ProviderSpec, TOOLS, is_tool, with_parts};

use super::own::Own;
use super::source::Source;
use super::table::{At, Table, suggest};
use super::variables::{self, Variables};

/// What `plan` may be: without it nothing is asked.
pub(super) const PLANS: &[(&str, ())] = &[("required", ())];

/// What a role that only coordinates does not have.
pub(super) const EDITING: [&str; 3] = ["bash", "edit", "write"];

const REPLAY: &str = "replay:";

/// What one table or role file says of how a member thinks.
#[derive(Debug, Clone, Default)]
pub(super) struct Thinking {
    pub(super) model: Option<String>,
    pub(super) prompt: String,
    pub(super) max_steps: Option<u32>,
    pub(super) tools: Option<Vec<String>>,
    pub(super) deny_tools: Vec<String>,
    /// It says `plan = "required"`.
    pub(super) must_plan: bool,
    /// Whether what it runs in the sandbox has the network.
    pub(super) network: Option<bool>,
    /// Of `[defaults]` alone: what the whole file says.
    pub(super) providers: BTreeMap<String, ProviderSpec>,
    /// The first of these keys that is about tools and where it stands.
    pub(super) tools_at: Option<At<&'static str>>,
    /// The first of these keys and where it stands. `None`: nothing is said.
    pub(super) said: Option<At<&'static str>>,
}

/// What the keys of a file are read with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader<'a> {
    pub(super) project: &'a Path,
    /// `None`: the values come later, and variables stay as they are.
    pub(super) variables: Option<&'a Variables>,
    /// The user's own layer, which goes before everything.
    pub(super) own: &'a Own,
}

impl Thinking {
    pub(super) fn read(source: &Source<'_>, table: &mut Table<'_>, reader: Reader<'_>) -> Self {
        let mut thinking = Self::default();
        if let Some(found) = table.string("model") {
            thinking.say("model", found.at);
            thinking.model = model(source, found, reader.project);
        }
        if let Some(found) = table.string("prompt") {
            thinking.say("prompt", found.at);
            thinking.prompt = prompt(source, found, reader.variables);
        }
        if let Some(found) = max_steps(table) {
            thinking.say("max_steps", table.at);
            thinking.max_steps = Some(found);
        }
        if let Some(found) = table.strings("tools") {
            let at = found.first().map_or(table.at, |tool| tool.at);
            thinking.say_of_tools("tools", at);
            thinking.tools = Some(tools(source, "tools", &found));
        }
        if let Some(found) = table.strings("deny_tools") {
            let at = found.first().map_or(table.at, |tool| tool.at);
            thinking.say_of_tools("deny_tools", at);
            thinking.deny_tools = tools(source, "deny_tools", &found);
        }
        if let Some(found) = table.word("plan", PLANS) {
            thinking.say_of_tools("plan", found.at);
            thinking.must_plan = true;
        }
        thinking.network = table.boolean("network");
        if thinking.network.is_some() {
            thinking.say_of_tools("network", table.at);
        }
        thinking
    }

    pub(super) fn say(&mut self, key: &'static str, at: usize) {
        self.said.get_or_insert(At { value: key, at });
    }

    fn say_of_tools(&mut self, key: &'static str, at: usize) {
        self.say(key, at);
        self.tools_at.get_or_insert(At { value: key, at });
    }

    /// A member that runs commands thinks nothing: what is said of it would be ignored.
    pub(super) fn refuse_for_commands(&self, source: &Source<'_>) {
        if let Some(At { value: key, at }) = self.said {
            source.fault_with_hint(
                at,
                format!("`{key}` applies only to agents, but `engine = \"command\"` runs commands"),
                "set engine = \"native\", or remove `engine`",
            );
        }
    }

    /// An agent of this role, with what the member says besides. What neither says `defaults` may.
    pub(super) fn agent(&self, own: &Self, defaults: &Self, description: &str) -> AgentSpec {
        let prompts = [&self.prompt, &own.prompt];
        let prompts: Vec<_> = prompts
            .into_iter()
            .filter(|prompt| !prompt.is_empty())
            .map(String::as_str)
            .collect();
        let mut deny_tools = [self.deny_tools.as_slice(), own.deny_tools.as_slice()].concat();
        deny_tools.sort();
        deny_tools.dedup();
        let first = |of: fn(&Self) -> Option<String>| of(own).or(of(self)).or(of(defaults));
        AgentSpec {
            model: first(|thinking| thinking.model.clone()),
            description: description.to_owned(),
            prompt: prompts.join("\n\n"),
            max_steps: own.max_steps.or(self.max_steps).or(defaults.max_steps),
            tools: own
                .tools
                .as_ref()
                .or(self.tools.as_ref())
                .map(|tools| with_parts(tools)),
            deny_tools: with_parts(&deny_tools),
            must_plan: self.must_plan || own.must_plan,
            network: [own, self, defaults]
                .iter()
                .find_map(|thinking| thinking.network)
                .unwrap_or(false),
            may_spawn: None,
            mcp: Vec::new(),
            search: None,
            guarded: Vec::new(),
            kept: Vec::new(),
            may_allow: false,
            provider_may_search: false,
            bypass: false,
            providers: defaults.providers.clone(),
            strategy: None,
            record: None,
        }
    }
}

/// Answers of the model for one task or turn.
pub(super) fn max_steps(table: &mut Table<'_>) -> Option<u32> {
    let steps = table.integer("max_steps", 1..=i32::MAX);
    steps.map(i32::unsigned_abs)
}

/// A model in its canonical form; a recording becomes the path that every member finds.
pub(super) fn model(source: &Source<'_>, found: At<&str>, project: &Path) -> Option<String> {
    let text = found.value.trim();
    if let Some(file) = text.strip_prefix(REPLAY) {
        let path = project.join(file);
        if !path.is_file() {
            source.fault_with_hint(
                found.at,
                format!("`model`: recording {} does not exist", path.display()),
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
                format!("`model`: {error}"),
                "write provider/model, such as \"anthropic/claude-sonnet-4-6\", or \"replay:FILE\"",
            );
            None
        }
    }
}

/// A prompt with its variables filled in.
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

/// Says that a variable has no value, where it stands in the file: at `from` or behind it.
pub(super) fn report_unknown(source: &Source<'_>, from: usize, name: &str) {
    source.fault_with_hint(
        source.find(from, &["{{", name]).unwrap_or(from),
        format!("there is no value for `{{{{{name}}}}}`"),
        format!("pass --var {name}=VALUE"),
    );
}

/// Names of tools, each known.
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
