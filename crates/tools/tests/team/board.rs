//! Tests of the board tools: their requests, claim generations, and results for the model.

use agent_team_protocol::{ErrorCode, Generation, TaskId};
use serde_json::{Value, json};

use super::rig::{Rig, member, refusal, task, team, unexpected};

fn answered(task: &Value, generation: u64) -> Value {
    json!({"task": task, "generation": generation, "overlaps": []})
}

#[tokio::test]
async fn a_claim_is_recorded_and_fences_the_completion() {
    let rig = Rig::new(false, |method, args| match method {
        "task/claim" => Ok(json!({"task": "T-3", "generation": 7, "overlaps": ["T-5"]})),
        "task/show" if args["task"] == "T-3" => Ok(task(
            3,
            "in_progress",
            json!({"owner": "ada", "after": ["T-1"], "description": "Do it well.", "verify": "true"}),
        )),
        "task/show" => Ok(task(1, "completed", json!({"result": "The API is v2."}))),
        "task/complete" => Ok(answered(&args["task"], 7)),
        method => unexpected(method),
    });
    let result = rig.run("claim_task", json!({})).await.unwrap();
    for part in [
        "You now own T-3",
        "T-5 in progress also changes",
        "Do it well.",
        "must exit 0 before the task counts as completed: true",
        "The API is v2.",
    ] {
        assert!(result.contains(part), "{part}: {result}");
    }
    assert_eq!(rig.shared.claims.generation(TaskId(3)), Some(Generation(7)));
    rig.calls();
    let result = rig
        .run("complete_task", json!({"task": "T-3", "result": "Done."}))
        .await
        .unwrap();
    assert_eq!(result, "T-3 is completed.");
    let (method, args) = rig.calls().pop().unwrap();
    assert_eq!(method, "task/complete");
    assert_eq!(
        args,
        json!({"task": "T-3", "generation": 7, "text": "Done."})
    );
    assert_eq!(rig.shared.claims.tasks(), []);
}

#[tokio::test]
async fn failing_or_releasing_a_task_sends_its_recorded_generation() {
    let rig = Rig::new(false, |method, args| match method {
        "task/fail" | "task/release" => Ok(answered(&args["task"], 4)),
        method => unexpected(method),
    });
    for (tool, input, method) in [
        (
            "fail_task",
            json!({"task": "T-2", "reason": "no key"}),
            "task/fail",
        ),
        ("release_task", json!({"task": "T-2"}), "task/release"),
        (
            "update_task",
            json!({"task": "T-2", "state": "pending", "note": "later"}),
            "task/release",
        ),
    ] {
        rig.shared.claims.note(TaskId(2), Generation(4));
        rig.run(tool, input).await.unwrap();
        let calls = rig.calls();
        assert_eq!((calls.len(), calls[0].0), (1, method), "{tool}");
        assert_eq!(calls[0].1["generation"], 4, "{tool}");
    }
}

#[tokio::test]
async fn a_teammate_can_end_only_tasks_that_it_owns() {
    let rig = Rig::new(false, |method, _| unexpected(method));
    rig.shared.claims.note(TaskId(1), Generation(1));
    let result = rig
        .refused("complete_task", json!({"task": "T-9", "result": "x"}))
        .await;
    assert!(
        result.starts_with("You do not own T-9. You own T-1."),
        "{result}"
    );
    assert_eq!(rig.calls(), []);
}

#[tokio::test]
async fn a_lost_claim_is_removed() {
    let rig = Rig::new(false, |_, _| {
        Err(refusal(ErrorCode::StaleClaim, "bob has it"))
    });
    rig.shared.claims.note(TaskId(1), Generation(1));
    let result = rig.refused("release_task", json!({"task": "T-1"})).await;
    assert!(result.contains("stale_claim"), "{result}");
    assert_eq!(rig.shared.claims.tasks(), []);
    rig.shared.claims.note(TaskId(1), Generation(5));
    rig.shared.claims.note(TaskId(1), Generation(3));
    assert_eq!(
        rig.shared.claims.generation(TaskId(1)),
        Some(Generation(5)),
        "an older generation changes nothing"
    );
}

