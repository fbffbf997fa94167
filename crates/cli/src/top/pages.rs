//! The pages that cover the views, as styled lines: the help, a member, a task, the uncommitted changes. Drawn by
//! [`super::draw`]; a request has its own guarded page, [`super::request_dialog`].

use agent_team_protocol::text::visible;
use agent_team_protocol::view::{MemberState, MemberView, TaskState, TaskView};
use agent_team_protocol::{MemberName, TaskId};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::markdown;
use agent_team_terminal_ui::style::{SemanticColour, Style};

use super::diff::Changes;
use super::state::{Page, Top};
use super::view::Clock;
use crate::output::style::{self, ATTENTION, member_name};
use crate::output::{member, request, task, text, usage};

/// The width of the names of fields.
const NAME: usize = 12;

const HEADING: Style = Style::of(SemanticColour::Heading).bold();

const HELP: [(&str, &str); 21] = [
    (
        "tab  1-4  click",
        "go to members, output, board, requests, messages",
    ),
    ("↑ ↓  wheel", "select an entry, or scroll"),
    ("enter  2nd click", "open the entry; esc goes back"),
    (
        "/  n  N",
        "search as you type; next and previous match; esc ends",
    ),
    ("g", "select the member that waits for you longest"),
    (
        "r",
        "answer a request: y allow, 1-9 allow a rule for the team, n deny, e deny with a reason, esc later",
    ),
    ("", ""),
    ("members, output", ""),
    ("a", "attach to the pane of the member"),
    (
        "s  !  S",
        "send a message; an urgent one, which interrupts; to all",
    ),
    ("w  l  d", "why this state; output; uncommitted changes"),
    ("x  K  R", "ask the member to stop; kill it; restart it"),
    ("+", "spawn a member"),
    ("board", ""),
    ("a", "add a task; text after the first line describes it"),
    ("r  c", "retry the task; cancel it"),
    ("w  l  d", "what it waits for; output of its owner; changes"),
    ("requests", ""),
    ("d", "switch between decided and pending requests"),
    ("Q", "stop the whole team"),
    ("q", "quit; the team keeps running"),
];

/// The keys of the help page, each with its action.
#[cfg(test)]
pub(crate) fn help_lines() -> impl Iterator<Item = (&'static str, &'static str)> {
    HELP.into_iter()
}

/// The lines of a page; none for a request.
pub(super) fn lines(page: &Page, top: &Top, columns: usize, clock: Clock) -> Vec<Line> {
    match page {
        Page::Help => help(columns),
        Page::Member(name) => of_member(top, name, columns, clock),
        Page::Task(id) => of_task(top, *id, columns, clock),
        Page::Changes(changes) => of_changes(top, changes.as_ref(), columns),
        Page::Request(_) => Vec::new(),
    }
}

fn help(columns: usize) -> Vec<Line> {
    let line = |(keys, what): &(&str, &str)| {
        let mut line = Line::of(
            if what.is_empty() {
                HEADING
            } else {
                Style::BOLD
            },
            &format!("{keys:<18}"),
        );
        line.push(Style::PLAIN, what);
        line.wrapped(columns, 18)
    };
    HELP.iter().flat_map(line).collect()
}

/// A page under construction.
struct Text {
    columns: usize,
    lines: Vec<Line>,
}

impl Text {
    fn push(&mut self, line: &Line) {
        self.lines.extend(line.wrapped(self.columns, 2));
    }

    /// Adds a field; adds nothing if the value is empty.
    fn field(&mut self, name: &str, style: Style, value: &str) {
        let mut named = Line::of(Style::DIM, &format!("{name:<NAME$} "));
        let values = value.trim_end();
        for line in values.lines().filter(|line| !line.is_empty()) {
            named.push(style, line);
            self.lines.extend(named.wrapped(self.columns, NAME + 1));
            named = Line::of(Style::DIM, &" ".repeat(NAME + 1));
        }
    }

