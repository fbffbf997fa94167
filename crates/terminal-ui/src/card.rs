//! A permission request as a framed card: the action to decide about, and the reasons. Used by the dialog; pure.
//!
//! ```text
//!   ╭─ ? P-2 edit src/lib.rs (+1 −1) ───────────── ada ─╮
//!   │ 12 - one line                                     │
//!   │ 12 + another line                                 │
//!   ╰─ … 40 more lines, ^O ─────────────── in /project ─╯
//!   [y] once  for the team: [1] src/lib.rs  [n] no  [e] no, because…
//! ```
//! The member chooses commands, paths and diffs. These texts are escaped, they are always inside the frame, and no text
//! in the border contains characters of the frame. The gutter of a line's first row has the sign of the line. If a line
//! is broken at a blank, the blank is not shown and the gutter of the next row is blank; otherwise that gutter has the
//! sign `↪`. The gutters keep a text from imitating a new line, and show a difference that is only a blank.

#[cfg(test)]
mod tests;

use agent_team_protocol::request::{
    Decided, Decision, RequestView, Scope, changed_paths, is_mcp_tool, summary,
};
use agent_team_protocol::status::Status;
use agent_team_protocol::text::{visible_label, visible_line};
use agent_team_protocol::{MemberName, Party, RequestId};
use serde_json::Value;

use crate::diff::Diff;
use crate::line::Line;
use crate::style::{SemanticColour, Style};

/// The columns of the frame beside a row: `│ ` and ` │`.
const SIDES: usize = 4;

/// The columns of the bottom border that are not available to the directory.
const DIRECTORY_MARGIN: usize = 36;

/// The largest number of characters of a call in the one-line form of its request.
const CALL_WIDTH: usize = 80;

/// The end of the reason of a request that no rule decides. The card omits this reason.
const USUAL_REASON: &str = ": no rule allows it";

/// The sign of a request with warnings, and of each warning.
const WARNING_SIGN: &str = "!";

#[derive(Debug)]
enum Content {
    Plan {
        number: u64,
        text: String,
    },
    Change {
        tool: String,
        path: String,
        diff: Diff,
    },
    Call {
        tool: String,
        /// The call with all arguments, on one line.
        summary: String,
        arguments: Vec<(String, String)>,
    },
}

#[derive(Debug)]
pub(crate) struct Card {
    request: RequestId,
    member: MemberName,
    content: Content,
    warnings: Vec<String>,
    reasons: Vec<String>,
    directory: String,
}

impl Card {
    pub(crate) fn of(view: &RequestView) -> Self {
        let input: Value = serde_json::from_str(view.input.get()).unwrap_or_default();
        let text = |name: &str| input[name].as_str();
        let number = |name: &str| input[name].as_u64();
        let paths = changed_paths(&view.tool, &input);
        let content = match (view.plan, text("diff"), paths) {
            (Some(number), ..) => Content::Plan {
                number,
                text: text("text").unwrap_or_default().trim_end().to_owned(),
            },
            // `changed_paths` knows only built-in tools: an MCP tool could change files that the diff does not show.
            (None, Some(diff), Some(path)) => Content::Change {
                tool: view.tool.clone(),
                path,
                diff: match (number("added"), number("removed")) {
                    (Some(added), Some(removed)) => Diff::of(diff).counted(added, removed),
                    _ => Diff::of(diff),
                },
            },
            (None, ..) => Content::Call {
                tool: view.tool.clone(),
                summary: summary(&view.tool, &input),
                arguments: arguments(&view.tool, &input),
            },
        };
        let is_shown = |why: &&String| {
            !why.ends_with(USUAL_REASON)
                && (view.warnings.is_empty() || !why.ends_with("no sandbox"))
        };
        Self {
            request: view.id,
            member: view.member.clone(),
            content,
            warnings: view.warnings.clone(),
            reasons: view.why.iter().filter(is_shown).cloned().collect(),
            directory: view.directory.display().to_string(),
        }
    }

    /// The style of the frame and of the keys below it.
    pub(crate) fn style(&self) -> Style {
        match self.warnings.is_empty() {
            true => Style::of(SemanticColour::Attention),
            false => Style::of(SemanticColour::Failure),
        }
    }

    /// The sign and the request, at the start of the border.
    fn head(&self) -> String {
        let sign = match self.warnings.is_empty() {
            true => Status::Waiting.sign(),
            false => WARNING_SIGN,
        };
        format!("{sign} {} ", self.request)
    }

    /// The columns of the border for the title.
    fn title_room(&self, columns: usize) -> usize {
        columns.saturating_sub("╭─  ─╮".chars().count() + self.head().chars().count())
    }

