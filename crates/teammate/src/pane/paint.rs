//! The lines that we put between programs' output, as plain text, and their colours. Called by the worker, which logs
//! the plain form, and by the pane. Pure.
//!
//! Titles, lines and messages may hold anything: nothing of them reaches a terminal but as visible text.

use std::time::Duration;

use agent_team_protocol::notification::{Assignment, DeliveredMessage};
use agent_team_protocol::spec::Colour;
use agent_team_protocol::text::{visible, visible_label};
use agent_team_protocol::view::{QuestionView, RoundView, Wants};
use agent_team_protocol::{Party, TaskId};

/// Longest part of a line that comes from elsewhere, in characters.
const LABEL: usize = 120;

pub(crate) fn header(assignment: &Assignment) -> String {
    let title = visible_label(&assignment.title, LABEL);
    let attempt = match assignment.attempt {
        0 | 1 => String::new(),
        attempt => format!(" (attempt {attempt})"),
    };
    // A typed line is its own title.
    let run = match &assignment.run {
        Some(run) if *run != assignment.title => format!(" ── {}", visible_label(run, LABEL)),
        Some(_) | None => String::new(),
    };
    format!("── {} {title}{attempt}{run}", assignment.task)
}

pub(crate) fn verifying(line: &str) -> String {
    format!("── verify ── {}", visible_label(line, LABEL))
}

pub(crate) fn completed(task: TaskId, took: Duration) -> String {
    format!("✓ {task} completed in {}", duration(took))
}

pub(crate) fn failed(task: TaskId, reason: &str) -> String {
    format!("✗ {task} failed: {}", visible_label(reason, LABEL))
}

pub(crate) fn abandoned(task: TaskId, reason: &str) -> String {
    format!("✗ {task} given up: {}", visible_label(reason, LABEL))
}

pub(crate) fn message(message: &DeliveredMessage) -> String {
    format!("✉ {}: {}", message.from, visible(&message.text))
}

/// What a run that goes by rounds is for.
pub(crate) fn goal(question: &QuestionView) -> String {
    format!("✉ {}: {}", Party::User, visible(&question.goal))
}

/// Of a run that goes by rounds.
pub(crate) fn question(question: &QuestionView) -> String {
    match question.wants {
        Wants::Decision { max_rounds } => {
            format!(
                "── {} round {} of {max_rounds}",
                question.run, question.round
            )
        }
        Wants::Synthesis => format!("── {} summing up", question.run),
    }
}

/// What a round came to: a member's work, or a reply that could not be followed.
pub(crate) fn round(round: &RoundView) -> Option<String> {
    let output = round.output.as_deref()?;
    let first = output.trim().lines().next().unwrap_or_default();
    let first = visible_label(first, LABEL);
    Some(match &round.member {
        Some(member) => format!("◀ {member}: {first}"),
        None => format!("✗ nobody was given that round: {first}"),
    })
}

fn duration(duration: Duration) -> String {
    match duration.as_secs() {
        0..60 => format!("{:.1} s", duration.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds / 60 % 60),
    }
}

/// The member's colour, where colours are wanted.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Paint {
    colour: Option<Colour>,
}

impl Paint {
    /// `name` as in the welcome; a colour of a newer version is none.
    pub(crate) fn named(name: &str) -> Self {
        Self {
            colour: Colour::named(name),
        }
    }

    pub(crate) fn accent(self, text: &str) -> String {
        match self.colour {
            Some(colour) => format!("\x1b[38;5;{}m{text}\x1b[m", colour.ansi256()),
            None => text.to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, MessageId, Party};

    use super::*;

    #[test]
    fn titles_and_messages_cannot_reach_the_terminal_as_anything_but_text() {
        let assignment = Assignment {
            task: TaskId(3),
            generation: Generation(1),
            title: "Build\x1b]0;x\x07\n\u{202e}".into(),
            description: String::new(),
            run: Some("printf '\\e[2J'\r\ncargo build".into()),
            verify: None,
            attempt: 2,
            files: Vec::new(),
        };
        let header = header(&assignment);
        assert!(header.starts_with("── T-3 Build\\e]0;x"));
        assert!(header.contains(" (attempt 2) ── printf"));
        assert!(!header.chars().any(char::is_control));
        let message = message(&DeliveredMessage {
            id: MessageId(1),
            from: Party::User,
            text: "two\nlines\x1b[2J".into(),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            redelivered: false,
        });
        assert_eq!(message, "✉ user: two\nlines\\e[2J");
    }

    #[test]
    fn durations_are_read_at_a_glance() {
        assert_eq!(duration(Duration::from_millis(1234)), "1.2 s");
        assert_eq!(duration(Duration::from_secs(125)), "2 min 5 s");
        assert_eq!(duration(Duration::from_secs(7260)), "2 h 1 min");
    }

    #[test]
    fn without_a_colour_nothing_is_added() {
        assert_eq!(Paint::default().accent("x"), "x");
        assert_eq!(Paint::named("blue").accent("x"), "\x1b[38;5;75mx\x1b[m");
        assert_eq!(Paint::named("colour of a later version").accent("x"), "x");
    }
}
