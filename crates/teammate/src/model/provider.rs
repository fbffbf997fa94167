//! The providers that models are asked of, as data. Read by `name`, `open` and `choose`.
//!
//! A new one that speaks either wire is a row here, and one in `protocol::model`.

use agent_team_protocol::model::ProviderName;

/// The interface that a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// OpenAI's Chat Completions, which most others speak too.
    ChatCompletions,
    /// Anthropic's Messages.
    Messages,
}

/// One row: who serves models, and how it is asked.
#[derive(Debug, PartialEq, Eq)]
pub struct Provider {
    /// As `protocol::model` has it.
    pub name: &'static str,
    pub wire: Wire,
    /// Empty: only a base URL that is given.
    pub base_url: &'static str,
    /// Whether it refuses whoever has no key. At another base URL than its own nobody knows.
    pub needs_key: bool,
    /// The model that is asked when the person named none; without one the server is asked what it has.
    pub usual: Option<&'static str>,
    pub quirks: Quirks,
}

/// Where a speaker of Chat Completions differs from the others.
#[derive(Debug, PartialEq, Eq)]
pub struct Quirks {
    /// It counts tokens in a stream only when it is asked to; those that always do refuse to be asked.
    pub usage_on_request: bool,
    /// It takes no words of the user straight after a tool's result: they are put below the last one.
    pub results_before_answers: bool,
    /// It wants its thoughts back, as `reasoning_content`.
    pub takes_thoughts: bool,
}

const PLAIN: Quirks = Quirks {
    usage_on_request: true,
    results_before_answers: false,
    takes_thoughts: false,
};

/// In the order in which they are looked for when no model is named.
pub static PROVIDERS: [Provider; 11] = [
    Provider {
        name: "anthropic",
        wire: Wire::Messages,
        base_url: "https://api.anthropic.com",
        needs_key: true,
        usual: Some("claude-sonnet-4-6"),
        quirks: PLAIN,
    },
    Provider {
        name: "openai",
        wire: Wire::ChatCompletions,
        base_url: "https://api.openai.com/v1",
        needs_key: true,
        usual: Some("gpt-5.1"),
        quirks: PLAIN,
    },
    Provider {
        name: "gemini",
        wire: Wire::ChatCompletions,
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        needs_key: true,
        usual: Some("gemini-2.5-pro"),
        quirks: PLAIN,
    },
    Provider {
        name: "openrouter",
        wire: Wire::ChatCompletions,
        base_url: "https://openrouter.ai/api/v1",
        needs_key: true,
        usual: Some("anthropic/claude-sonnet-4.6"),
        quirks: PLAIN,
    },
    Provider {
        name: "deepseek",
        wire: Wire::ChatCompletions,
        base_url: "https://api.deepseek.com/v1",
        needs_key: true,
        usual: Some("deepseek-v4-flash"),
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
        usual: Some("mistral-large-latest"),
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
        usual: Some("openai/gpt-oss-120b"),
        quirks: PLAIN,
    },
    Provider {
        name: "openai-compatible",
        wire: Wire::ChatCompletions,
        base_url: "",
        needs_key: false,
        usual: None,
        quirks: PLAIN,
    },
    Provider {
        name: "ollama",
        wire: Wire::ChatCompletions,
        base_url: "http://127.0.0.1:11434/v1",
        needs_key: false,
        usual: None,
        quirks: PLAIN,
    },
    Provider {
        name: "llamacpp",
        wire: Wire::ChatCompletions,
        base_url: "http://127.0.0.1:8080/v1",
        needs_key: false,
        usual: None,
        quirks: PLAIN,
    },
    Provider {
        name: "vllm",
        wire: Wire::ChatCompletions,
        base_url: "http://127.0.0.1:8000/v1",
        needs_key: false,
        usual: None,
        quirks: PLAIN,
    },
];

impl Provider {
    /// The one of this name or alias, however it is capitalised.
    pub fn named(name: &str) -> Option<&'static Self> {
        let known = ProviderName::named(name)?;
        PROVIDERS
            .iter()
            .find(|provider| provider.name == known.name)
    }

    /// The environment variables that put another base URL in the place of its own, the first that is set wins.
    pub fn base_url_vars(&self) -> &'static [&'static str] {
        self.known().base_url_vars
    }

    /// The environment variables that hold its key, the first that is set wins.
    pub fn key_vars(&self) -> &'static [&'static str] {
        self.known().key_vars
    }

    fn known(&self) -> &'static ProviderName {
        ProviderName::named(self.name).expect("both tables have the same rows")
    }

    /// It runs on the person's own machine, and nobody pays for its tokens.
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
