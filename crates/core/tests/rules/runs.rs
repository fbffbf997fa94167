//! Goals, turns of the members' models, and the team's memory.

use std::sync::Arc;

use agent_team_core::effect::Effect;
use agent_team_core::input::{After, Call, CompletionHook, Input, NewRun, TurnProgress};
use agent_team_core::member::Life;
use agent_team_core::memory::Memory;
use agent_team_core::run::RunState;
use agent_team_core::task::TaskState;
use agent_team_core::{Answer, Event, Refused};
use agent_team_protocol::id::{MessageId, Party, RunId, TaskId};
use agent_team_protocol::value::{Budget, Effort, RunFailure, Usage};

use crate::rig::{Done, Rig, file};
use crate::specs::{name, task_spec};

fn start(goal: &str) -> Call {
    Call::StartRun(NewRun {
        goal: goal.into(),
        ..NewRun::default()
    })
}

fn start_with(effort: Effort) -> Call {
    Call::StartRun(NewRun {
        goal: "goal".into(),
        anew: true,
        effort: Some(effort),
        ..NewRun::default()
    })
}

fn finish(answer: &str, force: bool) -> Call {
    Call::FinishRun {
        answer: answer.into(),
        force,
    }
}

/// The member appends one item, reads all its messages, and continues its turn.
fn continues_turn(rig: &mut Rig, member: &str, text: &str) -> Done {
    let read: Vec<MessageId> = rig.member(member).inbox.iter().map(|(id, _)| id).collect();
    rig.by(
        member,
        Call::Append(TurnProgress {
            items: vec![text.into()],
            read,
            ..TurnProgress::default()
        }),
    )
}

/// The member's turn ends with this text.
fn ends_turn(rig: &mut Rig, member: &str, report: &str) -> Done {
    rig.by(
        member,
        Call::Append(TurnProgress {
            turn_end: Some(report.into()),
            ..TurnProgress::default()
        }),
    )
}

fn lead_notices(done: &Done) -> Vec<String> {
    let lead = [Party::Member(name("lead"))];
    let notices = done.notices();
    let texts = notices.iter().filter(|(to, _)| *to == lead);
    texts.map(|(_, text)| (*text).to_owned()).collect()
}

#[test]
fn the_lead_receives_the_goal_and_finishes_the_run() {
    let mut rig = Rig::of(file(&["ada"]));
    let answer = rig.user(start("Add validation")).answer();
    assert_eq!(answer, Answer::Run { run: RunId(1) });
    assert_eq!(rig.inbox("lead"), ["Add validation"]);
    let finished = rig.by("lead", finish("It is done.", false));
    assert_eq!(finished.notices(), [(vec![Party::User], "It is done.")]);
    assert!(matches!(finished.events[0], Event::RunFinished { .. }));
    finished.answer();
    assert_eq!(rig.team.user_mail().len(), 1);
    assert_eq!(rig.team.unread_from(&name("lead")), None);
    let run = rig.team.run().expect("there was a run");
    assert!(matches!(&run.state, RunState::Finished { answer, .. } if &**answer == "It is done."));
    assert_eq!(
        rig.by("lead", finish("again", false)).refusal(),
        Refused::NoRun
    );
}

/// The member's calls change these files, and its model uses 10 tokens for one millionth of a dollar.
fn changes(rig: &mut Rig, member: &str, files: &[&str]) {
    let progress = TurnProgress {
        changed: files.iter().map(|&file| file.into()).collect(),
        spent: Usage {
            input: 10,
            micro_usd: 1,
            unpriced: 4,
            ..Usage::default()
        },
        ..TurnProgress::default()
    };
    rig.by(member, Call::Append(progress)).answer();
}

#[test]
fn totals_of_a_run_stay_as_they_were_at_its_end() {
    let mut rig = Rig::of(file(&["ada"]));
    changes(&mut rig, "ada", &["/before"]);
    rig.user(start("goal")).answer();
    changes(&mut rig, "ada", &["/a", "/b", "/a"]);
    changes(&mut rig, "lead", &["/b"]);
    rig.by("lead", finish("done", false)).answer();
    let files = |rig: &Rig| rig.team.run().expect("there was a run").files.len();
    let now = rig.now;
    let totals = rig.team.run_totals(now).expect("there was a run");
    assert_eq!((totals.tasks, totals.micro_usd, totals.unpriced), (0, 2, 8));
    assert_eq!(files(&rig), 2);
    rig.add("Later");
    changes(&mut rig, "ada", &["/c"]);
    let now = rig.now;
    assert_eq!(rig.team.run_totals(now), Some(totals));
    assert_eq!(files(&rig), 2);
}

