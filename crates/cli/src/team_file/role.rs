//! The roles that a project knows: `[roles.<name>]` in the team file, then `.agent-team/roles/*.md`, then the built-in
//! ones; the first that has a name wins.

use std::collections::BTreeMap;
use std::path::Path;

use agent_team_protocol::RoleName;
use agent_team_protocol::spec::{AgentSpec, Colour, Engine, RoleSpec};

use super::source::{Fault, Source};
use super::table::{At, Level, Table, suggest};
use super::{ENGINES, colours, later};

/// What members of no other role have.
pub(super) const WORKER: &str = "worker";
/// What the lead has unless the file says otherwise.
pub(super) const LEAD: &str = "lead";

#[derive(Debug, Default)]
pub(super) struct Role {
    description: String,
    /// `None`: that of `[defaults]`.
    pub(super) engine: Option<Engine>,
    pub(super) colour: Option<Colour>,
    /// What is wrong with the role's own file. Told when a member has the role: a role that nobody has harms nobody.
    faults: Vec<Fault>,
    used: bool,
}

#[derive(Debug)]
pub(super) struct Roles(BTreeMap<RoleName, Role>);

impl Roles {
    /// `file` is the table `[roles]`, `directory` the project's `.agent-team/roles`.
    pub(super) fn read(source: &Source<'_>, file: Option<Table<'_>>, directory: &Path) -> Self {
        let mut roles = BTreeMap::new();
        for (name, table) in file
            .map(|table| table.named_tables(Level::Role))
            .unwrap_or_default()
        {
            let role = from_table(table);
            match name.value.parse() {
                Ok(name) => drop(roles.insert(name, role)),
                Err(error) => source.fault(name.at, format!("{error}")),
            }
        }
        for (name, role) in from_directory(directory) {
            roles.entry(name).or_insert(role);
        }
        for name in [WORKER, LEAD] {
            let name = name.parse().expect("built-in names follow the rule");
            roles.entry(name).or_default();
        }
        Self(roles)
    }

    /// The role of a member or of a task, as written.
    pub(super) fn find(&self, source: &Source<'_>, name: At<&str>) -> Option<RoleName> {
        let found = self.0.keys().find(|role| role.as_str() == name.value);
        if found.is_none() {
            let known: Vec<_> = self.0.keys().map(RoleName::as_str).collect();
            let message = format!("there is no role {:?}", name.value);
            source.fault_with_hint(name.at, message, suggest(name.value, &known));
        }
        found.cloned()
    }

    /// The role that a member has.
    pub(super) fn used(&mut self, name: &RoleName) -> &Role {
        let role = self.0.entry(name.clone()).or_default();
        role.used = true;
        role
    }

    /// What the team may spawn, and what is wrong with the roles that it uses. `default` is for roles that do not name
    /// their engine.
    pub(super) fn finish(self, default: Engine) -> (Vec<RoleSpec>, Vec<Fault>) {
        let (mut specs, mut faults) = (Vec::new(), Vec::new());
        for (name, role) in self.0 {
            let Role {
                description,
                engine,
                colour,
                faults: own,
                used,
            } = role;
            if used {
                faults.extend(own);
            } else if !own.is_empty() || name.as_str() == LEAD {
                continue;
            }
            let engine = engine.unwrap_or(default);
            specs.push(RoleSpec {
                name,
                description,
                engine,
                colour,
                agent: AgentSpec::default(),
            });
        }
        (specs, faults)
    }
}

fn from_table(mut table: Table<'_>) -> Role {
    let role = Role {
        description: table
            .string("description")
            .map(|found| found.value.to_owned())
            .unwrap_or_default(),
        engine: table.word("engine", ENGINES).map(|found| found.value),
        colour: table.word("colour", &colours()).map(|found| found.value),
        ..Role::default()
    };
    table.finish();
    role
}

/// Every role file. One whose name is no role's name (a README) is none.
fn from_directory(directory: &Path) -> Vec<(RoleName, Role)> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    paths.sort();
    paths.iter().filter_map(|path| from_file(path)).collect()
}

fn from_file(path: &Path) -> Option<(RoleName, Role)> {
    let stem = path.file_stem()?.to_str()?;
    let shown = path.display().to_string();
    let text = match super::read_text(path) {
        Ok(text) => text,
        Err(error) => {
            let fault = Fault {
                file: shown,
                line: 1,
                column: 1,
                message: error.to_string(),
                hint: None,
            };
            return Some((
                stem.parse().ok()?,
                Role {
                    faults: vec![fault],
                    ..Role::default()
                },
            ));
        }
    };
    let source = Source::new(shown, &text);
    let mut role = Role::default();
    let mut name = stem.to_owned();
    for field in front_matter(&text) {
        let value = field.value;
        match field.key {
            "name" => value.clone_into(&mut name),
            "description" => value.clone_into(&mut role.description),
            "engine" => role.engine = word(&source, &field, ENGINES),
            "colour" | "color" => role.colour = word(&source, &field, &colours()),
            key => source.fault(field.at, later::sentence(key)),
        }
    }
    role.faults = source.into_faults();
    Some((name.parse().ok()?, role))
}

fn word<T: Copy>(source: &Source<'_>, field: &Field<'_>, words: &[(&'static str, T)]) -> Option<T> {
    let found = words.iter().find(|(word, _)| *word == field.value);
    if found.is_none() {
        let Field { key, value, at } = field;
        if later::is_value(key, value) {
            source.fault(*at, later::sentence(&format!("{key}: {value}")));
        } else {
            let known: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let message = format!("{value:?} is not a value of `{key}`");
            source.fault_with_hint(*at, message, suggest(value, &known));
        }
    }
    found.map(|(_, value)| *value)
}

/// One `key: value` of a role file's head.
struct Field<'a> {
    key: &'a str,
    value: &'a str,
    /// Byte of the file.
    at: usize,
}

/// The top-level fields between the `---` lines. Lists and nested lines belong to the field above them, and only that
/// field's key matters here.
fn front_matter(text: &str) -> Vec<Field<'_>> {
    let mut lines = text.split_inclusive('\n');
    let Some(first) = lines.next().filter(|line| line.trim_end() == "---") else {
        return Vec::new();
    };
    let (mut fields, mut at) = (Vec::new(), first.len());
    for line in lines {
        if line.trim_end() == "---" {
            return fields;
        }
        if let Some((key, value)) = line.split_once(':')
            && !line.starts_with([' ', '\t', '-', '#'])
        {
            let value = value.trim();
            let unquoted = ['"', '\'']
                .into_iter()
                .find_map(|quote| value.strip_prefix(quote)?.strip_suffix(quote));
            fields.push(Field {
                key: key.trim(),
                value: unquoted.unwrap_or(value),
                at,
            });
        }
        at += line.len();
    }
    // A head that never ends is no head.
    Vec::new()
}
