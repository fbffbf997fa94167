//! The open teams of this supervisor and the teams on disk. Resolves references to teams; opens, deletes and closes
//! teams. Called by the server and at start-up.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::{DownAnswer, TeamListAnswer, UnreadableTeam};
use agent_team_protocol::notification::GoodbyeReason;
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::spec::TeamSpec;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome, TeamEntry, TeamState};
use agent_team_protocol::{ErrorCode, Refusal, TeamId, with_causes};
use agent_team_store::{Durability, OpenError, TeamIdentity};
use agent_team_system::directories::Directories;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::driver::{Driver, DriverConfig, DriverHandle, Message, Notice};
use crate::host::Host;
use crate::machine::Machine;

/// How long to wait at start-up for the locks of teams, and how often to check.
const UNLOCK_LIMIT: Duration = Duration::from_millis(250);
const UNLOCK_PAUSE: Duration = Duration::from_millis(5);

pub(crate) struct Teams {
    machine: Rc<dyn Machine>,
    directories: Rc<Directories>,
    boot: Arc<str>,
    durability: Durability,
    /// Runs the workers of all members inside the supervisor's process (embedded supervisor).
    host: Option<Arc<dyn Host>>,
    notices: mpsc::UnboundedSender<Notice>,
    open: RefCell<BTreeMap<TeamId, DriverHandle>>,
    /// The identities of team directories. Each directory is read only once.
    known: RefCell<BTreeMap<TeamId, TeamIdentity>>,
    /// The supervisor is shutting down: no further team is opened.
    closing: Cell<bool>,
}

impl Teams {
    pub(crate) fn new(
        machine: Rc<dyn Machine>,
        directories: Rc<Directories>,
        boot: Arc<str>,
        durability: Durability,
        notices: mpsc::UnboundedSender<Notice>,
    ) -> Self {
        Self {
            machine,
            directories,
            boot,
            durability,
            host: None,
            notices,
            open: RefCell::default(),
            known: RefCell::default(),
            closing: Cell::new(false),
        }
    }

    /// The teams, with every member hosted by `host`.
    pub(crate) fn hosted_by(self, host: Arc<dyn Host>) -> Self {
        Self {
            host: Some(host),
            ..self
        }
    }

    pub(crate) fn are_hosted(&self) -> bool {
        self.host.is_some()
    }

    /// Waits, for a bounded time, until no team on disk is locked. Needed after `kill -9`: between fork and exec, a
    /// worker that the killed supervisor was starting has copies of the supervisor's descriptors. Exec closes them in
    /// order of their numbers. The supervisor's lock has the lowest number, so it is free a moment before the locks of
    /// the teams. Without the wait those teams would be reported as in use.
    pub(crate) async fn wait_unlocked(&self) {
        let Ok(entries) = std::fs::read_dir(self.directories.teams()) else {
            return;
        };
        let deadline = Instant::now() + UNLOCK_LIMIT;
        for entry in entries.flatten() {
            while agent_team_store::is_locked(&entry.path()).unwrap_or(false)
                && Instant::now() < deadline
            {
                tokio::time::sleep(UNLOCK_PAUSE).await;
            }
        }
    }

    /// Opens every team that was up when the last supervisor exited: every team with an environment file.
    pub(crate) fn restore(&self) {
        for identity in self.on_disk().known {
            if self
                .directories
                .environment_file(identity.team.as_str())
                .exists()
                && let Err(refusal) = self.open_driver(&identity)
            {
                tracing::error!(team = %identity.team, %refusal, "cannot restore a team");
            }
        }
    }

