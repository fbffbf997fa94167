//! The team tools of one member, with a scripted supervisor.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use agent_team_protocol::notification::DeliveredMessage;
use agent_team_protocol::view::{MemberView, TaskView, TeamView};
use agent_team_protocol::{ErrorCode, MessageId, Refusal, RoleName, TaskId};
use agent_team_tools::secret::Secrets;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::{Arrivals, Claims, Shared, Verify, Verifying, team_tools};
use agent_team_tools::{Permission, SeenFiles, Tool, ToolContext, ToolError};
use serde_json::{Value, json};

pub(crate) struct Rig {
    pub(crate) shared: Shared,
    tools: Vec<Box<dyn Tool>>,
    recorded: Arc<Mutex<Vec<(&'static str, Value)>>>,
    context: ToolContext,
}

/// A `Verify` whose outcome depends only on the line.
#[derive(Debug)]
struct Checks;

impl Verify for Checks {
    fn verify<'a>(&'a self, _task: TaskId, line: &'a str) -> Verifying<'a> {
        Box::pin(async move {
            match line {
                "true" => Ok(()),
                line => Err(format!("{line}: 2 tests failed")),
            }
        })
    }
}

impl Rig {
    /// `answer`: the scripted supervisor's answer to a method with these arguments.
    pub(crate) fn new(
        lead: bool,
        answer: impl FnMut(&str, &Value) -> Result<Value, Refusal> + Send + 'static,
    ) -> Self {
        Self::with_roles(lead, None, answer)
    }

    /// Like `new`. `may_spawn`: the roles that the member may spawn.
    pub(crate) fn with_roles(
        lead: bool,
        may_spawn: Option<Vec<RoleName>>,
        mut answer: impl FnMut(&str, &Value) -> Result<Value, Refusal> + Send + 'static,
    ) -> Self {
        let (name, role) = if lead {
            ("grace", "lead")
        } else {
            ("ada", "worker")
        };
        let (client, mut calls) =
            SupervisorClient::new(name.parse().unwrap(), role.parse().unwrap(), lead);
        let recorded: Arc<Mutex<Vec<_>>> = Arc::default();
        let record = Arc::clone(&recorded);
        tokio::spawn(async move {
            while let Some(call) = calls.recv().await {
                let args: Value = serde_json::from_str(call.args.get()).unwrap();
                let result = answer(call.method, &args);
                record.lock().unwrap().push((call.method, args));
                let result = result.map(|value| serde_json::value::to_raw_value(&value).unwrap());
                // If the tool was dropped, there is no receiver.
                let _gone = call.answer.send(result);
            }
        });
        let shared = Shared {
            claims: Claims::default(),
            arrivals: Arrivals::default(),
            verify: Arc::new(Checks),
        };
        Self {
            tools: team_tools(
                &client,
                &shared,
                &Permission::Ask(client.clone()),
                may_spawn.as_deref(),
            ),
            shared,
            recorded,
            context: context(),
        }
    }

    pub(crate) fn names(&self) -> Vec<String> {
        let tools = self.tools.iter();
        tools.map(|tool| tool.spec().name.clone()).collect()
    }

    pub(crate) fn tool(&self, name: &str) -> &dyn Tool {
        let tool = self.tools.iter().find(|tool| tool.spec().name == name);
        &**tool.unwrap_or_else(|| panic!("{name} is offered"))
    }

    pub(crate) async fn run(&self, name: &str, input: Value) -> Result<String, ToolError> {
        let tool = self.tool(name);
        let output = tool.run(input, &self.context, &|_shown| {}).await?;
        Ok(output.text)
    }

    /// The error text of a failing call.
    pub(crate) async fn refused(&self, name: &str, input: Value) -> String {
        self.run(name, input).await.unwrap_err().to_string()
    }

    /// Takes the calls that were recorded since the last call of this function, in order.
    pub(crate) fn calls(&self) -> Vec<(&'static str, Value)> {
        std::mem::take(&mut self.recorded.lock().unwrap())
    }
}

fn context() -> ToolContext {
    ToolContext {
        project: PathBuf::from("/"),
        cwd: PathBuf::from("/"),
        env: Vec::new(),
        secrets: Secrets::default(),
        outputs: PathBuf::from("/"),
        output_max: 4096,
        seen: SeenFiles::default(),
        guard: Default::default(),
        notes: Default::default(),
        model: "openai/m".to_owned(),
        media: Default::default(),
    }
}

pub(crate) fn refusal(code: ErrorCode, message: &str) -> Refusal {
    Refusal::new(code, message).hint("do something else")
}

pub(crate) fn unexpected(method: &str) -> Result<Value, Refusal> {
    Err(Refusal::internal(format!("{method} was not expected")))
}

pub(crate) fn task(id: u64, state: &str, more: Value) -> Value {
    let mut task = json!({
        "id": format!("T-{id}"), "key": "", "title": format!("Task {id}"), "description": "", "state": state,
        "owner": null, "generation": 1, "role": null, "for": null, "after": [], "blocks": [], "blocked": false,
        "priority": 0, "labels": [], "files": [], "run": null, "verify": null, "rerun": true, "attempts": 0,
        "created_by": "user", "created_at": 0, "changed_at": 0, "revision": 1, "result": null,
    });
    merge(&mut task, more);
    task
}

pub(crate) fn task_view(id: u64, state: &str, more: Value) -> TaskView {
    serde_json::from_value(task(id, state, more)).unwrap()
}

pub(crate) fn member(name: &str, role: &str, state: &str, more: Value) -> Value {
    let mut member = json!({
        "name": name, "role": role, "lead": role == "lead", "engine": "native", "model": null, "colour": "blue",
        "placement": "headless", "state": state, "why": "for 4 s", "for_ms": 4000, "pid": null, "launch": null,
        "task": null, "pane": null, "unread": 0, "requests": 0, "restarts": 0, "last_result": null,
    });
    merge(&mut member, more);
    let _fits: MemberView = serde_json::from_value(member.clone()).unwrap();
    member
}

pub(crate) fn team(members: Vec<Value>) -> Value {
    json!({
        "team": "payments-01234567", "name": "payments", "project": "/project", "state": "up", "revision": 9,
        "members": members, "placement": "headless",
        "tasks": {"pending": 0, "in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0},
        "roles": [
            {"name": "lead", "description": "Leads"},
            {"name": "reviewer", "description": "Reviews a change"},
            {"name": "worker", "description": ""},
        ],
    })
}

pub(crate) fn team_view(members: Vec<Value>) -> TeamView {
    serde_json::from_value(team(members)).unwrap()
}

pub(crate) fn message(id: u64, from: &str, text: &str) -> DeliveredMessage {
    DeliveredMessage {
        id: MessageId(id),
        from: from.parse().unwrap(),
        text: text.to_owned(),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        can_wait: false,
        redelivered: false,
        attach_outside: false,
    }
}

fn merge(into: &mut Value, more: Value) {
    let Value::Object(more) = more else { return };
    for (key, value) in more {
        into[key] = value;
    }
}
