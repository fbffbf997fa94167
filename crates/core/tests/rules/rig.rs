//! One team without a supervisor: the clock moves only when a test moves it, and effects are returned but do not run.
//!
//! After every input, except those of [`Rig::user_unchecked`], the rig rebuilds the team from its journal and from a
//! snapshot. So every test of a rule also tests replay.

use std::sync::Arc;

use agent_team_core::effect::Effect;
use agent_team_core::input::{Call, ClaimRef, Input, Origin, ProcessExit, ReplyTo, UpSpec};
use agent_team_core::member::{Life, Member};
use agent_team_core::spec::TaskSpec;
use agent_team_core::task::{Task, TaskState};
use agent_team_core::time::{InputContext, Tick};
use agent_team_core::{Answer, CallKey, Caller, Event, Record, Refused, Team};
use agent_team_protocol::id::{Generation, LaunchId, Party, Recipient, TaskId};
use agent_team_protocol::value::ProcessStamp;

use crate::specs::{member_spec, name, task_spec, team_spec};

pub(crate) struct Rig {
    pub(crate) team: Team,
    pub(crate) now: Tick,
    boot: u32,
    journal: Vec<Record>,
}

/// The result of one input.
pub(crate) struct Done {
    /// The reply to the caller, if there was one.
    pub(crate) outcome: Option<Result<Answer, Refused>>,
    pub(crate) events: Vec<Event>,
    pub(crate) effects: Vec<Effect>,
}

impl Done {
    pub(crate) fn answer(self) -> Answer {
        match self.outcome {
            Some(Ok(answer)) => answer,
            other => panic!("not an answer: {other:?}"),
        }
    }

    pub(crate) fn refusal(self) -> Refused {
        match self.outcome {
            Some(Err(refused)) => {
                assert_eq!(self.events, [], "a refusal records events");
                refused
            }
            other => panic!("not a refusal: {other:?}"),
        }
    }

    pub(crate) fn task(self) -> TaskId {
        let Answer::Task { task, .. } = self.answer() else {
            panic!("not a task");
        };
        task
    }

    pub(crate) fn launches(&self) -> Vec<&str> {
        let launched = self.effects.iter().filter_map(|effect| {
            if let Effect::Launch { member, .. } = effect {
                Some(member.as_str())
            } else {
                None
            }
        });
        launched.collect()
    }

    /// The notices that this input caused, with their recipients.
    pub(crate) fn notices(&self) -> Vec<(Vec<Party>, &str)> {
        let notices = self.events.iter().filter_map(|event| {
            if let Event::MessageAccepted {
                from: Party::System,
                to,
                text,
                ..
            } = event
            {
                Some((to.clone(), &**text))
            } else {
                None
            }
        });
        notices.collect()
    }
}

impl Rig {
    /// A team whose members are all ready.
    pub(crate) fn of(spec: UpSpec) -> Self {
        let mut rig = Self::planned(spec);
        let names: Vec<String> = rig
            .team
            .members()
            .map(|m| m.spec.name.to_string())
            .collect();
        for name in names {
            rig.hello(&name);
        }
        rig
    }

    /// A team that was brought up, before any worker has connected.
    pub(crate) fn planned(spec: UpSpec) -> Self {
        let mut rig = Self {
            team: Team::default(),
            now: Tick(1_000_000),
            boot: 1,
            journal: Vec::new(),
        };
        rig.resume();
        rig.up(spec).answer();
        rig
    }

    pub(crate) fn input(&mut self, input: Input) -> Done {
        let context = self.context();
        let transition = self.team.advance(&context, input);
        self.journal.extend(transition.records.iter().cloned());
        assert_eq!(
            replayed(&self.journal),
            self.team,
            "a replay gives another team"
        );
        assert_eq!(
            replayed(&self.team.snapshot()),
            self.team,
            "a snapshot gives another team"
        );
        let outcome = transition.effects.iter().find_map(|effect| {
            if let Effect::Reply { outcome, .. } = effect {
                Some(outcome.clone())
            } else {
                None
            }
        });
        Done {
            outcome,
            events: transition
                .records
                .into_iter()
                .map(|record| record.event)
                .collect(),
            effects: transition.effects,
        }
    }

