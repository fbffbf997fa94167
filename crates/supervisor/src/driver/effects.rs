//! Carries out the effects of a decision after the decision's events are committed. Called by `commit`. Each effect is
//! safe to repeat: after a crash or a failed commit, the core derives the effect again from the state or from a
//! repeated call.

use std::io;
use std::path::Path;

use agent_team_core::Effect;
use agent_team_core::input::{ClaimRef, CompletionHook, StartFault};
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::notification::{Abandon, StopMember};
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::{LaunchId, MemberName};
use agent_team_system::planted::{self, Plant};
use agent_team_system::private_file;

use super::{Driver, Message};
use crate::environment::Environment;
use crate::hooks::{self, Hook, HookOutcome};
use crate::launch::{LaunchOrder, Order, ProgramTask};
use crate::parsed_settings::Unreadable;
use crate::{convert, view};

impl Driver {
    pub(super) fn perform(&mut self, effect: Effect) {
        match effect {
            Effect::Launch {
                member,
                launch,
                token,
            } => self.launch(member, launch, token),
            Effect::RequestStop {
                member,
                launch: _,
                grace_ms,
                reason,
            } => {
                self.notify(
                    &member,
                    &StopMember {
                        grace_ms,
                        reason: reason.to_string(),
                    },
                );
            }
            Effect::EndTree {
                member,
                launch,
                process,
                scan,
            } => {
                let process = process.map(convert::process);
                self.end_tree(&member, launch, process, scan);
            }
            Effect::ClosePane { member } => {
                self.labels.closed(&member);
                self.launcher.order(Order::Close(member));
            }
            Effect::Assign { member, task } => {
                let task = self.team.board().get(task);
                if let Some(task) = task.map(|task| view::assignment(task, self.settings.team())) {
                    self.notify(&member, &task);
                    if planted::strikes(Plant::DoubleClaim, 3)
                        && let Some(other) = self.without_task()
                    {
                        self.notify(&other, &task);
                    }
                }
            }
            Effect::Abandon {
                member,
                task,
                generation,
                reason,
            } => {
                self.notify(
                    &member,
                    &Abandon {
                        task,
                        generation,
                        reason: reason.to_string(),
                    },
                );
            }
            Effect::Deliver { member } => self.deliver_messages(&member),
            Effect::Inform { member, request } => {
                self.inform(&member, request);
            }
            Effect::InformOfMode { member } => {
                if let Some(notice) = self.permissions().mode_notice(&member) {
                    self.notify(&member, &notice);
                }
            }
            Effect::SendAllowance { member } => {
                let allowance = self.views().allowance(&member);
                self.notify(&member, &allowance);
            }
            Effect::RunCompletionHook {
                by,
                key,
                reply,
                claim,
                result,
            } => {
                self.run_completion_hook(by, key, reply, claim, result);
            }
            Effect::RunIdleHook { member, launch } => self.run_idle_hook(&member, launch),
            Effect::Reply { to, outcome } => self.answer(to, outcome),
        }
    }

    /// The last member by name that holds no claim. Used only by the planted fault `DoubleClaim`.
    fn without_task(&self) -> Option<MemberName> {
        let members = self.team.members().map(|member| &member.spec.name);
        let free = members.filter(|name| self.team.task_of(name).is_none());
        free.max().cloned()
    }

    fn launch(&mut self, member: MemberName, launch: LaunchId, token: String) {
        match self.write_launch_file(&member, &launch, token) {
            Ok(order) => {
                tracing::debug!(%member, %launch, placement = ?order.placement, "launching");
                self.launches.ordered(&member, &launch);
                self.labels.started(member, order.label.clone());
                self.launcher.order(Order::Start(order));
            }
            Err(fault) => self.send_to_self(Message::NotStarted { launch, fault }),
        }
    }

    /// Prepares the MCP host if the member uses a shared MCP server.
    pub(super) fn share_mcp(&self, member: &MemberName) -> io::Result<()> {
        let is_shared = |agent: &AgentSpec| agent.mcp.iter().any(|server| server.shared);
        let settings = self.settings.member(member);
        let shares = settings.is_ok_and(|settings| is_shared(&settings.agent));
        match shares && !self.launcher.is_embedded() {
            true => self.launcher.share_mcp(),
            false => Ok(()),
        }
    }

