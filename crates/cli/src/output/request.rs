//! Short texts of permission requests and of questions to the user, for every list of requests.

use agent_team_policy::call_line;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::request::{RequestState, RequestView, UserQuestionView};
use agent_team_protocol::text::{visible, visible_label, visible_line};
use agent_team_terminal_ui::style::Style;
use serde_json::Value;

use super::style::paint;
use super::time;

/// Maximum length of an action in a list of requests, in characters.
const ACTION_MAX: usize = 500;

/// A request in two lines. A long action is cut, and a third line shows how to see all of it.
pub(crate) fn brief(view: &RequestView) -> String {
    let state = if view.state == RequestState::Pending {
        String::new()
    } else {
        format!(", {}", state(view))
    };
    let action = action_line(view);
    let more = match action.chars().count() {
        0..=ACTION_MAX => String::new(),
        length => {
            let show = CommandLine::ShowRequest(view.id);
            format!("  {length} characters: see {show}\n")
        }
    };
    format!(
        "{} {}, {}{state}\n  {}\n{more}",
        paint(Style::BOLD, view.id.to_string()),
        view.member,
        time::ago(view.asked_at),
        visible_label(&action, ACTION_MAX)
    )
}

/// A question to the user.
pub(crate) fn question(view: &UserQuestionView) -> String {
    let text = visible(view.text.trim_end()).replace('\n', "\n  ");
    format!(
        "{} {} asks you, {}\n  {text}\n",
        paint(Style::BOLD, view.id.to_string()),
        view.member,
        time::ago(view.asked_at)
    )
}

/// A question to the user, with the command that answers it.
pub(crate) fn question_with_command(view: &UserQuestionView) -> String {
    let command = CommandLine::Send(&view.member);
    format!("{}  answer with: {command}\n", question(view))
}

/// The tool and its arguments, or the first line of a plan.
pub(crate) fn action_line(view: &RequestView) -> String {
    let input: Value = serde_json::from_str(view.input.get()).unwrap_or_default();
    match view.plan {
        Some(number) => plan_line(number, &input),
        None => call_line(&view.tool, &input),
    }
}

/// The first line of a plan, without control characters, and the number of its other lines.
pub(crate) fn plan_line(number: u64, input: &Value) -> String {
    let plan = input["text"].as_str().unwrap_or_default();
    let mut lines = plan.lines().filter(|line| !line.trim().is_empty());
    let first = lines.next().unwrap_or_default();
    let more = match lines.count() {
        0 => String::new(),
        1 => " (+1 line)".to_owned(),
        more => format!(" (+{more} lines)"),
    };
    format!("plan {number}: {}{more}", visible_line(first))
}

pub(crate) fn state(view: &RequestView) -> &'static str {
    match view.state {
        RequestState::Allowed if view.plan.is_some() => "approved",
        RequestState::Denied if view.plan.is_some() => "rejected",
        RequestState::Pending => "pending",
        RequestState::Allowed => "allowed",
        RequestState::Begun => "allowed, running",
        RequestState::Ended => "allowed, finished",
        RequestState::Lost => "allowed; unknown whether it ran",
        RequestState::Denied => "denied",
        RequestState::Withdrawn => "withdrawn",
        RequestState::Unknown => "unknown",
    }
}
