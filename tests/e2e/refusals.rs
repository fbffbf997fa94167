//! The refusals of each team tool as the model sees them: the supervisor decides, and the model receives the reason.

use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model, in_turn};
use serde_json::{Value, json};

/// A team of a lead, ada, and the members in `more`; all query this server.
fn rig(server: &FakeModelServer, more: &str) -> Rig {
    let mut rig = Rig::with_team(&format!(
        "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[limits]\nteammates = 1\n[lead]\n\
         model = \"openai/lead\"\n[[member]]\nname = \"ada\"\nengine = \"native\"\nmodel = \"openai/ada\"\n\
         claim = \"assigned\"\n{more}"
    ));
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig
}

/// Asserts that each call is refused with its reason.
fn assert_refused<'a>(
    calls: &[(&str, Value, &str)],
    results: impl IntoIterator<Item = &'a String>,
) {
    for ((tool, _, why), result) in calls.iter().zip(results) {
        assert!(result.starts_with("error: "), "{tool}: {why}\n{result}");
        assert!(result.contains(why), "{tool}: {why}\n{result}");
    }
}

/// The results of this model's calls, in order.
fn results(server: &FakeModelServer, model: &str) -> Vec<String> {
    let requests = server.requests();
    let of_it = requests.iter().filter(|request| request.model() == model);
    of_it
        .flat_map(|request| request.results())
        .map(|(_, text)| text)
        .collect()
}

#[tokio::test]
async fn refused_calls_of_the_lead_have_a_reason() {
    // The first task is T-1, and no member claims it.
    let create = json!({"title": "Build"});
    let calls: [(&str, Value, &str); 22] = [
        ("create_task", create, "T-1 is on the board."),
        (
            "create_task",
            json!({"title": "Test", "after": ["Bild"]}),
            "Refused (",
        ),
        (
            "create_task",
            json!({"title": "Test", "after": ["T-9"]}),
            "T-9",
        ),
        ("create_task", json!({"title": "Test", "for": "bob"}), "bob"),
        ("create_task", json!({"title": ""}), "title"),
        ("spawn_teammate", json!({"role": "wizard"}), "wizard"),
        (
            "spawn_teammate",
            json!({"name": "ada"}),
            "a member called ada already exists",
        ),
        (
            "spawn_teammate",
            json!({"name": "cleo"}),
            "its limit is 1\nWhat to do: assign the work to another teammate",
        ),
        ("stop_teammate", json!({"name": "bob"}), "bob"),
        ("resume_teammate", json!({"name": "bob"}), "bob"),
        (
            "assign_task",
            json!({"task": "T-9", "member": "ada"}),
            "T-9",
        ),
        (
            "assign_task",
            json!({"task": "T-1", "member": "bob"}),
            "bob",
        ),
        ("cancel_task", json!({"task": "T-9"}), "T-9"),
        ("wait", json!({"for": "tasks", "ids": ["T-9"]}), "T-9"),
        (
            "wait",
            json!({"for": "members", "ids": ["bob"]}),
            "there is no teammate bob. Teammates:",
        ),
        (
            "wait",
            json!({"for": "members", "timeout_s": 0}),
            "`timeout_s` must be between 1 and 3600",
        ),
        ("send_message", json!({"to": "bob", "text": "hello"}), "bob"),
        (
            "send_message",
            json!({"to": "ada", "text": "x".repeat((64 << 10) + 1)}),
            "the message is 65537 bytes long, and the limit is 65536",
        ),
        (
            "read_messages",
            json!({"limit": 3}),
            "`limit` requires `all`",
        ),
        (
            "recall",
            json!({"key": "nothing"}),
            "Nothing is stored under \"nothing\"",
        ),
        (
            "remember",
            json!({"key": "k".repeat(257), "value": 1}),
            "256",
        ),
        ("list_tasks", json!({"task": "T-9"}), "T-9"),
    ];
    let mut replies: Vec<Reply> = calls
        .iter()
        .map(|(tool, input, _)| Reply::call(tool, input.clone()))
        .collect();
    replies.push(Reply::call("finish", json!({"answer": "Done."})));
    replies.push(Reply::call(
        "finish",
        json!({"answer": "Left open.", "force": true}),
    ));
    let server = FakeModelServer::start(in_turn(replies)).await;
    let rig = rig(&server, "");
    let output = rig.run(["run", "Try everything"]).await.expect(0);
    assert_eq!(output.stdout, "Left open.\n");

    let results = results(&server, "lead");
    assert!(!results[0].starts_with("error: "), "{}", results[0]);
    assert_refused(&calls[1..], &results[1..]);
    let refused = &results[calls.len()];
    assert!(
        refused.contains("T-1") && refused.contains("force"),
        "the refusal names the open task and `force`: {refused}"
    );
}