    /// Resolves a reference to a team.
    pub(crate) fn find(&self, team: Option<&TeamRef>) -> Result<DriverHandle, Refusal> {
        let team = team.ok_or_else(|| Refusal::invalid_request("the call requires `team`"))?;
        if let TeamRef::Id(id) = team
            && let Some(driver) = self.open.borrow().get(id)
        {
            return Ok(driver.clone());
        }
        let OnDisk { known, unreadable } = self.all();
        let identity = match team {
            TeamRef::Id(id) => known.iter().find(|identity| identity.team == *id),
            TeamRef::Name(name) => find_by_name(&known, name)?,
            TeamRef::Directory(directory) => innermost_project(&known, directory),
        };
        let found = identity.map(|identity| precision(team, identity));
        // An unreadable team must not count as unknown, because the workers of an unknown team exit. And a readable
        // team must not be used when the reference matches an unreadable team at least as precisely.
        let is_meant = |(id, _): &(Option<TeamId>, Refusal)| match id {
            Some(id) => precision_of_id(team, id).is_some_and(|precision| Some(precision) >= found),
            None => found.is_none(),
        };
        if let Some((_, refusal)) = unreadable.into_iter().find(is_meant) {
            return Err(refusal);
        }
        match identity {
            Some(identity) => self.open_driver(identity),
            None => Err(unknown(team)),
        }
    }

    /// The driver of the team of `spec`. Creates the team if it does not exist.
    pub(crate) fn for_up(&self, spec: &TeamSpec) -> Result<DriverHandle, Refusal> {
        self.open_driver(&TeamIdentity {
            team: TeamId::new(&spec.name, &spec.project),
            name: spec.name.clone(),
            project: spec.project.clone(),
        })
    }

    /// Removes a team, which must be down, and also the user's settings, grants and trust for it, so that a later team
    /// with the same name and project starts without them.
    pub(crate) async fn delete_for_good(
        &self,
        driver: &DriverHandle,
    ) -> Result<DownAnswer, Refusal> {
        let mut answer = self.delete(driver).await?;
        for file in self.directories.user_files(driver.identity.team.as_str()) {
            let outcome = match std::fs::remove_file(&file) {
                Ok(()) => ReceiptOutcome::Removed,
                Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
                Err(error) => {
                    tracing::error!(file = %file.display(), %error, "cannot remove a file of a deleted team");
                    ReceiptOutcome::Survived
                }
            };
            answer.receipts.push(Receipt {
                kind: ReceiptKind::File,
                what: file.display().to_string(),
                outcome,
            });
        }
        Ok(answer)
    }

    /// Removes the files of a team that is down.
    pub(crate) async fn delete(&self, driver: &DriverHandle) -> Result<DownAnswer, Refusal> {
        driver.refuse_if_up()?;
        let team = &driver.identity.team;
        let (done, closed) = oneshot::channel();
        let _driver_gone = driver.messages.send(Message::Close {
            goodbye: GoodbyeReason::Closed,
            done,
        });
        let _driver_gone = closed.await;
        // Two concurrent calls can delete the same team. While the second call waited, the first call removed the team,
        // and a new team with the same id may already be open. The second call must not remove the new team.
        let is_current = |current: &DriverHandle| current.messages.same_channel(&driver.messages);
        if !self.open.borrow().get(team).is_some_and(is_current) {
            return Err(unknown(&TeamRef::Id(team.clone())));
        }
        self.open.borrow_mut().remove(team);
        self.known.borrow_mut().remove(team);
        let directory = self.directories.team(team.as_str());
        let outcome = match std::fs::remove_dir_all(&directory) {
            Ok(()) => ReceiptOutcome::Removed,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => ReceiptOutcome::Removed,
            Err(error) => {
                tracing::error!(directory = %directory.display(), %error, "cannot remove a team");
                ReceiptOutcome::Survived
            }
        };
        Ok(DownAnswer {
            receipts: vec![Receipt {
                kind: ReceiptKind::File,
                what: directory.display().to_string(),
                outcome,
            }],
        })
    }

    pub(crate) fn list(&self) -> TeamListAnswer {
        let open = self.open.borrow();
        let entry = |identity: TeamIdentity| TeamEntry {
            state: match open.get(&identity.team) {
                Some(driver) if !driver.flags.is_down.get() => TeamState::Up,
                Some(_) | None => TeamState::Down,
            },
            storage_error: open
                .get(&identity.team)
                .and_then(|driver| driver.storage_error()),
            team: identity.team,
            name: identity.name,
            project: identity.project,
        };
        let OnDisk { known, unreadable } = self.all();
        let unreadable = unreadable.into_iter();
        TeamListAnswer {
            teams: known.into_iter().map(entry).collect(),
            unreadable: unreadable
                .map(|(team, error)| UnreadableTeam { team, error })
                .collect(),
        }
    }

