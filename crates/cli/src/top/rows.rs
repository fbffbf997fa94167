//! The rows of the views as styled lines. [`super::draw`] draws them, and a search looks through them. Escapes the
//! control characters of untrusted text (a [`Line`] contains only visible characters).

use agent_team_protocol::view::{MemberView, MessageState, MessageView, TaskState, TaskView};
use agent_team_protocol::{MessageId, Party};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::style::Style;

use super::pages;
use super::state::Top;
use super::view::{Clock, TopView};
use crate::output::style::{self, ATTENTION, member_name};
use crate::output::{member, request, task, text};
use crate::verb::audit::DecisionEntry;

/// The rows that a search looks through: all rows of the open page or, without a page, of the focused view. Rows of
/// lists are not cut.
pub(super) fn searchable_rows(top: &Top, clock: Clock) -> Vec<Line> {
    if let Some(page) = &top.page {
        let columns = top.shown.page.map_or(0, |page| page.columns);
        return pages::lines(page, top, columns, clock);
    }
    let columns = top.shown.pane(top.focus).map_or(0, |pane| pane.area.width);
    let columns = usize::from(columns);
    match top.focus {
        TopView::Members => top
            .team
            .members
            .iter()
            .map(|it| member_text(top, it))
            .collect(),
        TopView::Output => top.output.with_rows(columns, <[Line]>::to_vec),
        TopView::Board => top.board().into_iter().map(task_line).collect(),
        TopView::Requests => match &top.decided {
            Some(decided) => decisions(decided, columns, clock),
            None => requests(top, clock),
        },
        TopView::Messages => messages(top, columns, clock, 0, usize::MAX),
    }
}

fn member_text(top: &Top, view: &MemberView) -> Line {
    let mut line = Line::of(member_name(view.colour), view.name.as_str());
    for part in [
        view.role.as_str(),
        &member::state_and_cause(view),
        &current_work(top, view),
    ] {
        line.push(Style::PLAIN, " ");
        line.push(Style::PLAIN, part);
    }
    line
}

/// The task of a member. Without a task: why the member waits, or its last result. Contains no name and no duration:
/// other columns show them, and this text is not refreshed with the clock.
pub(super) fn current_work(top: &Top, member: &MemberView) -> String {
    use agent_team_protocol::attention::Need;

    if let Some(id) = member.task {
        let title = top.task(id).map(|task| text::line(&task.title));
        return format!("{id} {}", title.unwrap_or_default());
    }
    let message = |verb: &str, id: Option<MessageId>| {
        id.map_or_else(|| verb.to_owned(), |id| format!("{verb} in {id}"))
    };
    match (Need::of(member), &member.last_result) {
        (Some(need @ Need::Answer), _) => message(need.verb(), member.asks_user),
        (Some(need @ Need::Reading), _) => message(need.verb(), member.wrote_user),
        (Some(Need::Decision | Need::Dialog | Need::Restart | Need::Limit), _) => {
            let why = text::line(&member.why);
            let own_name = format!("{} ", member.name);
            why.strip_prefix(&own_name).unwrap_or(&why).to_owned()
        }
        (None, Some(result)) => text::line(result),
        (None, None) => String::new(),
    }
}

/// `✗ T-6 Measure it  cleo  no key`
pub(super) fn task_line(view: &TaskView) -> Line {
    let (sign, _) = task::state(view);
    let title = format!("{sign} {} {}", view.id, text::line(&view.title));
    let mut line = Line::of(style::task(view), &title);
    if let Some(owner) = &view.owner {
        line.push(Style::DIM, &format!("  {owner}"));
    }
    if matches!(view.state, TaskState::Completed | TaskState::Failed) {
        let result = text::line(task::key_line(view));
        if !result.is_empty() {
            line.push(Style::DIM, &format!("  {result}"));
        }
    }
    line
}

/// `P-1 ada, 4 s ago  bash: cargo test`
pub(super) fn requests(top: &Top, clock: Clock) -> Vec<Line> {
    let line = |view: &agent_team_protocol::request::RequestView| {
        let mut line = Line::of(ATTENTION, &view.id.to_string());
        let colour = top.member(&view.member).map(|it| it.colour);
        line.push(Style::PLAIN, " ");
        line.push(
            colour.map_or(Style::BOLD, member_name),
            view.member.as_str(),
        );
        let ago = format!(", {} ago  ", clock.age(view.asked_at));
        line.push(Style::DIM, &ago);
        line.push(Style::PLAIN, &request::action_line(view));
        line
    };
    top.requests.iter().map(line).collect()
}

pub(super) fn decisions(decided: &[DecisionEntry], columns: usize, clock: Clock) -> Vec<Line> {
    let mut rows = vec![Line::of(
        Style::DIM,
        "newest first · d shows pending requests",
    )];
    for entry in decided {
        let member = entry.member.as_ref().map_or("?", |member| member.as_str());
        let mut line = Line::of(Style::BOLD, &entry.request.to_string());
        line.push(
            Style::PLAIN,
            &format!(" {member}, {} ago", clock.age(entry.at)),
        );
        rows.push(line);
        for text in [&entry.decision, &entry.call] {
            rows.extend(Line::of(Style::PLAIN, &format!("  {text}")).wrapped(columns, 2));
        }
    }
    if decided.is_empty() {
        rows.push(Line::of(Style::PLAIN, "no decisions yet"));
    }
    rows
}

/// The number of rows of all messages.
pub(super) fn message_count(top: &Top, columns: usize) -> usize {
    let rows = |it| 1 + top.message_bodies.of(it, columns).len();
    top.messages.iter().map(rows).sum()
}

/// At most `limit` rows of the messages, from row `first`.
pub(super) fn messages(
    top: &Top,
    columns: usize,
    clock: Clock,
    first: usize,
    limit: usize,
) -> Vec<Line> {
    let (mut skip, mut rows) = (first, Vec::new());
    for view in &top.messages {
        let body = top.message_bodies.of(view, columns);
        let length = 1 + body.len();
        if skip >= length {
            skip -= length;
            continue;
        }
        let head = std::iter::once(message_head(top, view, clock));
        rows.extend(head.chain(body.iter().cloned()).skip(skip));
        skip = 0;
        if rows.len() >= limit {
            rows.truncate(limit);
            break;
        }
    }
    rows
}

/// `lea → ada  M-1, 1 min ago · unread`
fn message_head(top: &Top, view: &MessageView, clock: Clock) -> Line {
    let state = match view.state {
        MessageState::Read => "",
        // This view shows the message to the user, so the message is not marked as unread.
        _ if view.to == Party::User => "",
        MessageState::Accepted | MessageState::Delivered | MessageState::Unknown => " · unread",
    };
    let urgent = if view.urgent { " · urgent" } else { "" };
    let style = |party: &Party| {
        let member = match party {
            Party::Member(name) => top.member(name),
            Party::User | Party::System => None,
        };
        member.map_or(Style::BOLD, |it| member_name(it.colour))
    };
    let mut line = Line::of(style(&view.from), view.from.shown());
    line.push(Style::DIM, " → ");
    line.push(style(&view.to), view.to.shown());
    let age = clock.age(view.at);
    line.push(
        Style::DIM,
        &format!("  {}, {age} ago{urgent}{state}", view.id),
    );
    line
}
