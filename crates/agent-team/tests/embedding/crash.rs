//! A program crashes with its team: the next program completes the task that was acknowledged.

use agent_team::protocol::view::{MemberState, TaskState};
use agent_team::{
    Assignment, Engine, EngineFuture, Member, Mode, TaskResult, TaskSpec, Team, TeamBuilder,
    TeamHandle,
};

/// Environment variable of the program that crashes: the directory of its store.
const STORE: &str = "AGENT_TEAM_TEST_STORE";

const TEST: &str = "crash::a_new_process_completes_the_work_of_a_crashed_one";

/// Aborts the first program; in the next program, finishes each task immediately.
struct CrashesFirst;

impl Engine for CrashesFirst {
    fn work<'a>(
        &'a mut self,
        task: &'a Assignment,
        _: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult> {
        Box::pin(async move {
            if std::env::var_os(STORE).is_some() {
                std::process::abort();
            }
            Ok(format!("{} at last", task.title))
        })
    }
}

fn builder(store: impl Into<std::path::PathBuf>) -> TeamBuilder {
    Team::builder()
        .mode(Mode::Manual)
        .member(Member::new("ada"))
        .engine(|_| Some(Box::new(CrashesFirst)))
        .store(store)
        .session("me", "one")
}

#[tokio::test]
async fn a_new_process_completes_the_work_of_a_crashed_one() {
    if let Some(store) = std::env::var_os(STORE) {
        let team = builder(store).build().await.expect("a team");
        let spec = TaskSpec {
            title: "Build".to_owned(),
            rerun: true,
            ..TaskSpec::default()
        };
        team.board().add(spec).await.expect("a task");
        // The program crashes when ada begins.
        return std::future::pending().await;
    }
    let store = tempfile::tempdir().expect("a directory");
    let own = std::env::current_exe().expect("the path of this test");
    let status = std::process::Command::new(own)
        .env(STORE, store.path())
        .env("TMPDIR", store.path())
        .args(["--exact", TEST])
        .status();
    assert!(!status.expect("the test process runs").success());

    let team = builder(store.path()).build().await.expect("a team");
    let done = async {
        loop {
            let tasks = team.board().list().await.expect("the board");
            if let [task] = &tasks[..]
                && task.state == TaskState::Completed
            {
                return task.clone();
            }
            tokio::task::yield_now().await;
        }
    };
    let limit = std::time::Duration::from_secs(60);
    let done = tokio::time::timeout(limit, done)
        .await
        .expect("the task is completed in time");
    assert_eq!(done.result.as_deref(), Some("Build at last"));
    let members = team.members().list().await.expect("members");
    assert_eq!(members[0].state, MemberState::Idle, "{members:?}");
}
