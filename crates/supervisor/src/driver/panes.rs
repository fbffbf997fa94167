//! Panes of members: assigns found panes to members, opens new panes for members whose pane is gone, and lends
//! terminals. Called by the driver.
//!
//! A pane is only a display and does not show whether a member is alive. A member is in a pane when the terminal
//! backend reports that the pane's process is its worker, or the attach helper that lends its terminal to the worker.

use std::path::PathBuf;

use agent_team_core::member::{Life, Member};
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::method::{
    Attach, AttachAnswer, LendTerminal, LendTerminalAnswer, ReopenAnswer,
};
use agent_team_protocol::notification::PaneShown;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::{ErrorCode, LaunchId, MemberName, Refusal};
use agent_team_system::process::ProcessId;
use agent_team_system::sibling_binary::{FindBinaryError, sibling_binary};
use tokio::sync::oneshot;

use super::Driver;
use super::launches::LaunchRuntime;
use super::views::unknown_member;
use crate::launch::{FoundPane, LaunchOrder, Order, ProgramTask, TerminalLoan};
use crate::outbox::Reply;

impl Driver {
    /// Assigns panes to members by the process in them. Includes panes that an earlier supervisor opened.
    pub(super) fn panes_found(&mut self, panes: Vec<FoundPane>) {
        for found in panes {
            if let Some(member) = self.launches.assign_pane(&self.team, found) {
                self.publish_change(&member);
            }
        }
    }

    pub(super) fn pane_lost(&mut self, launch: &LaunchId) {
        self.launches.note_activity(launch);
        if let Some(member) = self.launches.lose_pane(launch) {
            tracing::info!(%member, "lost its pane; continues headless");
            self.publish_change(&member);
            // The pane can still exist with a dead attach helper. A label order makes the tmux backend send SIGCHLD to
            // its server, so that tmux notices the dead process and the pane shows how to reopen it.
            let found = self.team.member(&member);
            if let Some(label) = found.and_then(|found| self.views().label(found)) {
                self.launcher.order(Order::Label(member, label));
            }
        }
    }

    /// Handles the report that a process lends its terminal to the worker. The terminal backend then reports the pane
    /// in which that process runs, if there is one.
    pub(super) fn pane_shown(&mut self, launch: &LaunchId, shown: &PaneShown) {
        self.launches.note_activity(launch);
        let attach_helper = ProcessId {
            pid: shown.pid,
            start_time: shown.start_time,
        };
        if self.launches.set_attach_helper(launch, attach_helper) {
            self.launcher.order(Order::FindPanes);
        }
    }

    /// Lends a terminal to a launch's worker.
    pub(crate) fn lend_terminal(&mut self, reply: Reply, lend: &LendTerminal) {
        let exited = || Refusal::new(ErrorCode::NoPane, "the member has exited");
        let Some(member) = self.team.member_of(&lend.launch) else {
            return reply
                .refuse(exited().hint(format!("list the members with: {}", CommandLine::Ps)));
        };
        let name = member.spec.name.clone();
        let runtime = self.launches.get(&lend.launch);
        let Some(process) = runtime.and_then(LaunchRuntime::process) else {
            let refusal = format!("{name} is not connected");
            return reply.refuse(Refusal::new(ErrorCode::NoPane, refusal).hint("try again"));
        };
        if self.is_hosted(&lend.launch, Some(process)) {
            return reply.refuse(no_own_process(&name));
        }
        let ProcessId { pid, start_time } = process;
        // The attach helper is answered before the worker is notified: the worker may release the terminal at once,
        // and by then the helper must know which process it waits for.
        reply.ok(&LendTerminalAnswer {
            member: name.clone(),
            pid,
            start_time,
        });
        self.notify(&name, &lend.show);
    }

    pub(crate) fn attach(&self, reply: Reply, attach: Attach) {
        let Attach {
            member,
            read_only,
            terminal,
        } = attach;
        let lend = match &member {
            None => None,
            Some(name) => match self.team.member(name) {
                None => return reply.refuse(unknown_member(&self.team, name)),
                Some(member) => self.lend_to(member, read_only),
            },
        };
        let (answered, answer) = oneshot::channel();
        self.launcher.order(Order::Attach {
            member,
            read_only,
            terminal,
            lend,
            reply: answered,
        });
        answer_with(reply, answer, |answer| answer);
    }

    /// How the caller's terminal is lent to a member. `None` if the member is hosted or not connected, or if the attach
    /// helper cannot be run.
    fn lend_to(&self, member: &Member, read_only: bool) -> Option<TerminalLoan> {
        let (launch, runtime) = self.launches.of(&self.team, &member.spec.name)?;
        let worker = runtime.process()?;
        if self.is_hosted(launch, Some(worker)) {
            return None;
        }
        let flag = if read_only { "--watch" } else { "--attach" };
        let program = attach_helper_program().ok()?;
        let mut argv = vec![program];
        argv.extend(self.attach_arguments(flag, launch));
        let argv = argv.iter().map(|word| word.to_str().map(str::to_owned));
        let attach_helper = runtime
            .attach_helper()
            .map(|attach_helper| attach_helper.pid);
        Some(TerminalLoan {
            shown_by: [Some(worker.pid), attach_helper]
                .into_iter()
                .flatten()
                .collect(),
            answer: AttachAnswer {
                argv: argv.collect::<Option<_>>()?,
                unset: Vec::new(),
            },
        })
    }

