//! `mcp --how`: how to add the server to other programs.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use crate::args::McpProgram;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct McpSetup {
    /// Maps the name of each program to the command to type, or to the text for the program's configuration file.
    programs: BTreeMap<String, String>,
}

/// The setup of one program, or of all.
pub(super) fn setup(program: Option<McpProgram>) -> McpSetup {
    let wanted = McpProgram::value_variants()
        .iter()
        .filter(|known| program.is_none_or(|program| program == **known));
    let programs = wanted.map(|program| {
        let value = program.to_possible_value().expect("no program is hidden");
        (value.get_name().to_owned(), line(*program).to_owned())
    });
    McpSetup {
        programs: programs.collect(),
    }
}

pub(super) fn text(setup: &McpSetup) -> String {
    let lines = setup
        .programs
        .iter()
        .map(|(name, line)| format!("{name:<10}{line}\n"));
    lines.collect()
}

fn line(program: McpProgram) -> &'static str {
    match program {
        McpProgram::Claude => "claude mcp add agent-team -- agent-team mcp",
        McpProgram::Codex => "codex mcp add agent-team -- agent-team mcp",
        McpProgram::Gemini => "gemini mcp add agent-team agent-team mcp",
        McpProgram::Qwen => "qwen mcp add agent-team agent-team mcp",
        McpProgram::Opencode => {
            "in opencode.json: {\"mcp\": {\"agent-team\": {\"type\": \"local\", \"command\": [\"agent-team\", \"mcp\"], \"enabled\": true}}}"
        }
    }
}