    fn heading(&mut self, text: &str) {
        self.lines.push(Line::default());
        self.push(&Line::of(HEADING, text));
    }

    /// Adds a text of a member, in Markdown; adds nothing if the text is empty.
    fn markdown(&mut self, heading: &str, text: &str) {
        if !text.trim().is_empty() {
            self.heading(heading);
            self.lines
                .extend(markdown::lines(text.trim_end(), self.columns));
        }
    }
}

fn of_member(top: &Top, name: &MemberName, columns: usize, clock: Clock) -> Vec<Line> {
    let mut page = Text {
        columns,
        lines: Vec::new(),
    };
    let Some(view) = top.member(name) else {
        page.push(&Line::of(
            Style::DIM,
            &format!("{name} is no longer in the team"),
        ));
        return page.lines;
    };
    let mut title = Line::of(member_name(view.colour), name.as_str());
    title.push(Style::PLAIN, &format!(" · {}", view.role));
    page.push(&title);
    let age = crate::output::time::age(top.age_ms(view, clock.now));
    let state = format!("{}, for {age}", member::state_and_cause(view));
    page.field("state", member::state_style(view), &state);
    page.field("why", Style::PLAIN, &why_member(top, view));
    if let Some(task) = view.task.and_then(|id| top.task(id)) {
        page.field("task", style::task(task), &title_of(task));
    }
    for request in top.requests.iter().filter(|it| it.member == *name) {
        let text = format!("{} {}", request.id, request::action_line(request));
        page.field("asks", ATTENTION, &text);
    }
    page.field(
        "model",
        Style::PLAIN,
        &text::line(view.model.as_deref().unwrap_or_default()),
    );
    if let Some(context) = view.context {
        let text = format!("{} % of the window is used", context.percent());
        page.field("context", Style::PLAIN, &text);
    }
    if view.usage.tokens() > 0 {
        page.field("used", Style::PLAIN, &usage::spent(&view.usage));
    }
    if view.unread > 0 {
        page.field(
            "unread",
            Style::PLAIN,
            &text::count(view.unread.into(), "message"),
        );
    }
    if view.restarts > 0 {
        page.field("restarts", Style::PLAIN, &view.restarts.to_string());
    }
    page.field(
        "completed",
        Style::PLAIN,
        &text::count(view.completed, "task"),
    );
    page.markdown(
        "Last result",
        view.last_result.as_deref().unwrap_or_default(),
    );
    page.lines
}

fn of_task(top: &Top, id: TaskId, columns: usize, clock: Clock) -> Vec<Line> {
    let mut page = Text {
        columns,
        lines: Vec::new(),
    };
    let Some(view) = top.task(id) else {
        page.push(&Line::of(Style::DIM, &format!("{id} is not on the board")));
        return page.lines;
    };
    page.push(&Line::of(
        Style::BOLD,
        &format!("{id} {}", text::line(&view.title)),
    ));
    let (sign, word) = task::state(view);
    let owner = view.owner.as_ref().map(|owner| format!(" by {owner}"));
    let age = clock.age(view.changed_at);
    let state = format!("{sign} {word}{}, for {age}", owner.unwrap_or_default());
    page.field("state", style::task(view), &state);
    for (name, ids) in [("after", &view.after), ("blocks", &view.blocks)] {
        for (number, id) in ids.iter().enumerate() {
            let name = if number == 0 { name } else { "" };
            match top.task(*id) {
                Some(task) => page.field(name, style::task(task), &title_of(task)),
                None => page.field(name, Style::PLAIN, &id.to_string()),
            }
        }
    }
    if view.state == TaskState::Pending {
        page.field("waits", Style::PLAIN, &why_task(top, view));
    }
    if view.key != view.title {
        page.field("key", Style::PLAIN, &text::line(&view.key));
    }
    let role = view.role.as_ref().map(ToString::to_string);
    page.field("role", Style::PLAIN, &role.unwrap_or_default());
    let assignee = view.assignee.as_ref().map(ToString::to_string);
    page.field("for", Style::PLAIN, &assignee.unwrap_or_default());
    if view.priority != 0 {
        page.field("priority", Style::PLAIN, &view.priority.to_string());
    }
    page.field("labels", Style::PLAIN, &text::line(&view.labels.join(" ")));
    page.field("files", Style::PLAIN, &text::line(&view.files.join(" ")));
    for (name, line) in [("run", &view.run), ("verify", &view.verify)] {
        page.field(
            name,
            Style::of(SemanticColour::Code),
            line.as_deref().unwrap_or_default(),
        );
    }
    page.markdown("Description", &view.description);
    page.heading("History");
    match &top.claims {
        None => page.push(&Line::of(Style::DIM, "…")),
        Some(claims) => {
            for entry in claims {
                let ago = format!("{} ago", clock.age(entry.at));
                page.field(&ago, Style::PLAIN, &entry.what);
            }
        }
    }
    let result = view.result.as_deref().unwrap_or_default();
    match view.state {
        TaskState::Failed => {
            if !result.trim().is_empty() {
                page.heading("Failure");
                for line in visible(result.trim_end()).lines() {
                    page.push(&Line::of(Style::of(SemanticColour::Failure), line));
                }
            }
        }
        TaskState::Pending
        | TaskState::InProgress
        | TaskState::Completed
        | TaskState::Cancelled
        | TaskState::Unknown => page.markdown("Result", result),
    }
    page.lines
}

