//! The world of a torture: a rig with a working team, and the operations that faults need.

use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::rc::Rc;
use std::time::Duration;

use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::MemberView;
use agent_team_system::process::{ProcessId, Signal};
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::Options;
use super::caller::{Caller, Phase, Socket, Target};
use super::history::Recorder;
use crate::Rig;
use crate::fake_model_server::FakeModelServer;
use crate::processes::{self, Found};
use crate::shim::Shim;
use crate::small_disk::SmallDisk;

/// Members that run commands.
pub(crate) const COMMAND_MEMBERS: [&str; 4] = ["m0", "m1", "m2", "m3"];

/// The member with a model.
pub(crate) const AGENT: &str = "ada";

/// How long a task may stay claimed after the confirmed exit of its member.
const FREED: Duration = Duration::from_secs(1);

/// Prefixes of the names of files that [`World::remove_records`] keeps: a team's database, its lock, the reserve for a
/// full disk, and the filler of the small disk.
const KEPT: [&str; 4] = ["team.db", "team.lock", "reserve", "filler"];

const VERB_LIMIT: Duration = Duration::from_secs(60);

/// The world of a torture. The order of the fields matters, because they are dropped in this order: the disk must be
/// unmounted before the rig removes its directory.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) disk: Option<SmallDisk>,
    pub(crate) shim: Option<Shim>,
    pub(crate) rig: Rig,
    pub(super) placement: String,
    phase: watch::Sender<Phase>,
    pub(super) decoy: tokio::process::Child,
    _model: FakeModelServer,
}

/// The role of a process of the world, derived from its command line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    Supervisor,
    Worker,
    /// An attach helper, which lends its terminal to a worker.
    PaneHelper,
    Tmux,
    /// An `agent-team` command that the torture runs.
    Verb,
    /// A process that a worker started.
    Command,
}

impl Role {
    pub(crate) fn of(found: &Found) -> Self {
        let has = |text: &str| found.command.contains(text);
        if has("tmux.sock") || found.command.starts_with("tmux") {
            Self::Tmux
        } else if has("agent-teamd") {
            Self::Supervisor
        } else if has("agent-teammate") && has("--hold") {
            Self::PaneHelper
        } else if has("/agent-teammate") {
            Self::Worker
        } else if found.program == "agent-team" || has("bin/agent-team") {
            Self::Verb
        } else {
            Self::Command
        }
    }
}

impl World {
    pub(crate) async fn start(options: &Options) -> Self {
        let model = FakeModelServer::start(super::workload::model).await;
        let mut rig = Rig::new();
        let shim = match options.plant {
            Some(plant) => rig.plant_fault(plant),
            None => rig.preload_shim(),
        };
        // A journal takes about 1 KiB for each operation and its events.
        let minutes = options.faults.as_secs().div_ceil(60);
        let disk = SmallDisk::mount(&rig.directories().state, (64 + 12 * minutes) << 20);
        rig.set("OPENAI_BASE_URL", model.base_url());
        rig.set("OPENAI_API_KEY", "unused-key");
        rig.write(".agent-team/team.toml", &team_file(&options.placement));
        // By default a member's command needs 100 MiB of free disk space. The small disk may be smaller.
        rig.set_settings("[sandbox]\nfree_mib = 0\n");
        for directory in ["runs", "commands"] {
            fs::create_dir(rig.project().join(directory)).expect("the project can be written");
        }
        let decoy = decoy(&rig.project());
        let world = Self {
            disk,
            shim,
            rig,
            placement: options.placement.clone(),
            phase: watch::Sender::new(Phase::Torture),
            decoy,
            _model: model,
        };
        let (code, output) = world.verb(&["up", "--detach", "--json"]).await;
        assert_eq!(code, 0, "the team does not start: {output}");
        world
    }

