//! Runs from goal to answer.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use agent_team::model::Item;
use agent_team::protocol::view::RunState;
use agent_team::{
    AgUi, Budget, BuildError, Member, Mode, PermissionMode, RunError, TaskSpec, Team,
};
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, in_turn};
use serde_json::json;
use tokio::sync::Notify;

use crate::scripted::{ScriptedModel, call, inputs, text, within};

#[tokio::test]
async fn a_goal_is_answered_by_the_callers_model() {
    let team = Team::builder().model(ScriptedModel::shouting());
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("goal hello")).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("HELLO"));
    assert_eq!(result.outcome, RunState::Finished);
    assert!(result.tokens > 0, "{result:?}");
    let [lead] = &result.members[..] else {
        panic!("expected only a lead: {result:?}")
    };
    assert_eq!(lead.model.as_deref(), Some("scripted/shouting"));
    let again = within("the answer", team.run("goal more")).await.unwrap();
    assert_eq!(again.final_answer.as_deref(), Some("MORE"));
    team.shutdown().await.unwrap();
}

#[tokio::test]
async fn a_teammate_does_the_leads_task_with_real_tools() {
    let lead = ScriptedModel::new("scripted/lead", |prompt| {
        let results = prompt.items.iter().filter_map(|item| match item {
            Item::Returned { results } => Some(results[0].text.as_str()),
            Item::Input { .. } | Item::Shown { .. } | Item::Answered(_) => None,
        });
        match results.count() {
            0 => call(
                "create_task",
                json!({ "title": "Write the file", "for": "ada" }),
            ),
            1 => call("wait", json!({ "for": "tasks" })),
            2 => call("finish", json!({ "answer": "it is written" })),
            _ => text("Done."),
        }
    });
    let ada = ScriptedModel::new("scripted/ada", |prompt| match prompt.items.last() {
        Some(Item::Input { .. }) if inputs(prompt).any(|text| text.contains("T-1")) => call(
            "write",
            json!({ "path": "out.txt", "content": "forty-two" }),
        ),
        Some(Item::Returned { results }) if results[0].text.contains("out.txt") => call(
            "complete_task",
            json!({ "task": "T-1", "result": "I wrote out.txt." }),
        ),
        _ => text("Done."),
    });
    let project = tempfile::tempdir().unwrap();
    let team = Team::builder()
        .project(project.path())
        .lead(Member::new("boss").model(lead))
        .member(Member::new("ada").role("worker").model(ada));
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("write it")).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("it is written"));
    let written = std::fs::read_to_string(project.path().join("out.txt")).unwrap();
    assert_eq!(written, "forty-two");
    let [task] = &result.tasks[..] else {
        panic!("expected one task: {result:?}")
    };
    assert_eq!(task.result.as_deref(), Some("I wrote out.txt."));
}

#[tokio::test]
async fn a_result_lists_the_calls_denied_in_its_run() {
    let model = ScriptedModel::new("scripted/denied", |prompt| match prompt.items.last() {
        Some(Item::Input { .. }) => {
            let goal = inputs(prompt).last().unwrap_or_default();
            let path = if goal.contains("one") {
                "one.txt"
            } else {
                "two.txt"
            };
            call("write", json!({ "path": path, "content": "x" }))
        }
        Some(Item::Returned { .. }) => call("finish", json!({ "answer": "denied" })),
        _ => text("Done."),
    });
    let project = tempfile::tempdir().unwrap();
    let team = Team::builder()
        .project(project.path())
        .permission_mode(PermissionMode::Default)
        .model(model);
    let team = within("the team", team.build()).await.unwrap();
    for name in ["one", "two"] {
        let goal = format!("write {name}");
        let result = within("the answer", team.run(goal)).await.unwrap();
        assert_eq!(result.denied, [format!("write: {name}.txt")]);
    }
    let mut stream = within("the stream", team.run_streaming("write one"))
        .await
        .unwrap();
    let mut denied = serde_json::Value::Null;
    while let Some(envelope) = within("the stream", stream.next()).await {
        if let AgUi::RunFinished { result, .. } = envelope.event {
            denied = result["denied"].clone();
        }
    }
    assert_eq!(denied, json!(["write: one.txt"]));
}