    pub(crate) fn drivers(&self) -> Vec<DriverHandle> {
        self.open.borrow().values().cloned().collect()
    }

    pub(crate) fn all_down(&self) -> bool {
        self.open
            .borrow()
            .values()
            .all(|driver| driver.flags.is_down.get())
    }

    /// Closes every team after its accepted calls are stored. The server sends the goodbye to the connections
    /// afterwards. Sets `closing` first, because opening a team again while its old driver still closes would create a
    /// second writer of its journal.
    pub(crate) async fn close(&self, goodbye: GoodbyeReason) {
        self.closing.set(true);
        let drivers = std::mem::take(&mut *self.open.borrow_mut());
        for driver in drivers.into_values() {
            let (done, closed) = oneshot::channel();
            let _driver_gone = driver.messages.send(Message::Close { goodbye, done });
            let _driver_gone = closed.await;
        }
    }

    fn open_driver(&self, identity: &TeamIdentity) -> Result<DriverHandle, Refusal> {
        if let Some(driver) = self.open.borrow().get(&identity.team) {
            return Ok(driver.clone());
        }
        if self.closing.get() {
            let text = "the supervisor is shutting down";
            return Err(Refusal::new(ErrorCode::ShuttingDown, text));
        }
        let directory = self
            .directories
            .prepare_team(identity.team.as_str())
            .map_err(|error| Refusal::new(ErrorCode::StorageFailed, error.to_string()))?;
        let opened = agent_team_store::open(&directory, identity, self.durability)
            .map_err(|error| open_refusal(&error))?;
        let driver = Driver::start(DriverConfig {
            machine: self.machine.clone(),
            identity: identity.clone(),
            directories: self.directories.clone(),
            boot: self.boot.clone(),
            opened,
            durability: self.durability,
            host: self.host.clone(),
            notices: self.notices.clone(),
        })
        .map_err(|error| Refusal::new(ErrorCode::StorageFailed, error.to_string()))?;
        tracing::info!(team = %identity.team, "opened");
        self.open
            .borrow_mut()
            .insert(identity.team.clone(), driver.clone());
        self.known
            .borrow_mut()
            .insert(identity.team.clone(), identity.clone());
        Ok(driver)
    }

    /// All open teams, even if their files were removed, and all other teams on disk, in order of their ids.
    fn all(&self) -> OnDisk {
        let open = self.open.borrow();
        let mut all = self.on_disk();
        all.known
            .retain(|identity| !open.contains_key(&identity.team));
        all.known
            .extend(open.values().map(|driver| (*driver.identity).clone()));
        all.known.sort_by(|one, other| one.team.cmp(&other.team));
        all
    }

    /// All teams on disk, in order of their ids.
    fn on_disk(&self) -> OnDisk {
        let mut found = OnDisk::default();
        let entries = match std::fs::read_dir(self.directories.teams()) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return found,
            Err(error) => {
                let text = format!("cannot list the teams: {error}");
                let refusal = Refusal::new(ErrorCode::StorageFailed, text);
                found.unreadable.push((None, refusal));
                return found;
            }
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let Some(team) = name.to_str().and_then(TeamId::from_directory_name) else {
                continue;
            };
            if let Some(identity) = self.known.borrow().get(&team) {
                found.known.push(identity.clone());
                continue;
            }
            match agent_team_store::identity(&self.directories.team(team.as_str())) {
                Ok(None) => {}
                Ok(Some(identity)) => {
                    self.known.borrow_mut().insert(team, identity.clone());
                    found.known.push(identity);
                }
                Err(error) => {
                    tracing::error!(%team, %error, "cannot read a team on disk");
                    found.unreadable.push((Some(team), open_refusal(&error)));
                }
            }
        }
        found.known.sort_by(|one, other| one.team.cmp(&other.team));
        found
    }
}

