//! Processes of launches: adopts the workers of an earlier supervisor, watches workers without a connection, and ends
//! process trees. Called by the driver.

use std::time::Duration;

use agent_team_core::Input;
use agent_team_core::effect::Scan;
use agent_team_core::input::{ProcessExit, StartFault};
use agent_team_core::member::Life;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::ReceiptOutcome;
use agent_team_protocol::{LaunchId, MemberName};
use agent_team_system::private_file;
use agent_team_system::process::ProcessId;
use agent_team_system::tree::{Tree, TreeSurvived};
use tokio::sync::{mpsc, oneshot};
use tokio::task::AbortHandle;

use super::Driver;
use super::launches::Watch;
use super::message::Message;
use crate::convert;
use crate::launch::{Order, StartResult};
use crate::machine::Machine;

/// How long a process tree may take to end before its survivors are reported and killed again.
const END_LIMIT: Duration = Duration::from_secs(5);

/// How long a terminal backend may take to report how a worker exited: the member's relaunch waits for the report.
const EXIT_ANSWER_LIMIT: Duration = Duration::from_millis(500);

impl Driver {
    /// Takes over launches that are still alive. Called after a start and after a failed commit.
    pub(super) fn adopt(&mut self) {
        self.urgent(Input::Resumed {
            boot: self.boot.clone(),
        });
        self.hold_unreadable();
        let launching: Vec<LaunchId> = self
            .team
            .members()
            .filter(|member| matches!(member.life, Life::Launching { .. }))
            .filter_map(|member| member.life.launch().map(|launch| launch.id.clone()))
            .filter(|launch| self.launches.get(launch).is_none())
            .collect();
        for launch in launching {
            // The process that unlinks the launch file owns the launch. If this unlink succeeds, no worker has taken
            // the file and none can take it later, so starting again cannot create a second worker for this launch.
            let file = self.directories.launch_file(launch.as_str());
            match private_file::discard(&file) {
                Ok(true) => self.report_untaken(launch),
                // The file is gone: a worker took it, or it was never written because the supervisor died between the
                // commit and the write. A worker that took it carries the launch's marker in its environment, so a
                // launch without any marked process never started. Otherwise the worker may connect until `give_up_at`.
                Ok(false) if self.is_without_process(&launch) => self.report_untaken(launch),
                Ok(false) => {}
                Err(error) => tracing::warn!(%launch, %error, "cannot remove the launch file"),
            }
        }
        let members = self.team.members();
        let launched = members.filter(|member| member.life.launch().is_some());
        for member in launched {
            // The member reports the error when it connects again.
            if let Err(error) = self.share_mcp(&member.spec.name) {
                tracing::error!(%error, "cannot listen on the socket of the MCP host");
            }
        }
        let processes: Vec<_> = self
            .team
            .members()
            .filter_map(|member| {
                Some((
                    member.spec.name.clone(),
                    member.life.launch()?.id.clone(),
                    convert::process(member.life.process()?),
                ))
            })
            .collect();
        for (member, launch, process) in processes {
            self.launches.add(&member, &launch);
            self.watch(launch, process);
        }
    }

    fn report_untaken(&mut self, launch: LaunchId) {
        self.advance(Input::NotStarted {
            launch,
            fault: StartFault::NeverStarted,
        });
    }

    /// Whether no process carries the launch's marker. Scans twice, because a scan can miss a process that is just
    /// executing another program (`execve` replaces the environment).
    fn is_without_process(&self, launch: &LaunchId) -> bool {
        let tree = Tree {
            marker: launch.as_str().to_owned(),
            ..Tree::default()
        };
        let is_empty = |survivors: std::io::Result<Vec<_>>| survivors.is_ok_and(|it| it.is_empty());
        (0..2).all(|_| is_empty(self.machine.survivors(&tree)))
    }

    /// Whether the worker shares its process with the supervisor or with other members, so that the pid does not
    /// identify the worker. For a launch of an earlier supervisor, assumes the member's desired placement.
    pub(super) fn is_hosted(&self, launch: &LaunchId, process: Option<ProcessId>) -> bool {
        let runtime = self.launches.get(launch);
        let placement = runtime.and_then(|runtime| runtime.placement()).or_else(|| {
            let member = self.team.member_of(launch)?;
            Some(self.views().wanted_placement(member))
        });
        placement == Some(Placement::Hosted)
            || process.is_some_and(|process| self.is_this_process(process))
    }

    /// Whether this is the supervisor's own process.
    fn is_this_process(&self, process: ProcessId) -> bool {
        let is_own = |now: Option<ProcessId>| now == Some(process);
        process.pid == self.machine.own_pid() && self.machine.process(process.pid).is_ok_and(is_own)
    }

