//! The whole state of a simulation: team, model, clock, journal, workers and pending effects. Every input goes through
//! [`World::advance`], which compares the resulting team with the model.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use agent_team_core::effect::Effect;
use agent_team_core::input::{Input, ProcessExit, StartFault};
use agent_team_core::member::Life;
use agent_team_core::{Event, InputContext, Record, Team, Tick, Transition};
use agent_team_protocol::id::{LaunchId, MemberName, Party, TaskId};

use crate::calls::Calls;
use crate::command::Command;
use crate::environment::Pending;
use crate::model::{Facts, Model};
use crate::recount;
use crate::workers::Worker;

#[derive(Default)]
pub(crate) struct World {
    pub(crate) team: Team,
    pub(crate) model: Model,
    journal: Vec<Record>,
    /// Snapshots with the length of the journal at their time.
    snapshots: Vec<(usize, Vec<Record>)>,
    pub(crate) now: Tick,
    boot: u32,
    inputs: u64,
    pub(crate) pending: VecDeque<Pending>,
    pub(crate) workers: BTreeMap<LaunchId, Worker>,
    /// Launches whose launch file was removed, so that no process can start for them.
    pub(crate) retired: BTreeSet<LaunchId>,
    pub(crate) former: Vec<(MemberName, LaunchId)>,
    pub(crate) calls: Calls,
}

impl World {
    pub(crate) fn new() -> Self {
        let mut world = Self {
            now: Tick(5_000),
            boot: 1,
            ..Self::default()
        };
        world.resume();
        world
    }

    pub(crate) fn run(&mut self, command: &Command) {
        match command {
            Command::Call { by, ask, keyed } => self.ask(by, ask, *keyed),
            Command::Repeat { which, changed } => self.repeat(*which, *changed),
            Command::Race { task } => self.race(*task),
            Command::Outside { which, how } => {
                self.outside(*which, *how);
            }
            Command::Die { which } => self.die(*which),
            Command::DieAgain {
                which,
                deaths,
                every_ms,
            } => self.die_again(*which, *deaths, u64::from(*every_ms)),
            Command::Late { which, what } => self.late(*which, *what),
            Command::Wait { ms } => self.wait(u64::from(*ms)),
            Command::SaveSnapshot => self
                .snapshots
                .push((self.journal.len(), self.team.snapshot())),
            Command::Crash { snapshot, down_ms } => self.crash(*snapshot, u64::from(*down_ms)),
            Command::Reboot { snapshot } => self.reboot(*snapshot),
        }
    }

