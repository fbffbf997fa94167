//! The settings in a team's state, parsed. Called by the driver.
//!
//! [`ParsedSettings`] parses each text once, when the state that contains it changes. A text that this version cannot
//! read, for example from the journal of a newer version, is an [`Unreadable`] error: the members concerned are held,
//! and unreadable settings of the team deny every call. Using defaults instead would drop every deny rule.

use std::collections::BTreeMap;
use std::sync::Arc;

use agent_team_core::Team;
use agent_team_core::spec::MemberSpec;
use agent_team_policy::RuleBook;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::{ErrorCode, MemberName, Refusal};
use serde::de::DeserializeOwned;

use crate::permission;
use crate::settings::{MemberSettings, TeamSettings};

/// Parsed settings of a team and its members.
#[derive(Debug, Default)]
pub(crate) struct ParsedSettings {
    team: Parsed<Option<TeamRules>>,
    members: BTreeMap<MemberName, Parsed<MemberSettings>>,
}

/// The settings of a team that was brought up, with its compiled rules.
#[derive(Debug)]
pub(crate) struct TeamRules {
    pub(crate) settings: TeamSettings,
    /// The rules of the team file and of the user's settings.
    pub(crate) book: RuleBook,
    /// `book` with the rules for requests that the lead may allow.
    pub(crate) delegated: RuleBook,
}

/// Why settings cannot be read: names the settings and the fault.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("cannot read the settings of {of}: {fault}")]
pub(crate) struct Unreadable {
    of: String,
    fault: String,
}

impl Unreadable {
    pub(crate) fn refusal(&self) -> Refusal {
        Refusal::new(ErrorCode::WrongState, self.to_string())
            .hint(format!("replace them with: {}", CommandLine::Up))
    }
}

#[derive(Debug)]
struct Parsed<T> {
    text: Arc<str>,
    value: Result<T, Unreadable>,
}

impl Default for Parsed<Option<TeamRules>> {
    fn default() -> Self {
        Self {
            text: Arc::default(),
            value: Ok(None),
        }
    }
}

impl ParsedSettings {
    pub(crate) fn of(team: &Team) -> Self {
        let mut settings = Self::default();
        settings.refresh(team);
        settings
    }

    /// Parses the texts that changed. Must be called after each change of the team's or a member's settings.
    pub(crate) fn refresh(&mut self, team: &Team) {
        let text = &team.spec().settings;
        if !is_same(&self.team.text, text) {
            self.team = Parsed {
                text: text.clone(),
                value: read_team(text),
            };
        }
        self.members.retain(|name, _| team.member(name).is_some());
        for member in team.members() {
            let MemberSpec { name, settings, .. } = &member.spec;
            let known = self.members.get(name);
            if known.is_none_or(|known| !is_same(&known.text, settings)) {
                let parsed = Parsed {
                    text: settings.clone(),
                    value: read_member(settings, name),
                };
                self.members.insert(name.clone(), parsed);
            }
        }
    }

    /// The team's settings and rules; `None` for a team that was never brought up.
    pub(crate) fn rules(&self) -> Result<Option<&TeamRules>, &Unreadable> {
        self.team.value.as_ref().map(Option::as_ref)
    }

    /// The team's settings for display; `None` also if they are unreadable. A decision must use [`Self::rules`] and
    /// handle its error.
    pub(crate) fn team(&self) -> Option<&TeamSettings> {
        let rules = self.rules().ok().flatten();
        rules.map(|rules| &rules.settings)
    }

    pub(crate) fn member(&self, name: &MemberName) -> Result<&MemberSettings, Unreadable> {
        match self.members.get(name) {
            Some(parsed) => parsed.value.as_ref().map_err(Clone::clone),
            None => Err(Unreadable {
                of: name.to_string(),
                fault: "not a member".to_owned(),
            }),
        }
    }

    /// Members that cannot run because the team's settings or their own are unreadable.
    pub(crate) fn unreadable(&self) -> Vec<(MemberName, Unreadable)> {
        let of_team = self.rules().err();
        let members = self.members.iter();
        members
            .filter_map(|(name, parsed)| {
                let error = of_team.or(parsed.value.as_ref().err())?;
                Some((name.clone(), error.clone()))
            })
            .collect()
    }
}

