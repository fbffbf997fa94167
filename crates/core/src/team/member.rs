//! The state machine of one member.
//!
//! ```text
//!             LaunchStarted              LaunchReady
//!   Planned ───────────────▶ Launching ─────────────▶ Ready ──────┐
//!      ▲                         │                      │         │
//!      │                         │ gave up        asked │         │ died, killed
//!      │                         ▼                      ▼         │
//!   Cooling ◀──┐              Ending ◀─────────────  Draining     │
//!   Held    ◀──┼─ LaunchEnded ─┘ ▲                                │
//!   Stopped ◀──┘                 └────────────────────────────────┘
//! ```
//! `LaunchEnded` leads directly to `Planned` after a requested restart or a first crash. `MemberWanted` leads to
//! `Planned` from every state without a launch.
//!
//! `StopRequested`: a stop was requested during a turn. The member may accept or end its turn (→ `Draining`), object
//! (→ `Ready`), or not reply before `answer_by` (→ `Draining`).
//!
//! `Ending`: the process tree is being terminated. Until `LaunchEnded` confirms that no process is left, the member
//! keeps its claims and no new launch starts.
//!
//! A ready member is working if it holds a claim or is in a turn; otherwise it is idle. The states above do not
//! distinguish the two.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{LaunchId, MessageId, Party};
use agent_team_protocol::value::ProcessStamp;

use crate::team::budget::Account;
use crate::team::mail::Inbox;
use crate::team::plan_lock::PlanLock;
use crate::team::restarts::Restarts;
use crate::team::run::TranscriptSummary;
use crate::team::spec::MemberSpec;
use crate::time::{Tick, TokenHash};
use crate::timer::Timer;

/// How long a worker may take from its launch to its hello, in milliseconds: several times the slowest pane start that
/// was measured on a loaded machine.
pub const GIVE_UP_MS: u64 = 20_000;

/// How long a member in a turn may take to accept a stop or object to it, in milliseconds. The time includes its
/// model's reply.
pub const ANSWER_MS: u64 = 30_000;

/// How long a member that was asked to stop may take to finish its work, in milliseconds.
pub const GRACE_MS: u64 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub spec: MemberSpec,
    pub life: Life,
    /// When `life` last changed. For a ready member, the start or end of a claim and the end of a turn without a task
    /// also count as changes.
    pub since: Tick,
    /// When `life` last changed, regardless of claims. [`Restarts::count`] derives from it how long the worker ran.
    pub(crate) life_since: Tick,
    pub restarts: Restarts,
    pub inbox: Inbox,
    /// How the member's last claim ended, in one line.
    pub last_result: Option<Arc<str>>,
    pub transcript: TranscriptSummary,
    pub account: Account,
    pub lock: PlanLock,
    /// Why the member objected to the last stop request of this launch.
    pub objection: Option<Arc<str>>,
    /// Why the member's last turn could not continue. `None` once its next turn has begun.
    pub turn_failure: Option<Arc<str>>,
    /// The member was spawned and stopped with the team: the next `up` starts it again.
    pub(crate) suspended: bool,
    /// `MemberIdle` was recorded since the member last worked.
    pub(crate) idle_notified: bool,
    /// This launch held a task, so it may have processes besides its worker.
    pub(crate) worked: bool,
    /// Why the previous launch ended, as a sentence. `None` unless the member is relaunched after it.
    pub last_end: Option<Arc<str>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// The member is launched as soon as the start limit permits.
    Planned,
    Launching {
        launch: Launch,
        give_up_at: Tick,
    },
    Ready {
        launch: Launch,
        process: ProcessStamp,
    },
    /// The member was asked to stop and may object until `answer_by`.
    StopRequested {
        launch: Launch,
        process: ProcessStamp,
        stop_request: StopRequest,
    },
    Draining {
        launch: Launch,
        process: ProcessStamp,
        kill_at: Tick,
        then: AfterLaunch,
        /// Why the launch ends, as a sentence.
        reason: Arc<str>,
    },
    /// `process`: the worker, if it has connected.
    Ending {
        launch: Launch,
        process: Option<ProcessStamp>,
        reason: Arc<str>,
        then: AfterLaunch,
    },
    Cooling {
        restart_at: Tick,
    },
    Held {
        reason: Arc<str>,
    },
    Stopped,
}

/// A stop request that the member has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StopRequest {
    pub by: Party,
    /// The message that carries the request.
    pub message: MessageId,
    pub answer_by: Tick,
    pub then: AfterLaunch,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub id: LaunchId,
    pub token_hash: TokenHash,
}

/// The next state after a launch has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AfterLaunch {
    Stop,
    /// Stop and leave the team.
    Remove,
    /// A restart was requested. The next launch starts without backoff, and no crash is counted.
    Restart,
    /// The worker died: restart it unless it died too often. `ready_since`: when the worker became ready; `None` if it
    /// never was.
    Recover {
        ready_since: Option<Tick>,
    },
    Hold {
        reason: Arc<str>,
    },
}

