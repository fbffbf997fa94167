//! The end of a torture: waits until all work is done, and collects the evidence for the checkers.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use agent_team_protocol::Revision;
use agent_team_protocol::method::{
    EventSubscribe, ListTasks, Nothing, RequestList, Subscribe, TaskList, TeamShow,
};
use agent_team_protocol::request::ListRequests;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_system::process::ProcessId;
use serde_json::Value;
use tokio::time::{Instant, sleep, timeout};

use super::caller::{Caller, Target};
use super::history::{Evidence, Mark, MemberAtEnd, Pane, Recorder, Task};
use super::world::World;
use crate::{Event, logs};

/// How long to wait for the next event. If the storage of a team has failed, the head revision that its supervisor
/// reports can include events that the supervisor never delivers.
const EVENT_LIMIT: Duration = Duration::from_secs(2);

impl World {
    /// Waits until all work is done. Unfinished work is a violation.
    pub(crate) async fn calm_down(&self, limit: Duration, recorder: &Recorder) {
        let unfinished = unfinished_after(self.target(), limit).await;
        recorder.add(|evidence| evidence.unfinished.extend(unfinished));
    }

    /// Reads the evidence, ends the team, and looks for remains.
    pub(crate) async fn collect(&mut self, recorder: &Recorder) -> Evidence {
        let mut unread = Vec::new();
        let panes = self.panes().await.unwrap_or_else(|error| {
            unread.push(error);
            None
        });
        let journal = journal(&self.target()).await;
        if journal.is_empty() {
            unread.push("the journal".to_owned());
        }
        let tasks = self.tasks().await.unwrap_or_else(|error| {
            unread.push(error);
            Vec::new()
        });
        let (runs, commands) = (self.runs(), self.commands());
        let (code, receipts) = self.verb(&["down", "--json"]).await;
        let mut left = match code {
            0 => Vec::new(),
            code => vec![format!("down exits with {code}: {receipts}")],
        };
        // The supervisor exits after its answer to `down`.
        let deadline = Instant::now() + Duration::from_secs(5);
        let remaining = || self.rig.processes().into_iter();
        while remaining().next().is_some() && Instant::now() < deadline {
            sleep(Duration::from_millis(20)).await;
        }
        left.extend(remaining().map(|found| format!("{} {}", found.process.pid, found.command)));
        let directories = self.rig.directories();
        for directory in [directories.run.join("launch"), directories.run.join("env")] {
            let entries = fs::read_dir(directory).into_iter().flatten().flatten();
            left.extend(entries.map(|entry| entry.path().display().to_string()));
        }
        let records = ["supervisor.pid", "tmux.process"].map(|name| directories.state.join(name));
        let sockets = [directories.socket(), directories.tmux_socket()];
        let remains = records.into_iter().chain(sockets);
        left.extend(
            remains
                .filter(|path| path.exists())
                .map(|path| path.display().to_string()),
        );
        let harmed = match self.decoy.try_wait() {
            Ok(None) => Vec::new(),
            ended => vec![format!("the decoy in the project: {ended:?}")],
        };
        let panics = logs::lines(&directories.state, "panicked at");
        recorder.add(|evidence| {
            evidence.journal = journal;
            evidence.tasks = tasks;
            evidence.unread = unread;
            evidence.panes = panes;
            evidence.runs = runs;
            evidence.commands = commands;
            evidence.left = left;
            evidence.harmed = harmed;
            evidence.panics = panics;
        });
        recorder.evidence()
    }

    /// Copies the state directory to the temporary directory; `None` when that fails.
    pub(crate) fn keep_state(&self, seed: u64) -> Option<PathBuf> {
        let copy = std::env::temp_dir().join(format!("agent-team-torture-{seed}"));
        let mut copied = Command::new("cp");
        copied
            .arg("-a")
            .arg(self.rig.directories().state)
            .arg(&copy);
        copied.status().ok()?.success().then_some(copy)
    }