fn of_changes(top: &Top, changes: Option<&Changes>, columns: usize) -> Vec<Line> {
    let mut page = Text {
        columns,
        lines: Vec::new(),
    };
    page.push(&Line::of(
        Style::BOLD,
        "Uncommitted changes in the project, of all members and of you",
    ));
    let project = top.team.project.display().to_string();
    page.push(&Line::of(Style::DIM, &project));
    let Some(changes) = changes else {
        page.push(&Line::of(Style::DIM, "…"));
        return page.lines;
    };
    if changes.is_empty() {
        page.push(&Line::of(Style::PLAIN, "no changes"));
        return page.lines;
    }
    page.lines.push(Line::default());
    for line in changes.stat.lines() {
        page.push(&Line::of(Style::PLAIN, line));
    }
    for file in changes.untracked.lines() {
        let mut line = Line::of(Style::of(SemanticColour::Added), " new ");
        line.push(Style::PLAIN, file);
        page.push(&line);
    }
    page.lines.push(Line::default());
    for line in Line::diff(&changes.diff) {
        page.push(&line);
    }
    if changes.is_cut {
        let project = "run git diff to see the rest";
        page.push(&Line::of(
            ATTENTION,
            &format!("the diff is longer · {project}"),
        ));
    }
    page.lines
}

/// `◐ T-3 Write the tests`
fn title_of(view: &TaskView) -> String {
    let (sign, _) = task::state(view);
    format!("{sign} {} {}", view.id, text::line(&view.title))
}

/// Why a member is in its state, as `agent-team why` explains it.
pub(super) fn why_member(top: &Top, view: &MemberView) -> String {
    let mut why = text::line(&view.why);
    if view.state == MemberState::Idle {
        // The board may be the reason.
        let board: Vec<TaskView> = top.board().into_iter().cloned().collect();
        let stuck = task::stuck(&board);
        let unclaimable = board
            .iter()
            .filter_map(|it| task::unclaimable(it, &top.team.members));
        for line in stuck.into_iter().chain(unclaimable) {
            why.push('\n');
            why.push_str(&line);
        }
    }
    why
}

/// Why a task waits, or how it ended.
pub(super) fn why_task(top: &Top, view: &TaskView) -> String {
    let why = task::why(view, |id| top.task(id), &top.team.members);
    match view.state {
        TaskState::Failed => format!("{why} · r retries it"),
        TaskState::Pending
        | TaskState::InProgress
        | TaskState::Completed
        | TaskState::Cancelled
        | TaskState::Unknown => why,
    }
}
