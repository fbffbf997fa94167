//! The table of model providers. Read by `name`, `open` and `choose`.
//!
//! A new provider with one of the two APIs is a row here and one in `protocol::model`.

use agent_team_protocol::model::ProviderName;

/// The API of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's Chat Completions, which most other providers use as well.
    ChatCompletions,
    /// Anthropic's Messages.
    Messages,
}

/// One row: a provider and its properties.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// The name in `protocol::model`.
    pub name: &'static str,
    pub wire: Wire,
    /// Empty: a base URL must be configured.
    pub base_url: &'static str,
    /// Whether the provider requires a key. Unknown at other base URLs.
    pub needs_key: bool,
    /// The default model; `None`: the server is asked for its models.
    pub default_model: Option<&'static str>,
    pub quirks: Quirks,
}

/// Differences between implementations of Chat Completions.
#[derive(Debug, PartialEq, Eq)]
pub struct Quirks {
    /// Counts tokens in a stream only on request. Providers that always count reject the request option.
    pub usage_on_request: bool,
    /// Accepts no user message directly after a tool result: the text is appended to the last result.
    pub results_before_answers: bool,
    /// Requires its thoughts in `reasoning_content` of later requests.
    pub takes_thoughts: bool,
}

const PLAIN: Quirks = Quirks {
    usage_on_request: true,
    results_before_answers: false,
    takes_thoughts: false,
};

/// In the order in which they are tried if no model is configured.
pub static PROVIDERS: [Provider; 11] = [
    Provider {
        name: "anthropic",
        wire: Wire::Messages,
        base_url: "https://api.anthropic.com",
        needs_key: true,
        default_model: Some("claude-sonnet-4-6"),
        quirks: PLAIN,
    },
    Provider {
        name: "openai",
        wire: Wire::ChatCompletions,
        base_url: "https://api.openai.com/v1",
        needs_key: true,
        default_model: Some("gpt-5.1"),
        quirks: PLAIN,
    },
    Provider {
        name: "gemini",
        wire: Wire::ChatCompletions,
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        needs_key: true,
        default_model: Some("gemini-2.5-pro"),
        quirks: PLAIN,
    },
    Provider {
        name: "openrouter",
        wire: Wire::ChatCompletions,
        base_url: "https://openrouter.ai/api/v1",
        needs_key: true,
        default_model: Some("anthropic/claude-sonnet-4.6"),
        quirks: PLAIN,
    },
    Provider {
        name: "deepseek",
        wire: Wire::ChatCompletions,
        base_url: "https://api.deepseek.com/v1",
        needs_key: true,
        default_model: Some("deepseek-v4-flash"),
        quirks: Quirks {
            takes_thoughts: true,
            ..PLAIN
        },
    },
    Provider {
        name: "mistral",
        wire: Wire::ChatCompletions,
        base_url: "https://api.mistral.ai/v1",
        needs_key: true,
        default_model: Some("mistral-large-latest"),
        quirks: Quirks {
            usage_on_request: false,
            results_before_answers: true,
            ..PLAIN
        },
    },
    Provider {
        name: "groq",
        wire: Wire::ChatCompletions,
        base_url: "https://api.groq.com/openai/v1",
        needs_key: true,
        default_model: Some("openai/gpt-oss-120b"),
        quirks: PLAIN,
    },
    Provider {
        name: "openai-compatible",
        wire: Wire::ChatCompletions,
        base_url: "",
        needs_key: false,
        default_model: None,
        quirks: PLAIN,
    },
    Provider {
        name: "ollama",
        wire: Wire::ChatCompletions,
        base_url: "http://127.0.0.1:11434/v1",
        needs_key: false,
        default_model: None,
        quirks: PLAIN,
    },
    Provider {
        name: "llamacpp",
        wire: Wire::ChatCompletions,
        base_url: "http://127.0.0.1:8080/v1",
        needs_key: false,
        default_model: None,
        quirks: PLAIN,
    },
    Provider {
        name: "vllm",
        wire: Wire::ChatCompletions,
        base_url: "http://127.0.0.1:8000/v1",
        needs_key: false,
        default_model: None,
        quirks: PLAIN,
    },
];

impl Provider {
    /// Finds a provider by name or alias, ignoring case.
    pub fn named(name: &str) -> Option<&'static Self> {
        let known = ProviderName::named(name)?;
        PROVIDERS
            .iter()
            .find(|provider| provider.name == known.name)
    }

    /// The environment variables that override the base URL; the first one that is set applies.
    pub fn base_url_vars(&self) -> &'static [&'static str] {
        self.known().base_url_vars
    }

    /// The environment variables with the key; the first one that is set applies.
    pub fn key_vars(&self) -> &'static [&'static str] {
        self.known().key_vars
    }

    fn known(&self) -> &'static ProviderName {
        ProviderName::named(self.name).expect("both tables have the same rows")
    }

    /// The provider runs on the user's own machine, and its tokens are free.
    pub fn is_local(&self) -> bool {
        !self.needs_key
    }
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::model;

    use super::*;

    #[test]
    fn both_tables_have_the_same_rows_in_the_same_order() {
        let here = PROVIDERS.iter().map(|provider| provider.name);
        let there = model::PROVIDERS.iter().map(|provider| provider.name);
        assert_eq!(here.collect::<Vec<_>>(), there.collect::<Vec<_>>());
    }
}
