//! `todo`: the member's own checklist, visible only to the member and in its pane. It is independent of the board.

use std::fmt::Write as _;
use std::sync::{Mutex, PoisonError};

use schemars::JsonSchema;
use serde::Deserialize;

use crate::adapter::{Access, Call, tool};
use crate::tool::{Tool, ToolError};

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

pub(super) fn todo() -> Box<dyn Tool> {
    let description = "Keep your own checklist for work with several steps: write it first, keep it up to date. \
                       It is independent of the team's board.";
    tool(
        "todo",
        description,
        Access::Changes,
        Checklist::default(),
        run,
    )
}

type Checklist = Mutex<Vec<Item>>;

async fn run(list: &Checklist, arguments: Arguments, call: Call<'_>) -> Result<String, ToolError> {
    if let Some(items) = &arguments.items {
        check(items)?;
    }
    let mut items = list.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(new) = arguments.items {
        *items = new;
    }
    let text = render(&items);
    (call.progress)(&text);
    Ok(text)
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
