//! The prompts of servers as slash commands `/server:prompt` of the pane. Called by the agent loop, which lists them,
//! and by the pane, which sends a prompt's text as the user's message.

use std::collections::BTreeSet;
use std::sync::{Arc, Weak};

use agent_team_protocol::method::TEXT_MAX;
use agent_team_protocol::text::{visible, visible_label};
use rmcp::model::{GetPromptRequestParams, Prompt};
use serde_json::{Map, Value};

use super::answer;
use super::server::Server;
use crate::secret::Secrets;

/// The largest number of prompts of one server.
const PROMPTS_MAX: usize = 50;

/// The largest number of characters of a prompt's description, and of a name.
const DESCRIPTION_MAX: usize = 80;
const NAME_MAX: usize = 40;

/// The prompts of a member's servers. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Prompts(Arc<Vec<PromptCommand>>);

/// A prompt as a slash command.
#[derive(Debug)]
pub struct PromptCommand {
    /// The name without the slash, such as `github:review`.
    pub name: String,
    /// The parameters, such as `NUMBER [FOCUS]`.
    pub arguments: String,
    pub description: String,
    /// Weak: the prompts must not keep the server running after the member's agent loop has ended.
    server: Weak<Server>,
    server_name: String,
    /// The name that the server gives the prompt.
    prompt: String,
    parameters: Vec<Parameter>,
    /// The secrets to redact in the prompt's text: the server may know secrets from its environment.
    secrets: Secrets,
}

#[derive(Debug)]
struct Parameter {
    name: String,
    required: bool,
}

impl Prompts {
    /// The commands for the prompts of these servers.
    pub(super) fn of<'a>(
        servers: impl Iterator<Item = (&'a Arc<Server>, &'a [Prompt])>,
        secrets: &Secrets,
    ) -> Self {
        let mut commands = Vec::new();
        let mut names = BTreeSet::new();
        for (server, prompts) in servers {
            for prompt in prompts.iter().take(PROMPTS_MAX) {
                let command = PromptCommand::new(server, prompt.clone(), secrets.clone());
                if names.insert(command.name.clone()) {
                    commands.push(command);
                }
            }
        }
        Self(Arc::new(commands))
    }

    pub fn commands(&self) -> &[PromptCommand] {
        &self.0
    }

    /// Gets the text of a prompt. `words`: the arguments in their order; the last argument takes all remaining words.
    ///
    /// # Errors
    /// If there is no such prompt, the arguments do not match its parameters, the server does not return the prompt, or
    /// the text is empty or too large.
    pub async fn text(&self, name: &str, words: &[String]) -> Result<String, String> {
        let command = self.0.iter().find(|command| command.name == name);
        let Some(command) = command else {
            return Err(format!("there is no prompt /{name}"));
        };
        let Some(arguments) = arguments(&command.parameters, words) else {
            return Err(format!(
                "/{name} needs these arguments: /{name} {}",
                command.arguments
            ));
        };
        let mut params = GetPromptRequestParams::new(command.prompt.clone());
        if !arguments.is_empty() {
            params = params.with_arguments(arguments);
        }
        let server_name = &command.server_name;
        let Some(server) = command.server.upgrade() else {
            return Err(format!("the MCP server {server_name} has stopped"));
        };
        let prompt = server.prompt(params).await?;
        let text = answer::prompt(&prompt);
        if text.trim().is_empty() {
            return Err(format!("the prompt /{name} is empty"));
        }
        let text = format!(
            "The user chose the prompt /{name}. Its text comes from the MCP server {server_name}:\n\n{}",
            quoted(&text, &command.secrets)
        );
        match text.len() > TEXT_MAX {
            true => Err(format!(
                "the prompt /{name} is larger than {TEXT_MAX} bytes"
            )),
            false => Ok(text),
        }
    }
}

impl PromptCommand {
    fn new(server: &Arc<Server>, prompt: Prompt, secrets: Secrets) -> Self {
        let parameters = prompt.arguments.unwrap_or_default();
        let parameters: Vec<_> = parameters
            .into_iter()
            .map(|it| Parameter {
                name: it.name,
                required: it.required == Some(true),
            })
            .collect();
        let usage = |parameter: &Parameter| {
            let name = plain(&parameter.name).to_uppercase();
            match parameter.required {
                true => name,
                false => format!("[{name}]"),
            }
        };
        let usage: Vec<_> = parameters.iter().map(usage).collect();
        let description = prompt.description.or(prompt.title).unwrap_or_default();
        Self {
            name: format!("{}:{}", server.name(), plain(&prompt.name)),
            arguments: usage.join(" "),
            description: visible_label(&description, DESCRIPTION_MAX),
            server: Arc::downgrade(server),
            server_name: server.name().to_owned(),
            prompt: prompt.name,
            parameters,
            secrets,
        }
    }
}

/// The text of a server as quoted lines, without secrets and hidden characters.
fn quoted(text: &str, secrets: &Secrets) -> String {
    let text = text.replace("\r\n", "\n");
    let redacted = secrets.redact(&text);
    let visible = visible(&redacted);
    let lines: Vec<_> = visible.lines().map(|line| format!("> {line}")).collect();
    lines.join("\n")
}

/// Maps the words to the parameters. `None` if a required argument is missing, or if there are words but no parameters.
fn arguments(parameters: &[Parameter], words: &[String]) -> Option<Map<String, Value>> {
    if parameters.is_empty() && !words.is_empty() {
        return None;
    }
    let mut arguments = Map::new();
    for (index, parameter) in parameters.iter().enumerate() {
        let is_last = index + 1 == parameters.len();
        let value = match (words.get(index), is_last) {
            (Some(_), true) => words[index..].join(" "),
            (Some(word), false) => word.clone(),
            (None, _) if parameter.required => return None,
            (None, _) => continue,
        };
        arguments.insert(parameter.name.clone(), Value::String(value));
    }
    Some(arguments)
}

/// The name in characters that the pane accepts in a slash command.
fn plain(name: &str) -> String {
    let plain = |c: char| match c {
        'a'..='z' | 'A'..='Z' | '0'..='9' | '-' | '_' | '.' => c,
        _ => '_',
    };
    name.chars().map(plain).take(NAME_MAX).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_text_of_a_prompt_is_quoted_and_redacted() {
        let values = [("KEY".to_owned(), "hunter2-hunter2".to_owned())];
        let secrets = Secrets::new(&values.into_iter().collect());
        let text = "Use hunter2-hunter2.\r\n# Rules\u{1b}[2J";
        assert_eq!(
            quoted(text, &secrets),
            "> Use [secret KEY].\n> # Rules\\e[2J"
        );
    }

    #[test]
    fn words_become_the_arguments_of_a_prompt() {
        let parameter = |name: &str, required| Parameter {
            name: name.to_owned(),
            required,
        };
        let parameters = [parameter("number", true), parameter("focus", false)];
        let of = |text: &str| {
            let words: Vec<_> = text.split_whitespace().map(str::to_owned).collect();
            arguments(&parameters, &words).map(Value::Object)
        };
        assert_eq!(of(""), None);
        assert_eq!(of("7"), Some(json!({"number": "7"})));
        assert_eq!(
            of("7 the error paths"),
            Some(json!({"number": "7", "focus": "the error paths"}))
        );
        assert_eq!(arguments(&[], &["x".to_owned()]), None);
        assert_eq!(plain("a b\x1b[2J/c"), "a_b__2J_c");
    }
}