#[test]
fn a_cancelled_run_keeps_its_totals() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(start("goal")).answer();
    changes(&mut rig, "ada", &["/a"]);
    rig.user(Call::CancelRun { reason: "".into() }).answer();
    changes(&mut rig, "ada", &["/b"]);
    let now = rig.now;
    let totals = rig.team.run_totals(now).expect("there was a run");
    assert_eq!((totals.micro_usd, totals.unpriced), (1, 4));
}

#[test]
fn a_second_run_is_refused_unless_it_replaces_the_first() {
    let mut rig = Rig::of(file(&[]));
    rig.user(start("one")).answer();
    assert_eq!(
        rig.user(start("two")).refusal(),
        Refused::RunUnderWay {
            run: RunId(1),
            goal: "one".into()
        }
    );
    let anew = Call::StartRun(NewRun {
        goal: "two".into(),
        anew: true,
        ..NewRun::default()
    });
    assert_eq!(rig.user(anew).answer(), Answer::Run { run: RunId(2) });
}

#[test]
fn a_run_with_open_tasks_needs_force_to_finish() {
    let mut rig = Rig::of(file(&[]));
    rig.user(start("goal")).answer();
    let task = rig.add("Left");
    assert_eq!(
        rig.by("lead", finish("done", false)).refusal(),
        Refused::TasksOpen {
            named: vec![task],
            more: 0
        }
    );
    rig.by("lead", finish("done", true)).answer();
    assert!(rig.team.run().is_some_and(|run| !run.is_under_way()));
}

#[test]
fn a_run_with_then_down_stops_the_members() {
    let mut rig = Rig::of(file(&["ada"]));
    let call = Call::StartRun(NewRun {
        goal: "goal".into(),
        then_down: true,
        ..NewRun::default()
    });
    rig.user(call).answer();
    rig.by("lead", finish("done", false)).answer();
    assert!(matches!(rig.life("ada"), Life::Draining { .. }));
    assert!(matches!(rig.life("lead"), Life::Draining { .. }));
}

#[test]
fn transcript_and_read_messages_are_stored_together() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.send("user", "ada", "hello").answer();
    let progress = TurnProgress {
        items: vec!["1".into(), "2".into()],
        read: vec![MessageId(1)],
        spent: Usage {
            input: 10,
            output: 3,
            ..Usage::default()
        },
        ..TurnProgress::default()
    };
    let answer = rig.by("ada", Call::Append(progress.clone())).answer();
    assert_eq!(answer, Answer::Length { length: 2 });
    assert_eq!(rig.inbox("ada"), [""; 0]);
    let answer = rig.by("ada", Call::Append(progress)).answer();
    assert_eq!(answer, Answer::Length { length: 4 });
    assert_eq!(rig.member("ada").transcript.spent.input, 20);
    assert!(matches!(
        rig.user(Call::Append(TurnProgress::default())).refusal(),
        Refused::MemberOnly
    ));
}

#[test]
fn the_last_text_reports_to_the_lead_if_nothing_else_did() {
    let mut rig = Rig::of(file(&["ada"]));
    continues_turn(&mut rig, "ada", "working");
    ends_turn(&mut rig, "ada", "I looked around");
    assert_eq!(rig.inbox("lead"), ["I looked around"]);

    continues_turn(&mut rig, "ada", "working");
    rig.send("ada", "lead", "found it").answer();
    ends_turn(&mut rig, "ada", "as I said");
    assert_eq!(rig.inbox("lead"), ["I looked around", "found it"]);
}

