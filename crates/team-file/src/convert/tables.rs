//! Reads agents in TOML files: the agent files and `[agents]` of Codex, and `[agent.agents.roles]` of nyzhi.
//!
//! Other tables of these files configure sessions and are not read.

use std::path::{Path, PathBuf};

use agent_team_protocol::RoleName;
use agent_team_protocol::value::Effort;
use agent_team_providers::{ModelName, Provider};
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::super::open::parse_toml;
use super::super::role::{Layer, Role, import};
use super::super::source::Source;
use super::super::table::At;
use super::files::Files;
use super::found::{Agent, FilePosition, Found, name_of};

/// The largest number of agents of one file.
const MAX_AGENTS: usize = 500;

/// A file being read. `faults` prevent the conversion; `notes` report changes and losses.
struct File<'a> {
    shown: &'a str,
    faults: Source<'a>,
    notes: Source<'a>,
}

impl File<'_> {
    fn lose(&self, at: usize, key: &str, why: &str) {
        self.notes.fault(at, format!("`{key}` is ignored: {why}"));
    }

    fn text<'v>(&self, key: &str, value: &'v Spanned<DeValue<'_>>) -> Option<&'v str> {
        let text = value.get_ref().as_str();
        if text.is_none() {
            let message = format!("`{key}` must be a string");
            self.faults.fault(value.span().start, message);
        }
        text
    }

    fn texts(&self, key: &str, value: &Spanned<DeValue<'_>>) -> Vec<At<String>> {
        let Some(array) = value.get_ref().as_array() else {
            let message = format!("`{key}` must be a list of strings");
            self.faults.fault(value.span().start, message);
            return Vec::new();
        };
        let item = |item: &Spanned<DeValue<'_>>| {
            let value = self.text(key, item)?.to_owned();
            let at = item.span().start;
            Some(At { value, at })
        };
        array.iter().filter_map(item).collect()
    }

    /// An empty role with this name. Reports a name from which no role name can be made.
    fn agent(&self, name: At<&str>) -> Option<Agent> {
        let Some((value, is_changed)) = name_of::<RoleName>(name.value) else {
            self.faults.fault_with_hint(
                name.at,
                format!("{:?} cannot be converted to a role name", name.value),
                "give the agent a name of lower-case letters, digits and hyphens",
            );
            return None;
        };
        if is_changed {
            let message = format!("role {:?} is renamed to {value}", name.value);
            self.notes.fault(name.at, message);
        }
        Some(Agent {
            name: value,
            role: Role::new(Layer::TeamFile, self.shown),
            position: FilePosition::at(&self.faults, name.at),
            rank: 0,
            in_place: false,
            notes: Vec::new(),
        })
    }
}

/// Reads a TOML file, if it exists, and passes its root table to `read`.
fn with_file<T>(
    path: &Path,
    files: &Files<'_>,
    found: &mut Found,
    read: impl FnOnce(&File<'_>, &DeTable<'_>, &mut Found) -> T,
) -> Option<T> {
    let text = match files.text(path) {
        Ok(text) => text?,
        Err(fault) => {
            found.faults.push(fault);
            return None;
        }
    };
    let shown = files.shown(path);
    let file = File {
        shown: &shown,
        faults: Source::new(shown.as_str(), &text),
        notes: Source::new(shown.as_str(), &text),
    };
    match parse_toml(&file.faults, &text) {
        Ok(document) => {
            let result = read(&file, document.get_ref(), found);
            found.faults.extend(file.faults.into_faults());
            found.notes.extend(file.notes.into_faults());
            Some(result)
        }
        Err(faults) => {
            found.faults.extend(faults);
            None
        }
    }
}

/// The table of a key, with the position of the key.
fn table<'t, 'd>(table: &'t DeTable<'d>, key: &str) -> Option<&'t DeTable<'d>> {
    table.get(key)?.get_ref().as_table()
}

