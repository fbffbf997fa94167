//! The timeline of a report as an SVG picture: a row for each member, with its tasks, turns and waits. It has no script
//! and loads nothing. `page.rs` contains the same picture.

use std::fmt::Write as _;

use agent_team_client::spans::{Awaited, Outcome, Span, Work};
use agent_team_protocol::MemberName;
use agent_team_protocol::text::{duration, visible_label};

use super::history::History;
use super::markup::EscapedLine;
use super::scale::{CUT_WIDTH, Scale};
use crate::output::{time, usage};

/// The first bytes of each picture.
pub(super) const SIGNATURE: &str = "<svg data-by=\"agent-team report\" ";

const NAMES: f64 = 140.0;
const CHART: f64 = 845.0;
const FACTS: f64 = 230.0;
const ROW: f64 = 34.0;
const TOP: f64 = 78.0;
const TICK_GAP: f64 = 90.0;

/// A label needs this many units for each character.
const CHARACTER: f64 = 6.4;

/// A bar is omitted if it ends less than this after the previous bar of its kind in the row.
const NEAR: f64 = 0.5;

/// The attributes are for viewers that ignore style sheets. The style sheet follows the colour scheme of the reader.
const STYLE: &str = "\
<style>.at-bg{fill:#fff}.at-text{fill:#1d2321}.at-quiet{fill:#626b67}.at-line{stroke:#dfe2de}.at-up{fill:#b9c2bd}\
.at-task{fill:#cfe6e3;stroke:#0f766e}.at-turn{fill:#0f766e}.at-wait{fill:#d97706}.at-held,.at-failed{fill:#b3261e}\
@media (prefers-color-scheme:dark){.at-bg{fill:#1a1f1d}.at-text{fill:#e3e8e5}.at-quiet{fill:#97a29d}\
.at-line{stroke:#2c3330}.at-up{fill:#4d5853}.at-task{fill:#1d4a45;stroke:#4fbfb2}.at-turn{fill:#4fbfb2}\
.at-wait{fill:#eaa24a}.at-held,.at-failed{fill:#f2857c}}</style>";

/// A class, its fill without a style sheet, the top and the height of its bars in a row.
struct Kind {
    class: &'static str,
    paint: &'static str,
    top: f64,
    height: f64,
}

const UP: Kind = kind("at-up", "fill=\"#b9c2bd\"", 28.0, 1.5);
const TASK: Kind = kind("at-task", "fill=\"#cfe6e3\" stroke=\"#0f766e\"", 4.0, 15.0);
const TURN: Kind = kind("at-turn", "fill=\"#0f766e\"", 21.0, 6.0);
const WAIT: Kind = kind("at-wait", "fill=\"#d97706\"", 21.0, 6.0);
const HELD: Kind = kind("at-held", "fill=\"#b3261e\"", 21.0, 6.0);

const fn kind(class: &'static str, paint: &'static str, top: f64, height: f64) -> Kind {
    Kind {
        class,
        paint,
        top,
        height,
    }
}

