//! The simulated disk: commits are answered at once or after a seeded delay. While the simulated disk is full, each
//! commit that is not urgent fails with one of two errors: a full disk or a locked database. The journal itself is the
//! real store's.

use std::path::PathBuf;
use std::pin::Pin;
use std::time::Duration;

use agent_team_store::{Batch, CommitError, Writer};
use agent_team_supervisor::machine::{CommitResult, Committer, Submitted};
use tokio::time::sleep;

use super::machine::Machine;

/// The simulated disk of one team.
pub(super) struct Disk {
    writer: Writer,
    machine: Machine,
    under_way: Option<UnderWay>,
}

/// A submitted batch whose answer the caller has not received yet.
enum UnderWay {
    /// The batch is not stored yet: a crash loses it.
    Batch(Box<Batch>),
    /// The batch is committed with this result: a crash keeps the stored data, although the caller receives no answer.
    Answer(Box<CommitResult>),
}

impl Disk {
    pub(super) fn new(writer: Writer, machine: Machine) -> Self {
        Self {
            writer,
            machine,
            under_way: None,
        }
    }

    fn commit(&mut self, batch: Batch) -> CommitResult {
        if self.machine.is_disk_full() && !batch.urgent {
            let file = PathBuf::from("/simulated");
            return Err(match self.machine.roll(3) {
                0 => CommitError::Locked(file),
                _ => CommitError::Full(file),
            });
        }
        self.writer.commit(batch)
    }
}

impl Committer for Disk {
    fn submit(&mut self, batch: Batch, _alone: bool) -> Submitted {
        let under_way = match self.machine.roll(4) {
            0 => UnderWay::Batch(Box::new(batch)),
            1 => UnderWay::Answer(Box::new(self.commit(batch))),
            _ => return Submitted::Answered(Box::new(self.commit(batch))),
        };
        self.under_way = Some(under_way);
        Submitted::UnderWay
    }

    fn answer(&mut self) -> Pin<Box<dyn Future<Output = Option<CommitResult>> + '_>> {
        Box::pin(async {
            let ms = match self.machine.roll(20) {
                0 => 20 + self.machine.roll(60),
                _ => self.machine.roll(5),
            };
            sleep(Duration::from_millis(ms)).await;
            let answer = match self.under_way.take()? {
                UnderWay::Batch(batch) => self.commit(*batch),
                UnderWay::Answer(answer) => *answer,
            };
            self.writer.upkeep();
            Some(answer)
        })
    }

    fn upkeep(&mut self) {
        self.writer.upkeep();
    }

    fn close(self: Box<Self>) {
        self.writer.close();
    }
}