/// Reads the roles in a `config.toml` of nyzhi.
pub(super) fn nyzhi(path: &Path, files: &Files<'_>, found: &mut Found) {
    let rank = found.next_rank();
    with_file(path, files, found, |file, root, found| {
        let Some(settings) = table(root, "agent") else {
            return;
        };
        if let Some((key, mode)) = table(settings, "trust").and_then(|it| it.get_key_value("mode"))
            && let Some(mode @ ("full" | "autoedit")) = mode.get_ref().as_str()
        {
            let message = format!("`trust.mode = {mode}` is refused: it skips permission requests");
            file.notes.fault(key.span().start, message);
        }
        let Some(agents) = table(settings, "agents") else {
            return;
        };
        for (key, value) in agents {
            let name: &str = key.get_ref();
            match (name, value.get_ref().as_table()) {
                ("roles", Some(roles)) if roles.len() > MAX_AGENTS => {
                    let message = format!("`roles` contains more than {MAX_AGENTS} agents");
                    file.faults.fault(key.span().start, message);
                }
                ("roles", Some(roles)) => {
                    for (name, value) in roles {
                        let at = name.span().start;
                        let name = At {
                            value: name.get_ref().as_ref(),
                            at,
                        };
                        if let Some(mut agent) = nyzhi_role(file, name, value) {
                            agent.rank = rank;
                            found.add(agent);
                        }
                    }
                    found.sources.push(file.shown.to_owned());
                }
                ("roles", None) => file
                    .faults
                    .fault(key.span().start, "`roles` must be a table"),
                (name, _) => file.lose(
                    key.span().start,
                    name,
                    "set `teammates` in [limits] of the team file",
                ),
            }
        }
    });
}

fn nyzhi_role(file: &File<'_>, name: At<&str>, value: &Spanned<DeValue<'_>>) -> Option<Agent> {
    let mut agent = file.agent(name)?;
    let Some(table) = value.get_ref().as_table() else {
        file.faults
            .fault(name.at, format!("role {:?} must be a table", name.value));
        return None;
    };
    let (role, mut read_only) = (&mut agent.role, false);
    for (key, value) in table {
        let at = key.span().start;
        let keys = &mut role.agent_keys;
        match key.get_ref().as_ref() {
            key @ "description" => role.description = file.text(key, value)?.to_owned(),
            key @ "system_prompt" => keys.prompt = file.text(key, value)?.trim().to_owned(),
            key @ "model" => keys.model = import::model(&file.notes, file.text(key, value)?, at),
            key @ "max_steps" => {
                let steps = value.get_ref().as_integer();
                keys.max_steps = steps.and_then(|steps| steps.as_str().parse().ok());
                if keys.max_steps.is_none_or(|steps| steps == 0) {
                    let message = format!("`{key}` must be a whole number of at least 1");
                    file.faults.fault(at, message);
                }
            }
            "read_only" => read_only = value.get_ref().as_bool() != Some(false),
            key @ "allowed_tools" => {
                keys.tools = Some(import::tools(&file.notes, file.texts(key, value)));
            }
            key @ "disallowed_tools" => {
                keys.deny_tools = import::denied(&file.notes, file.texts(key, value));
            }
            key => file.lose(at, key, "agent-team has no such key"),
        }
    }
    if read_only {
        import::limit_to_reading(role);
    }
    Some(agent)
}

