//! A permission callback: the program decides which files a member may write. The example needs no key.
//!
//! `cargo run -p agent-team --example permission`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall};
use agent_team::{Decision, PermissionMode, RequestView, Scope, Team};
use serde_json::{Value, json};

/// A model that writes two files, then finishes the goal.
#[derive(Debug)]
struct Writer;

impl Model for Writer {
    fn name(&self) -> &str {
        "example/writer"
    }

    fn window(&self) -> u64 {
        8_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        _on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let is_result = |item: &&Item| matches!(item, Item::Returned { .. });
        let write = |path| call("write", json!({ "path": path, "content": "hello\n" }));
        let answer = match prompt.items.iter().filter(is_result).count() {
            0 => write("docs/greeting.txt"),
            1 => write("release.txt"),
            2 => call("finish", json!({ "answer": "done" })),
            _ => Answer::default(),
        };
        Box::pin(async move { Ok(answer) })
    }
}

fn call(name: &str, input: Value) -> Answer {
    let call = ToolCall {
        id: format!("call-{name}-{}", input["path"]),
        name: name.to_owned(),
        input: input.to_string(),
    };
    Answer {
        calls: vec![call],
        stop: Stop::Calls,
        ..Answer::default()
    }
}

/// Allows a call once if its path is in `docs`, and denies every other call.
async fn decide(request: RequestView) -> Decision {
    let input: Value = serde_json::from_str(request.input.get()).unwrap_or_default();
    let path = input["path"].as_str().unwrap_or_default();
    match path.starts_with("docs/") && !path.contains("..") {
        true => Decision::Allow {
            scope: Scope::Once,
            rules: Vec::new(),
        },
        false => Decision::Deny {
            reason: "write only in docs".to_owned(),
        },
    }
}

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let project = tempfile::tempdir()?;
    let team = Team::builder()
        .project(project.path())
        .model(Arc::new(Writer))
        .permission_mode(PermissionMode::Default)
        .on_permission(decide)
        .build()
        .await?;
    let result = team.run("Write both files").await?;
    for path in ["docs/greeting.txt", "release.txt"] {
        println!("{path}: {}", project.path().join(path).exists());
    }
    println!("denied: {}", result.denied.join(", "));
    team.shutdown().await?;
    Ok(())
}
