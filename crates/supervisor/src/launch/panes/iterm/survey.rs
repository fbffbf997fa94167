//! A list of the sessions of iTerm2 (`Survey`), and the assignment of sessions to members by the tags that this backend
//! sets. Called by the other files of this backend. A session is assigned by its tag, so that a restarted supervisor
//! finds its sessions again. A session in which the user has started another program belongs to no member.

use std::collections::BTreeMap;
use std::fmt;

use agent_team_protocol::{MemberName, TeamId};
use agent_team_system::process::ProcessId;

/// The owner of a session, and the process started in it. Serialised with spaces as separators, which names, ids and
/// numbers cannot contain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tag {
    pub(super) team: String,
    pub(super) member: String,
    pub(super) launch: String,
    pub(super) process: ProcessId,
}

impl Tag {
    /// `None` if the text is not a tag in this format.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut words = text.split(' ');
        let mut word = || words.next().filter(|word| !word.is_empty());
        let tag = Self {
            team: word()?.to_owned(),
            member: word()?.to_owned(),
            launch: word()?.to_owned(),
            process: ProcessId {
                pid: word()?.parse().ok()?,
                start_time: word()?.parse().ok()?,
            },
        };
        words.next().is_none().then_some(tag)
    }
}

impl fmt::Display for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            team,
            member,
            launch,
            process: ProcessId { pid, start_time },
        } = self;
        write!(f, "{team} {member} {launch} {pid} {start_time}")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ItermSession {
    pub(super) id: String,
    /// `None`: the user has buried the session.
    pub(super) window: Option<String>,
    pub(super) tab: Option<String>,
    /// The session is not visible, because the user has buried it or another session of its tab is maximised.
    pub(super) hidden: bool,
    /// Columns and rows.
    pub(super) size: (u16, u16),
    /// The process in the session, running or ended.
    pub(super) pid: Option<u32>,
    pub(super) tag: Option<Tag>,
}

impl ItermSession {
    pub(super) fn is_of(&self, team: &TeamId) -> bool {
        self.tag
            .as_ref()
            .is_some_and(|tag| tag.team == team.as_str())
    }

    /// Whether another process runs in the session: the user has restarted the session with another program.
    pub(super) fn is_taken_over(&self) -> bool {
        let Some(pid) = self.pid else { return false };
        let runs = ProcessId::of(pid).ok().flatten();
        runs.is_some() && runs != self.tag.as_ref().map(|tag| tag.process)
    }
}

/// All sessions of the app at one moment, in the app's order.
#[derive(Debug, Default)]
pub(super) struct Survey {
    pub(super) sessions: Vec<ItermSession>,
}

