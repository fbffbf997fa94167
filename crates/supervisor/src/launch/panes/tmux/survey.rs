//! Parses the list of a server's panes (`Survey`), and assigns panes to members by the tags that this backend sets.
//! Called by the other files of this backend. Only the tags count, so that a restarted supervisor finds its panes
//! again.

use std::collections::BTreeMap;

use agent_team_protocol::TeamId;

use super::call::Command;
use super::server::Server;

/// Pane options that name the owner. A pane without them belongs to the user, even in a window of the team.
pub(super) const TEAM_TAG: &str = "@agent_team_team";
pub(super) const MEMBER_TAG: &str = "@agent_team_member";
pub(super) const LAUNCH_TAG: &str = "@agent_team_launch";
/// Options of windows and sessions of agent-team that name the team. The names differ from those of panes, because a
/// pane inherits options of its window.
pub(super) const WINDOW_TAG: &str = "@agent_team_window";
pub(super) const SESSION_TAG: &str = "@agent_team_session";

/// One line per pane, parsed by [`Pane::parse`]. Tags are names and ids, so they contain no tabs.
pub(super) const FORMAT: &str = concat!(
    "#{pid}\t#{session_id}\t#{window_id}\t#{pane_id}\t#{pane_pid}\t#{window_width}\t#{window_height}",
    "\t#{window_active}\t#{pane_active}\t#{window_zoomed_flag}",
    "\t#{@agent_team_session}\t#{@agent_team_window}\t#{@agent_team_team}\t#{@agent_team_member}",
    "\t#{pane_width}\t#{pane_height}",
);

/// Lists all panes of the server.
pub(super) fn list() -> Command {
    Command::of(&["list-panes", "-a", "-F", FORMAT])
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pane {
    /// The server's pid.
    pub(super) server: u32,
    pub(super) session: String,
    pub(super) window: String,
    pub(super) id: String,
    pub(super) pid: u32,
    /// Columns and rows of its window.
    pub(super) size: (u16, u16),
    pub(super) window_active: bool,
    pub(super) active: bool,
    pub(super) zoomed: bool,
    /// The teams in the tags of its session, of its window and of the pane itself; empty without a tag.
    pub(super) session_team: String,
    pub(super) window_team: String,
    pub(super) team: String,
    pub(super) member: String,
    /// Columns and rows of the pane itself.
    pub(super) size_of_pane: (u16, u16),
}

impl Pane {
    /// `None` for a line that is not in [`FORMAT`].
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut field = || fields.next();
        let flag = |text: &str| text == "1";
        Some(Self {
            server: field()?.parse().ok()?,
            session: field()?.to_owned(),
            window: field()?.to_owned(),
            id: field().filter(|id| id.starts_with('%'))?.to_owned(),
            // The pid is empty for a pane without a process.
            pid: field()?.parse().unwrap_or(0),
            size: (field()?.parse().ok()?, field()?.parse().ok()?),
            window_active: flag(field()?),
            active: flag(field()?),
            zoomed: flag(field()?),
            session_team: field()?.to_owned(),
            window_team: field()?.to_owned(),
            team: field()?.to_owned(),
            member: field()?.to_owned(),
            size_of_pane: (field()?.parse().ok()?, field()?.parse().ok()?),
        })
    }

    pub(super) fn is_of(&self, team: &TeamId) -> bool {
        self.team == team.as_str()
    }
}

/// A window of the team with at least one pane of a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) session: String,
    pub(super) id: String,
    pub(super) size: (u16, u16),
    /// Number of panes in the window, including the user's panes.
    pub(super) panes: usize,
    /// The team's last pane, which is split next.
    pub(super) last: String,
    pub(super) active: String,
    pub(super) zoomed: bool,
}

/// All panes of a server at one moment.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// `None`: no server is running.
    pub(super) server: Option<Server>,
    panes: Vec<Pane>,
}

impl Survey {
    /// `listing` is the output of [`list`].
    pub(super) fn of(listing: &str, socket: &std::path::Path) -> Self {
        let mut survey = Self::default();
        listing
            .lines()
            .filter_map(Pane::parse)
            .for_each(|pane| survey.add(pane));
        survey.server = survey
            .panes
            .first()
            .and_then(|pane| Server::of(pane.server, socket));
        survey
    }

