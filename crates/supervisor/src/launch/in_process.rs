//! Workers inside the supervisor's process, started by the program that embeds the supervisor. They are identified by
//! launch only, because they all have the program's pid. Called by the team's launcher.

use std::collections::HashMap;
use std::sync::Arc;

use agent_team_protocol::LaunchId;
use agent_team_protocol::placement::Placement;
use agent_team_system::process::ProcessId;
use tokio::sync::{oneshot, watch};

use super::order::{LaunchOrder, ProgramTask};
use super::report::{LaunchReport, ReportSender, StartedWorker};
use crate::host::{Host, Hosted};

pub(super) struct HostedWorkers {
    host: Arc<dyn Host>,
    workers: HashMap<LaunchId, Worker>,
    reports: ReportSender,
}

struct Worker {
    /// `None` once the worker was asked to end.
    end: Option<oneshot::Sender<()>>,
    /// True when the worker has ended.
    gone: watch::Receiver<bool>,
}

impl HostedWorkers {
    pub(super) fn new(host: Arc<dyn Host>, reports: ReportSender) -> Self {
        Self {
            host,
            workers: HashMap::new(),
            reports,
        }
    }

    pub(super) fn start(&mut self, order: &LaunchOrder) -> Result<StartedWorker, String> {
        self.workers.retain(|_, worker| !*worker.gone.borrow());
        let process = ProcessId::current().map_err(|error| error.to_string())?;
        let ProgramTask::Launch { file } = &order.task else {
            return Err("a hosted member has no terminal".to_owned());
        };
        let hosted = self.host.start(&order.member, file);
        let Hosted { end, ended } = hosted.map_err(|error| error.to_string())?;
        let (set_gone, gone) = watch::channel(false);
        let (reports, launch) = (self.reports.clone(), order.launch.clone());
        tokio::task::spawn_local(async move {
            // A value and an error mean the same: the worker has ended.
            let _ended = ended.await;
            set_gone.send_replace(true);
            reports.send(LaunchReport::Exited(launch));
        });
        let worker = Worker {
            end: Some(end),
            gone,
        };
        self.workers.insert(order.launch.clone(), worker);
        Ok(StartedWorker {
            process,
            placement: Placement::Hosted,
            pane: None,
        })
    }

    /// Reports an unknown launch as ended: it belongs to an earlier supervisor, whose workers end with it. The end of a
    /// known worker is reported without this call.
    pub(super) fn watch(&self, launch: LaunchId) {
        if !self.workers.contains_key(&launch) {
            self.reports.send(LaunchReport::Exited(launch));
        }
    }

    /// Ends the worker, and answers when it has ended. An unknown launch has ended, as in [`Self::watch`].
    pub(super) fn end(&mut self, launch: &LaunchId, ended: oneshot::Sender<()>) {
        let Some(worker) = self.workers.get_mut(launch) else {
            let _asker_gone = ended.send(());
            return;
        };
        worker.end = None;
        let mut gone = worker.gone.clone();
        tokio::task::spawn_local(async move {
            // An error means that the tokio task that waits for the worker's end is gone. That task ends only after the
            // worker.
            let _gone = gone.wait_for(|gone| *gone).await;
            let _asker_gone = ended.send(());
        });
    }
}
