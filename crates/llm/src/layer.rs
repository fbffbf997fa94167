//! The trait of a model that passes each prompt to an inner model, and has the inner model's name, window and price.
//! Implemented by `retry`, `recorder` and `fallback`.

use crate::media::MediaSupport;
use crate::model::{Answer, Answering, Delta, Model, ModelError, Prompt, SearchSupport};
use crate::usage::Price;

/// Changes how the inner model answers. By default, a layer changes nothing else.
pub(crate) trait ModelLayer: Send + Sync + std::fmt::Debug {
    fn inner(&self) -> &dyn Model;

    fn search_support(&self) -> SearchSupport {
        self.inner().search_support()
    }

    fn warnings(&self) -> &[String] {
        self.inner().warnings()
    }

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

    fn parses_calls(&self) -> bool {
        self.inner().parses_calls()
    }

    fn search_support(&self) -> SearchSupport {
        ModelLayer::search_support(self)
    }

    fn media_support(&self) -> MediaSupport {
        self.inner().media_support()
    }

    fn warnings(&self) -> &[String] {
        ModelLayer::warnings(self)
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(self.ask(prompt, on_delta))
    }
}
