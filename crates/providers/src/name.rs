//! Parses the model names that users write, and prints them in canonical form. Called when a team file, a flag or a
//! setting is read, and by the worker that calls the model.
//!
//! `provider/model` is canonical. `provider:model`, and bare names with the prefix of one provider, are accepted
//! too; `replay:FILE` is a recording. Nothing here checks whether the provider offers the model.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use agent_team_protocol::text::visible_label;

use crate::table::{PROVIDERS, Provider};

const EXAMPLE: &str = "anthropic/claude-sonnet-5-5";

const REPLAY: &str = "replay:";

/// Services whose authentication is not implemented: the text before the slash, the service, and its authentication.
const NEEDS_GATEWAY: [(&str, &str, &str); 5] = [
    ("bedrock", "Amazon Bedrock", "signed AWS requests"),
    ("amazon-bedrock", "Amazon Bedrock", "signed AWS requests"),
    (
        "vertex",
        "Google Vertex AI",
        "tokens of a Google Cloud account",
    ),
    (
        "vertexai",
        "Google Vertex AI",
        "tokens of a Google Cloud account",
    ),
    (
        "google-vertex",
        "Google Vertex AI",
        "tokens of a Google Cloud account",
    ),
];

/// The largest number of characters of an invalid name that an error repeats.
const SHOWN: usize = 60;

/// A model, or a recording that replaces a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelName {
    Of {
        provider: &'static Provider,
        /// The provider's name for the model; may contain slashes and colons.
        model: String,
    },
    Replay(PathBuf),
}

/// Why a text is not a model name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ModelNameError {
    #[error("a model is named provider/model, such as {EXAMPLE}")]
    Empty,
    #[error("no provider is called \"{0}\": the providers are {1}")]
    UnknownProvider(String, String),
    #[error(
        "the provider of \"{0}\" is unknown: write <provider>/{0}, where <provider> is one of {1}"
    )]
    MissingProvider(String, String),
    #[error(
        "{0} needs {1}, which agent-team does not support: run a gateway such as LiteLLM, and write model = \
         \"openai-compatible/{2}\" and, below [providers.openai-compatible], base_url = \"http://127.0.0.1:4000/v1\""
    )]
    NeedsGateway(&'static str, &'static str, String),
    #[error("{0} needs a model: write {0}/<model>")]
    NoModel(String),
    #[error("replay: needs a file: write replay:<file>")]
    NoFile,
    #[error("a model's name cannot contain spaces or control characters: \"{0}\"")]
    Characters(String),
}

impl FromStr for ModelName {
    type Err = ModelNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let text = text.trim();
        if let Some(file) = text.strip_prefix(REPLAY) {
            return match file {
                "" => Err(ModelNameError::NoFile),
                file => Ok(Self::Replay(Path::new(file).to_owned())),
            };
        }
        if text.is_empty() {
            return Err(ModelNameError::Empty);
        }
        let shown = || visible_label(text, SHOWN);
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(ModelNameError::Characters(shown()));
        }
        let Some((before, model)) = text.split_once(['/', ':']) else {
            return parse_bare(text);
        };
        let Some(provider) = Provider::named(before) else {
            let mut gateways = NEEDS_GATEWAY.iter();
            if let Some((_, service, needs)) = gateways.find(|(name, ..)| *name == before) {
                let model = visible_label(model, SHOWN);
                return Err(ModelNameError::NeedsGateway(service, needs, model));
            }
            let before = visible_label(before, SHOWN);
            let known = nearest_first(&before);
            return Err(ModelNameError::UnknownProvider(before, known));
        };
        if model.is_empty() {
            return Err(ModelNameError::NoModel(provider.name.to_owned()));
        }
        Ok(Self::Of {
            provider,
            model: model.to_owned(),
        })
    }
}

