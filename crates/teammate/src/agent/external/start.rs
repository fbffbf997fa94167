//! The start of an external agent: its program, its environment, and its session. Called by the loop.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::external::known_agent;
use agent_team_protocol::method::{self, TeamShow};
use agent_team_protocol::spec::{AgentSpec, ExternalAgent, OwnTerminal, SideChannelKind};
use agent_team_protocol::text::visible_line;
use agent_team_protocol::view::Waiting;
use agent_team_system::sibling_binary::sibling_binary;
use agent_team_terminal_ui::Tone;
use agent_team_tools::ToolContext;
use agent_team_tools::program::find_outside;
use serde_json::json;

use super::acp::Acp;
use super::channel::{AgentProgram, OpenError, Opened, SideChannel, open_in_time};
use super::claude::Claude;
use super::codex::Codex;
use super::entry::{EarlierSession, earlier_session};
use super::inputs::stop_requested;
use super::opencode::OpenCode;
use super::qwen::Qwen;
use super::team_mcp;
use super::terminal::TerminalHandle;
use super::{External, held};
use crate::agent::conversation::{End, cannot};
use crate::agent::deps;
use crate::inner_pty::TERM;

/// The argument with which the worker's program connects its stdin and stdout to the team's tools.
const CONNECT: &str = "--mcp";

/// The first prompt of a session begins with the team's rules, which refer to tools by their plain names.
const TOOLS: &str = "The tools named here are those of the MCP server `team`. Call them there.";

const RESTARTED: &str = "Your program was restarted during your turn. Check what is done, then finish what you were doing.";

/// After this time, the agent receives its first text even if it has not requested the list of the team's tools.
const TOOLS_LIMIT: Duration = Duration::from_secs(10);

/// After this time without a session, the log shows the reason of the member's wait.
const SLOW_START: Duration = Duration::from_secs(10);

impl External {
    /// Starts the agent, and opens its session.
    pub(super) async fn start(&mut self) -> Result<Box<dyn SideChannel>, End> {
        let mut earlier = earlier_session(&self.team).await?;
        let is_open = earlier.as_ref().is_some_and(|earlier| earlier.is_open);
        let program = self.program().await?;
        loop {
            let mut channel = self.start_program(&program, earlier.as_ref()).await?;
            let opened = match self.open_tools_socket(&*channel) {
                Ok(()) => self.open(&mut *channel, &program, earlier.as_ref()).await,
                Err(end) => Err(end),
            };
            match opened {
                Ok(true) => {
                    if is_open {
                        self.inputs.continue_with(RESTARTED);
                    }
                    return Ok(channel);
                }
                // The earlier session is lost.
                Ok(false) => {
                    channel.stop().await;
                    earlier = None;
                }
                Err(end) => {
                    channel.stop().await;
                    return Err(end);
                }
            }
        }
    }

    /// Starts the agent's program. In its own terminal interface, the agent opens its session at once.
    async fn start_program(
        &self,
        program: &AgentProgram,
        earlier: Option<&EarlierSession>,
    ) -> Result<Box<dyn SideChannel>, End> {
        let started: std::io::Result<Box<dyn SideChannel>> = match self.own_terminal() {
            None => Acp::start(program).map(|channel| Box::new(channel) as Box<dyn SideChannel>),
            Some((terminal, own)) => {
                let earlier = earlier.map(|earlier| earlier.id.as_str());
                let hook = program
                    .team_tools
                    .first()
                    .map(Path::new)
                    .unwrap_or(Path::new(""));
                match own.channel {
                    SideChannelKind::ClaudeHooks => {
                        Claude::start(terminal, program, hook, &self.sockets.hooks, earlier)
                            .await
                            .map(|channel| Box::new(channel) as Box<dyn SideChannel>)
                    }
                    SideChannelKind::CodexAppServer => {
                        Codex::start(terminal, program, &self.sockets.hooks)
                            .await
                            .map(|channel| Box::new(channel) as Box<dyn SideChannel>)
                    }
                    SideChannelKind::OpenCodeServer => {
                        OpenCode::start(terminal, &self.keystrokes, program, &self.sockets.hooks)
                            .await
                            .map(|channel| Box::new(channel) as Box<dyn SideChannel>)
                    }
                    SideChannelKind::QwenFiles => {
                        Qwen::start(terminal, program, hook, &self.sockets, earlier)
                            .await
                            .map(|channel| Box::new(channel) as Box<dyn SideChannel>)
                    }
                    SideChannelKind::Unknown => Err(std::io::Error::other(
                        "its side channel is of a newer version",
                    )),
                }
            }
        };
        started.map_err(|error| {
            let program = program.program.display();
            held(
                ExitCode::NotFound,
                format!("cannot start {program}: {error}"),
            )
        })
    }

