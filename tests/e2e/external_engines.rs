//! Agents of other vendors without a team file: `up`, `run` and `spawn` with `--engine`, and `doctor --clis`.

use agent_team_protocol::ErrorCode;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::external::known;
use agent_team_protocol::method::{MemberSpawn, Nothing, Spawn, TeamShow};
use agent_team_protocol::view::MemberState;
use agent_team_tests::{Rig, until};

use crate::external::{installed, rig_of, until_logged};

/// Claude's adapter and Gemini, both fakes, in a project without a team file.
fn two() -> (Rig, tempfile::TempDir) {
    let (mut rig, programs) = installed(&["claude-agent-acp", "gemini"]);
    let sessions = rig.root().to_owned();
    rig.set("FAKE_ACP_SESSIONS", sessions);
    (rig, programs)
}

/// The digest that the error asks to trust.
fn digest(error: &serde_json::Value) -> String {
    let hint = error["hint"].as_str().unwrap();
    hint.rsplit(' ').next().unwrap().to_owned()
}

#[tokio::test]
async fn a_goal_with_an_engine_needs_no_team_file() {
    let (rig, _programs) = two();
    let goal = "fake:finish";
    let error = rig
        .refused(4, ["run", goal, "--engine", "claude-acp", "-n", "1"])
        .await;
    let lines = error["message"].as_str().unwrap();
    for subject in ["member lead", "member worker-1", "each spawned member"] {
        let line = format!("{subject} runs \"claude-agent-acp\", without the sandbox");
        assert!(lines.contains(&line), "{lines}");
    }
    // The supervisor that refused the plan stops.
    until("no process remains", async || {
        rig.processes().is_empty().then_some(())
    })
    .await;
    let trust = digest(&error);
    let env = "FAKE_ACP_SESSIONS";
    let answer = rig
        .ok([
            "run",
            goal,
            "--engine",
            "claude-acp",
            "-n",
            "1",
            "--env",
            env,
            "--trust",
            &trust,
        ])
        .await
        .stdout;
    assert_eq!(answer, "the fake is done\n");
    // agent-team has stored the trust for these lines.
    let up = [
        "up",
        "hello",
        "--engine",
        "claude-acp",
        "-n",
        "1",
        "--detach",
    ];
    rig.ok([
        up[0], up[1], up[2], up[3], up[4], up[5], up[6], "--env", env,
    ])
    .await;
    let members = rig.ask::<TeamShow>(Nothing {}).await.members;
    assert_eq!(members.len(), 2);
    for member in &members {
        assert_eq!(member.engine, Engine::External);
        assert_eq!(member.model.as_deref(), Some("claude-acp"));
    }
    rig.until_member_is("worker-1", MemberState::Idle).await;
    // A spawned member has the same agent.
    rig.ok(["spawn", "worker", "--name", "eve"]).await;
    rig.until_member_is("eve", MemberState::Idle).await;
    assert_eq!(rig.member("eve").await.model.as_deref(), Some("claude-acp"));
    let ps = rig.ok(["ps"]).await.stdout;
    assert!(
        ps.contains("run without asking: reading in the project"),
        "{ps}"
    );
    let why = rig.ok(["why", "eve"]).await.stdout;
    assert!(why.contains("eve runs without asking: reading"), "{why}");
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_goal_with_the_engine_claude_starts_claude_code() {
    let (mut rig, programs) = installed(&[]);
    std::os::unix::fs::symlink(
        env!("CARGO_BIN_EXE_fake_claude"),
        programs.path().join("claude"),
    )
    .unwrap();
    rig.set("FAKE_CLAUDE_SESSIONS", programs.path());
    let sessions = "FAKE_CLAUDE_SESSIONS";
    let up = [
        "up", "ping", "--engine", "claude", "-n", "1", "--detach", "--env", sessions,
    ];
    let error = rig.refused(4, up).await;
    let lines = error["message"].as_str().unwrap();
    assert!(lines.contains("member lead runs \"claude\""), "{lines}");
    let trust = digest(&error);
    rig.ok([
        up[0], up[1], up[2], up[3], up[4], up[5], up[6], up[7], up[8], "--trust", &trust,
    ])
    .await;
    until("the answer", async || {
        let logs = rig.ok(["logs", "lead"]).await.stdout;
        logs.contains("pong in mode default").then_some(())
    })
    .await;
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn an_engine_on_the_command_line_is_checked() {
    let (rig, _programs) = two();
    let refusal = |error: serde_json::Value| format!("{} {}", error["message"], error["hint"]);
    for (word, expected) in [
        ("cluade", "did you mean `claude`?"),
        ("command", "cannot lead a team"),
        ("joined", "cannot lead a team"),
        ("terminal", "not supported"),
    ] {
        let error = rig.refused(2, ["up", "hello", "--engine", word]).await;
        let text = refusal(error);
        assert!(text.contains(expected), "{word}: {text}");
    }
    let error = rig.refused(2, ["up", "--engine", "claude-acp"]).await;
    assert!(refusal(error).contains("needs a goal and a project without a team file"));
    rig.set_team("mode = \"lead\"\n");
    let error = rig
        .refused(2, ["run", "hello", "--engine", "claude-acp"])
        .await;
    assert!(refusal(error).contains("a project without a team file"));
    assert_eq!(rig.processes(), [], "nothing was started");
}

#[tokio::test]
async fn the_user_spawns_an_agent_of_another_vendor() {
    let (rig, _programs) = two();
    rig.set_team(
        "mode = \"manual\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\n",
    );
    rig.ok(["up", "--detach", "--env", "FAKE_ACP_SESSIONS"])
        .await;
    let spawn = ["spawn", "worker", "--name", "eve", "--engine", "gemini"];
    let error = rig.refused(4, spawn).await;
    let lines = error["message"].as_str().unwrap();
    assert!(
        lines.contains("each spawned member runs \"gemini\""),
        "{lines}"
    );
    let trust = digest(&error);
    let [verb, role, name, eve, engine, gemini] = spawn;
    rig.ok([verb, role, name, eve, engine, gemini, "--trust", &trust])
        .await;
    rig.until_member_is("eve", MemberState::Idle).await;
    rig.ok(["send", "eve", "ping"]).await;
    agent_team_tests::until("the answer", async || {
        let logs = rig.ok(["logs", "eve"]).await.stdout;
        logs.contains("pong in mode default").then_some(())
    })
    .await;
    // Settings that the agent would ignore are refused.
    for flag in ["--plan", "--read-only"] {
        let error = rig
            .refused(2, [verb, role, engine, gemini, "--trust", &trust, flag])
            .await;
        let text = error["message"].as_str().unwrap();
        assert!(text.contains("native agents only"), "{flag}: {text}");
    }
    // An unknown agent on the wire is refused: the call cannot name a program.
    let role = "worker".parse().unwrap();
    let named = Spawn {
        external: Some("/bin/sh".to_owned()),
        ..Spawn::of(role, None)
    };
    let user = rig.user().await;
    let refusal = user.refused::<MemberSpawn>(named).await;
    assert_eq!(refusal.code, ErrorCode::Invalid);
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn an_external_agent_gets_its_own_keys_and_no_others() {
    let (mut rig, _programs) = rig_of("claude-acp", "claude-agent-acp", "");
    for name in ["ANTHROPIC_API_KEY", "OPENAI_API_KEY", "GITHUB_TOKEN"] {
        rig.set(name, "a-key-for-tests");
    }
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "fake:keys"]).await;
    until_logged(&rig, "my keys: ANTHROPIC_API_KEY.").await;
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn doctor_shows_installed_agents_and_calls_no_model() {
    let (rig, programs) = installed(&["claude-agent-acp", "kimi"]);
    let broken = programs.path().join("goose");
    std::os::unix::fs::symlink("/bin/false", broken).unwrap();
    // A program of the project is never started.
    rig.write("bin/gemini", "#!/bin/sh\ntouch started\n");
    let output = rig.run(["doctor"]).await.stdout;
    assert!(
        output.contains("installed: claude, kimi, goose"),
        "{output}"
    );
    let document = rig.run(["doctor", "--clis", "--json"]).await.json();
    let clis = document["clis"].as_array().unwrap();
    let words: Vec<_> = clis
        .iter()
        .map(|cli| cli["engine"].as_str().unwrap())
        .collect();
    assert_eq!(words, ["claude-acp", "kimi", "goose"], "{document}");
    let [claude, kimi, goose] = clis.as_slice() else {
        panic!("{document}");
    };
    let tested = known("claude-acp").and_then(|known| known.tested);
    let version = format!("fake {}", tested.expect("a tested version"));
    assert_eq!(claude["version"], version);
    assert_eq!(claude["login"]["state"], "logged_in");
    assert_eq!(claude["message"], "joins the turn");
    assert_eq!(claude["resumes"], true);
    assert!(kimi["tested"].is_string() && goose["tested"].is_null());
    assert_eq!(kimi["login"]["state"], "missing");
    assert_eq!(kimi["login"]["offers"][0], "Log in with the fake");
    assert_eq!(goose["login"]["state"], "unknown", "{goose}");
    let output = rig.run(["doctor", "--clis"]).await.stdout;
    for text in [
        "needs a login: Log in with the fake",
        "asks in its mode default",
        "runs without asking: reading in the project",
        "log in with: kimi login",
    ] {
        assert!(output.contains(text), "{text}: {output}");
    }
    assert_eq!(rig.processes(), [], "no agent is left");
    assert_eq!(rig.read("started"), None);
}