/// The teams in the state directory.
#[derive(Debug, Default)]
struct OnDisk {
    known: Vec<TeamIdentity>,
    /// The teams that cannot be read, with the reason. An entry without an id contains the reason why the directory
    /// cannot be listed.
    unreadable: Vec<(Option<TeamId>, Refusal)>,
}

/// How precisely a reference names a team: a full id and the innermost project win.
fn precision(team: &TeamRef, identity: &TeamIdentity) -> usize {
    match team {
        TeamRef::Id(_) => usize::MAX,
        TeamRef::Name(name) if *name == identity.team.as_str() => usize::MAX,
        TeamRef::Name(_) => 0,
        TeamRef::Directory(_) => identity.project.components().count(),
    }
}

/// [`precision`] for an unreadable team: only its id is known. The id consists of the team's name and a hash of its
/// project's path. `None` when the reference does not match.
fn precision_of_id(team: &TeamRef, id: &TeamId) -> Option<usize> {
    let (name, _hash) = id.as_str().rsplit_once('-')?;
    match team {
        TeamRef::Id(other) => (other == id).then_some(usize::MAX),
        TeamRef::Name(other) if other == id.as_str() => Some(usize::MAX),
        TeamRef::Name(other) => (other == name).then_some(0),
        TeamRef::Directory(directory) => {
            let real = directory.canonicalize();
            let directory = real.as_ref().unwrap_or(directory);
            let name = name.parse().ok()?;
            let mut projects = directory.ancestors();
            let project = projects.find(|project| TeamId::new(&name, project) == *id)?;
            Some(project.components().count())
        }
    }
}

fn find_by_name<'a>(
    known: &'a [TeamIdentity],
    name: &str,
) -> Result<Option<&'a TeamIdentity>, Refusal> {
    if let Some(exact) = known.iter().find(|identity| identity.team.as_str() == name) {
        return Ok(Some(exact));
    }
    let named: Vec<&TeamIdentity> = known
        .iter()
        .filter(|identity| identity.name.as_str() == name)
        .collect();
    if named.len() > 1 {
        let candidates: Vec<String> = named
            .iter()
            .map(|identity| format!("{} ({})", identity.team, identity.project.display()))
            .collect();
        let text = format!(
            "{} projects have a team named {name}: {}",
            named.len(),
            candidates.join(", ")
        );
        return Err(
            Refusal::new(ErrorCode::AmbiguousTeam, text).hint("select one by its id: -t ID")
        );
    }
    Ok(named.first().copied())
}

/// The team of the innermost project that contains the directory. If this project has several teams, returns the team
/// with the shortest name. The teams of NexAU sessions have longer names, which consist of the name of the project's
/// team and a digest.
fn innermost_project<'a>(known: &'a [TeamIdentity], directory: &Path) -> Option<&'a TeamIdentity> {
    let directory: PathBuf = directory
        .canonicalize()
        .unwrap_or_else(|_| directory.to_owned());
    known
        .iter()
        .filter(|identity| directory.starts_with(&identity.project))
        .max_by_key(|identity| {
            let name = Reverse(identity.name.as_str().len());
            (identity.project.components().count(), name)
        })
}

fn unknown(team: &TeamRef) -> Refusal {
    let text = match team {
        TeamRef::Id(id) => format!("unknown team {id}"),
        TeamRef::Name(name) => format!("unknown team {name}"),
        TeamRef::Directory(directory) => {
            format!("no team's project contains {}", directory.display())
        }
    };
    Refusal::new(ErrorCode::UnknownTeam, text).hint(format!(
        "list the teams with {}; create one with: {}",
        CommandLine::ListTeams,
        CommandLine::Up
    ))
}

