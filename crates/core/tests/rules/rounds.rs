//! Runs in rounds: a coordinator that names the next member, and collaborators that work one by one.

use agent_team_core::input::{Call, CompletionHook, NewRun, UpSpec};
use agent_team_core::round::{Round, RoundPrompt, Strategy, Work};
use agent_team_core::run::RunState;
use agent_team_core::spec::TaskSpec;
use agent_team_core::task::TaskState;
use agent_team_core::{Answer, Event, Refused};
use agent_team_protocol::id::{RunId, TaskId};
use agent_team_protocol::value::{ExpectedReply, RunFailure};

use crate::rig::{Done, Rig, file};
use crate::specs::{name, task_spec};

pub(crate) fn team(strategy: Strategy) -> UpSpec {
    let mut spec = file(&["ada", "ben"]);
    spec.team.strategy = strategy;
    spec
}

fn coordinator(max_rounds: u32) -> Rig {
    let mut rig = Rig::of(team(Strategy::Coordinator { max_rounds }));
    start(&mut rig);
    rig
}

/// Collaborators in the order of the file, which differs from the order of their names.
fn collaborators() -> Rig {
    let order = vec![name("ben"), name("ada")];
    let mut rig = Rig::of(team(Strategy::Collaborate { order }));
    start(&mut rig);
    rig
}

pub(crate) fn start(rig: &mut Rig) {
    rig.user(Call::StartRun(NewRun {
        goal: "Mend it".into(),
        anew: true,
        ..NewRun::default()
    }))
    .answer();
}

/// The lead's model replies to the open question with this text.
pub(crate) fn lead_replies(rig: &mut Rig, text: &str) -> Done {
    let RoundPrompt { run, round, .. } = rig.team.round_prompt().expect("the run has a question");
    rig.by(
        "lead",
        Call::ReplyToQuestion {
            run,
            round,
            text: text.into(),
        },
    )
}

pub(crate) fn completes(rig: &mut Rig, member: &str, result: &str) -> Done {
    let task = rig
        .team
        .task_of(&name(member))
        .expect("the member has a task")
        .id;
    let claim = rig.claim_of(task);
    rig.by(
        member,
        Call::CompleteTask {
            claim,
            result: result.into(),
            hook: CompletionHook::NotRun,
        },
    )
}

fn rounds(rig: &Rig) -> Vec<String> {
    let rounds = rig.team.run().expect("there is a run").rounds.iter();
    let texts = rounds.map(|round| match round {
        Round::Worked { member, work, .. } => match work {
            Work::UnderWay => format!("{member} works"),
            Work::Completed { output } => format!("{member}: {output}"),
            Work::Failed { output } => format!("{member} failed: {output}"),
        },
        Round::Unclear { why } => format!("unclear: {why}"),
        Round::Answered => "answered".to_owned(),
    });
    texts.collect()
}

fn state(rig: &Rig) -> &RunState {
    &rig.team.run().expect("there is a run").state
}

fn failed(rig: &Rig) -> (RunFailure, &str) {
    match state(rig) {
        RunState::Failed {
            failure, reason, ..
        } => (*failure, reason),
        other @ (RunState::UnderWay | RunState::Finished { .. } | RunState::Abandoned { .. }) => {
            panic!("the run has not failed: {other:?}")
        }
    }
}

fn remembered<'a>(rig: &'a Rig, key: &str) -> Option<&'a str> {
    rig.team.memory().get(key).map(|value| &**value)
}

#[test]
fn a_coordinator_routes_rounds_until_done() {
    let mut rig = coordinator(5);
    assert_eq!(
        rig.inbox("lead"),
        [""; 0],
        "the lead receives a message, not only a question"
    );
    lead_replies(&mut rig, "ROUTE: ada\nLook at a.rs").answer();
    assert_eq!(rig.team.round_prompt(), None, "the run waits for ada");
    let task = rig
        .team
        .task_of(&name("ada"))
        .expect("ada has a task")
        .clone();
    assert!(task.spec.description.contains("Look at a.rs"));
    assert!(task.spec.description.contains("Mend it"));
    let ended = completes(&mut rig, "ada", "it is line 7");
    assert_eq!(ended.notices(), [], "the next question informs the lead");

    lead_replies(&mut rig, "ROUTE: ben").answer();
    let task = rig
        .team
        .task_of(&name("ben"))
        .expect("ben has a task")
        .clone();
    assert!(task.spec.description.contains("it is line 7"));
    completes(&mut rig, "ben", "mended").answer();
    lead_replies(&mut rig, "ROUTE: ada").answer();
    completes(&mut rig, "ada", "checked").answer();
    lead_replies(&mut rig, "DONE: It works.").answer();

    assert!(matches!(state(&rig), RunState::Finished { answer, .. } if &**answer == "It works."));
    assert_eq!(
        rounds(&rig),
        [
            "ada: it is line 7",
            "ben: mended",
            "ada: checked",
            "answered"
        ]
    );
    assert_eq!(remembered(&rig, "ada"), Some("\"checked\""));
    assert_eq!(remembered(&rig, "ben"), Some("\"mended\""));
}

