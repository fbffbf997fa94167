//! Commands with a fake supervisor: the requests that they send, and their handling of the answers.

use serde_json::{Value, json};

use crate::rig::{self, Peer, Rig, Supervisor};

pub(crate) fn task(id: &str, state: &str, revision: u64) -> Value {
    json!({
        "id": id, "key": id, "title": "Build \u{1b}[2J", "description": "", "state": state, "owner": null,
        "generation": 1, "role": null, "for": null, "after": [], "blocks": [], "blocked": false, "priority": 0,
        "labels": [], "files": [], "run": null, "verify": null, "rerun": true, "attempts": 1, "created_by": "user",
        "created_at": 0, "changed_at": 0, "revision": revision, "result": "it broke",
    })
}

fn event(peer: &mut Peer, revision: u64, kind: &str, data: Value) {
    let event = json!({ "kind": kind, "data": data });
    peer.notify(
        "event",
        &json!({ "team": "p-00000000", "revision": revision, "at": 0, "event": event }),
    );
}

#[test]
fn a_lost_call_is_repeated_with_the_same_key() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["send", "ada", "two", "words", "--json"]);
    let mut first = supervisor.accept();
    let cut_off = first.call("message/send");
    drop(first);
    let mut second = supervisor.accept();
    let again = second.call("message/send");
    assert_eq!(cut_off["params"], again["params"]);
    assert_eq!(again["params"]["args"]["text"], "two words");
    assert!(
        again["params"]["key"]
            .as_str()
            .is_some_and(|key| key.len() == 32)
    );
    let project = rig.project().canonicalize().unwrap();
    assert_eq!(
        again["params"]["team"],
        json!({ "by": "directory", "value": project })
    );
    let answer = json!({ "id": "M-1", "to": ["ada"] });
    second.answer(&again, &answer);
    let output = command.output();
    assert_eq!(
        (output.code, rig::json(&output.stdout)),
        (0, answer),
        "{}",
        output.stderr
    );
}

#[test]
fn a_lost_call_is_repeated_for_a_limited_time() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["kill", "ada"]);
    // The thread closes each connection after the call, until the command gives up.
    std::thread::spawn(move || {
        loop {
            supervisor.accept().call("member/kill");
        }
    });
    let output = command.output();
    assert_eq!(output.code, 6);
    // After a second the command prints that it waits for the processes.
    let (waits, error) = output.stderr.split_once('\n').unwrap();
    assert_eq!(waits, "waiting for the processes of ada to exit");
    assert!(
        error.starts_with("error: the supervisor exited before it answered\n"),
        "{error}"
    );
}

#[test]
fn a_refusal_sets_the_hint_and_the_exit_code() {
    for (code, exit) in [
        ("unknown_member", 3),
        ("already_claimed", 4),
        ("not_permitted", 5),
        ("invalid", 2),
        ("from_later", 1),
    ] {
        let rig = Rig::new();
        let supervisor = Supervisor::start(&rig);
        let command = rig.start(&["task", "claim", "T-1"]);
        let mut peer = supervisor.accept();
        let call = peer.call("task/claim");
        peer.refuse(&call, code, "no \u{1b}[31m");
        let output = command.output();
        assert_eq!((output.code, output.stdout.as_str()), (exit, ""), "{code}");
        assert_eq!(output.stderr, "error: no \\e[31m\n  hint: do that\n");
    }
}

#[test]
fn a_process_that_survives_down_exits_with_7() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["down", "--force", "-t", "payments"]);
    let mut peer = supervisor.accept();
    let call = peer.call("team/down");
    assert_eq!(
        call["params"]["team"],
        json!({ "by": "name", "value": "payments" })
    );
    assert_eq!(call["params"]["args"]["force"], true);
    let receipts = json!([
        { "kind": "process", "what": "12 (ada)", "fate": "survived" },
        { "kind": "pane", "what": "%3", "fate": "closed" },
    ]);
    peer.answer(&call, &json!({ "receipts": receipts }));
    // With another client connected, the command does not wait for the supervisor's exit.
    let call = peer.call("supervisor/status");
    peer.answer(
        &call,
        &json!({
            "pid": std::process::id(), "build": "b", "protocol": 1, "socket": "/run/s", "log": "/log",
            "up_ms": 1, "resident_bytes": 1, "connections": 2, "teams": [],
        }),
    );
    let output = command.output();
    assert_eq!(output.code, 7);
    let rows: Vec<Vec<&str>> = output
        .stdout
        .lines()
        .map(|line| line.split_whitespace().collect())
        .collect();
    let supervisor = std::process::id().to_string();
    assert_eq!(
        rows,
        [
            vec!["KIND", "WHAT", "RESULT"],
            vec!["process", "12", "(ada)", "survived"],
            vec!["pane", "%3", "closed"],
            vec!["process", &supervisor, "(supervisor)", "kept"],
            vec!["socket", "/run/s", "kept"],
        ]
    );
}

