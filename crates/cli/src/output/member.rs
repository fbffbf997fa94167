//! The table of members for `ps`, `team show` and `supervisor status`. Each name has the member's colour; each state
//! has the colour of its urgency.

use agent_team_protocol::attention::Need;
use agent_team_protocol::status::Status;
use agent_team_protocol::text::{age, visible_label};
use agent_team_protocol::value::Effort;
use agent_team_protocol::view::{MemberState, MemberView, Waiting};
use agent_team_system::clock;
use agent_team_terminal_ui::style::Style;

use super::table::{Cell, Table, elastic_to, firm, fixed, optional};
use super::{columns, style, text, usage};

/// Maximum width of the cause of a wait, such as "tasks T-3, T-4".
const CAUSE_WIDTH: usize = 24;

/// The width of a member's last result while less important columns are shown.
const RESULT_WIDTH: usize = 20;

fn state(state: MemberState) -> &'static str {
    match state {
        MemberState::Planned => "planned",
        MemberState::Launching => "launching",
        MemberState::Idle => "idle",
        MemberState::Working => "working",
        MemberState::Waiting => "waiting",
        MemberState::Unresponsive => "unresponsive",
        MemberState::Draining => "draining",
        MemberState::Cooling => "cooling",
        MemberState::Held => "held",
        MemberState::Stopped => "stopped",
        MemberState::Unknown => "unknown",
    }
}

/// The sign of a member's state, one column wide.
pub(crate) fn sign(member: &MemberView) -> &'static str {
    match member.state {
        _ if Need::of(member) == Some(Need::Decision) => Status::Waiting.sign(),
        MemberState::Working => Status::Working.sign(),
        MemberState::Waiting if Need::of(member).is_some() => Status::Waiting.sign(),
        MemberState::Waiting => "…",
        MemberState::Idle => "○",
        MemberState::Held | MemberState::Unresponsive => Status::Failure.sign(),
        MemberState::Stopped => "–",
        MemberState::Planned
        | MemberState::Launching
        | MemberState::Draining
        | MemberState::Cooling
        | MemberState::Unknown => "·",
    }
}

/// The style of a member's state. A member that waits for anything other than the user needs no attention.
pub(crate) fn state_style(member: &MemberView) -> Style {
    match (Need::of(member), member.state) {
        (Some(Need::Decision), _) => style::ATTENTION,
        (None, MemberState::Waiting) => Style::PLAIN,
        (_, state) => style::member_state(state),
    }
}

/// `… waiting (model, 18 s)`, `… waiting (tasks T-3, T-4)`, `◐ working (asks you, M-5)`, `○ idle, not connected`
pub(crate) fn state_and_cause(member: &MemberView) -> String {
    let cause = member.waiting.as_ref().map(|waiting| match waiting {
        Waiting::Budget { .. } => " (budget)".to_owned(),
        Waiting::RateLimit { until, .. } => {
            let remaining_ms = until.saturating_sub(clock::wall_ms()).div_ceil(1000) * 1000;
            format!(" (model, {})", age(remaining_ms))
        }
        Waiting::Permission { request } => format!(" ({request})"),
        Waiting::Plan { request, number } => format!(" ({request}, plan {number})"),
        Waiting::Answer { message } => format!(" (asks you, {message})"),
        Waiting::Reply { what } => format!(" ({})", visible_label(what, CAUSE_WIDTH)),
        Waiting::Dialog { .. } => format!(" ({})", Need::Dialog.verb()),
        Waiting::Unknown => String::new(),
    });
    let asks = member.asks_user.map(|message| (Need::Answer, message));
    let wrote = member.wrote_user.map(|message| (Need::Reading, message));
    let is_reply = matches!(member.waiting, Some(Waiting::Reply { .. }));
    let cause = match (cause, asks.or(wrote)) {
        (cause, Some((need, message))) if cause.is_none() || is_reply => {
            format!(" ({}, {message})", need.verb())
        }
        (cause, _) => cause.unwrap_or_default(),
    };
    let connection = match member.disconnected {
        true => ", not connected",
        false => "",
    };
    format!(
        "{} {}{cause}{connection}",
        sign(member),
        state(member.state)
    )
}

/// The first part of a pane's id. iTerm2 ids are long and their first parts differ.
fn short(pane: &str) -> &str {
    pane.split_once('-').map_or(pane, |(begin, _)| begin)
}

/// The table for the terminal on stdout.
pub(crate) fn table(members: &[MemberView]) -> String {
    table_for(members, columns())
}

