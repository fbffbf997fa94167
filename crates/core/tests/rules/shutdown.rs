//! Stop requests: a busy member may object. A member that does not answer in time is stopped; `--force`, `down`,
//! `kill` and `up` do not wait for an answer.

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, ClaimRef, TurnProgress};
use agent_team_core::member::{ANSWER_MS, GRACE_MS, Life};
use agent_team_core::{Answer, Refused};

use crate::rig::{Rig, file};
use crate::specs::name;

fn stop(member: &str, force: bool) -> Call {
    Call::Stop {
        member: name(member),
        force,
    }
}

fn answer(objection: Option<&str>) -> Call {
    Call::AnswerStop {
        objection: objection.map(Into::into),
    }
}

/// A team in which ada is in a turn.
fn team() -> Rig {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    turn(&mut rig, None);
    rig
}

fn turn(rig: &mut Rig, last_text: Option<&str>) {
    let progress = TurnProgress {
        items: vec!["{}".into()],
        turn_end: last_text.map(Into::into),
        ..TurnProgress::default()
    };
    rig.by("ada", Call::Append(progress)).answer();
}

fn is_asked(rig: &Rig) -> bool {
    matches!(rig.life("ada"), Life::StopRequested { .. })
}

fn is_draining(rig: &Rig) -> bool {
    matches!(rig.life("ada"), Life::Draining { .. })
}

#[test]
fn a_busy_member_may_object_to_a_stop() {
    let mut rig = team();
    rig.by("lead", stop("ada", false)).answer();
    assert!(is_asked(&rig));
    let asked = rig.inbox("ada");
    assert!(asked[0].starts_with("lead asks you to stop"), "{asked:?}");
    let objected = rig.by("ada", answer(Some("half of it is written")));
    let notice = objected.notices().pop().map(|(_, text)| text.to_owned());
    assert_eq!(
        notice.as_deref(),
        Some("ada objects to the stop: half of it is written")
    );
    assert!(rig.is_ready("ada"));
    assert!(rig.inbox("ada").is_empty(), "the request is unread");
    let why = rig.member("ada").objection.clone();
    assert_eq!(why.as_deref(), Some("half of it is written"));

    // The first objection does not answer a second request.
    rig.user(stop("ada", false)).answer();
    assert!(is_asked(&rig) && rig.member("ada").objection.is_none());
    rig.by("ada", answer(None)).answer();
    assert!(is_draining(&rig));
    rig.dies("ada");
    assert!(rig.member("ada").is_stopped());
}

#[test]
fn an_unanswered_stop_request_stops_the_member() {
    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    rig.resume();
    rig.wait(ANSWER_MS - 1);
    assert!(is_asked(&rig), "a new supervisor does not continue to wait");
    rig.wait(1);
    assert!(is_draining(&rig));
    assert!(rig.inbox("ada").is_empty(), "a later launch is asked");
    rig.wait(GRACE_MS);
    assert!(matches!(rig.life("ada"), Life::Ending { .. }));
    rig.tree_is_gone("ada");
    assert!(rig.member("ada").is_stopped());
}

#[test]
fn the_end_of_the_turn_accepts_a_stop_request() {
    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    turn(&mut rig, Some("done"));
    assert!(is_draining(&rig));
}

#[test]
fn an_idle_member_is_stopped_without_a_request() {
    let mut rig = team();
    turn(&mut rig, Some("done"));
    rig.user(stop("ada", false)).answer();
    assert!(is_draining(&rig));
    rig.user(stop("bob", false)).answer();
    assert!(matches!(rig.life("bob"), Life::Draining { .. }));
}

#[test]
fn only_the_user_forces_a_stop() {
    let mut rig = team();
    let refusal = rig.by("lead", stop("ada", true)).refusal();
    assert!(matches!(refusal, Refused::NotPermitted(_)));
    rig.user(stop("ada", true)).answer();
    assert!(is_draining(&rig));

    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    rig.user(stop("ada", false)).answer();
    assert!(is_asked(&rig), "a second stop ends the wait for the answer");
    assert_eq!(rig.inbox("ada").len(), 1);
    rig.user(stop("ada", true)).answer();
    assert!(is_draining(&rig));
}

#[test]
fn down_and_kill_do_not_wait_for_an_answer() {
    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    rig.user(Call::Down { force: false }).answer();
    assert!(is_draining(&rig));
    let mut rig = team();
    rig.user(Call::Down { force: false }).answer();
    assert!(is_draining(&rig), "the member does not stop at once");

    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    rig.kill("ada");
    assert!(matches!(rig.life("ada"), Life::Ending { .. }));
}

#[test]
fn a_crash_before_the_answer_still_stops_the_member() {
    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    rig.dies("ada");
    assert!(rig.member("ada").is_stopped());

    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    rig.reboot();
    assert!(rig.member("ada").is_stopped());
}

#[test]
fn a_member_asked_to_stop_gets_no_tasks() {
    let mut rig = team();
    rig.kill("bob");
    rig.dies("bob");
    rig.user(stop("ada", false)).answer();
    let task = rig.add("Build");
    assert!(rig.is_pending(task));
    let claim = Call::ClaimTask { task: Some(task) };
    let stopping = Refused::MemberStopping(name("ada"));
    assert_eq!(rig.by("ada", claim).refusal(), stopping);
    rig.by("ada", answer(Some("not yet"))).answer();
    assert_eq!(
        rig.owner(task).as_deref(),
        Some("ada"),
        "the member does not continue its work"
    );
    // A member that was asked to stop may still release its task.
    rig.user(stop("ada", false)).answer();
    let claim: ClaimRef = rig.claim_of(task);
    let release = Call::ReleaseTask {
        claim,
        note: "half done".into(),
    };
    rig.by("ada", release).answer();
}

#[test]
fn only_the_asked_member_answers_a_stop_request() {
    let mut rig = team();
    let refusal = rig.by("ada", answer(Some("no"))).refusal();
    assert_eq!(refusal, Refused::NoStopRequest);
    rig.user(stop("ada", false)).answer();
    assert_eq!(
        rig.by("bob", answer(None)).refusal(),
        Refused::NoStopRequest
    );
    assert!(matches!(
        rig.user(answer(None)).refusal(),
        Refused::MemberOnly
    ));
    assert_eq!(rig.by("ada", answer(None)).answer(), Answer::Done);
}

#[test]
fn up_during_a_stop_request_restarts_the_member() {
    let mut rig = team();
    rig.user(stop("ada", false)).answer();
    rig.up(file(&["ada", "bob"])).answer();
    rig.dies("ada");
    rig.hello("ada");
    assert!(rig.is_ready("ada"));
}

#[test]
fn a_stopping_member_shows_which_party_asked() {
    let reason = |by_user: bool| {
        let mut rig = Rig::of(file(&["ada", "bob"]));
        let stopped = match by_user {
            true => rig.user(stop("bob", false)),
            false => rig.by("lead", stop("bob", false)),
        };
        let mut effects = stopped.effects.iter();
        effects.find_map(|effect| {
            if let Effect::RequestStop { reason, .. } = effect {
                Some(reason.to_string())
            } else {
                None
            }
        })
    };
    assert_eq!(reason(true).as_deref(), Some("bob was stopped"));
    assert_eq!(reason(false).as_deref(), Some("bob was stopped by lead"));
}