    /// The title, and whether it contains the whole call. A call that does not fit has a short title.
    fn title(&self, columns: usize) -> (Line, bool) {
        let room = self.title_room(columns);
        let whole = match &self.content {
            Content::Plan { number, .. } => format!("plan {number}"),
            Content::Change { tool, path, diff } => {
                let target = match &diff.file {
                    Some(file) if file != path => format!(" → {file}"),
                    Some(_) | None => String::new(),
                };
                format!("{tool} {path}{target} {}", diff.size())
            }
            Content::Call { summary, .. } => summary.clone(),
        };
        let line = Line::of(Style::BOLD, &border_text(&whole));
        let has_lines = match &self.content {
            Content::Call { arguments, .. } => {
                arguments.iter().any(|(_, value)| value.contains('\n'))
            }
            Content::Plan { .. } | Content::Change { .. } => false,
        };
        if line.width() <= room && !has_lines {
            return (line, true);
        }
        let short = match &self.content {
            Content::Plan { .. } => whole,
            Content::Change { tool, diff, .. } => format!("{tool} {}", diff.size()),
            Content::Call { tool, .. } => tool.clone(),
        };
        let line = Line::of(Style::BOLD, &border_text(&short));
        (line.clipped(room), false)
    }

    /// Whether the bottom border shows the directory. If not, a row shows the directory: the border may be too short,
    /// and a card without other rows needs one.
    fn has_directory_in_border(&self, columns: usize) -> bool {
        let has_rows = match &self.content {
            Content::Plan { .. } | Content::Change { .. } => true,
            Content::Call { .. } => {
                !(self.warnings.is_empty() && self.reasons.is_empty() && self.title(columns).1)
            }
        };
        if !has_rows {
            return false;
        }
        let directory = Line::of(Style::DIM, &border_text(&self.directory));
        directory.width() + DIRECTORY_MARGIN <= columns
    }

    /// All rows inside the frame of a card with this width. Never empty.
    pub(crate) fn rows(&self, columns: usize) -> Vec<Line> {
        let columns = columns.saturating_sub(SIDES).max(4);
        let mut rows = Vec::new();
        let mut row = |sign: &str, style: Style, text: &Line| {
            rows.extend(text.beside(&Line::of(style, &format!("{sign} ")), columns));
        };
        let bad = Style::of(SemanticColour::Failure).bold();
        for warning in &self.warnings {
            row(WARNING_SIGN, bad, &Line::of(bad, warning));
        }
        let (_, is_whole) = self.title(columns + SIDES);
        match &self.content {
            Content::Plan { text, .. } => {
                for line in text.split('\n') {
                    row("·", Style::DIM, &Line::of(Style::PLAIN, line));
                }
            }
            Content::Change { path, diff, .. } => {
                if !is_whole {
                    row("•", Style::DIM, &field("path", path));
                    if let Some(file) = diff.file.as_ref().filter(|file| *file != path) {
                        row("•", Style::DIM, &field("file", file));
                    }
                }
            }
            Content::Call { arguments, .. } if !is_whole => {
                for (name, value) in arguments {
                    if name == "command" {
                        for (number, line) in value.split('\n').enumerate() {
                            let sign = if number == 0 { "$" } else { ">" };
                            row(sign, Style::DIM, &Line::of(Style::PLAIN, line));
                        }
                    } else if value.contains('\n') {
                        row("•", Style::DIM, &field(name, ""));
                        for line in value.split('\n') {
                            row(">", Style::DIM, &Line::of(Style::PLAIN, line));
                        }
                    } else {
                        row("•", Style::DIM, &field(name, value));
                    }
                }
            }
            Content::Call { .. } => {}
        }
        for reason in &self.reasons {
            row("•", Style::DIM, &Line::of(Style::DIM, reason));
        }
        if !self.has_directory_in_border(columns + SIDES) {
            row("•", Style::DIM, &field("in", &self.directory));
        }
        if let Content::Change { diff, .. } = &self.content {
            rows.extend(diff.rows(columns));
        }
        if rows.is_empty() {
            rows.push(Line::of(Style::DIM, &format!("• asked by {}", self.member)));
        }
        rows
    }

    /// The border above the rows.
    pub(crate) fn top(&self, columns: usize) -> Line {
        let (title, _) = self.title(columns);
        let style = self.style();
        let mut line = Line::of(style, "╭─ ");
        line.push(style.bold(), &self.head());
        line.append(&title);
        line.push(style, " ");
        let member = format!(" {} ─╮", self.member);
        let end = match line.width() + member.chars().count() < columns {
            true => member.as_str(),
            false => "─╮",
        };
        let fill = columns.saturating_sub(line.width() + end.chars().count());
        line.push(style, &"─".repeat(fill));
        line.push(style, end);
        line.clipped(columns)
    }

    /// A row with the frame at its sides.
    pub(crate) fn side(&self, row: &Line, columns: usize) -> Line {
        let mut line = Line::of(self.style(), "│ ");
        line.append(row);
        let fill = columns.saturating_sub(line.width() + 1);
        line.push(Style::PLAIN, &" ".repeat(fill));
        line.push(self.style(), "│");
        line
    }

