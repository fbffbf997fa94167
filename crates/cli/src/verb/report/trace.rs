//! A report as a trace for Perfetto, in the trace event format of Chrome: a process for each member with threads for
//! its launches, tasks, turns and waits, a process for the goals, and counters for tokens and cost.

use std::collections::BTreeMap;

use agent_team_client::spans::{Awaited, Span, Work};
use agent_team_protocol::Party;
use agent_team_protocol::text::{visible_label, visible_line};
use serde_json::{Map, Value, json};

use super::history::History;
use super::picture;
use super::words::line_of;

/// The first bytes of each trace.
pub(super) const SIGNATURE: &str = "{\"otherData\":{\"by\":\"agent-team report\"},";

/// The process of the goals and of the counters. The processes of the members follow.
const TEAM: u64 = 1;

/// Maximum length of the text of an argument, in characters.
const TEXT_MAX: usize = 2_000;

/// The threads of a member, in the order in which they are shown.
const THREADS: [&str; 4] = ["up", "tasks", "turns", "waits"];

pub(super) fn draw(history: &History, title: &str) -> String {
    let mut events = vec![named(TEAM, None, title)];
    events.push(named(TEAM, Some(1), "goals"));
    for (id, run) in &history.runs {
        let to = run.to.unwrap_or(history.to);
        let name = visible_label(&format!("{id} {}", run.goal), 80);
        let args = [
            ("goal", visible_label(&run.goal, TEXT_MAX)),
            ("outcome", picture::words(run.outcome).to_owned()),
            ("text", visible_label(&run.text, TEXT_MAX)),
        ];
        events.push(complete(TEAM, 1, &name, (run.from, to), args));
    }
    let mut members = BTreeMap::new();
    for (index, (name, member)) in picture::ordered(history).enumerate() {
        let process = TEAM + 1 + index as u64;
        members.insert(name, process);
        let lead = if member.lead { " (lead)" } else { "" };
        events.push(named(process, None, &format!("{name}{lead}")));
        let order = json!({"name": "process_sort_index", "ph": "M", "pid": process, "args": {"sort_index": process}});
        events.push(order);
        let mut thread = 0;
        for (kind, word) in THREADS.iter().enumerate() {
            let mut spans: Vec<_> = history
                .of(name)
                .filter(|span| thread_of(span) == kind)
                .collect();
            spans.sort_by_key(|span| (span.from, span.to));
            // Spans of one thread must not overlap, unless one contains the other.
            for (number, row) in rows(history, spans).into_iter().enumerate() {
                thread += 1;
                let name = match number {
                    0 => (*word).to_owned(),
                    more => format!("{word} {}", more + 1),
                };
                events.push(named(process, Some(thread), &name));
                events.extend(
                    row.into_iter()
                        .map(|span| event(history, span, process, thread)),
                );
            }
        }
    }
    for message in &history.messages {
        let process = match &message.from {
            Party::Member(name) => members.get(name).copied().unwrap_or(TEAM),
            Party::User | Party::System => TEAM,
        };
        let to: Vec<_> = message.to.iter().map(ToString::to_string).collect();
        let text = visible_label(&message.text, TEXT_MAX);
        events.push(json!({
            "name": format!("message to {}", to.join(", ")), "cat": "message", "ph": "i", "s": "p",
            "pid": process, "tid": 1, "ts": message.at * 1_000,
            "args": {"from": message.from.to_string(), "text": text},
        }));
    }
    for (at, usage) in &history.spending {
        let at = at * 1_000;
        let tokens = json!({"input": usage.input, "output": usage.output});
        events.push(json!({"name": "tokens", "ph": "C", "pid": TEAM, "ts": at, "args": tokens}));
        if usage.micro_usd > 0 {
            let cost = json!({"usd": usage.micro_usd as f64 / 1e6});
            events.push(json!({"name": "cost", "ph": "C", "pid": TEAM, "ts": at, "args": cost}));
        }
    }
    let mut text = format!("{SIGNATURE}\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n");
    let lines: Vec<_> = events.iter().map(Value::to_string).collect();
    text.push_str(&lines.join(",\n"));
    text.push_str("\n]}\n");
    text
}

/// The name of a process, or of a thread.
fn named(process: u64, thread: Option<u64>, name: &str) -> Value {
    let args = json!({"name": visible_line(name)});
    match thread {
        None => json!({"name": "process_name", "ph": "M", "pid": process, "args": args}),
        Some(thread) => {
            json!({"name": "thread_name", "ph": "M", "pid": process, "tid": thread, "args": args})
        }
    }
}

fn complete<'a>(
    process: u64,
    thread: u64,
    name: &str,
    (from, to): (u64, u64),
    args: impl IntoIterator<Item = (&'a str, String)>,
) -> Value {
    let args = args.into_iter().filter(|(_, value)| !value.is_empty());
    let args: Map<_, _> = args
        .map(|(key, value)| (key.to_owned(), value.into()))
        .collect();
    json!({
        "name": name, "ph": "X", "pid": process, "tid": thread, "ts": from * 1_000, "dur": (to - from) * 1_000,
        "args": args,
    })
}

fn thread_of(span: &Span) -> usize {
    match span.work {
        Work::Up { .. } | Work::Held { .. } => 0,
        Work::Task { .. } => 1,
        Work::Turn { .. } => 2,
        Work::Wait(_) => 3,
        Work::Run { .. } => usize::MAX,
    }
}

/// These spans in as few rows as possible, so that no two spans of a row overlap.
fn rows<'a>(history: &History, spans: Vec<&'a Span>) -> Vec<Vec<&'a Span>> {
    let mut rows: Vec<(u64, Vec<&Span>)> = Vec::new();
    for span in spans {
        let (from, to) = history.window(span);
        match rows.iter_mut().find(|(end, _)| *end <= from) {
            Some((end, row)) => {
                *end = to;
                row.push(span);
            }
            None => rows.push((to, vec![span])),
        }
    }
    rows.into_iter().map(|(_, row)| row).collect()
}

fn event(history: &History, span: &Span, process: u64, thread: u64) -> Value {
    let number = |number: u64| match number {
        0 => String::new(),
        number => number.to_string(),
    };
    let mut args = vec![
        ("outcome", picture::words(span.outcome).to_owned()),
        ("note", visible_label(&span.note, TEXT_MAX)),
        (
            "run",
            span.run.map(|run| run.to_string()).unwrap_or_default(),
        ),
        ("input_tokens", number(span.usage.input)),
        ("output_tokens", number(span.usage.output)),
    ];
    if let Work::Wait(Awaited::Decision(request)) = span.work
        && let Some(request) = history.requests.get(&request)
        && request.plan.is_none()
    {
        args.push(("call", visible_label(&line_of(&request.call), TEXT_MAX)));
    }
    let name = match &span.work {
        Work::Up { .. } => "up".to_owned(),
        Work::Turn { .. } => "turn".to_owned(),
        Work::Held { .. } => "held".to_owned(),
        Work::Task { task, .. } => visible_label(&format!("{task} {}", history.title(*task)), 80),
        Work::Wait(_) | Work::Run { .. } => picture::title(history, span),
    };
    complete(process, thread, &name, history.window(span), args)
}