    async fn tasks(&self) -> Result<Vec<Task>, String> {
        let (code, list) = self.verb(&["task", "list", "--json"]).await;
        let tasks = list["tasks"].as_array();
        let (0, Some(tasks)) = (code, tasks) else {
            return Err(format!("the board, exit code {code}: {list}"));
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let read = |task: &Value| Task {
            id: text(&task["id"])
                .trim_start_matches("T-")
                .parse()
                .unwrap_or_default(),
            key: text(&task["key"]),
            state: text(&task["state"]),
            rerun: task["rerun"].as_bool().unwrap_or(true),
            runs: task["run"].is_string(),
        };
        Ok(tasks.iter().map(read).collect())
    }

    /// The members, and the panes of the team's tmux server; `None` if members have no panes.
    async fn panes(&self) -> Result<Option<(Vec<MemberAtEnd>, Vec<Pane>)>, String> {
        if self.placement != "tmux" {
            return Ok(None);
        }
        // A pane that was lost is opened again on request.
        let (code, output) = self.verb(&["panes", "reopen", "--json"]).await;
        if code != 0 {
            return Err(format!("panes, exit code {code}: {output}"));
        }
        let (code, output) = self.verb(&["ps", "--json"]).await;
        let members = output["members"].as_array();
        let (0, Some(members)) = (code, members) else {
            return Err(format!("the members, exit code {code}: {output}"));
        };
        let members = members.iter().map(|member| MemberAtEnd {
            runs: member["pid"].is_number(),
            member: member["name"].as_str().unwrap_or_default().to_owned(),
            pane: member["pane"].as_str().map(str::to_owned),
        });
        let format = "#{pane_id} #{pane_dead} #{pane_pid} #{@agent_team_member}";
        let listing = ["list-panes", "-a", "-F", format];
        let listed = self.rig.tmux().run(listing).await;
        if listed.code != 0 {
            return Err(format!("the panes of tmux: {}", listed.stderr));
        }
        let read = |line: &str| {
            let mut words = line.split(' ');
            let (id, dead, pid) = (words.next()?, words.next()?, words.next()?);
            let process = ProcessId::of(pid.parse().ok()?).ok().flatten();
            Some(Pane {
                id: id.to_owned(),
                lives: dead == "0" && process.is_some(),
                member: words.next().unwrap_or_default().to_owned(),
            })
        };
        let panes = listed.stdout.lines().filter_map(read).collect();
        Ok(Some((members.collect(), panes)))
    }

    fn runs(&self) -> BTreeMap<String, Vec<Mark>> {
        let parse = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["began", member, process] => Some(Mark::Began {
                    member: member.to_owned(),
                    process: process.to_owned(),
                }),
                ["ended", process] => Some(Mark::Ended {
                    process: process.to_owned(),
                }),
                _ => None,
            }
        };
        files(&self.rig.project().join("runs"))
            .map(|(name, text)| (name, text.lines().filter_map(parse).collect()))
            .collect()
    }

    fn commands(&self) -> BTreeMap<u64, u64> {
        files(&self.rig.project().join("commands"))
            .filter_map(|(name, text)| {
                let number = name.strip_prefix('c')?.strip_suffix('-')?.parse().ok()?;
                Some((number, text.lines().count() as u64))
            })
            .collect()
    }
}

fn files(directory: &Path) -> impl Iterator<Item = (String, String)> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.filter_map(|entry| {
        let name = entry.file_name().to_str()?.to_owned();
        Some((name, fs::read_to_string(entry.path()).ok()?))
    })
}

/// Every event so far; empty if the events cannot be read.
pub(crate) async fn journal(target: &Target) -> Vec<Event> {
    'attempt: for _ in 0..10 {
        sleep(Duration::from_millis(50)).await;
        let Some((client, mut incoming)) = target.connect("journal").await else {
            continue;
        };
        let subscribe = Subscribe {
            after: Revision(0),
            transient: false,
        };
        let call = target.call(None, subscribe);
        let Ok(answer) = client.call::<EventSubscribe>(&call).await else {
            continue;
        };
        let mut journal: Vec<Event> = Vec::new();
        while journal
            .last()
            .is_none_or(|last| last.revision < answer.head.0)
        {
            let Ok(Some(arrival)) = timeout(EVENT_LIMIT, incoming.next()).await else {
                continue 'attempt;
            };
            journal.extend(Event::of(&arrival));
        }
        return journal;
    }
    Vec::new()
}

/// Waits until all work is done; returns the work that is unfinished after `limit`.
pub(crate) async fn unfinished_after(target: Target, limit: Duration) -> Vec<String> {
    let mut caller = Caller::new(target, "calm");
    let deadline = Instant::now() + limit;
    loop {
        let unfinished = match timeout(limit, unfinished(&mut caller)).await {
            Ok(unfinished) => unfinished,
            Err(_) => vec!["no supervisor answers".to_owned()],
        };
        if unfinished.is_empty() || Instant::now() >= deadline {
            return unfinished;
        }
        sleep(Duration::from_millis(200)).await;
    }
}

async fn unfinished(caller: &mut Caller) -> Vec<String> {
    let mut unfinished = Vec::new();
    let Ok(team) = caller.call::<TeamShow>(Nothing {}).await else {
        return vec!["cannot show the team".to_owned()];
    };
    for member in team.members {
        if member.unread > 0 {
            unfinished.push(format!(
                "{} has {} unread messages",
                member.name, member.unread
            ));
        }
        if member.state != MemberState::Idle {
            unfinished.push(format!(
                "{} is {:?}: {}",
                member.name, member.state, member.why
            ));
        }
    }
    let list = ListRequests { all: false };
    for request in caller
        .call::<RequestList>(list)
        .await
        .map_or(Vec::new(), |list| list.requests)
    {
        unfinished.push(format!("{} of {} is undecided", request.id, request.member));
    }
    let mut page = Some(ListTasks::default());
    while let Some(list) = page {
        let Ok(answer) = caller.call::<TaskList>(list).await else {
            return vec!["cannot list the board".to_owned()];
        };
        page = answer.next();
        for task in answer.tasks {
            let is_open = matches!(task.state, TaskState::Pending | TaskState::InProgress);
            if is_open && task.run.is_some() {
                unfinished.push(format!("{} is {:?}", task.id, task.state));
            }
        }
    }
    unfinished
}