    pub(super) fn disconnected(&mut self, launch: &LaunchId, connection: u64) {
        if self.launches.detach(launch, connection) {
            let process = self.team.member_of(launch);
            if let Some(process) = process.and_then(|member| member.life.process()) {
                self.watch(launch.clone(), convert::process(process));
            }
        }
    }

    /// Starts watching the process of a launch without a connection. Idempotent.
    pub(super) fn watch(&mut self, launch: LaunchId, process: ProcessId) {
        let Some(runtime) = self.launches.get(&launch) else {
            return;
        };
        if runtime.is_watched() {
            return;
        }
        let watch = if self.is_hosted(&launch, Some(process)) {
            self.launcher.order(Order::Watch(launch.clone(), process));
            Watch::Host
        } else if runtime.is_connected() {
            return;
        } else {
            let pane = runtime.pane().cloned();
            Watch::Process(self.report_end(runtime.member(), &launch, process, pane))
        };
        self.launches.set_watch(&launch, watch);
    }

    fn report_end(
        &self,
        member: &MemberName,
        launch: &LaunchId,
        process: ProcessId,
        pane: Option<String>,
    ) -> AbortHandle {
        let (driver, machine) = (self.to_self.clone(), self.machine.clone());
        let launcher = self.launcher.clone();
        let span = tracing::info_span!("launch", %member, %launch, pid = process.pid);
        let launch = launch.clone();
        let watch = async move {
            let mut exit = wait_for_end(&*machine, process).await;
            if let (ProcessExit::Unknown, Some(pane)) = (exit, pane) {
                let (reply, answer) = oneshot::channel();
                let pid = process.pid;
                launcher.order(Order::AskExit { pane, pid, reply });
                let answer = tokio::time::timeout(EXIT_ANSWER_LIMIT, answer).await;
                if let Ok(Ok(answer)) = answer {
                    exit = answer;
                }
            }
            tracing::info!(?exit, "the worker's process ended");
            let _driver_gone = driver.send(Message::Exited(launch, exit));
        };
        tokio::task::spawn_local(tracing::Instrument::instrument(watch, span)).abort_handle()
    }

    pub(super) fn started(&mut self, started: StartResult) {
        let StartResult {
            member,
            launch,
            outcome,
        } = started;
        let early = self.launches.start_reported(&launch);
        match outcome {
            Ok(worker) => {
                let process = worker.process;
                self.launches.started(&member, &launch, worker);
                self.watch(launch, process);
            }
            Err(why) if early.is_some() => {
                tracing::warn!(%member, %launch, why, "the launcher reported a failure, but the worker is running");
            }
            Err(why) => {
                tracing::warn!(%member, %launch, why, "cannot start the worker");
                let fault = StartFault::Failed(why);
                self.urgent(Input::NotStarted { launch, fault });
            }
        }
        if let Some(hello) = early {
            self.hello(hello);
        }
    }

