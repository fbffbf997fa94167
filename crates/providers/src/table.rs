//! The table of model providers. To add a provider with one of the known APIs, add a row to [`PROVIDERS`].

use agent_team_protocol::spec::Wire;
use agent_team_protocol::value::Effort;

use crate::effort::{self, EffortField, EffortFields};

/// One row: a provider and its properties.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Provider {
    /// The text before the slash of a model name.
    pub name: &'static str,
    pub aliases: &'static [&'static str],
    /// A model name without a provider belongs to this provider if the name begins with one of these prefixes.
    pub prefixes: &'static [&'static str],
    /// Environment variables that set the base URL; the first that is set applies.
    pub base_url_vars: &'static [&'static str],
    /// Environment variables that contain the key; the first that is set applies. A variable with the suffix `_FILE`
    /// names a file that contains the key.
    pub key_vars: &'static [&'static str],
    /// OpenAI's newer models use another API than its other models: see `llm`.
    pub wire: Wire,
    /// Empty: the user must configure a base URL.
    pub base_url: &'static str,
    /// Whether the provider requires a key at its own base URL. A server at a configured URL may need no key.
    pub needs_key: bool,
    /// The default model. `None`: the client asks the server for its models.
    pub default_model: Option<&'static str>,
    pub quirks: Quirks,
    pub window_report: WindowReport,
}

/// How the server reports the window with which it runs a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WindowReport {
    None,
    LlamaCpp,
    Ollama,
    LmStudio,
    /// The list of models contains the window, as with vLLM.
    Models,
    /// Unknown: the server may report as vLLM or as llama.cpp.
    Any,
}

/// Differences between implementations of Chat Completions.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Quirks {
    /// Reports the token counts of a stream only if the request asks for them. Not set for a provider that always
    /// reports the counts and rejects this request option.
    pub usage_on_request: bool,
    /// Accepts no user message directly after a tool result: the text is appended to the last result.
    pub results_before_answers: bool,
    /// Requires that later requests repeat the model's reasoning in `reasoning_content`.
    pub takes_thoughts: bool,
    /// The field in which models receive their effort, except over Anthropic's Messages API.
    pub effort: EffortFields,
    /// Accepts `reasoning_details` in later requests and cache marks for Claude models, and reports the cost.
    pub is_openrouter: bool,
}

const PLAIN: Quirks = Quirks {
    usage_on_request: true,
    results_before_answers: false,
    takes_thoughts: false,
    effort: effort::IF_SET,
    is_openrouter: false,
};

/// The usual properties of a service on the internet.
const REMOTE: Provider = Provider {
    name: "",
    aliases: &[],
    prefixes: &[],
    base_url_vars: &[],
    key_vars: &[],
    wire: Wire::ChatCompletions,
    base_url: "",
    needs_key: true,
    default_model: None,
    quirks: PLAIN,
    window_report: WindowReport::None,
};

/// The usual properties of a server that requires no key, such as one on the user's own machine.
const LOCAL: Provider = Provider {
    needs_key: false,
    ..REMOTE
};

