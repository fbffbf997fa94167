//! The last line of the screen: a prompt, a confirmation, the status, or the keys that have an effect now. A long
//! status takes several rows.

use agent_team_protocol::view::TaskView;
use agent_team_protocol::{Party, text::visible_line};
use agent_team_terminal_ui::editor::Editor;
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::Style;
use unicode_width::UnicodeWidthStr;

use crate::output::style::{ATTENTION, BAD, GOOD};
use crate::top::keys::{can_cancel, can_retry};
use crate::top::state::{Action, Mode, Page, Prompt, Top};
use crate::top::view::TopView;

/// Maximum number of rows of a prompt, and of a status.
const PROMPT_ROWS: usize = 4;
const STATUS_ROWS: usize = 6;

pub(super) struct Foot {
    pub(super) rows: Vec<Line>,
    /// Row and column of the cursor.
    pub(super) cursor: Option<(usize, usize)>,
}

impl From<Line> for Foot {
    fn from(line: Line) -> Self {
        Self {
            rows: vec![line],
            cursor: None,
        }
    }
}

pub(super) fn foot(top: &Top, columns: usize) -> Foot {
    match (&top.mode, &top.status) {
        (Mode::Prompt { prompt, editor }, _) => prompt_rows(prompt, editor, top, columns),
        (Mode::Confirm(action), _) => {
            let text = format!("{} y/N", confirmation(action, top));
            wrapped(ATTENTION, &text, columns)
        }
        (Mode::Browse, Some(status)) => {
            let style = if status.is_error { BAD } else { GOOD };
            wrapped(style, &status.text, columns)
        }
        (Mode::Browse, None) => match &top.page {
            // The card has its own keys.
            Some(Page::Request(_)) => Line::default().into(),
            Some(_) | None => hints(top, columns).into(),
        },
    }
}

/// A text of several lines, wrapped between words.
fn wrapped(style: Style, text: &str, columns: usize) -> Foot {
    let lines = text.lines().map(|line| Line::of(style, line));
    let rows = lines.flat_map(|line| line.wrapped(columns, 2));
    Foot {
        rows: rows.take(STATUS_ROWS).collect(),
        cursor: None,
    }
}

/// The keys that have an effect now. A narrow line omits the last keys first.
fn hints(top: &Top, columns: usize) -> Line {
    let mut keys: Vec<(&str, &str)> = Vec::new();
    let mut line = Line::default();
    if !top.search.text().is_empty() {
        let found = top.search.found();
        let found = found.map(|it| format!(" {} of {}", it.number, it.total));
        let text = visible_line(top.search.text()).into_owned();
        line.push(
            ATTENTION,
            &format!("/{text}{}  ", found.unwrap_or_default()),
        );
        keys.extend([("n", "next"), ("N", "previous"), ("esc", "end search")]);
    } else if top.page.is_some() {
        keys.extend([("esc", "back"), ("↑↓", "scroll")]);
    } else {
        keys.extend([("?", "help"), ("q", "quit")]);
    }
    let is_listed = top.page.is_none();
    if let Some(task) = top.current_task() {
        of_task(task, is_listed, &mut keys);
    } else if top.current_member().is_some() {
        let open = is_listed.then_some(("enter", "details"));
        keys.extend(open);
        if !top.requests.is_empty() {
            keys.push(("r", "answer"));
        }
        keys.extend([
            ("a", "attach"),
            ("s", "send"),
            ("K", "kill"),
            ("w", "why"),
            ("R", "restart"),
            ("x", "stop"),
            ("l", "output"),
        ]);
    } else if is_listed {
        match top.focus {
            TopView::Board => keys.push(("a", "add")),
            TopView::Requests => {
                let is_pending = top.decided.is_none();
                keys.extend(
                    (is_pending && !top.requests.is_empty()).then_some(("enter", "answer")),
                );
                keys.push(("d", if is_pending { "decided" } else { "pending" }));
            }
            TopView::Messages => keys.push(("S", "send to all")),
            TopView::Members | TopView::Output => {}
        }
    }
    if is_listed {
        keys.push(("tab", "view"));
    }
    if is_listed && top.focus != TopView::Requests {
        keys.push(("d", "diff"));
    }
    if top.search.text().is_empty() {
        keys.push(("/", "search"));
    }
    if is_listed {
        keys.extend([("+", "spawn"), ("g", "next waiting")]);
    }
    for (key, what) in keys {
        if line.width() + key.width() + what.width() + 1 > columns {
            break;
        }
        line.push(Style::BOLD, key);
        line.push(Style::DIM, &format!(" {what}  "));
    }
    line
}

