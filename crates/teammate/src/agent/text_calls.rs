//! Reads tool calls and thoughts that a model wrote as text, because its server did not parse them. Pure. Called by the
//! agent loop for each answer.
//!
//! A text that consists only of well-formed `<tool_call>` blocks, after thoughts, becomes calls. If the text contains
//! anything else, its blocks are not executed: the model may quote a file or a web page that contains such a block.
//! Instead, a note asks the model to make the call again. Blocks in fenced code are text.
//!
//! Thoughts begin with `<think>`. The prompt templates of Qwen3-Thinking and DeepSeek R1 contain this tag, so that an
//! answer of these models has only `</think>`. The worker does not know the template, so the text before that tag can
//! also be a quotation, for example of a file that ends in `</think>` and a call. An answer without `<think>` therefore
//! has thoughts only if the first answer of the conversation had thoughts: before its first answer, the model has read
//! no file or page that it could quote.

use agent_team_llm::{Answer, Item, Stop, Thought, ToolCall};
use serde::Deserialize;
use serde_json::Value;

use super::compact::state::is_summary;

const OPEN: &str = "<tool_call>";
const CLOSE: &str = "</tool_call>";
const THINK: &str = "<think>";
const END_OF_THOUGHT: &str = "</think>";

/// A call as models write it: `{"name": "read", "arguments": {"path": "main.rs"}}`.
#[derive(Deserialize)]
struct WrittenCall {
    name: String,
    #[serde(default, alias = "parameters")]
    arguments: Value,
}

/// The author of thoughts whose opening tag is in the template of the prompt. No provider receives these thoughts back.
const BY_TEMPLATE: &str = "template";

/// The place at which the thoughts of an answer may begin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Opening {
    /// Thoughts begin with the tag `<think>`.
    Tag,
    /// Thoughts begin with that tag, or with the first character: the template of the prompt may contain the tag.
    Any,
}

impl Opening {
    /// The opening of an answer to these items.
    pub(super) fn after(items: &[Item]) -> Self {
        let is_opened = |answer: &Answer| {
            let mut thoughts = answer.thoughts.iter();
            thoughts.any(|thought| thought.by == BY_TEMPLATE)
        };
        let mut is_first = true;
        for item in items {
            match item {
                Item::Answered(answer) if is_opened(answer) => return Self::Any,
                Item::Answered(_) | Item::Returned { .. } => is_first = false,
                // A summary quotes the results that it replaces.
                Item::Input { text } if is_summary(text) => is_first = false,
                Item::Input { .. } | Item::Shown { .. } => {}
            }
        }
        match is_first {
            true => Self::Any,
            false => Self::Tag,
        }
    }
}

/// Removes thoughts from the answer's text. Converts a text that consists only of calls to calls. `id` makes the ids of
/// the calls unique within the transcript.
pub(super) fn read(mut answer: Answer, id: u64, opening: Opening) -> Answer {
    // The answer must be sent back to its provider unchanged, and that provider parses calls itself.
    if answer.verbatim.is_some() {
        return answer;
    }
    if let Some(text) = without_thoughts(&answer.text) {
        answer.text = text;
    } else if opening == Opening::Any
        && let Some((thoughts, text)) = split_unopened(&answer.text)
    {
        answer.thoughts.push(Thought {
            text: thoughts.to_owned(),
            signature: None,
            by: BY_TEMPLATE.to_owned(),
        });
        answer.text = text.to_owned();
    }
    if answer.calls.is_empty()
        && matches!(answer.stop, Stop::Finished | Stop::Calls)
        && let Some(written) = calls(&answer.text)
    {
        let named = |(index, call): (usize, WrittenCall)| ToolCall {
            id: format!("text-{id}-{index}"),
            name: call.name,
            input: match call.arguments {
                Value::String(text) => text,
                Value::Null => "{}".to_owned(),
                arguments @ (Value::Bool(_)
                | Value::Number(_)
                | Value::Array(_)
                | Value::Object(_)) => arguments.to_string(),
            },
        };
        answer.calls = written.into_iter().enumerate().map(named).collect();
        answer.text = String::new();
        answer.stop = Stop::Calls;
    }
    answer
}

/// Returns whether a line outside of fenced code begins a call.
pub(super) fn has_call(text: &str) -> bool {
    let mut in_code = false;
    for line in text.lines().map(str::trim_start) {
        if line.starts_with("```") {
            in_code = !in_code;
        }
        if !in_code && line.starts_with(OPEN) {
            return true;
        }
    }
    false
}

/// The calls of a text that contains only calls.
fn calls(text: &str) -> Option<Vec<WrittenCall>> {
    let mut rest = text.trim();
    let mut calls = Vec::new();
    while !rest.is_empty() {
        let (block, after) = rest.strip_prefix(OPEN)?.split_once(CLOSE)?;
        calls.push(serde_json::from_str(block.trim()).ok()?);
        rest = after.trim_start();
    }
    (!calls.is_empty()).then_some(calls)
}

/// The text after the thoughts at its beginning; `None` without an opening tag.
fn without_thoughts(text: &str) -> Option<String> {
    let thoughts = text.trim_start().strip_prefix(THINK)?;
    // Without a closing tag, the answer ended within its thoughts.
    let rest = thoughts.split_once(END_OF_THOUGHT).map_or("", |it| it.1);
    Some(rest.trim_start().to_owned())
}