#[tokio::test]
async fn a_named_model_is_called_over_http() {
    let server = FakeModelServer::start(in_turn([
        Reply::call("finish", json!({ "answer": "by wire" })),
        Reply::text("Done."),
    ]));
    let server = server.await;
    let team = Team::builder()
        .model("openai/gpt-x")
        .clear_env()
        .env("OPENAI_BASE_URL", server.base_url())
        .env("OPENAI_API_KEY", "sk-test")
        .variable("tone", "terse")
        .lead(Member::new("boss").prompt("Be {{tone}}."));
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("say how")).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("by wire"));
    let asked = &server.requests()[0];
    assert!(asked.system().contains("Be terse."));
    assert_eq!(asked.headers["authorization"], "Bearer sk-test");
}

#[tokio::test]
async fn a_secret_reaches_only_tools() {
    let prompt_text = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&prompt_text);
    let model = ScriptedModel::new("scripted/curious", move |prompt| {
        match prompt.items.last() {
            Some(Item::Input { .. }) => call(
                "bash",
                json!({ "command": "printf %s \"$TOKEN\" > out.txt; echo \"it is $TOKEN\"" }),
            ),
            Some(Item::Returned { results }) if results[0].text.contains("it is") => {
                seen.lock().unwrap().push_str(&results[0].text);
                call("finish", json!({ "answer": results[0].text }))
            }
            _ => text("Done."),
        }
    });
    let (project, store) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let team = Team::builder()
        .project(project.path())
        .store(store.path())
        .model(model)
        .secret("TOKEN", "open-sesame-42")
        .permission_mode(PermissionMode::Bypass);
    let team = within("the team", team.build()).await.unwrap();
    let result = within("the answer", team.run("look")).await.unwrap();
    team.shutdown().await.unwrap();
    let written = std::fs::read_to_string(project.path().join("out.txt")).unwrap();
    assert_eq!(written, "open-sesame-42");
    let prompt_text = prompt_text.lock().unwrap().clone();
    assert!(
        prompt_text.contains("it is [secret TOKEN]"),
        "{prompt_text}"
    );
    let answer = result.final_answer.unwrap();
    assert!(!answer.contains("open-sesame"), "{answer}");
    let mut pending = vec![store.path().to_owned()];
    let mut files = 0;
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).unwrap();
            pending.extend(entries.map(|entry| entry.unwrap().path()));
        } else if path.is_file() {
            files += 1;
            let bytes = std::fs::read(&path).unwrap();
            let contains = bytes.windows(11).any(|bytes| bytes == b"open-sesame");
            assert!(!contains, "{}", path.display());
        }
    }
    assert!(files > 0, "the store contains no file");
}

