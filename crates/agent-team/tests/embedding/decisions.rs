//! Callbacks that decide requests and answer questions as the user.

use std::sync::{Arc, Mutex};

use agent_team::{Decision, PermissionMode, Scope, Team};
use serde_json::json;

use crate::scripted::{ScriptedModel, call, inputs, lead_that_calls, results, text, within};

fn write(path: &str) -> (&'static str, serde_json::Value) {
    ("write", json!({ "path": path, "content": "x" }))
}

fn allow(rules: Vec<String>) -> Decision {
    let scope = Scope::Team;
    Decision::Allow { scope, rules }
}

#[tokio::test]
async fn the_permission_callback_decides_each_request_once() {
    let asked = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&asked);
    let project = tempfile::tempdir().unwrap();
    let model = lead_that_calls(vec![
        write("a.txt"),
        write("b.txt"),
        write("c.txt"),
        write("d.txt"),
    ]);
    let team = Team::builder()
        .project(project.path())
        .permission_mode(PermissionMode::Default)
        .model(model)
        .on_permission(move |request| {
            let input = request.input.get().to_owned();
            seen.lock()
                .unwrap()
                .push((request.member.to_string(), input.clone()));
            async move {
                // A callback may make blocking calls: the callbacks of a team run on a separate thread.
                std::thread::yield_now();
                if input.contains("a.txt") {
                    allow(Vec::new())
                } else if input.contains("b.txt") {
                    Decision::Deny {
                        reason: "not b".to_owned(),
                    }
                } else if input.contains("c.txt") {
                    panic!("a bug of the program")
                } else {
                    // These rules do not cover the call.
                    allow(vec!["Edit(other/**)".to_owned()])
                }
            }
        });
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("write")).await.unwrap();
    let exists = |path: &str| project.path().join(path).exists();
    assert_eq!(
        ["a.txt", "b.txt", "c.txt", "d.txt"].map(exists),
        [true, false, false, false]
    );
    assert_eq!(
        result.denied,
        ["write: b.txt", "write: c.txt", "write: d.txt"]
    );
    let asked = asked.lock().unwrap();
    assert_eq!(asked.len(), 4, "{asked:?}");
    assert_eq!(asked[0].0, "lead");
}

#[tokio::test]
async fn questions_are_answered_with_and_without_a_callback() {
    let asker = || {
        ScriptedModel::new("scripted/asker", |prompt| {
            let replies: Vec<_> = inputs(prompt).collect();
            match results(prompt).len() {
                0 => call(
                    "ask",
                    json!({ "to": "user", "question": "Tabs or spaces?" }),
                ),
                1 => call("finish", json!({ "answer": replies.join("\n") })),
                _ => text("Done."),
            }
        })
    };
    let team = Team::builder()
        .model(asker())
        .on_question(|question| async move { format!("{}: spaces", question.member) });
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("ask")).await.unwrap();
    let answer = result.final_answer.unwrap();
    assert!(answer.contains("lead: spaces"), "{answer}");

    let team = Team::builder()
        .model(asker())
        .on_permission(|_| async { allow(Vec::new()) });
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("ask")).await.unwrap();
    let answer = result.final_answer.unwrap();
    assert!(answer.contains("No user can answer."), "{answer}");
}

#[tokio::test]
async fn a_blocked_callback_does_not_block_the_end_of_a_team() {
    let (release, blocked) = std::sync::mpsc::channel::<()>();
    let blocked = Mutex::new(blocked);
    let (entered, has_entered) = tokio::sync::oneshot::channel();
    let entered = Mutex::new(Some(entered));
    let team = Team::builder()
        .permission_mode(PermissionMode::Default)
        .model(lead_that_calls(vec![write("a.txt")]))
        .on_permission(move |_| {
            if let Some(entered) = entered.lock().unwrap().take() {
                entered.send(()).unwrap();
            }
            let _released = blocked.lock().unwrap().recv();
            async { allow(Vec::new()) }
        });
    let team = within("the team", team.build()).await.unwrap();
    let stream = within("the run", team.run_streaming("write"))
        .await
        .unwrap();
    within("the callback", has_entered).await.unwrap();
    within("the end", team.shutdown()).await.unwrap();
    drop((stream, release));
}
