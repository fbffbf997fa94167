//! Tests of the backend with a real tmux. This file contains their rig.

mod arrange;
mod close;
mod show;
mod start;

use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use agent_team_protocol::LaunchId;
use agent_team_protocol::spec::Colour;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};
use agent_team_system::process::{ExitWatch, ProcessId, Signal};

use super::testing::{Server, tmux_or_skip};
use super::*;
use crate::launch::order::{ProgramTask, TeamSummary};

/// A worker that writes its arguments and environment to a file beside its launch file, then sleeps.
const WORKER: &str = "#!/bin/sh\nprintf '%s|' \"$@\" \"$AGENT_TEAM_LAUNCH\" \"$PWD\" \"${CARGO_MANIFEST_DIR-none}\" > \"$2.record\"\nexec sleep 600\n";

struct Rig {
    server: Server,
    panes: TmuxPanes,
    worker: PathBuf,
    launches: u128,
}

impl Rig {
    fn in_team_session(binary: PathBuf) -> Self {
        Self::over(
            Server::not_started(binary),
            TmuxSession::Own,
            Layout::MainVertical,
            (200, 50),
        )
    }

    fn in_user_session(binary: PathBuf) -> Self {
        Self::over(
            Server::start(binary),
            TmuxSession::OfUser("$0".to_owned()),
            Layout::MainVertical,
            (200, 50),
        )
    }

    fn over(server: Server, session: TmuxSession, layout: Layout, size: (u16, u16)) -> Self {
        let worker = server.directory.path().join("worker");
        std::fs::write(&worker, WORKER).unwrap();
        std::fs::set_permissions(&worker, std::fs::Permissions::from_mode(0o700)).unwrap();
        let panes = panes(&server, session, layout, size);
        Self {
            server,
            panes,
            worker,
            launches: 0,
        }
    }

    /// Simulates a restarted supervisor, which has no cached state.
    fn restart_supervisor(&mut self) {
        self.panes = panes(
            &self.server,
            self.panes.session.clone(),
            self.panes.layout,
            (200, 50),
        );
    }

    fn order(&mut self, member: &str) -> LaunchOrder {
        self.launches += 1;
        let launch = LaunchId::from_bits(self.launches);
        LaunchOrder {
            member: member.parse().unwrap(),
            task: ProgramTask::Launch {
                file: self.server.directory.path().join(launch.as_str()),
            },
            launch,
            program: self.worker.clone(),
            placement: agent_team_protocol::placement::Placement::Tmux,
            label: label("worker, idle"),
        }
    }

    async fn start(&mut self, members: &[&str]) -> Vec<StartedWorker> {
        let orders: Vec<_> = members.iter().map(|member| self.order(member)).collect();
        let outcomes = self.panes.start(&orders).await;
        outcomes
            .into_iter()
            .map(|outcome| outcome.unwrap())
            .collect()
    }
}

fn panes(server: &Server, session: TmuxSession, layout: Layout, size: (u16, u16)) -> TmuxPanes {
    let site = TmuxSite {
        binary: server.binary.clone(),
        socket: server.socket().to_owned(),
        session,
        size,
        control_mode: false,
    };
    let home = server.directory.path().join("at");
    let directories = Directories {
        state: home.join("state"),
        run: home.join("run"),
        config: home.join("config"),
    };
    directories.prepare().unwrap();
    TmuxPanes::new(team(), site, layout, Theme::Dark, &directories)
}

/// A caller inside or outside tmux.
fn caller_terminal(tmux: Option<&str>) -> CallerTerminal {
    CallerTerminal {
        tmux: tmux.map(str::to_owned),
        ..CallerTerminal::default()
    }
}

fn team() -> TeamId {
    TeamId::from_directory_name("demo-12345678").unwrap()
}

fn label(text: &str) -> Label {
    Label {
        colour: Colour::Green,
        text: text.to_owned(),
        asks: false,
    }
}

fn names(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("m{n}")).collect()
}

fn id(running: &StartedWorker) -> &str {
    running.pane.as_deref().unwrap()
}

fn is_alive(running: &StartedWorker) -> bool {
    running.process.is_alive().unwrap()
}

/// Waits until a killed process has exited.
async fn wait_for_exit(running: &StartedWorker) {
    if let Some(mut watch) = ExitWatch::open(running.process).unwrap() {
        assert!(watch.exited_within(Duration::from_secs(10)).await.unwrap());
    }
}

fn fates(receipts: &[Receipt]) -> Vec<(ReceiptKind, &str, ReceiptOutcome)> {
    receipts
        .iter()
        .map(|receipt| (receipt.kind, receipt.what.as_str(), receipt.outcome))
        .collect()
}

/// The record that a started worker wrote. `file` is the worker's launch file.
async fn worker_record(file: &std::path::Path) -> String {
    let file = PathBuf::from(format!("{}.record", file.display()));
    let wait = async {
        // Poll: no notification reports that the file is written.
        let mut polls = tokio::time::interval(Duration::from_millis(5));
        loop {
            polls.tick().await;
            match std::fs::read_to_string(&file) {
                Ok(text) if text.matches('|').count() == 5 => return text,
                Ok(_) | Err(_) => {}
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(10), wait)
        .await
        .expect("the worker writes its arguments")
}