/// Reads the agents of Codex: `[agents]` of each `config.toml`, and the files in `agents`. The first directory is that
/// of the project, unless the project's directory is the user's own.
pub(super) fn codex(directories: &[PathBuf], files: &Files<'_>, found: &mut Found) {
    let provider = |directory: &PathBuf| {
        // The faults of the file are reported when the agents of the file are read.
        let ignored = &mut Found::default();
        let path = directory.join("config.toml");
        let read = |file: &File<'_>, root: &DeTable<'_>, _: &mut Found| {
            let value = root.get("model_provider")?;
            file.text("model_provider", value).map(str::to_owned)
        };
        with_file(&path, files, ignored, read).flatten()
    };
    let provider = directories.iter().find_map(provider);
    for directory in directories {
        let rank = found.next_rank();
        let mut declared = Vec::new();
        with_file(
            &directory.join("config.toml"),
            files,
            found,
            |file, root, found| {
                if let Some((key, _)) = root.get_key_value("profiles") {
                    file.lose(
                        key.span().start,
                        "profiles",
                        "a profile configures a whole session",
                    );
                }
                let Some(agents) = table(root, "agents") else {
                    return;
                };
                if agents.len() > MAX_AGENTS {
                    let message = format!("`agents` contains more than {MAX_AGENTS} keys");
                    return file.faults.fault(0, message);
                }
                for (key, value) in agents {
                    let (name, at): (&str, usize) = (key.get_ref(), key.span().start);
                    let Some(table) = value.get_ref().as_table() else {
                        file.lose(
                            at,
                            name,
                            "set its counterpart in [defaults] or [limits] of the team file",
                        );
                        continue;
                    };
                    found.sources.push(file.shown.to_owned());
                    let name = At { value: name, at };
                    let of = declared_agent(file, name, table, directory, files);
                    declared.extend(of);
                }
            },
        );
        found.sources.dedup();
        let mut read: Vec<PathBuf> = Vec::new();
        for Declared { mut agent, path } in declared {
            agent.rank = rank;
            let Some(path) = path else {
                found.add(agent);
                continue;
            };
            let is_read = with_file(&path, files, found, |file, root, found| {
                if let Some(of_file) = codex_agent(file, root, Some(&agent), provider.as_deref()) {
                    found.sources.push(file.shown.to_owned());
                    found.add(Agent { rank, ..of_file });
                }
            });
            if is_read.is_none() && !path.exists() {
                let message = format!("`config_file`: there is no file {}", files.shown(&path));
                found.faults.push(agent.position.fault(message));
            }
            read.extend(path.canonicalize());
        }
        let paths = match files.list(&directory.join("agents"), "toml", true) {
            Ok(paths) => paths,
            Err(fault) => {
                found.faults.push(fault);
                continue;
            }
        };
        for path in paths {
            if path.canonicalize().is_ok_and(|path| read.contains(&path)) {
                continue;
            }
            with_file(&path, files, found, |file, root, found| {
                if let Some(agent) = codex_agent(file, root, None, provider.as_deref()) {
                    found.sources.push(file.shown.to_owned());
                    found.add(Agent { rank, ..agent });
                }
            });
        }
    }
}

/// An agent of `[agents]`, and the file that contains its other keys.
struct Declared {
    agent: Agent,
    path: Option<PathBuf>,
}

fn declared_agent(
    file: &File<'_>,
    name: At<&str>,
    table: &DeTable<'_>,
    directory: &Path,
    files: &Files<'_>,
) -> Option<Declared> {
    let (mut agent, mut path) = (file.agent(name)?, None);
    for (key, value) in table {
        let at = key.span().start;
        match key.get_ref().as_ref() {
            key @ "description" => agent.role.description = file.text(key, value)?.to_owned(),
            key @ "config_file" => {
                let named = directory.join(file.text(key, value)?);
                if files.is_of_project(directory) && !files.is_of_project(&named) {
                    let message = format!("`{key}` is outside of the project");
                    file.faults.fault(value.span().start, message);
                    return None;
                }
                path = Some(named);
            }
            key => file.lose(at, key, "agent-team has no such key"),
        }
    }
    Some(Declared { agent, path })
}