fn of_task(task: &TaskView, is_listed: bool, keys: &mut Vec<(&'static str, &'static str)>) {
    keys.extend(is_listed.then_some(("enter", "details")));
    keys.extend(can_retry(task.state).then_some(("r", "retry")));
    keys.extend(can_cancel(task.state).then_some(("c", "cancel")));
    keys.extend([("a", "add"), ("w", "why")]);
    let has_output = matches!(task.owner, Some(Party::Member(_)));
    keys.extend(has_output.then_some(("l", "logs")));
    if !is_listed {
        keys.push(("d", "diff"));
    }
}

fn prompt_rows(prompt: &Prompt, editor: &Editor, top: &Top, columns: usize) -> Foot {
    let label = match prompt {
        Prompt::Send { to, urgent } => {
            let how = if *urgent { ", urgent" } else { "" };
            format!("to {to}{how} ▸ ")
        }
        Prompt::Spawn => "role [name] ▸ ".to_owned(),
        Prompt::AddTask => "new task ▸ ".to_owned(),
        Prompt::Search => "/".to_owned(),
    };
    // The editor cuts a label in the middle.
    let label = Line::of(ATTENTION, &label);
    let label = match label.width() > columns / 2 {
        true => label.cut((columns / 2).saturating_sub(2)),
        false => label,
    };
    let (mut rows, cursor) = editor.rows(&label, columns.max(2), PROMPT_ROWS);
    if *prompt == Prompt::Search
        && let Some(last) = rows.last_mut()
    {
        let found = top.search.found();
        let found = match (found, editor.is_empty()) {
            (_, true) => String::new(),
            (Some(found), _) => format!("   {} of {}", found.number, found.total),
            (None, _) => "   no match".to_owned(),
        };
        last.push(Style::DIM, &found);
    }
    let mut above = match prompt {
        Prompt::Spawn => roles(editor.text(), top).wrapped(columns, 0),
        Prompt::Send { .. } | Prompt::AddTask | Prompt::Search => Vec::new(),
    };
    above.retain(|row| row.width() > 0);
    above.truncate(PROMPT_ROWS);
    let cursor = (cursor.0 + above.len(), cursor.1);
    above.append(&mut rows);
    Foot {
        rows: above,
        cursor: Some(cursor),
    }
}

/// The roles that begin with the typed word; all roles if no role does.
fn roles(typed: &str, top: &Top) -> Line {
    let typed = typed.split_whitespace().next().unwrap_or_default();
    let all = top.team.roles.iter().map(|role| role.name.as_str());
    let mut shown: Vec<_> = all.clone().filter(|name| name.starts_with(typed)).collect();
    if shown.is_empty() {
        shown = all.collect();
    }
    Line::of(Style::DIM, &shown.join("  "))
}

fn confirmation(action: &Action, top: &Top) -> String {
    match action {
        Action::Kill(member) => format!("kill {member} and all its processes?"),
        Action::Stop(member) => format!("stop {member}?"),
        Action::Restart(member) => format!("restart {member}?"),
        Action::Down => "stop the whole team?".to_owned(),
        Action::Cancel(task) => {
            let title = top.task(*task).map(|it| format!(" {}", it.title));
            format!("cancel {task}{}?", visible_line(&title.unwrap_or_default()))
        }
        // These actions need no confirmation.
        Action::Decide(_)
        | Action::Send { .. }
        | Action::Spawn { .. }
        | Action::AddTask(_)
        | Action::Retry(_) => String::new(),
    }
}
