//! The crash matrix of a permission request: worker, supervisor and client are each killed at each stage of the
//! request. The request is listed until it is decided, never approved without a decision, never executed twice, and
//! becomes `lost` when its progress is unknown.

use agent_team_protocol::RequestId;
use agent_team_protocol::method::{RequestList, RequestShow};
use agent_team_protocol::request::{ListRequests, OneRequest, RequestState, RequestView};
use agent_team_protocol::view::MemberView;
use agent_team_system::process::Signal;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request};
use agent_team_tests::{Rig, processes, until};
use serde_json::json;

use crate::agents::rig;

/// The process that is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Worker,
    Supervisor,
    Client,
}

/// The stage of the request at the kill.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd)]
enum Stage {
    Asked,
    Shown,
    Decided,
    Begun,
    Ended,
}

const STAGES: [Stage; 5] = [
    Stage::Asked,
    Stage::Shown,
    Stage::Decided,
    Stage::Begun,
    Stage::Ended,
];

/// The command of the request: reports its start, and ends once the gate exists.
const LINE: &str =
    "echo ran >> ran.txt; until test -e gate; do sleep 0.02; done; echo over >> ran.txt";

/// ada's model runs [`LINE`], and runs it again after a call whose outcome is unknown.
fn script(request: &Request) -> Reply {
    let results = request.results();
    let is_lost = |text: &str| text.contains("unknown whether");
    match results.first() {
        _ if request.model() == "lead" => Reply::text("I see."),
        Some((_, text)) if !is_lost(text) => Reply::text("Done."),
        Some(_) | None => Reply::call("bash", json!({ "command": LINE })),
    }
}

fn asks(member: &MemberView) -> bool {
    member.requests > 0
}

async fn first(rig: &Rig) -> RequestView {
    let request = RequestId(1);
    rig.ask::<RequestShow>(OneRequest { request }).await
}

async fn until_state(rig: &Rig, state: RequestState) {
    until(&format!("the request to be {state:?}"), async || {
        (first(rig).await.state == state).then_some(())
    })
    .await;
}

async fn listed(rig: &Rig) -> Vec<RequestId> {
    let list = ListRequests { all: false };
    let listed = rig.ask::<RequestList>(list).await.requests;
    listed.iter().map(|request| request.id).collect()
}

/// One cell of the matrix.
async fn cell(victim: Victim, stage: Stage) {
    let cell = format!("{victim:?} at {stage:?}");
    let server = FakeModelServer::start(script).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    // The client that receives the request and may be killed.
    let mut watch = rig.start(["requests", "watch"]);
    rig.ok(["send", "ada", "Go on"]).await;
    rig.until_member("ada", asks).await;
    let worker = rig.worker("ada").await;
    if stage >= Stage::Shown {
        watch.line_with("P-1 ada").await;
    }
    if stage == Stage::Decided {
        // A worker that is not stopped begins the call at once.
        worker.signal(Signal::SIGSTOP).expect("the signal is sent");
    }
    if stage >= Stage::Decided {
        rig.ok(["requests", "allow", "P-1"]).await;
    }
    if stage >= Stage::Begun {
        until_state(&rig, RequestState::Begun).await;
        rig.until_written("ran.txt").await;
    }
    if stage == Stage::Ended {
        rig.write("gate", "");
        until_state(&rig, RequestState::Ended).await;
    }

    match victim {
        Victim::Worker => processes::kill(worker).await,
        Victim::Supervisor => processes::kill(rig.supervisor().await).await,
        Victim::Client => processes::kill(processes::living(watch.pid())).await,
    }
    if stage == Stage::Decided && victim != Victim::Worker {
        worker.signal(Signal::SIGCONT).expect("the signal is sent");
    }

    if stage < Stage::Decided {
        // A killed worker or supervisor restarts. The request is still pending, and listed once.
        rig.until_member("ada", asks).await;
        assert_eq!(listed(&rig).await, [RequestId(1)], "{cell}");
        assert_eq!(first(&rig).await.state, RequestState::Pending, "{cell}");
        assert_eq!(rig.read("ran.txt"), None, "{cell}: not allowed yet");
        rig.ok(["requests", "allow", "P-1"]).await;
    }
    if (victim, stage) == (Victim::Worker, Stage::Begun) {
        // The progress of the call is unknown, so the call is not repeated: another attempt is another request.
        until_state(&rig, RequestState::Lost).await;
        rig.until_member("ada", asks).await;
        assert_eq!(listed(&rig).await, [RequestId(2)], "{cell}");
        assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"), "{cell}");
        rig.refused(4, ["requests", "allow", "P-1"]).await;
        return;
    }
    rig.write("gate", "");
    until_state(&rig, RequestState::Ended).await;
    assert_eq!(
        rig.read("ran.txt").as_deref(),
        Some("ran\nover\n"),
        "{cell}: once"
    );
    if (victim, stage) != (Victim::Worker, Stage::Ended) {
        assert_eq!(listed(&rig).await, [], "{cell}");
    }
}

#[tokio::test]
async fn a_worker_dies_at_each_stage() {
    for stage in STAGES {
        if stage != Stage::Decided {
            cell(Victim::Worker, stage).await;
        }
    }
}

#[tokio::test]
async fn a_stopped_worker_dies_before_an_allowed_call_begins() {
    cell(Victim::Worker, Stage::Decided).await;
}

#[tokio::test]
async fn the_supervisor_dies_at_each_stage() {
    for stage in STAGES {
        cell(Victim::Supervisor, stage).await;
    }
}

#[tokio::test]
async fn a_client_dies_at_each_stage() {
    for stage in STAGES {
        cell(Victim::Client, stage).await;
    }
}