    fn context(&self) -> InputContext {
        InputContext {
            now: self.now,
            wall: 1_700_000_000_000 + self.now.0,
            seed: seed(self.journal.len()),
        }
    }

    fn called(&mut self, by: Origin, key: Option<CallKey>, call: Call) -> Done {
        self.input(Input::Called {
            by,
            key,
            reply: ReplyTo(1),
            call: Box::new(call),
        })
    }

    pub(crate) fn user(&mut self, call: Call) -> Done {
        self.called(Origin::User, None, call)
    }

    /// A call of the user with an idempotency key and the digest of its arguments.
    pub(crate) fn user_keyed(&mut self, key: &str, digest: u64, call: Call) -> Done {
        let key = CallKey {
            caller: Caller::Client("tui".into()),
            key: key.into(),
            digest,
        };
        self.called(Origin::User, Some(key), call)
    }

    pub(crate) fn client_keyed(&mut self, client: &str, key: &str, call: Call) -> Done {
        let key = CallKey {
            caller: Caller::Client(client.into()),
            key: key.into(),
            digest: 1,
        };
        self.called(Origin::User, Some(key), call)
    }

    pub(crate) fn by(&mut self, member: &str, call: Call) -> Done {
        let launch = self.launch(member);
        self.by_launch(member, launch, call)
    }

    pub(crate) fn by_launch(&mut self, member: &str, launch: LaunchId, call: Call) -> Done {
        let by = Origin::Member {
            name: name(member),
            launch,
        };
        self.called(by, None, call)
    }

    /// A call of the user after which the team is not rebuilt: in a test with many calls, rebuilding would take long.
    pub(crate) fn user_unchecked(&mut self, call: Call) {
        let context = self.context();
        let input = Input::Called {
            by: Origin::User,
            key: None,
            reply: ReplyTo(1),
            call: Box::new(call),
        };
        let transition = self.team.advance(&context, input);
        self.journal.extend(transition.records);
    }

    pub(crate) fn up(&mut self, spec: UpSpec) -> Done {
        self.user(Call::Up(Box::new(spec)))
    }

    pub(crate) fn add(&mut self, title: &str) -> TaskId {
        self.add_spec(task_spec(title))
    }

    pub(crate) fn add_spec(&mut self, spec: TaskSpec) -> TaskId {
        self.user(Call::AddTask {
            spec,
            after: Vec::new(),
            lines: Vec::new(),
        })
        .task()
    }

    pub(crate) fn claim(&mut self, member: &str, task: TaskId) -> Generation {
        let claim = Call::ClaimTask { task: Some(task) };
        let Answer::Task { generation, .. } = self.by(member, claim).answer() else {
            panic!("not a claim");
        };
        generation
    }

    pub(crate) fn send(&mut self, from: &str, to: &str, text: &str) -> Done {
        let to: Recipient = to.parse().expect("a recipient");
        let call = Call::Send {
            to,
            text: text.into(),
            urgent: false,
            reply_to: None,
            note: Default::default(),
        };
        match from {
            "user" => self.user(call),
            member => self.by(member, call),
        }
    }

    pub(crate) fn kill(&mut self, member: &str) -> Done {
        self.user(Call::Kill {
            member: name(member),
        })
    }

    /// A supervisor starts on the same boot of the machine.
    pub(crate) fn resume(&mut self) -> Done {
        let boot = format!("boot {}", self.boot).into();
        self.input(Input::Resumed { boot })
    }

    pub(crate) fn reboot(&mut self) -> Done {
        self.boot += 1;
        self.now = Tick(10);
        self.resume()
    }