impl Survey {
    pub(super) fn of_team<'a>(
        &'a self,
        team: &'a TeamId,
    ) -> impl Iterator<Item = &'a ItermSession> {
        self.sessions.iter().filter(|session| session.is_of(team))
    }

    /// The member's session, unless the user has taken it over.
    pub(super) fn of_member<'a>(
        &'a self,
        team: &'a TeamId,
        member: &MemberName,
    ) -> Option<&'a ItermSession> {
        let mut all = self.of_team(team);
        all.find(|session| {
            let tag = session.tag.as_ref();
            tag.is_some_and(|tag| tag.member == member.as_str()) && !session.is_taken_over()
        })
    }

    /// The visible sessions of each tab that contains only the team's sessions. The tabs are in the order of their
    /// first sessions.
    pub(super) fn tabs_of(&self, team: &TeamId) -> Vec<Vec<&ItermSession>> {
        let mut tabs: BTreeMap<&str, (usize, Vec<&ItermSession>)> = BTreeMap::new();
        for (at, session) in self.sessions.iter().enumerate() {
            if let Some(tab) = &session.tab {
                tabs.entry(tab).or_insert((at, Vec::new())).1.push(session);
            }
        }
        let ours = |sessions: &[&ItermSession]| sessions.iter().all(|session| session.is_of(team));
        let mut tabs: Vec<_> = tabs
            .into_values()
            .filter(|(_, sessions)| ours(sessions))
            .collect();
        tabs.sort_by_key(|(at, _)| *at);
        tabs.into_iter()
            .map(|(_, mut sessions)| {
                sessions.retain(|session| !session.hidden);
                sessions
            })
            .collect()
    }

    /// The window for a new tab of the team: the window of its other tabs, otherwise the window in which `up` was
    /// called, otherwise the first window.
    pub(super) fn window_for(&self, team: &TeamId, caller: Option<&str>) -> Option<String> {
        let callers = || {
            let caller = caller?;
            self.sessions.iter().find(|session| session.id == caller)
        };
        let visible = |session: &&ItermSession| session.window.is_some();
        self.of_team(team)
            .find(visible)
            .or_else(callers)
            .or_else(|| self.sessions.iter().find(visible))?
            .window
            .clone()
    }

    /// Records the tag of a listed session, and the process that the tag names.
    pub(super) fn put(&mut self, id: &str, tag: Tag) {
        if let Some(session) = self.sessions.iter_mut().find(|session| session.id == id) {
            session.pid = Some(tag.process.pid);
            session.tag = Some(tag);
        }
    }

    /// Replaces the list, keeping the tags and processes of known sessions.
    pub(super) fn refresh(&mut self, listed: Vec<ItermSession>) {
        let before = std::mem::take(&mut self.sessions);
        let known = |id: &str| before.iter().find(|session| session.id == id);
        let kept = listed.into_iter().map(|session| {
            let (pid, tag) =
                known(&session.id).map_or((None, None), |known| (known.pid, known.tag.clone()));
            ItermSession {
                pid,
                tag,
                ..session
            }
        });
        self.sessions = kept.collect();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team() -> TeamId {
        TeamId::from_directory_name("demo-12345678").unwrap()
    }

    fn tag(member: &str) -> Tag {
        Tag {
            team: team().to_string(),
            member: member.to_owned(),
            launch: "L-1".to_owned(),
            process: ProcessId {
                pid: 7,
                start_time: 8,
            },
        }
    }

    fn session(id: &str, tab: &str, tag: Option<Tag>) -> ItermSession {
        ItermSession {
            id: id.to_owned(),
            window: Some("w".to_owned()),
            tab: Some(tab.to_owned()),
            hidden: false,
            size: (80, 24),
            pid: None,
            tag,
        }
    }

    #[test]
    fn tags_round_trip_and_other_text_is_rejected() {
        let ada = tag("ada");
        assert_eq!(Tag::parse(&ada.to_string()), Some(ada.clone()));
        for bad in [
            "",
            "demo ada",
            "demo ada L-1 x 8",
            "demo ada L-1 7 8 more",
            " ada L-1 7 8",
        ] {
            assert_eq!(Tag::parse(bad), None, "{bad}");
        }
    }

    #[test]
    fn a_tab_with_a_user_session_is_never_split() {
        let survey = Survey {
            sessions: vec![
                session("1", "t2", Some(tag("ada"))),
                session("2", "t1", Some(tag("bob"))),
                session("3", "t1", None),
            ],
        };
        let team = team();
        let tabs: Vec<Vec<_>> = survey
            .tabs_of(&team)
            .iter()
            .map(|tab| tab.iter().map(|session| session.id.as_str()).collect())
            .collect();
        assert_eq!(tabs, [["1"]]);
        assert!(survey.of_member(&team, &"bob".parse().unwrap()).is_some());
    }

    #[test]
    fn a_session_with_a_user_process_is_taken_over() {
        let own = ProcessId::current().unwrap();
        let ours = ItermSession {
            pid: Some(own.pid),
            tag: Some(Tag {
                process: own,
                ..tag("ada")
            }),
            ..session("1", "t", None)
        };
        assert!(!ours.is_taken_over());
        let theirs = ItermSession {
            tag: Some(tag("ada")),
            ..ours.clone()
        };
        assert!(theirs.is_taken_over());
        // The tagged process has ended, and no other process runs.
        let ended = ItermSession {
            pid: Some(u32::MAX - 1),
            ..theirs
        };
        assert!(!ended.is_taken_over());
    }

    #[test]
    fn a_new_tab_opens_beside_the_team_or_the_caller() {
        let at = |id: &str, window: &str, tag| ItermSession {
            window: Some(window.to_owned()),
            ..session(id, id, tag)
        };
        let mut survey = Survey {
            sessions: vec![at("1", "w1", None), at("2", "w2", None)],
        };
        let window = |survey: &Survey, caller| survey.window_for(&team(), caller);
        assert_eq!(window(&survey, Some("2")).as_deref(), Some("w2"));
        assert_eq!(window(&survey, Some("9")).as_deref(), Some("w1"));
        survey.sessions.push(at("3", "w3", Some(tag("ada"))));
        assert_eq!(window(&survey, Some("2")).as_deref(), Some("w3"));
        assert_eq!(window(&Survey::default(), Some("2")), None);
    }
}
