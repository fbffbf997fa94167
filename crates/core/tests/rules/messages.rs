//! Recipients of messages, unread messages, questions to the user, and idempotency keys of calls.

use agent_team_core::input::{Call, TurnProgress};
use agent_team_core::mail::{INBOX_MAX, InboxCursor};
use agent_team_core::user_mail::UNREAD_MAX;
use agent_team_core::{Answer, Event, Refused, Team};
use agent_team_protocol::id::{MessageId, Party, Recipient};
use agent_team_protocol::value::MessageNote;

use crate::rig::{Rig, file, replayed};
use crate::specs::{name, task_spec};

fn parties(names: &[&str]) -> Vec<Party> {
    names.iter().map(|it| Party::Member(name(it))).collect()
}

fn recipients(answer: Answer) -> Vec<Party> {
    let Answer::Sent { to, .. } = answer else {
        panic!("not a message: {answer:?}");
    };
    to
}

#[test]
fn a_broadcast_skips_its_sender_and_stopped_members() {
    let mut rig = Rig::of(file(&["ada", "bob", "eve"]));
    rig.kill("eve");
    rig.dies("eve");
    let answer = rig.send("ada", "all", "hello").answer();
    assert_eq!(recipients(answer), parties(&["bob", "lead"]));
    assert_eq!(rig.inbox("bob"), ["hello"]);
    assert_eq!(rig.inbox("ada"), [""; 0]);
    assert_eq!(rig.inbox("eve"), [""; 0]);
}

#[test]
fn a_broadcast_is_atomic() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    fill(&mut rig, "bob");
    let before = rig.team.clone();
    assert_eq!(
        rig.send("ada", "all", "hello").refusal(),
        Refused::InboxFull(name("bob"))
    );
    assert_eq!(rig.team, before);
}

#[test]
fn a_notice_for_a_full_inbox_goes_to_the_user() {
    let mut rig = Rig::of(file(&["ada"]));
    fill(&mut rig, "lead");
    let task = rig.add("Build");
    let claim = rig.claim_of(task);
    let failed = rig.by(
        "ada",
        Call::FailTask {
            claim,
            reason: "no".into(),
        },
    );
    assert_eq!(failed.notices()[0].0, [Party::User]);
}

fn fill(rig: &mut Rig, member: &str) {
    for n in 0..INBOX_MAX {
        let to = member.parse().expect("a recipient");
        rig.user_unchecked(Call::Send {
            to,
            text: format!("{n}").into(),
            urgent: false,
            reply_to: None,
            note: Default::default(),
        });
    }
    assert_eq!(rig.member(member).inbox.len(), INBOX_MAX);
}

#[test]
fn a_message_to_an_unknown_member_is_refused() {
    let mut rig = Rig::of(file(&["ada"]));
    assert_eq!(
        rig.send("ada", "zoe", "hello").refusal(),
        Refused::UnknownMember("zoe".into())
    );
}

#[test]
fn unread_messages_survive_crashes() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.send("user", "ada", "one");
    rig.send("user", "ada", "two");
    let read = |n| Call::Read {
        messages: vec![MessageId(n)],
    };
    rig.by("ada", read(1)).answer();
    rig.dies("ada");
    rig.hello("ada");
    assert_eq!(rig.inbox("ada"), ["two"]);
    rig.by("ada", read(2)).answer();
    assert_eq!(rig.inbox("ada"), [""; 0]);
    assert_eq!(
        rig.by("ada", read(2)).events,
        [],
        "the message is already read"
    );
}

#[test]
fn a_message_named_twice_is_read_once() {
    let mut rig = Rig::of(file(&["ada"]));
    rig.send("user", "ada", "one");
    rig.send("user", "ada", "two");
    let call = Call::Read {
        messages: [2, 1, 2, 1].map(MessageId).to_vec(),
    };
    let read = Event::MessagesRead {
        member: name("ada"),
        messages: [1, 2].map(MessageId).to_vec(),
    };
    assert_eq!(rig.by("ada", call).events, [read]);
    assert_eq!(rig.inbox("ada"), [""; 0]);
}

