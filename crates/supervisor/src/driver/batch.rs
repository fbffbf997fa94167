//! Events and follow-up work collected for the next commit. Called by the driver.

use agent_team_core::{Effect, Event, Origin, Record, TranscriptItems, Transition};
use agent_team_protocol::{MemberName, Party, Revision};
use agent_team_store::{Archived, Batch};
use agent_team_system::planted::{self, Plant};

use super::launches::Hello;
use super::request::Query;
use crate::outbox::Reply;
use crate::view;

/// The batch that the driver collects while it takes inputs.
#[derive(Debug, Default)]
pub(super) struct NextBatch {
    records: Vec<Record>,
    archived: Vec<Archived>,
    transcript_items: Vec<TranscriptItems>,
    follow_up: FollowUp,
    urgent: bool,
}

/// Work to do, in order, once a batch is stored.
#[derive(Debug, Default)]
pub(super) struct FollowUp {
    pub(super) work: Vec<PostCommit>,
    /// The number of events in the batch.
    pub(super) records: usize,
    /// Whether the batch contains an event that may change member views or pane borders. Two events do not count: a
    /// message that is neither from nor to the user, and the record that a member has read messages.
    pub(super) visible: bool,
}

#[derive(Debug)]
pub(super) enum PostCommit {
    Effect(Effect),
    /// A query to answer from the stored state.
    Read {
        by: Origin,
        reply: Reply,
        query: Query,
    },
    Welcome(Hello),
    /// Offer the member further messages: its connection may have room for more messages now.
    DeliverMessages(MemberName),
}

impl NextBatch {
    /// Adds the result of one input.
    pub(super) fn add(&mut self, transition: Transition) {
        self.follow_up.visible |= transition
            .records
            .iter()
            .any(|record| is_visible(&record.event));
        self.follow_up.records += transition.records.len();
        self.records.extend(transition.records);
        self.transcript_items.extend(transition.transcript_items);
        let effects = transition.effects.into_iter();
        self.follow_up.work.extend(effects.map(PostCommit::Effect));
        let archived = transition.completed.iter().map(|completed| Archived {
            task: completed.task.id,
            view: serde_json::to_string(&view::completed(completed))
                .expect("task views have string keys"),
        });
        self.archived.extend(archived);
    }

    /// Adds work to do once the batch is stored.
    pub(super) fn then(&mut self, work: PostCommit) {
        self.follow_up.work.push(work);
    }

    /// Marks the batch as urgent. It must then be stored even on a full disk, and the store may use its reserve file
    /// for it.
    pub(super) fn set_urgent(&mut self) {
        self.urgent = true;
    }

    /// Whether the batch contains no event. Such a batch needs no commit.
    pub(super) fn is_empty(&self) -> bool {
        self.records.is_empty()
    }

    /// Converts this into the batch for the store and its follow-up work. `revision` is the team's revision after the
    /// events of this batch.
    pub(super) fn seal(
        mut self,
        revision: Revision,
        snapshot: Option<Vec<Record>>,
    ) -> (Batch, FollowUp) {
        for record in &mut self.records {
            if let Event::MessageAccepted { to, .. } = &mut record.event
                && planted::strikes(Plant::LostMessage, 5)
            {
                to.clear();
            }
        }
        let batch = Batch {
            first: Revision(revision.0 + 1 - self.records.len() as u64),
            snapshot,
            records: self.records,
            archived: self.archived,
            transcript_items: self.transcript_items,
            urgent: self.urgent,
        };
        (batch, self.follow_up)
    }

    pub(super) fn into_follow_up(self) -> FollowUp {
        self.follow_up
    }
}

