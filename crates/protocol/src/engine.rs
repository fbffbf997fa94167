//! The engines of this version, and their properties that several crates need. Bare data: the crate `teammate`
//! implements the engines.
//!
//! A new engine is a variant of [`Engine`] and a row of [`ENGINES`].

use serde::{Deserialize, Serialize};

/// The program that does a member's work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Runs each task's `run` line.
    Command,
    /// The agent of this project: a model with tools.
    Native,
    /// Another vendor's agent: see [`external`](crate::external).
    External,
    /// A chat session of another program, which has joined with `agent-team mcp`.
    Joined,
    /// A program with a terminal interface of its own, which the member's pane shows.
    Terminal,
    /// A value from a newer version. Views show it; no member is launched with it.
    #[serde(other)]
    Unknown,
}

/// The properties of an engine.
#[derive(Debug)]
pub struct EngineInfo {
    pub engine: Engine,
    /// The name of the engine in files, on the command line and on the wire.
    pub name: &'static str,
    /// The program of the engine's workers.
    pub worker: &'static str,
    /// The engine's members are agents of agent-team: they have a model, tools and plans.
    pub uses_model: bool,
    /// The engine runs the `run` lines of tasks. Its members take no task without such a line, and send no messages.
    pub runs_lines: bool,
    /// The pane shows a program that has no connection to the team. The member takes no tasks and sends no messages.
    /// The worker shows messages to the user, and does not deliver them to the program.
    pub shows_program: bool,
    /// The lead of a team of agents can have this engine.
    pub may_lead: bool,
    /// The worker starts an external agent, so a launch counts against `limits.starting`.
    pub foreign: bool,
    pub typed: TypedLine,
    pub output: OutputKind,
}

/// The meaning of a line that the user types at a member's prompt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TypedLine {
    /// A shell line, which the worker runs. The text after `/task` is a task with this `run` line.
    Shell,
    /// A message to the member. A line that begins with a slash is a command of agent-team.
    Message,
}

/// How a member's output is sent to clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// As text of a program.
    Plain,
    /// As parts of a conversation: text, tool calls, diffs.
    Transcript,
}

/// Every engine of this version, in the order in which they are listed to the user.
pub const ENGINES: &[EngineInfo] = &[
    EngineInfo {
        engine: Engine::Command,
        name: "command",
        worker: "agent-teammate",
        uses_model: false,
        runs_lines: true,
        shows_program: false,
        may_lead: false,
        foreign: false,
        typed: TypedLine::Shell,
        output: OutputKind::Plain,
    },
    EngineInfo {
        engine: Engine::Native,
        name: "native",
        worker: "agent-teammate-native",
        uses_model: true,
        runs_lines: false,
        shows_program: false,
        may_lead: true,
        foreign: false,
        typed: TypedLine::Message,
        output: OutputKind::Transcript,
    },
    EngineInfo {
        engine: Engine::External,
        name: "external",
        worker: "agent-teammate-native",
        uses_model: false,
        runs_lines: false,
        shows_program: false,
        may_lead: true,
        foreign: true,
        typed: TypedLine::Message,
        output: OutputKind::Transcript,
    },
    EngineInfo {
        engine: Engine::Joined,
        name: "joined",
        worker: "agent-teammate-native",
        uses_model: false,
        runs_lines: false,
        shows_program: false,
        may_lead: true,
        foreign: false,
        typed: TypedLine::Message,
        output: OutputKind::Transcript,
    },
    EngineInfo {
        engine: Engine::Terminal,
        name: "terminal",
        worker: "agent-teammate",
        uses_model: false,
        runs_lines: false,
        shows_program: true,
        may_lead: false,
        foreign: false,
        typed: TypedLine::Message,
        output: OutputKind::Plain,
    },
];

/// Advice for the user: how to make the lead of a team file an agent.
pub const LEAD_ENGINE: &str = "add engine = \"native\" to [lead]";

/// The name of each engine, with the engine.
pub const ENGINE_WORDS: &[(&str, Engine)] = &{
    let mut words = [("", Engine::Unknown); ENGINES.len()];
    let mut at = 0;
    while at < words.len() {
        words[at] = (ENGINES[at].name, ENGINES[at].engine);
        at += 1;
    }
    words
};

impl Engine {
    /// `None` for an engine of a newer version.
    pub fn info(self) -> Option<&'static EngineInfo> {
        ENGINES.iter().find(|info| info.engine == self)
    }

    pub fn name(self) -> &'static str {
        self.info().map_or("unknown", |info| info.name)
    }

    /// The worker binary of this engine.
    pub fn worker(self) -> &'static str {
        self.info()
            .map_or("an unknown worker (newer version)", |info| info.worker)
    }

    pub fn uses_model(self) -> bool {
        self.info().is_some_and(|info| info.uses_model)
    }

    pub fn is_external(self) -> bool {
        self == Self::External
    }

    /// Whether limits of tokens, money and minutes apply to the engine's members.
    pub fn has_budget(self) -> bool {
        self.uses_model() || self.is_external()
    }

    pub fn runs_lines(self) -> bool {
        self.info().is_some_and(|info| info.runs_lines)
    }

    pub fn shows_program(self) -> bool {
        self.info().is_some_and(|info| info.shows_program)
    }

    /// Whether the engine's members are agents, of this project or of another vendor.
    pub fn is_agent(self) -> bool {
        !self.runs_lines() && !self.shows_program()
    }

    pub fn typed(self) -> TypedLine {
        self.info().map_or(TypedLine::Message, |info| info.typed)
    }

    pub fn output(self) -> OutputKind {
        self.info()
            .map_or(OutputKind::Transcript, |info| info.output)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_named_as_on_the_wire() {
        for info in ENGINES {
            let wire = serde_json::to_value(info.engine).unwrap();
            assert_eq!(wire, info.name);
            assert_eq!(info.engine.info().unwrap().name, info.name);
        }
    }

    #[test]
    fn every_known_engine_has_a_row() {
        let schema = serde_json::to_value(schemars::schema_for!(Engine)).unwrap();
        let words = schema["oneOf"].as_array().unwrap().iter();
        let words = words.filter_map(|variant| variant["const"].as_str());
        for word in words.filter(|word| *word != "unknown") {
            assert!(
                ENGINE_WORDS.iter().any(|(known, _)| *known == word),
                "{word}"
            );
        }
    }

    #[test]
    fn an_engine_of_a_newer_version_is_unknown() {
        let engine: Engine = serde_json::from_str("\"newer\"").unwrap();
        assert!(engine.info().is_none());
        assert!(!engine.uses_model() && !engine.runs_lines());
    }
}
