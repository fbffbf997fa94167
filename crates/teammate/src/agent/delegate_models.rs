//! Opens the model of each helper of a member. Created with the member's other models; called by the tool `delegate`.
//!
//! All helpers share one model, except in a recording and in its replay: there, each helper has a separate name for its
//! exchanges.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use agent_team_llm::Model;
use agent_team_llm::recording::Recorder;

type Open = dyn Fn(&str) -> Result<Arc<dyn Model>, String> + Send + Sync;

#[derive(Clone)]
pub(crate) struct HelperModels(Arc<Open>);

/// Omits the closure, which can contain secrets.
impl fmt::Debug for HelperModels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HelperModels")
    }
}

impl HelperModels {
    /// `open` opens the model of the helper with the passed name. Its error is a text for the member's model and the
    /// user.
    pub(crate) fn new(
        open: impl Fn(&str) -> Result<Arc<dyn Model>, String> + Send + Sync + 'static,
    ) -> Self {
        Self(Arc::new(open))
    }

    /// All helpers use `model`.
    pub(crate) fn shared(model: Arc<dyn Model>) -> Self {
        Self::new(move |_| Ok(Arc::clone(&model)))
    }

    /// Appends the exchanges of each helper to this file. Values in `secrets` are never written.
    pub(crate) fn recorded(self, file: PathBuf, secrets: Vec<String>) -> Self {
        Self::new(move |helper| {
            let model = self.open(helper)?;
            let recorder = Recorder::open(model, &file, helper, secrets.clone());
            let recorder = recorder
                .map_err(|error| format!("cannot record to {}: {error}", file.display()))?;
            Ok(Arc::new(recorder))
        })
    }

    /// Opens the model of the helper with this name.
    ///
    /// # Errors
    /// If the model, or the recording, cannot be opened.
    pub(crate) fn open(&self, helper: &str) -> Result<Arc<dyn Model>, String> {
        (self.0)(helper)
    }
}