fn table_for(members: &[MemberView], columns: Option<usize>) -> String {
    // Teams without agents use no tokens: leave out the columns.
    let shows_usage = members.iter().any(|member| member.usage.tokens() > 0);
    // Most teams use the default effort: leave out the column.
    let has_effort = |member: &MemberView| member.effort.is_some_and(|it| it != Effort::default());
    let shows_effort = members.iter().any(has_effort);
    let mut columns_shown = vec![
        firm("NAME"),
        optional("ROLE", 5),
        firm("STATE"),
        optional("FOR", 7),
        fixed("TASK"),
        optional("UNREAD", 4),
        optional("PID", 1),
        optional("PANE", 2),
    ];
    if shows_usage {
        columns_shown.extend([optional("TOKENS", 3), optional("COST", 6)]);
    }
    if shows_effort {
        columns_shown.push(optional("EFFORT", 8));
    }
    let shows_context = members.iter().any(|member| member.context.is_some());
    if shows_context {
        columns_shown.push(optional("CONTEXT", 4));
    }
    let shows_restarts = members.iter().any(|member| member.restarts > 0);
    if shows_restarts {
        columns_shown.push(optional("RESTARTS", 3));
    }
    columns_shown.push(elastic_to("LAST RESULT", RESULT_WIDTH));
    let or_dash = |text: Option<String>| Cell::new(text.as_deref().unwrap_or("–"));
    let mut table = Table::new(columns_shown);
    for member in members {
        let mut row = vec![
            Cell::styled(member.name.as_str(), style::member_name(member.colour)),
            Cell::new(member.role.as_str()),
            Cell::styled(state_and_cause(member), state_style(member)),
            Cell::new(age(member.for_ms)),
            or_dash(member.task.map(|task| task.to_string())),
            Cell::new(member.unread.to_string()),
            or_dash(member.pid.map(|pid| pid.to_string())),
            or_dash(member.pane.as_deref().map(|pane| short(pane).to_owned())),
        ];
        if shows_usage {
            row.push(Cell::new(usage::tokens(member.usage.tokens())));
            row.push(Cell::new(usage::cost(&member.usage)));
        }
        if shows_effort {
            row.push(or_dash(
                member.effort.map(|effort| effort.name().to_owned()),
            ));
        }
        if shows_context {
            let percent = member.context.map(|context| context.percent());
            row.push(or_dash(percent.map(|percent| format!("{percent} %"))));
        }
        if shows_restarts {
            row.push(Cell::new(member.restarts.to_string()));
        }
        row.push(or_dash(member.last_result.as_deref().map(text::line)));
        table.row(row);
    }
    table.render(columns)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use unicode_width::UnicodeWidthStr;

    use super::*;

    fn member(name: &str, role: &str, waiting: &Value, result: &str) -> MemberView {
        let member = json!({
            "name": name, "role": role, "lead": false, "engine": "native", "model": null, "colour": "green",
            "placement": "tmux", "state": "waiting", "waiting": waiting, "why": "", "for_ms": 754_000,
            "pid": 3_194_532, "launch": null, "task": "T-1042", "pane": "%12", "unread": 3, "requests": 1,
            "restarts": 0, "last_result": result,
            "usage": {"input": 1_203_400, "output": 90_000, "micro_usd": 4_120_000},
        });
        serde_json::from_value(member).expect("a member")
    }

    #[test]
    fn a_question_to_the_user_is_shown_with_its_message() {
        let shown = |waiting: &Value, asks: Value, wrote: Value| {
            let mut member = serde_json::to_value(member("ada", "worker", waiting, "")).unwrap();
            member["asks_user"] = asks;
            member["wrote_user"] = wrote;
            state_and_cause(&serde_json::from_value(member).unwrap())
        };
        let answer = json!({"kind": "answer", "message": "M-5"});
        let reply = json!({"kind": "reply", "what": "a reply to M-5"});
        for waiting in [answer, reply, Value::Null] {
            let shown = shown(&waiting, json!("M-5"), json!("M-4"));
            assert!(shown.ends_with("waiting (asks you, M-5)"), "{shown}");
        }
        let shown = shown(&Value::Null, Value::Null, json!("M-4"));
        assert!(shown.ends_with("waiting (wrote to you, M-4)"), "{shown}");
    }

    #[test]
    fn the_table_fits_80_columns() {
        let long = "the parser reads empty files, and the tests of the crate pass";
        let members = [
            member(
                "lead",
                "lead",
                &json!({"kind": "permission", "request": "P-31"}),
                long,
            ),
            member(
                "security-reviewer-2",
                "security-reviewer",
                &json!({"kind": "reply", "what": "tasks T-1030, T-1031, T-1032"}),
                long,
            ),
        ];
        let plain = |columns| {
            let table = table_for(&members, columns);
            anstream::adapter::strip_str(&table).to_string()
        };
        let narrow = plain(Some(80));
        assert!(narrow.lines().all(|line| line.width() <= 80), "{narrow}");
        for kept in ["? waiting (P-31)", "T-1042", "security-reviewer-2", "…"] {
            assert!(narrow.contains(kept), "{kept}: {narrow}");
        }
        assert!(!narrow.contains("PID"), "{narrow}");
        let wide = plain(None);
        assert!(wide.contains(long) && wide.contains("3194532"), "{wide}");
        assert_eq!(plain(Some(200)), wide);
    }
}