    fn write_launch_file(
        &self,
        member: &MemberName,
        launch: &LaunchId,
        token: String,
    ) -> Result<LaunchOrder, StartFault> {
        let failed = |error: std::io::Error| StartFault::Failed(error.to_string());
        let found = self
            .team
            .member(member)
            .ok_or_else(|| StartFault::Permanent("the member has left the team".to_owned()))?;
        let spec = &found.spec;
        let settings = self.settings.member(member);
        let settings = settings.map_err(|error| StartFault::Permanent(error.to_string()))?;
        let program = self
            .launcher
            .program(settings.engine)
            .map_err(|error| StartFault::Failed(error.to_string()))?;
        let team = self.identity.team.as_str();
        let Environment {
            variables: mut environment,
            mut named,
            secrets,
        } = self.environment()?;
        named.extend(settings.env.keys().cloned());
        environment.extend(settings.env.clone());
        self.directories
            .prepare_team(team)
            .map_err(|error| StartFault::Permanent(error.to_string()))?;
        self.share_mcp(member).map_err(|error| {
            StartFault::Failed(format!("cannot listen for shared MCP servers: {error}"))
        })?;
        let mut agent = settings.agent.clone();
        // An embedding program has no MCP host.
        agent.mcp_host = (!self.launcher.is_embedded()).then(|| self.directories.mcp_socket(team));
        let file = LaunchFile {
            supervisor_lock: self.directories.supervisor_lock(),
            team: self.identity.team.clone(),
            member: member.clone(),
            launch: launch.clone(),
            token,
            cwd: settings.cwd.clone(),
            environment,
            named,
            secrets,
            log: self.log_of(member),
            engine: settings.engine,
            role: spec.role.clone(),
            lead: spec.lead,
            project: self.identity.project.clone(),
            agent,
            usd_limit: self.team.has_usd_limit(found),
            relaunched: found.last_end.as_ref().map(|end| {
                let task = self.team.task_of(member).map(|task| task.id);
                let continues = task.map_or_else(String::new, |task| format!(", continues {task}"));
                format!("{end}; relaunched{continues}")
            }),
        };
        let path = self.directories.launch_file(launch.as_str());
        let bytes = serde_json::to_vec(&file).expect("a launch file has string keys");
        private_file::create(&path, &bytes).map_err(failed)?;
        let label = self
            .views()
            .label(found)
            .ok_or_else(|| StartFault::Permanent("the member has left the team".to_owned()))?;
        Ok(LaunchOrder {
            member: member.clone(),
            launch: launch.clone(),
            program,
            task: ProgramTask::Launch { file: path },
            placement: self.views().wanted_placement(found),
            label,
        })
    }

    /// The environment that the last `up` stored in the team's environment file.
    pub(super) fn environment(&self) -> Result<Environment, StartFault> {
        let file = self
            .directories
            .environment_file(self.identity.team.as_str());
        let bytes = private_file::read(&file).map_err(|error| {
            if error.kind() == std::io::ErrorKind::NotFound {
                StartFault::Permanent(format!(
                    "the team's environment file is missing; write it again with: {}",
                    CommandLine::Up
                ))
            } else {
                StartFault::Failed(error.to_string())
            }
        })?;
        serde_json::from_slice(&bytes).map_err(|error| {
            // A power cut can leave the file empty.
            let file = file.display();
            StartFault::Permanent(format!(
                "cannot read {file}: {error}; write it again with: {}",
                CommandLine::Up
            ))
        })
    }

    /// Runs the `task_completed` hook. The result decides whether the task is completed.
    fn run_completion_hook(
        &self,
        by: agent_team_core::Origin,
        key: Option<agent_team_core::CallKey>,
        reply: agent_team_core::ReplyTo,
        claim: ClaimRef,
        result: std::sync::Arc<str>,
    ) {
        let task = self
            .team
            .board()
            .get(claim.task)
            .map(|task| view::task(&self.team, task));
        let input = serde_json::json!({
            "hook": "task_completed",
            "team": self.identity.team,
            "by": match &by {
                agent_team_core::Origin::User => "user".to_owned(),
                agent_team_core::Origin::Member { name, .. } => name.to_string(),
            },
            "task": task,
            "result": &*result,
        });
        self.run_hook(
            |hooks| hooks.task_completed.as_deref(),
            input,
            move |outcome| {
                let hook = match outcome {
                    HookOutcome::Approved => CompletionHook::Passed,
                    // A hook that fails also refuses the completion.
                    HookOutcome::Refused(reason) | HookOutcome::Failed(reason) => {
                        CompletionHook::Refused(reason)
                    }
                };
                Some(Message::CompletionHook {
                    by,
                    key,
                    reply,
                    claim,
                    result,
                    hook,
                })
            },
        );
    }

    /// Runs the `teammate_idle` hook, which can make an idle member continue.
    fn run_idle_hook(&self, member: &MemberName, launch: LaunchId) {
        let input = serde_json::json!({
            "hook": "teammate_idle",
            "team": self.identity.team,
            "member": self.team.member(member).map(|member| self.views().member(member)),
        });
        self.run_hook(
            |hooks| hooks.teammate_idle.as_deref(),
            input,
            move |outcome| match outcome {
                HookOutcome::Approved | HookOutcome::Failed(_) => None,
                HookOutcome::Refused(reason) => Some(Message::IdleRefused { launch, reason }),
            },
        );
    }

    fn run_hook(
        &self,
        line_of: impl FnOnce(&agent_team_protocol::spec::Hooks) -> Option<&str>,
        input: serde_json::Value,
        then: impl FnOnce(HookOutcome) -> Option<Message> + 'static,
    ) {
        let rules = self.settings.rules().map_err(Unreadable::clone);
        let hook_line = rules.map(|rules| {
            let settings = &rules?.settings;
            let line = line_of(&settings.hooks)?;
            Some((line.to_owned(), settings.files_of(line)))
        });
        let environment = self.environment().unwrap_or_default().of_hooks();
        let project: &Path = &self.identity.project;
        let hook = hook_line.map(|hook_line| {
            hook_line.map(|(line, files)| Hook {
                line,
                files,
                project: project.to_owned(),
                environment,
                input: input.to_string(),
            })
        });
        let driver = self.to_self.clone();
        tokio::task::spawn_local(async move {
            let outcome = match hook {
                Ok(Some(hook)) => hooks::run(hook).await,
                Ok(None) => HookOutcome::Approved,
                // The settings are unreadable, so it is unknown whether there is a hook: a completion is refused, an
                // idle member stays idle.
                Err(unreadable) => HookOutcome::Failed(unreadable.to_string()),
            };
            if let Some(message) = then(outcome) {
                let _driver_gone = driver.send(message);
            }
        });
    }
}