/// The picture of a history. `title`: the team, and the run if there is one.
pub(super) fn draw(history: &History, title: &str) -> String {
    let active = history.spans.iter().filter(|span| !is_run(span));
    let active = active.filter(|span| !matches!(span.work, Work::Held { .. }));
    let active = active.map(|span| history.window(span));
    let scale = Scale::new(history.from, history.to, active, CHART);
    let has_runs = !history.runs.is_empty();
    let rows = history.members.len() + usize::from(has_runs);
    let (width, height) = (NAMES + CHART + FACTS, TOP + rows as f64 * ROW + 14.0);
    let mut svg = String::from(SIGNATURE);
    let description = format!(
        "{title}: {} from {} to {}",
        duration(history.took()),
        time::utc(history.from),
        time::utc(history.to)
    );
    let label = EscapedLine(&description);
    push(
        &mut svg,
        format_args!(
            "xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" height=\"{height}\" \
         font-family=\"system-ui,sans-serif\" font-size=\"12\" role=\"img\" aria-label=\"{label}\">\n<title>{label}</title>\n\
         {STYLE}\n<rect class=\"at-bg\" fill=\"#fff\" width=\"{width}\" height=\"{height}\"/>\n\
         <text class=\"at-text\" fill=\"#1d2321\" x=\"12\" y=\"22\" font-size=\"14\" font-weight=\"650\">{}</text>\n",
            EscapedLine(title)
        ),
    );
    let period = format!(
        "{} · {} UTC",
        duration(history.took()),
        time::utc(history.from).replace(['T', 'Z'], " ").trim_end()
    );
    quiet(&mut svg, NAMES + CHART + FACTS - 12.0, 22.0, "end", &period);
    legend(&mut svg);
    axis(&mut svg, &scale, height);
    let mut y = TOP;
    if has_runs {
        runs(&mut svg, history, &scale, y);
        y += ROW;
    }
    for (name, member) in ordered(history) {
        line(&mut svg, y);
        let role = if member.lead { "lead" } else { "" };
        name_of(&mut svg, y, name.as_str(), role);
        row(&mut svg, history, &scale, name, y);
        facts(&mut svg, history, name, y);
        y += ROW;
    }
    svg.push_str("</svg>\n");
    svg
}

/// The members, the lead first.
pub(super) fn ordered(
    history: &History,
) -> impl Iterator<Item = (&MemberName, &super::history::Member)> {
    let leads = history.members.iter().filter(|(_, member)| member.lead);
    leads.chain(history.members.iter().filter(|(_, member)| !member.lead))
}

fn push(svg: &mut String, text: std::fmt::Arguments<'_>) {
    let _infallible = svg.write_fmt(text);
}

fn is_run(span: &Span) -> bool {
    matches!(span.work, Work::Run { .. })
}

fn quiet(svg: &mut String, x: f64, y: f64, anchor: &str, text: &str) {
    push(
        svg,
        format_args!(
            "<text class=\"at-quiet\" fill=\"#626b67\" x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{}</text>\n",
            EscapedLine(text)
        ),
    );
}

fn line(svg: &mut String, y: f64) {
    let to = NAMES + CHART + FACTS - 12.0;
    push(
        svg,
        format_args!("<path class=\"at-line\" stroke=\"#dfe2de\" d=\"M12 {y}H{to}\"/>\n"),
    );
}

fn legend(svg: &mut String) {
    let mut x = 12.0;
    for (kind, words) in [
        (&TASK, "task"),
        (&TURN, "in a turn"),
        (&WAIT, "waits for a decision or a reply"),
        (&HELD, "held"),
        (&UP, "up"),
    ] {
        let height = kind.height.min(10.0);
        let y = 40.0 - height / 2.0;
        push(
            svg,
            format_args!(
                "<rect class=\"{}\" {} x=\"{x}\" y=\"{y}\" width=\"18\" height=\"{height}\"/>\n",
                kind.class, kind.paint
            ),
        );
        quiet(svg, x + 24.0, 44.0, "start", words);
        x += 24.0 + words.len() as f64 * CHARACTER + 18.0;
    }
}

