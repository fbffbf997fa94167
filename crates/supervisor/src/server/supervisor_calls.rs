//! Calls that the server answers itself: status, stop and restart of the supervisor, and listing, `up` and deletion of
//! teams. A call can wait for several teams, so each call runs in its own tokio task.

use agent_team_core::Call;
use agent_team_protocol::initialize::{BUILD, PROTOCOL};
use agent_team_protocol::method::{self as m, Method, Nothing};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::view::{Receipt, SupervisorView};
use agent_team_protocol::{Refusal, TeamId};
use agent_team_system::process::resident_bytes;
use serde_json::value::RawValue;
use tokio::sync::oneshot;

use super::dispatch::SupervisorCall;
use super::{ConnectionContext, Server, ShutdownTrigger, send_to_driver};
use crate::driver::{self, Change, DriverHandle, Message, RequestKind, UpRequest};
use crate::environment::Environment;
use crate::launch::backend;
use crate::outbox::Reply;
use crate::settings_file;

/// How an `up` call continues.
enum UpStep {
    Run(DriverHandle, Box<UpRequest>),
    /// The preview for a team that would be created or replaced; nothing was written.
    Preview(m::UpAnswer),
}

fn count(number: impl TryInto<u32>) -> u32 {
    number.try_into().unwrap_or(u32::MAX)
}

impl Server {
    pub(super) async fn answer(
        &self,
        call: SupervisorCall,
        team: Option<TeamRef>,
        key: Option<String>,
        digest: u64,
        context: &ConnectionContext,
        reply: Reply,
    ) {
        match call {
            SupervisorCall::ListTeams => reply.ok(&self.teams.list()),
            SupervisorCall::Status => reply.ok(&self.status().await),
            SupervisorCall::Up(up) => self.up(*up, key, digest, context, reply).await,
            SupervisorCall::Delete => {
                let deleted = match self.teams.find(team.as_ref()) {
                    Ok(driver) => self.teams.delete_for_good(&driver).await,
                    Err(refusal) => Err(refusal),
                };
                match deleted {
                    Ok(answer) => reply.ok(&answer),
                    Err(refusal) => self.refuse(reply, refusal),
                }
            }
            SupervisorCall::Stop => {
                let receipts = self.down_all(context).await;
                if self.is_closing() {
                    // A signal started the shutdown first: some teams were closed instead of taken down, so the
                    // receipts are incomplete. The connection ends without an answer.
                    return;
                }
                reply.ok(&m::DownAnswer { receipts });
                let _already_stopping = self.trigger.send(ShutdownTrigger::Stop);
            }
            // Check the settings before stopping: if the next supervisor could not start with them, the teams would be
            // without a supervisor.
            SupervisorCall::Restart => match settings_file::durability(&self.directories) {
                Ok(_) => {
                    reply.ok(&Nothing {});
                    let _already_stopping = self.trigger.send(ShutdownTrigger::Restart);
                }
                Err(error) => reply.refuse(error.into()),
            },
        }
    }

