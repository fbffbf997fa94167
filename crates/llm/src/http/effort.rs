//! Maps a member's effort to the fields of each API. Called by `http` and `chat`. The table of fields and models is in
//! `agent_team_providers::effort`.
//!
//! The default effort is sent only to models that are known to accept it: other models reject a request with an unknown
//! field. Sources, read in November 2026: the model pages of platform.claude.com, developers.openai.com,
//! ai.google.dev/gemini-api/docs/openai, openrouter.ai/docs (reasoning tokens). For Claude 4.5 and earlier:
//! platform.claude.com/docs/en/build-with-claude/extended-thinking.

use agent_team_protocol::value::Effort;
use agent_team_providers::EffortField;
use agent_team_providers::effort::{
    EffortWords, claude_version, gemini_version, gpt_version, is_reasoning_gpt, is_reasoning_o,
    is_thinking_gemini,
};
use serde_json::{Value, json};

/// The smallest budget in tokens that the Messages API accepts.
const BUDGET_MIN: u64 = 1_024;

/// The largest budget for Claude 4.5 and earlier. The provider advises against larger budgets in a streaming request.
const BUDGET_MAX: u64 = 32_000;

/// The fields of a Messages request.
#[derive(Debug, PartialEq)]
pub(super) struct Thinking {
    /// The field `thinking`.
    pub(super) mode: Option<Value>,
    /// The field `output_config.effort`.
    pub(super) effort: Option<&'static str>,
}

impl Thinking {
    /// No field: the model decides, and Claude 4.5 and earlier do not think.
    pub(super) const NONE: Self = Self {
        mode: None,
        effort: None,
    };

    /// Whether the mode has a budget, as Claude 4.5 and earlier require.
    pub(super) fn has_budget(&self) -> bool {
        let mode = self.mode.as_ref();
        mode.is_some_and(|mode| mode.get("budget_tokens").is_some())
    }
}

/// The fields for a model of the Messages API whose answers have at most `output` tokens. Claude 3 and models of other
/// makers get none.
pub(super) fn of_messages(model: &str, effort: Effort, output: u64) -> Thinking {
    let Some((family, version)) = claude_version(model) else {
        return Thinking::NONE;
    };
    let adaptive = |effort| {
        // Without this field, later models leave their thoughts empty.
        let mut mode = json!({ "type": "adaptive" });
        if version > (4, 6) {
            mode["display"] = "summarized".into();
        }
        Thinking {
            mode: Some(mode),
            effort: Some(effort),
        }
    };
    let only = |mode: &str| Thinking {
        mode: Some(json!({ "type": mode })),
        effort: None,
    };
    match (effort, family, version) {
        (_, _, version) if version < (4, 0) => Thinking::NONE,
        (Effort::None, _, (4, _)) => Thinking::NONE,
        (_, _, version) if version < (4, 6) => {
            // The thoughts are part of the answer: leave at least half of its length for the rest.
            let budget = budget(effort).unwrap_or(BUDGET_MAX).min(output / 2);
            if budget < BUDGET_MIN {
                return Thinking::NONE;
            }
            let mode = json!({ "type": "enabled", "budget_tokens": budget });
            Thinking {
                mode: Some(mode),
                effort: None,
            }
        }
        (Effort::None, "opus" | "sonnet", (5, 0)) | (Effort::None, "haiku", (5, _)) => {
            only("disabled")
        }
        (Effort::None, "sonnet", (5, 5)) => only("between_tools"),
        (Effort::None | Effort::Low, ..) => adaptive("low"),
        (Effort::Medium, ..) => adaptive("medium"),
        (Effort::High, ..) | (Effort::Max, "sonnet", (4, 6)) => adaptive("high"),
        (Effort::Max, ..) => adaptive("max"),
    }
}

/// The limit for the thoughts of an answer, in tokens, for models that have no other measure. `None`: no limit.
fn budget(effort: Effort) -> Option<u64> {
    match effort {
        Effort::None => Some(0),
        Effort::Low => Some(4_096),
        Effort::Medium => Some(8_192),
        Effort::High => Some(16_384),
        Effort::Max => None,
    }
}