#[test]
fn events_end_at_the_head_of_their_subscription() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["events", "--after", "1", "--json"]);
    let mut peer = supervisor.accept();
    let call = peer.call("event/subscribe");
    assert_eq!(
        call["params"]["args"],
        json!({ "after": 0, "transient": false }),
        "the command does not read the earlier events, which show the run of an event"
    );
    assert_eq!(
        call["params"].get("key"),
        None,
        "the call has a key although it changes nothing"
    );
    peer.answer(&call, &json!({ "head": 3 }));
    for revision in 1..=3 {
        event(&mut peer, revision, "run_idle", json!({ "run": "R-1" }));
    }
    let output = command.output();
    let revisions: Vec<_> = output
        .stdout
        .lines()
        .map(|line| rig::json(line)["revision"].clone())
        .collect();
    assert_eq!((output.code, revisions), (0, vec![json!(2), json!(3)]));
}

#[test]
fn events_f_survives_a_crash_and_ends_at_a_stop() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let command = rig.start(&["events", "-f", "--json"]);
    let mut peer = supervisor.accept();
    let call = peer.call("event/subscribe");
    peer.answer(&call, &json!({ "head": 0 }));
    event(&mut peer, 1, "run_idle", json!({ "run": "R-1" }));
    event(&mut peer, 2, "run_idle", json!({ "run": "R-1" }));
    drop(peer);
    let mut peer = supervisor.accept();
    let call = peer.call("event/subscribe");
    assert_eq!(
        call["params"]["args"]["after"], 2,
        "an event is repeated or missing"
    );
    peer.answer(&call, &json!({ "head": 2 }));
    event(&mut peer, 3, "run_idle", json!({ "run": "R-1" }));
    peer.notify("goodbye", &json!({ "reason": "stopped" }));
    drop(peer);
    let output = command.output();
    assert_eq!(
        (output.code, output.stdout.lines().count()),
        (6, 4),
        "{}",
        output.stderr
    );
}

#[test]
fn up_sends_the_environment_without_pane_variables() {
    let rig = Rig::new();
    rig.team_file("name = \"payments\"\n[[member]]\nname = \"ada\"\n");
    let supervisor = Supervisor::start(&rig);
    let mut command = rig.command(&["up", "--env", "EXTRA=1", "--panes", "headless", "--dry-run"]);
    command
        .env("TMUX", "/tmp/t,1,0")
        .env("TMUX_PANE", "%1")
        .env("AGENT_TEAM_LAUNCH", "x")
        .env("PLAIN", "yes");
    let command = Rig::start_command(command);
    let mut peer = supervisor.accept();
    let call = peer.call("team/up");
    let args = &call["params"]["args"];
    assert_eq!(
        (&args["dry_run"], &args["fresh"]),
        (&json!(true), &json!(false))
    );
    assert_eq!(
        (&args["spec"]["name"], &args["spec"]["placement"]),
        (&json!("payments"), &json!("headless"))
    );
    let environment = &args["environment"];
    assert_eq!(
        (&environment["EXTRA"], &environment["PLAIN"]),
        (&json!("1"), &json!("yes"))
    );
    for kept_back in ["TMUX", "TMUX_PANE", "AGENT_TEAM_LAUNCH"] {
        assert_eq!(environment.get(kept_back), None);
    }
    let terminal = &args["terminal"];
    assert_eq!(
        (&terminal["tmux"], &terminal["tmux_pane"]),
        (&json!("/tmp/t,1,0"), &json!("%1"))
    );
    let changes = json!([{ "what": "member ada", "change": "started" }, { "what": "task \u{202e}x", "change": "left", "note": "in progress" }]);
    let answer = json!({ "team": "payments-00000000", "revision": 1, "placement": "headless", "placement_reason": "as asked", "changes": changes });
    peer.answer(&call, &answer);
    let output = command.output();
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert_eq!(
        output.stdout,
        "payments-00000000 would run headless: as asked\n  would start   member ada\n  would leave   task \\u{202e}x: in progress\n"
    );
}

