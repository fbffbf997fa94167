//! Which models receive an effort, and in which field of the provider's API. `llm` builds the fields of a request from
//! this; the supervisor shows no effort for a model that receives none.
//!
//! Sources, read in November 2026 as stored copies:
//! - DeepSeek: api-docs.deepseek.com/guides/thinking_mode (V4.1).
//! - z.ai: docs.z.ai/guides/capabilities/thinking-mode for GLM-5.1 and earlier; for GLM-5.2 and GLM-5.3, reports of July
//!   and August 2026 that quote docs.z.ai and agree with each other. GLM-5.3 rejects `disabled`.
//! - Moonshot: docs.agno.com on `reasoning_effort` (K3), and the synaps-engine 0.11 sources of docs.rs, which quote
//!   platform.kimi.ai/docs/guide/use-thinking-effort and kimi-k3-1-pro-quickstart. K2.7 always thinks and has no field.
//! - Alibaba: docs.qwencloud.com/developer-guides/text-generation/thinking, and
//!   www.alibabacloud.com/help/en/model-studio/deep-thinking of 2026-10-29.
//! - xAI: docs.x.ai/developers/grok-4-7, and for Grok 4.5 a report of July 2026 that quotes docs.x.ai.

use agent_team_protocol::value::Effort;

/// The field of a request in which a model receives its effort.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum EffortField {
    /// `reasoning_effort`, only if the user set an effort: some models of this provider may reject the field.
    IfSet,
    /// `reasoning_effort` with OpenAI's values, for its reasoning models.
    OpenAi,
    /// `reasoning_effort`, which Google maps to a thinking level or budget.
    Gemini,
    /// The object `reasoning`, which OpenRouter drops for models that cannot think.
    OpenRouter,
    /// `reasoning_effort` with these words, for a model that cannot stop thinking.
    Words(EffortWords),
    /// `thinking: { type }`. While thinking is enabled, `reasoning_effort` contains one of these words, if there are
    /// any.
    Switch(Option<EffortWords>),
    /// `enable_thinking`, with a limit in `thinking_budget`.
    EnableThinking,
}

/// The words for low, medium, high and maximum effort.
pub type EffortWords = [&'static str; 4];

/// The fields by model name; the first match applies, and a model without a match receives no effort. A name also matches
/// its variants, such as `glm-5-turbo` for `glm-5`. A star at the end matches every name with this prefix.
pub type EffortFields = &'static [(&'static str, EffortField)];

const LOW_HIGH_MAX: EffortWords = ["low", "high", "high", "max"];

pub(crate) const IF_SET: EffortFields = &[("*", EffortField::IfSet)];

pub(crate) const DEEPSEEK: EffortFields = &[("*", EffortField::Switch(Some(LOW_HIGH_MAX)))];

pub(crate) const MOONSHOT: EffortFields = &[
    ("kimi-k2.5", EffortField::Switch(None)),
    ("kimi-k2.6", EffortField::Switch(None)),
    ("kimi-k3*", EffortField::Words(LOW_HIGH_MAX)),
];

pub(crate) const ZAI: EffortFields = &[
    ("glm-4.*", EffortField::Switch(None)),
    ("glm-5", EffortField::Switch(None)),
    ("glm-5.1", EffortField::Switch(None)),
    ("glm-5.2", EffortField::Switch(Some(LOW_HIGH_MAX))),
    ("glm-5.3", EffortField::Words(LOW_HIGH_MAX)),
];

pub(crate) const ALIBABA: EffortFields = &[
    ("qwen3.*", EffortField::EnableThinking),
    ("qwen-plus", EffortField::EnableThinking),
    ("qwen-flash", EffortField::EnableThinking),
];

pub(crate) const XAI: EffortFields = &[
    (
        "grok-4.5",
        EffortField::Words(["low", "medium", "high", "high"]),
    ),
    (
        "grok-4.7",
        EffortField::Words(["low", "medium", "high", "xhigh"]),
    ),
    ("*", EffortField::IfSet),
];

/// The first of `fields` that matches the model.
pub(crate) fn find(fields: EffortFields, model: &str) -> Option<EffortField> {
    let is = |name: &str| match name.strip_suffix('*') {
        Some(prefix) => model.starts_with(prefix),
        None => model
            .strip_prefix(name)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('-')),
    };
    let mut fields = fields.iter();
    fields.find(|(name, _)| is(name)).map(|(_, field)| *field)
}

impl EffortField {
    /// Whether a request to the model contains this field. `effort` is `None` if none is configured.
    pub(crate) fn is_sent(self, model: &str, effort: Option<Effort>) -> bool {
        match self {
            Self::IfSet => effort.is_some(),
            Self::OpenAi => is_reasoning_gpt(model),
            Self::Gemini => is_thinking_gemini(model),
            Self::OpenRouter | Self::Words(_) | Self::Switch(_) | Self::EnableThinking => true,
        }
    }
}

/// The family and version in a name such as `claude-opus-4-6-20260205`. `None` for older models, which have the version
/// before the family.
pub fn claude_version(model: &str) -> Option<(&str, (u32, u32))> {
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

/// The version in a name such as `gpt-5.6-sol`.
pub fn gpt_version(model: &str) -> Option<(u32, u32)> {
    let rest = model.strip_prefix("gpt-")?;
    let version = rest.split('-').next()?;
    let (major, minor) = version.split_once('.').unwrap_or((version, "0"));
    Some((major.parse().ok()?, minor.parse().ok()?))
}

/// Whether the model is one of OpenAI's reasoning models before GPT-5.
pub fn is_reasoning_o(model: &str) -> bool {
    ["o1", "o3", "o4"].iter().any(|old| model.starts_with(old))
}

/// Whether the model is one of OpenAI's reasoning models.
pub fn is_reasoning_gpt(model: &str) -> bool {
    !model.contains("chat") && (is_reasoning_o(model) || gpt_version(model) >= Some((5, 0)))
}

/// The version in a name such as `gemini-3.8-flash`.
pub fn gemini_version(model: &str) -> Option<f64> {
    let version = model.strip_prefix("gemini-")?;
    version.split('-').next()?.parse().ok()
}

/// Whether the model is a Gemini that thinks.
pub fn is_thinking_gemini(model: &str) -> bool {
    gemini_version(model).is_some_and(|version| version >= 2.5)
}
