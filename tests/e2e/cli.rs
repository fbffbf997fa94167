//! The command line itself: help, completions, manual, `doctor`, `init`, `supervisor status`, colour and JSON.

use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, processes};
use serde_json::Value;

use crate::teams::{headless, task};

#[tokio::test]
async fn verbs_have_help_that_starts_no_process() {
    let rig = Rig::new();
    let help = rig.ok(["--help"]).await.stdout;
    let verbs = [
        "up",
        "down",
        "attach",
        "ps",
        "why",
        "logs",
        "events",
        "spawn",
        "stop",
        "kill",
        "restart",
        "send",
        "messages",
        "task",
        "init",
        "team",
        "supervisor",
        "doctor",
        "completions",
        "man",
    ];
    for verb in verbs {
        assert!(help.contains(&format!("  {verb} ")), "{verb} in {help}");
        rig.run([verb, "--help"])
            .await
            .expect(0)
            .assert_prints("Usage:");
    }
    rig.run(["--version"])
        .await
        .expect(0)
        .assert_prints("agent-team 0.");
    assert_eq!(rig.processes(), []);
    assert!(!rig.directories().state.exists());
}

#[tokio::test]
async fn each_shell_has_completions_and_bash_accepts_its_own() {
    let rig = Rig::new();
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let script = rig.ok(["completions", shell]).await.stdout;
        assert!(script.contains("agent-team"), "{shell}");
        let json = rig.json(["completions", shell]).await;
        assert_eq!(json["script"], script.as_str());
        if shell == "bash" {
            let path = rig.root().join("completions");
            std::fs::write(&path, script).unwrap();
            let checked = std::process::Command::new("bash")
                .arg("-n")
                .arg(path)
                .status();
            assert!(checked.unwrap().success());
        }
    }
    rig.run(["completions", "csh"]).await.expect(2);
}

#[tokio::test]
async fn the_manual_is_one_page_or_one_for_each_verb() {
    let rig = Rig::new();
    let page = rig.ok(["man"]).await.stdout;
    assert!(page.contains(".TH agent-team 1"), "{page}");
    rig.ok(["man", "--out", "pages"]).await;
    for page in [
        "agent-team.1",
        "agent-team-up.1",
        "agent-team-task-claim.1",
        "agent-team.toml.5",
        "agent-team-config.5",
    ] {
        assert!(rig.read(&format!("pages/{page}")).is_some(), "{page}");
    }
    let json = rig.json(["man"]).await;
    assert!(json["page"].is_string());
}