#[test]
fn the_lead_is_notified_once_that_all_are_idle() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(start("goal")).answer();
    continues_turn(&mut rig, "ada", "working");
    continues_turn(&mut rig, "lead", "planning");
    let ended_turn = ends_turn(&mut rig, "lead", "");
    assert_eq!(
        lead_notices(&ended_turn).len(),
        0,
        "the lead is notified while ada works"
    );
    let ended_turn = ends_turn(&mut rig, "ada", "");
    assert_eq!(lead_notices(&ended_turn).len(), 1);

    assert!(!rig.team.is_stalled(), "the lead has an unread message");
    continues_turn(&mut rig, "lead", "so what");
    let ended_turn = ends_turn(&mut rig, "lead", "");
    assert_eq!(
        lead_notices(&ended_turn).len(),
        0,
        "the lead was already notified"
    );
    assert!(rig.team.is_stalled());

    continues_turn(&mut rig, "ada", "working again");
    let ended_turn = ends_turn(&mut rig, "ada", "");
    assert_eq!(lead_notices(&ended_turn).len(), 1);
}

#[test]
fn idleness_without_a_run_is_not_reported() {
    let mut rig = Rig::of(file(&["ada"]));
    continues_turn(&mut rig, "ada", "working");
    let ended_turn = ends_turn(&mut rig, "ada", "");
    assert_eq!(lead_notices(&ended_turn).len(), 0);
}

#[test]
fn a_run_starts_with_the_given_memory() {
    let mut rig = Rig::of(file(&["ada"]));
    let remember = |key: &str, value: &str| Call::Remember {
        key: key.into(),
        value: value.into(),
    };
    rig.by("ada", remember("old", "1")).answer();
    let memory: Memory = [(Arc::from("style"), Arc::from("\"terse\""))].into();
    let call = Call::StartRun(NewRun {
        goal: "goal".into(),
        memory: memory.clone(),
        ..NewRun::default()
    });
    rig.user(call).answer();
    assert_eq!(*rig.team.memory(), memory);
    let long = "x".repeat(65 << 10);
    let refused = rig.by("ada", remember("big", &long)).refusal();
    assert!(matches!(refused, Refused::TooLarge { .. }));
    for n in 0..255 {
        rig.user_unchecked(remember(&format!("{n}"), "0"));
    }
    assert_eq!(
        rig.by("ada", remember("one more", "0")).refusal(),
        Refused::MemoryFull(256)
    );
    rig.by("ada", remember("7", "1")).answer();
}

#[test]
fn a_member_with_a_transcript_needs_a_process_scan() {
    let mut rig = Rig::of(file(&["ada"]));
    continues_turn(&mut rig, "ada", "running a command");
    rig.exits("ada");
    assert!(
        matches!(rig.life("ada"), Life::Ending { .. }),
        "remaining processes are not searched for first"
    );
}

fn cancel(reason: &str) -> Call {
    Call::CancelRun {
        reason: reason.into(),
    }
}

fn adds(rig: &mut Rig, member: &str, title: &str) -> TaskId {
    rig.by(
        member,
        Call::AddTask {
            spec: task_spec(title),
            after: Vec::new(),
            lines: Vec::new(),
        },
    )
    .task()
}