#[test]
fn user_mail_is_unread_until_read_or_answered() {
    let mut rig = Rig::of(file(&["ada", "ben"]));
    rig.send("ada", "user", "which port?");
    rig.send("ben", "user", "which colour?");
    rig.send("ada", "user", "and which host?");
    let asks = |rig: &Rig, member: &str| rig.team.user_mail().newest_from(&name(member));
    assert_eq!(asks(&rig, "ada"), Some(MessageId(3)));
    assert_eq!(asks(&rig, "ben"), Some(MessageId(2)));

    let mut again = Team::default();
    again.extend(rig.team.snapshot());
    assert_eq!(again, rig.team, "a snapshot gives other unread messages");

    let read = Call::Read {
        messages: vec![MessageId(2), MessageId(9)],
    };
    rig.user(read.clone()).answer();
    assert_eq!((asks(&rig, "ben"), rig.team.user_mail().len()), (None, 2));
    assert_eq!(rig.user(read).events, [], "the messages are already read");

    rig.send("user", "ada", "8080 on localhost");
    assert_eq!(
        asks(&rig, "ada"),
        None,
        "an answer leaves the message unread"
    );
    assert!(rig.team.user_mail().is_empty());
    let mut again = Team::default();
    again.extend(rig.team.snapshot());
    assert_eq!(again, rig.team);
}

fn ask_user(rig: &mut Rig, member: &str, text: &str) {
    let note = MessageNote {
        wants_reply: true,
        ..MessageNote::default()
    };
    let ask = Call::Send {
        to: Recipient::User,
        text: text.into(),
        urgent: false,
        reply_to: None,
        note,
    };
    rig.by(member, ask).answer();
}

fn has_question(rig: &Rig, member: &str) -> bool {
    let mut again = Team::default();
    again.extend(rig.team.snapshot());
    assert_eq!(again, rig.team, "a snapshot gives other questions");
    rig.team.user_mail().question_of(&name(member)).is_some()
}

#[test]
fn a_question_to_the_user_is_open_until_answered() {
    let mut rig = Rig::of(file(&["ada", "ben"]));
    ask_user(&mut rig, "ada", "which port?");
    let read = Call::Read {
        messages: vec![MessageId(1)],
    };
    rig.user(read).answer();
    assert!(has_question(&rig, "ada"), "reading answers the question");
    rig.send("user", "ben", "hello");
    rig.send("user", "all", "hello");
    assert!(has_question(&rig, "ada"));
    rig.send("user", "ada", "8080");
    assert!(!has_question(&rig, "ada"));
}

#[test]
fn an_unread_message_is_not_a_question() {
    let mut rig = Rig::of(file(&["ada"]));
    ask_user(&mut rig, "ada", "which port?");
    assert_eq!(
        rig.team.unread_from(&name("ada")),
        None,
        "the question counts as a message"
    );
    rig.send("ada", "user", "half of it is done");
    assert_eq!(rig.team.unread_from(&name("ada")), Some(MessageId(2)));
    rig.send("user", "ada", "8080");
    assert_eq!(rig.team.unread_from(&name("ada")), None);
    rig.send("ada", "user", "all of it is done");
    assert_eq!(rig.team.user_question_of(&name("ada")), None);
    assert_eq!(rig.team.unread_from(&name("ada")), Some(MessageId(4)));
}

#[test]
fn a_question_ends_with_the_turn_of_its_member() {
    let mut rig = Rig::of(file(&["ada"]));
    let append = |rests: Option<&str>| {
        Call::Append(TurnProgress {
            items: vec!["{}".into()],
            turn_end: rests.map(Into::into),
            failure: rests.map(Into::into),
            ..TurnProgress::default()
        })
    };
    rig.by("ada", append(None)).answer();
    ask_user(&mut rig, "ada", "which port?");
    ask_user(&mut rig, "ada", "which host?");
    assert_eq!(
        rig.team.user_mail().questions().count(),
        1,
        "an older question is kept"
    );
    rig.by("ada", append(None)).answer();
    assert!(has_question(&rig, "ada"));
    rig.by("ada", append(Some("it repeats itself"))).answer();
    assert!(!has_question(&rig, "ada"));

    let failure = |rig: &Rig| rig.member("ada").turn_failure.clone();
    assert_eq!(failure(&rig).as_deref(), Some("it repeats itself"));
    rig.by("ada", append(None)).answer();
    assert_eq!(failure(&rig), None, "the next turn has begun");
}

#[test]
fn a_question_of_a_stopped_member_is_hidden() {
    let mut rig = Rig::of(file(&["ada"]));
    ask_user(&mut rig, "ada", "which port?");
    assert_eq!(rig.team.user_questions().count(), 1);
    rig.kill("ada");
    rig.dies("ada");
    assert_eq!(rig.team.user_questions().count(), 0);
    assert_eq!(rig.team.unread_from(&name("ada")), None);
    assert!(
        has_question(&rig, "ada"),
        "the question is lost before the next launch"
    );
}

#[test]
fn unread_user_mail_is_bounded() {
    let mut rig = Rig::of(file(&["ada"]));
    for _ in 0..=UNREAD_MAX {
        rig.send("ada", "user", "hello");
    }
    let mail = rig.team.user_mail();
    assert_eq!(mail.len(), UNREAD_MAX);
    assert!(!mail.is_unread(MessageId(1)) && mail.is_unread(MessageId(2)));
}