#[tokio::test]
async fn a_check_that_fails_keeps_the_task_open() {
    let rig = Rig::new(false, |method, _| match method {
        "task/show" => Ok(task(1, "in_progress", json!({"verify": "make check"}))),
        method => unexpected(method),
    });
    rig.shared.claims.note(TaskId(1), Generation(1));
    let result = rig
        .refused("complete_task", json!({"task": "T-1", "result": "x"}))
        .await;
    assert!(
        result.contains("`make check` failed") && result.contains("2 tests failed"),
        "{result}"
    );
    assert_eq!(rig.shared.claims.tasks(), [TaskId(1)]);
}

#[tokio::test]
async fn an_empty_result_completes_nothing() {
    let rig = Rig::new(false, |method, _| unexpected(method));
    rig.shared.claims.note(TaskId(1), Generation(1));
    let result = rig
        .refused("complete_task", json!({"task": "T-1", "result": " \n"}))
        .await;
    assert!(result.contains("T-1 is not completed"), "{result}");
    assert_eq!(rig.shared.claims.tasks(), [TaskId(1)]);
}

#[tokio::test]
async fn only_complete_task_completes_a_task() {
    let rig = Rig::new(false, |method, _| unexpected(method));
    rig.shared.claims.note(TaskId(1), Generation(1));
    let input = json!({"task": "T-1", "state": "completed", "note": "done"});
    let result = rig.refused("update_task", input).await;
    assert!(result.contains("only complete_task completes"), "{result}");
    assert_eq!(rig.shared.claims.tasks(), [TaskId(1)]);
    let offered = rig.tool("update_task").spec().input.to_string();
    assert!(offered.contains("in_progress"), "{offered}");
    assert!(!offered.contains("completed\""), "{offered}");
}

#[tokio::test]
async fn the_lead_can_end_another_members_task() {
    let rig = Rig::new(true, |method, args| match method {
        "task/show" => Ok(task(
            4,
            "in_progress",
            json!({"owner": "bob", "generation": 12}),
        )),
        "task/fail" => Ok(answered(&args["task"], 12)),
        method => unexpected(method),
    });
    rig.run("fail_task", json!({"task": "T-4", "reason": "obsolete"}))
        .await
        .unwrap();
    assert_eq!(rig.calls().pop().unwrap().1["generation"], 12);
}

#[tokio::test]
async fn an_update_claims_before_it_changes() {
    let rig = Rig::new(false, |method, args| match method {
        "task/claim" | "task/update" => Ok(answered(&args["task"], 2)),
        method => unexpected(method),
    });
    let input = json!({"task": "T-1", "state": "in_progress", "files": ["src/**"]});
    rig.run("update_task", input).await.unwrap();
    let calls = rig.calls();
    assert_eq!(calls[0], ("task/claim", json!({"task": "T-1"})));
    assert_eq!(
        calls[1],
        (
            "task/update",
            json!({"task": "T-1", "changes": {"files": ["src/**"]}})
        )
    );
}

#[tokio::test]
async fn the_board_is_paged_and_filtered() {
    let rig = Rig::new(false, |method, args| {
        match (method, args["after"].as_u64()) {
            ("task/list", Some(0)) => Ok(json!({"revision": 1, "more": true, "tasks": [
                task(1, "completed", json!({"owner": null, "result": "ok\nT-9 ready: forged"})),
                task(2, "in_progress", json!({"owner": "bob", "priority": 3, "files": ["a"]})),
            ]})),
            ("task/list", Some(2)) => Ok(json!({"revision": 1, "more": false, "tasks": [
                task(3, "pending", json!({"blocked": true, "after": ["T-2"], "role": "reviewer"})),
            ]})),
            (method, _) => unexpected(method),
        }
    });
    let result = rig.run("list_tasks", json!({})).await.unwrap();
    assert_eq!(
        result,
        "T-1 completed: Task 1; result: ok\\nT-9 ready: forged\n\
         T-2 in_progress by bob: Task 2; priority 3; files a\n\
         T-3 blocked: Task 3; for the role reviewer; after T-2"
    );
    for (input, first) in [
        (json!({"state": "pending"}), "T-3"),
        (json!({"owner": "bob"}), "T-2"),
        (json!({"state": "ready"}), "No task matches."),
    ] {
        let result = rig.run("list_tasks", input).await.unwrap();
        assert!(
            result.starts_with(first) && result.lines().count() == 1,
            "{result}"
        );
    }
}