    /// Arguments of the attach helper for a launch's worker.
    fn attach_arguments(&self, flag: &str, launch: &LaunchId) -> Vec<PathBuf> {
        vec![
            flag.into(),
            self.directories.socket(),
            self.identity.team.as_str().into(),
            launch.as_str().into(),
        ]
    }

    /// Opens panes for members without one.
    pub(crate) fn reopen(&self, reply: Reply, member: Option<MemberName>) {
        let orders = match member {
            None => Ok(self.without_panes()),
            Some(name) => match self.team.member(&name) {
                None => return reply.refuse(unknown_member(&self.team, &name)),
                Some(member) => self
                    .pane_for(member)
                    .map(|order| order.into_iter().collect()),
            },
        };
        let orders: Vec<_> = match orders {
            Ok(orders) => orders,
            Err(refusal) => return reply.refuse(refusal),
        };
        let (shown, answer) = oneshot::channel();
        self.launcher.order(Order::OpenPanes(orders, shown));
        answer_with(reply, answer, |panes| Ok(ReopenAnswer { panes }));
    }

    /// Opens panes for all members without one. No caller waits for the result; failures are logged.
    pub(super) fn reopen_all(&self) {
        let orders = self.without_panes();
        if orders.is_empty() {
            return;
        }
        let (shown, answer) = oneshot::channel();
        self.launcher.order(Order::OpenPanes(orders, shown));
        tokio::task::spawn_local(async move {
            for pane in answer.await.unwrap_or_default() {
                if let Some(why) = pane.why {
                    tracing::warn!(member = %pane.member, why, "cannot open a pane");
                }
            }
        });
    }

    fn without_panes(&self) -> Vec<LaunchOrder> {
        let members = self.team.members();
        members
            .filter_map(|member| self.pane_for(member).ok().flatten())
            .collect()
    }

    /// The order that opens a pane for a connected worker; `None` if the worker already has a pane.
    fn pane_for(&self, member: &Member) -> Result<Option<LaunchOrder>, Refusal> {
        let name = &member.spec.name;
        let refused = |why: String| Refusal::new(ErrorCode::NoPane, why);
        let placement = self.views().wanted_placement(member);
        if placement == Placement::Hosted {
            return Err(no_own_process(name));
        }
        if !placement.has_panes() {
            let team = self.views().placement();
            return Err(refused(format!(
                "cannot open a pane for {name}: the team runs {team}"
            ))
            .hint(format!(
                "show it in this terminal with: {}",
                CommandLine::Attach(name)
            )));
        }
        let Some((launch, runtime)) = self.launches.of(&self.team, name) else {
            return Err(refused(format!("{name} is not running")).hint(format!(
                "start it in a pane with: {}",
                CommandLine::Restart(name)
            )));
        };
        if runtime.pane().is_some() {
            return Ok(None);
        }
        let worker = match (&member.life, runtime.process()) {
            (Life::Ready { .. } | Life::Draining { .. }, Some(process)) => process,
            _ => {
                return Err(
                    refused(format!("{name} is not connected")).hint("try again in a moment")
                );
            }
        };
        let failed = |why: String| Refusal::new(ErrorCode::Internal, why);
        let program = attach_helper_program().map_err(|error| failed(error.to_string()))?;
        let label = self
            .views()
            .label(member)
            .ok_or_else(|| unknown_member(&self.team, name))?;
        let arguments = self.attach_arguments("--hold", launch).into_iter();
        Ok(Some(LaunchOrder {
            member: name.clone(),
            launch: launch.clone(),
            program,
            task: ProgramTask::AttachHelper {
                worker: worker.pid,
                arguments: arguments.map(Into::into).collect(),
            },
            placement,
            label,
        }))
    }
}

/// The attach helper is part of every worker program; the program of the command engine is the smallest.
fn attach_helper_program() -> Result<PathBuf, FindBinaryError> {
    sibling_binary(Engine::Command.worker())
}

fn no_own_process(name: &MemberName) -> Refusal {
    let text = format!("{name} runs in a shared process and has no terminal");
    Refusal::new(ErrorCode::NoPane, text).hint(format!(
        "follow its output with: {}",
        CommandLine::FollowLog(name)
    ))
}

/// Converts the launcher's answer and sends it to the caller.
fn answer_with<T: 'static, A: serde::Serialize>(
    reply: Reply,
    answer: oneshot::Receiver<T>,
    convert: impl FnOnce(T) -> Result<A, Refusal> + 'static,
) {
    tokio::task::spawn_local(async move {
        match answer.await.map(convert) {
            Ok(Ok(answer)) => reply.ok(&answer),
            Ok(Err(refusal)) => reply.refuse(refusal),
            Err(_) => reply.refuse(Refusal::internal("the launcher has stopped")),
        }
    });
}