fn open_refusal(error: &OpenError) -> Refusal {
    let refusal = Refusal::new(ErrorCode::StorageFailed, with_causes(error));
    match error {
        OpenError::Damaged { .. } => {
            refusal.hint(format!("the damaged files were set aside unchanged; start an empty team with: {}", CommandLine::Up))
        }
        OpenError::Newer { .. } => {
            refusal.hint(format!("install the newer agent-team, then run: {}", CommandLine::RestartSupervisor))
        }
        OpenError::Lost { lock, .. } => refusal.hint(format!(
            "restore the file and its -wal; or continue with the remaining events with: truncate -s 0 '{}'",
            lock.display()
        )),
        OpenError::NotOurs { .. }
        | OpenError::OtherTeam { .. }
        | OpenError::NotSetAside { .. }
        | OpenError::NoLog { .. }
        | OpenError::InUse { .. }
        | OpenError::Io { .. }
        | OpenError::Read { .. } => refusal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn team(name: &str, project: &str) -> TeamIdentity {
        let name: agent_team_protocol::TeamName = name.parse().unwrap();
        TeamIdentity {
            team: TeamId::new(&name, project.as_ref()),
            name,
            project: project.into(),
        }
    }

    #[test]
    fn an_ambiguous_name_is_refused_with_candidates() {
        let known = [
            team("pay", "/a/pay"),
            team("pay", "/b/pay"),
            team("ship", "/c/ship"),
        ];
        assert_eq!(find_by_name(&known, "ship").unwrap(), Some(&known[2]));
        assert_eq!(
            find_by_name(&known, known[1].team.as_str()).unwrap(),
            Some(&known[1])
        );
        let refusal = find_by_name(&known, "pay").unwrap_err();
        assert_eq!(refusal.code, ErrorCode::AmbiguousTeam);
        assert!(
            refusal.message.contains("/a/pay") && refusal.message.contains("/b/pay"),
            "{refusal}"
        );
        assert_eq!(find_by_name(&known, "other").unwrap(), None);
    }

    #[test]
    fn a_team_id_suffices_to_match_every_kind_of_reference() {
        let id = team("pay", "/w/x").team;
        let means = |team: TeamRef| precision_of_id(&team, &id).is_some();
        assert!(means(TeamRef::Id(id.clone())));
        assert!(means(TeamRef::Name("pay".to_owned())));
        assert!(means(TeamRef::Directory("/w/x".into())));
        assert!(means(TeamRef::Directory("/w/x/src".into())));
        assert!(!means(TeamRef::Id(team("pay", "/w").team)));
        assert!(!means(TeamRef::Name("ship".to_owned())));
        assert!(!means(TeamRef::Directory("/w".into())));
    }

    #[test]
    fn an_unreadable_team_is_not_replaced_by_a_readable_one() {
        let outer = team("outer", "/w");
        let inner = team("inner", "/w/x");
        let below = TeamRef::Directory("/w/x/src".into());
        assert!(precision_of_id(&below, &inner.team) > Some(precision(&below, &outer)));
        assert!(precision_of_id(&below, &outer.team) < Some(precision(&below, &inner)));
        // Two projects have a team of this name: the full id names one of them.
        let (one, other) = (team("pay", "/a"), team("pay", "/b"));
        let name = TeamRef::Name("pay".to_owned());
        assert!(precision_of_id(&name, &other.team) >= Some(precision(&name, &one)));
        let whole = TeamRef::Name(one.team.to_string());
        assert!(precision_of_id(&whole, &other.team) < Some(precision(&whole, &one)));
    }

    #[test]
    fn a_directory_resolves_to_the_innermost_project() {
        let known = [
            team("outer", "/w"),
            team("inner", "/w/x"),
            team("beside", "/w/xy"),
        ];
        assert_eq!(
            innermost_project(&known, "/w/x/src".as_ref()),
            Some(&known[1])
        );
        assert_eq!(innermost_project(&known, "/w/z".as_ref()), Some(&known[0]));
        assert_eq!(innermost_project(&known, "/elsewhere".as_ref()), None);
    }

    #[test]
    fn a_directory_resolves_to_its_own_team_not_to_a_session() {
        let known = [
            team("a-0123456789abcdef", "/w"),
            team("a", "/w"),
            team("a-fedcba9876543210", "/w"),
        ];
        assert_eq!(innermost_project(&known, "/w".as_ref()), Some(&known[1]));
    }
}