fn parse_bare(model: &str) -> Result<ModelName, ModelNameError> {
    if let Some(provider) = Provider::named(model) {
        return Err(ModelNameError::NoModel(provider.name.to_owned()));
    }
    let provider = PROVIDERS.iter().find(|provider| {
        let begins = |prefix: &&str| model.starts_with(*prefix);
        provider.prefixes.iter().any(begins)
    });
    match provider {
        Some(provider) => Ok(ModelName::Of {
            provider,
            model: model.to_owned(),
        }),
        None => {
            let shown = visible_label(model, SHOWN);
            let known = nearest_first(&shown);
            Err(ModelNameError::MissingProvider(shown, known))
        }
    }
}

/// All provider names, the most similar to `name` first.
fn nearest_first(name: &str) -> String {
    let name = name.to_lowercase();
    let mut names: Vec<_> = PROVIDERS.iter().map(|provider| provider.name).collect();
    names.sort_by_key(|known| strsim::damerau_levenshtein(known, &name));
    names.join(", ")
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of { provider, model } => write!(f, "{}/{model}", provider.name),
            Self::Replay(file) => write!(f, "{REPLAY}{}", file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn canonical(text: &str) -> String {
        match text.parse::<ModelName>() {
            Ok(name) => name.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn model_names_have_a_canonical_form() {
        for (written, shown) in [
            ("anthropic/claude-sonnet-4-6", "anthropic/claude-sonnet-4-6"),
            (
                " anthropic:claude-sonnet-4-6 ",
                "anthropic/claude-sonnet-4-6",
            ),
            ("claude-opus-4-5", "anthropic/claude-opus-4-5"),
            ("OpenAI/gpt-5", "openai/gpt-5"),
            ("gpt-4o", "openai/gpt-4o"),
            ("o3-mini", "openai/o3-mini"),
            ("google/gemini-2.5-pro", "gemini/gemini-2.5-pro"),
            ("gemini-2.5-flash", "gemini/gemini-2.5-flash"),
            ("llama.cpp/qwen3", "llamacpp/qwen3"),
            ("ollama/qwen3:8b", "ollama/qwen3:8b"),
            ("ollama:qwen3:8b", "ollama/qwen3:8b"),
            (
                "openrouter/anthropic/claude-sonnet-4.6",
                "openrouter/anthropic/claude-sonnet-4.6",
            ),
            ("replay:a/b c.jsonl", "replay:a/b c.jsonl"),
        ] {
            assert_eq!(canonical(written), shown, "{written}");
            assert_eq!(canonical(shown), shown, "{shown}");
        }
    }

    #[test]
    fn an_unknown_provider_error_lists_similar_ones_first() {
        let error = canonical("antropic/claude");
        assert!(
            error.starts_with("no provider is called \"antropic\": the providers are anthropic, "),
            "{error}"
        );
        assert_eq!(
            PROVIDERS.iter().find(|p| !error.contains(p.name)),
            None,
            "{error}"
        );
    }

    #[test]
    fn invalid_model_names_explain_the_syntax() {
        for (written, expected) in [
            ("", "anthropic/claude-sonnet-5-5"),
            (
                "qwen3",
                "write <provider>/qwen3, where <provider> is one of ",
            ),
            (
                "bedrock/anthropic.claude-opus-5-5",
                "write model = \"openai-compatible/anthropic.claude-opus-5-5\"",
            ),
            ("vertex/gemini-4-argon", "Google Vertex AI needs tokens"),
            ("openai", "openai needs a model"),
            ("openai/", "openai needs a model"),
            ("replay:", "replay:<file>"),
            ("openai/gpt 5", "cannot contain spaces"),
            ("openai/gpt\u{1b}[2J", "cannot contain spaces"),
            ("gpt-5\u{202e}/x", "no provider is called"),
        ] {
            let error = canonical(written);
            assert!(error.contains(expected), "{written}: {error}");
            assert!(!error.contains(['\u{1b}', '\u{202e}']), "{error:?}");
        }
    }
}