#[test]
fn an_invalid_reply_costs_a_round_and_is_explained() {
    let mut rig = coordinator(5);
    let replies = [
        ("I would ask ada.", "does not begin"),
        ("ROUTE: eve", "\"eve\" is not a member"),
        ("ROUTE: Ada", "choose one of: ada, ben"),
        ("ROUTE: lead", "\"lead\" is not a member"),
    ];
    for (before, (reply, why)) in replies.into_iter().enumerate() {
        lead_replies(&mut rig, reply).answer();
        let rounds = rounds(&rig);
        assert_eq!(rounds.len(), before + 1);
        assert!(rounds[before].contains(why), "{reply}: {rounds:?}");
    }
    let question = rig.team.round_prompt().expect("one round is left");
    assert_eq!(
        (question.round, question.expected_reply),
        (5, ExpectedReply::Decision { max_rounds: 5 })
    );
    lead_replies(&mut rig, "no").answer();
    assert_eq!(failed(&rig).0, RunFailure::MaxRounds);
}

#[test]
fn a_run_without_rounds_left_fails_and_keeps_its_outputs() {
    let mut rig = coordinator(1);
    lead_replies(&mut rig, "ROUTE: ada").answer();
    assert!(
        state(&rig) == &RunState::UnderWay,
        "the member loses its round"
    );
    completes(&mut rig, "ada", "half of it").answer();
    assert_eq!(failed(&rig).0, RunFailure::MaxRounds);
    assert_eq!(rounds(&rig), ["ada: half of it"]);
    assert_eq!(remembered(&rig, "ada"), Some("\"half of it\""));
}

#[test]
fn replies_are_accepted_only_to_the_open_question() {
    let mut rig = coordinator(5);
    let reply = |run, round| Call::ReplyToQuestion {
        run: RunId(run),
        round,
        text: "ROUTE: ada".into(),
    };
    assert_eq!(
        rig.by("lead", reply(1, 2)).refusal(),
        Refused::NotAsked(RunId(1), 2)
    );
    assert_eq!(
        rig.by("lead", reply(2, 1)).refusal(),
        Refused::NotAsked(RunId(2), 1)
    );
    rig.by("lead", reply(1, 1)).answer();
    assert_eq!(
        rig.by("lead", reply(1, 1)).refusal(),
        Refused::NotAsked(RunId(1), 1),
        "the question was answered before"
    );
}

#[test]
fn a_failed_rounds_output_is_its_reason() {
    let task = TaskId(1);
    type Act = fn(&mut Rig);
    let acts: [(Act, &str); 5] = [
        (
            |rig| {
                let claim = rig.claim_of(TaskId(1));
                let reason = "no such file".into();
                rig.by("ada", Call::FailTask { claim, reason }).answer();
            },
            "no such file",
        ),
        (
            |rig| {
                let claim = rig.claim_of(TaskId(1));
                let note = "stopped after 100 steps".into();
                rig.by("ada", Call::ReleaseTask { claim, note }).answer();
            },
            "stopped after 100 steps",
        ),
        (
            |rig| {
                rig.user(Call::CancelTask { task: TaskId(1) }).answer();
            },
            "its task was cancelled",
        ),
        (
            |rig| {
                rig.kill("ada").answer();
                rig.tree_is_gone("ada");
            },
            "it was stopped",
        ),
        (
            |rig| {
                let report = Call::ReportExit {
                    code: 5,
                    reason: "the key is wrong".into(),
                    hold: true,
                };
                rig.by("ada", report).answer();
                rig.dies("ada");
            },
            "it is held: the key is wrong",
        ),
    ];
    for (act, why) in acts {
        let mut rig = coordinator(5);
        lead_replies(&mut rig, "ROUTE: ada").answer();
        act(&mut rig);
        assert_eq!(rounds(&rig), [format!("ada failed: {why}")]);
        assert!(
            rig.team.round_prompt().is_some(),
            "the coordinator is not asked"
        );
        assert!(
            !matches!(rig.task(task).state, TaskState::Pending { .. }),
            "a member may still claim the task"
        );
    }
}

#[test]
fn a_crashed_member_continues_its_round() {
    let mut rig = coordinator(5);
    lead_replies(&mut rig, "ROUTE: ada").answer();
    rig.dies("ada");
    rig.hello("ada");
    assert_eq!(rounds(&rig), ["ada works"]);
    completes(&mut rig, "ada", "done").answer();
    assert_eq!(rounds(&rig), ["ada: done"]);
}

#[test]
fn a_run_without_available_members_fails() {
    let mut rig = coordinator(5);
    for member in ["ada", "ben"] {
        assert_eq!(*state(&rig), RunState::UnderWay);
        rig.kill(member).answer();
        rig.tree_is_gone(member);
    }
    let (failure, reason) = failed(&rig);
    assert_eq!(failure, RunFailure::Stuck);
    assert_eq!(
        reason,
        "no member can work (ada: it was stopped; ben: it was stopped)"
    );
}

