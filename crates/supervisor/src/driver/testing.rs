//! A team for unit tests of the driver's components. The team has no process, no runtime and no disk: connections are
//! queues that the test reads, and the clock advances only when the test sets it.

use std::sync::Arc;

use agent_team_core::{
    Answer, Call, Effect, Input, InputContext, Origin, Refused, ReplyTo, Team, Tick,
};
use agent_team_protocol::{LaunchId, MemberName};
use agent_team_store::TeamIdentity;
use agent_team_system::process::ProcessId;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::launches::Launches;
use super::permissions::Permissions;
use super::views::Views;
use crate::convert;
use crate::launch::panes::TerminalBackend;
use crate::outbox::{Outbox, Reply};
use crate::parsed_settings::ParsedSettings;
use crate::settings::TeamPlacement;

pub(super) struct TestTeam {
    pub(super) identity: TeamIdentity,
    pub(super) team: Team,
    pub(super) settings: ParsedSettings,
    pub(super) launches: Launches,
    pub(super) now: Tick,
}

/// The frames that the team has sent to one peer.
pub(super) struct Frames(mpsc::UnboundedReceiver<Arc<str>>);

impl TestTeam {
    /// A team with a lead and these teammates. Each member is launching: no worker has connected.
    pub(super) fn of(teammates: &[&str]) -> Self {
        Self::with(teammates, json!({}))
    }

    /// [`Self::of`] with additional keys in the specification.
    pub(super) fn with(teammates: &[&str], more: Value) -> Self {
        let member = |name: &str, lead: bool| {
            json!({
                "name": name, "role": "worker", "lead": lead, "engine": "native", "cwd": "/w",
                "claim": "assigned",
            })
        };
        let teammates = teammates.iter().map(|name| member(name, false));
        let members: Vec<Value> = [member("lead", true)]
            .into_iter()
            .chain(teammates)
            .collect();
        let mut spec = json!({
            "name": "demo", "project": "/w", "placement": "headless", "layout": "tiled",
            "limits": { "teammates": 10, "starting": 10 }, "hooks": {}, "roles": [], "tasks": [],
            "members": members,
        });
        for (key, value) in more.as_object().unwrap() {
            spec[key] = value.clone();
        }
        let spec: agent_team_protocol::spec::TeamSpec = serde_json::from_value(spec).unwrap();
        let identity = TeamIdentity {
            team: agent_team_protocol::TeamId::new(&spec.name, &spec.project),
            name: spec.name.clone(),
            project: spec.project.clone(),
        };
        let team = Team::default();
        let placement = TeamPlacement {
            terminal: TerminalBackend::Headless,
            reason: "a test".to_owned(),
        };
        let spec = convert::up_spec(spec, placement, &team);
        let mut this = Self {
            identity,
            settings: ParsedSettings::default(),
            launches: Launches::new(&team),
            team,
            now: Tick(1_000),
        };
        let boot = "boot".into();
        this.input(Input::Resumed { boot });
        this.call(Origin::User, Call::Up(Box::new(spec))).unwrap();
        this
    }

    pub(super) fn input(&mut self, input: Input) -> Vec<Effect> {
        let mut seed = [0; 32];
        seed[..8].copy_from_slice(&self.team.revision().0.to_be_bytes());
        let context = InputContext {
            now: self.now,
            wall: 0,
            seed,
        };
        let effects = self.team.advance(&context, input).effects;
        self.settings.refresh(&self.team);
        effects
    }

    pub(super) fn call(&mut self, by: Origin, call: Call) -> Result<Answer, Refused> {
        let input = Input::Called {
            by,
            key: None,
            reply: ReplyTo(0),
            call: Box::new(call),
        };
        let effects = self.input(input).into_iter();
        let mut outcomes = effects.filter_map(|effect| {
            if let Effect::Reply { outcome, .. } = effect {
                Some(outcome)
            } else {
                None
            }
        });
        outcomes.next().unwrap()
    }

    pub(super) fn launch_of(&self, member: &str) -> LaunchId {
        let member = self.team.member(&name(member)).unwrap();
        member.life.launch().unwrap().id.clone()
    }

    /// Connects the member's worker.
    pub(super) fn hello(&mut self, member: &str, pid: u32) -> Frames {
        let launch = self.launch_of(member);
        let process = ProcessId { pid, start_time: 1 };
        self.input(Input::HelloReceived {
            launch: launch.clone(),
            process: convert::stamp(process),
        });
        let (outbox, frames) = Frames::pair();
        let connection = u64::from(pid);
        self.launches
            .attach(&name(member), &launch, connection, process, outbox);
        frames
    }

    pub(super) fn origin(&self, member: &str) -> Origin {
        Origin::Member {
            name: name(member),
            launch: self.launch_of(member),
        }
    }

    pub(super) fn permissions(&self) -> Permissions<'_> {
        Permissions {
            team: &self.team,
            settings: &self.settings,
            project: &self.identity.project,
        }
    }

    pub(super) fn views(&self) -> Views<'_> {
        Views {
            identity: &self.identity,
            team: &self.team,
            settings: &self.settings,
            launches: &self.launches,
            is_embedded: false,
            now: self.now,
            wall_ms: 0,
        }
    }
}

impl Frames {
    /// A connection: the outbox through which the team sends, and the frames that arrive at the peer.
    pub(super) fn pair() -> (Outbox, Self) {
        let (outbox, frames) = Outbox::unconnected();
        (outbox, Self(frames))
    }

    /// Disconnects the peer.
    pub(super) fn close(&mut self) {
        self.0.close();
    }

    /// The next frame, as JSON.
    pub(super) fn next(&mut self) -> Option<Value> {
        let line = self.0.try_recv().ok()?;
        Some(serde_json::from_str(&line).unwrap())
    }
}

pub(super) fn name(name: &str) -> MemberName {
    name.parse().unwrap()
}

/// A client that waits for one answer.
pub(super) fn caller() -> (Reply, Frames) {
    let (outbox, frames) = Frames::pair();
    (Reply::new(&outbox, RawValue::NULL), frames)
}