/// Reads an agent file of Codex. `declared` is its entry in `[agents]`. `provider` is the provider of the user's
/// sessions.
fn codex_agent(
    file: &File<'_>,
    root: &DeTable<'_>,
    declared: Option<&Agent>,
    provider: Option<&str>,
) -> Option<Agent> {
    let named = match root.get_key_value("name") {
        Some((key, value)) => Some(At {
            value: file.text("name", value)?,
            at: key.span().start,
        }),
        None => declared.map(|agent| At {
            value: agent.name.as_str(),
            at: 0,
        }),
    };
    let Some(named) = named else {
        file.faults.fault(0, "the agent has no `name`");
        return None;
    };
    if !root.contains_key("developer_instructions") {
        file.faults
            .fault(0, "the agent has no `developer_instructions`");
    }
    let mut agent = file.agent(named)?;
    let role = &mut agent.role;
    if let Some(declared) = declared {
        role.description.clone_from(&declared.role.description);
    }
    let own_provider = match root.get("model_provider") {
        Some(value) => file.text("model_provider", value),
        None => None,
    };
    let mut read_only = false;
    for (key, value) in root {
        let at = key.span().start;
        let keys = &mut role.agent_keys;
        match key.get_ref().as_ref() {
            "name" | "model_provider" => {}
            key @ "description" => role.description = file.text(key, value)?.to_owned(),
            key @ "developer_instructions" => {
                keys.prompt = file.text(key, value)?.trim().to_owned();
            }
            key @ "model" => {
                let model = At {
                    value: file.text(key, value)?,
                    at,
                };
                keys.model = codex_model(file, model, own_provider.or(provider));
            }
            key @ "model_reasoning_effort" => {
                keys.effort = codex_effort(file, file.text(key, value)?, at);
            }
            key @ "sandbox_mode" => read_only |= sandbox(file, file.text(key, value)?, at),
            key @ "web_search" => match file.text(key, value)? {
                "disabled" => {
                    let web = ["fetch", "web_search"];
                    keys.deny_tools.extend(web.map(str::to_owned));
                }
                _ => file.lose(at, key, "the rules of the team decide about the web"),
            },
            "approval_policy" => match value.get_ref().as_str() {
                Some("never") => file.notes.fault(
                    at,
                    "`approval_policy = never` is refused: a role cannot skip permission requests",
                ),
                Some(_) | None => file.lose(
                    at,
                    "approval_policy",
                    "the mode and the rules of the team decide",
                ),
            },
            key @ "mcp_servers" => file.lose(at, key, "add the servers to [mcp] of the team file"),
            key @ "nickname_candidates" => {
                file.lose(at, key, "members have the names of the team file")
            }
            key @ "skills" => {
                file.lose(at, key, "agents find the skills of the project themselves")
            }
            key => file.lose(at, key, "agent-team has no such key"),
        }
    }
    if read_only {
        import::limit_to_reading(role);
    }
    Some(agent)
}

/// Reports a sandbox mode that is not imported. Returns whether the mode permits only tools that read.
fn sandbox(file: &File<'_>, mode: &str, at: usize) -> bool {
    match mode {
        "read-only" => return true,
        "workspace-write" => {}
        "danger-full-access" => file.notes.fault(
            at,
            "`sandbox_mode = danger-full-access` is refused: the permissions of the team apply",
        ),
        _ => file.faults.fault(
            at,
            format!("`sandbox_mode`: {mode:?} is not a mode of Codex"),
        ),
    }
    false
}

fn codex_effort(file: &File<'_>, effort: &str, at: usize) -> Option<Effort> {
    let nearest = match effort {
        "minimal" => "low",
        "xhigh" => "high",
        "ultra" => "max",
        effort => return import::effort(&file.notes, effort, at),
    };
    let message = format!("`model_reasoning_effort = {effort}` becomes {nearest}");
    file.notes.fault(at, message);
    nearest.parse().ok()
}

/// The model with its provider. If the provider is defined only in the user's settings of Codex, the model is not
/// imported: its name would select a model of another provider.
fn codex_model(file: &File<'_>, model: At<&str>, provider: Option<&str>) -> Option<String> {
    let At { value: model, at } = model;
    let provider = provider.unwrap_or("openai");
    let parsed = match Provider::named(provider) {
        Some(provider) => format!("{}/{model}", provider.name)
            .parse::<ModelName>()
            .ok(),
        None => None,
    };
    let Some(parsed) = parsed else {
        let message = format!(
            "`model = {model}` is not known with the provider {provider}: the team's model is used"
        );
        file.notes.fault(at, message);
        return None;
    };
    file.notes
        .fault(at, format!("`model = {model}` becomes {parsed}"));
    Some(parsed.to_string())
}
