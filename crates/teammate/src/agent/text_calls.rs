//! Reads tool calls and thoughts that a model wrote as text, because its server did not parse them. Pure. Called by the
//! agent loop for each answer.
//!
//! A text that consists only of well-formed `<tool_call>` blocks, after thoughts that the answer has opened with
//! `<think>`, becomes calls. If the text contains anything else, its blocks are not executed: the model may quote a file
//! or a web page that contains such a block. The model is asked to make the call again instead. Blocks in fenced code
//! are text.

use agent_team_llm::{Answer, Stop, ToolCall};
use serde::Deserialize;
use serde_json::Value;

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

/// Removes thoughts from the answer's text. Converts a text that consists only of calls to calls. `id` makes the ids of
/// the calls unique within the transcript.
pub(super) fn read(mut answer: Answer, id: u64) -> Answer {
    // The answer must be sent back to its provider unchanged, and that provider parses calls itself.
    if answer.verbatim.is_some() {
        return answer;
    }
    if let Some(text) = without_thoughts(&answer.text) {
        answer.text = text;
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

/// The calls of a text that contains nothing else.
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

/// The text after the thoughts with which it begins; `None` without thoughts. Thoughts without an opening tag are not
/// removed: the text before `</think>` may be a quotation, and the calls after it would be executed.
fn without_thoughts(text: &str) -> Option<String> {
    let thoughts = text.trim_start().strip_prefix(THINK)?;
    // Without an end, the answer ended within its thoughts.
    let rest = thoughts.split_once(END_OF_THOUGHT).map_or("", |it| it.1);
    Some(rest.trim_start().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read_text(text: &str) -> Answer {
        let answer = Answer {
            text: text.to_owned(),
            ..Answer::default()
        };
        read(answer, 7)
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