#[test]
fn a_run_survives_down_in_the_middle_of_a_round() {
    let spec = team(Strategy::Coordinator { max_rounds: 5 });
    let mut rig = Rig::of(spec.clone());
    start(&mut rig);
    lead_replies(&mut rig, "ROUTE: ada").answer();
    rig.user(Call::Down { force: true }).answer();
    for member in ["ada", "ben", "lead"] {
        rig.tree_is_gone(member);
    }
    assert_eq!(rounds(&rig), ["ada works"]);
    rig.up(spec).answer();
    for member in ["ada", "ben", "lead"] {
        rig.hello(member);
    }
    completes(&mut rig, "ada", "done").answer();
    assert_eq!(rounds(&rig), ["ada: done"]);
}

#[test]
fn a_round_output_is_kept_while_the_lead_is_stopped() {
    let mut rig = coordinator(5);
    lead_replies(&mut rig, "ROUTE: ada").answer();
    rig.kill("lead").answer();
    rig.tree_is_gone("lead");
    completes(&mut rig, "ada", "done").answer();
    assert_eq!(rounds(&rig), ["ada: done"]);
    rig.user(Call::Restart {
        member: name("lead"),
    })
    .answer();
    rig.hello("lead");
    assert_eq!(
        rig.team.round_prompt().map(|question| question.round),
        Some(2)
    );
}

#[test]
fn another_goal_abandons_the_round() {
    let mut rig = coordinator(5);
    lead_replies(&mut rig, "ROUTE: ada").answer();
    start(&mut rig);
    assert_eq!(rig.team.task_of(&name("ada")), None);
    let question = rig.team.round_prompt().expect("a new question is asked");
    assert_eq!((question.run, question.round), (RunId(2), 1));
}

#[test]
fn a_lead_in_rounds_claims_no_tasks() {
    let mut rig = coordinator(5);
    let spec = TaskSpec {
        assignee: Some(name("lead")),
        ..task_spec("Review")
    };
    let after = Vec::new();
    let task = rig
        .user(Call::AddTask {
            spec,
            after,
            lines: Vec::new(),
        })
        .task();
    assert_eq!(rig.owner(task).as_deref(), None);
}

#[test]
fn collaborators_work_one_by_one_before_the_synthesis() {
    let mut rig = collaborators();
    assert_eq!(rig.team.round_prompt(), None);
    completes(&mut rig, "ben", "one half").answer();
    let task = rig
        .team
        .task_of(&name("ada"))
        .expect("ada works next")
        .clone();
    assert!(task.spec.description.contains("one half"));
    completes(&mut rig, "ada", "the other").answer();
    let question = rig.team.round_prompt().expect("a synthesis");
    assert_eq!(question.expected_reply, ExpectedReply::Synthesis);
    lead_replies(&mut rig, "Both halves.").answer();
    assert!(
        matches!(state(&rig), RunState::Finished { answer, .. } if &**answer == "Both halves.")
    );
    assert_eq!(rounds(&rig), ["ben: one half", "ada: the other"]);
}

#[test]
fn an_unavailable_member_gets_a_failed_round() {
    let mut rig = collaborators();
    rig.kill("ada").answer();
    rig.tree_is_gone("ada");
    completes(&mut rig, "ben", "one half").answer();
    assert_eq!(
        rounds(&rig),
        ["ben: one half", "ada failed: it was stopped"]
    );
    assert!(rig.team.round_prompt().is_some());
    start(&mut rig);
    rig.kill("ben").answer();
    rig.tree_is_gone("ben");
    assert_eq!(
        failed(&rig).0,
        RunFailure::Stuck,
        "there is no output for a synthesis"
    );
}

#[test]
fn the_journal_contains_decisions_and_rounds() {
    let mut rig = coordinator(5);
    let events = |done: Done| -> Vec<&'static str> {
        #[expect(
            clippy::wildcard_enum_match_arm,
            reason = "only these events are compared"
        )]
        let kinds = done.events.iter().filter_map(|event| {
            Some(match event {
                Event::CoordinatorDecided { .. } => "decided",
                Event::RoundStarted { .. } => "started",
                Event::RoundEnded { .. } => "ended",
                Event::Remembered { .. } => "remembered",
                _ => return None,
            })
        });
        kinds.collect()
    };
    assert_eq!(
        events(lead_replies(&mut rig, "ROUTE: ada")),
        ["decided", "started"]
    );
    assert_eq!(
        events(completes(&mut rig, "ada", "done")),
        ["ended", "remembered"]
    );
    assert_eq!(events(lead_replies(&mut rig, "nonsense")), ["decided"]);
    let done = lead_replies(&mut rig, "DONE: yes");
    assert_eq!(done.outcome, Some(Ok(Answer::Run { run: RunId(1) })));
}