/// Whether the model accepts tools together with an effort only in the Responses API: GPT-5.4 and later. From GPT-5.6
/// on, Chat Completions refuses tools unless the effort is `none`.
pub(super) fn needs_responses(field: Option<EffortField>, model: &str) -> bool {
    field == Some(EffortField::OpenAi) && gpt_version(model) >= Some((5, 4))
}

/// The fields of a Chat Completions request. `field` is `None` if the model receives no effort, and `effort` is `None`
/// if none is configured.
pub(super) fn of_chat(
    field: Option<EffortField>,
    model: &str,
    effort: Option<Effort>,
    has_tools: bool,
) -> Vec<(&'static str, Value)> {
    let level = |level: Option<&str>| {
        let level = level.map(|level| ("reasoning_effort", level.into()));
        level.into_iter().collect()
    };
    if has_tools && needs_responses(field, model) {
        return level(Some("none"));
    }
    let wanted = effort.unwrap_or_default();
    match field {
        None => Vec::new(),
        Some(EffortField::IfSet) => level(effort.map(up_to_high)),
        Some(EffortField::OpenAi) => level(of_openai(model, wanted)),
        Some(EffortField::Gemini) => level(of_gemini(model, wanted)),
        Some(EffortField::OpenRouter) => {
            let word = match wanted {
                Effort::Max => "xhigh",
                Effort::None | Effort::Low | Effort::Medium | Effort::High => wanted.name(),
            };
            vec![("reasoning", json!({ "effort": word }))]
        }
        Some(EffortField::Words(words)) => level(Some(word(&words, wanted))),
        Some(EffortField::Switch(_)) if wanted == Effort::None => {
            vec![("thinking", json!({ "type": "disabled" }))]
        }
        Some(EffortField::Switch(words)) => {
            let mut fields: Vec<_> = level(words.as_ref().map(|words| word(words, wanted)));
            fields.push(("thinking", json!({ "type": "enabled" })));
            fields
        }
        Some(EffortField::EnableThinking) => {
            let thinks = wanted != Effort::None;
            let budget = budget(wanted).filter(|_| thinks);
            let budget = budget.map(|budget| ("thinking_budget", budget.into()));
            let mut fields = vec![("enable_thinking", thinks.into())];
            fields.extend(budget);
            fields
        }
    }
}

/// The word for this effort, for a model that thinks.
fn word(words: &EffortWords, effort: Effort) -> &'static str {
    let [low, medium, high, max] = words;
    match effort {
        Effort::None | Effort::Low => low,
        Effort::Medium => medium,
        Effort::High => high,
        Effort::Max => max,
    }
}

fn up_to_high(effort: Effort) -> &'static str {
    match effort {
        Effort::Max => "high",
        Effort::None | Effort::Low | Effort::Medium | Effort::High => effort.name(),
    }
}

/// OpenAI's value for this effort, for a reasoning model.
pub(super) fn of_openai(model: &str, effort: Effort) -> Option<&'static str> {
    let (is_old, version) = (is_reasoning_o(model), gpt_version(model));
    if !is_reasoning_gpt(model) {
        return None;
    }
    Some(match effort {
        Effort::None if is_old => "low",
        Effort::None if version < Some((5, 1)) => "minimal",
        Effort::Max if version >= Some((5, 2)) => "xhigh",
        Effort::None | Effort::Low | Effort::Medium | Effort::High | Effort::Max => {
            up_to_high(effort)
        }
    })
}

/// Whether the model is a Gemini that requires a signature for each step with calls: Gemini 3 and later.
pub(super) fn is_signing_gemini(field: Option<EffortField>, model: &str) -> bool {
    field == Some(EffortField::Gemini) && gemini_version(model).is_some_and(|it| it >= 3.0)
}

