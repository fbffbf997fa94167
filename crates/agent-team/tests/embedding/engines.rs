//! Members with a custom engine.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use agent_team::protocol::view::{MemberState, TaskState, TaskView};
use agent_team::protocol::{MemberName, Recipient, TaskId};
use agent_team::{
    Assignment, Engine, EngineFuture, Member, Mode, TaskResult, TaskSpec, Team, TeamHandle,
};
use tokio::sync::Notify;

use crate::scripted::{ScriptedEngine, within};

fn spec(title: &str) -> TaskSpec {
    TaskSpec {
        title: title.to_owned(),
        rerun: true,
        ..TaskSpec::default()
    }
}

/// A team with a lead and the member ada, whose engines do each task with this function.
async fn team_that_does(work: impl Fn(&Assignment) -> TaskResult + Send + Sync + 'static) -> Team {
    let work: Arc<dyn Fn(&Assignment) -> TaskResult + Send + Sync> = Arc::new(work);
    let team = Team::builder()
        .lead(Member::new("boss"))
        .member(Member::new("ada"))
        .engine(move |_| Some(Box::new(ScriptedEngine(Arc::clone(&work)))));
    within("the team", team.build()).await.expect("a team")
}

/// Waits until the task is neither pending nor in progress.
async fn ended(team: &Team, task: TaskId) -> TaskView {
    let ended = async {
        loop {
            let task = team.board().show(task).await.expect("a task");
            if !matches!(task.state, TaskState::Pending | TaskState::InProgress) {
                return task;
            }
            tokio::task::yield_now().await;
        }
    };
    within("the task to end", ended).await
}

async fn state(team: &Team, name: &str) -> MemberState {
    let members = team.members().list().await.expect("members");
    let member = members.iter().find(|member| member.name.as_str() == name);
    member.expect("a member of this name").state
}

#[tokio::test]
async fn custom_engines_do_tasks_and_answer_goals() {
    let team = team_that_does(|task| match &*task.title {
        "Fail" => Err("it cannot be done".to_owned()),
        title => Ok(format!("did {title}")),
    })
    .await;
    let did = team.board().add(spec("Build")).await.unwrap().task;
    let failed = team.board().add(spec("Fail")).await.unwrap().task;
    let did = ended(&team, did).await;
    assert_eq!(
        (did.state, did.result.as_deref()),
        (TaskState::Completed, Some("did Build"))
    );
    let failed = ended(&team, failed).await;
    assert_eq!(failed.state, TaskState::Failed);
    assert_eq!(failed.result.as_deref(), Some("it cannot be done"));
    let result = within("the answer", team.run("go")).await.unwrap();
    let answer = result.final_answer.unwrap();
    assert!(answer.starts_with("received: "), "{answer}");
}

#[tokio::test]
async fn verify_lines_apply_to_custom_engines() {
    let team = team_that_does(|_| Ok("all good".to_owned())).await;
    let checked = TaskSpec {
        verify: Some("echo checked; test -e no-such-file".to_owned()),
        ..spec("Build")
    };
    let task = team.board().add(checked).await.unwrap().task;
    let task = ended(&team, task).await;
    assert_eq!(task.state, TaskState::Failed);
    assert!(task.result.unwrap().contains("checked"));
}

#[tokio::test]
async fn a_panicking_engine_restarts_only_its_member() {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&attempts);
    let team = team_that_does(move |task| {
        if task.title == "Dangerous" && counted.fetch_add(1, Ordering::Relaxed) == 0 {
            panic!("the engine is broken");
        }
        Ok(format!("attempt {}", task.attempt))
    })
    .await;
    let task = team.board().add(spec("Dangerous")).await.unwrap().task;
    let task = ended(&team, task).await;
    assert_eq!(task.state, TaskState::Completed);
    assert_eq!(task.result.as_deref(), Some("attempt 2"));
    assert_eq!(attempts.load(Ordering::Relaxed), 2);
    let next = team.board().add(spec("Harmless")).await.unwrap().task;
    assert_eq!(ended(&team, next).await.state, TaskState::Completed);
}

#[tokio::test]
async fn a_member_whose_engine_always_panics_is_held() {
    let team = team_that_does(|_| panic!("the engine is broken")).await;
    let held = async {
        let task = TaskSpec {
            assignee: Some("ada".parse().unwrap()),
            ..spec("Dangerous")
        };
        team.board().add(task).await.unwrap();
        while state(&team, "ada").await != MemberState::Held {
            tokio::task::yield_now().await;
        }
    };
    within("ada to be held", held).await;
    assert_eq!(state(&team, "boss").await, MemberState::Idle);
}

/// Works until it receives the message "enough". Reports when its work begins, and when the work ends or is dropped.
struct Endless {
    begun: Arc<Notify>,
    dropped: Arc<Notify>,
}

struct NotifiesOnDrop(Arc<Notify>);

impl Drop for NotifiesOnDrop {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Engine for Endless {
    fn work<'a>(
        &'a mut self,
        _: &'a Assignment,
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult> {
        Box::pin(async move {
            let _guard = NotifiesOnDrop(Arc::clone(&self.dropped));
            self.begun.notify_one();
            loop {
                for message in team.messages().await {
                    if message.text == "enough" {
                        return Ok("as you wish".to_owned());
                    }
                }
            }
        })
    }
}

#[tokio::test]
async fn engine_work_receives_messages_and_can_be_cancelled() {
    let (begun, dropped) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, drops) = (Arc::clone(&begun), Arc::clone(&dropped));
    let team = Team::builder()
        .mode(Mode::Manual)
        .member(Member::new("ada"))
        .engine(move |_| {
            Some(Box::new(Endless {
                begun: Arc::clone(&begins),
                dropped: Arc::clone(&drops),
            }))
        });
    let team = within("the team", team.build()).await.unwrap();
    let ada: MemberName = "ada".parse().unwrap();
    let task = team.board().add(spec("Endless")).await.unwrap().task;
    within("the work", begun.notified()).await;
    // Cancelling ends the claim, which drops the engine's work.
    team.board().cancel(task).await.unwrap();
    within("the work to be dropped", dropped.notified()).await;
    let task = team.board().add(spec("Endless too")).await.unwrap().task;
    within("the work", begun.notified()).await;
    let messages = team.messages();
    messages
        .send(Recipient::Member(ada.clone()), "enough")
        .await
        .unwrap();
    let task = ended(&team, task).await;
    assert_eq!(task.result.as_deref(), Some("as you wish"));
    within("the end of the work", dropped.notified()).await;
    // A kill drops the work, too.
    let task = team.board().add(spec("Endless again")).await.unwrap().task;
    within("the work", begun.notified()).await;
    team.members().kill(ada.clone()).await.unwrap();
    within("the work to be dropped", dropped.notified()).await;
    let freed = async {
        while team.board().show(task).await.unwrap().state != TaskState::Pending {
            tokio::task::yield_now().await;
        }
    };
    within("the task to be free", freed).await;
    assert_eq!(state(&team, "ada").await, MemberState::Stopped);
    // A killed member can be restarted, and claims the task again.
    team.members().restart(ada).await.unwrap();
    within("the work", begun.notified()).await;
}