#[tokio::test]
async fn each_template_creates_a_team_that_up_accepts() {
    let listed = Rig::new().json(["init", "--list"]).await;
    let names: Vec<&str> = listed["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["name"].as_str().unwrap())
        .collect();
    assert!(names.len() >= 5, "{names:?}");
    for name in names {
        let rig = Rig::new();
        rig.run(["init", "--template", name])
            .await
            .expect(0)
            .assert_prints("agent-team up");
        let up = rig.json(["up", "--dry-run"]).await;
        let changes = up["changes"].as_array().unwrap();
        assert!(changes.len() >= 2, "{name}: {up}");
        let written = rig.read(".agent-team/team.toml");
        rig.run(["init"])
            .await
            .expect(4)
            .assert_prints("already exists");
        assert_eq!(rig.read(".agent-team/team.toml"), written);
    }
}

#[tokio::test]
async fn an_imported_team_is_accepted_and_started_by_up() {
    let mut rig = Rig::new();
    // The agents get no work, so they call no model.
    for provider in ["OPENAI", "ANTHROPIC"] {
        rig.set(&format!("{provider}_API_KEY"), "a-key");
        rig.set(&format!("{provider}_BASE_URL"), "http://127.0.0.1:9/v1");
    }
    rig.write(
        ".claude/agents/reviewer.md",
        "---\nname: code-reviewer\ndescription: Reviews\ntools: Read, Grep\nmodel: haiku\n---\nReview it.\n",
    );
    rig.write(
        ".qwen/agents/tester.md",
        "---\nname: tester\napprovalMode: plan\nmodel: openai:gpt-4o\n---\nTest {{this}}.\n",
    );
    for (program, name, model) in [
        ("claude", "code-reviewer", "anthropic/claude-haiku-4-5"),
        ("qwen", "tester", "openai/gpt-4o"),
    ] {
        let imported = rig.json(["init", "--from", program]).await;
        assert_eq!(imported["members"], serde_json::json!([name]));
        let up = rig.json(["up", "--dry-run"]).await;
        let changes = up["changes"].as_array().unwrap();
        assert_eq!(changes.len(), 2, "the lead and {name}: {up}");
        rig.ok(["up", "--detach", "--panes", "headless"]).await;
        let member = rig.until_member(name, |_| true).await;
        assert_eq!(member.model.as_deref(), Some(model));
        rig.ok(["down"]).await;
        std::fs::remove_file(rig.project().join(".agent-team/team.toml")).unwrap();
    }
}

#[tokio::test]
async fn init_detects_the_kind_of_project_from_its_files() {
    let rig = Rig::new();
    rig.write(
        "Makefile",
        "all:\n\techo built > built\ncheck:\n\ttest -s built\n",
    );
    let init = rig.json(["init"]).await;
    assert_eq!(init["template"], "make");
    let ran = rig.run(["up", "--wait", "--panes", "headless"]).await;
    // Without make on this machine, the tasks fail.
    let has_make = std::process::Command::new("make").arg("--version").output();
    ran.expect(if has_make.is_ok() { 0 } else { 1 });
}

#[tokio::test]
async fn doctor_passes_or_reports_bad_files_and_missing_binaries() {
    let mut rig = headless(&["ada"], "");
    let doctor = rig.json(["doctor"]).await;
    let checks = doctor["checks"].as_array().unwrap();
    let check = |name: &str| {
        let found = checks.iter().find(|check| check["name"] == name);
        found
            .unwrap_or_else(|| panic!("{name} is not in {doctor}"))
            .clone()
    };
    assert_eq!(check("agent-teamd")["ok"], true);
    assert_eq!(check("agent-teammate")["ok"], true);
    assert_eq!(check("agent-teammate-native")["ok"], true);
    assert_eq!(check("team file")["ok"], true);
    assert_eq!(check("supervisor")["ok"], Value::Null);
    assert_eq!(rig.processes(), [], "`doctor` starts no process");
    rig.ok(["up"]).await;
    rig.run(["doctor"]).await.expect(0).assert_prints("process");
    rig.set_team("nmae = \"x\"\n");
    rig.run(["doctor"])
        .await
        .expect(1)
        .assert_prints("nmae")
        .assert_prints("name");
    // The directory of this copy contains no other binary.
    let alone = rig.root().join("alone");
    std::fs::create_dir(&alone).unwrap();
    std::fs::copy(rig.binary("agent-team"), alone.join("agent-team")).unwrap();
    rig.set("PATH", "/nowhere");
    let mut command = tokio::process::Command::new(alone.join("agent-team"));
    let environment = rig.command(&[]);
    let environment = environment.as_std().get_envs();
    command
        .arg("doctor")
        .current_dir(rig.project())
        .env_clear()
        .envs(environment.filter_map(|(name, value)| Some((name, value?))));
    let output = command.output().await.unwrap();
    assert_eq!(output.status.code(), Some(1));
    let output = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.contains("neither beside this program nor in PATH"),
        "{output}"
    );
}

#[tokio::test]
async fn supervisor_status_reports_current_activity() {
    let rig = headless(&["ada"], &task("Long", "mkfifo gate; cat gate", ""));
    rig.run(["supervisor", "status"]).await.expect(6);
    rig.ok(["up"]).await;
    rig.until_member_is("ada", MemberState::Working).await;
    let status = rig.json(["supervisor", "status"]).await;
    assert_eq!(status["pid"], u64::from(rig.supervisor().await.pid));
    assert_eq!(status["protocol"], 1);
    let team = &status["teams"][0];
    assert_eq!(team["members"][0]["state"], "working");
    assert_eq!(team["members"][0]["task"], "T-1");
    assert!(team["members"][0]["for_ms"].is_u64());
    for field in ["inputs", "committing", "subscribers", "revision"] {
        assert!(team[field].is_u64(), "{field} in {team}");
    }
    assert!(team["last_commit"]["took_us"].is_u64());
    assert_eq!(team["storage"], "stored");
    let log = status["log"].as_str().unwrap();
    assert!(std::fs::read_to_string(log).unwrap().contains("serving"));
    rig.run(["supervisor", "status"])
        .await
        .expect(0)
        .assert_prints("T-1");
}

