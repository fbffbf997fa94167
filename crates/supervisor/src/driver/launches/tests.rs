//! Tests of connections, deliveries and panes. Queues replace the sockets.

use agent_team_core::{Call, Origin};
use agent_team_protocol::Recipient;
use agent_team_protocol::notification::Allowance;
use agent_team_protocol::value::MessageNote;

use super::super::testing::{Frames, TestTeam, caller, name};
use super::*;

fn send(team: &mut TestTeam, text: &str) {
    let call = Call::Send {
        to: Recipient::Member(name("ada")),
        text: text.into(),
        urgent: false,
        reply_to: None,
        note: MessageNote::default(),
    };
    team.call(Origin::User, call).unwrap();
}

fn deliver(team: &mut TestTeam) {
    let ada = team.team.member(&name("ada")).unwrap();
    team.launches.deliver(ada, team.now);
}

/// The texts of the next delivery, and whether each is marked as redelivered.
fn delivered(frames: &mut Frames) -> Vec<(String, bool)> {
    let Some(frame) = frames.next() else {
        return Vec::new();
    };
    let messages = frame["params"]["messages"].as_array().unwrap().iter();
    messages
        .map(|message| {
            let redelivered = message["redelivered"].as_bool().unwrap_or(false);
            (message["text"].as_str().unwrap().to_owned(), redelivered)
        })
        .collect()
}

#[test]
fn a_new_connection_marks_messages_offered_before() {
    let mut team = TestTeam::of(&["ada"]);
    let mut frames = team.hello("ada", 7);
    send(&mut team, "one");
    deliver(&mut team);
    deliver(&mut team);
    assert_eq!(delivered(&mut frames), [("one".to_owned(), false)]);
    assert!(
        frames.next().is_none(),
        "a message is offered twice over a connection"
    );
    let mut again = team.hello("ada", 7);
    send(&mut team, "two");
    deliver(&mut team);
    let expected = [("one".to_owned(), true), ("two".to_owned(), false)];
    assert_eq!(delivered(&mut again), expected);
    let restarted = Launches::new(&team.team);
    assert_eq!(
        restarted.newest_offered.len(),
        1,
        "an unread message does not count as offered"
    );
}

#[test]
fn a_wait_ends_with_its_connection() {
    let mut team = TestTeam::of(&["ada"]);
    let _frames = team.hello("ada", 7);
    let launch = team.launch_of("ada");
    let wait = || {
        Some(Waiting::Reply {
            what: "a message".into(),
        })
    };
    team.launches.set_waiting(&launch, wait(), Tick(1_000));
    let connection = team.launches.get(&launch).unwrap().connection.as_ref();
    let connection = connection.unwrap().id;
    assert!(team.launches.detach(&launch, connection));
    let runtime = team.launches.get(&launch).unwrap();
    assert_eq!(runtime.waiting_since(), None);
}

#[test]
fn a_reconnected_worker_is_not_detached_by_its_old_connection() {
    let mut team = TestTeam::of(&["ada"]);
    let (launch, ada) = (team.launch_of("ada"), name("ada"));
    let old = team.hello("ada", 7);
    let process = ProcessId {
        pid: 7,
        start_time: 1,
    };
    let (outbox, _frames) = Frames::pair();
    team.launches.attach(&ada, &launch, 8, process, outbox);
    assert!(!team.launches.detach(&launch, 7));
    assert!(team.launches.get(&launch).unwrap().is_connected());
    drop(old);
    assert!(team.launches.detach(&launch, 8));
    assert_eq!(team.launches.connected().count(), 0);
}

#[test]
fn an_early_hello_waits_for_the_start_report() {
    let mut team = TestTeam::of(&["ada"]);
    let (launch, ada) = (team.launch_of("ada"), name("ada"));
    let hello = |connection| Hello {
        launch: team.launch_of("ada"),
        token: String::new(),
        process: ProcessId {
            pid: 7,
            start_time: 1,
        },
        protocol: 1,
        connection,
        admission_tx: tokio::sync::oneshot::channel().0,
        reply: caller().0,
    };
    let (first, second, late) = (hello(1), hello(2), hello(3));
    team.launches.ordered(&ada, &launch);
    assert!(team.launches.keep_early(first).is_none());
    assert!(team.launches.keep_early(second).is_none());
    let kept = team.launches.start_reported(&launch).unwrap();
    assert_eq!(kept.connection, 2, "an earlier hello counts");
    assert!(team.launches.keep_early(late).is_some());
    assert!(team.launches.start_reported(&launch).is_none());
}

#[test]
fn a_sent_frame_sets_a_timer_that_a_received_frame_ends() {
    let mut team = TestTeam::of(&["ada"]);
    let (launch, ada) = (team.launch_of("ada"), name("ada"));
    let mut frames = team.hello("ada", 7);
    assert_eq!(team.launches.timers().count(), 0);
    let allowance = Allowance {
        as_of: team.team.revision(),
        waits: None,
        effort: None,
    };
    team.launches
        .notify(&team.team, &ada, &allowance, Tick(1_000));
    assert!(frames.next().is_some());
    let timers: Vec<_> = team.launches.timers().collect();
    assert_eq!(timers, [(Tick(6_000), Timer::Ping(&launch))]);
    assert!(team.launches.check_liveness(Tick(6_000)).is_empty());
    assert_eq!(frames.next().unwrap()["method"], "member/ping");
    team.launches.note_activity(&launch);
    assert_eq!(team.launches.timers().count(), 0);
}

#[test]
fn a_pane_belongs_to_the_member_whose_process_runs_in_it() {
    let mut team = TestTeam::of(&["ada"]);
    let launch = team.launch_of("ada");
    let _frames = team.hello("ada", 7);
    let found = |member: &str, pid| FoundPane {
        member: name(member),
        pid,
        id: "%1".to_owned(),
        placement: Placement::Tmux,
    };
    let assign = |team: &mut TestTeam, found| team.launches.assign_pane(&team.team, found);
    assert_eq!(assign(&mut team, found("nobody", 7)), None);
    assert_eq!(assign(&mut team, found("ada", 8)), None);
    assert_eq!(assign(&mut team, found("ada", 7)), Some(name("ada")));
    let runtime = team.launches.get(&launch).unwrap();
    assert_eq!(runtime.placement(), Some(Placement::Tmux));
    let helper = ProcessId {
        pid: 8,
        start_time: 1,
    };
    assert!(team.launches.set_attach_helper(&launch, helper));
    assert_eq!(team.launches.get(&launch).unwrap().pane(), None);
    assert_eq!(assign(&mut team, found("ada", 8)), Some(name("ada")));
    assert_eq!(team.launches.lose_pane(&launch), Some(name("ada")));
    let runtime = team.launches.get(&launch).unwrap();
    assert_eq!(runtime.placement(), Some(Placement::Headless));
    assert!(runtime.pane().is_none() && runtime.attach_helper().is_none());
}
