//! The live output of the lead: text as chunks of a message, thoughts, and its own calls as tool calls. Pure.

use std::collections::BTreeMap;
use std::path::Path;

use agent_team_protocol::notification::OutputFragment;
use agent_team_protocol::request::summary;
use agent_team_protocol::text::{visible, visible_label};
use serde_json::{Value, json};

use super::dialogs::kind;
use super::diffs::{self, Hunk};
use super::wire::{Speaker, chunk, text_content};

/// The tool that ends a goal. Its answer is a message, not a call.
const FINISH: &str = "finish";

/// The longest title of a call, in characters.
const TITLE_MAX: usize = 200;

/// The maximum number of bytes of a message and of the arguments of a call that are kept.
const KEPT_MAX: usize = 256 << 10;

/// The maximum number of calls that are open at the same time.
const CALLS_MAX: usize = 256;

#[derive(Default)]
pub(super) struct LeadOutput {
    /// The id of the last message, and its text.
    last: (String, String),
    calls: BTreeMap<String, Call>,
}

#[derive(Default)]
struct Call {
    tool: String,
    /// The arguments so far.
    input: String,
    hunks: Vec<Hunk>,
}

impl LeadOutput {
    pub(super) fn updates(&mut self, fragments: Vec<OutputFragment>, project: &Path) -> Vec<Value> {
        let fragments = fragments.into_iter();
        fragments
            .filter_map(|fragment| self.update(fragment, project))
            .collect()
    }

    fn update(&mut self, fragment: OutputFragment, project: &Path) -> Option<Value> {
        match fragment {
            OutputFragment::Text { message, delta } => {
                let (last, text) = &mut self.last;
                if *last != message {
                    (*last, *text) = (message.clone(), String::new());
                }
                if text.len() < KEPT_MAX {
                    text.push_str(&delta);
                }
                (!delta.is_empty()).then(|| chunk(Speaker::Agent, &visible(&delta), &message))
            }
            OutputFragment::Thought { message, delta } => {
                Some(chunk(Speaker::Thought, &visible(&delta), &message))
            }
            OutputFragment::Call { call, tool, .. } => {
                if tool == FINISH || self.calls.len() >= CALLS_MAX {
                    return None;
                }
                let begun = json!({
                    "sessionUpdate": "tool_call",
                    "toolCallId": call_id(&call),
                    "title": visible_label(&tool, TITLE_MAX),
                    "kind": kind(&tool),
                    "status": "in_progress",
                });
                let known = Call {
                    tool,
                    ..Call::default()
                };
                self.calls.insert(call, known);
                Some(begun)
            }
            OutputFragment::Input { call, delta } => {
                let call = self.calls.get_mut(&call)?;
                if call.input.len() < KEPT_MAX {
                    call.input.push_str(&delta);
                }
                None
            }
            OutputFragment::CallEnded { call: id } => {
                let call = self.calls.get(&id)?;
                let input: Value = serde_json::from_str(&call.input).unwrap_or_default();
                let title = visible_label(&summary(&call.tool, &input), TITLE_MAX);
                Some(json!({
                    "sessionUpdate": "tool_call_update",
                    "toolCallId": call_id(&id),
                    "title": title,
                    "rawInput": input,
                }))
            }
            OutputFragment::Returned { call: id, text, .. } => {
                let call = self.calls.remove(&id)?;
                let mut content: Vec<_> = call.hunks.iter().map(Hunk::content).collect();
                content.push(text_content(&visible(&text)));
                Some(json!({
                    "sessionUpdate": "tool_call_update",
                    "toolCallId": call_id(&id),
                    "status": "completed",
                    "content": content,
                }))
            }
            OutputFragment::Lines { text, diff: true } => {
                // A diff does not name its call, but precedes the result. Assign it to the first open call that edits,
                // by id.
                let mut calls = self.calls.values_mut();
                let call = calls.find(|call| kind(&call.tool) == "edit")?;
                let hunks = diffs::hunks(&text, project);
                diffs::keep_newest(&mut call.hunks, hunks);
                None
            }
            OutputFragment::TextEnded { .. }
            | OutputFragment::Lines { .. }
            | OutputFragment::Unknown => None,
        }
    }

    /// Forgets the last message. Returns the updates that end the open calls.
    pub(super) fn end(&mut self) -> Vec<Value> {
        let calls = std::mem::take(self).calls.into_keys();
        let ended = calls.map(|call| {
            json!({ "sessionUpdate": "tool_call_update", "toolCallId": call_id(&call), "status": "failed" })
        });
        ended.collect()
    }

    /// Whether the last message of the lead is this text.
    pub(super) fn is_last_message(&self, text: &str) -> bool {
        self.last.1.trim() == text.trim()
    }
}

/// The model chooses the id of a call. The prefix separates it from the ids of tasks and requests: a call with the id
/// of a request would otherwise replace the text of this request in the editor.
fn call_id(call: &str) -> String {
    format!("lead/{call}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_has_its_arguments_diff_and_result() {
        let mut output = LeadOutput::default();
        let call = || "c1".to_owned();
        let call_of = |tool: &str| OutputFragment::Call {
            call: call(),
            tool: tool.to_owned(),
            message: None,
        };
        let diff = "--- a/a\n+++ b/a\n@@ -1 +1 @@\n-1\n+2\n".to_owned();
        let input = |delta: &str| OutputFragment::Input {
            call: call(),
            delta: delta.to_owned(),
        };
        let fragments = vec![
            call_of("write"),
            input("{\"path\":"),
            input("\"a\"}"),
            OutputFragment::CallEnded { call: call() },
            OutputFragment::Lines {
                text: diff,
                diff: true,
            },
            OutputFragment::Returned {
                call: call(),
                text: "done\u{1b}".to_owned(),
                failed: false,
            },
        ];
        let updates = output.updates(fragments, Path::new("/p"));
        assert_eq!(updates.len(), 3, "{updates:?}");
        assert_eq!(updates[0]["toolCallId"], "lead/c1");
        assert_eq!(updates[0]["kind"], "edit");
        assert_eq!(updates[1]["rawInput"], json!({ "path": "a" }));
        assert_eq!(updates[2]["content"][0]["type"], "diff");
        assert_eq!(updates[2]["content"][1]["content"]["text"], "done\\e");
        assert_eq!(
            output.updates(vec![call_of(FINISH)], Path::new("/p")),
            [Value::Null; 0]
        );
        output.updates(vec![call_of("bash")], Path::new("/p"));
        assert_eq!(output.end()[0]["status"], "failed");
        assert!(output.end().is_empty());
    }
}
