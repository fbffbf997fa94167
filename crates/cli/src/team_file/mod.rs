//! The team file: `.agent-team/team.toml`, read into the team that it wants. Called by `up`, `doctor` and the tests of
//! the templates.
//!
//! Whatever is wrong is collected, each with file, line and column, and told at once; nothing is ever ignored. Nothing
//! here talks to a supervisor or changes a file.

mod later;
mod member;
mod role;
mod source;
mod table;
mod task;
#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use agent_team_protocol::TeamName;
use agent_team_protocol::spec::{
    ClaimPolicy, Colour, Engine, Hooks, Layout, Limits, PlacementChoice, TeamSpec,
};
use toml::de::DeTable;

use member::{Defaults, Member};
use role::Roles;
use source::Source;
use table::{Level, Table};

pub(crate) use member::check_variable;
pub(crate) use source::Fault;

/// The directory that makes a directory a project.
pub(crate) const DIRECTORY: &str = ".agent-team";
pub(crate) const FILE: &str = "team.toml";

/// Longest file, in bytes.
const FILE_MAX: u64 = 1 << 20;

const MODES: &[(&str, ())] = &[("manual", ())];
const ENGINES: &[(&str, Engine)] = &[("command", Engine::Command)];
const CLAIMS: &[(&str, ClaimPolicy)] = &[
    ("ready", ClaimPolicy::Ready),
    ("assigned", ClaimPolicy::Assigned),
];
const PLACEMENTS: &[(&str, PlacementChoice)] = &[
    ("auto", PlacementChoice::Auto),
    ("tmux", PlacementChoice::Tmux),
    ("headless", PlacementChoice::Headless),
];
const LAYOUTS: &[(&str, Layout)] = &[
    ("main-vertical", Layout::MainVertical),
    ("tiled", Layout::Tiled),
    ("even-horizontal", Layout::EvenHorizontal),
    ("even-vertical", Layout::EvenVertical),
];
fn colours() -> [(&'static str, Colour); Colour::PALETTE.len()] {
    Colour::PALETTE.map(|colour| (colour.name(), colour))
}

/// Why there is no team to be had from a file.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadTeamError {
    #[error("there is no file {0}")]
    Missing(String),
    #[error("{0} cannot be read")]
    Unreadable(String, #[source] ReadTextError),
    #[error("{file}: what the project directory is cannot be told")]
    Project {
        file: String,
        #[source]
        source: std::io::Error,
    },
    #[error("the team file has {} faults", .0.len())]
    Faults(Vec<Fault>),
}

/// Why a file is no text that we read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ReadTextError {
    #[error("it is not a regular file")]
    NotAFile,
    #[error("it is larger than 1 MiB")]
    TooLarge,
    #[error("line {line}, column {column} is not valid UTF-8")]
    NotText { line: usize, column: usize },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// The team file of the project that contains `directory`.
pub(crate) fn find(directory: &Path) -> Option<PathBuf> {
    let candidates = directory
        .ancestors()
        .map(|ancestor| ancestor.join(DIRECTORY).join(FILE));
    candidates.into_iter().find(|file| file.exists())
}

/// Reads a team file, and the role files of its project. `here` is the directory to which places are shown relative.
pub(crate) fn load(file: &Path, here: &Path) -> Result<TeamSpec, LoadTeamError> {
    let shown = file
        .strip_prefix(here)
        .unwrap_or(file)
        .display()
        .to_string();
    let text = match read_text(file) {
        Ok(text) => text,
        Err(ReadTextError::Io(error)) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(LoadTeamError::Missing(shown));
        }
        Err(error) => return Err(LoadTeamError::Unreadable(shown, error)),
    };
    let project = project_of(file).map_err(|source| LoadTeamError::Project {
        file: shown.clone(),
        source,
    })?;
    parse(&shown, &text, &project).map_err(LoadTeamError::Faults)
}

/// The directory that holds the file's `.agent-team`; a file that lies elsewhere belongs to its own directory.
fn project_of(file: &Path) -> std::io::Result<PathBuf> {
    let file = file.canonicalize()?;
    let directory = file.parent().unwrap_or(&file);
    let project = match directory.file_name() {
        Some(name) if name == DIRECTORY => directory.parent().unwrap_or(directory),
        Some(_) | None => directory,
    };
    Ok(project.to_owned())
}

/// The whole text of a file, which must be one, and not too large.
fn read_text(path: &Path) -> Result<String, ReadTextError> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    if !path.metadata()?.is_file() {
        return Err(ReadTextError::NotAFile);
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?
        .take(FILE_MAX + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > FILE_MAX {
        return Err(ReadTextError::TooLarge);
    }
    String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let (line, column) =
            agent_team_protocol::text::position(&String::from_utf8_lossy(valid), valid.len());
        ReadTextError::NotText { line, column }
    })
}

/// `project` is canonical.
fn parse(file: &str, text: &str, project: &Path) -> Result<TeamSpec, Vec<Fault>> {
    let source = Source::new(file, text);
    let (document, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        for error in errors {
            let at = error.span().map_or(0, |span| span.start);
            source.fault(at, error.message());
        }
        let mut faults = source.into_faults();
        // One slip of the pen can be several errors to a parser.
        faults.dedup_by_key(|fault| fault.line);
        return Err(faults);
    }
    let root = Table::new(&source, document.get_ref(), Level::Root, 0);
    let (spec, of_roles) = read(&source, root, project);
    let mut faults = source.into_faults();
    faults.extend(of_roles);
    spec.filter(|_| faults.is_empty()).ok_or(faults)
}

