//! `[permissions]`: rules, the mode, and how far a decision reaches. In the team file, in the user's `config.toml` for
//! every team, and in a file of the user's for this one, which holds what was allowed `always`.
//!
//! `trust` lists what of the team file needs the user's trust.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use agent_team_policy::{Effect, Rule};
use agent_team_protocol::permissions::{Mode, PermissionDefaults, Permissions};
use agent_team_protocol::request::Scope;
use agent_team_protocol::spec::milliseconds;
use agent_team_protocol::text::position;
use agent_team_protocol::{TeamId, with_causes};
use toml::de::DeTable;

use super::open::{ReadTextError, read_text};
use super::own::{OwnError, write_own};
use super::source::{Fault, Source};
use super::table::{At, Level, Table};

/// A decision that says nothing about how far it reaches cannot be one for always.
const SCOPES: &[(&str, Scope)] = &[
    ("once", Scope::Once),
    ("task", Scope::Task),
    ("member", Scope::Member),
    ("team", Scope::Team),
];

/// What one file says.
#[derive(Debug, Default)]
pub(super) struct Said {
    pub(super) rules: Permissions,
    pub(super) mode: Option<Mode>,
    pub(super) default_scope: Option<Scope>,
}

pub(super) fn read(source: &Source<'_>, table: Option<Table<'_>>) -> Said {
    let Some(mut table) = table else {
        return Said::default();
    };
    let mut rules = |list, effect| -> Vec<String> {
        let found = table.strings(list).unwrap_or_default().into_iter();
        let fit = found.filter(|rule| is_rule(source, *rule, list, effect));
        fit.map(|rule| rule.value.to_owned()).collect()
    };
    let rules = Permissions {
        from: source.file().to_owned(),
        deny: rules("deny", Effect::Deny),
        ask: rules("ask", Effect::Ask),
        allow: rules("allow", Effect::Allow),
        approve: rules("approve", Effect::Allow),
        expire_ms: table.amount("expire_minutes").map(milliseconds),
    };
    let said = Said {
        rules,
        mode: table.word("mode", &Mode::NAMES).map(|found| found.value),
        default_scope: table.word("default_scope", SCOPES).map(|found| found.value),
    };
    table.finish();
    said
}

/// Says what is wrong with a text that is none.
fn is_rule(source: &Source<'_>, rule: At<&str>, list: &str, effect: Effect) -> bool {
    match Rule::parse(rule.value, effect) {
        Ok(parsed) if parsed.is_about_plans() && list != "approve" => {
            let text = "`Plan` is valid only in `approve`: a plan is always approved by the user or by the lead";
            source.fault(rule.at, text);
            false
        }
        Ok(_) => true,
        Err(error) => {
            source.fault(rule.at, error.to_string());
            false
        }
    }
}

/// What the user's own files say: for every team, then for this one.
pub(super) fn of_user(settings: &Path, team: Option<&TeamId>) -> (Vec<Said>, Vec<Fault>) {
    let files = [
        Some(settings.join("config.toml")),
        team.map(|team| file_of(settings, team)),
    ];
    let (mut said, mut faults) = (Vec::new(), Vec::new());
    for file in files.into_iter().flatten() {
        let shown = file.display().to_string();
        let text = match read_text(&file) {
            Ok(text) => text,
            Err(ReadTextError::Io(error)) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => {
                // What it forbids would hold nobody back.
                let source = Source::new(shown, "");
                source.fault(0, with_causes(&error));
                faults.extend(source.into_faults());
                continue;
            }
        };
        let source = Source::new(shown, &text);
        match DeTable::parse(&text) {
            Ok(document) => {
                let mut root = Table::new(&source, document.get_ref(), Level::Root, 0);
                said.push(read(&source, root.table("permissions", Level::Permissions)));
            }
            Err(error) => {
                let at = error.span().map_or(0, |span| span.start);
                source.fault(at, error.message());
            }
        }
        faults.extend(source.into_faults());
    }
    (said, faults)
}

/// What holds where no rule decides: the word of the user's file for this team, of the one for all, of the team file.
pub(super) fn stance(file: &Said, own: &[Said]) -> PermissionDefaults {
    let nearest = || own.iter().rev().chain([file]);
    PermissionDefaults {
        mode: nearest().find_map(|said| said.mode).unwrap_or_default(),
        unattended: false,
        default_scope: nearest()
            .find_map(|said| said.default_scope)
            .unwrap_or_default(),
    }
}

/// Where the user's rules for one team stand.
fn file_of(settings: &Path, team: &TeamId) -> PathBuf {
    let teams = settings.join("teams");
    teams.join(format!("{team}.permissions.toml"))
}

/// Allows these for the user in every team of this name and project, from the next `up` on. Gives the file.
///
/// # Errors
/// When the file is no TOML, or cannot be written.
pub fn allow_always(settings: &Path, team: &TeamId, rules: &[String]) -> Result<PathBuf, OwnError> {
    let file = file_of(settings, team);
    change(&file, |allowed| {
        for rule in rules {
            if !allowed.contains(rule) {
                allowed.push(rule.clone());
            }
        }
    })?;
    Ok(file)
}

/// Takes one of them back. False: it was none.
///
/// # Errors
/// As for [`allow_always`].
pub fn revoke_always(settings: &Path, team: &TeamId, rule: &str) -> Result<bool, OwnError> {
    let mut revoked = false;
    change(&file_of(settings, team), |allowed| {
        let before = allowed.len();
        allowed.retain(|allowed| allowed != rule);
        revoked = allowed.len() < before;
    })?;
    Ok(revoked)
}

/// What else the file says stays.
fn change(file: &Path, change: impl FnOnce(&mut Vec<String>)) -> Result<(), OwnError> {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(ReadTextError::Io(error)) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(OwnError::Read(file.to_owned(), error)),
    };
    let fault = |at: usize, message: &str| {
        let (line, column) = position(&text, at);
        OwnError::Fault(Fault {
            file: file.display().to_string(),
            line,
            column,
            message: message.to_owned(),
            hint: None,
        })
    };
    let mut whole: toml::Table = toml::from_str(&text)
        .map_err(|error| fault(error.span().map_or(0, |span| span.start), error.message()))?;
    let mut permissions = whole.remove("permissions");
    let permissions = permissions.get_or_insert_with(|| toml::Value::Table(toml::Table::new()));
    let Some(table) = permissions.as_table_mut() else {
        return Err(fault(0, "`permissions` must be a table"));
    };
    let allowed = table.get("allow").and_then(toml::Value::as_array);
    let mut rules: Vec<String> = allowed
        .into_iter()
        .flatten()
        .filter_map(|rule| rule.as_str().map(str::to_owned))
        .collect();
    let before = rules.clone();
    change(&mut rules);
    if rules == before {
        return Ok(());
    }
    let rules = rules.into_iter().map(toml::Value::String).collect();
    table.insert("allow".to_owned(), toml::Value::Array(rules));
    whole.insert("permissions".to_owned(), permissions.clone());
    write_own(
        file,
        &format!(
            "# Your rules for this project's team; to list them, run agent-team rules list.\n{whole}"
        ),
    )
}