/// Starts `up --wait` and answers its `team/up`.
fn waiting(rig: &Rig, supervisor: &Supervisor, arguments: &[&str]) -> (rig::RunningCommand, Peer) {
    rig.team_file("[[member]]\nname = \"ada\"\n");
    let command = rig.start(&[&["up", "--wait"], arguments].concat());
    let mut peer = supervisor.accept();
    let call = peer.call("team/up");
    let answer = json!({ "team": "p-00000000", "revision": 5, "placement": "headless", "placement_reason": "as asked", "changes": [] });
    peer.answer(&call, &answer);
    (command, peer)
}

/// Answers the read of the board with two pages.
fn board(supervisor: &Supervisor, tasks: &Value) {
    let mut peer = supervisor.accept();
    let call = peer.call("task/list");
    assert_eq!(call["params"]["args"]["after"], 0);
    let (first, rest) = tasks.as_array().unwrap().split_at(1);
    peer.answer(
        &call,
        &json!({ "revision": 9, "tasks": first, "more": true }),
    );
    let call = peer.call("task/list");
    assert_eq!(call["params"]["args"]["after"], 1, "after T-1");
    peer.answer(&call, &json!({ "revision": 9, "tasks": rest }));
}

#[test]
fn up_wait_prints_one_document_and_exits_by_outcome() {
    for (outcome, exit) in [("completed", 0), ("failed", 1)] {
        let rig = Rig::new();
        let supervisor = Supervisor::start(&rig);
        let (command, mut peer) = waiting(&rig, &supervisor, &["--json"]);
        let call = peer.call("team/wait");
        let tasks = json!([task("T-1", outcome, 7)]);
        peer.answer(
            &call,
            &json!({ "team": "p-00000000", "outcome": outcome, "members": [] }),
        );
        board(&supervisor, &tasks);
        let output = command.output();
        let document = rig::json(&output.stdout);
        assert_eq!((output.code, output.stderr.as_str()), (exit, ""));
        let mut fields: Vec<_> = document
            .as_object()
            .unwrap()
            .keys()
            .map(String::as_str)
            .collect();
        fields.sort_unstable();
        assert_eq!(
            fields,
            [
                "cost",
                "durations",
                "members",
                "outcome",
                "outputs",
                "rounds",
                "tasks",
                "team",
                "tokens",
                "tokens_in",
                "tokens_out"
            ]
        );
        assert_eq!(
            (&document["outcome"], &document["tasks"]),
            (&json!(outcome), &tasks)
        );
    }
}

#[test]
fn each_task_that_ends_during_a_wait_is_printed_once() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let (command, mut waiter) = waiting(&rig, &supervisor, &[]);
    let mut listener = supervisor.accept();
    let call = listener.call("event/subscribe");
    assert_eq!(
        call["params"]["args"]["after"], 5,
        "the subscription does not start after the revision of `up`"
    );
    listener.answer(&call, &json!({ "head": 5 }));
    let wait = waiter.call("team/wait");
    event(
        &mut listener,
        6,
        "task_completed",
        json!({ "task": "T-1", "result": "", "unverified": false }),
    );
    event(
        &mut listener,
        7,
        "of_a_later_build",
        json!({ "task": ["T-2"] }),
    );
    let mut asker = supervisor.accept();
    let call = asker.call("task/show");
    assert_eq!(call["params"]["args"]["task"], "T-1");
    asker.answer(&call, &task("T-1", "completed", 6));
    let tasks = json!([task("T-1", "completed", 6), task("T-2", "failed", 9)]);
    waiter.answer(
        &wait,
        &json!({ "team": "p-00000000", "outcome": "failed", "members": [] }),
    );
    board(&supervisor, &tasks);
    let mut denied = supervisor.accept();
    let call = denied.call("event/subscribe");
    denied.answer(&call, &json!({ "head": 5 }));
    let output = command.output();
    assert_eq!(
        (output.code, output.stderr.as_str()),
        (1, "✓ T-1 Build \\e[2J\n✗ T-2 Build \\e[2J: it broke\n")
    );
    assert!(
        output.stdout.contains("1 completed, 1 failed; waited "),
        "{}",
        output.stdout
    );
}

#[test]
fn an_interrupt_ends_the_wait_but_not_the_team() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let (command, mut peer) = waiting(&rig, &supervisor, &[]);
    let mut listener = supervisor.accept();
    let call = listener.call("event/subscribe");
    listener.answer(&call, &json!({ "head": 5 }));
    peer.call("team/wait");
    command.interrupt();
    let output = command.output();
    assert_eq!(output.code, 130);
    assert!(
        output.stderr.contains("the team keeps running"),
        "{}",
        output.stderr
    );
}
