//! `up`: starts the team of a project, waits for it, says what it would do, and changes only what changed.

use agent_team_protocol::view::TaskState;
use agent_team_tests::Rig;

/// Two workers and a tester without a terminal.
const TEAM: &str = r#"
name = "demo"
[defaults]
engine = "command"
[panes]
placement = "headless"
[[member]]
name = "ada"
[[member]]
name = "bob"
[[member]]
name = "cyd"
role = "tester"
[roles.tester]
description = "tests"
engine = "command"
"#;

fn team(tasks: &str) -> Rig {
    Rig::with_team(&format!("{TEAM}{tasks}"))
}

#[tokio::test]
async fn members_claim_ready_tasks_and_report_how_they_ended() {
    let rig = team(
        r#"
        [[task]]
        title = "Build"
        run = "echo built > out.txt; echo done"
        [[task]]
        title = "Break"
        run = "echo no luck; exit 3"
        "#,
    );
    let output = rig.run(["up", "--wait", "--json"]).await.expect(1);
    assert_eq!(output.json()["outcome"], "failed");
    let build = rig.task("T-1").await;
    assert_eq!((build.state, build.attempts), (TaskState::Completed, 1));
    assert_eq!(build.result.as_deref(), Some("done"));
    let broken = rig.task("T-2").await;
    assert_eq!(broken.state, TaskState::Failed);
    assert_eq!(broken.result.as_deref(), Some("exit 3: no luck"));
    assert_eq!(rig.read("out.txt").as_deref(), Some("built\n"));
}

#[tokio::test]
async fn wait_ends_with_zero_and_a_summary_when_every_task_is_completed() {
    let rig = team("[[task]]\ntitle = \"Build\"\nrun = \"true\"\n");
    rig.run(["up", "--wait"])
        .await
        .expect(0)
        .says("Build")
        .says("1 completed");
}
