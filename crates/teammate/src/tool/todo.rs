//! `todo`: the member's own checklist. It is no task of the board: nobody else sees it but the person in the pane.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::{Bench, Output, Running, Tool, ToolError, arguments};
use crate::model::ToolSpec;

const ITEMS_MAX: usize = 100;

/// Bytes of one item.
const TEXT_MAX: usize = 500;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The whole list: it replaces the one before. Left out: the list is only shown.
    items: Option<Vec<Item>>,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Item {
    /// What is to be done, in a few words.
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
        let description = "Your own checklist for work of several steps: write it down first, keep it up to date. \
            It is not the team's board.";
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
        _bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
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
            shown(&text);
            Ok(Output { text, diff: None })
        })
    }
}

fn check(items: &[Item]) -> Result<(), ToolError> {
    if items.len() > ITEMS_MAX {
        return Err(ToolError::Input(format!(
            "`items`: {} are too many; at most {ITEMS_MAX}",
            items.len()
        )));
    }
    for (number, item) in items.iter().enumerate() {
        let text = item.text.trim();
        if text.is_empty() || text.len() > TEXT_MAX || text.contains('\n') {
            return Err(ToolError::Input(format!(
                "`items[{number}].text`: one line of 1 to {TEXT_MAX} bytes"
            )));
        }
    }
    Ok(())
}

fn render(items: &[Item]) -> String {
    if items.is_empty() {
        return "(nothing on the list)\n".to_owned();
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