#[tokio::test]
async fn a_team_file_cannot_be_combined_with_members() {
    let project = tempfile::tempdir().unwrap();
    let file = project.path().join(".agent-team/team.toml");
    std::fs::create_dir(file.parent().unwrap()).unwrap();
    let write = |text: &str| std::fs::write(&file, text).unwrap();
    write(
        "name = \"payments\"\n[lead]\nname = \"boss\"\nprompt = \"Be {{tone}}.\"\n\
         [[member]]\nname = \"ada\"\nengine = \"native\"\n",
    );
    let system = Arc::new(Mutex::new(String::new()));
    let seen = Arc::clone(&system);
    let model = ScriptedModel::new("scripted/of-file", move |prompt| {
        seen.lock().unwrap().push_str(prompt.system);
        match prompt.items.last() {
            Some(Item::Input { .. }) => call("finish", json!({ "answer": "as the file says" })),
            _ => text("Done."),
        }
    });
    let team = Team::builder()
        .file(&file)
        .model(model.clone())
        .variable("tone", "terse");
    let team = within("the team", team.build()).await.unwrap();
    assert!(team.id().as_str().starts_with("payments"), "{}", team.id());
    let result = within("the answer", team.run("say how")).await.unwrap();
    assert_eq!(result.final_answer.as_deref(), Some("as the file says"));
    let names: Vec<_> = result.members.iter().map(|it| it.name.as_str()).collect();
    assert_eq!(names, ["boss", "ada"]);
    assert!(system.lock().unwrap().contains("Be terse."));
    team.shutdown().await.unwrap();

    let both = Team::builder().file(&file).member(Member::new("ben"));
    let error = both.build().await.unwrap_err();
    assert!(matches!(error, BuildError::Invalid(_)), "{error:?}");
    write("nmae = \"payments\"\n");
    let error = Team::builder().file(&file).model(model).build().await;
    let error = error.unwrap_err().to_string();
    assert!(error.contains("team.toml:1:1: "), "{error}");
    assert!(error.contains("did you mean `name`?"), "{error}");
}

#[tokio::test]
async fn a_second_run_is_refused_while_one_is_under_way() {
    static FIRST_RUN_ENDED: Notify = Notify::const_new();
    let (mut waited, mut finished) = (false, false);
    let model = ScriptedModel::new("scripted/slow", move |prompt| {
        // The message may arrive before the member waits for it.
        if !finished && (waited || inputs(prompt).any(|text| text.contains("go on"))) {
            finished = true;
            call("finish", json!({ "answer": "at last" }))
        } else if !waited {
            waited = true;
            call("wait", json!({ "for": "messages", "timeout_s": 3600 }))
        } else {
            text("Done.")
        }
    });
    let team = Team::builder().model(model).build();
    let team = within("the team", team).await.unwrap();
    let first = async {
        let result = team.run("one").await;
        FIRST_RUN_ENDED.notify_one();
        result
    };
    let second = async {
        // This call succeeds if it arrives before the call of `first`. Repeat it until a run is under way.
        let mut stream = team.run_streaming("two").await;
        while stream.is_ok() {
            stream = team.run_streaming("two").await;
        }
        assert!(matches!(stream, Err(RunError::UnderWay)), "{stream:?}");
        let lead = "lead".parse().unwrap();
        team.messages().send(lead, "go on").await.unwrap();
        FIRST_RUN_ENDED.notified().await;
    };
    let (first, ()) = within("both", async { tokio::join!(first, second) }).await;
    assert_eq!(first.unwrap().final_answer.as_deref(), Some("at last"));
}

#[tokio::test]
async fn a_team_without_members_has_a_board_and_messages() {
    let team = within("the team", Team::builder().mode(Mode::Manual).build());
    let team = team.await.unwrap();
    let spec = |title: &str, after: &[&str]| TaskSpec {
        title: title.to_owned(),
        after: after.iter().map(|key| (*key).to_owned()).collect(),
        rerun: true,
        ..TaskSpec::default()
    };
    let board = team.board();
    let build = board.add(spec("Build", &[])).await.unwrap().task;
    let test = board.add(spec("Test", &["Build"])).await.unwrap().task;
    assert!(board.show(test).await.unwrap().blocked);
    board.claim(test).await.unwrap_err();
    board.claim(build).await.unwrap();
    board.complete(build, "built").await.unwrap();
    assert!(!board.show(test).await.unwrap().blocked);
    assert_eq!(board.list().await.unwrap().len(), 2);
    assert_eq!(team.messages().list(None).await.unwrap(), []);
    let unknown = team.messages().send("ada".parse().unwrap(), "hi").await;
    assert!(unknown.unwrap_err().to_string().contains("ada"));
    let refused = team.run("a goal").await.unwrap_err();
    assert!(matches!(refused, RunError::Refused(_)), "{refused:?}");
}