    pub(crate) fn context(&self) -> InputContext {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.inputs.to_be_bytes());
        InputContext {
            now: self.now,
            wall: 1_700_000_000_000 + self.inputs,
            seed,
        }
    }

    pub(crate) fn advance(&mut self, input: Input) -> Transition {
        self.advance_naming(input, None)
    }

    pub(crate) fn advance_naming(&mut self, input: Input, named: Option<TaskId>) -> Transition {
        self.inputs += 1;
        let is_called = matches!(input, Input::Called { .. });
        let before = self.team.clone();
        let transition = self.team.advance(&self.context(), input);
        self.replay(before, &transition.records, named, is_called);
        recount::check(&self.team, &self.model);
        if self.inputs.is_multiple_of(8) {
            assert_eq!(
                replayed(&self.team.snapshot()),
                self.team,
                "a snapshot gives another team"
            );
        }
        self.journal.extend(transition.records.iter().cloned());
        self.pending
            .extend(transition.effects.iter().cloned().map(Pending::Effect));
        transition
    }

    /// Checks that the records alone rebuild the same team, even after a round trip through text.
    fn replay(
        &mut self,
        mut before: Team,
        records: &[Record],
        named: Option<TaskId>,
        is_called: bool,
    ) {
        let may_run = self
            .workers
            .values()
            .filter(|worker| worker.may_have_processes())
            .map(|worker| worker.member.clone())
            .collect();
        let mut facts = Facts {
            may_run: &may_run,
            named,
            is_called,
            launched: BTreeSet::new(),
        };
        for record in records {
            let stored = serde_json::to_string(record).expect("a record is plain data");
            let record: Record =
                serde_json::from_str(&stored).expect("a stored record can be read");
            self.note_end_of_launch(&record, &before);
            self.model.apply(&record, &before, &mut facts);
            self.calls.apply(&record);
            before.apply(&record);
        }
        assert_eq!(
            before, self.team,
            "a replay of the records gives another team"
        );
    }

    fn note_end_of_launch(&mut self, record: &Record, before: &Team) {
        if let Event::LaunchEnded { member, launch, .. } = &record.event {
            self.former.push((member.clone(), launch.clone()));
        } else if let Event::Booted { .. } = &record.event {
            let launches = before
                .members()
                .filter_map(|it| Some((it.spec.name.clone(), it.life.launch()?.id.clone())));
            self.former.extend(launches);
        }
    }

    /// Advances the clock and meets every deadline when it is due.
    pub(crate) fn wait(&mut self, ms: u64) {
        let until = self.now.after_ms(ms);
        while self.team.next_deadline().is_some_and(|due| due <= until) {
            self.meet_deadline();
        }
        self.now = until;
        let before = self.team.clone();
        let transition = self.advance(Input::DeadlineReached);
        assert!(
            transition.effects.is_empty() && self.team == before,
            "an early deadline input changes the team or has effects"
        );
    }

    /// Advances the clock to the next deadline, if there is one.
    fn meet_deadline(&mut self) -> bool {
        let Some(due) = self.team.next_deadline() else {
            return false;
        };
        self.now = self.now.max(due);
        self.advance(Input::DeadlineReached);
        assert!(
            self.team.next_deadline().is_none_or(|next| next > self.now),
            "a deadline that was met is still next"
        );
        true
    }

    fn late(&mut self, which: u8, what: u8) {
        let Some((_, launch)) = pick(&self.former, which) else {
            return;
        };
        let launch = launch.clone();
        let input = match what % 7 {
            0 => Input::Exited {
                launch,
                exit: ProcessExit::Signal(9),
            },
            1 => Input::TreeGone { launch },
            2 => Input::Unresponsive { launch },
            3 => Input::NotStarted {
                launch,
                fault: StartFault::NeverStarted,
            },
            4 => Input::NotStarted {
                launch,
                fault: StartFault::Failed("too late".into()),
            },
            5 => Input::HelloReceived {
                launch,
                process: crate::workers::stamp(u64::from(what)),
            },
            _ => Input::IdleRefused {
                launch,
                reason: "continue".into(),
            },
        };
        let before = self.team.clone();
        let transition = self.advance(input);
        assert!(
            transition.effects.is_empty() && transition.records.is_empty() && self.team == before,
            "a late report changes the team"
        );
    }

    fn crash(&mut self, snapshot: u8, down_ms: u64) {
        self.pending.clear();
        self.rebuild(snapshot);
        self.now = self.now.after_ms(down_ms);
        self.resume();
        self.find_workers();
        self.call_again();
    }

    fn reboot(&mut self, snapshot: u8) {
        self.pending.clear();
        self.workers.clear();
        self.calls.forget_waiting();
        self.rebuild(snapshot);
        self.boot += 1;
        self.now = Tick(u64::from(snapshot));
        let transition = self.resume();
        // A notice about a failed task is delivered when its recipient connects.
        let harmless =
            |effect: &Effect| matches!(effect, Effect::ClosePane { .. } | Effect::Deliver { .. });
        assert!(
            transition.effects.iter().all(harmless),
            "something is done to processes of another boot: {:?}",
            transition.effects
        );
        let at_rest = |life: &Life| matches!(life, Life::Stopped | Life::Held { .. });
        assert!(
            self.team.members().all(|member| at_rest(&member.life)),
            "a member runs after a reboot"
        );
        assert!(
            self.model
                .owners
                .values()
                .all(|owner| *owner == Party::User),
            "a member has a claim after a reboot"
        );
    }

    fn resume(&mut self) -> Transition {
        let boot = format!("boot {}", self.boot).into();
        self.advance(Input::Resumed { boot })
    }

    /// Discards the team and rebuilds it from a snapshot and the records after it.
    fn rebuild(&mut self, snapshot: u8) {
        let start = (0, Vec::new());
        let (length, records) = pick(&self.snapshots, snapshot).unwrap_or(&start);
        let mut team = replayed(records);
        for record in &self.journal[*length..] {
            team.apply(record);
        }
        assert_eq!(
            team, self.team,
            "the snapshot and the later records give another team"
        );
        self.team = team;
    }

    /// Stops all faults and lets every worker finish: afterwards no work is left that a member could do.
    pub(crate) fn calm_down(&mut self) {
        for _ in 0..20_000 {
            if !self.outside(0, crate::environment::NO_FAULT) && !self.meet_deadline() {
                return self.check_calm();
            }
        }
        panic!("the team does not become idle");
    }

    fn check_calm(&self) {
        for member in self.team.members() {
            let name = &member.spec.name;
            let worker = member
                .life
                .launch()
                .and_then(|launch| self.workers.get(&launch.id));
            match &member.life {
                Life::Ready { .. } => {
                    let worker =
                        worker.unwrap_or_else(|| panic!("{name} is ready without a worker"));
                    assert!(
                        worker.is_alive && worker.unread(&self.team) == 0,
                        "the worker of {name} is dead or has unread messages"
                    );
                }
                Life::Held { .. } | Life::Stopped => {}
                Life::Planned
                | Life::Launching { .. }
                | Life::StopRequested { .. }
                | Life::Draining { .. }
                | Life::Ending { .. }
                | Life::Cooling { .. } => panic!("{name} is stuck: {:?}", member.life),
            }
        }
        let ready = self
            .team
            .members()
            .filter(|it| matches!(it.life, Life::Ready { .. }))
            .count();
        assert_eq!(
            self.workers.len(),
            ready,
            "the processes are not those of the ready members"
        );
        assert!(
            self.model
                .owners
                .values()
                .all(|owner| *owner == Party::User),
            "{:?} are stuck",
            self.model.owners
        );
        assert_eq!(self.team.can_progress(), !self.model.owners.is_empty());
        assert_eq!(
            replayed(&self.journal),
            self.team,
            "the whole journal gives another team"
        );
        assert_eq!(
            replayed(&self.team.snapshot()),
            self.team,
            "a snapshot gives another team"
        );
    }
}

pub(crate) fn replayed(records: &[Record]) -> Team {
    let mut team = Team::default();
    for record in records {
        team.apply(record);
    }
    team
}

pub(crate) fn pick<T>(from: &[T], which: u8) -> Option<&T> {
    from.get(usize::from(which).checked_rem(from.len())?)
}

/// The member that an effect is for. Effects for the same member run in their order.
pub(crate) fn target(effect: &Effect) -> Option<&MemberName> {
    match effect {
        Effect::Launch { member, .. }
        | Effect::RequestStop { member, .. }
        | Effect::EndTree { member, .. }
        | Effect::ClosePane { member }
        | Effect::Assign { member, .. }
        | Effect::Abandon { member, .. }
        | Effect::Deliver { member }
        | Effect::Inform { member, .. }
        | Effect::InformOfMode { member }
        | Effect::SendAllowance { member }
        | Effect::RunIdleHook { member, .. } => Some(member),
        Effect::RunCompletionHook { .. } | Effect::Reply { .. } => None,
    }
}
