//! A member that must plan first changes nothing before its plan is approved.

use agent_team_protocol::RequestId;
use agent_team_protocol::view::{MemberState, MemberView, PlanView, TaskState, Waiting};
use agent_team_system::process::Signal;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, processes, tmux, within};
use serde_json::json;

use crate::agents::rig;

fn propose(text: &str) -> Reply {
    Reply::call("propose_plan", json!({ "text": text }))
}

fn write(path: &str) -> Reply {
    Reply::call("write", json!({ "path": path, "content": "hello\n" }))
}

fn complete(task: &str) -> Reply {
    let result = json!({ "task": task, "result": "It is done." });
    Reply::call("complete_task", result)
}

/// The model server of a lead that calls no tool, and of ada, whose model returns these replies.
async fn server(replies: Vec<Reply>) -> FakeModelServer {
    let lead = ("lead", vec![Reply::text("I see.")]);
    FakeModelServer::start(by_model([lead, ("ada", replies)])).await
}

async fn team(replies: Vec<Reply>) -> (FakeModelServer, Rig) {
    let server = server(replies).await;
    let rig = rig(&server);
    must_plan(&rig);
    rig.ok(["up", "--detach"]).await;
    (server, rig)
}

fn must_plan(rig: &Rig) {
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&format!("{file}plan = \"required\"\n"));
}

fn waits_for(member: &MemberView, id: u64, number: u64) -> bool {
    let request = RequestId(id);
    member.waiting == Some(Waiting::Plan { request, number })
}

/// The first result in the last request of ada's model.
fn last_result(server: &FakeModelServer) -> String {
    last_result_of(server, "ada")
}

/// The first result in the last request of `model`.
fn last_result_of(server: &FakeModelServer, model: &str) -> String {
    let requests = server.requests();
    let last = requests
        .iter()
        .rev()
        .find(|request| request.model() == model);
    let results = last.expect("a request of the model").results();
    results.first().expect("a result").1.clone()
}