/// Google's value for this effort, for a model that thinks. Most of these models cannot stop thinking.
fn of_gemini(model: &str, effort: Effort) -> Option<&'static str> {
    is_thinking_gemini(model).then(|| match effort {
        Effort::None if model.starts_with("gemini-2.5-flash") => "none",
        Effort::None => "low",
        Effort::Low | Effort::Medium | Effort::High | Effort::Max => up_to_high(effort),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_claude_gets_the_fields_that_it_accepts() {
        for (model, effort, mode, word) in [
            ("claude-sonnet-4-5", Effort::None, None, None),
            ("claude-sonnet-4-5", Effort::High, Some("enabled"), None),
            ("claude-opus-4-20250514", Effort::Low, Some("enabled"), None),
            ("claude-3-5-haiku-20241022", Effort::High, None, None),
            ("glm-5", Effort::High, None, None),
            ("claude-opus-4-6", Effort::None, None, None),
            (
                "claude-opus-4-6-20260205",
                Effort::Max,
                Some("adaptive"),
                Some("max"),
            ),
            (
                "claude-sonnet-4-6",
                Effort::Max,
                Some("adaptive"),
                Some("high"),
            ),
            ("claude-opus-5", Effort::None, Some("disabled"), None),
            (
                "claude-sonnet-5-5",
                Effort::None,
                Some("between_tools"),
                None,
            ),
            (
                "claude-opus-5-5",
                Effort::None,
                Some("adaptive"),
                Some("low"),
            ),
            (
                "claude-fable-5-1",
                Effort::Medium,
                Some("adaptive"),
                Some("medium"),
            ),
        ] {
            let thinking = of_messages(model, effort, 64_000);
            let of_mode = thinking
                .mode
                .as_ref()
                .and_then(|mode| mode["type"].as_str());
            assert_eq!(
                (of_mode, thinking.effort),
                (mode, word),
                "{model} {effort:?}"
            );
        }
    }

    #[test]
    fn a_budget_leaves_half_of_the_answer() {
        for (effort, output, budget) in [
            (Effort::Low, 64_000, Some(4_096)),
            (Effort::Medium, 64_000, Some(8_192)),
            (Effort::Max, 64_000, Some(32_000)),
            (Effort::Max, 32_000, Some(16_000)),
            (Effort::High, 2_000, None),
        ] {
            let thinking = of_messages("claude-haiku-4-5", effort, output);
            let mode = budget.map(|it| json!({ "type": "enabled", "budget_tokens": it }));
            assert_eq!(thinking.has_budget(), budget.is_some());
            assert_eq!(thinking.mode, mode, "{effort:?} {output}");
        }
    }

    #[test]
    fn each_model_gets_its_own_value() {
        use EffortField::{Gemini, IfSet, OpenAi, OpenRouter};
        for (field, model, effort, value) in [
            (OpenAi, "gpt-4.1", Some(Effort::High), None),
            (OpenAi, "gpt-5-chat-latest", None, None),
            (OpenAi, "gpt-5", Some(Effort::None), Some("minimal")),
            (OpenAi, "gpt-5.1", None, Some("medium")),
            (OpenAi, "gpt-5.1", Some(Effort::None), Some("none")),
            (OpenAi, "gpt-5.4-mini", Some(Effort::Max), Some("xhigh")),
            (OpenAi, "gpt-6-sol", Some(Effort::Low), Some("low")),
            (OpenAi, "o4-mini", Some(Effort::Max), Some("high")),
            (Gemini, "gemini-2.0-flash", None, None),
            (Gemini, "gemini-2.5-pro", Some(Effort::None), Some("low")),
            (Gemini, "gemini-3-pro", Some(Effort::Max), Some("high")),
            (IfSet, "qwen3", None, None),
            (IfSet, "qwen3", Some(Effort::Max), Some("high")),
        ] {
            let expected: Vec<_> = value
                .map(|value| ("reasoning_effort", json!(value)))
                .into_iter()
                .collect();
            let actual = of_chat(Some(field), model, effort, false);
            assert_eq!(actual, expected, "{model} {effort:?}");
        }
        let with_tools = of_chat(Some(OpenAi), "gpt-5.6-sol", None, true);
        assert_eq!(with_tools, [("reasoning_effort", json!("none"))]);
        let reasoning = of_chat(Some(OpenRouter), "x/y", Some(Effort::Max), true);
        assert_eq!(reasoning, [("reasoning", json!({ "effort": "xhigh" }))]);
    }
}