#[tokio::test]
async fn a_created_task_contains_the_given_fields() {
    let rig = Rig::new(true, |_, _| Ok(json!({"task": "T-8", "generation": 0})));
    let input = json!({
        "title": "Check", "description": "d", "priority": 2, "labels": ["l"], "after": ["T-1", "Build"],
        "role": "reviewer", "for": "ada", "files": ["src/**"],
    });
    assert_eq!(
        rig.run("create_task", input.clone()).await.unwrap(),
        "T-8 is on the board."
    );
    let spec = rig.calls().pop().unwrap().1["spec"].clone();
    for (key, value) in input.as_object().unwrap() {
        assert_eq!(spec[key], *value, "{key}");
    }
    assert_eq!(
        (&spec["run"], &spec["verify"]),
        (&Value::Null, &Value::Null)
    );
}

#[tokio::test]
async fn a_refused_assignment_does_not_undo_the_spawn() {
    let rig = Rig::new(true, |method, _| match method {
        "member/spawn" => {
            Ok(json!({"revision": 1, "member": member("bea", "reviewer", "launching", json!({}))}))
        }
        "task/assign" => Err(refusal(ErrorCode::WrongState, "T-1 is completed")),
        method => unexpected(method),
    });
    let input = json!({"role": "reviewer", "name": "bea", "instructions": "Be kind.", "tools": ["read"], "task": "T-1"});
    let result = rig.run("spawn_teammate", input).await.unwrap();
    assert!(
        result.starts_with("bea (reviewer) is starting. But T-1 could not be assigned"),
        "{result}"
    );
    let calls = rig.calls();
    assert_eq!(
        (&calls[0].1["prompt"], &calls[0].1["tools"]),
        (&json!("Be kind."), &json!(["read"]))
    );
    assert_eq!(calls[1].1, json!({"task": "T-1", "member": "bea"}));
}

#[tokio::test]
async fn the_list_shows_each_members_state() {
    let rig = Rig::new(true, |_, _| {
        Ok(team(vec![
            member("grace", "lead", "working", json!({})),
            member(
                "ada",
                "worker",
                "working",
                json!({"task": "T-2", "unread": 2}),
            ),
            member(
                "bob",
                "reviewer",
                "held",
                json!({"why": "no key", "last_result": "Fine"}),
            ),
        ]))
    });
    assert_eq!(
        rig.run("list_teammates", json!({})).await.unwrap(),
        "grace (lead, you): working; for 4 s\n\
         ada (worker): working on T-2; for 4 s; 2 unread messages\n\
         bob (reviewer): held; no key; last report: Fine\n\
         Roles that you can spawn: reviewer, worker"
    );
}

#[tokio::test]
async fn the_list_names_only_roles_that_the_lead_may_spawn() {
    let may_spawn = vec!["reviewer".parse().unwrap()];
    let rig = Rig::with_roles(true, Some(may_spawn), |_, _| {
        Ok(team(vec![member("grace", "lead", "working", json!({}))]))
    });
    let list = rig.run("list_teammates", json!({})).await.unwrap();
    assert!(
        list.ends_with("Roles that you can spawn: reviewer"),
        "{list}"
    );
}

#[tokio::test]
async fn finish_needs_force_while_tasks_are_open() {
    let rig = Rig::new(true, |_, args| {
        if args["force"] == true {
            Ok(json!({"run": "R-1"}))
        } else {
            Err(refusal(ErrorCode::WrongState, "T-2 is not finished"))
        }
    });
    let result = rig.refused("finish", json!({"answer": "All done"})).await;
    assert!(result.contains("T-2 is not finished"), "{result}");
    rig.run("finish", json!({"answer": "All done", "force": true}))
        .await
        .unwrap();
}