    /// Adds a pane. If a window is linked into several sessions, its panes are listed once for each session; the entry
    /// with a tagged session wins.
    pub(super) fn add(&mut self, pane: Pane) {
        match self.panes.iter_mut().find(|known| known.id == pane.id) {
            Some(known) if known.session_team.is_empty() => *known = pane,
            Some(known) => {
                let (session, session_team) = (known.session.clone(), known.session_team.clone());
                *known = Pane {
                    session,
                    session_team,
                    ..pane
                };
            }
            None => self.panes.push(pane),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.panes.is_empty()
    }

    pub(super) fn panes(&self) -> impl Iterator<Item = &Pane> {
        self.panes.iter()
    }

    pub(super) fn of_member<'a>(&'a self, team: &TeamId, member: &str) -> Option<&'a Pane> {
        self.panes
            .iter()
            .find(|pane| pane.is_of(team) && pane.member == member)
    }

    /// The team's windows in order of creation.
    pub(super) fn windows_of(&self, team: &TeamId) -> Vec<Window> {
        let mut windows: BTreeMap<u64, Window> = BTreeMap::new();
        let in_ours = |pane: &&Pane| pane.window_team == team.as_str();
        for pane in self
            .panes
            .iter()
            .filter(in_ours)
            .filter(|pane| pane.is_of(team))
        {
            let window = windows
                .entry(number(&pane.window))
                .or_insert_with(|| Window {
                    session: pane.session.clone(),
                    id: pane.window.clone(),
                    size: pane.size,
                    panes: 0,
                    last: pane.id.clone(),
                    active: pane.id.clone(),
                    zoomed: pane.zoomed,
                });
            window.last.clone_from(&pane.id);
        }
        for pane in self.panes.iter().filter(in_ours) {
            if let Some(window) = windows.get_mut(&number(&pane.window)) {
                window.panes += 1;
                if pane.active {
                    window.active.clone_from(&pane.id);
                }
            }
        }
        windows.into_values().collect()
    }

    /// The team's session on agent-team's server.
    pub(super) fn session_of(&self, team: &TeamId) -> Option<&str> {
        let pane = self
            .panes
            .iter()
            .find(|pane| pane.session_team == team.as_str())?;
        Some(&pane.session)
    }

    /// The probable size of a new window in the session: the size of its current window.
    pub(super) fn size_in(&self, session: &str) -> Option<(u16, u16)> {
        let in_current = |pane: &&Pane| pane.session == session && pane.window_active;
        self.panes.iter().find(in_current).map(|pane| pane.size)
    }
}

fn number(id: &str) -> u64 {
    id.get(1..)
        .and_then(|digits| digits.parse().ok())
        .unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team() -> TeamId {
        TeamId::from_directory_name("demo-12345678").unwrap()
    }

    fn survey(lines: &[&str]) -> Survey {
        Survey::of(&lines.join("\n"), "/nonexistent".as_ref())
    }

    const ADA: &str = "9\t$0\t@1\t%3\t13\t200\t49\t1\t0\t0\tdemo-12345678\tdemo-12345678\tdemo-12345678\tada\t100\t49";
    const BOB: &str = "9\t$0\t@1\t%12\t14\t200\t49\t1\t0\t0\tdemo-12345678\tdemo-12345678\tdemo-12345678\tbob\t99\t24";
    const HAND: &str =
        "9\t$0\t@1\t%13\t15\t200\t49\t1\t1\t0\tdemo-12345678\tdemo-12345678\t\t\t99\t24";
    const USERS: &str = "9\t$1\t@0\t%0\t12\t80\t24\t1\t1\t0\t\t\t\t\t80\t24";

    #[test]
    fn a_listing_is_parsed() {
        let survey = survey(&[USERS, ADA, "noise", "9\t$1\t@0\tx"]);
        assert_eq!(survey.panes().count(), 2);
        let ada = survey.of_member(&team(), "ada").unwrap();
        assert_eq!((ada.id.as_str(), ada.pid, ada.size), ("%3", 13, (200, 49)));
        assert_eq!(survey.of_member(&team(), ""), None);
        assert_eq!(survey.session_of(&team()), Some("$0"));
        assert_eq!(survey.size_in("$1"), Some((80, 24)));
    }

    #[test]
    fn user_panes_count_but_are_never_split() {
        let windows = survey(&[ADA, BOB, HAND, USERS]).windows_of(&team());
        let [window] = windows.as_slice() else {
            panic!("{windows:?}")
        };
        assert_eq!(
            (window.panes, window.last.as_str(), window.active.as_str()),
            (3, "%12", "%13")
        );
    }

    #[test]
    fn a_window_without_members_is_never_split() {
        assert_eq!(survey(&[HAND, USERS]).windows_of(&team()), []);
    }

    #[test]
    fn a_moved_pane_does_not_claim_a_user_window() {
        let moved = "9\t$1\t@0\t%3\t13\t80\t24\t1\t0\t0\t\t\tdemo-12345678\tada\t80\t24";
        let survey = survey(&[USERS, moved]);
        assert_eq!(survey.windows_of(&team()), []);
        assert!(survey.of_member(&team(), "ada").is_some());
    }

    #[test]
    fn a_linked_window_is_listed_once() {
        let view = ADA
            .replace("\t$0\t", "\t$7\t")
            .replacen("demo-12345678", "", 1);
        for lines in [[ADA, &view], [&view, ADA]] {
            let survey = survey(&lines);
            assert_eq!(survey.panes().count(), 1);
            assert_eq!(survey.of_member(&team(), "ada").unwrap().session, "$0");
        }
    }
}
