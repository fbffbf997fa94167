//! What the runtime says to a model, in words. Pure. Called by the mind.
//!
//! What others wrote is always named as theirs: a message is data from its sender, never an order of the runtime.

use agent_team_protocol::notification::Assignment;

use super::inbox::Heard;
use crate::model::Item;
use crate::pane::paint;
use crate::team_tool::message_line;

/// As the model is told it.
pub(super) fn item(heard: &Heard) -> Item {
    let text = match heard {
        Heard::Message(message) => message_line(message),
        Heard::Task(task) => assignment(task),
        Heard::Request(request) => note(&request.text()),
        Heard::Note(text) => note(text),
    };
    Item::Said { text }
}

/// As the person is shown it; a note is nothing for them.
pub(super) fn header(heard: &Heard) -> Option<String> {
    match heard {
        Heard::Message(message) => Some(paint::message(message)),
        Heard::Task(task) => Some(paint::header(task)),
        // The worker's loop has shown the request.
        Heard::Request(_) | Heard::Note(_) => None,
    }
}

pub(super) fn note(text: &str) -> String {
    format!("(From the team's runtime) {text}")
}

pub(super) fn assignment(task: &Assignment) -> String {
    let mut text = format!("You have the task {} now: {}", task.task, task.title);
    if task.attempt > 1 {
        text.push_str(&format!(
            "\nThis is attempt {}: somebody, maybe you, began it before. Look at what is there already.",
            task.attempt
        ));
    }
    if !task.description.is_empty() {
        text.push_str(&format!("\nDescription:\n{}", task.description));
    }
    if let Some(run) = &task.run {
        text.push_str(&format!("\nA shell line that does it: {run}"));
    }
    if let Some(verify) = &task.verify {
        text.push_str(&format!(
            "\nBefore it counts as completed this must exit 0: {verify}"
        ));
    }
    text.push_str(&format!(
        "\nWhen it is done, call complete_task with the result. If it cannot be done, call fail_task with the reason; \
         if another member should do it, call release_task. An answer without a call does not end {}.",
        task.task
    ));
    note(&text)
}

/// What the model is told of MCP servers that it cannot use as it should.
pub(super) fn troubles(lines: &[String]) -> String {
    if lines.is_empty() {
        return String::new();
    }
    let lines: Vec<_> = lines.iter().map(|line| format!("\n- {line}")).collect();
    format!(
        "\n# Tools in trouble\nSome are missing; do without, or say so.{}\n",
        lines.concat()
    )
}

/// After a restart in the middle of a turn.
pub(super) fn restarted(task: Option<&Assignment>) -> String {
    let holds = match task {
        Some(task) => format!("You hold {}.", task.task),
        None => "You hold no task: what you were working on before is not yours now.".into(),
    };
    format!(
        "You were restarted in the middle of your work; whatever ran for you was ended. {holds} Go on."
    )
}

/// For the person, of a member that nobody is asked about.
pub(super) const UNCONFINED: &str = "commands run as yours do: no sandbox, and nobody is asked";

/// For a call that was under way when this member's process ended.
pub(super) const LOST_CALL: &str = "interrupted by a restart; unknown whether it was done";

pub(super) fn last_step(limit: u32, task: Option<&Assignment>) -> String {
    let limit = format!("This is the last of your {limit} steps.");
    match task {
        Some(task) => format!(
            "{limit} Call complete_task for {} if it is done, else release_task with what is done and what is left to \
             do and how. No other call is carried out.",
            task.task
        ),
        None => {
            format!("{limit} Call nothing: say what you have done, and what is left to do and how.")
        }
    }
}

/// After an answer without calls of a member that owns a task.
pub(super) fn reminder(task: &Assignment) -> String {
    format!(
        "You still own {}: an answer without a call does not end it. If it is done, call complete_task with the \
         result. If you need an answer first, ask with send_message and then call wait. Otherwise continue, or call \
         fail_task with the reason or release_task with a note. If you end your turn again, {} is released.",
        task.task, task.task
    )
}

/// In place of the results of calls that were cut off: their arguments may be incomplete.
pub(super) const CUT_CALLS: &str =
    "not carried out: the answer was cut off. Make the call again, in smaller parts";

/// In place of the results of calls of an answer that the provider filtered.
pub(super) const FILTERED_CALLS: &str = "not carried out: the provider's filter ended the answer. Leave out what the \
    filter may have refused, or call fail_task with the reason. A second filtered answer in a row ends your turn and releases your task";

/// In place of the results of calls of the last step.
pub(super) const AFTER_LAST_STEP: &str = "not carried out: that was the last step";

/// In place of an earlier question of a run: what stood in it stands in the next one too.
pub(super) fn asked_before(round: u32) -> String {
    note(&format!("Here you were asked for round {round}."))
}

pub(super) const CUT_OFF: &str =
    "Your answer was cut off: it was as long as an answer may be. Go on, in smaller parts.";

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, TaskId};

    use super::*;

    #[test]
    fn a_task_is_told_with_everything_that_is_asked_of_it() {
        let task = Assignment {
            task: TaskId(3),
            generation: Generation(1),
            title: "Validate".into(),
            description: "All endpoints.".into(),
            run: None,
            verify: Some("make test".into()),
            attempt: 2,
            files: Vec::new(),
        };
        let text = assignment(&task);
        for part in [
            "T-3",
            "Validate",
            "All endpoints.",
            "make test",
            "attempt 2",
        ] {
            assert!(text.contains(part), "{part} is not in {text}");
        }
    }
}