#[test]
fn cancelling_a_goal_cancels_tasks_added_by_members() {
    let mut rig = Rig::of(file(&["ada"]));
    let before = rig.add("Before");
    assert_eq!(rig.owner(before).as_deref(), Some("ada"));
    rig.user(start("goal")).answer();
    let pending = adds(&mut rig, "lead", "Pending");
    let users = rig.add("Users");
    let claim = rig.claim_of(before);
    rig.by(
        "ada",
        Call::CompleteTask {
            claim,
            result: "done".into(),
            hook: CompletionHook::NotRun,
        },
    )
    .answer();
    assert_eq!(rig.owner(pending).as_deref(), Some("ada"));
    let waiting = adds(&mut rig, "lead", "Waiting");
    let after = vec![After::Task(waiting)];
    let (spec, lines) = (task_spec("Publish"), Vec::new());
    rig.user(Call::AddTask { spec, after, lines }).answer();
    let cancelled = rig.user(cancel("wrong branch"));
    let blocked = |(to, text): &(Vec<Party>, &str)| {
        to.contains(&Party::User) && text.contains("T-4 blocks T-5")
    };
    assert!(
        cancelled.notices().iter().any(blocked),
        "no notice says that the user's task waits for a cancelled one"
    );
    let abandons =
        |effect: &Effect| matches!(effect, Effect::Abandon { task, .. } if *task == pending);
    assert!(
        cancelled.effects.iter().any(abandons),
        "ada is not told to abandon the task"
    );
    let tasks = vec![pending, waiting];
    let run = RunId(1);
    assert_eq!(cancelled.answer(), Answer::Cancelled { run, tasks });
    for task in [pending, waiting] {
        assert_eq!(rig.task(task).state, TaskState::Cancelled);
    }
    assert_eq!(
        rig.owner(users).as_deref(),
        Some("ada"),
        "ada loses the user's own task"
    );
    let inbox = rig.inbox("lead");
    let notified =
        |text: &String| text.contains("wrong branch") && text.contains(&pending.to_string());
    assert!(inbox.iter().any(notified), "{inbox:?}");
    let ended = rig.team.run().expect("there was a run");
    assert!(matches!(
        &ended.state,
        RunState::Failed { failure: RunFailure::Cancelled, reason, .. } if reason.contains("wrong branch")
    ));
    assert_eq!(
        rig.by("lead", finish("late", true)).refusal(),
        Refused::NoRun
    );
    assert_eq!(rig.user(cancel("")).refusal(), Refused::NoRun);
    rig.user(start("the next")).answer();
}

#[test]
fn a_stalled_run_can_be_replaced() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(start("one")).answer();
    for words in ["planning", "so what"] {
        continues_turn(&mut rig, "lead", words);
        ends_turn(&mut rig, "lead", "");
    }
    assert!(rig.team.is_stalled());
    assert_eq!(
        rig.user(start("two")).answer(),
        Answer::Run { run: RunId(2) }
    );
}

#[test]
fn a_run_reported_as_stuck_has_failed() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.user(start("one")).answer();
    let stuck = |run| Input::RunStuck {
        run,
        reason: "the lead is held".into(),
    };
    assert_eq!(rig.input(stuck(RunId(9))).events, []);
    rig.input(stuck(RunId(1)));
    assert!(rig.team.run().is_some_and(|run| !run.is_under_way()));
    assert_eq!(
        rig.input(stuck(RunId(1))).events,
        [],
        "a second report records events"
    );
    assert_eq!(
        rig.user(start("two")).answer(),
        Answer::Run { run: RunId(2) }
    );
}

fn informed_member(effect: &Effect) -> Option<&str> {
    if let Effect::SendAllowance { member } = effect {
        Some(member.as_str())
    } else {
        None
    }
}

/// The members that receive their allowance, each before any message.
fn informed(done: &Done) -> Vec<&str> {
    let is_message = |effect: &Effect| matches!(effect, Effect::Deliver { .. });
    let first = done.effects.iter().position(is_message);
    let (before, after) = done.effects.split_at(first.unwrap_or(done.effects.len()));
    assert_eq!(after.iter().find_map(informed_member), None);
    before.iter().filter_map(informed_member).collect()
}

#[test]
fn an_effort_applies_until_its_goal_ends() {
    const ALL: [&str; 3] = ["ada", "ben", "lead"];
    let mut spec = file(&["ada", "ben"]);
    for member in &mut spec.members {
        member.budget = Some(Budget::default());
    }
    let mut rig = Rig::of(spec);
    assert_eq!(rig.team.effort(), None);
    assert_eq!(informed(&rig.user(start_with(Effort::High))), ALL);
    assert_eq!(rig.team.effort(), Some(Effort::High));
    // Another goal with the same effort changes nothing for the members.
    assert_eq!(informed(&rig.user(start_with(Effort::High))), [""; 0]);
    assert_eq!(informed(&rig.user(start_with(Effort::Low))), ALL);
    assert_eq!(informed(&rig.by("lead", finish("done", true))), ALL);
    assert_eq!(rig.team.effort(), None);
    rig.user(start_with(Effort::Max)).answer();
    let cancel = Call::CancelRun { reason: "".into() };
    assert_eq!(informed(&rig.user(cancel)), ALL);
    assert_eq!(rig.team.effort(), None);
    assert_eq!(informed(&rig.user(start("without an effort"))), [""; 0]);
}
