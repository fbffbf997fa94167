//! Workers within this process: started by the program that embeds the supervisor, known by their launches alone, as
//! they all have the program's pid.

use std::collections::HashMap;
use std::sync::Arc;

use agent_team_core::member::ProcessStamp;
use agent_team_protocol::LaunchId;
use agent_team_protocol::view::Placement;
use agent_team_system::process::ProcessId;
use tokio::sync::{mpsc, oneshot, watch};

use super::{LaunchOrder, ProgramTask, Running};
use crate::driver::Message;
use crate::embed::{Host, Hosted};

pub(super) struct HostedWorkers {
    host: Arc<dyn Host>,
    workers: HashMap<LaunchId, Worker>,
    driver: mpsc::UnboundedSender<Message>,
}

struct Worker {
    /// `None`: it was told to end.
    end: Option<oneshot::Sender<()>>,
    /// True when nothing of it is left.
    gone: watch::Receiver<bool>,
}

impl HostedWorkers {
    pub(super) fn new(host: Arc<dyn Host>, driver: mpsc::UnboundedSender<Message>) -> Self {
        Self {
            host,
            workers: HashMap::new(),
            driver,
        }
    }

    pub(super) fn start(&mut self, order: &LaunchOrder) -> Result<Running, String> {
        self.workers.retain(|_, worker| !*worker.gone.borrow());
        let own = ProcessId::current().map_err(|error| error.to_string())?;
        let ProgramTask::Launch { file } = &order.task else {
            return Err("it has no terminal to be shown on".to_owned());
        };
        let hosted = self.host.start(&order.member, file);
        let Hosted { end, ended } = hosted.map_err(|error| error.to_string())?;
        let (left, gone) = watch::channel(false);
        let (driver, launch) = (self.driver.clone(), order.launch.clone());
        tokio::task::spawn_local(async move {
            // Either way there is nobody left who could say more.
            let _ended = ended.await;
            left.send_replace(true);
            let _driver_gone = driver.send(Message::Exited(launch));
        });
        let worker = Worker {
            end: Some(end),
            gone,
        };
        self.workers.insert(order.launch.clone(), worker);
        Ok(Running {
            process: ProcessStamp {
                pid: own.pid,
                start_time: own.start_time,
            },
            placement: Placement::Hosted,
            pane: None,
        })
    }

    /// A launch that is not known here was another supervisor's, whose workers ended before it let go of the lock.
    pub(super) fn watch(&self, launch: LaunchId) {
        if !self.workers.contains_key(&launch) {
            let _driver_gone = self.driver.send(Message::Exited(launch));
        }
    }

    pub(super) fn end(&mut self, launch: &LaunchId, ended: oneshot::Sender<()>) {
        let Some(worker) = self.workers.get_mut(launch) else {
            return;
        };
        worker.end = None;
        let mut gone = worker.gone.clone();
        tokio::task::spawn_local(async move {
            // It comes to an end with the task that watches the worker, which is then over.
            let _gone = gone.wait_for(|gone| *gone).await;
            let _asker_gone = ended.send(());
        });
    }
}