    /// The border below the rows. `hidden`: the number of rows after the last shown row.
    pub(crate) fn bottom(&self, hidden: usize, columns: usize) -> Line {
        let style = self.style();
        let mut line = Line::of(style, "╰─");
        if hidden > 0 {
            let lines = if hidden == 1 { "line" } else { "lines" };
            line.push(style.bold(), &format!(" … {hidden} more {lines}, ^O "));
        }
        let mut end = Line::default();
        if self.has_directory_in_border(columns) {
            end.push(
                Style::DIM,
                &format!(" in {} ", border_text(&self.directory)),
            );
        }
        end.push(style, "─╯");
        let fill = columns.saturating_sub(line.width() + end.width());
        line.push(style, &"─".repeat(fill));
        line.append(&end);
        line.clipped(columns)
    }

    /// The request and its call, on one line.
    pub(crate) fn one_line(&self) -> String {
        let call = match &self.content {
            Content::Plan { number, .. } => format!("plan {number}"),
            Content::Change { tool, path, .. } => format!("{tool} {path}"),
            Content::Call { summary, .. } => summary.clone(),
        };
        format!("{} {}", self.request, visible_label(&call, CALL_WIDTH))
    }

    /// The change with its size, on one line: `edit src/lib.rs (+1 −1)`. `None`: the request is not about a change.
    pub(crate) fn change(&self) -> Option<String> {
        let Content::Change { tool, path, diff } = &self.content else {
            return None;
        };
        let size = diff.size();
        Some(format!("{tool} {} {size}", visible_label(path, CALL_WIDTH)))
    }

    /// The line that replaces the card of a decided request. `own`: the decision that was made in this terminal.
    pub(crate) fn folded(&self, decided: &Decided, own: Option<&Decision>) -> Line {
        let is_plan = matches!(self.content, Content::Plan { .. });
        let name = self.one_line();
        let line = |status: Status, text: String| Line::of(Style::of(status.into()), &text);
        let undecided = |what: &str| Line::of(Style::DIM, &format!("– {name}: {what}"));
        match decided {
            Decided::Allowed { by, scope } => {
                let by = by.as_ref().or(own.map(|_| &Party::User)).map(by_whom);
                let (scope, rules) = match own {
                    Some(Decision::Allow { scope, rules }) => (Some(*scope), rules.join(" ")),
                    Some(Decision::Deny { .. } | Decision::Unknown) | None => {
                        (*scope, String::new())
                    }
                };
                let what = match (is_plan, scope) {
                    (true, _) => "approved",
                    (false, None) => "allowed",
                    (false, Some(Scope::Once)) => "allowed once",
                    (false, Some(Scope::Task)) => "allowed for the task",
                    (false, Some(Scope::Member)) => "allowed for the member",
                    (false, Some(Scope::Team)) => "allowed for the team",
                    (false, Some(Scope::Always)) => "always allowed",
                };
                let rules = match rules.as_str() {
                    "" => String::new(),
                    rules => format!(", {rules}"),
                };
                let by = by.unwrap_or_default();
                line(Status::Success, format!("✓ {name}: {what}{by}{rules}"))
            }
            // The system denies only requests that expire.
            Decided::Denied {
                by: Party::System,
                reason,
            } => undecided(&format!("expired, {reason}")),
            Decided::Denied { by, reason } => {
                let what = if is_plan { "sent back" } else { "denied" };
                let reason = match reason.as_str() {
                    "" => String::new(),
                    reason => format!(", \"{reason}\""),
                };
                let by = by_whom(by);
                line(Status::Failure, format!("✗ {name}: {what}{by}{reason}"))
            }
            Decided::Over => undecided("withdrawn"),
            Decided::Unknown => undecided("no longer pending"),
        }
    }
}

fn by_whom(party: &Party) -> String {
    match party {
        Party::User => " by you".to_owned(),
        Party::System => String::new(),
        Party::Member(name) => format!(" by {name}"),
    }
}

/// The arguments as text: arguments of one line first, the command last. Leaves out arguments that are null or false,
/// except for tools of MCP servers.
fn arguments(tool: &str, input: &Value) -> Vec<(String, String)> {
    let Some(fields) = input.as_object() else {
        return vec![("input".to_owned(), input.to_string())];
    };
    let set = fields.iter().filter(|(_, value)| {
        is_mcp_tool(tool) || !matches!(value, Value::Null | Value::Bool(false))
    });
    let mut all: Vec<(String, String)> = set
        .map(|(name, value)| match value.as_str() {
            Some(text) => (name.clone(), text.to_owned()),
            None => (name.clone(), value.to_string()),
        })
        .collect();
    all.sort_by_key(|(name, value)| (name == "command", value.contains('\n')));
    all
}

fn field(name: &str, value: &str) -> Line {
    let mut line = Line::of(Style::BOLD, &format!("{name}:"));
    if !value.is_empty() {
        line.push(Style::BOLD, " ");
        line.push(Style::PLAIN, value);
    }
    line
}

/// A text for the border: escaped, and without the characters of frames.
fn border_text(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in visible_line(text).chars() {
        match c {
            '\u{2500}'..='\u{259f}' => safe.extend(c.escape_unicode()),
            c => safe.push(c),
        }
    }
    safe
}
