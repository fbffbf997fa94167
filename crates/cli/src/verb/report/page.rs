//! A report as one HTML page. It has no script, loads nothing, and its policy permits neither. It has the style of the
//! page of `agent-team serve`. All text of members is escaped.

use std::fmt::Write as _;

use agent_team_client::spans::Outcome;
use agent_team_gateway::PAGE_STYLE;
use agent_team_protocol::text::{cost, duration};
use agent_team_protocol::view::TaskState;
use serde_json::Value;

use super::history::{History, Request, Run, Task};
use super::markup::{Escaped, EscapedLine};
use super::{picture, words};
use crate::output::{text, time, usage};

/// The first bytes of each page.
pub(super) const SIGNATURE: &str = "<!doctype html><!-- agent-team report -->";

/// Added to the style of the page of the service.
const STYLE: &str = "\
.picture{overflow-x:auto;background:var(--card);border:1px solid var(--line);border-radius:9px}.picture svg{display:block}\
table{border-collapse:collapse;width:100%;background:var(--card);border:1px solid var(--line);border-radius:9px}\
th,td{text-align:left;padding:.4rem .8rem;vertical-align:top}th{color:var(--quiet);font-size:.87rem;font-weight:500}\
td.number,th.number{text-align:right;white-space:nowrap}tr+tr td,tbody tr td{border-top:1px solid var(--line)}\
.wide{overflow-x:auto}.card{border-left-color:var(--accent)}.card.failed{border-left-color:var(--red)}\
.task summary{list-style-position:inside}@media print{pre{max-height:none}details>*{display:block}}";

pub(super) fn draw(history: &History, title: &str) -> String {
    let mut html = String::from(SIGNATURE);
    push(
        &mut html,
        format_args!(
            "\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         base-uri 'none'; form-action 'none'\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\"><meta name=\"referrer\" content=\"no-referrer\">\n\
         <title>{title}</title>\n<style>{PAGE_STYLE}{STYLE}</style></head>\n<body><div id=\"app\">\n",
            title = EscapedLine(title)
        ),
    );
    head(&mut html, history, title);
    html.push_str("<main>\n");
    goals(&mut html, history);
    push(
        &mut html,
        format_args!(
            "<section aria-labelledby=\"timeline\"><h2 id=\"timeline\">Timeline</h2>\n<div class=\"picture\" tabindex=\"0\" \
         role=\"group\" aria-label=\"Timeline of the members\">{}</div></section>\n",
            picture::draw(history, title)
        ),
    );
    members(&mut html, history);
    tasks(&mut html, history);
    decisions(&mut html, history);
    messages(&mut html, history);
    events(&mut html, history);
    html.push_str("</main></div></body></html>\n");
    html
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = html.write_fmt(text);
}

fn head(html: &mut String, history: &History, title: &str) {
    let mut facts = vec![
        time::utc(history.from),
        duration(history.took()),
        text::count(history.members.len() as u64, "member"),
        text::count(history.tasks.len() as u64, "task"),
    ];
    facts.extend(usage::sentence(&history.usage()));
    push(
        html,
        format_args!(
            "<header class=\"head\"><h1>{}</h1><span class=\"facts quiet\">{}</span></header>\n",
            EscapedLine(title),
            EscapedLine(&facts.join(" · "))
        ),
    );
    if history.unreadable > 0 {
        let count = text::count(history.unreadable, "event");
        push(
            html,
            format_args!(
                "<p class=\"warning\">{count} could not be read: written by another version of agent-team, or too large</p>\n"
            ),
        );
    }
}

/// Adds a section with its heading and the number of its items. Adds nothing if `count` is 0.
fn section(html: &mut String, title: &str, count: usize, body: impl FnOnce(&mut String)) {
    if count == 0 {
        return;
    }
    let id = title.to_lowercase();
    push(
        html,
        format_args!(
            "<section aria-labelledby=\"{id}\"><h2 id=\"{id}\">{title} <span class=\"count\">{count}</span></h2>\n"
        ),
    );
    body(html);
    html.push_str("</section>\n");
}