    /// Runs `up`. If it is refused for a new team, the team is removed from disk again. A dry run never creates a team.
    async fn up(
        &self,
        up: m::Up,
        key: Option<String>,
        digest: u64,
        context: &ConnectionContext,
        reply: Reply,
    ) {
        let team = TeamId::new(&up.spec.name, &up.spec.project);
        let existed = self.directories.team(team.as_str()).exists();
        let (driver, wanted) = match self.next_step(up, existed).await {
            Ok(UpStep::Run(driver, wanted)) => (driver, wanted),
            Ok(UpStep::Preview(answer)) => return reply.ok(&answer),
            Err(refusal) => return self.refuse(reply, refusal),
        };
        let (method, kind) = (m::TeamUp::ENTRY, RequestKind::Change(Change::Up(wanted)));
        if existed {
            return context.call_driver(&driver, method, key, digest, reply, kind);
        }
        let (internal, answer) = Reply::internal(&context.outbox);
        context.call_driver(&driver, method, key, digest, internal, kind);
        let answer = answer.await;
        if self.is_closing() && answer.is_err() {
            // The call may be stored. The team stays on disk, so that the repeated call finds the first answer.
            return;
        }
        if !matches!(answer, Ok(Ok(_)))
            && let Err(refusal) = self.teams.delete(&driver).await
        {
            tracing::error!(%team, %refusal, "cannot remove a team that was not started");
        }
        match answer.map(|answer| answer.map(RawValue::from_string)) {
            Ok(Ok(Ok(answer))) => reply.ok(&answer),
            Ok(Ok(Err(error))) => reply.refuse(Refusal::internal(error.to_string())),
            Ok(Err(refusal)) => reply.refuse(refusal),
            // The driver has stopped: the caller sees the connection end.
            Err(_driver_gone) => {}
        }
    }

    async fn next_step(&self, up: m::Up, existed: bool) -> Result<UpStep, Refusal> {
        let m::Up {
            spec,
            environment: variables,
            named,
            secrets,
            terminal,
            dry_run,
            fresh,
        } = up;
        let environment = Environment {
            variables,
            named,
            secrets,
        };
        environment.check()?;
        let team_placement = if self.teams.are_hosted() {
            backend::hosted()
        } else {
            backend::choose(spec.placement, &terminal, &self.directories).await?
        };
        if fresh && existed {
            self.teams.for_up(&spec)?.refuse_if_up()?;
        }
        if fresh || !existed {
            // Check first: a refused specification must neither create a team nor delete the team that `fresh`
            // replaces.
            let answer = driver::preview(&spec, &team_placement, self.now())?;
            if dry_run {
                return Ok(UpStep::Preview(answer));
            }
        }
        let mut driver = self.teams.for_up(&spec)?;
        if fresh && existed {
            self.teams.delete(&driver).await?;
            driver = self.teams.for_up(&spec)?;
        }
        let wanted = UpRequest {
            spec,
            environment,
            team_placement,
            dry_run,
        };
        Ok(UpStep::Run(driver, Box::new(wanted)))
    }

    async fn status(&self) -> SupervisorView {
        let mut teams = Vec::new();
        for driver in self.teams.drivers() {
            let (reply, status) = oneshot::channel();
            send_to_driver(&driver, Message::Status(reply));
            teams.extend(status.await);
        }
        let pid = self.machine.own_pid();
        SupervisorView {
            pid,
            build: BUILD.to_owned(),
            protocol: PROTOCOL.max,
            socket: self.directories.socket(),
            log: self.directories.supervisor_log(),
            up_ms: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            resident_bytes: resident_bytes(pid).ok().flatten().unwrap_or(0),
            connections: self.connections.get(),
            descriptors: count(agent_team_system::descriptors::open().unwrap_or(0)),
            descriptors_max: count(self.descriptors_max),
            teams,
        }
    }

    /// Takes every team down and collects the receipts, which also name survivors.
    async fn down_all(&self, context: &ConnectionContext) -> Vec<Receipt> {
        let mut receipts = Vec::new();
        for driver in self.teams.drivers() {
            let (reply, answer) = Reply::internal(&context.outbox);
            context.call_driver(
                &driver,
                m::TeamDown::ENTRY,
                None,
                0,
                reply,
                RequestKind::Change(Change::Call(Box::new(Call::Down { force: false }))),
            );
            match answer.await {
                Ok(Ok(answer)) => {
                    let answer: Result<m::DownAnswer, _> = serde_json::from_str(&answer);
                    receipts.extend(answer.map(|answer| answer.receipts).unwrap_or_default());
                }
                Ok(Err(refusal)) => {
                    tracing::error!(team = %driver.identity.team, %refusal, "cannot take the team down")
                }
                Err(_driver_gone) => {}
            }
        }
        receipts
    }
}