#[tokio::test]
async fn nothing_is_changed_before_the_plan_is_approved() {
    let (server, rig) = team(vec![
        write("early.txt"),
        Reply::call("bash", json!({ "command": "touch early.txt" })),
        propose("Write late.txt\n\nAnd check it."),
        propose("Write late.txt, tests first."),
        write("late.txt"),
        complete("T-1"),
        Reply::text("Done."),
    ])
    .await;
    rig.ok(["task", "add", "Write it"]).await;
    let ada = rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    assert_eq!(ada.state, MemberState::Waiting);
    let refused = last_result(&server);
    assert!(
        refused.contains("Not executed: you have no approved plan")
            && refused.contains("propose_plan"),
        "{refused}"
    );
    assert_eq!(rig.read("early.txt"), None);

    let listed = rig.json(["requests"]).await;
    assert_eq!(listed["requests"][0]["plan"], 1);
    let listed = rig.ok(["requests"]).await.stdout;
    assert!(
        listed.contains("plan 1: Write late.txt (+1 line)"),
        "{listed}"
    );
    let shown = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(
        shown.contains("plan 1\nWrite late.txt\n\nAnd check it.\n"),
        "{shown}"
    );
    // An approval covers only this plan, so `--for team` is refused.
    rig.refused(2, ["requests", "allow", "P-1", "--for", "team"])
        .await;

    rig.ok(["requests", "deny", "P-1", "--reason", "tests first"])
        .await;
    rig.until_member("ada", |ada| waits_for(ada, 2, 2)).await;
    assert!(last_result(&server).contains("was sent back by user: tests first"));
    let rejected = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(rejected.starts_with("P-1  rejected"), "{rejected}");
    rig.ok(["requests", "allow", "P-2"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("late.txt").as_deref(), Some("hello\n"));
    assert_eq!(rig.read("early.txt"), None);
    let task = rig.task("T-1").await;
    assert_eq!(task.result.as_deref(), Some("It is done."));
}

#[tokio::test]
async fn the_lead_approves_plans_only_if_the_user_permits_it() {
    let allow = |request: &str| Reply::call("allow_request", json!({ "id": request }));
    let lead = vec![
        allow("P-1"),
        Reply::text("Done."),
        allow("P-2"),
        Reply::text("Done."),
    ];
    let ada = vec![
        propose("Write late.txt."),
        propose("Write late.txt."),
        write("late.txt"),
        complete("T-1"),
        Reply::text("Done."),
    ];
    let server = FakeModelServer::start(by_model([("lead", lead), ("ada", ada)])).await;
    let rig = rig(&server);
    must_plan(&rig);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    let approve = |rule: &str| rig.set_team(&format!("{file}[permissions]\napprove = [{rule}]\n"));
    approve("\"Bash(touch:*)\"");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["task", "add", "Write it"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    rig.ok(["send", "lead", "Go on"]).await;
    server.until_asked("lead", 2).await;
    let refused = last_result_of(&server, "lead");
    assert!(refused.contains("the lead may not allow P-1"), "{refused}");

    // Wait until the turn ends. If `down` interrupted the turn, the repetition of the turn would use up the next reply.
    rig.until_member_is("lead", MemberState::Idle).await;
    rig.ok(["down"]).await;
    approve("\"Plan\"");
    rig.ok(["up", "--detach"]).await;
    // The new plan wakes the lead, which may allow it.
    rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(rig.read("late.txt").as_deref(), Some("hello\n"));
}

#[tokio::test]
async fn a_member_without_an_approved_plan_cannot_complete_its_task() {
    let (server, rig) = team(vec![
        complete("T-1"),
        propose("Nothing is to be changed."),
        complete("T-1"),
        Reply::text("Done."),
    ])
    .await;
    rig.ok(["task", "add", "Look at it"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    let refused = last_result(&server);
    assert!(refused.contains("a plan must be approved"), "{refused}");
    rig.ok(["requests", "allow", "P-1"]).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
}

#[tokio::test]
async fn a_new_task_needs_a_new_plan() {
    let (_server, rig) = team(vec![
        propose("The first."),
        write("one.txt"),
        complete("T-1"),
        Reply::text("Done."),
        write("two.txt"),
        propose("The second."),
        write("two.txt"),
        complete("T-2"),
        Reply::text("Done."),
    ])
    .await;
    rig.ok(["task", "add", "One"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    rig.ok(["requests", "allow", "P-1"]).await;
    rig.until_written("one.txt").await;
    rig.ok(["task", "add", "Two"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 2, 2)).await;
    assert_eq!(rig.read("two.txt"), None);
    rig.ok(["requests", "allow", "P-2"]).await;
    rig.until_written("two.txt").await;
}

#[tokio::test]
async fn plans_and_approvals_survive_crashes() {
    let (server, rig) = team(vec![
        propose("Write it."),
        // The restarted worker begins here.
        write("late.txt"),
        complete("T-1"),
        Reply::text("Done."),
    ])
    .await;
    rig.ok(["task", "add", "Write it"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    let supervisor = rig.supervisor().await;
    supervisor
        .signal(Signal::SIGKILL)
        .expect("the signal is sent");
    processes::ended(supervisor).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;

    // The stopped worker does not receive the approval; the worker of the next launch does.
    let ada = rig.worker("ada").await;
    ada.signal(Signal::SIGSTOP).expect("the signal is sent");
    rig.ok(["requests", "allow", "P-1"]).await;
    processes::kill(ada).await;
    server.until_asked("ada", 2).await;
    rig.until_written("late.txt").await;
    let asked = server.requests();
    let after = asked.iter().filter(|asked| asked.model() == "ada").nth(1);
    let last_input = after.expect("the model was called").last_input();
    assert!(
        last_input.contains("your plan 1 is approved"),
        "{last_input}"
    );
    let ada = rig.member("ada").await;
    assert_eq!(ada.plan, Some(PlanView::Approved { number: 1 }));
}

#[tokio::test]
async fn a_member_killed_while_its_plan_waits_proposes_again() {
    let again = || propose("Write it.");
    let (server, rig) = team(vec![
        again(),
        again(),
        complete("T-1"),
        Reply::text("Done."),
    ])
    .await;
    rig.ok(["task", "add", "Write it"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    processes::kill(rig.worker("ada").await).await;
    server.until_asked("ada", 2).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    let all = rig.json(["requests", "list", "--all"]).await;
    assert_eq!(all["requests"].as_array().expect("a list").len(), 1);
    rig.ok(["requests", "allow", "P-1"]).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
}

#[tokio::test]
async fn a_member_waits_for_the_decision_about_its_plan() {
    let wait = || Reply::call("wait", json!({ "for": "requests" }));
    let (server, rig) = team(vec![
        wait(),
        propose("Write it."),
        // The restarted worker begins here.
        wait(),
        complete("T-1"),
        Reply::text("Done."),
    ])
    .await;
    rig.ok(["task", "add", "Write it"]).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    let without_plan = last_result(&server);
    assert!(
        without_plan.starts_with("No request of yours is pending: you have no approved plan"),
        "{without_plan}"
    );
    processes::kill(rig.worker("ada").await).await;
    server.until_asked("ada", 3).await;
    rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    rig.ok(["requests", "deny", "P-1", "--reason", "tests first"])
        .await;
    server.until_asked("ada", 4).await;
    let decided = last_result(&server);
    assert_eq!(
        decided.lines().next(),
        Some(
            "your plan 1 was sent back by user: tests first. Read what you need to know, then call propose_plan. Until it is approved you may read, search, send messages and use the board, but change nothing."
        )
    );
}

#[tokio::test]
async fn the_user_and_the_lead_may_spawn_planning_members() {
    let lead = vec![
        Reply::call("spawn_teammate", json!({ "name": "bob", "plan": true })),
        Reply::text("I see."),
    ];
    let quiet = || vec![Reply::text("I see.")];
    let script = by_model([("lead", lead), ("ada", quiet()), ("bob", quiet())]);
    let server = FakeModelServer::start(script).await;
    let rig = rig(&server);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "lead", "Go on"]).await;
    rig.ok(["spawn", "worker", "--name", "cy", "--plan"]).await;
    for name in ["bob", "cy"] {
        let plan = rig.until_member(name, |it| it.plan.is_some()).await.plan;
        assert_eq!(plan, Some(PlanView::Missing { number: 0 }));
    }
    assert_eq!(rig.member("ada").await.plan, None);
}

#[tokio::test]
async fn a_plan_is_read_and_approved_in_the_pane() {
    if !tmux::is_here() {
        return;
    }
    let replies = vec![
        propose("Write it.\n\nThen check it."),
        write("late.txt"),
        Reply::text("Done."),
    ];
    let server = server(replies).await;
    let rig = rig(&server);
    must_plan(&rig);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    rig.set_team(&file.replace("headless", "tmux"));
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    let ada = rig.until_member("ada", |ada| waits_for(ada, 1, 1)).await;
    let pane = ada.pane.expect("a pane");
    let tmux = rig.tmux();
    let shown = tmux.until_read(&pane, "[y] approve").await;
    assert!(shown.contains("P-1 plan 1"), "{shown}");
    assert!(shown.contains("Then check it."), "{shown}");
    // A key that arrives while the plan is new is not an answer and restarts the pause.
    let once = std::time::Duration::from_millis(600);
    within("the key to be taken", async {
        loop {
            tmux.ask(["send-keys", "-t", &pane, "y"]).await;
            let decided = tokio::time::timeout(once, server.until_asked("ada", 2)).await;
            if decided.is_ok() {
                return;
            }
        }
    })
    .await;
    rig.until_written("late.txt").await;
}
