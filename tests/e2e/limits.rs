//! What one client, or a hundred teams, may cost the supervisor: threads, descriptors, calls that wait.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use agent_team_protocol::ErrorCode;
use agent_team_protocol::method::{
    CallerTerminal, ListMessages, MessageList, Nothing, SupervisorStatus, TeamShow, TeamUp,
    TeamWait, Up,
};
use agent_team_protocol::permissions::{Permissions, Stance};
use agent_team_protocol::spec::{
    AgentSpec, Budget, ClaimPolicy, Engine, Hooks, Layout, Limits, MemberSpec, PlacementChoice,
    TeamSpec,
};
use agent_team_protocol::view::{SupervisorView, TaskState};
use agent_team_system::client::CallError;
use agent_team_tests::{Rig, together};

use crate::teams::{assigned, headless, task};

/// Threads of a process.
fn threads(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/task")).unwrap().count()
}

async fn status(rig: &Rig) -> SupervisorView {
    rig.ask::<SupervisorStatus>(Nothing {}).await
}

#[tokio::test]
async fn a_flood_of_reads_costs_few_threads_and_descriptors() {
    const READS: usize = 1_000;
    let rig = assigned(&["ada"], "");
    rig.ok(["up"]).await;
    rig.ok(["messages"]).await;
    let before = status(&rig).await;
    let before_threads = threads(before.pid);
    let user = rig.user().await;
    let list = || ListMessages {
        of: None,
        limit: 10,
    };
    let reads = (0..READS).map(|_| user.call::<MessageList>(list(), None));
    for read in together(reads).await {
        read.unwrap();
    }
    // A thread that has nothing to read stays for some seconds. One that has just read may not be idle yet when the next
    // read starts, so that there are a few more than readers.
    let after_threads = threads(before.pid);
    assert!(after_threads < before_threads + 16, "{after_threads}");
    let after = status(&rig).await.descriptors;
    assert!(after <= before.descriptors + 8, "{after}, {before:?}");
}

#[tokio::test]
async fn one_connection_has_a_limited_number_of_waiting_calls() {
    const MAX: usize = 64;
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.ok(["up"]).await;
    rig.until_task_is("T-1", TaskState::InProgress).await;
    let user = rig.user().await;
    let waits = (0..=MAX).map(|_| user.call::<TeamWait>(Nothing {}, None));
    let gate = rig.project().join("gate");
    let (answers, ()) = tokio::join!(together(waits), async {
        // Other calls over the same connection are answered meanwhile.
        user.ask::<TeamShow>(Nothing {}).await;
        let open = tokio::task::spawn_blocking(|| fs::write(gate, ""));
        open.await.unwrap().unwrap();
    });
    let refused: Vec<ErrorCode> = answers
        .iter()
        .filter_map(|answer| match answer {
            Ok(_) => None,
            Err(CallError::Refused(refusal)) => Some(refusal.code),
            Err(error) => panic!("{error}"),
        })
        .collect();
    assert_eq!(refused, [ErrorCode::TooManyCalls]);
}

#[tokio::test]
async fn the_soft_limit_is_raised_for_the_supervisor_alone() {
    let mut rig = headless(&["ada"], &task("Soft", "ulimit -Sn > soft", ""));
    rig.script_supervisor("ulimit -Sn 300\nexec \"$SUPERVISOR\"\n");
    rig.ok(["up"]).await;
    assert!(status(&rig).await.descriptors_max > 300);
    assert_eq!(rig.written("soft").await, "300");
}

/// `up` of a team of members that do nothing.
fn up(rig: &Rig, name: &str, members: &[&str]) -> Up {
    let project = rig.root().join(name);
    fs::create_dir_all(&project).unwrap();
    let member = |name: &&str| MemberSpec {
        name: name.parse().unwrap(),
        role: "worker".parse().unwrap(),
        lead: false,
        engine: Engine::Command,
        colour: None,
        cwd: project.clone(),
        env: BTreeMap::new(),
        claim: ClaimPolicy::Assigned,
        placement: None,
        agent: AgentSpec::default(),
        budget: Budget::default(),
    };
    Up {
        spec: TeamSpec {
            name: name.parse().unwrap(),
            project: project.clone(),
            placement: PlacementChoice::Headless,
            layout: Layout::Tiled,
            limits: Limits::default(),
            hooks: Hooks::default(),
            permissions: Permissions::default(),
            own_permissions: Vec::new(),
            stance: Stance::default(),
            roles: Vec::new(),
            members: members.iter().map(member).collect(),
            tasks: Vec::new(),
            trusted: Vec::new(),
        },
        environment: BTreeMap::new(),
        named: BTreeSet::new(),
        secrets: BTreeMap::new(),
        terminal: CallerTerminal::default(),
        dry_run: false,
        fresh: false,
    }
}

#[tokio::test]
async fn a_hundred_teams_fit_into_1024_descriptors() {
    const TEAMS: usize = 100;
    let mut rig = headless(&["ada"], "");
    rig.script_supervisor("ulimit -n 1024\nexec \"$SUPERVISOR\"\n");
    rig.ok(["up"]).await;
    let user = rig.user().await;
    for teams in (1..TEAMS).collect::<Vec<_>>().chunks(10) {
        let ups = teams.iter().map(|number| {
            let name = format!("team-{number}");
            user.call::<TeamUp>(up(&rig, &name, &["ada"]), None)
        });
        for up in together(ups).await {
            up.unwrap();
        }
    }
    let status = status(&rig).await;
    assert_eq!((status.teams.len(), status.descriptors_max), (TEAMS, 1024));
    eprintln!(
        "{} descriptors for {TEAMS} teams of one member",
        status.descriptors
    );
    rig.run(["ps"]).await.expect(0).says("ada");
}