impl FollowUp {
    /// The work in the order in which it is done. Effects come before replies: a caller that has its answer may rely on
    /// the effect, for example that a killed member's processes are being ended. If the supervisor dies in between, the
    /// caller repeats the call with the same key and gets the stored answer.
    pub(super) fn in_order(self) -> impl Iterator<Item = PostCommit> {
        let is_action = |work: &mut PostCommit| matches!(work, PostCommit::Effect(effect) if !matches!(effect, Effect::Reply { .. }));
        let mut rest = self.work;
        let actions: Vec<PostCommit> = rest.extract_if(.., is_action).collect();
        actions.into_iter().chain(rest)
    }
}

fn is_visible(event: &Event) -> bool {
    if let Event::MessageAccepted { from, to, .. } = event {
        // Pane borders show whether a member asks the user.
        return *from == Party::User || to.contains(&Party::User);
    }
    !matches!(event, Event::MessagesRead { .. })
}

#[cfg(test)]
mod tests {
    use agent_team_core::{Answer, Call, Input, InputContext, ReplyTo};
    use agent_team_protocol::Recipient;
    use agent_team_protocol::value::MessageNote;

    use super::super::testing::{TestTeam, name};
    use super::*;

    fn advance(team: &mut TestTeam, by: Origin, call: Call) -> Transition {
        let context = InputContext {
            now: team.now,
            wall: 0,
            seed: [7; 32],
        };
        let input = Input::Called {
            by,
            key: None,
            reply: ReplyTo(0),
            call: Box::new(call),
        };
        team.team.advance(&context, input)
    }

    fn send(to: Recipient) -> Call {
        Call::Send {
            to,
            text: "hello".into(),
            urgent: false,
            reply_to: None,
            note: MessageNote::default(),
        }
    }

    #[test]
    fn effects_come_before_replies_and_keep_their_order() {
        let reply = |number| Effect::Reply {
            to: ReplyTo(number),
            outcome: Ok(Answer::Done),
        };
        let close = |member| Effect::ClosePane {
            member: name(member),
        };
        let mut batch = NextBatch::default();
        batch.add(Transition {
            effects: vec![reply(1), close("ada"), reply(2)],
            ..Transition::default()
        });
        batch.then(PostCommit::DeliverMessages(name("ada")));
        batch.add(Transition {
            effects: vec![close("bob")],
            ..Transition::default()
        });
        assert!(batch.is_empty(), "a batch without events is not empty");
        let shown = batch.into_follow_up().in_order();
        let shown: Vec<String> = shown
            .map(|work| match work {
                PostCommit::Effect(Effect::Reply { to, .. }) => format!("reply {}", to.0),
                PostCommit::DeliverMessages(member) => format!("deliver to {member}"),
                PostCommit::Effect(effect) => format!("{effect:?}"),
                PostCommit::Read { .. } | PostCommit::Welcome(_) => unreachable!(),
            })
            .collect();
        let actions = [format!("{:?}", close("ada")), format!("{:?}", close("bob"))];
        assert_eq!(shown[..2], actions);
        assert_eq!(shown[2..], ["reply 1", "reply 2", "deliver to ada"]);
    }

    #[test]
    fn a_batch_starts_after_the_stored_events() {
        let mut team = TestTeam::of(&["ada"]);
        let stored = team.team.revision();
        let mut batch = NextBatch::default();
        batch.add(advance(&mut team, Origin::User, send(Recipient::All)));
        batch.set_urgent();
        let (batch, follow_up) = batch.seal(team.team.revision(), None);
        assert_eq!(batch.first, Revision(stored.0 + 1));
        assert_eq!(batch.records.len(), follow_up.records);
        assert!(batch.urgent && !follow_up.work.is_empty());
    }

    #[test]
    fn messages_between_members_change_no_view() {
        let mut team = TestTeam::of(&["ada", "bob"]);
        let _frames = team.hello("ada", 7);
        let ada = team.origin("ada");
        let mut visible = |to| {
            let mut batch = NextBatch::default();
            batch.add(advance(&mut team, ada.clone(), send(to)));
            assert!(!batch.is_empty());
            batch.into_follow_up().visible
        };
        assert!(!visible(Recipient::Member(name("bob"))));
        assert!(visible(Recipient::User));
    }
}
