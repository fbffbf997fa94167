//! The life of one member.
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
//! `Asked` stands between `Ready` and `Draining` for who is in a turn when somebody asks her to end: she may agree, and
//! drains; object, and is ready again; or say nothing until `answer_by`, and drains all the same.
//!
//! `Ending` is where her process tree is being ended: nothing of hers is given away, and no successor starts, before
//! `LaunchEnded` says that no process is left. Whether a ready member is idle or works is not a state of hers: it is
//! whether she holds a claim.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{LaunchId, MessageId, Party};

use crate::budget::Account;
use crate::lock::Lock;
use crate::mail::Inbox;
use crate::plan::MemberPlan;
use crate::restarts::Restarts;
use crate::run::Mind;
use crate::time::{Tick, TokenHash};

/// How long a worker may take from its launch to its hello, in milliseconds: the slowest start of a pane seen on a
/// loaded machine, several times over.
pub const GIVE_UP_MS: u64 = 20_000;

/// How long a member in a turn may take to say whether she objects to ending, in milliseconds: her model's answer to
/// the question is among it.
pub const ANSWER_MS: u64 = 30_000;

/// How long a member asked to stop may finish what she does, in milliseconds.
pub const GRACE_MS: u64 = 10_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    pub plan: MemberPlan,
    pub life: Life,
    /// When this state began.
    pub since: Tick,
    pub restarts: Restarts,
    pub inbox: Inbox,
    /// How her last finished task ended.
    pub last_result: Option<Arc<str>>,
    pub mind: Mind,
    pub account: Account,
    pub lock: Lock,
    /// Why this launch did not end when it was asked to.
    pub objection: Option<Arc<str>>,
    /// It was spawned and ended with the team: the next `up` starts it again.
    pub(crate) suspended: bool,
    /// The idle hook was asked since she last worked.
    pub(crate) told_idle: bool,
    /// This launch held a task, so that there may be processes besides its worker.
    pub(crate) worked: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Life {
    /// To be launched as soon as a start is free.
    Planned,
    Launching {
        launch: Launch,
        give_up_at: Tick,
    },
    Ready {
        launch: Launch,
        process: ProcessStamp,
    },
    /// She was asked to end, and may object until then.
    Asked {
        launch: Launch,
        process: ProcessStamp,
        asked: Asked,
    },
    Draining {
        launch: Launch,
        process: ProcessStamp,
        kill_at: Tick,
        then: Then,
    },
    /// `process` is what said hello, if anything did.
    Ending {
        launch: Launch,
        process: Option<ProcessStamp>,
        reason: Arc<str>,
        then: Then,
    },
    Cooling {
        restart_at: Tick,
    },
    Held {
        reason: Arc<str>,
    },
    Stopped,
}

/// What a member that was asked to end has not answered yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Asked {
    pub by: Party,
    /// What she was asked with.
    pub message: MessageId,
    pub answer_by: Tick,
    pub then: Then,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    pub id: LaunchId,
    pub token_hash: TokenHash,
}

/// A process that cannot be mistaken for a later one of the same pid, until the machine restarts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStamp {
    pub pid: u32,
    /// Clock ticks after boot, as the kernel gives it.
    pub start_time: u64,
}

/// What was decided to follow the end of a launch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Then {
    Stop,
    /// Stop and leave the team.
    Remove,
    /// Somebody asked for it: at once, and not counted.
    Restart,
    /// She died: as often as the intensity allows. `ready_since` tells whether she had been up for long.
    Recover {
        ready_since: Option<Tick>,
    },
    Hold {
        reason: Arc<str>,
    },
}

/// What a member without a launch is.
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
            | Self::Asked { launch, .. }
            | Self::Draining { launch, .. }
            | Self::Ending { launch, .. } => Some(launch),
            Self::Planned | Self::Cooling { .. } | Self::Held { .. } | Self::Stopped => None,
        }
    }

    pub fn process(&self) -> Option<ProcessStamp> {
        match self {
            Self::Ready { process, .. }
            | Self::Asked { process, .. }
            | Self::Draining { process, .. } => Some(*process),
            Self::Ending { process, .. } => *process,
            Self::Planned
            | Self::Launching { .. }
            | Self::Cooling { .. }
            | Self::Held { .. }
            | Self::Stopped => None,
        }
    }

    /// What was decided to follow the launch.
    pub(crate) fn then(&self) -> Option<&Then> {
        match self {
            Self::Asked { asked, .. } => Some(&asked.then),
            Self::Draining { then, .. } | Self::Ending { then, .. } => Some(then),
            Self::Planned
            | Self::Launching { .. }
            | Self::Ready { .. }
            | Self::Cooling { .. }
            | Self::Held { .. }
            | Self::Stopped => None,
        }
    }

    /// When something is to happen by itself.
    pub(crate) fn deadline(&self) -> Option<Tick> {
        match self {
            Self::Asked { asked, .. } => Some(asked.answer_by),
            Self::Launching { give_up_at: at, .. }
            | Self::Draining { kill_at: at, .. }
            | Self::Cooling { restart_at: at } => Some(*at),
            Self::Planned
            | Self::Ready { .. }
            | Self::Ending { .. }
            | Self::Held { .. }
            | Self::Stopped => None,
        }
    }

    /// Whether it ends by itself, so that one who waits for the member's fate waits on.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Planned
            | Self::Launching { .. }
            | Self::Asked { .. }
            | Self::Draining { .. }
            | Self::Ending { .. } => true,
            Self::Ready { .. } | Self::Cooling { .. } | Self::Held { .. } | Self::Stopped => false,
        }
    }

    /// Whether she may yet take a task without anybody's help.
    pub(crate) fn may_work(&self) -> bool {
        match self {
            Self::Planned | Self::Launching { .. } | Self::Ready { .. } | Self::Cooling { .. } => {
                true
            }
            Self::Draining { then, .. } | Self::Ending { then, .. } => {
                matches!(then, Then::Restart | Then::Recover { .. })
            }
            // Who objects goes on; until then nobody counts on her.
            Self::Asked { .. } => false,
            Self::Held { .. } | Self::Stopped => false,
        }
    }
}

impl Member {
    pub(crate) fn new(plan: MemberPlan, since: Tick) -> Self {
        Self {
            plan,
            life: Life::Stopped,
            since,
            restarts: Restarts::default(),
            inbox: Inbox::default(),
            last_result: None,
            mind: Mind::default(),
            account: Account::default(),
            lock: Lock::default(),
            objection: None,
            suspended: false,
            told_idle: false,
            worked: false,
        }
    }

    pub fn is_stopped(&self) -> bool {
        self.life == Life::Stopped
    }

    /// She may change nothing before a plan of hers is approved.
    pub fn is_locked(&self) -> bool {
        self.plan.must_plan && self.lock.open.is_none()
    }

    /// She is out of the team as soon as she has ended.
    pub(crate) fn is_leaving(&self) -> bool {
        self.life.then() == Some(&Then::Remove)
    }
}
