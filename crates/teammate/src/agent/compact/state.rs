//! The state of a member's work as a text for its model: what a summary must not lose. Pure. Built by code from the
//! supervisor's answers and from the work record, never by a model.
//!
//! Text of other parties is quoted line by line, as in messages, so that it cannot pass for text of the runtime.

use agent_team_protocol::Party;
use agent_team_protocol::notification::Assignment;
use agent_team_protocol::text::visible_line;
use agent_team_tools::team::{quoted, without_middle};

use super::super::prompts;
use super::super::work_record::WorkRecord;

/// The beginning of the text, after the mark of a note.
const HEADING: &str =
    "The state of your work. It is exact: rely on it where it differs from the summary.";

pub(super) struct WorkState<'a> {
    /// The goal under way. Only for the lead.
    pub(super) goal: Option<&'a str>,
    pub(super) task: Option<&'a Assignment>,
    /// For a member that must plan first.
    pub(super) plan_status: Option<String>,
    pub(super) record: &'a WorkRecord,
    /// The window of the member's model, in tokens.
    pub(super) window: u64,
}

impl WorkState<'_> {
    pub(super) fn text(&self) -> String {
        // A token has about four bytes: a text may use a quarter of the window.
        let text_max = usize::try_from(self.window).unwrap_or(usize::MAX);
        let mut text = prompts::note(HEADING);
        let mut section = |heading: &str, body: &str| {
            let body = body.trim_end();
            if !body.is_empty() {
                text.push_str(&format!("\n\n# {heading}\n{body}"));
            }
        };
        if let Some(goal) = self.goal {
            let goal = without_middle(goal.to_owned(), text_max);
            section("The goal that the user gave you", &quoted(&goal));
        }
        let of_user = self.messages_of_user(text_max / 4);
        section("The newest messages of the user", &of_user);
        if let Some(task) = self.task {
            section("Your task", &prompts::assignment(task));
        }
        let plan = self.record.plan.clone().unwrap_or_default();
        let mut plan = without_middle(plan, text_max);
        if let Some(status) = &self.plan_status {
            plan = format!("Plan status: {status}\n{plan}");
        }
        section("Your plan", &plan);
        let todo = self.record.todo.as_ref();
        section("Your todo list", todo.map_or("", |todo| todo.list.as_str()));
        section("Files that you changed", &listed(&self.record.changed));
        section("Files that you read", &listed(&self.record.read));
        let to_answer = self.record.to_answer.iter().map(|message| {
            let text = quoted(&message.text);
            format!("{} from {}:\n{text}", message.id, message.from)
        });
        let to_answer: Vec<_> = to_answer.collect();
        section(
            "Messages that wait for your reply: call send_message with reply_to",
            &to_answer.join("\n"),
        );
        let questions = self.record.questions.iter().map(|question| {
            let to = match &question.to {
                Party::User => "the user".to_owned(),
                other @ (Party::System | Party::Member(_)) => other.to_string(),
            };
            format!("{} to {to}:\n{}", question.message, quoted(&question.text))
        });
        let questions: Vec<_> = questions.collect();
        section("Your questions without a reply", &questions.join("\n"));
        text
    }

    /// The newest messages that have at most this many bytes together, oldest first. The newest one is cut if it is
    /// longer. The goal is not repeated.
    fn messages_of_user(&self, bytes_max: usize) -> String {
        let mut texts = Vec::new();
        let mut remaining = bytes_max;
        for text in self.record.of_user.iter().rev() {
            if self.goal.is_some_and(|goal| goal.trim() == text.trim()) {
                continue;
            }
            if text.len() > remaining && !texts.is_empty() {
                break;
            }
            let text = without_middle(text.clone(), remaining);
            remaining = remaining.saturating_sub(text.len());
            texts.push(quoted(&text));
        }
        texts.reverse();
        texts.join("\n\n")
    }
}

fn listed<'a>(paths: impl IntoIterator<Item = &'a String>) -> String {
    let lines: Vec<_> = paths
        .into_iter()
        .map(|path| format!("- {}", visible_line(path)))
        .collect();
    lines.join("\n")
}

/// The summary without the state of the work behind it: a later summary gets the current state.
pub(super) fn without_state(text: &str) -> &str {
    // A quoted line cannot begin like this.
    let state = text.find(&format!("\n\n{}", prompts::note(HEADING)));
    text[..state.unwrap_or(text.len())].trim_end()
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, MessageId, TaskId};

    use super::super::super::work_record::{Question, Todo};
    use super::*;

    fn state<'a>(record: &'a WorkRecord, goal: &'a str) -> WorkState<'a> {
        WorkState {
            goal: Some(goal),
            task: None,
            plan_status: None,
            record,
            window: 1000,
        }
    }

    #[test]
    fn the_state_contains_everything_verbatim() {
        let goal = "Ship it.\nTouch no test.";
        let mut record = WorkRecord::default();
        record.plan = Some("1. Look.\n2. Fix.".into());
        record.todo = Some(Todo {
            input: String::new(),
            list: "[>] Fix\n".into(),
        });
        record.of_user.extend([goal.into(), "Use tabs.".into()]);
        record.changed.push_back("src/a.rs".into());
        record.read.push_back("src/b.rs".into());
        record.questions.push_back(Question {
            to: Party::User,
            message: MessageId(4),
            text: "Which port?".into(),
        });
        let task = Assignment {
            task: TaskId(3),
            generation: Generation(1),
            title: "Validate".into(),
            description: "Every endpoint.".into(),
            run: None,
            verify: None,
            attempt: 1,
            files: Vec::new(),
        };
        let state = WorkState {
            task: Some(&task),
            plan_status: Some("approved".into()),
            ..state(&record, goal)
        };
        let text = state.text();
        for part in [
            "> Ship it.\n> Touch no test.",
            "> Use tabs.",
            "T-3: Validate",
            "Every endpoint.",
            "Plan status: approved\n1. Look.\n2. Fix.",
            "[>] Fix",
            "- src/a.rs",
            "- src/b.rs",
            "M-4 to the user:\n> Which port?",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
        assert_eq!(text.matches("Ship it.").count(), 1, "{text}");
    }

    #[test]
    fn a_small_window_limits_goal_and_messages() {
        let goal = "g".repeat(5000);
        let mut record = WorkRecord::default();
        record.of_user.extend(["old".repeat(90), "new".into()]);
        let text = state(&record, &goal).text();
        assert!(text.len() < 1500, "{}", text.len());
        assert!(text.contains("> new") && !text.contains("old"), "{text}");
    }

    #[test]
    fn an_earlier_state_is_not_summarised_again() {
        let record = WorkRecord::default();
        let text = format!("So far.\n\n{}", state(&record, "Ship it.").text());
        assert_eq!(without_state(&text), "So far.");
        for text in ["So far.", &quoted(&text)] {
            assert_eq!(without_state(text), text);
        }
    }
}
