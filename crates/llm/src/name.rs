//! A model's name with its provider. Parsed by `protocol::model`.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use agent_team_protocol::model::{self, ModelNameError};

use crate::provider::{PROVIDERS, Provider};

/// A model, or a recording that replaces it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ModelName {
    Of {
        provider: &'static Provider,
        /// The provider's name of the model; may contain slashes and colons.
        model: String,
    },
    Replay(PathBuf),
}

impl FromStr for ModelName {
    type Err = ModelNameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.parse()? {
            model::ModelName::Of { provider, model } => Self::Of {
                provider: PROVIDERS
                    .iter()
                    .find(|known| known.name == provider.name)
                    .expect("a test keeps the two tables equal"),
                model,
            },
            model::ModelName::Replay(file) => Self::Replay(file),
        })
    }
}

impl fmt::Display for ModelName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Of { provider, model } => write!(f, "{}/{model}", provider.name),
            Self::Replay(file) => write!(f, "replay:{}", file.display()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn model_names_round_trip() {
        let asked = PROVIDERS.iter().map(|provider| provider.name);
        let named = model::PROVIDERS.iter().map(|provider| provider.name);
        assert!(asked.eq(named), "in one order");
        let default_model = PROVIDERS.iter().filter_map(|provider| {
            let model = provider.default_model?;
            Some(format!("{}/{model}", provider.name))
        });
        for name in default_model {
            let parsed = name.parse::<ModelName>().expect("a model's name");
            assert_eq!(parsed.to_string(), name);
        }
    }
}