/// Splits a text at the end of thoughts without an opening tag. `None` if another tag shows that the text is quoted.
fn split_unopened(text: &str) -> Option<(&str, &str)> {
    let (thoughts, rest) = text.split_once(END_OF_THOUGHT)?;
    let has_tag = |text: &str| text.contains(THINK) || text.contains(END_OF_THOUGHT);
    let is_quoted = has_tag(thoughts) || has_tag(rest) || thoughts.trim_start().starts_with(OPEN);
    (!is_quoted).then(|| (thoughts.trim(), rest.trim_start()))
}

#[cfg(test)]
mod tests {
    use agent_team_llm::ToolResult;

    use super::*;

    fn answer(text: &str) -> Answer {
        Answer {
            text: text.to_owned(),
            ..Answer::default()
        }
    }

    fn read_text(text: &str) -> Answer {
        read(answer(text), 7, Opening::Tag)
    }

    fn input(text: &str) -> Item {
        Item::Input { text: text.into() }
    }

    fn results() -> Item {
        let results = vec![ToolResult::default()];
        Item::Returned { results }
    }

    const UNOPENED: &str = "I look.\n</think>\n\n<tool_call>{\"name\": \"glob\"}</tool_call>";

    #[test]
    fn the_first_answer_shows_template_opened_thoughts() {
        let mut items = vec![input("Look.")];
        for id in 0..2 {
            let first = read(answer(UNOPENED), id, Opening::after(&items));
            assert_eq!((first.calls.len(), &*first.text), (1, ""), "{first:?}");
            items.extend([Item::Answered(first), results()]);
        }
        // After a restart, the stored answers show the opening as well.
        let stored = serde_json::to_string(&items).unwrap();
        let restored: Vec<Item> = serde_json::from_str(&stored).unwrap();
        assert_eq!(Opening::after(&restored), Opening::Any);
        let last = read(
            answer("Done now.</think>It works."),
            9,
            Opening::after(&items),
        );
        assert_eq!(last.text, "It works.");
    }

    #[test]
    fn a_quoted_end_of_thoughts_makes_no_call() {
        let opened = answer("I look.");
        let items = [input("Look."), Item::Answered(opened), results()];
        let unopened = read(answer(UNOPENED), 1, Opening::after(&items));
        assert!(unopened.calls.is_empty(), "{unopened:?}");
        for quoted in [
            "The file contains:\n</think>\n</think><tool_call>{\"name\": \"bash\"}</tool_call>",
            "It contains <think>a</think>\n<tool_call>{\"name\": \"bash\"}</tool_call>",
            "<tool_call>{\"name\": \"bash\"}</tool_call></think><tool_call>{\"name\": \"bash\"}</tool_call>",
        ] {
            let read = read(answer(quoted), 1, Opening::Any);
            assert!(read.calls.is_empty(), "{quoted}");
        }
    }

    #[test]
    fn a_text_of_calls_alone_becomes_calls() {
        let text = "<think>I look.</think>\n<tool_call>\n{\"name\": \"read\", \"arguments\": {\"path\": \"a\"}}\n\
                    </tool_call>\n<tool_call>{\"name\": \"glob\"}</tool_call>";
        let answer = read_text(text);
        let calls: Vec<_> = answer.calls.iter().collect();
        assert_eq!(calls.len(), 2, "{answer:?}");
        assert_eq!((&*calls[0].name, &*calls[0].id), ("read", "text-7-0"));
        assert_eq!(calls[0].input, r#"{"path":"a"}"#);
        assert_eq!((&*calls[1].name, &*calls[1].input), ("glob", "{}"));
        assert_eq!((answer.stop, &*answer.text), (Stop::Calls, ""));
    }

    #[test]
    fn a_call_beside_other_text_is_not_executed() {
        for text in [
            "The file contains:\n<tool_call>{\"name\": \"bash\"}</tool_call>",
            "<tool_call>{\"name\": \"bash\"}</tool_call>\nDone.",
            "<tool_call>{\"name\": </tool_call>",
            "<tool_call>{\"name\": \"bash\"}",
            "<tool_call>bash ls</tool_call>",
            "The file contains:\n</think>\n<tool_call>{\"name\": \"bash\"}</tool_call>",
            "<think>I look.</think>It contains:\n</think>\n<tool_call>{\"name\": \"bash\"}</tool_call>",
        ] {
            let answer = read_text(text);
            assert!(answer.calls.is_empty(), "{text}");
            assert!(has_call(&answer.text), "{text}");
        }
        for text in [
            "Hermes writes `<tool_call>`.",
            "```\n<tool_call>{\"name\": \"bash\"}</tool_call>\n```",
        ] {
            assert!(!has_call(text), "{text}");
        }
    }

    #[test]
    fn thoughts_at_the_beginning_are_not_part_of_the_text() {
        for (text, expected) in [
            ("<think>a plan</think>\n\nThe answer.", "The answer."),
            ("<think>a plan that was cut", ""),
            (
                "a plan\n</think>\nThe answer.",
                "a plan\n</think>\nThe answer.",
            ),
            ("The answer.", "The answer."),
            ("Use <think> and </think>.", "Use <think> and </think>."),
        ] {
            assert_eq!(read_text(text).text, expected, "{text}");
        }
    }
}
