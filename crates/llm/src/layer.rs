//! The trait of a model that wraps another model and has its name, window, price and search support. Implemented by
//! `retry` and `recorder`.

use crate::model::{Answer, Answering, Delta, Model, ModelError, Prompt, SearchSupport};
use crate::usage::Price;

/// Changes how the inner model answers, and nothing else.
pub(crate) trait ModelLayer: Send + Sync + std::fmt::Debug {
    fn inner(&self) -> &dyn Model;

    fn ask(
        &self,
        prompt: Prompt<'_>,
        on_delta: &mut (dyn FnMut(Delta) + Send),
    ) -> impl Future<Output = Result<Answer, ModelError>> + Send;
}

impl<L: ModelLayer> Model for L {
    fn name(&self) -> &str {
        self.inner().name()
    }

    fn window(&self) -> u64 {
        self.inner().window()
    }

    fn price(&self) -> Option<Price> {
        self.inner().price()
    }

    fn search_support(&self) -> SearchSupport {
        self.inner().search_support()
    }

    fn warnings(&self) -> &[String] {
        self.inner().warnings()
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(self.ask(prompt, on_delta))
    }
}
