//! A list of models, of which one answers the requests. Each launch of an agent creates such a list from the configured
//! models, even for a single model. A model that an embedding program provides is used without a list.
//!
//! The first model answers until it fails for a reason that may not apply to another model: its provider rejects the
//! key, the budget is exhausted, the model does not exist, or it is overloaded or unreachable after all retries. Then
//! the next model answers, until the launch ends. A change of model loses the provider's cache and the model's
//! thoughts, so models are changed rarely.

use std::sync::atomic::{AtomicUsize, Ordering};

use agent_team_protocol::with_causes;

use crate::layer::ModelLayer;
use crate::model::{Answer, Delta, Model, ModelError, Prompt, SearchSupport};

/// A non-empty list of models.
#[derive(Debug)]
pub struct FallbackModel {
    models: Vec<Box<dyn Model>>,
    /// The index of the model that answers.
    current: AtomicUsize,
    /// Texts for the user: why the list does not contain some of the configured models.
    warnings: Vec<String>,
}

impl FallbackModel {
    /// # Panics
    /// If `models` is empty.
    pub fn new(models: Vec<Box<dyn Model>>) -> Self {
        assert!(!models.is_empty(), "no model");
        Self {
            models,
            current: AtomicUsize::new(0),
            warnings: Vec::new(),
        }
    }

    /// `warnings` are texts for the user: why some of the configured models could not be opened.
    #[must_use]
    pub fn with_warnings(mut self, warnings: Vec<String>) -> Self {
        self.warnings = warnings;
        self
    }
}

/// Whether another model may answer after this error of the current model.
fn is_replaceable(error: &ModelError) -> bool {
    match error {
        ModelError::Unauthenticated { .. }
        | ModelError::UnknownModel { .. }
        | ModelError::Busy { .. }
        | ModelError::Unreachable { .. } => true,
        // The provider reports an exhausted budget with these statuses.
        ModelError::Refused { status, .. } => matches!(status, 402 | 429),
        ModelError::TooLong(_) | ModelError::InvalidResponse { .. } | ModelError::Unrecorded(_) => {
            false
        }
    }
}

impl ModelLayer for FallbackModel {
    fn inner(&self) -> &dyn Model {
        &*self.models[self.current.load(Ordering::Relaxed)]
    }

    /// The search of the provider is offered only if no model of the list is known to lack it: the tools are chosen
    /// once per launch.
    fn search_support(&self) -> SearchSupport {
        let mut all = self.models.iter().map(|model| model.search_support());
        match all.any(|support| support == SearchSupport::Unsupported) {
            true => SearchSupport::Unsupported,
            false => self.inner().search_support(),
        }
    }

    fn warnings(&self) -> &[String] {
        &self.warnings
    }

    async fn ask(
        &self,
        prompt: Prompt<'_>,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> Result<Answer, ModelError> {
        loop {
            let current = self.current.load(Ordering::Relaxed);
            let error = match self.models[current].answer(prompt, on_delta).await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // Helpers share this list, so another request may have replaced the model in the meantime. Continue with
            // the model that is current now, or with the one after the failed model. Requests that fail at the same
            // time then continue with the same model, and no model is skipped.
            let index = self.current.load(Ordering::Relaxed).max(current + 1);
            let next = self.models.get(index);
            let Some(next) = next.filter(|_| is_replaceable(&error)) else {
                return Err(error);
            };
            tracing::warn!(
                model = self.models[current].name(),
                by = next.name(),
                "model replaced"
            );
            on_delta(Delta::Replaced {
                by: next.name().to_owned(),
                why: with_causes(&error),
            });
            self.current.fetch_max(index, Ordering::Relaxed);
        }
    }
}
