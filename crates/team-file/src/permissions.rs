//! `[permissions]`: rules, the mode and the default scope of decisions. Read from the team file, from the user's
//! `config.toml` (all teams), and from a user's file for this team, which stores the rules that were allowed `always`.
//!
//! The module `trust` lists the permissions of the team file that require the user's trust.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use agent_team_policy::{Rule, RuleKind};
use agent_team_protocol::TeamId;
use agent_team_protocol::permissions::{Mode, PermissionDefaults, Permissions};
use agent_team_protocol::request::Scope;
use agent_team_protocol::spec::milliseconds;
use agent_team_protocol::text::position;

use super::open::{ReadTextError, read_text, read_user_file};
use super::overrides::{OverridesError, write_private};
use super::source::{Fault, Source};
use super::table::{At, Table};
use super::unsupported::Level;

/// Default scopes. `always` is missing on purpose: a decision without an explicit scope must not be permanent.
pub(super) const SCOPES: &[(&str, Scope)] = &[
    ("once", Scope::Once),
    ("task", Scope::Task),
    ("member", Scope::Member),
    ("team", Scope::Team),
];

#[derive(Debug, Default)]
pub(super) struct PermissionSettings {
    pub(super) rules: Permissions,
    pub(super) mode: Option<Mode>,
    pub(super) default_scope: Option<Scope>,
}

pub(super) fn read(source: &Source<'_>, mut table: Table<'_>) -> PermissionSettings {
    let mut rules = |list, kind| -> Vec<String> {
        let found = table.strings(list).unwrap_or_default().into_iter();
        let fit = found.filter(|rule| is_rule(source, *rule, list, kind));
        fit.map(|rule| rule.value.to_owned()).collect()
    };
    let rules = Permissions {
        from: source.file().to_owned(),
        deny: rules("deny", RuleKind::Deny),
        ask: rules("ask", RuleKind::Ask),
        allow: rules("allow", RuleKind::Allow),
        approve: rules("approve", RuleKind::Allow),
        expire_ms: table.amount("expire_minutes").map(milliseconds),
    };
    let settings = PermissionSettings {
        rules,
        mode: table.word("mode", &Mode::NAMES).map(|found| found.value),
        default_scope: table.word("default_scope", SCOPES).map(|found| found.value),
    };
    table.finish();
    settings
}

/// Whether a text is a valid rule for the list. Reports a fault if it is not.
fn is_rule(source: &Source<'_>, rule: At<&str>, list: &str, kind: RuleKind) -> bool {
    match Rule::parse(rule.value, kind) {
        Ok(parsed) if parsed.is_about_plans() && list != "approve" => {
            let text = "`Plan` is valid only in `approve`, where it lets the lead approve plans";
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

/// Reads the user's rules for one team.
pub(super) fn of_team(settings: &Path, team: &TeamId) -> (Option<PermissionSettings>, Vec<Fault>) {
    let mut found = None;
    let faults = read_user_file(&file_of(settings, team), |source, root| {
        let table = root.table("permissions", Level::Permissions);
        found = table.map(|table| read(source, table));
    });
    (found, faults)
}

/// The default mode, and the default scope of decisions. The user's file for this team takes precedence over the user's
/// file for all teams, and both take precedence over the team file.
pub(super) fn defaults(
    file: &PermissionSettings,
    user: &[PermissionSettings],
) -> PermissionDefaults {
    let nearest = || user.iter().rev().chain([file]);
    PermissionDefaults {
        mode: nearest()
            .find_map(|settings| settings.mode)
            .unwrap_or_default(),
        unattended: false,
        default_scope: nearest()
            .find_map(|settings| settings.default_scope)
            .unwrap_or_default(),
    }
}

/// The path of the user's rules for one team.
fn file_of(settings: &Path, team: &TeamId) -> PathBuf {
    let teams = settings.join("teams");
    teams.join(format!("{team}.permissions.toml"))
}

/// Adds rules to the user's `allow` list for this team and returns the file. The rules apply from the next `up` on.
///
/// # Errors
/// When the file cannot be read or written, is not valid TOML, or its key `permissions` is not a table.
pub fn allow_always(
    settings: &Path,
    team: &TeamId,
    rules: &[String],
) -> Result<PathBuf, OverridesError> {
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

/// Removes a rule from the user's `allow` list. Returns false if the list does not contain the rule.
///
/// # Errors
/// As for [`allow_always`].
pub fn revoke_always(settings: &Path, team: &TeamId, rule: &str) -> Result<bool, OverridesError> {
    let mut revoked = false;
    change(&file_of(settings, team), |allowed| {
        let before = allowed.len();
        allowed.retain(|allowed| allowed != rule);
        revoked = allowed.len() < before;
    })?;
    Ok(revoked)
}

/// Changes the `allow` list and keeps the other keys of the file. Comments are lost.
fn change(file: &Path, change: impl FnOnce(&mut Vec<String>)) -> Result<(), OverridesError> {
    let text = match read_text(file) {
        Ok(text) => text,
        Err(ReadTextError::Io(error)) if error.kind() == ErrorKind::NotFound => String::new(),
        Err(error) => return Err(OverridesError::Read(file.to_owned(), error)),
    };
    let fault = |at: usize, message: &str| {
        let (line, column) = position(&text, at);
        OverridesError::Fault(Fault {
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
    write_private(
        file,
        &format!(
            "# Your rules for this project's team; to list them, run agent-team rules list.\n{whole}"
        ),
    )
}