    pub(crate) fn hello(&mut self, member: &str) -> Done {
        let launch = self.launch(member);
        self.input(Input::HelloReceived {
            launch,
            process: ProcessStamp {
                pid: 100,
                start_time: 7,
            },
        })
    }

    pub(crate) fn exits(&mut self, member: &str) -> Done {
        let launch = self.launch(member);
        let exit = ProcessExit::Unknown;
        self.input(Input::Exited { launch, exit })
    }

    pub(crate) fn tree_is_gone(&mut self, member: &str) -> Done {
        let launch = self.launch(member);
        self.input(Input::TreeGone { launch })
    }

    /// The member's process exits, and nothing of its tree is left.
    pub(crate) fn dies(&mut self, member: &str) -> Done {
        let exited = self.exits(member);
        if let Life::Ending { .. } = self.life(member) {
            self.tree_is_gone(member)
        } else {
            // The launch had run nothing, so its worker was its only process.
            exited
        }
    }

    /// Advances the clock, and delivers each deadline when it is due.
    pub(crate) fn wait(&mut self, ms: u64) -> Vec<Event> {
        let until = self.now.after_ms(ms);
        let mut events = Vec::new();
        while let Some(due) = self.team.next_deadline().filter(|due| *due <= until) {
            self.now = self.now.max(due);
            events.extend(self.input(Input::DeadlineReached).events);
            assert!(
                self.team.next_deadline().is_none_or(|next| next > self.now),
                "a deadline that was met is still next"
            );
        }
        self.now = until;
        events
    }

    pub(crate) fn member(&self, member: &str) -> &Member {
        self.team
            .member(&name(member))
            .expect("a member of the team")
    }

    pub(crate) fn life(&self, member: &str) -> &Life {
        &self.member(member).life
    }

    pub(crate) fn is_ready(&self, member: &str) -> bool {
        matches!(self.life(member), Life::Ready { .. })
    }

    pub(crate) fn held(&self, member: &str) -> Option<Arc<str>> {
        if let Life::Held { reason } = self.life(member) {
            Some(reason.clone())
        } else {
            None
        }
    }

    pub(crate) fn launch(&self, member: &str) -> LaunchId {
        let launch = self.life(member).launch();
        launch
            .unwrap_or_else(|| panic!("{member} has no launch"))
            .id
            .clone()
    }

    pub(crate) fn task(&self, task: TaskId) -> &Task {
        self.team
            .board()
            .get(task)
            .expect("a task that is not completed")
    }

    pub(crate) fn owner(&self, task: TaskId) -> Option<String> {
        self.task(task).owner().map(ToString::to_string)
    }

    pub(crate) fn is_pending(&self, task: TaskId) -> bool {
        matches!(self.task(task).state, TaskState::Pending { .. })
    }

    pub(crate) fn claim_of(&self, task: TaskId) -> ClaimRef {
        ClaimRef {
            task,
            generation: Some(self.task(task).generation),
        }
    }

    /// The member's unread messages, in the order of their acceptance.
    pub(crate) fn inbox(&self, member: &str) -> Vec<String> {
        self.member(member)
            .inbox
            .iter()
            .map(|(_, unread)| unread.text.to_string())
            .collect()
    }
}

pub(crate) fn replayed(records: &[Record]) -> Team {
    let mut team = Team::default();
    for record in records {
        team.apply(record);
    }
    team
}

fn seed(step: usize) -> [u8; 32] {
    let mut seed = [0; 32];
    seed[..8].copy_from_slice(&step.to_be_bytes());
    seed
}

/// A team file with a lead and these workers, which claim every task.
pub(crate) fn file(workers: &[&str]) -> UpSpec {
    let mut members = vec![member_spec("lead")];
    members[0].lead = true;
    members[0].claimable.unassigned = false;
    members.extend(workers.iter().map(|worker| member_spec(worker)));
    UpSpec {
        team: team_spec(),
        members,
        tasks: Vec::new(),
    }
}