fn goals(html: &mut String, history: &History) {
    section(html, "Goals", history.runs.len(), |html| {
        html.push_str("<div class=\"cards\">\n");
        for (id, run) in &history.runs {
            let Run {
                goal,
                from,
                to,
                outcome,
                text,
            } = run;
            let (class, state) = match outcome {
                Outcome::UnderWay => ("", "under way"),
                Outcome::Done => ("", "answered"),
                Outcome::Failed => ("failed", "failed"),
                Outcome::Stopped => ("failed", "replaced"),
            };
            let took = duration(to.unwrap_or(history.to).saturating_sub(*from));
            push(
                html,
                format_args!(
                    "<article class=\"card {class}\"><header><b>{id}</b> {state}<span class=\"since\">{took}</span></header>\
                 <pre>{}</pre>",
                    Escaped(goal)
                ),
            );
            if !text.is_empty() {
                push(html, format_args!("<pre>{}</pre>", Escaped(text)));
            }
            html.push_str("</article>\n");
        }
        html.push_str("</div>\n");
    });
}

fn members(html: &mut String, history: &History) {
    section(html, "Members", history.members.len(), |html| {
        html.push_str(
            "<div class=\"wide\" tabindex=\"0\" role=\"group\" aria-label=\"Members\"><table><thead><tr><th>name</th><th>role</th>\
             <th class=\"number\">worked</th><th class=\"number\">waited</th><th class=\"number\">held</th>\
             <th class=\"number\">up</th><th class=\"number\">tasks</th><th class=\"number\">tokens</th>\
             <th class=\"number\">cost</th></tr></thead><tbody>\n",
        );
        for (name, member) in picture::ordered(history) {
            let times = history.times(name);
            let role = member
                .role
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default();
            let lead = if member.lead {
                " <span class=\"quiet\">lead</span>"
            } else {
                ""
            };
            push(
                html,
                format_args!(
                    "<tr><td><b>{}</b>{lead}</td><td>{}</td>",
                    EscapedLine(name.as_str()),
                    EscapedLine(&role)
                ),
            );
            let spent = match member.usage.tokens() {
                0 => ["–".to_owned(), "–".to_owned()],
                tokens => [usage::tokens(tokens), cost(&member.usage)],
            };
            let times = [times.worked, times.waited, times.held, times.up].map(|ms| match ms {
                0 => "–".to_owned(),
                ms => duration(ms),
            });
            let numbers = times
                .into_iter()
                .chain([member.completed.to_string()])
                .chain(spent);
            for number in numbers {
                push(html, format_args!("<td class=\"number\">{number}</td>"));
            }
            html.push_str("</tr>\n");
        }
        html.push_str("</tbody></table></div>\n");
    });
}

fn state_of(state: TaskState) -> (&'static str, &'static str, &'static str) {
    match state {
        TaskState::Pending | TaskState::Unknown => ("pending", "○", "pending"),
        TaskState::InProgress => ("in_progress", "●", "in progress"),
        TaskState::Completed => ("completed", "✓", "completed"),
        TaskState::Failed => ("failed", "✕", "failed"),
        TaskState::Cancelled => ("cancelled", "–", "cancelled"),
    }
}

fn state(html: &mut String, (class, sign, words): (&str, &str, &str)) {
    push(
        html,
        format_args!(
            "<span class=\"state {class}\"><span aria-hidden=\"true\">{sign}</span> {words}</span> "
        ),
    );
}

fn tasks(html: &mut String, history: &History) {
    section(html, "Tasks", history.tasks.len(), |html| {
        html.push_str("<ul>\n");
        for (id, task) in &history.tasks {
            let Task {
                title,
                description,
                owner,
                attempts,
                result,
                ..
            } = task;
            push(
                html,
                format_args!("<li class=\"task\"><details><summary><b>{id}</b> "),
            );
            state(html, state_of(task.state));
            push(html, format_args!("{}", EscapedLine(title)));
            let mut facts = Vec::new();
            facts.extend(owner.as_ref().map(ToString::to_string));
            if *attempts > 1 {
                facts.push(format!("{attempts} attempts"));
            }
            push(
                html,
                format_args!(
                    " <span class=\"quiet\">{}</span></summary>",
                    EscapedLine(&facts.join(" · "))
                ),
            );
            for part in [description.as_str(), result] {
                if !part.is_empty() {
                    push(html, format_args!("<pre>{}</pre>", Escaped(part)));
                }
            }
            html.push_str("</details></li>\n");
        }
        html.push_str("</ul>\n");
    });
}