    pub(super) fn end_tree(
        &mut self,
        member: &MemberName,
        launch: LaunchId,
        process: Option<ProcessId>,
        scan: Scan,
    ) {
        // Remove the launch file before the scan for processes. Otherwise, a worker that has not yet taken the file
        // could start after the end of its process tree was reported.
        let file = self.directories.launch_file(launch.as_str());
        if let Err(error) = private_file::discard(&file) {
            tracing::warn!(file = %file.display(), %error, "cannot remove a launch file");
        }
        let runtime = self.launches.add(member, &launch);
        let root = process.or(runtime.started_process());
        let sessions = runtime.sessions().to_vec();
        // A hosted worker shares the process of its host: killing that pid would end the host, or this supervisor. The
        // host ends the worker. The launch marker and the registered sessions identify the programs that the worker
        // started.
        let is_hosted = self.is_hosted(&launch, root);
        let hosted_end = is_hosted.then(|| {
            let (gone, hosted_end) = oneshot::channel();
            self.launcher.order(Order::End {
                launch: launch.clone(),
                process: root,
                gone,
            });
            hosted_end
        });
        let root = root.filter(|_| !is_hosted);
        let scan = if root.is_none() {
            Scan::Everything
        } else {
            scan
        };
        let marker = launch.as_str().to_owned();
        let (driver, machine) = (self.to_self.clone(), self.machine.clone());
        let span = tracing::info_span!("launch", %member, %launch);
        tokio::task::spawn_local(tracing::Instrument::instrument(
            async move {
                let mut ended: Vec<u32> = Vec::new();
                if let Some(hosted_end) = hosted_end {
                    wait_for_hosted(hosted_end, &launch, &driver).await;
                }
                loop {
                    let result = match (scan, root) {
                        (Scan::ProcessAlone, Some(root)) => machine.kill_process(root, END_LIMIT),
                        _ => {
                            let tree = Tree {
                                root,
                                sessions: sessions.clone(),
                                marker: marker.clone(),
                            };
                            machine.kill_tree(tree, END_LIMIT)
                        }
                    };
                    let result = result.await;
                    match result {
                        Ok(more) => {
                            ended.extend(more.iter().map(|process| process.pid));
                            if let Some(root) = root.filter(|root| !ended.contains(&root.pid)) {
                                ended.insert(0, root.pid);
                            }
                            tracing::info!(?ended, "all processes of the launch have ended");
                            let _driver_gone = driver.send(Message::TreeEnded { launch, ended });
                            return;
                        }
                        Err(TreeSurvived::Alive {
                            survivors,
                            ended: more,
                        }) => {
                            ended.extend(more.iter().map(|process| process.pid));
                            let pids: Vec<u32> =
                                survivors.iter().map(|process| process.pid).collect();
                            tracing::error!(?pids, "processes of the launch do not end");
                            let survived = Message::TreeSurvived {
                                launch: launch.clone(),
                                pids,
                            };
                            let _driver_gone = driver.send(survived);
                        }
                        Err(TreeSurvived::Unknown(error)) => {
                            tracing::error!(%error, "cannot list the processes of the launch");
                            tokio::time::sleep(END_LIMIT).await;
                        }
                    }
                }
            },
            span,
        ));
    }

    pub(super) fn tree_ended(&mut self, launch: LaunchId, ended: Vec<u32>) {
        // The worker may have exited before the driver watched it, and would then stay a zombie.
        self.machine.reap();
        self.note_ended(&launch, &ended, ReceiptOutcome::Ended);
        // A worker that was killed has not removed its sockets. Most workers have none.
        let directories = &self.directories;
        for socket in [
            directories.joined_socket(launch.as_str()),
            directories.member_socket(launch.as_str()),
            directories.hook_socket(launch.as_str()),
        ] {
            let _absent = std::fs::remove_file(socket);
        }
        let _absent = std::fs::remove_dir_all(directories.agent_files(launch.as_str()));
        self.launches.remove(&launch);
        self.urgent(Input::TreeGone { launch });
    }

    pub(super) fn tree_survived(&mut self, launch: &LaunchId, pids: &[u32]) {
        self.note_ended(launch, pids, ReceiptOutcome::Survived);
        // A process survives SIGKILL: callers of `down` are answered now, while the kill is retried.
        self.down.answer();
    }
}

/// Waits until a process has ended. After an error, for example for lack of a file descriptor, the process may be alive
/// or dead: the wait is retried every second.
async fn wait_for_end(machine: &dyn Machine, process: ProcessId) -> ProcessExit {
    const AGAIN: Duration = Duration::from_secs(1);
    loop {
        match machine.wait_for_exit(process).await {
            Ok(exit) => {
                machine.reap();
                return exit;
            }
            Err(error) => tracing::error!(%error, "cannot watch the worker's process"),
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Waits until the hosted worker of a launch has ended. At each timeout, reports the worker as a survivor and continues
/// to wait. A dropped sender means that it is unknown whether the worker has ended: the worker is reported as a
/// survivor too, and this function never returns.
async fn wait_for_hosted(
    mut hosted_end: oneshot::Receiver<()>,
    launch: &LaunchId,
    driver: &mpsc::UnboundedSender<Message>,
) {
    loop {
        let in_time = tokio::time::timeout(END_LIMIT, &mut hosted_end).await;
        if matches!(in_time, Ok(Ok(()))) {
            return;
        }
        tracing::error!("the hosted worker does not end");
        let survived = Message::TreeSurvived {
            launch: launch.clone(),
            pids: vec![std::process::id()],
        };
        let _driver_gone = driver.send(survived);
        if in_time.is_ok() {
            return std::future::pending().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_dropped_end_report_is_not_an_end() {
        let (gone, hosted_end) = oneshot::channel();
        let (driver, mut messages) = mpsc::unbounded_channel();
        drop(gone);
        let launch = LaunchId::from_bits(1);
        tokio::select! {
            biased;
            () = wait_for_hosted(hosted_end, &launch, &driver) => panic!("the end is unknown"),
            message = messages.recv() => {
                assert!(matches!(message, Some(Message::TreeSurvived { .. })));
            }
        }
    }
}
