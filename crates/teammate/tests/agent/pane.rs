//! Tests of an agent's pane: its output and the user's input, with the real program in a real terminal.

use agent_team_protocol::initialize::ConnectionRole;
use agent_team_protocol::method::{
    MemberExit, MessageSend, SendAnswer, TeamShow, TranscriptAppend, TranscriptPage, TranscriptRead,
};
use agent_team_protocol::notification::{Deliver, DeliveredMessage};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::{MessageId, Party, Recipient};

use crate::rig::ScriptedSupervisor;
use crate::scene::{launch_file, stored, team_view};

#[tokio::test]
async fn a_typed_line_is_a_message_to_this_member() {
    let supervisor = ScriptedSupervisor::new();
    let recording = supervisor.path("recording");
    std::fs::write(&recording, "{\"recording\":\"agent-team\",\"version\":1}\n").unwrap();
    let agent = AgentSpec {
        model: Some(format!("replay:{}", recording.display())),
        ..AgentSpec::default()
    };
    let (_worker, mut pane) = supervisor.in_pane_for(&launch_file(&supervisor, agent));
    let mut member = supervisor.member(None).await;
    let read = member.asked::<TranscriptRead>().await;
    let nothing = TranscriptPage {
        items: Vec::new(),
        more: false,
    };
    member.answer(&read, &nothing).await;
    let shown = member.asked::<TeamShow>().await;
    member.answer(&shown, &team_view(&supervisor)).await;
    pane.shows("ada ▸ ").await;
    pane.type_in("look at main.rs\r").await;

    let (mut client, initialize) = supervisor.accept().await;
    assert_eq!(initialize.role, ConnectionRole::Client);
    client.welcome_client().await;
    let sent = client.asked::<MessageSend>().await;
    assert_eq!(sent.call.team, Some(TeamRef::Id(supervisor.team())));
    assert_eq!(sent.args().to, Recipient::Member("ada".parse().unwrap()));
    assert_eq!(sent.args().text, "look at main.rs");
    let answer = SendAnswer {
        id: MessageId(1),
        to: Vec::new(),
        only_shown: Vec::new(),
        in_turn: Vec::new(),
        after_turn: Vec::new(),
        in_or_after_turn: Vec::new(),
    };
    client.answer(&sent, &answer).await;
    let message = DeliveredMessage {
        id: MessageId(1),
        from: Party::User,
        text: "look at main.rs".into(),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        can_wait: false,
        redelivered: false,
        attach_outside: false,
    };
    member
        .notify(&Deliver {
            messages: vec![message],
        })
        .await;
    pane.shows("✉ you:\u{1b}[m look at main.rs").await;
    pane.shows("ada ▸ ").await;
    let append = member.asked::<TranscriptAppend>().await;
    assert_eq!(append.args().read, [MessageId(1)]);
    member.answer(&append, &stored(1)).await;
    // The model fails because the recording is empty. A restart would not help.
    pane.shows("✗ ").await;
    let report = member.asked::<MemberExit>().await;
    assert!(report.args().hold, "{:?}", report.args());
}
