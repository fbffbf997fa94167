//! `acp --how`: the settings with which editors start the server.

use std::collections::BTreeMap;

use clap::ValueEnum;
use serde::Serialize;

use crate::args::AcpEditor;

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct AcpSetup {
    /// By the name of the editor: where its settings are, and the text to add.
    editors: BTreeMap<String, String>,
}

/// The settings of one editor, or of all.
pub(super) fn setup(editor: Option<AcpEditor>) -> AcpSetup {
    let wanted = AcpEditor::value_variants()
        .iter()
        .filter(|known| editor.is_none_or(|editor| editor == **known));
    let editors = wanted.map(|editor| {
        let value = editor.to_possible_value().expect("no editor is hidden");
        (value.get_name().to_owned(), line(*editor).to_owned())
    });
    AcpSetup {
        editors: editors.collect(),
    }
}

pub(super) fn text(setup: &AcpSetup) -> String {
    let lines = setup
        .editors
        .iter()
        .map(|(name, line)| format!("{name:<10}{line}\n"));
    lines.collect()
}

fn line(editor: AcpEditor) -> &'static str {
    match editor {
        AcpEditor::Zed => {
            "in settings.json: {\"agent_servers\": {\"agent-team\": {\"type\": \"custom\", \"command\": \"agent-team\", \"args\": [\"acp\"]}}}"
        }
        AcpEditor::Jetbrains => {
            "in ~/.jetbrains/acp.json: {\"agent_servers\": {\"agent-team\": {\"command\": \"agent-team\", \"args\": [\"acp\"]}}}"
        }
        AcpEditor::Neovim => {
            "for codecompanion.nvim, in an adapter of type acp: commands = { default = { \"agent-team\", \"acp\" } }"
        }
    }
}
