//! `todo`: the member's own checklist, visible only to the member and in its pane. Independent of the board.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use agent_team_llm::ToolSpec;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Output, Tool, ToolContext, ToolError, ToolFuture, arguments};

const ITEMS_MAX: usize = 100;

/// The largest size of an item, in bytes.
const TEXT_MAX: usize = 500;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The whole list, which replaces the previous one. Omit it to show the list.
    items: Option<Vec<Item>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    /// What to do, in a few words.
    text: String,
    state: State,
}

#[derive(Debug, Clone, Copy, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
enum State {
    Pending,
    InProgress,
    Done,
}

#[derive(Debug)]
pub(super) struct Todo {
    spec: ToolSpec,
    items: Mutex<Vec<Item>>,
}

impl Todo {
    pub(super) fn new() -> Self {
        let description = "Keep your own checklist for work with several steps: write it first, keep it up to date. \
                           It is independent of the team's board.";
        Self {
            spec: arguments::spec::<Arguments>("todo", description),
            items: Mutex::new(Vec::new()),
        }
    }
}

impl Tool for Todo {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        input: Value,
        _context: &'a ToolContext,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> ToolFuture<'a> {
        Box::pin(async move {
            let arguments: Arguments = arguments::parse(&self.spec, input)?;
            if let Some(items) = &arguments.items {
                check(items)?;
            }
            let mut items = self.items.lock().unwrap_or_else(PoisonError::into_inner);
            if let Some(new) = arguments.items {
                *items = new;
            }
            let text = render(&items);
            progress(&text);
            Ok(Output { text, diff: None })
        })
    }
}

fn check(items: &[Item]) -> Result<(), ToolError> {
    if items.len() > ITEMS_MAX {
        return Err(ToolError::Input(format!(
            "`items`: {} items exceed the limit of {ITEMS_MAX}",
            items.len()
        )));
    }
    for (number, item) in items.iter().enumerate() {
        let text = item.text.trim();
        if text.is_empty() || text.len() > TEXT_MAX || text.contains('\n') {
            return Err(ToolError::Input(format!(
                "`items[{number}].text` must be one line of 1 to {TEXT_MAX} bytes"
            )));
        }
    }
    Ok(())
}

fn render(items: &[Item]) -> String {
    if items.is_empty() {
        return "(the list is empty)\n".to_owned();
    }
    let mut text = String::new();
    for item in items {
        let mark = match item.state {
            State::Pending => "[ ]",
            State::InProgress => "[>]",
            State::Done => "[x]",
        };
        let _infallible = writeln!(text, "{mark} {}", item.text.trim());
    }
    text
}