/// The state of a member without a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Next {
    Launch,
    Cool { restart_at: Tick },
    Hold { reason: Arc<str> },
    Stop,
}

impl From<Next> for Life {
    fn from(next: Next) -> Self {
        match next {
            Next::Launch => Self::Planned,
            Next::Cool { restart_at } => Self::Cooling { restart_at },
            Next::Hold { reason } => Self::Held { reason },
            Next::Stop => Self::Stopped,
        }
    }
}

impl Life {
    pub fn launch(&self) -> Option<&Launch> {
        match self {
            Self::Launching { launch, .. }
            | Self::Ready { launch, .. }
            | Self::StopRequested { launch, .. }
            | Self::Draining { launch, .. }
            | Self::Ending { launch, .. } => Some(launch),
            Self::Planned | Self::Cooling { .. } | Self::Held { .. } | Self::Stopped => None,
        }
    }

    pub fn process(&self) -> Option<ProcessStamp> {
        match self {
            Self::Ready { process, .. }
            | Self::StopRequested { process, .. }
            | Self::Draining { process, .. } => Some(*process),
            Self::Ending { process, .. } => *process,
            Self::Planned
            | Self::Launching { .. }
            | Self::Cooling { .. }
            | Self::Held { .. }
            | Self::Stopped => None,
        }
    }

    /// The decided state after the end of the launch; `None` if nothing was decided.
    pub(crate) fn then(&self) -> Option<&AfterLaunch> {
        match self {
            Self::StopRequested { stop_request, .. } => Some(&stop_request.then),
            Self::Draining { then, .. } | Self::Ending { then, .. } => Some(then),
            Self::Planned
            | Self::Launching { .. }
            | Self::Ready { .. }
            | Self::Cooling { .. }
            | Self::Held { .. }
            | Self::Stopped => None,
        }
    }

    /// Whether a caller that waits for a start or a stop of the member must continue to wait. `Cooling` also ends by
    /// itself, but the caller receives it as the outcome: the member crashed.
    pub fn is_transient(&self) -> bool {
        match self {
            Self::Planned
            | Self::Launching { .. }
            | Self::StopRequested { .. }
            | Self::Draining { .. }
            | Self::Ending { .. } => true,
            Self::Ready { .. } | Self::Cooling { .. } | Self::Held { .. } | Self::Stopped => false,
        }
    }

    /// Whether the member can still claim a task without intervention.
    pub(crate) fn may_work(&self) -> bool {
        match self {
            Self::Planned | Self::Launching { .. } | Self::Ready { .. } | Self::Cooling { .. } => {
                true
            }
            Self::Draining { then, .. } | Self::Ending { then, .. } => {
                matches!(then, AfterLaunch::Restart | AfterLaunch::Recover { .. })
            }
            // The member may object and continue; until then it does not count as available.
            Self::StopRequested { .. } => false,
            Self::Held { .. } | Self::Stopped => false,
        }
    }
}

impl Member {
    pub(crate) fn new(spec: MemberSpec, since: Tick) -> Self {
        Self {
            spec,
            life: Life::Stopped,
            since,
            life_since: since,
            restarts: Restarts::default(),
            inbox: Inbox::default(),
            last_result: None,
            transcript: TranscriptSummary::default(),
            account: Account::default(),
            lock: PlanLock::default(),
            objection: None,
            suspended: false,
            turn_failure: None,
            idle_notified: false,
            worked: false,
            last_end: None,
        }
    }

    /// The timeout that ends the current state.
    pub(crate) fn timer(&self) -> Option<(Tick, Timer<'_>)> {
        let name = &self.spec.name;
        match &self.life {
            Life::Launching { give_up_at, .. } => Some((*give_up_at, Timer::StartTimeout(name))),
            Life::StopRequested { stop_request, .. } => {
                Some((stop_request.answer_by, Timer::StopAnswer(name)))
            }
            Life::Draining { kill_at, .. } => Some((*kill_at, Timer::Kill(name))),
            Life::Cooling { restart_at } => Some((*restart_at, Timer::Restart(name))),
            Life::Planned
            | Life::Ready { .. }
            | Life::Ending { .. }
            | Life::Held { .. }
            | Life::Stopped => None,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.life == Life::Stopped
    }

    /// Whether an unread message starts a turn of this member.
    pub fn has_unread_work(&self) -> bool {
        let mut unread = self.inbox.iter();
        unread.any(|(_, unread)| !(unread.note.can_wait && self.spec.lead))
    }

    /// Whether the member must not change anything, because it needs an approved plan and has none.
    pub fn is_locked(&self) -> bool {
        self.spec.must_plan && self.lock.approved.is_none()
    }

    /// Whether the member leaves the team as soon as its launch has ended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.life.then() == Some(&AfterLaunch::Remove)
    }

    /// Whether rounds may give the member work: it must be a teammate that takes tasks without a `run` line, and must
    /// not be leaving.
    pub(crate) fn takes_part_in_rounds(&self) -> bool {
        let claimable = self.spec.claimable;
        !self.spec.lead && claimable.without_run && !claimable.nothing && !self.is_leaving()
    }
}
