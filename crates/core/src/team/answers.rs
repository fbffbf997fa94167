//! Answers of calls that changed the team, kept by caller and key: a repeated call gets its first answer and changes
//! nothing. Called by the decider and by replay.
//!
//! Only the newest `KEPT` answers of a caller are kept. Answers of a launch are dropped with the launch and at a
//! reboot. Answers of a client may be dropped ten minutes after the last of them was added; a reboot restarts this
//! time.

use std::collections::{BTreeMap, VecDeque};

use serde::{Deserialize, Serialize};

use agent_team_protocol::id::{
    Generation, LaunchId, MemberName, MessageId, Party, RequestId, RunId, TaskId, stable_hash,
};

use crate::refusal::Refused;
use crate::time::Tick;

/// Answers kept per caller.
const KEPT: usize = 256;

/// How long a client's answers are kept after the last of them was added, in milliseconds.
const CLIENT_MS: u64 = 600_000;

/// The caller that a key belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    Launch(LaunchId),
    /// A client's random id.
    Client(String),
}

/// A caller's key for one call, with a digest of the call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallKey {
    pub caller: Caller,
    pub key: String,
    /// Digest of the method and its arguments.
    pub digest: u64,
}

/// The answer of a successful call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Answer {
    Done,
    Task {
        task: TaskId,
        generation: Generation,
        overlaps: Vec<TaskId>,
    },
    Sent {
        message: MessageId,
        to: Vec<Party>,
    },
    /// Sent when the member has reached a lasting state.
    Member {
        member: MemberName,
    },
    /// Sent when the member has left the team.
    Removed {
        member: MemberName,
    },
    Up {
        changes: Vec<Change>,
    },
    Run {
        run: RunId,
    },
    /// The run was cancelled, with these tasks.
    Cancelled {
        run: RunId,
        tasks: Vec<TaskId>,
    },
    Request {
        request: RequestId,
    },
    CallAllowed,
    CallDenied,
    /// The caller has no approved plan, so it must not change anything.
    PlanFirst,
    /// Length of the caller's transcript, in items.
    Length {
        length: u64,
    },
}

/// One change that `up` made, or would make in a dry run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    pub what: Changed,
    pub change: ChangeKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    Member(MemberName),
    /// A task of the team file, by its key.
    Task(std::sync::Arc<str>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    Started,
    Restarted,
    Stopped,
    Added,
    /// The entry of a completed task changed: its new text is a task of its own.
    AddedAfter {
        completed: TaskId,
        task: TaskId,
    },
    Updated,
    /// The entry of a failed or cancelled task changed: the task is pending again, with the new text.
    Retried(TaskId),
    Cancelled,
    /// The task differs from the file but is in progress, so it was not changed.
    LeftInProgress,
}

/// A call with its answer, as stored in the journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AnsweredCall {
    pub key: CallKey,
    pub answer: Answer,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answers {
    callers: BTreeMap<Caller, CallerAnswers>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct CallerAnswers {
    last_used: Tick,
    /// The answered calls, oldest first.
    calls: VecDeque<AnsweredCall>,
    /// Hashes of the keys in `calls`. Most calls are new: a comparison of hashes detects this without comparing keys.
    hashes: VecDeque<u64>,
}

impl CallerAnswers {
    fn find(&self, key: &str) -> Option<&AnsweredCall> {
        let hash = stable_hash(key.bytes());
        let alike = self
            .hashes
            .iter()
            .zip(&self.calls)
            .rev()
            .filter(|(of, _)| **of == hash);
        alike.map(|(_, call)| call).find(|call| call.key.key == key)
    }
}

impl Answers {
    /// The first answer to this call, if an earlier call had the same key.
    pub(crate) fn repeated(&self, key: &CallKey) -> Result<Option<&Answer>, Refused> {
        let Some(kept) = self.callers.get(&key.caller) else {
            return Ok(None);
        };
        match kept.find(&key.key) {
            Some(call) if call.key.digest == key.digest => Ok(Some(&call.answer)),
            Some(_) => Err(Refused::KeyReused(key.key.clone())),
            None => Ok(None),
        }
    }

    pub(crate) fn keep(&mut self, now: Tick, call: AnsweredCall) {
        if !self.callers.contains_key(&call.key.caller) {
            self.callers.retain(|caller, kept| {
                matches!(caller, Caller::Launch(_)) || now.since(kept.last_used) < CLIENT_MS
            });
        }
        let kept = self
            .callers
            .entry(call.key.caller.clone())
            .or_insert_with(|| CallerAnswers {
                last_used: now,
                calls: VecDeque::new(),
                hashes: VecDeque::new(),
            });
        kept.last_used = now;
        if kept.calls.len() == KEPT {
            kept.calls.pop_front();
            kept.hashes.pop_front();
        }
        kept.hashes.push_back(stable_hash(call.key.key.bytes()));
        kept.calls.push_back(call);
    }

    pub(crate) fn forget_launch(&mut self, launch: &LaunchId) {
        self.callers.remove(&Caller::Launch(launch.clone()));
    }

    /// Drops the answers of launches: no launch outlives a reboot. Keeps the answers of clients: a client may repeat a
    /// call that was answered just before the reboot. Ticks of another boot cannot be compared, so the time of each
    /// client starts again.
    pub(crate) fn rebooted(&mut self, now: Tick) {
        let is_client = |caller: &Caller| matches!(caller, Caller::Client(_));
        self.callers.retain(|caller, _| is_client(caller));
        for kept in self.callers.values_mut() {
            kept.last_used = now;
        }
    }

    /// Every answer, with the tick at which its caller was last used; the most recently used caller first. A replay
    /// must add the answers in this order: [`Self::keep`] drops each client that was last used long before the tick of
    /// the added answer.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Tick, &AnsweredCall)> {
        let mut callers: Vec<&CallerAnswers> = self.callers.values().collect();
        callers.sort_by_key(|kept| std::cmp::Reverse(kept.last_used));
        callers
            .into_iter()
            .flat_map(|kept| kept.calls.iter().map(|call| (kept.last_used, call)))
    }
}