/// All providers, in the order in which they are tried if no model is configured.
pub static PROVIDERS: &[Provider] = &[
    Provider {
        name: "anthropic",
        aliases: &["claude"],
        prefixes: &["claude-"],
        base_url_vars: &["ANTHROPIC_BASE_URL"],
        key_vars: &["ANTHROPIC_API_KEY"],
        wire: Wire::Messages,
        base_url: "https://api.anthropic.com",
        default_model: Some("claude-sonnet-5-5"),
        ..REMOTE
    },
    Provider {
        name: "openai",
        prefixes: &["gpt-", "chatgpt-", "o1", "o3", "o4"],
        base_url_vars: &["OPENAI_BASE_URL", "OPENAI_API_BASE"],
        key_vars: &["OPENAI_API_KEY"],
        base_url: "https://api.openai.com/v1",
        default_model: Some("gpt-6.1-sol"),
        quirks: Quirks {
            effort: &[("*", EffortField::OpenAi)],
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "gemini",
        aliases: &["google"],
        prefixes: &["gemini-"],
        base_url_vars: &["GEMINI_BASE_URL"],
        key_vars: &["GEMINI_API_KEY", "GOOGLE_API_KEY"],
        base_url: "https://generativelanguage.googleapis.com/v1beta/openai",
        default_model: Some("gemini-3.8-flash"),
        quirks: Quirks {
            effort: &[("*", EffortField::Gemini)],
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "openrouter",
        base_url_vars: &["OPENROUTER_BASE_URL"],
        key_vars: &["OPENROUTER_API_KEY"],
        base_url: "https://openrouter.ai/api/v1",
        default_model: Some("anthropic/claude-sonnet-5.5"),
        quirks: Quirks {
            effort: &[("*", EffortField::OpenRouter)],
            is_openrouter: true,
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "deepseek",
        base_url_vars: &["DEEPSEEK_BASE_URL"],
        key_vars: &["DEEPSEEK_API_KEY"],
        base_url: "https://api.deepseek.com/v1",
        default_model: Some("deepseek-flash"),
        quirks: Quirks {
            takes_thoughts: true,
            effort: effort::DEEPSEEK,
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "mistral",
        base_url_vars: &["MISTRAL_BASE_URL"],
        key_vars: &["MISTRAL_API_KEY"],
        base_url: "https://api.mistral.ai/v1",
        default_model: Some("mistral-large-latest"),
        quirks: Quirks {
            usage_on_request: false,
            results_before_answers: true,
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "groq",
        base_url_vars: &["GROQ_BASE_URL"],
        key_vars: &["GROQ_API_KEY"],
        base_url: "https://api.groq.com/openai/v1",
        default_model: Some("openai/gpt-oss-120b"),
        ..REMOTE
    },
    Provider {
        name: "xai",
        aliases: &["x-ai"],
        prefixes: &["grok-"],
        base_url_vars: &["XAI_BASE_URL"],
        key_vars: &["XAI_API_KEY"],
        base_url: "https://api.x.ai/v1",
        default_model: Some("grok-4.7"),
        quirks: Quirks {
            effort: effort::XAI,
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "moonshot",
        aliases: &["moonshotai"],
        prefixes: &["kimi-"],
        base_url_vars: &["MOONSHOT_BASE_URL"],
        key_vars: &["MOONSHOT_API_KEY"],
        base_url: "https://api.moonshot.ai/v1",
        default_model: Some("kimi-k3.1-pro"),
        quirks: Quirks {
            takes_thoughts: true,
            effort: effort::MOONSHOT,
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "zai",
        aliases: &["z-ai"],
        prefixes: &["glm-"],
        base_url_vars: &["ZAI_BASE_URL"],
        key_vars: &["ZAI_API_KEY", "ZHIPU_API_KEY"],
        base_url: "https://api.z.ai/api/paas/v4",
        default_model: Some("glm-5.3"),
        quirks: Quirks {
            takes_thoughts: true,
            effort: effort::ZAI,
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "alibaba",
        aliases: &["qwen"],
        base_url_vars: &["DASHSCOPE_BASE_URL"],
        key_vars: &["DASHSCOPE_API_KEY"],
        base_url: "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
        default_model: Some("qwen3.8-max"),
        quirks: Quirks {
            effort: effort::ALIBABA,
            ..PLAIN
        },
        ..REMOTE
    },
    Provider {
        name: "openai-compatible",
        aliases: &["compatible"],
        base_url_vars: &["OPENAI_COMPATIBLE_BASE_URL"],
        key_vars: &["OPENAI_COMPATIBLE_API_KEY"],
        window_report: WindowReport::Any,
        ..LOCAL
    },
    Provider {
        name: "ollama",
        base_url_vars: &["OLLAMA_HOST"],
        key_vars: &["OLLAMA_API_KEY"],
        base_url: "http://127.0.0.1:11434/v1",
        window_report: WindowReport::Ollama,
        ..LOCAL
    },
    Provider {
        name: "llamacpp",
        aliases: &["llama.cpp", "llama-cpp"],
        base_url_vars: &["LLAMACPP_BASE_URL"],
        key_vars: &["LLAMACPP_API_KEY", "LLAMA_API_KEY"],
        base_url: "http://127.0.0.1:8080/v1",
        window_report: WindowReport::LlamaCpp,
        ..LOCAL
    },
    Provider {
        name: "lmstudio",
        aliases: &["lm-studio"],
        base_url_vars: &["LMSTUDIO_BASE_URL"],
        key_vars: &["LMSTUDIO_API_KEY"],
        base_url: "http://127.0.0.1:1234/v1",
        window_report: WindowReport::LmStudio,
        ..LOCAL
    },
    Provider {
        name: "vllm",
        base_url_vars: &["VLLM_BASE_URL"],
        key_vars: &["VLLM_API_KEY"],
        base_url: "http://127.0.0.1:8000/v1",
        window_report: WindowReport::Models,
        ..LOCAL
    },
];

/// The variables that set a proxy, in lower or upper case.
const PROXIES: [&str; 4] = ["http_proxy", "https_proxy", "all_proxy", "no_proxy"];

impl Provider {
    /// Finds a provider by name or alias, ignoring case.
    pub fn named(name: &str) -> Option<&'static Self> {
        let is = |known: &str| known.eq_ignore_ascii_case(name);
        let mut all = PROVIDERS.iter();
        all.find(|provider| is(provider.name) || provider.aliases.iter().any(|alias| is(alias)))
    }

    /// The field of a Chat Completions request that contains the effort. `None`: the model receives no effort.
    pub fn effort_field(&self, model: &str) -> Option<EffortField> {
        effort::find(self.quirks.effort, model)
    }

    /// Whether the requests to a model contain an effort, over the provider's own API. `effort` is `None` if none is
    /// configured: the default is sent only to models that are known to accept it.
    pub fn sends_effort(&self, model: &str, effort: Option<Effort>) -> bool {
        match self.wire {
            Wire::Messages => {
                effort::claude_version(model).is_some_and(|(_, version)| version >= (4, 0))
            }
            Wire::ChatCompletions | Wire::Responses => {
                let field = self.effort_field(model);
                field.is_some_and(|field| field.is_sent(model, effort))
            }
        }
    }

    /// Whether the provider requires no key: it runs on the user's own machine and its tokens are free, or it is
    /// `openai-compatible`, which can be any server.
    pub fn is_local(&self) -> bool {
        !self.needs_key
    }
}

/// Whether this variable contains a provider's key, or names a file with one.
pub fn holds_key(variable: &str) -> bool {
    let variable = variable.strip_suffix("_FILE").unwrap_or(variable);
    PROVIDERS
        .iter()
        .any(|provider| provider.key_vars.contains(&variable))
}

/// Whether this variable influences where a key is sent: it contains a key, sets the address of a provider, or sets a
/// proxy.
pub fn affects_keys(variable: &str) -> bool {
    let proxy = variable.to_lowercase();
    holds_key(variable)
        || PROXIES.contains(&proxy.as_str())
        || PROVIDERS
            .iter()
            .any(|provider| provider.base_url_vars.contains(&variable))
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_providers_share_a_name_or_a_variable() {
        let (mut names, mut variables) = (HashSet::new(), HashSet::new());
        for provider in PROVIDERS {
            for name in std::iter::once(&provider.name).chain(provider.aliases) {
                assert!(!name.is_empty() && names.insert(name), "{provider:?}");
            }
            assert!(!provider.key_vars.is_empty(), "{provider:?}");
            assert!(!provider.base_url_vars.is_empty(), "{provider:?}");
            for variable in provider.key_vars.iter().chain(provider.base_url_vars) {
                assert!(variables.insert(variable), "{provider:?}");
            }
        }
    }

    #[test]
    fn variables_that_redirect_keys_are_recognised() {
        for variable in ["GROQ_API_KEY", "GROQ_API_KEY_FILE"] {
            assert!(holds_key(variable) && affects_keys(variable), "{variable}");
        }
        for variable in ["OLLAMA_HOST", "OPENAI_API_BASE", "HTTPS_PROXY", "no_proxy"] {
            assert!(affects_keys(variable) && !holds_key(variable), "{variable}");
        }
        assert!(!affects_keys("PATH"));
    }

    #[test]
    fn only_models_with_a_field_receive_an_effort() {
        for (provider, model, set, unset) in [
            ("anthropic", "claude-haiku-4-5", true, true),
            ("anthropic", "claude-3-5-haiku-20241022", false, false),
            ("openai", "gpt-5.1", true, true),
            ("openai", "gpt-4.1", false, false),
            ("openai", "gpt-5-chat-latest", false, false),
            ("gemini", "gemini-2.0-flash", false, false),
            ("gemini", "gemini-3.8-flash", true, true),
            ("openrouter", "x/y", true, true),
            ("deepseek", "deepseek-flash", true, true),
            ("moonshot", "kimi-k3.1-pro-highspeed", true, true),
            ("moonshot", "kimi-k2.6", true, true),
            ("moonshot", "kimi-k2.7-code", false, false),
            ("zai", "glm-5-turbo", true, true),
            ("zai", "glm-5.4", false, false),
            ("alibaba", "qwen3.8-max", true, true),
            ("alibaba", "qwen3-coder-plus", false, false),
            ("xai", "grok-4.3", true, false),
            ("ollama", "qwen3", true, false),
        ] {
            let provider = Provider::named(provider).expect("a provider");
            let sent = [Some(Effort::High), None].map(|it| provider.sends_effort(model, it));
            assert_eq!(sent, [set, unset], "{model}");
        }
    }
}