#[tokio::test]
async fn invalid_settings_fail_the_build() {
    let error = Team::builder()
        .member(Member::new("Ada").role("no-such"))
        .build()
        .await
        .unwrap_err();
    let BuildError::Invalid(faults) = &error else {
        panic!("{error:?}")
    };
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(
        faults
            .iter()
            .any(|fault| fault.contains("no role \"no-such\""))
    );
    let error = Team::builder().session("me", "one").build().await;
    assert!(matches!(error, Err(BuildError::Invalid(_))), "{error:?}");
    let error = Team::builder().project("/no/such/place").build().await;
    assert!(
        matches!(error, Err(BuildError::Directory { .. })),
        "{error:?}"
    );
}

#[tokio::test]
async fn a_member_without_a_key_reports_the_missing_variable() {
    let team = Team::builder().model("openai/gpt-x").clear_env();
    let team = within("the team", team.build()).await.unwrap();
    let error = within("the refusal", team.run("anything")).await;
    let members = team.members().list().await.unwrap();
    assert!(
        members[0].why.contains("OPENAI_API_KEY"),
        "{members:?} {error:?}"
    );
}

#[tokio::test]
async fn a_spent_budget_blocks_until_it_is_raised() {
    let small = Budget::default().tokens(5);
    for whole_team in [false, true] {
        let asked = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&asked);
        // Each reply uses 12 tokens.
        let model = ScriptedModel::new("scripted/spender", move |_| {
            match counted.fetch_add(1, Ordering::SeqCst) {
                0 => call("list_tasks", json!({})),
                1 => call("finish", json!({ "answer": "it was expensive" })),
                _ => text("Done."),
            }
        });
        let boss = Member::new("boss").model(model);
        let team = Team::builder().max_teammates(3);
        let team = match whole_team {
            true => team.lead(boss).budget(small.usd(2.5).minutes(30.0)),
            false => team.lead(boss.budget(small)),
        };
        let team = within("the team", team.build()).await.unwrap();
        let mut stream = within("the run", team.run_streaming("spend"))
            .await
            .unwrap();
        let notice = async {
            while let Some(envelope) = stream.next().await {
                let event = serde_json::to_string(&envelope.event).unwrap();
                if event.contains(" waits: ") {
                    return;
                }
            }
            panic!("the run ended without the notice");
        };
        within("the notice", notice).await;
        assert_eq!(asked.load(Ordering::SeqCst), 1);
        let more = Budget::default().tokens(1_000);
        if whole_team {
            team.set_budget(more).await.unwrap();
        } else {
            let boss = team.members().list().await.unwrap()[0].name.clone();
            team.members().set_budget(boss, more).await.unwrap();
        }
        let end = async {
            let mut last = None;
            while let Some(envelope) = stream.next().await {
                last = Some(envelope.event);
            }
            last
        };
        let Some(AgUi::RunFinished { result, .. }) = within("the end", end).await else {
            panic!("expected RUN_FINISHED");
        };
        assert_eq!(result["final_answer"], "it was expensive");
    }
}

#[tokio::test]
async fn a_shared_mcp_server_fails_the_build() {
    let project = tempfile::tempdir().unwrap();
    let file = project.path().join("team.toml");
    let text = "name = \"shared\"\n[[member]]\nname = \"ada\"\nmodel = \"openai/ada\"\n\
                [mcp.db]\ncommand = \"db\"\nshared = true\n";
    std::fs::write(&file, text).unwrap();
    let untrusted = Team::builder().file(&file).build().await.unwrap_err();
    let BuildError::Untrusted { digest, .. } = untrusted else {
        panic!("{untrusted:?}")
    };
    let built = Team::builder().file(&file).trust(digest).build().await;
    let error = built.unwrap_err();
    let BuildError::Invalid(faults) = &error else {
        panic!("{error:?}")
    };
    assert!(
        faults[0].starts_with("cannot share the MCP server db: "),
        "{faults:?}"
    );
}