/// The team, if it has a name; what is wrong is with the source, or for role files beside it.
fn read(
    source: &Source<'_>,
    mut root: Table<'_>,
    project: &Path,
) -> (Option<TeamSpec>, Vec<Fault>) {
    let name = team_name(source, &mut root, project);
    root.word("mode", MODES);
    let mut roles = Roles::read(
        source,
        root.table("roles", Level::Roles),
        &project.join(DIRECTORY).join("roles"),
    );
    let defaults = Defaults::read(
        source,
        root.table("defaults", Level::Defaults),
        &roles,
        project,
    );
    let (placement, layout) = panes(root.table("panes", Level::Panes));
    let limits = limits(root.table("limits", Level::Limits));
    let hooks = hooks(root.table("hooks", Level::Hooks));

    let lead = root
        .table("lead", Level::Lead)
        .map(|table| (Level::Lead, table));
    let others = root.tables("member", Level::Member);
    let others = others.into_iter().map(|table| (Level::Member, table));
    let tables: Vec<_> = lead.into_iter().chain(others).collect();
    let nobody = tables.is_empty();
    let members: Vec<Member> = tables
        .into_iter()
        .filter_map(|(level, table)| {
            member::read(source, table, level, &defaults, &mut roles, project)
        })
        .collect();
    check_members(source, &members, limits);

    let tables = root.tables("task", Level::Task);
    if let (Some(first), true) = (tables.first(), nobody) {
        source.fault_with_hint(
            first.at,
            "there are tasks but no member to do them",
            "add [[member]] with name = \"ada\" and engine = \"command\"",
        );
    }
    let tasks = task::read(source, tables, &members, &roles);
    root.finish();

    let (roles, faults) = roles.finish(defaults.engine);
    let spec = name.map(|name| TeamSpec {
        name,
        project: project.to_owned(),
        placement,
        layout,
        limits,
        hooks,
        roles,
        members: members.into_iter().map(|member| member.spec).collect(),
        tasks,
    });
    (spec, faults)
}

/// Why a word is no engine to be had.
#[derive(Debug)]
pub(crate) enum NoEngine {
    NotCarriedOut,
    Unknown { hint: String },
}

/// The engine of this name, for the command line.
pub(crate) fn engine(text: &str) -> Result<Engine, NoEngine> {
    if let Some((_, engine)) = ENGINES.iter().find(|(word, _)| *word == text) {
        return Ok(*engine);
    }
    if later::is_value("engine", text) {
        return Err(NoEngine::NotCarriedOut);
    }
    let known: Vec<_> = ENGINES.iter().map(|(word, _)| *word).collect();
    Err(NoEngine::Unknown {
        hint: table::suggest(text, &known),
    })
}

fn team_name(source: &Source<'_>, root: &mut Table<'_>, project: &Path) -> Option<TeamName> {
    let Some(found) = root.string("name") else {
        let directory = project.file_name().unwrap_or_default();
        return Some(slug(&directory.to_string_lossy()));
    };
    found
        .value
        .parse()
        .map_err(|error| source.fault(found.at, format!("{error}")))
        .ok()
}

/// A directory's name as a team's.
fn slug(text: &str) -> TeamName {
    let mut slug = String::new();
    for c in text.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_lowercase() || (c.is_ascii_digit() && !slug.is_empty()) {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    slug.truncate(agent_team_protocol::id::NAME_MAX);
    slug.trim_end_matches('-')
        .parse()
        .unwrap_or_else(|_| "team".parse().expect("it follows the rule"))
}

fn panes(table: Option<Table<'_>>) -> (PlacementChoice, Layout) {
    let (mut placement, mut layout) = (PlacementChoice::Auto, Layout::MainVertical);
    if let Some(mut table) = table {
        placement = table
            .word("placement", PLACEMENTS)
            .map_or(placement, |found| found.value);
        layout = table
            .word("layout", LAYOUTS)
            .map_or(layout, |found| found.value);
        table.finish();
    }
    (placement, layout)
}

fn limits(table: Option<Table<'_>>) -> Limits {
    let mut limits = Limits::default();
    if let Some(mut table) = table {
        let mut at_least_one = |key| table.integer(key, 1..=i32::MAX).map(i32::unsigned_abs);
        limits.teammates = at_least_one("teammates").unwrap_or(limits.teammates);
        limits.starting = at_least_one("starting").unwrap_or(limits.starting);
        table.finish();
    }
    limits
}

fn hooks(table: Option<Table<'_>>) -> Hooks {
    let mut hooks = Hooks::default();
    if let Some(mut table) = table {
        let mut line = |key| table.string(key).map(|found| found.value.to_owned());
        hooks.task_completed = line("task_completed");
        hooks.teammate_idle = line("teammate_idle");
        table.finish();
    }
    hooks
}

fn check_members(source: &Source<'_>, members: &[Member], limits: Limits) {
    let mut first: HashMap<&str, usize> = HashMap::new();
    for member in members {
        let name = member.spec.name.as_str();
        if let Some(at) = first.get(name) {
            let line = source.line(*at);
            source.fault(
                member.at,
                format!("{name:?} is already the name of the member in line {line}"),
            );
        } else {
            first.insert(name, member.at);
        }
    }
    let most = limits.teammates as usize;
    if let Some(over) = members.get(most) {
        source.fault_with_hint(
            over.at,
            format!(
                "the team has {} members, and `limits.teammates` is {most}",
                members.len()
            ),
            format!("write teammates = {} under [limits]", members.len()),
        );
    }
}
