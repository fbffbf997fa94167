//! Kills the supervisor at each failpoint: after it has decided, committed, acted, and replied.

use agent_team_client::CallError;
use agent_team_protocol::method::{
    AddTask, ClaimTask, EndTask, MessageSend, Method, SendMessage, TaskAdd, TaskClaim, TaskComplete,
};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::TaskState;
use agent_team_protocol::{Recipient, TaskId};
use agent_team_tests::Rig;

use crate::history::{check, history};
use crate::teams::assigned;

/// Runs one sequence of calls against a supervisor that kills itself at a failpoint, repeats each call with its key
/// until the call is answered, and asserts that each call had exactly one effect. The first supervisor crashes when it
/// reaches the failpoint for the first time, in the next sequence for the second time, and so on.
async fn survives_a_crash_at(failpoint: &str) {
    // Stop when the first supervisor survives: the calls pass the failpoint fewer than `nth` times.
    for nth in 1..=20 {
        let mut rig = assigned(&["ada"], "");
        // Only the first supervisor has the failpoint.
        rig.script_supervisor(&format!(
            "mkdir \"$AGENT_TEAM_HOME/first\" && exec \"$PLANTED\" crash-at={failpoint}:{nth} \"$@\"\n\
             exec \"$SUPERVISOR\" \"$@\"\n"
        ));
        let first = rig.start(["supervisor", "run"]);
        let waiting = rig.user().await;
        rig.run(["up"]).await.expect(0);
        let caller = "caller";
        let add = |title: &str| AddTask {
            spec: TaskSpec {
                key: title.to_owned(),
                title: title.to_owned(),
                run: Some("echo run >> runs".to_owned()),
                rerun: true,
                ..TaskSpec::default()
            },
        };
        let claim = ClaimTask {
            task: Some(TaskId(1)),
        };
        let end = EndTask {
            task: TaskId(1),
            generation: None,
            text: "by hand".to_owned(),
        };
        let message = SendMessage {
            to: Recipient::Member("ada".parse().unwrap()),
            text: "once".to_owned(),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            attach_outside: false,
        };
        assert_eq!(
            persist::<TaskAdd>(&rig, caller, "1", add("One")).await.task,
            TaskId(1)
        );
        assert_eq!(
            persist::<TaskAdd>(&rig, caller, "2", add("Two")).await.task,
            TaskId(2)
        );
        let claimed = persist::<TaskClaim>(&rig, caller, "3", claim).await;
        assert_eq!(claimed.generation.0, 1, "{failpoint}:{nth}");
        persist::<MessageSend>(&rig, caller, "4", message).await;
        persist::<TaskComplete>(&rig, caller, "5", end).await;
        rig.ok(["task", "assign", "T-2", "ada"]).await;
        let ran = rig.until_task_is("T-2", TaskState::Completed).await;
        assert_eq!(ran.attempts, 1, "{failpoint}:{nth}");
        assert_eq!(
            rig.read("runs").as_deref(),
            Some("run\n"),
            "{failpoint}:{nth}"
        );
        assert_eq!(rig.task("T-1").await.state, TaskState::Completed);
        let history = history(&rig).await;
        check(&history);
        let count = |kind: &str| history.iter().filter(|event| event.kind == kind).count();
        assert_eq!(count("task_added"), 2, "{failpoint}:{nth}");
        assert_eq!(count("task_claimed"), 2, "{failpoint}:{nth}");
        let sent = history
            .iter()
            .filter(|event| event.is("message_accepted", &[("text", "once")]));
        assert_eq!(sent.count(), 1, "{failpoint}:{nth}");
        drop(waiting);
        if u64::from(rig.supervisor().await.pid) == first.pid() {
            assert!(nth > 8, "the calls must pass {failpoint} at least 8 times");
            return;
        }
    }
}

/// Repeats a call with its key until the supervisor answers.
async fn persist<M>(rig: &Rig, caller: &str, key: &str, args: M::Args) -> M::Answer
where
    M: Method,
    M::Args: Clone,
{
    loop {
        let user = rig.user_as(caller).await;
        match user.call::<M>(args.clone(), Some(key)).await {
            Ok(answer) => return answer,
            Err(CallError::Disconnected) => {}
            Err(error) => panic!("{}: {error}", M::NAME),
        }
    }
}

#[tokio::test]
async fn a_crash_between_decide_and_commit_loses_no_answered_call() {
    survives_a_crash_at("decided").await;
}

#[tokio::test]
async fn a_crash_between_commit_and_effect_does_nothing_twice() {
    survives_a_crash_at("committed").await;
}

#[tokio::test]
async fn a_crash_between_effect_and_reply_does_nothing_twice() {
    survives_a_crash_at("effected").await;
}

#[tokio::test]
async fn a_crash_after_the_reply_loses_nothing() {
    survives_a_crash_at("replied").await;
}