    fn own_terminal(&self) -> Option<(&TerminalHandle, &OwnTerminal)> {
        self.terminal.as_ref().zip(self.external.terminal.as_ref())
    }

    /// A hint to use the program of the agent without its own terminal interface. Empty if this program is the same.
    fn other_program(&self) -> String {
        let known = self.own_terminal().zip(known_agent(&self.external));
        match known {
            Some(((_, own), known))
                if own.command.first().map(|it| &**it) != known.command.first().copied() =>
            {
                let program = known.command.first().copied().unwrap_or_default();
                format!(
                    "; set engine = {:?} to use {program} instead",
                    known.word_over_acp()
                )
            }
            _ => String::new(),
        }
    }

    fn open_tools_socket(&mut self, channel: &dyn SideChannel) -> Result<(), End> {
        // Closing the earlier socket removes its file.
        self.tools_socket = None;
        let opened = match channel.process() {
            Some(agent) => team_mcp::open(&self.sockets.tools, agent, self.team.team_tools()),
            None => Err(std::io::Error::other("the agent has exited")),
        };
        let socket = opened.map_err(|error| {
            held(
                ExitCode::Failed,
                format!("cannot open the team's tools: {error}"),
            )
        })?;
        self.tools_socket = Some(socket);
        Ok(())
    }

    /// Opens a session, unless the member is stopped meanwhile. Returns `false` if the agent has lost its earlier
    /// session: it must then be started again.
    async fn open(
        &mut self,
        channel: &mut dyn SideChannel,
        program: &AgentProgram,
        earlier: Option<&EarlierSession>,
    ) -> Result<bool, End> {
        let name = &self.external.name;
        let sink = &self.team.sink;
        let session = earlier.map(|earlier| earlier.id.clone());
        let lost = |why: &str| {
            let why = visible_line(why);
            let line = format!("a new session begins: the earlier one is lost: {why}");
            sink.lines(Tone::Runtime, &line);
        };
        let what = format!("{name} to open its session");
        sink.set_waiting(Some(Waiting::Reply { what: what.clone() }));
        let tools = self.tools_socket.as_mut();
        let mut has_tools = true;
        let opened = {
            let mut opening = std::pin::pin!(async {
                let opened = open_in_time(&mut *channel, program, session).await?;
                if let Some(tools) = tools.filter(|_| channel.needs_tools()) {
                    has_tools = tokio::time::timeout(TOOLS_LIMIT, tools.listed())
                        .await
                        .is_ok();
                }
                Ok(opened)
            });
            let mut slow = std::pin::pin!(tokio::time::sleep(SLOW_START));
            let mut is_slow = self.terminal.is_none();
            // A dialog of the agent's terminal interface, for example about trust in the directory, delays its session.
            let attach = CommandLine::Attach(self.team.member());
            let what = format!("{what}; answer its dialog, if it shows one: {attach}");
            loop {
                tokio::select! {
                    opened = &mut opening => break opened,
                    () = stop_requested(&mut self.inputs) => return Err(End::Stopped),
                    () = &mut slow, if !is_slow => {
                        is_slow = true;
                        sink.lines(Tone::Runtime, &format!("… waits for {what}"));
                        sink.set_waiting(Some(Waiting::Dialog { what: what.clone() }));
                    }
                }
            }
        };
        sink.set_waiting(None);
        let opened = match opened {
            Ok(opened) => opened,
            Err(OpenError::SessionLost(why)) => {
                lost(&why);
                return Ok(false);
            }
            Err(OpenError::Login(methods)) => {
                let why = match known_agent(&self.external).and_then(|known| known.login) {
                    Some(login) => format!("{name} needs a login; log in with: {login}"),
                    None => format!("{name} needs a login; it offers: {methods}"),
                };
                return Err(held(ExitCode::Denied, why));
            }
            Err(OpenError::Other(why)) => {
                let other = match self.own_terminal().map(|(_, own)| own.channel) {
                    // The app-server may speak another version of its protocol.
                    Some(SideChannelKind::CodexAppServer) => self.other_program(),
                    _ => String::new(),
                };
                let why = format!("cannot use {name}: {why}{other}");
                return Err(held(ExitCode::NotFound, why));
            }
        };
        sink.lines(
            Tone::Dim,
            &format!("connected to {}", channel.description()),
        );
        if let Some(warning) = channel.warning() {
            sink.lines(Tone::Runtime, warning);
        }
        if !has_tools {
            let limit = TOOLS_LIMIT.as_secs();
            let line = format!("{name} has not loaded the team's tools within {limit} s");
            sink.lines(Tone::Runtime, &line);
        }
        if let Opened::Lost(why) = &opened {
            lost(why);
        }
        let is_new = opened != Opened::Resumed;
        let earlier = earlier.filter(|_| !is_new);
        self.meter
            .begin_session(earlier.map_or(0, |earlier| earlier.cost));
        if is_new {
            self.unstored_session = Some(channel.session().to_owned());
        }
        if !channel.has_rules() && earlier.is_none_or(|earlier| !earlier.is_briefed) {
            self.inputs.notes.insert(0, program.rules.clone());
        }
        Ok(true)
    }