/// Whether the texts are equal. Compares pointers first: the core shares texts, so equal texts are usually the same
/// allocation.
fn is_same(known: &Arc<str>, text: &Arc<str>) -> bool {
    Arc::ptr_eq(known, text) || known == text
}

fn read_team(text: &str) -> Result<Option<TeamRules>, Unreadable> {
    if text.is_empty() {
        return Ok(None);
    }
    let settings: TeamSettings = parse(text, "the team")?;
    let unreadable = |error: agent_team_policy::RuleError| Unreadable {
        of: "the team".to_owned(),
        fault: error.to_string(),
    };
    let book = permission::book(&settings).map_err(unreadable)?;
    let delegated = permission::delegated(&book, &settings).map_err(unreadable)?;
    Ok(Some(TeamRules {
        settings,
        book,
        delegated,
    }))
}

fn read_member(text: &str, name: &MemberName) -> Result<MemberSettings, Unreadable> {
    let settings: MemberSettings = parse(text, name.as_str())?;
    if settings.engine.info().is_some() {
        return Ok(settings);
    }
    Err(Unreadable {
        of: name.to_string(),
        fault: "this version does not have its engine".to_owned(),
    })
}

fn parse<T: DeserializeOwned>(text: &str, of: &str) -> Result<T, Unreadable> {
    serde_json::from_str(text).map_err(|error| Unreadable {
        of: of.to_owned(),
        fault: error.to_string(),
    })
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::permissions::{PermissionDefaults, Permissions};
    use agent_team_protocol::spec::{Hooks, Layout, Notify, Search};

    use super::*;
    use crate::launch::panes::TerminalBackend;
    use crate::settings::{TeamPlacement, to_json};

    fn written() -> TeamSettings {
        TeamSettings {
            team_placement: TeamPlacement {
                terminal: TerminalBackend::Headless,
                reason: String::new(),
            },
            layout: Layout::Tiled,
            hooks: Hooks::default(),
            notify: Notify::default(),
            permissions: Permissions {
                deny: vec!["Read(secret.txt)".to_owned()],
                ..Permissions::default()
            },
            own_permissions: Vec::new(),
            permission_defaults: PermissionDefaults::default(),
            roles: Vec::new(),
            trusted: Vec::new(),
            protected: Vec::new(),
        }
    }

    #[test]
    fn settings_of_this_version_are_read() {
        let rules = read_team(&to_json(&written())).unwrap().unwrap();
        assert_eq!(rules.settings, written());
        assert_eq!(rules.book.entries().len(), 1);
        assert!(
            read_team("").unwrap().is_none(),
            "a team that was never brought up has settings"
        );
    }

    #[test]
    fn stored_settings_keep_their_names() {
        let text = to_json(&written());
        for stored in [r#""place":{"terminal""#, r#""stance":{"mode":"default""#] {
            assert!(text.contains(stored), "{stored} in {text}");
        }
        let search = serde_json::to_string(&Search::Off).unwrap();
        assert_eq!(search, r#"{"api":"nobody"}"#);
    }

    #[test]
    fn settings_of_a_newer_version_are_an_error() {
        let written = to_json(&written());
        let newer = [
            (r#""mode":"default""#, r#""mode":"newer""#),
            (r#""unattended""#, r#""newer":1,"unattended""#),
            (r#""default_scope":"once""#, r#""default_scope":"newer""#),
            (r#""deny":"#, r#""newer":[],"deny":"#),
            ("Read(secret.txt)", "Newer(secret.txt)"),
            (r#""layout":"tiled""#, r#""layout":"newer""#),
            (r#""kind":"headless""#, r#""kind":"newer""#),
        ];
        for (old, new) in newer {
            // `unattended` is written only when it is true.
            let text = match old {
                r#""unattended""# => {
                    written.replacen(r#""mode":"#, r#""unattended":true,"mode":"#, 1)
                }
                _ => written.to_string(),
            };
            assert!(text.contains(old), "{old} in {text}");
            let error = read_team(&text.replace(old, new)).unwrap_err().to_string();
            assert!(error.to_lowercase().contains("newer"), "{error}");
            assert!(
                error.starts_with("cannot read the settings of the team: "),
                "{error}"
            );
        }
    }
}