#[tokio::test]
async fn a_teammate_changes_only_its_own_task() {
    let of_the_lead = [
        Reply::call("create_task", json!({"title": "Build"})),
        Reply::call("create_task", json!({"title": "Test", "after": ["T-1"]})),
        Reply::call("create_task", json!({"title": "Tell", "role": "reviewer"})),
        Reply::call("assign_task", json!({"task": "T-1", "member": "ada"})),
        Reply::call("wait", json!({"for": "tasks", "ids": ["T-1"]})),
        Reply::call("finish", json!({"answer": "Done.", "force": true})),
    ];
    let calls: [(&str, Value, &str); 9] = [
        (
            "claim_task",
            json!({"task": "T-2"}),
            "ada holds T-1 already\nWhat to do: call list_tasks to see",
        ),
        (
            "update_task",
            json!({"task": "T-3", "title": "Mine"}),
            "T-3",
        ),
        ("update_task", json!({"task": "T-1"}), "error: "),
        (
            "complete_task",
            json!({"task": "T-3", "result": "done"}),
            "T-3",
        ),
        ("fail_task", json!({"task": "T-3", "reason": "no"}), "T-3"),
        ("release_task", json!({"task": "T-3"}), "T-3"),
        ("send_message", json!({"to": "bob", "text": "hello"}), "bob"),
        (
            "create_task",
            json!({"title": "More"}),
            "there is no tool create_task",
        ),
        (
            "complete_task",
            json!({"task": "T-1", "result": "x".repeat((64 << 10) + 1)}),
            "the result is 65537 bytes long, and the limit is 65536",
        ),
    ];
    // Once ada holds no task, the refusal depends on the named task.
    let others: [(&str, Value, &str); 4] = [
        (
            "claim_task",
            json!({"task": "T-9"}),
            "there is no task T-9\nWhat to do: call list_tasks to see the board",
        ),
        ("claim_task", json!({"task": "T-2"}), "T-2 waits for T-1"),
        (
            "claim_task",
            json!({"task": "T-3"}),
            "T-3 is for the role reviewer",
        ),
        (
            "fail_task",
            json!({"task": "T-1", "reason": "no"}),
            "You do not own T-1.",
        ),
    ];
    let replies = |calls: &[(&str, Value, &str)]| -> Vec<Reply> {
        let calls = calls.iter();
        calls
            .map(|(tool, input, _)| Reply::call(tool, input.clone()))
            .collect()
    };
    let mut of_ada = replies(&calls);
    of_ada.push(Reply::call("release_task", json!({"task": "T-1"})));
    of_ada.extend(replies(&others));
    of_ada.push(Reply::call("claim_task", json!({"task": "T-1"})));
    of_ada.push(Reply::call(
        "complete_task",
        json!({"task": "T-1", "result": "built"}),
    ));
    of_ada.push(Reply::text("Done."));
    let server =
        FakeModelServer::start(by_model([("lead", of_the_lead.into()), ("ada", of_ada)])).await;
    let rig = rig(&server, "");
    rig.run(["run", "Build it"]).await.expect(0);
    let results = results(&server, "ada");
    assert_refused(&calls, &results);
    let released = &results[calls.len()];
    assert!(!released.starts_with("error: "), "{released}");
    assert_refused(&others, &results[calls.len() + 1..]);
}
