//! The slash commands that an agent's pane offers beside the verbs of the command line: command files, and prompts of
//! MCP servers. Called by the parent module.

use agent_team_client::command_file::CalledCommand;
use agent_team_protocol::notification::{MemberPrompts, PromptView};
use agent_team_protocol::spec::CommandFile;
use agent_team_terminal_ui::CustomCommand;
use agent_team_tools::mcp::Prompts;

use crate::typed::PaneActions;

#[derive(Debug, Default)]
pub(super) struct SlashCommands {
    pub(super) files: Vec<CommandFile>,
    /// The names of prompts contain a colon, so no file has the name of a prompt.
    pub(super) prompts: Prompts,
}

impl SlashCommands {
    /// The slash commands that the prompt of the pane offers.
    pub(super) fn offered(&self) -> Vec<CustomCommand> {
        let files = self.files.iter().map(|file| CustomCommand {
            name: file.name.clone(),
            arguments: file.arguments.clone(),
            description: file.description.clone(),
        });
        let prompts = self.prompts.commands().iter().map(|prompt| CustomCommand {
            name: prompt.name.clone(),
            arguments: prompt.arguments.clone(),
            description: prompt.description.clone(),
        });
        files.chain(prompts).collect()
    }

    /// The prompts in the form for the supervisor, which offers them in other clients.
    pub(super) fn reported(&self) -> MemberPrompts {
        let prompts = self.prompts.commands().iter();
        let prompts = prompts.map(|prompt| PromptView {
            name: prompt.name.clone(),
            arguments: prompt.arguments.clone(),
            description: prompt.description.clone(),
        });
        MemberPrompts {
            prompts: prompts.collect(),
        }
    }

    /// Sends the text of a command as the user's message.
    pub(super) fn run(&self, called: CalledCommand, typed: &PaneActions) {
        match self.files.iter().find(|file| file.name == called.name) {
            Some(file) => typed.command_file(file.clone(), called),
            None => typed.prompt(&self.prompts, called.name, called.words),
        }
    }
}
