//! The handshake of workers: checks the launch's token and the connecting process, and attaches the connection.
//! Called by the driver for each connection that presents a token.

use agent_team_core::Input;
use agent_team_core::member::Life;
use agent_team_protocol::initialize::{BUILD, Initialized, Welcome};
use agent_team_protocol::notification::StopMember;
use agent_team_protocol::{ErrorCode, MemberName, Refusal};
use subtle::ConstantTimeEq;

use super::Driver;
use super::batch::PostCommit;
use super::launches::Hello;
use crate::{convert, view};

impl Driver {
    /// Checks a worker's token and process. The worker is welcomed after the commit that stores its hello.
    pub(super) fn hello(&mut self, hello: Hello) {
        let Some(hello) = self.launches.keep_early(hello) else {
            return;
        };
        if let Err(refusal) = self.check_hello(&hello) {
            tracing::warn!(launch = %hello.launch, pid = hello.process.pid, %refusal, "a worker was refused");
            return hello.reply.refuse(refusal);
        }
        self.urgent(Input::HelloReceived {
            launch: hello.launch.clone(),
            process: convert::stamp(hello.process),
        });
        self.next_batch.then(PostCommit::Welcome(hello));
    }

    fn check_hello(&self, hello: &Hello) -> Result<(), Refusal> {
        let refused = |why: &str| Refusal::new(ErrorCode::Unauthenticated, why);
        let member = self
            .team
            .member_of(&hello.launch)
            .ok_or_else(|| refused("this launch has ended"))?;
        let launch = member
            .life
            .launch()
            .ok_or_else(|| refused("this launch has ended"))?;
        let received = agent_team_core::time::TokenHash::of(&hello.token);
        if !bool::from(received.as_bytes().ct_eq(launch.token_hash.as_bytes())) {
            return Err(refused("wrong token for this launch"));
        }
        let connecting_process = convert::stamp(hello.process);
        match &member.life {
            Life::Launching { .. } => {
                match self
                    .launches
                    .get(&hello.launch)
                    .and_then(|l| l.started_process())
                {
                    Some(started) if started != hello.process => {
                        Err(refused("another process was started for this launch"))
                    }
                    // `None`: the process is unknown, because an earlier supervisor started it or the launcher
                    // reported a failure although the worker runs. The token alone authenticates.
                    Some(_) | None => Ok(()),
                }
            }
            Life::Ready { process, .. }
            | Life::StopRequested { process, .. }
            | Life::Draining { process, .. }
                if *process == connecting_process =>
            {
                Ok(())
            }
            Life::Ready { .. } | Life::StopRequested { .. } | Life::Draining { .. } => {
                Err(refused("another process is already this launch's worker"))
            }
            Life::Ending { .. }
            | Life::Planned
            | Life::Cooling { .. }
            | Life::Held { .. }
            | Life::Stopped => Err(refused("this launch has ended")),
        }
    }

    pub(super) fn welcome(&mut self, hello: Hello) {
        let Some(member) = self.team.member_of(&hello.launch) else {
            return hello.reply.refuse(Refusal::new(
                ErrorCode::Unauthenticated,
                "this launch has ended",
            ));
        };
        let name = member.spec.name.clone();
        let welcome = Welcome {
            name: name.clone(),
            team: self.identity.team.clone(),
            role: member.spec.role.clone(),
            colour: member.spec.colour.to_string(),
            assignment: (self.team.task_of(&name))
                .map(|task| view::assignment(task, self.settings.team())),
            allowance: self.views().allowance(&name),
        };
        let outbox = hello.reply.outbox().clone();
        let (launch, connection) = (&hello.launch, hello.connection);
        self.launches
            .attach(&name, launch, connection, hello.process, outbox);
        tracing::info!(member = %name, launch = %hello.launch, pid = hello.process.pid, "connected");
        // The answer is queued before every other frame of this connection. The worker's handshake reads exactly one
        // frame, and closes the connection if that frame is not the answer to `initialize`. So the messages, stops and
        // pending decisions follow below.
        let pid = self.machine.own_pid();
        let member = Some(welcome);
        hello.reply.ok(&Initialized {
            protocol: hello.protocol,
            build: BUILD.to_owned(),
            pid,
            member,
        });
        // If the connection has closed meanwhile, `Disconnected` reports it.
        let _connection_gone = hello.admission_tx.send(name.clone());
        // `watch` registers only hosted workers here: their host reports their end, because the pid is shared. A worker
        // in its own process needs no pidfd while it is connected: its exit closes the connection.
        self.watch(hello.launch.clone(), hello.process);
        self.launches.unwatch(&hello.launch);
        self.repeat_stop(&name);
        self.inform_of_pending(&name);
        self.deliver_messages(&name);
    }

    /// Repeats a stop request. The first request may be lost: it was sent over an earlier connection, or while the
    /// worker was not connected.
    fn repeat_stop(&mut self, name: &MemberName) {
        let member = self.team.member(name);
        if let Some(Life::Draining {
            kill_at, reason, ..
        }) = member.map(|member| &member.life)
        {
            let stop = StopMember {
                grace_ms: kill_at.since(self.now()),
                reason: reason.to_string(),
            };
            self.notify(name, &stop);
        }
    }

    /// After a failed commit the restored state does not contain the hellos of that commit. Their workers are still
    /// connected, so the hellos are repeated.
    pub(super) fn repeat_hellos(&mut self) {
        let connected = self.launches.connected();
        let connected: Vec<_> = connected
            .map(|(launch, process)| (launch.clone(), convert::stamp(process)))
            .collect();
        for (launch, process) in connected {
            self.urgent(Input::HelloReceived { launch, process });
        }
        // An exit that a watch reported may have been in the failed commit, and a watch reports only once. `adopt`
        // starts new watches.
        self.launches.end_watches();
    }
}
