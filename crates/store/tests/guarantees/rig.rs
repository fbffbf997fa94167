//! A team's directory, records to store in it, and child processes that run one test under other conditions.

use std::path::{Path, PathBuf};
use std::process::Command;

use agent_team_core::time::Tick;
use agent_team_core::{Event, Record};
use agent_team_protocol::id::{MemberName, MessageId, Party, Revision, TeamId, TeamName};
use agent_team_store::{
    Batch, CommitError, Committed, Durability, FILE_NAME, OpenError, Opened, TeamIdentity, Writer,
};
use tempfile::TempDir;

pub(crate) struct Team {
    pub(crate) dir: PathBuf,
    _temporary: Option<TempDir>,
}

impl Team {
    pub(crate) fn new() -> Self {
        let temporary = TempDir::new().unwrap();
        Self {
            dir: temporary.path().to_owned(),
            _temporary: Some(temporary),
        }
    }

    pub(crate) fn at(dir: PathBuf) -> Self {
        Self {
            dir,
            _temporary: None,
        }
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.path(FILE_NAME)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    pub(crate) fn try_open(&self) -> Result<Opened<Vec<Record>>, OpenError> {
        agent_team_store::open(&self.dir, &identity("payments"), Durability::Process)
    }

    pub(crate) fn open(&self) -> Opened<Vec<Record>> {
        self.try_open().unwrap()
    }

    /// A connection of another program.
    pub(crate) fn sqlite(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.file()).unwrap()
    }

    /// The names in the directory, sorted.
    pub(crate) fn names(&self) -> Vec<String> {
        let entries = std::fs::read_dir(&self.dir).unwrap();
        let mut names: Vec<_> = entries
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }
}

pub(crate) fn identity(name: &str) -> TeamIdentity {
    let name: TeamName = name.parse().unwrap();
    let project = PathBuf::from("/projects/payments");
    TeamIdentity {
        team: TeamId::new(&name, &project),
        name,
        project,
    }
}

pub(crate) fn member(name: &str) -> Party {
    Party::Member(name.parse().unwrap())
}

/// A record whose event and times differ for each `n`.
pub(crate) fn record(n: u64) -> Record {
    let member: MemberName = format!("ada-{n}").parse().unwrap();
    Record {
        at: 1_000 + n,
        tick: Tick(n),
        event: Event::MemberWanted { member },
        call: None,
    }
}

pub(crate) fn records(of: std::ops::RangeInclusive<u64>) -> Vec<Record> {
    of.map(record).collect()
}

pub(crate) fn message(n: u64, from: Party, to: Vec<Party>, text: &str) -> Record {
    let event = Event::MessageAccepted {
        message: MessageId(n),
        from,
        to,
        text: text.into(),
        urgent: false,
        reply_to: None,
        note: Default::default(),
    };
    Record {
        at: 1_000 + n,
        tick: Tick(n),
        event,
        call: None,
    }
}

pub(crate) fn batch(first: u64, records: Vec<Record>) -> Batch {
    Batch {
        first: Revision(first),
        records,
        archived: Vec::new(),
        transcript_items: Vec::new(),
        snapshot: None,
        urgent: false,
    }
}

/// Commits as the store's thread does.
pub(crate) fn commit(writer: &mut Writer, batch: Batch) -> Result<Committed, CommitError> {
    let committed = writer.commit(batch);
    writer.upkeep();
    committed
}

/// Runs the test called `name` again in a child process, which the shell `script` starts with `exec "$@"`. In the
/// child, [`in_child`] returns `dir`. False if the script failed before the test started.
pub(crate) fn run_in_child(name: &str, script: &str, dir: &Path) -> bool {
    let output = Command::new("sh")
        .args(["-c", script, "sh"])
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, dir)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    let stderr = String::from_utf8_lossy(&output.stderr);
    let ran = stdout.contains("running 1 test");
    assert!(!ran || output.status.success(), "{stdout}{stderr}");
    if !ran {
        eprintln!("cannot run this test here: {stdout}{stderr}");
    }
    ran
}

/// The directory to work in, in the child; `None` in the parent.
pub(crate) fn in_child() -> Option<PathBuf> {
    std::env::var_os(CHILD).map(PathBuf::from)
}

const CHILD: &str = "AGENT_TEAM_STORE_TEST_DIR";
