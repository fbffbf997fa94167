//! Two members of one role, added while the team runs. Each has its own prompt and working directory.
//! The example needs no key.
//!
//! `cargo run -p agent-team --example spawn`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::protocol::view::TaskState;
use agent_team::{Role, Spawn, TaskSpec, Team};
use serde_json::{Value, json};
use tokio::sync::Notify;

/// A model that writes a greeting in the language of its prompt, then completes its task.
#[derive(Debug)]
struct Translator;

impl Model for Translator {
    fn name(&self) -> &str {
        "example/translator"
    }

    fn window(&self) -> u64 {
        8_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let (greeting, task) = match prompt.system.contains("Write French.") {
            true => ("bonjour\n", "T-1"),
            false => ("salve\n", "T-2"),
        };
        let is_result = |item: &&Item| matches!(item, Item::Returned { .. });
        let answer = match prompt.items.iter().filter(is_result).count() {
            0 => call(
                "write",
                json!({ "path": "greeting.txt", "content": greeting }),
            ),
            1 => call(
                "complete_task",
                json!({ "task": task, "result": "written" }),
            ),
            _ => Answer::default(),
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn call(name: &str, input: Value) -> Answer {
    let call = ToolCall {
        id: format!("call-{name}"),
        name: name.to_owned(),
        input: input.to_string(),
    };
    Answer {
        calls: vec![call],
        stop: Stop::Calls,
        ..Answer::default()
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let project = tempfile::tempdir()?;
    let changed = Arc::new(Notify::new());
    let notify = Arc::clone(&changed);
    let team = Team::builder()
        .project(project.path())
        .model(Arc::new(Translator))
        .role(Role::new("translator"))
        .on_envelope(move |_| notify.notify_one())
        .build()
        .await?;
    for (language, directory) in [("French", "fr"), ("Latin", "la")] {
        std::fs::create_dir(project.path().join(directory))?;
        let spawn = Spawn {
            prompt: Some(format!("Write {language}.")),
            cwd: Some(directory.into()),
            ..Spawn::of("translator".parse()?, None)
        };
        let member = team.members().spawn_with(spawn).await?;
        let spec = TaskSpec {
            title: format!("Greet in {language}"),
            assignee: Some(member.name.clone()),
            ..TaskSpec::default()
        };
        let task = team.board().add(spec).await?.task;
        while team.board().show(task).await?.state != TaskState::Completed {
            changed.notified().await;
        }
        let greeting =
            std::fs::read_to_string(project.path().join(directory).join("greeting.txt"))?;
        print!("{}: {greeting}", member.name);
    }
    team.shutdown().await?;
    Ok(())
}
