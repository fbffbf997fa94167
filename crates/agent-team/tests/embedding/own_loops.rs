//! Agent loops of the embedding program that use the team tools.

use std::sync::{Arc, Mutex};

use agent_team::protocol::view::TaskState;
use agent_team::{
    Assignment, DeliveredMessage, Engine, EngineFuture, Member, Mode, TaskResult, TaskSpec, Team,
    TeamHandle, TeamTools, ToolError,
};
use serde_json::{Value, json};

use crate::scripted::within;

type Log = Arc<Mutex<Vec<Result<String, ToolError>>>>;

/// Makes these calls on a thread of the program, for a task or a goal.
struct Caller {
    calls: Vec<(&'static str, Value)>,
    log: Log,
}

impl Caller {
    async fn make_calls(&self, tools: TeamTools) {
        let (calls, log) = (self.calls.clone(), Arc::clone(&self.log));
        let made = tokio::task::spawn_blocking(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime");
            for (name, input) in calls {
                let result = runtime.block_on(tools.call(name, input));
                log.lock().expect("the log").push(result);
            }
        });
        made.await.expect("the calls");
    }
}

impl Engine for Caller {
    fn work<'a>(
        &'a mut self,
        _: &'a Assignment,
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult> {
        Box::pin(async move {
            self.make_calls(team.team_tools()).await;
            Ok("returned by the engine".to_owned())
        })
    }

    fn receive<'a>(
        &'a mut self,
        messages: &'a [DeliveredMessage],
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            if team.is_lead() && messages.iter().any(|message| message.text == "the goal") {
                self.make_calls(team.team_tools()).await;
            }
        })
    }
}

#[tokio::test]
async fn calls_of_a_custom_loop_act_as_its_member() {
    let log = Log::default();
    let engine_log = Arc::clone(&log);
    let team = Team::builder()
        .mode(Mode::Manual)
        .member(Member::new("ada"))
        .secret("TOKEN", "open-sesame-42")
        .engine(move |_| {
            Some(Box::new(Caller {
                calls: vec![
                    ("send_message", json!({ "to": "user", "text": "hello" })),
                    ("finish", json!({ "answer": "x" })),
                    ("complete_task", json!({ "task": 1 })),
                    ("complete_task", json!({ "task": "T-9", "result": "x" })),
                    ("no\u{1b}[31m", json!({})),
                    ("remember", json!({ "key": "k", "value": "open-sesame-42" })),
                    ("recall", json!({ "key": "k" })),
                    (
                        "complete_task",
                        json!({ "task": "T-1", "result": "by the tool" }),
                    ),
                ],
                log: Arc::clone(&engine_log),
            }))
        });
    let team = within("the team", team.build()).await.unwrap();
    let spec = TaskSpec {
        title: "Do it".to_owned(),
        ..TaskSpec::default()
    };
    let task = team.board().add(spec).await.unwrap().task;
    let done = async {
        loop {
            let view = team.board().show(task).await.unwrap();
            if view.state != TaskState::Pending && view.state != TaskState::InProgress {
                return view;
            }
            tokio::task::yield_now().await;
        }
    };
    let done = within("the task", done).await;
    let log = log.lock().unwrap().clone();
    assert_eq!(done.state, TaskState::Completed, "{log:?}");
    assert_eq!(done.result.as_deref(), Some("by the tool"));
    let messages = team.messages().list(None).await.unwrap();
    let hello = messages
        .iter()
        .find(|message| message.text == "hello")
        .unwrap();
    assert_eq!(hello.from.to_string(), "ada");
    // A teammate has no `finish`.
    for index in [1, 2, 4] {
        assert!(matches!(log[index], Err(ToolError::Input(_))), "{log:?}");
    }
    assert!(matches!(log[3], Err(ToolError::Failed(_))), "{log:?}");
    assert_eq!(log[6], Ok("\"[secret TOKEN]\"".to_owned()));
}

#[tokio::test]
async fn a_custom_loop_of_a_lead_waits_for_its_teammate() {
    let log = Log::default();
    let engine_log = Arc::clone(&log);
    let team = Team::builder()
        .lead(Member::new("boss"))
        .member(Member::new("ada"))
        .engine(move |member| {
            let calls = match member.lead {
                true => vec![
                    ("create_task", json!({ "title": "Build", "for": "ada" })),
                    ("wait", json!({ "for": "tasks" })),
                    ("finish", json!({ "answer": "built" })),
                ],
                false => Vec::new(),
            };
            Some(Box::new(Caller {
                calls,
                log: Arc::clone(&engine_log),
            }))
        });
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("the goal")).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("built"));
    assert_eq!(
        result.tasks[0].result.as_deref(),
        Some("returned by the engine")
    );
    let log = log.lock().unwrap().clone();
    assert!(log.iter().all(Result::is_ok), "{log:?}");
}

/// Passes its team tools to the test.
struct Sender(std::sync::mpsc::Sender<TeamTools>);
impl Engine for Sender {
    fn work<'a>(
        &'a mut self,
        _: &'a Assignment,
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult> {
        Box::pin(async move {
            self.0.send(team.team_tools()).expect("the test receives");
            Ok(String::new())
        })
    }
}

#[tokio::test]
async fn team_tools_have_closed_json_schemas() {
    let (sender, receiver) = std::sync::mpsc::channel();
    let team = Team::builder()
        .mode(Mode::Manual)
        .member(Member::new("ada"))
        .engine(move |_| Some(Box::new(Sender(sender.clone()))));
    let team = within("the team", team.build()).await.unwrap();
    let spec = TaskSpec {
        title: "Do it".to_owned(),
        ..TaskSpec::default()
    };
    team.board().add(spec).await.unwrap();
    let received = tokio::task::spawn_blocking(move || receiver.recv().unwrap());
    let tools = within("the tools", received).await.unwrap();
    let specs = tools.specs();
    let names: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
    assert!(
        names.contains(&"send_message") && names.contains(&"wait"),
        "{names:?}"
    );
    for spec in &specs {
        assert_eq!(spec.input["type"], "object", "{}", spec.name);
        assert_eq!(spec.input["additionalProperties"], false, "{}", spec.name);
    }
    team.shutdown().await.unwrap();
    let late = within("the refusal", tools.call("list_tasks", json!({}))).await;
    assert!(matches!(late, Err(ToolError::Failed(_))), "{late:?}");
}