#[tokio::test]
async fn ps_fits_a_terminal_of_80_columns() {
    let long = "all 214 tests of the payments service and of its database migrations pass";
    let members = ["security-reviewer-2", "documentation-writer"];
    let done = task("Review the migrations", &format!("echo {long}"), "");
    let open = task("Write the manual", "mkfifo gate; cat gate", "");
    let rig = headless(&members, &(done + &open));
    rig.ok(["up", "--detach"]).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    rig.until_task_is("T-2", TaskState::InProgress).await;
    let screen = rig.on_terminal_of((80, 24), ["ps", "--color", "never"]);
    let (code, narrow) = screen.end().await;
    assert_eq!(code, 0, "{narrow}");
    for line in narrow.lines() {
        // Each character of this output has one column.
        assert!(line.trim_end().chars().count() <= 80, "{narrow}");
    }
    for kept in [
        "security-reviewer-2",
        "documentation-writer",
        "◐ working",
        "T-2",
        "…",
    ] {
        assert!(narrow.contains(kept), "{kept}: {narrow}");
    }
    let wide = rig.ok(["ps"]).await.stdout;
    assert!(wide.contains(long) && wide.contains("PID"), "{wide}");
}

#[tokio::test]
async fn ps_and_task_list_have_the_documented_fields() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    let has = |document: &Value, fields: &[&str]| {
        for field in fields {
            assert!(document.get(field).is_some(), "{field} in {document}");
        }
    };
    let ps = rig.json(["ps"]).await;
    has(&ps, &["team", "revision", "members"]);
    has(
        &ps["members"][0],
        &[
            "name",
            "role",
            "engine",
            "model",
            "colour",
            "placement",
            "state",
            "why",
            "pid",
            "launch",
            "task",
            "pane",
            "unread",
            "requests",
            "last_result",
        ],
    );
    let list = rig.json(["task", "list"]).await;
    has(
        &list["tasks"][0],
        &[
            "id",
            "key",
            "title",
            "description",
            "state",
            "owner",
            "generation",
            "role",
            "for",
            "after",
            "blocks",
            "blocked",
            "priority",
            "labels",
            "attempts",
            "created_by",
            "result",
        ],
    );
    let messages = rig.json(["messages"]).await;
    has(
        &messages["messages"][0],
        &["id", "from", "to", "text", "state", "urgent", "at"],
    );
    let show = rig.json(["team", "show"]).await;
    has(
        &show,
        &["team", "name", "project", "state", "members", "tasks"],
    );
}

#[tokio::test]
async fn colour_needs_a_terminal_or_a_flag_and_obeys_no_color() {
    let mut rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    let colour = "\u{1b}[";
    assert!(!rig.ok(["task", "list"]).await.stdout.contains(colour));
    let always = rig.ok(["task", "list", "--color", "always"]).await.stdout;
    assert!(always.contains(colour));
    let (_, seen) = rig.on_terminal(["task", "list"]).end().await;
    assert!(seen.contains(colour), "{seen:?}");
    rig.set("NO_COLOR", "1");
    let (_, seen) = rig.on_terminal(["task", "list"]).end().await;
    assert!(!seen.contains(colour), "{seen:?}");
}

#[tokio::test]
async fn events_json_prints_one_object_per_line() {
    let rig = headless(&["ada"], &task("Build", "true", ""));
    rig.ok(["up", "--wait"]).await;
    let lines = rig.ok(["events", "--json"]).await.stdout;
    let events: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    for event in &events {
        assert!(event["event"]["type"].is_string(), "{event}");
    }
    let path = "/tasks/T-1/state";
    let completed = events.iter().filter(|event| {
        let changed = &event["event"]["delta"][0];
        changed["path"] == path && changed["value"] == "completed"
    });
    assert_eq!(completed.count(), 1);
}

