//! Maps a member's effort to the fields of each API. Called by `http` and `chat`.
//!
//! The default effort is sent only to models that are known to accept it: other models reject a request with an unknown
//! field. Sources, read in November 2026: the model pages of platform.claude.com, developers.openai.com,
//! ai.google.dev/gemini-api/docs/openai, openrouter.ai/docs (reasoning tokens).

use agent_team_protocol::value::Effort;
use agent_team_providers::EffortField;
use serde_json::{Value, json};

/// The fields of a Messages request.
#[derive(Debug, PartialEq)]
pub(super) struct Thinking {
    /// The field `thinking`.
    pub(super) mode: Option<Value>,
    /// The field `output_config.effort`.
    pub(super) effort: Option<&'static str>,
}

/// The fields for a model of the Messages API. Claude 4.5 and earlier, and models of other makers, get none: they
/// require a budget in tokens, or do not think.
pub(super) fn of_messages(model: &str, effort: Effort) -> Thinking {
    let none = Thinking {
        mode: None,
        effort: None,
    };
    let Some((family, version)) = claude_version(model) else {
        return none;
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
        (_, _, version) if version < (4, 6) => none,
        (Effort::None, _, (4, _)) => none,
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

/// The family and version in a name such as `claude-opus-4-6-20260205`. `None` for older models, which have the version
/// before the family.
fn claude_version(model: &str) -> Option<(&str, (u32, u32))> {
    let name = &model[model.find("claude-")? + "claude-".len()..];
    let (family, rest) = name.split_once('-')?;
    if !family.chars().all(char::is_alphabetic) {
        return None;
    }
    let mut numbers = rest.split(['-', '.', '@']).map_while(|part| {
        // A longer number is a date.
        let number = part.parse().ok();
        number.filter(|_| part.len() <= 2)
    });
    let major = numbers.next()?;
    Some((family, (major, numbers.next().unwrap_or(0))))
}

/// Whether the model accepts tools together with an effort only in the Responses API: GPT-5.4 and later. From GPT-5.6
/// on, Chat Completions refuses tools unless the effort is `none`.
pub(super) fn needs_responses(field: EffortField, model: &str) -> bool {
    field == EffortField::OpenAi && gpt_version(model) >= Some((5, 4))
}

/// The field of a Chat Completions request, and its value. `effort` is `None` if none is configured.
pub(super) fn of_chat(
    field: EffortField,
    model: &str,
    effort: Option<Effort>,
    has_tools: bool,
) -> Option<(&'static str, Value)> {
    if has_tools && needs_responses(field, model) {
        return Some(("reasoning_effort", "none".into()));
    }
    let wanted = effort.unwrap_or_default();
    let value = match field {
        EffortField::IfSet => up_to_high(effort?).into(),
        EffortField::OpenAi => of_openai(model, wanted)?.into(),
        EffortField::Gemini => of_gemini(model, wanted)?.into(),
        EffortField::OpenRouter => {
            let word = match wanted {
                Effort::Max => "xhigh",
                Effort::None | Effort::Low | Effort::Medium | Effort::High => wanted.name(),
            };
            return Some(("reasoning", json!({ "effort": word })));
        }
    };
    Some(("reasoning_effort", value))
}

fn up_to_high(effort: Effort) -> &'static str {
    match effort {
        Effort::Max => "high",
        Effort::None | Effort::Low | Effort::Medium | Effort::High => effort.name(),
    }
}

/// OpenAI's value for this effort, for a reasoning model.
pub(super) fn of_openai(model: &str, effort: Effort) -> Option<&'static str> {
    let is_old = ["o1", "o3", "o4"].iter().any(|old| model.starts_with(old));
    let version = gpt_version(model);
    if model.contains("chat") || !(is_old || version >= Some((5, 0))) {
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

/// The version in a name such as `gpt-5.6-sol`.
pub(super) fn gpt_version(model: &str) -> Option<(u32, u32)> {
    let rest = model.strip_prefix("gpt-")?;
    let version = rest.split('-').next()?;
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether the model is a Gemini that requires a signature for each step with calls: Gemini 3 and later.
pub(super) fn is_signing_gemini(field: EffortField, model: &str) -> bool {
    field == EffortField::Gemini && gemini_version(model).is_some_and(|version| version >= 3.0)
}

/// The version in a name such as `gemini-3.8-flash`.
fn gemini_version(model: &str) -> Option<f64> {
    let version = model.strip_prefix("gemini-")?;
    version.split('-').next()?.parse().ok()
}

/// Google's value for this effort, for a model that thinks. Most of these models cannot stop thinking.
fn of_gemini(model: &str, effort: Effort) -> Option<&'static str> {
    if gemini_version(model)? < 2.5 {
        return None;
    }
    Some(match effort {
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
            ("claude-sonnet-4-5", Effort::High, None, None),
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
            let thinking = of_messages(model, effort);
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
    fn each_provider_gets_its_own_value() {
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
            let expected = value.map(|value| ("reasoning_effort", json!(value)));
            let actual = of_chat(field, model, effort, false);
            assert_eq!(actual, expected, "{model} {effort:?}");
        }
        let with_tools = of_chat(OpenAi, "gpt-5.6-sol", None, true);
        assert_eq!(with_tools, Some(("reasoning_effort", json!("none"))));
        let reasoning = of_chat(OpenRouter, "x/y", Some(Effort::Max), true);
        assert_eq!(reasoning, Some(("reasoning", json!({ "effort": "xhigh" }))));
    }
}