    pub(crate) fn target(&self) -> Target {
        let lock = self.rig.directories().supervisor_lock();
        Target {
            connector: Rc::new(Socket { lock }),
            team: TeamRef::Directory(self.rig.project()),
            phase: self.phase.subscribe(),
        }
    }

    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.send_replace(phase);
    }

    /// Runs a verb. Returns its exit code, or -1 if it has none, and the document that the verb printed on stdout or,
    /// if stdout is empty, on stderr.
    pub(crate) async fn verb(&self, arguments: &[&str]) -> (i32, Value) {
        let mut command = self.rig.command(arguments);
        command.stdin(Stdio::null()).kill_on_drop(true);
        let Ok(output) = timeout(VERB_LIMIT, command.output()).await else {
            return (-1, Value::Null);
        };
        let output = output.expect("the binary runs");
        let printed = match output.stdout.is_empty() {
            true => output.stderr,
            false => output.stdout,
        };
        let text = String::from_utf8_lossy(&printed).into_owned();
        let document = serde_json::from_str(&text).unwrap_or(Value::String(text));
        (output.status.code().unwrap_or(-1), document)
    }

    /// The living processes of the world in these roles.
    pub(crate) fn processes(&self, roles: &[Role]) -> Vec<Found> {
        let found = self.rig.processes().into_iter();
        found
            .filter(|found| roles.contains(&Role::of(found)))
            .collect()
    }

    /// Heals every fault, and ensures that a supervisor runs.
    pub(crate) async fn heal(&self) {
        if let Some(shim) = &self.shim {
            shim.set_clock(0);
            shim.fail_syncs(false);
            shim.fail_reads(false);
        }
        for found in self.rig.processes() {
            let _ended = found.process.signal(Signal::SIGCONT);
        }
        self.up().await;
    }

    /// Runs `up`, as the user does when members do not run. Ignores a failure, because the reviver runs `up` again.
    pub(crate) async fn up(&self) {
        let (_code, _output) = self.verb(&["up", "--detach", "--json"]).await;
    }

    /// Runs `kill` for a member. Records each surviving process of the member, and its claim if the claim is not freed
    /// within 1 s. Returns the pid of the member's worker, or `None` if the worker or the outcome is unknown.
    pub(crate) async fn kill_member(&self, name: &str, recorder: &Recorder) -> Option<Vec<u32>> {
        let mut caller = Caller::new(self.target(), format!("kill at {:?}", recorder.now()));
        let before = member(&mut caller, name).await?;
        let (launch, pid) = (before.launch?, before.pid?);
        let (code, _) = self.verb(&["kill", name, "--json"]).await;
        if code != 0 {
            return Some(vec![pid]);
        }
        let marker = format!("{LAUNCH_MARKER}={launch}");
        let left = self.rig.processes().into_iter();
        let left = left.filter(|found| has_variable(found.process.pid, &marker));
        let left: Vec<String> = left
            .map(|found| format!("{name} was killed; left: {}", found.command))
            .collect();
        let ended = recorder.now();
        let mut after = member(&mut caller, name).await?;
        let limit = || FREED + recorder.stalled_since(ended);
        while after.task.is_some() && recorder.now() - ended < limit() {
            sleep(Duration::from_millis(20)).await;
            after = member(&mut caller, name).await?;
        }
        let claim = after
            .task
            .map(|task| format!("{name} was killed and has {task}"));
        recorder.add(|evidence| evidence.kept.extend(left.into_iter().chain(claim)));
        Some(vec![pid])
    }

    /// Removes every file of the state directory except files whose names begin with a prefix of [`KEPT`].
    pub(crate) fn remove_records(&self) {
        let mut open = vec![self.rig.directories().state];
        while let Some(directory) = open.pop() {
            for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
                let (path, name) = (entry.path(), entry.file_name());
                let name = name.to_string_lossy();
                if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                    open.push(path);
                } else if !KEPT.iter().any(|kept| name.starts_with(kept)) {
                    let _gone = fs::remove_file(path);
                }
            }
        }
    }
}

async fn member(caller: &mut Caller, name: &str) -> Option<MemberView> {
    let team = caller.call::<TeamShow>(Nothing {}).await.ok()?;
    let mut members = team.members.into_iter();
    members.find(|member| member.name.as_str() == name)
}

/// Whether a living process has this `NAME=VALUE` in its environment.
fn has_variable(pid: u32, variable: &str) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mut variables = environment.split(|byte| *byte == 0);
    variables.any(|one| one == variable.as_bytes())
}

/// A process in the project that belongs to no team.
fn decoy(project: &Path) -> tokio::process::Child {
    let mut command = tokio::process::Command::new("sleep");
    command
        .arg("86400")
        .current_dir(project)
        .env_clear()
        .stdin(Stdio::null())
        .kill_on_drop(true);
    command.spawn().expect("a process can be started")
}

fn team_file(placement: &str) -> String {
    let mut file =
        format!("name = \"torture\"\nmode = \"manual\"\n[panes]\nplacement = \"{placement}\"\n");
    for member in COMMAND_MEMBERS {
        file.push_str(&format!(
            "[[member]]\nname = \"{member}\"\nengine = \"command\"\n"
        ));
    }
    file + &format!(
        "[[member]]\nname = \"{AGENT}\"\nengine = \"native\"\nmodel = \"openai/agent\"\nclaim = \"assigned\"\n"
    )
}

/// The memory in bytes and the number of open descriptors of a process; 0 for a number that cannot be read.
pub(crate) fn size_of(process: ProcessId) -> (u64, u64) {
    let memory = agent_team_system::process::resident_bytes(process.pid);
    let descriptors = fs::read_dir(format!("/proc/{}/fd", process.pid));
    (
        memory.ok().flatten().unwrap_or_default(),
        descriptors.map_or(0, |entries| entries.count() as u64),
    )
}

/// Kills processes and waits until they are dead; returns the pids of the processes that were alive.
pub(crate) async fn kill(victims: &[Found]) -> Vec<u32> {
    let mut killed = Vec::new();
    for found in victims {
        if found.process.signal(Signal::SIGKILL).unwrap_or(false) {
            killed.push(found.process);
        }
    }
    for process in &killed {
        processes::ended(*process).await;
    }
    killed.into_iter().map(|process| process.pid).collect()
}