fn decisions(html: &mut String, history: &History) {
    section(html, "Decisions", history.requests.len(), |html| {
        html.push_str("<ul class=\"decisions\">\n");
        for (id, request) in &history.requests {
            let Request {
                member,
                call,
                plan,
                asked,
                decided,
                by,
                reason,
                ..
            } = request;
            let sign = match request.state {
                "allowed" => "✓",
                "denied" => "✕",
                "pending" => "○",
                _ => "–",
            };
            push(
                html,
                format_args!("<li class=\"task\"><details><summary><b>{id}</b> "),
            );
            state(html, (request.state, sign, request.state));
            let what = match plan {
                Some(plan) => format!("{member}: plan {plan}"),
                None => format!("{member}: {}", text::first_line(&words::line_of(call))),
            };
            let mut facts = Vec::new();
            facts.extend(by.as_ref().map(|by| format!("by {by}")));
            let waited = decided.map(|decided| decided.saturating_sub(*asked));
            facts.extend(waited.map(|waited| format!("after {}", duration(waited))));
            facts.push(format!("asked {}", time::utc(*asked)));
            push(
                html,
                format_args!(
                    "{} <span class=\"quiet\">{}</span></summary>",
                    EscapedLine(&what),
                    EscapedLine(&facts.join(" · "))
                ),
            );
            if !reason.is_empty() {
                push(html, format_args!("<pre>{}</pre>", Escaped(reason)));
            }
            push(
                html,
                format_args!("<pre>{}</pre></details></li>\n", Escaped(&pretty(call))),
            );
        }
        html.push_str("</ul>\n");
    });
}

/// A call as text: `name: value` for each field and each argument. Strings are not quoted; a value of several lines
/// begins below its name.
fn pretty(call: &str) -> String {
    let Ok(Value::Object(call)) = serde_json::from_str::<Value>(call) else {
        return call.to_owned();
    };
    let mut text = String::new();
    let mut add = |name: &str, value: &Value| {
        let value = match value.as_str() {
            Some(text) => text.to_owned(),
            None => value.to_string(),
        };
        match value.contains('\n') {
            true => text.push_str(&format!("{name}:\n{value}\n")),
            false => text.push_str(&format!("{name}: {value}\n")),
        }
    };
    for (name, value) in &call {
        match (name.as_str(), value) {
            ("arguments", Value::Object(arguments)) => {
                arguments.iter().for_each(|(name, value)| add(name, value));
            }
            (name, value) => add(name, value),
        }
    }
    text
}

fn messages(html: &mut String, history: &History) {
    section(html, "Messages", history.messages.len(), |html| {
        html.push_str("<ul class=\"messages\">\n");
        for message in &history.messages {
            let to: Vec<_> = message.to.iter().map(ToString::to_string).collect();
            push(
                html,
                format_args!(
                    "<li><p class=\"quiet\"><b>{}</b> → <b>{}</b> {}</p><pre>{}</pre></li>\n",
                    EscapedLine(&message.from.to_string()),
                    EscapedLine(&to.join(", ")),
                    time::utc(message.at),
                    Escaped(&message.text)
                ),
            );
        }
        html.push_str("</ul>\n");
    });
}

fn events(html: &mut String, history: &History) {
    section(html, "Events", history.entries.len(), |html| {
        if history.dropped > 0 {
            push(
                html,
                format_args!(
                    "<p class=\"quiet\">The report does not contain the first {} events.</p>\n",
                    history.dropped
                ),
            );
        }
        html.push_str("<ul class=\"events\">\n");
        for entry in &history.entries {
            push(
                html,
                format_args!("<li><span class=\"quiet\">{}</span> ", time::utc(entry.at)),
            );
            if let Some(member) = &entry.member {
                push(
                    html,
                    format_args!("<b>{}</b> ", EscapedLine(member.as_str())),
                );
            }
            push(html, format_args!("{}</li>\n", EscapedLine(&entry.text)));
        }
        html.push_str("</ul>\n");
    });
}