#[tokio::test]
async fn a_closed_output_pipe_is_not_an_error() {
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let mut follow = rig.start(["events", "-f"]);
    follow.line().await;
    drop(follow);
    let mut head = tokio::process::Command::new("sh");
    let environment = rig.command(&[]);
    let environment = environment.as_std().get_envs();
    head.arg("-c")
        .arg("\"$0\" events --json 2> errors | head -n 1")
        .arg(rig.binary("agent-team"))
        .current_dir(rig.project())
        .env_clear()
        .envs(environment.filter_map(|(name, value)| Some((name, value?))));
    assert!(head.output().await.unwrap().status.success());
    assert_eq!(rig.read("errors").as_deref(), Some(""));
}

#[tokio::test]
async fn an_unresponsive_member_is_shown_and_not_killed() {
    use agent_team_system::process::Signal;

    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let worker = rig.worker("ada").await;
    worker.signal(Signal::SIGSTOP).unwrap();
    rig.ok(["send", "ada", "hello?"]).await;
    rig.until_member_is("ada", MemberState::Unresponsive).await;
    rig.run(["why", "ada"])
        .await
        .expect(0)
        .assert_prints("does not respond");
    assert!(worker.is_alive().unwrap());
    worker.signal(Signal::SIGCONT).unwrap();
    let ada = rig
        .until_member("ada", |ada| {
            ada.state == MemberState::Idle && ada.unread == 0
        })
        .await;
    assert_eq!(ada.pid, Some(worker.pid));
    worker.signal(Signal::SIGSTOP).unwrap();
    rig.ok(["kill", "ada"]).await;
    processes::ended(worker).await;
}

#[tokio::test]
async fn a_stopped_worker_delays_neither_other_members_nor_down() {
    use agent_team_system::process::Signal;

    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    let worker = rig.worker("ada").await;
    worker.signal(Signal::SIGSTOP).unwrap();
    rig.ok(["task", "add", "Build", "--run", "true", "--for", "bob"])
        .await;
    rig.until_task_is("T-1", agent_team_protocol::view::TaskState::Completed)
        .await;
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn verbs_with_the_flag_json_print_one_object() {
    let rig = headless(&["ada", "bob"], &task("Build", "true", ""));
    let verbs: [&[&str]; 31] = [
        &["up", "--dry-run"],
        &["up", "--wait"],
        &["ps"],
        &["why", "ada"],
        &["logs", "ada"],
        &["spawn", "worker", "--name", "eve"],
        &["restart", "eve"],
        &["stop", "eve"],
        &["kill", "bob"],
        &["send", "ada", "hello"],
        &["messages"],
        &["task", "add", "More"],
        &["task", "list"],
        &["task", "show", "T-2"],
        &["task", "update", "T-2", "--priority", "1"],
        &["task", "claim", "T-2"],
        &["task", "release", "T-2"],
        &["task", "cancel", "T-2"],
        &["task", "retry", "T-2"],
        &["task", "claim"],
        &["task", "fail", "T-2"],
        &["task", "graph"],
        &["team", "list"],
        &["team", "show"],
        &["supervisor", "status"],
        &["supervisor", "restart"],
        &["doctor"],
        &["completions", "bash"],
        &["man"],
        &["down"],
        &["team", "delete", "--yes"],
    ];
    for verb in verbs {
        let output = rig.command(verb).arg("--json").output().await.unwrap();
        let (stdout, stderr) = (output.stdout, output.stderr);
        let errors = String::from_utf8_lossy(&stderr);
        assert!(output.status.success(), "{verb:?}: {errors}");
        let document: Value = serde_json::from_slice(&stdout)
            .unwrap_or_else(|error| panic!("{verb:?}: {error}: {stdout:?}"));
        assert!(document.is_object(), "{verb:?}: {document}");
    }
}
