//! What tmux says there is: its panes, and which of them are whose. Panes are known by the tags that we set on them,
//! so that a supervisor that was started anew finds them again, and by nothing else.

use std::collections::BTreeMap;

use agent_team_protocol::TeamId;

use super::call::Command;
use super::server::Server;

/// On a pane: whose it is. A pane without them is somebody else's, wherever it is.
pub(super) const TEAM_TAG: &str = "@agent_team_team";
pub(super) const MEMBER_TAG: &str = "@agent_team_member";
pub(super) const LAUNCH_TAG: &str = "@agent_team_launch";
/// On a window and on a session of ours: its team. Other names than the panes' have, which would inherit them.
pub(super) const WINDOW_TAG: &str = "@agent_team_window";
pub(super) const SESSION_TAG: &str = "@agent_team_session";

/// One line for a pane, as [`Pane::parse`] reads it. Tags hold no tabs: they are names and ids.
pub(super) const FORMAT: &str = concat!(
    "#{pid}\t#{session_id}\t#{window_id}\t#{pane_id}\t#{pane_pid}\t#{window_width}\t#{window_height}",
    "\t#{window_active}\t#{pane_active}\t#{window_zoomed_flag}",
    "\t#{@agent_team_session}\t#{@agent_team_window}\t#{@agent_team_team}\t#{@agent_team_member}",
);

/// Asks for every pane of the server.
pub(super) fn list() -> Command {
    Command::new("list-panes").flag("-a").option("-F", FORMAT)
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pane {
    /// The server's pid.
    pub(super) server: u32,
    pub(super) session: String,
    pub(super) window: String,
    pub(super) id: String,
    pub(super) pid: u32,
    /// Of its window, in columns and rows.
    pub(super) size: (u16, u16),
    pub(super) window_active: bool,
    pub(super) active: bool,
    pub(super) zoomed: bool,
    /// The teams whose session, window and pane it is; empty: nobody's of ours.
    pub(super) session_team: String,
    pub(super) window_team: String,
    pub(super) team: String,
    pub(super) member: String,
}

impl Pane {
    /// `None` for a line that is none of [`FORMAT`].
    pub(super) fn parse(line: &str) -> Option<Self> {
        let mut fields = line.split('\t');
        let mut field = || fields.next();
        let flag = |text: &str| text == "1";
        Some(Self {
            server: field()?.parse().ok()?,
            session: field()?.to_owned(),
            window: field()?.to_owned(),
            id: field().filter(|id| id.starts_with('%'))?.to_owned(),
            // A pane without a process has none.
            pid: field()?.parse().unwrap_or(0),
            size: (field()?.parse().ok()?, field()?.parse().ok()?),
            window_active: flag(field()?),
            active: flag(field()?),
            zoomed: flag(field()?),
            session_team: field()?.to_owned(),
            window_team: field()?.to_owned(),
            team: field()?.to_owned(),
            member: field()?.to_owned(),
        })
    }

    pub(super) fn is_of(&self, team: &TeamId) -> bool {
        self.team == team.as_str()
    }
}

/// A window of the team's that shows at least one of its members.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Window {
    pub(super) session: String,
    pub(super) id: String,
    pub(super) size: (u16, u16),
    /// How many panes there are in it, whoever's.
    pub(super) panes: usize,
    /// The team's last one: where the next is split off.
    pub(super) last: String,
    pub(super) active: String,
    pub(super) zoomed: bool,
}

/// All panes of a server, at one time.
#[derive(Debug, Default)]
pub(super) struct Survey {
    /// `None`: there is no server.
    pub(super) server: Option<Server>,
    panes: Vec<Pane>,
}

impl Survey {
    /// `listing` is what [`list`] printed.
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

    /// A pane whose window is in several sessions is listed once for each: it is known by the one that is ours.
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

    /// In the order in which they were made.
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

    /// The session that was made for the team on our own server.
    pub(super) fn session_of(&self, team: &TeamId) -> Option<&str> {
        let pane = self
            .panes
            .iter()
            .find(|pane| pane.session_team == team.as_str())?;
        Some(&pane.session)
    }

    /// The size that a new window of the session gets, as far as can be known: that of its current one.
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

    const ADA: &str =
        "9\t$0\t@1\t%3\t13\t200\t49\t1\t0\t0\tdemo-12345678\tdemo-12345678\tdemo-12345678\tada";
    const BOB: &str =
        "9\t$0\t@1\t%12\t14\t200\t49\t1\t0\t0\tdemo-12345678\tdemo-12345678\tdemo-12345678\tbob";
    const HAND: &str = "9\t$0\t@1\t%13\t15\t200\t49\t1\t1\t0\tdemo-12345678\tdemo-12345678\t\t";
    const USERS: &str = "9\t$1\t@0\t%0\t12\t80\t24\t1\t1\t0\t\t\t\t";

    #[test]
    fn a_listing_reads_back() {
        let survey = survey(&[USERS, ADA, "noise", "9\t$1\t@0\tx"]);
        assert_eq!(survey.panes().count(), 2);
        let ada = survey.of_member(&team(), "ada").unwrap();
        assert_eq!((ada.id.as_str(), ada.pid, ada.size), ("%3", 13, (200, 49)));
        assert_eq!(survey.of_member(&team(), ""), None);
        assert_eq!(survey.session_of(&team()), Some("$0"));
        assert_eq!(survey.size_in("$1"), Some((80, 24)));
    }

    #[test]
    fn a_window_counts_foreign_panes_but_is_split_beside_ours() {
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
    fn a_window_without_a_member_is_not_ours_to_split() {
        assert_eq!(survey(&[HAND, USERS]).windows_of(&team()), []);
    }

    #[test]
    fn a_pane_that_was_moved_to_a_users_window_does_not_make_it_ours() {
        let moved = "9\t$1\t@0\t%3\t13\t80\t24\t1\t0\t0\t\t\tdemo-12345678\tada";
        let survey = survey(&[USERS, moved]);
        assert_eq!(survey.windows_of(&team()), []);
        assert!(survey.of_member(&team(), "ada").is_some());
    }

    #[test]
    fn a_pane_in_a_view_of_our_session_is_one_pane_of_our_session() {
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