/// Ticks with their times, and the cuts.
fn axis(svg: &mut String, scale: &Scale, height: f64) {
    let (top, bottom) = (TOP - 8.0, height - 10.0);
    let ticks = scale.ticks(TICK_GAP);
    let seconds = ticks
        .windows(2)
        .any(|pair| (pair[1] - pair[0]) % 60_000 != 0);
    let mut last_day = String::new();
    for at in ticks {
        let x = NAMES + scale.x(at);
        push(
            svg,
            format_args!(
                "<path class=\"at-line\" stroke=\"#dfe2de\" d=\"M{x:.1} {top}V{bottom}\"/>\n"
            ),
        );
        let utc = time::utc(at);
        let (day, clock) = (&utc[..10], &utc[11..if seconds { 19 } else { 16 }]);
        let text = match last_day.is_empty() || day == last_day {
            true => clock.to_owned(),
            false => format!("{} {clock}", &day[5..]),
        };
        day.clone_into(&mut last_day);
        quiet(svg, x, TOP - 13.0, "middle", &text);
    }
    for (x, length) in scale.cuts() {
        let x = NAMES + x - CUT_WIDTH;
        let words = format!("{} without members", duration(length));
        push(
            svg,
            format_args!(
                "<g><title>{words}</title><rect class=\"at-bg\" fill=\"#fff\" x=\"{:.1}\" y=\"{top}\" width=\"{:.1}\" \
             height=\"{:.1}\"/><path class=\"at-line\" stroke=\"#dfe2de\" stroke-width=\"2\" stroke-dasharray=\"2 4\" \
             d=\"M{:.1} {top}V{bottom}\"/></g>\n",
                x + 2.0,
                CUT_WIDTH - 4.0,
                bottom - top,
                x + CUT_WIDTH / 2.0
            ),
        );
    }
}

fn name_of(svg: &mut String, y: f64, name: &str, role: &str) {
    let tail = if role.is_empty() {
        String::new()
    } else {
        format!(" <tspan class=\"at-quiet\" fill=\"#626b67\" font-weight=\"400\">{role}</tspan>")
    };
    let room = if role.is_empty() { 16 } else { 12 };
    push(
        svg,
        format_args!(
            "<text class=\"at-text\" fill=\"#1d2321\" x=\"12\" y=\"{:.1}\" font-weight=\"600\">{}{tail}<title>{}</title></text>\n",
            y + 20.0,
            EscapedLine(&visible_label(name, room)),
            EscapedLine(name)
        ),
    );
}

fn runs(svg: &mut String, history: &History, scale: &Scale, y: f64) {
    name_of(svg, y, "goals", "");
    for (id, run) in &history.runs {
        let (from, to) = (run.from, run.to.unwrap_or(history.to));
        let words = format!("{id} {}: {}", run.goal, words(run.outcome));
        let words = visible_label(&words, 300);
        bar(
            svg,
            &TASK,
            scale,
            (from, to),
            y,
            &words,
            &format!("{id} {}", run.goal),
            run.outcome,
        );
    }
}

/// The bars of a member.
fn row(svg: &mut String, history: &History, scale: &Scale, name: &MemberName, y: f64) {
    // Draw waits after turns, so that a wait covers the turn that contains it.
    for kind in [&UP, &TASK, &TURN, &WAIT, &HELD] {
        let mut spans: Vec<_> = history.of(name).filter(|span| is(span, kind)).collect();
        spans.sort_by_key(|span| span.from);
        let mut last = f64::NEG_INFINITY;
        for span in spans {
            let (from, to) = history.window(span);
            // 10,000 short bars would be one bar on the screen, but 10,000 elements.
            let x = scale.x(to).max(scale.x(from) + 1.0);
            if x < last + NEAR {
                continue;
            }
            last = x;
            let (words, label) = (self::title(history, span), label(history, span));
            bar(
                svg,
                kind,
                scale,
                (from, to),
                y,
                &words,
                &label,
                span.outcome,
            );
        }
    }
}

fn is(span: &Span, kind: &Kind) -> bool {
    let class = match span.work {
        Work::Up { .. } => UP.class,
        Work::Task { .. } => TASK.class,
        Work::Turn { .. } => TURN.class,
        Work::Wait(_) => WAIT.class,
        Work::Held { .. } => HELD.class,
        Work::Run { .. } => "",
    };
    class == kind.class
}

