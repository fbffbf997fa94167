//! Replaces each long, old tool result by one line, which describes the result and how to see it again. Removes old
//! images and documents. Pure. Called by the transcript for a mark `pruned`, and when a conversation is shortened.
//!
//! Answers stay unchanged: a provider refuses changed thoughts and calls. A provider may bind a thought to everything
//! before it; the model's client then drops the thoughts that follow a changed result.

use std::collections::HashMap;

use agent_team_llm::{Item, Media, ToolCall};
use agent_team_protocol::text::visible_label;
use agent_team_terminal_ui::call::with_arguments;

/// The smallest size, in bytes, of a result that is replaced. A result with images or documents is always replaced.
const LONG: usize = 512;

/// The largest number of characters of a result's last line in the replacement.
const LAST_LINE: usize = 100;

/// The estimated number of bytes per token, for text that no model has counted yet.
pub(in crate::agent) const TOKEN_BYTES: u64 = 4;

/// Replaces the long results among the items, and removes images and documents. Returns the estimated number of tokens
/// that this saves.
pub(in crate::agent) fn prune(items: &mut [Item]) -> u64 {
    let mut calls: HashMap<String, ToolCall> = HashMap::new();
    let mut bytes = 0;
    let mut media_tokens = 0;
    for item in items {
        match item {
            Item::Input { .. } => {}
            Item::Shown { media } => {
                media_tokens += media.iter().map(Media::tokens).sum::<u64>();
                let names: Vec<_> = media.iter().map(|media| media.name.as_str()).collect();
                let text = format!("Removed to make room: the attached {}.", names.join(", "));
                *item = Item::Input { text };
            }
            Item::Answered(answer) => {
                let of_answer = answer.calls.iter();
                calls = of_answer
                    .map(|call| (call.id.clone(), call.clone()))
                    .collect();
            }
            Item::Returned { results } => {
                for result in results {
                    let Some(call) = calls.get(&result.id) else {
                        continue;
                    };
                    let media = std::mem::take(&mut result.media);
                    media_tokens += media.iter().map(Media::tokens).sum::<u64>();
                    if result.text.len() >= LONG || !media.is_empty() {
                        let line = line(call, &result.text);
                        bytes += result.text.len().saturating_sub(line.len());
                        result.text = line;
                    }
                }
            }
        }
    }
    bytes as u64 / TOKEN_BYTES + media_tokens
}

fn line(call: &ToolCall, text: &str) -> String {
    let shown = with_arguments(&call.name, &call.input);
    let mut lines = text.lines().filter(|line| !line.trim().is_empty());
    let last = lines.next_back().unwrap_or_default().trim();
    format!(
        "Removed to make room: the result of {shown}: {} lines, {} bytes, ending with `{}`. To see it again, repeat the \
         call, unless the call changes something.",
        text.lines().count(),
        text.len(),
        visible_label(last, LAST_LINE)
    )
}

#[cfg(test)]
mod tests {
    use agent_team_llm::{Answer, MediaKind, ToolResult};

    use super::*;

    fn items(text: &str) -> Vec<Item> {
        let call = ToolCall {
            id: "1".into(),
            name: "bash".into(),
            input: "{\"command\": \"cargo test\"}".into(),
        };
        let result = ToolResult {
            id: "1".into(),
            text: text.into(),
            failed: false,
            media: Vec::new(),
        };
        vec![
            Item::Answered(Answer {
                calls: vec![call],
                ..Answer::default()
            }),
            Item::Returned {
                results: vec![result],
            },
        ]
    }

    fn result(items: &[Item]) -> &str {
        match &items[1] {
            Item::Returned { results } => &results[0].text,
            other @ (Item::Input { .. } | Item::Shown { .. } | Item::Answered(_)) => {
                panic!("{other:?}")
            }
        }
    }

    #[test]
    fn a_long_result_becomes_one_line() {
        let text = format!("{}\ntest result: ok\n\n", "line\n".repeat(200));
        let mut items = items(&text);
        let saved = prune(&mut items);
        let line = result(&items).to_owned();
        assert_eq!(line.lines().count(), 1);
        for part in [
            "bash(command: cargo test)",
            "1018 bytes",
            "`test result: ok`",
        ] {
            assert!(line.contains(part), "{part} is not in {line}");
        }
        assert_eq!(saved, (text.len() - line.len()) as u64 / TOKEN_BYTES);
        assert_eq!(prune(&mut items), 0, "the line stays");
    }

    #[test]
    fn short_results_and_results_without_a_call_stay() {
        let mut short = items("ok");
        assert_eq!(prune(&mut short), 0);
        let long = "x".repeat(LONG);
        let mut orphan = items(&long);
        assert_eq!(prune(&mut orphan[1..]), 0);
        assert_eq!(result(&orphan), long);
    }

    #[test]
    fn images_are_removed_with_their_names_kept() {
        let image = Media {
            kind: MediaKind::Png,
            name: "shot.png".into(),
            file: "shot.png".into(),
            bytes: 1_000_000,
            sha256: String::new(),
        };
        let mut items = items("shot.png: image/png");
        if let Item::Returned { results } = &mut items[1] {
            results[0].media = vec![image.clone()];
        }
        items.push(Item::Shown {
            media: vec![image.clone()],
        });
        assert!(prune(&mut items) >= 2 * image.tokens());
        assert!(result(&items).contains("Removed to make room"));
        let Item::Input { text } = &items[2] else {
            panic!("{:?}", items[2]);
        };
        assert_eq!(text, "Removed to make room: the attached shot.png.");
        assert_eq!(prune(&mut items), 0, "nothing is left to remove");
    }

    #[test]
    fn the_line_of_a_hostile_result_is_bounded() {
        let text = format!("x\n{}\u{1b}[2J", "y".repeat(100_000));
        let mut items = items(&text);
        prune(&mut items);
        let line = result(&items);
        assert!(line.len() < LONG && !line.contains('\u{1b}'), "{line}");
    }
}