    async fn program(&self) -> Result<AgentProgram, End> {
        let ExternalAgent { command, env, .. } = &self.external;
        let own = self.own_terminal().map(|(_, own)| &own.command);
        let command = own.unwrap_or(command);
        let Some((program, args)) = command.split_first() else {
            let reason = "the external agent has no command".to_owned();
            return Err(held(ExitCode::Usage, reason));
        };
        let mut environment = self.context.env.clone();
        environment.retain(|(name, _)| !env.contains_key(&*name.to_string_lossy()));
        environment.extend(env.iter().map(|(name, value)| (name.into(), value.into())));
        if own.is_some() {
            environment.retain(|(name, _)| name != "TERM");
            environment.push(("TERM".into(), TERM.into()));
        }
        let Some(found) = found(&self.context, &environment, program) else {
            let name = &self.external.name;
            let install = known_agent(&self.external).and_then(|it| it.install_command(name));
            let install = install.map(|command| format!("; install it with: {command}"));
            let reason = format!(
                "cannot find the program {program} of {name}{}{}",
                install.unwrap_or_default(),
                self.other_program()
            );
            return Err(held(ExitCode::NotFound, reason));
        };
        let shim = sibling_binary(Engine::External.worker())
            .map_err(|error| held(ExitCode::NotFound, error.to_string()))?;
        let team_tools = vec![
            shim.into(),
            CONNECT.into(),
            self.sockets.tools.clone().into(),
        ];
        let known = known_agent(&self.external);
        let mut args = args.to_vec();
        if let Some(option) = known.and_then(|known| known.team_option) {
            args.extend([option.to_owned(), team_config(&team_tools)]);
        }
        Ok(AgentProgram {
            program: found,
            args,
            env: environment,
            cwd: self.context.cwd.clone(),
            team_tools,
            mode: self.external.mode.clone(),
            team_titles: known.and_then(|known| known.team_titles),
            tested: known.and_then(|known| known.tested),
            steering: self.external.steering,
            rules: self.rules().await?,
        })
    }

    /// The team's rules and situation.
    async fn rules(&self) -> Result<String, End> {
        let team = self.team.call::<TeamShow>(&method::Nothing {}).await;
        let team = team.map_err(|refusal| cannot("cannot read the team", &refusal))?;
        let (system, situation) = deps::prompts_of(
            &self.team.client,
            &self.agent,
            &team,
            u64::MAX,
            &self.context.cwd,
            "",
            "",
        );
        Ok(format!("{system}\n{TOOLS}\n\n{situation}"))
    }
}

/// Whether the agent runs in its own terminal interface.
pub(crate) fn runs_in_terminal(agent: &AgentSpec) -> bool {
    let external = agent.external.as_ref();
    external.is_some_and(|external| external.terminal.is_some())
}

/// The team's tools in the form of Copilot's settings.
fn team_config(command: &[OsString]) -> String {
    let mut words = command.iter().map(|word| word.to_string_lossy());
    let program = words.next();
    let args: Vec<_> = words.collect();
    let team = json!({ "type": "local", "command": program, "args": args, "tools": ["*"] });
    json!({ "mcpServers": { "team": team } }).to_string()
}

/// The path of a program: in the project if it is relative, otherwise in `PATH`, outside of the project.
fn found(
    context: &ToolContext,
    environment: &[(OsString, OsString)],
    program: &str,
) -> Option<PathBuf> {
    if program.contains('/') {
        return Some(context.project.join(program));
    }
    let (_, path) = environment.iter().find(|(name, _)| name == "PATH")?;
    find_outside(&context.project, path, program)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_of_copilot_starts_only_the_team_tools() {
        let command = ["/lib/worker", "--connect", "/run/a \"b\".sock"].map(OsString::from);
        let config: serde_json::Value = serde_json::from_str(&team_config(&command)).unwrap();
        let expected = json!({ "mcpServers": { "team": { "type": "local", "command": "/lib/worker",
            "args": ["--connect", "/run/a \"b\".sock"], "tools": ["*"] } } });
        assert_eq!(config, expected);
    }
}
