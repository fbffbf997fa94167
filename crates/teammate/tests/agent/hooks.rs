//! Tests of lifecycle hooks with real programs: the input of hooks, the effects of their answers, and hostile hooks.

use std::path::PathBuf;

use agent_team_protocol::RequestId;
use agent_team_protocol::hook::{HOOK_SECONDS, HookDecision, HookEvent};
use agent_team_protocol::method::{RequestAsk, RequestWait};
use agent_team_protocol::request::Permission;
use agent_team_protocol::spec::{AgentSpec, FileDigest, HookSpec};
use serde_json::Value;

use crate::rig::{ended, within};
use crate::scene::{Opening, Scene, WINDOW};

const CHANGE: &[(&str, &str)] = &[("change", r#"{"what": "it"}"#)];

fn hook(event: HookEvent, run: &str) -> HookSpec {
    HookSpec {
        event,
        run: run.to_owned(),
        matcher: String::new(),
        timeout_seconds: HOOK_SECONDS,
        files: Vec::new(),
    }
}

fn prints(event: HookEvent, json: &str) -> HookSpec {
    hook(event, &format!("printf '%s' '{json}'"))
}

async fn scene(hooks: Vec<HookSpec>) -> Scene {
    scene_of(AgentSpec {
        hooks,
        ..AgentSpec::default()
    })
    .await
}

async fn scene_of(agent: AgentSpec) -> Scene {
    Scene::open(Opening {
        agent,
        window: WINDOW,
        ..Opening::default()
    })
    .await
}

/// Starts a member with these hooks. Its model has called `change`.
async fn changing(hooks: Vec<HookSpec>) -> Scene {
    let mut scene = scene(hooks).await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    scene.asked().await.call(CHANGE);
    scene.stores().await;
    scene
}

/// The result that the model receives for a call that the tool has not received.
async fn refusal(scene: &mut Scene) -> String {
    scene.stores().await;
    let result = scene.asked().await.results().remove(0);
    scene.nothing_is_called();
    result
}

fn path(scene: &Scene, name: &str) -> PathBuf {
    scene.supervisor.path("project").join(name)
}

/// The text of a file, once it is complete.
async fn written(scene: &Scene, name: &str) -> String {
    let path = path(scene, name);
    let read = async {
        loop {
            match std::fs::read_to_string(&path) {
                Ok(text) if text.ends_with('\n') => return text,
                Ok(_) | Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    within("the file of a hook", read).await
}

async fn received(scene: &Scene, event: HookEvent) -> Value {
    let text = written(scene, event.name()).await;
    serde_json::from_str(&text).unwrap()
}

#[tokio::test]
async fn hooks_receive_the_fields_of_claude_code() {
    let all = HookEvent::ALL.map(|event| hook(event, &format!("cat > {}", event.name())));
    let mut scene = changing(all.into()).await;
    scene.called().await.returns("changed");
    scene.stores().await;
    scene.asked().await.answer_text("All done.");
    scene.rests().await;
    let start = received(&scene, HookEvent::SessionStart).await;
    assert_eq!(start["hook_event_name"], "SessionStart");
    assert_eq!(start["source"], "startup");
    assert_eq!(start["permission_mode"], "default");
    let team = scene.supervisor.team();
    assert_eq!(start["team"], team.as_str());
    let session = format!("{team}-{}", start["member"].as_str().unwrap());
    assert_eq!(start["session_id"], session);
    let prompt = received(&scene, HookEvent::UserPrompt).await;
    assert_eq!(prompt["prompt"], "go");
    let before = received(&scene, HookEvent::PreTool).await;
    assert_eq!(before["hook_event_name"], "PreToolUse");
    assert_eq!(before["tool_name"], "change");
    assert_eq!(before["tool_input"]["what"], "it");
    assert_eq!(before["tool_use_id"], "c0");
    let after = received(&scene, HookEvent::PostTool).await;
    assert_eq!(after["tool_response"]["text"], "changed");
    let stop = received(&scene, HookEvent::Stop).await;
    assert_eq!(stop["last_assistant_message"], "All done.");
    assert_eq!(stop["stop_hook_active"], false);
}

#[tokio::test]
async fn a_blocked_call_is_not_made() {
    let blocks = "echo 'not \x1b[2Jhere' >&2; exit 2";
    let mut scene = changing(vec![hook(HookEvent::PreTool, blocks)]).await;
    let result = refusal(&mut scene).await;
    assert!(
        result.starts_with("Blocked by a hook: not here\n"),
        "{result}"
    );
    assert!(!scene.supervisor.log().contains('\x1b'));
}

#[tokio::test]
async fn a_matcher_selects_the_calls_of_a_hook() {
    let other = HookSpec {
        matcher: "Bash|look".to_owned(),
        ..hook(HookEvent::PreTool, "exit 2")
    };
    let mut scene = changing(vec![other]).await;
    scene.called().await.returns("changed");
}

/// Starts a member with this `pre_tool` hook for `Edit|Write`. Its model has called `apply_patch` with two files.
async fn patching(run: &str) -> Scene {
    patching_with(HookEvent::PreTool, run).await
}

async fn patching_with(event: HookEvent, run: &str) -> Scene {
    let guard = HookSpec {
        matcher: "Edit|Write".to_owned(),
        ..hook(event, run)
    };
    // Name the tool: unnamed, only some models receive it.
    let mut scene = scene_of(AgentSpec {
        hooks: vec![guard],
        tools: Some(vec!["apply_patch".to_owned()]),
        ..AgentSpec::default()
    })
    .await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    let patch = "*** Begin Patch\n*** Add File: a.txt\n+a\n*** Delete File: .env\n*** End Patch";
    let input = serde_json::json!({ "input": patch }).to_string();
    scene.asked().await.call(&[("apply_patch", &input)]);
    scene.stores().await;
    scene
}

#[tokio::test]
async fn a_hook_of_edits_sees_each_file_of_a_patch() {
    let mut scene = patching("cat >> pre_tool; echo >> pre_tool").await;
    scene.called().await.returns("changed");
    let text = written(&scene, "pre_tool").await;
    let received: Vec<Value> = text
        .lines()
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(received.len(), 2, "{text}");
    for (received, name) in received.iter().zip(["a.txt", ".env"]) {
        assert_eq!(received["tool_name"], "Edit");
        let path = received["tool_input"]["file_path"].as_str().unwrap();
        assert!(path.ends_with(&format!("/project/{name}")), "{path}");
    }
}

#[tokio::test]
async fn a_hook_that_guards_one_file_blocks_the_patch() {
    let run = "if grep -q '/[.]env'; then echo 'not .env' >&2; exit 2; fi";
    let mut scene = patching(run).await;
    let result = refusal(&mut scene).await;
    assert!(
        result.starts_with("Blocked by a hook: not .env\n"),
        "{result}"
    );
}

#[tokio::test]
async fn a_post_tool_hook_sees_each_file_though_it_objects() {
    let run = "cat >> post_tool; echo >> post_tool; echo \"check $(grep -c file_path post_tool)\" >&2; exit 2";
    let mut scene = patching_with(HookEvent::PostTool, run).await;
    scene.called().await.returns("changed");
    let result = refusal(&mut scene).await;
    let text = written(&scene, "post_tool").await;
    assert!(
        text.contains("/project/a.txt") && text.contains("/project/.env"),
        "{text}"
    );
    assert!(
        result.contains("check 1") && result.contains("check 2"),
        "{result}"
    );
}

#[tokio::test]
async fn a_hook_cannot_change_a_patch() {
    let answer = r#"{"hookSpecificOutput":{"hookEventName":"PreToolUse","permissionDecision":"allow","updatedInput":{"file_path":"/x"}}}"#;
    let mut scene = patching(&format!("printf '%s' '{answer}'")).await;
    let result = refusal(&mut scene).await;
    assert!(
        result.contains("cannot change the arguments of a patch"),
        "{result}"
    );
}

#[tokio::test]
async fn a_call_is_not_made_without_the_answer_of_its_hook() {
    let hangs = HookSpec {
        timeout_seconds: 1,
        ..hook(HookEvent::PreTool, "sleep 1000")
    };
    let mut scene = changing(vec![hangs]).await;
    let result = refusal(&mut scene).await;
    assert!(result.contains("terminated after 1 s"), "{result}");
    for (run, why) in [
        ("kill -9 $$", "killed by a signal"),
        ("no-such-program", "exit 127"),
        ("echo '{\"decision\"'", "not JSON"),
    ] {
        let mut scene = changing(vec![hook(HookEvent::PreTool, run)]).await;
        let result = refusal(&mut scene).await;
        assert!(result.contains(why), "{result}");
    }
}

#[tokio::test]
async fn a_script_that_changed_since_it_was_trusted_is_not_run() {
    let file = FileDigest {
        path: "/bin/sh".into(),
        sha256: "0".repeat(64),
    };
    let changed = HookSpec {
        files: vec![file],
        ..hook(HookEvent::PreTool, "touch ran")
    };
    let mut scene = changing(vec![changed]).await;
    let result = refusal(&mut scene).await;
    assert!(result.contains("changed since you trusted it"), "{result}");
    assert!(!path(&scene, "ran").exists());
}

#[tokio::test]
async fn a_hook_can_neither_flood_nor_leave_a_daemon() {
    let run = "setsid sleep 1000 & echo $! > daemon; head -c 3000000 /dev/zero >&2; head -c 3000000 /dev/zero";
    let mut scene = changing(vec![hook(HookEvent::PreTool, run)]).await;
    scene.called().await.returns("changed");
    let daemon = written(&scene, "daemon").await;
    ended(daemon.trim().parse().unwrap()).await;
    scene.stores().await;
    assert_eq!(scene.asked().await.results(), ["changed"]);
}

#[tokio::test]
async fn another_exit_code_is_only_a_warning() {
    let mut scene = changing(vec![hook(HookEvent::PreTool, "echo oops >&2; exit 1")]).await;
    scene.called().await.returns("changed");
    scene.logs("hook pre_tool").await;
    assert!(scene.supervisor.log().contains("exit 1: oops"));
}

#[tokio::test]
async fn changed_arguments_reach_the_tool_and_the_model() {
    let json = r#"{"hookSpecificOutput": {"updatedInput": {"what": "other"}}}"#;
    let mut scene = changing(vec![prints(HookEvent::PreTool, json)]).await;
    let called = scene.called().await;
    assert_eq!(called.input["what"], "other");
    called.returns("changed");
    scene.stores().await;
    let result = scene.asked().await.results().remove(0);
    assert!(result.contains("A hook changed the arguments"), "{result}");
}

const ASKS: &str = r#"{"hookSpecificOutput": {"permissionDecision": "ask",
    "permissionDecisionReason": "it costs money"}}"#;

#[tokio::test]
async fn a_question_of_a_hook_counts_in_mode_bypass() {
    let agent = AgentSpec {
        hooks: vec![prints(HookEvent::PreTool, ASKS)],
        bypass: true,
        ..AgentSpec::default()
    };
    let mut scene = Scene::open(Opening {
        agent,
        ..Opening::default()
    })
    .await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    scene.asked().await.call(CHANGE);
    scene.stores().await;
    let asked = scene.member.asked::<RequestAsk>().await;
    let reason = "it costs money".to_owned();
    assert_eq!(asked.args().hook, Some(HookDecision::Ask { reason }));
    let why = "the user".to_owned();
    scene
        .member
        .answer(&asked, &Permission::Denied { why })
        .await;
    let result = refusal(&mut scene).await;
    assert!(result.contains("Not permitted: the user"), "{result}");
}

#[tokio::test]
async fn a_waiting_request_runs_the_notification_hooks() {
    let notify = hook(HookEvent::Notification, "cat > notification");
    let mut scene = changing(vec![prints(HookEvent::PreTool, ASKS), notify]).await;
    let asked = scene.member.asked::<RequestAsk>().await;
    let request = RequestId(7);
    scene
        .member
        .answer(&asked, &Permission::Asked { request })
        .await;
    scene.member.asked::<RequestWait>().await;
    let received = received(&scene, HookEvent::Notification).await;
    assert_eq!(received["notification_type"], "permission_prompt");
    assert_eq!(received["message"], "P-7 waits for a decision");
}

#[tokio::test]
async fn text_of_post_tool_is_stored_with_the_result() {
    let reports = "echo run the formatter >&2; exit 2";
    let mut scene = changing(vec![hook(HookEvent::PostTool, reports)]).await;
    scene.called().await.returns("changed");
    let append = scene.append().await;
    let stored = append.args().items[0].get().to_owned();
    scene.nothing_is_asked();
    scene.accept(append).await;
    assert!(stored.contains("changed") && stored.contains("run the formatter"));
    let results = scene.asked().await.results();
    assert!(results[0].ends_with("(From a hook of the user) run the formatter"));
}

#[tokio::test]
async fn a_hook_can_end_the_turn() {
    let json = r#"{"continue": false, "stopReason": "the budget is used up"}"#;
    let mut scene = changing(vec![prints(HookEvent::PostTool, json)]).await;
    scene.called().await.returns("changed");
    scene.stores().await;
    let text = scene.messages_the_user().await;
    assert_eq!(text, "stopped by a hook: the budget is used up");
    scene.rests().await;
    scene.nothing_is_asked();
}

#[tokio::test]
async fn a_stop_hook_makes_an_agent_continue_three_times_at_most() {
    let mut scene = scene(vec![hook(
        HookEvent::Stop,
        "echo run the tests >&2; exit 2",
    )])
    .await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    for _ in 0..3 {
        scene.asked().await.answer_text("Done.");
        scene.stores().await;
        let continues = scene.stores().await;
        assert!(continues.items[0].get().contains("run the tests"));
    }
    scene.asked().await.answer_text("Done.");
    scene.rests().await;
    scene.nothing_is_asked();
}

#[tokio::test]
async fn a_withheld_message_does_not_reach_the_model() {
    let checks = r#"grep -q hunter2 && { echo it has a password >&2; exit 2; }; echo on main"#;
    let mut scene = scene(vec![hook(HookEvent::UserPrompt, checks)]).await;
    scene.deliver(1, "it is hunter2", false).await;
    let append = scene.stores().await;
    assert_eq!(append.read.len(), 1, "the message is acknowledged");
    let text = scene.messages_the_user().await;
    assert!(text.contains("it has a password"), "{text}");
    scene.rests().await;
    scene.nothing_is_asked();
    scene.deliver(2, "go on", false).await;
    scene.stores().await;
    let input = scene.asked().await.input();
    assert!(!input.contains("hunter2"), "{input}");
    assert!(
        input.ends_with("A hook of the user reports: on main"),
        "{input}"
    );
}

#[tokio::test]
async fn text_of_session_start_reaches_the_model() {
    let start = hook(HookEvent::SessionStart, "echo branch main");
    let mut scene = scene(vec![start]).await;
    scene.deliver(1, "go", false).await;
    scene.stores().await;
    let asked = scene.asked().await;
    assert!(
        asked
            .input()
            .contains("A hook of the user reports: branch main")
    );
}

#[tokio::test]
async fn a_worker_killed_in_a_hook_leaves_the_call_unknown() {
    let hangs = "echo $$ > pid; exec sleep 1000";
    let scene = changing(vec![hook(HookEvent::PreTool, hangs)]).await;
    let pid = written(&scene, "pid").await;
    let scene = scene.restart(None).await;
    ended(pid.trim().parse().unwrap()).await;
    let mut scene = scene;
    let lost = scene.stores().await;
    assert!(
        lost.items[0]
            .get()
            .contains("unknown whether the call took effect")
    );
}