#[test]
fn a_repeated_call_gets_the_first_answer() {
    let mut rig = Rig::of(file(&["ada"]));
    let call = Call::Send {
        to: Recipient::Member(name("ada")),
        text: "hello".into(),
        urgent: false,
        reply_to: None,
        note: Default::default(),
    };
    let first = rig.user_keyed("k1", 1, call.clone());
    assert!(!first.events.is_empty());
    let first = first.answer();
    rig.resume();
    let second = rig.user_keyed("k1", 1, call);
    assert!(second.events.is_empty());
    assert_eq!(
        second.effects.len(),
        1,
        "the repeated call has other effects than the reply"
    );
    assert_eq!(second.answer(), first);
    assert_eq!(rig.inbox("ada"), ["hello"]);
}

#[test]
fn a_reused_key_is_refused() {
    let mut rig = Rig::of(file(&["ada"]));
    let call = Call::Send {
        to: Recipient::Member(name("ada")),
        text: "hello".into(),
        urgent: false,
        reply_to: None,
        note: Default::default(),
    };
    rig.user_keyed("k1", 1, call.clone()).answer();
    assert_eq!(
        rig.user_keyed("k1", 2, call).refusal(),
        Refused::KeyReused("k1".into())
    );
}

#[test]
fn answers_of_idle_clients_are_dropped_for_a_new_client() {
    let mut rig = Rig::of(file(&["ada"]));
    let call = || Call::Send {
        to: Recipient::Member(name("ada")),
        text: "hello".into(),
        urgent: false,
        reply_to: None,
        note: Default::default(),
    };
    let first = rig.client_keyed("away", "k1", call()).answer();
    rig.client_keyed("here", "k1", call()).answer();
    rig.wait(700_000);
    // The rig compares the snapshot with the state, so this test also checks the answers in a snapshot.
    rig.client_keyed("here", "k2", call()).answer();
    assert_eq!(rig.client_keyed("away", "k1", call()).answer(), first);
    rig.client_keyed("new", "k1", call()).answer();
    assert_ne!(rig.client_keyed("away", "k1", call()).answer(), first);
}

/// The first answer may be lost with the supervisor that the reboot ended, so the client repeats the call.
#[test]
fn a_call_repeated_after_a_reboot_gets_its_first_answer() {
    let mut rig = Rig::of(file(&["ada"]));
    let call = || Call::AddTask {
        spec: task_spec("Build"),
        after: Vec::new(),
        lines: Vec::new(),
    };
    let first = rig.client_keyed("tui", "k1", call()).answer();
    rig.reboot();
    assert_eq!(rig.client_keyed("tui", "k1", call()).answer(), first);
    rig.wait(700_000);
    rig.client_keyed("new", "k1", call()).answer();
    assert_ne!(rig.client_keyed("tui", "k1", call()).answer(), first);
}

#[test]
fn a_refused_call_can_be_repeated() {
    let mut rig = Rig::of(file(&[]));
    let call = Call::Send {
        to: Recipient::Member(name("ada")),
        text: "hello".into(),
        urgent: false,
        reply_to: None,
        note: Default::default(),
    };
    rig.user_keyed("k1", 1, call.clone()).refusal();
    rig.up(file(&["ada"])).answer();
    rig.user_keyed("k1", 1, call).answer();
}

#[test]
fn queued_messages_keep_their_lane_when_the_lead_changes() {
    let mut rig = Rig::of(file(&["ada", "bob"]));
    rig.send("bob", "ada", "from a peer");
    rig.send("lead", "ada", "from the lead");
    let mut spec = file(&["ada", "bob"]);
    spec.members[0].lead = false;
    spec.members[0].name = name("former");
    spec.members[1].lead = true;
    rig.up(spec).answer();
    rig.dies("lead");

    // The rig has compared snapshots after each input; the loop checks the order in which a member receives messages.
    let rebuilt = replayed(&rig.team.snapshot());
    for team in [&rig.team, &rebuilt] {
        let inbox = &team.member(&name("ada")).expect("ada").inbox;
        let first = InboxCursor::default().next(inbox).expect("two messages");
        assert_eq!(&*first.1.text, "from the lead");
    }
}

#[test]
fn an_overlong_text_is_refused() {
    let mut rig = Rig::of(file(&["ada"]));
    let long = "x".repeat((64 << 10) + 1);
    assert!(matches!(
        rig.send("ada", "lead", &long).refusal(),
        Refused::TooLarge { .. }
    ));
    rig.send("ada", "lead", &long[1..]).answer();
}