#[expect(clippy::too_many_arguments, reason = "a bar has these parts")]
fn bar(
    svg: &mut String,
    kind: &Kind,
    scale: &Scale,
    (from, to): (u64, u64),
    y: f64,
    words: &str,
    label: &str,
    outcome: Outcome,
) {
    let (start, end) = (scale.x(from), scale.x(to));
    let width = (end - start).max(1.0);
    let Kind {
        class,
        paint,
        top,
        height,
    } = kind;
    push(
        svg,
        format_args!(
            "<g><title>{}, {} from {} UTC</title><rect class=\"{class}\" {paint} x=\"{:.1}\" y=\"{:.1}\" width=\"{width:.1}\" \
         height=\"{height}\"/>",
            EscapedLine(words),
            duration(to - from),
            &time::utc(from)[11..19],
            NAMES + start,
            y + top
        ),
    );
    if kind.class == TASK.class {
        let room = ((width - 8.0) / CHARACTER) as usize;
        if room >= 3 {
            push(
                svg,
                format_args!(
                    "<text class=\"at-text\" fill=\"#1d2321\" font-size=\"11\" x=\"{:.1}\" y=\"{:.1}\">{}</text>",
                    NAMES + start + 4.0,
                    y + top + 11.5,
                    EscapedLine(&visible_label(label, room))
                ),
            );
        }
        if outcome == Outcome::Failed {
            push(
                svg,
                format_args!(
                    "<rect class=\"at-failed\" fill=\"#b3261e\" x=\"{:.1}\" y=\"{:.1}\" width=\"3\" height=\"{height}\"/>",
                    NAMES + start + (width - 3.0).max(0.0),
                    y + top
                ),
            );
        }
    }
    svg.push_str("</g>\n");
}

pub(super) fn words(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::UnderWay => "under way",
        Outcome::Done => "completed",
        Outcome::Failed => "failed",
        Outcome::Stopped => "stopped",
    }
}

/// The words of a span, on one line.
pub(super) fn title(history: &History, span: &Span) -> String {
    let words = match &span.work {
        Work::Up { .. } => "up".to_owned(),
        Work::Held { reason } => format!("held: {reason}"),
        Work::Turn { .. } => {
            let tokens = usage::sentence(&span.usage);
            let tokens = tokens
                .map(|tokens| format!(", {tokens}"))
                .unwrap_or_default();
            match span.outcome {
                Outcome::Failed => format!("turn failed: {}{tokens}", span.note),
                Outcome::UnderWay | Outcome::Done | Outcome::Stopped => format!("turn{tokens}"),
            }
        }
        Work::Task { task, attempt, .. } => {
            let title = history.title(*task);
            let attempt = match attempt {
                0 | 1 => String::new(),
                attempt => format!(", attempt {attempt}"),
            };
            format!("{task} {title}{attempt}: {}", self::words(span.outcome))
        }
        Work::Wait(Awaited::Decision(request)) => {
            let note: &str = if span.note.is_empty() {
                "pending"
            } else {
                &span.note
            };
            format!("waits for the decision of {request}, {note}")
        }
        Work::Wait(Awaited::Reply(message)) => format!("waits for a reply to {message}"),
        Work::Run { run } => run.to_string(),
    };
    visible_label(&words, 300)
}

fn label(history: &History, span: &Span) -> String {
    match &span.work {
        Work::Task { task, .. } => format!("{task} {}", history.title(*task)),
        Work::Up { .. }
        | Work::Held { .. }
        | Work::Turn { .. }
        | Work::Wait(_)
        | Work::Run { .. } => String::new(),
    }
}

/// How long the member worked and waited, and its cost.
fn facts(svg: &mut String, history: &History, name: &MemberName, y: f64) {
    let times = history.times(name);
    let mut parts = vec![format!("worked {}", duration(times.worked))];
    for (length, word) in [(times.waited, "waited"), (times.held, "held")] {
        if length > 0 {
            parts.push(format!("{word} {}", duration(length)));
        }
    }
    let x = NAMES + CHART + 14.0;
    quiet(svg, x, y + 14.0, "start", &parts.join(", "));
    let member = &history.members[name];
    let mut second = Vec::new();
    match member.completed {
        0 => {}
        1 => second.push("1 task".to_owned()),
        many => second.push(format!("{many} tasks")),
    }
    if member.usage.tokens() > 0 {
        second.push(usage::spent(&member.usage));
    }
    quiet(svg, x, y + 28.0, "start", &second.join(" · "));
}
