//! The adapter from an async function to a [`Tool`]. Creates every tool; `team::plan_first` and `team::small_window`
//! wrap created tools.
//!
//! A tool is a name, a description, an argument type, its access, a state and one function:
//! `async fn(&State, Arguments, Call<'_>) -> Result<String, ToolError>`, or with an [`Output`] instead of the text.
//! Schema and parser are derived from the argument type (see `arguments`), except that an MCP tool and a tool of an
//! embedding program have their own schema.

use std::fmt;
use std::marker::PhantomData;

use agent_team_llm::ToolSpec;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::arguments;
use crate::context::ToolContext;
use crate::tool::{Output, Tool, ToolError, ToolFuture};

/// The effect of a tool's calls on the project and the team. Calls that only read may run concurrently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    Reads,
    Changes,
}

/// Receives the progress output of a call, for the user. Must not block.
pub(crate) type Progress<'a> = &'a (dyn Fn(&str) + Send + Sync + 'a);

#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    pub(crate) tool: &'a str,
    /// The arguments as the model wrote them.
    pub(crate) input: &'a Value,
    pub(crate) context: &'a ToolContext,
    pub(crate) progress: Progress<'a>,
}

/// The function of a tool. Async functions with these arguments implement this trait. A bound on a plain `Fn` cannot
/// require `Send` of a future that borrows from the call; the associated type `Future` can.
pub(crate) trait ToolFunction<'a, S, A>: Send + Sync {
    type Output: Into<Output>;
    type Future: Future<Output = Result<Self::Output, ToolError>> + Send + 'a;

    fn run(&self, state: &'a S, arguments: A, call: Call<'a>) -> Self::Future;
}

impl<'a, S, A, F, T, O> ToolFunction<'a, S, A> for F
where
    S: 'a,
    F: Fn(&'a S, A, Call<'a>) -> T + Send + Sync,
    T: Future<Output = Result<O, ToolError>> + Send + 'a,
    O: Into<Output>,
{
    type Output = O;
    type Future = T;

    fn run(&self, state: &'a S, arguments: A, call: Call<'a>) -> T {
        self(state, arguments, call)
    }
}

/// Creates a tool. All its calls share `state`; tools that share a state with other tools pass an `Arc`.
pub(crate) fn tool<S, A, R>(
    name: &str,
    description: &str,
    access: Access,
    state: S,
    run: R,
) -> Box<dyn Tool>
where
    S: Send + Sync + 'static,
    A: DeserializeOwned + JsonSchema + Send + 'static,
    R: for<'a> ToolFunction<'a, S, A> + 'static,
{
    tool_with(arguments::spec::<A>(name, description), access, state, run)
}

/// Creates a tool with a given spec, for arguments that a foreign schema describes.
pub(crate) fn tool_with<S, A, R>(spec: ToolSpec, access: Access, state: S, run: R) -> Box<dyn Tool>
where
    S: Send + Sync + 'static,
    A: DeserializeOwned + Send + 'static,
    R: for<'a> ToolFunction<'a, S, A> + 'static,
{
    Box::new(FnTool {
        spec,
        access,
        state,
        run,
        arguments: PhantomData,
    })
}

struct FnTool<S, A, R> {
    spec: ToolSpec,
    access: Access,
    state: S,
    run: R,
    arguments: PhantomData<fn() -> A>,
}

impl<S, A, R> fmt::Debug for FnTool<S, A, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FnTool")
            .field("name", &self.spec.name)
            .finish_non_exhaustive()
    }
}

impl<S, A, R> Tool for FnTool<S, A, R>
where
    S: Send + Sync,
    A: DeserializeOwned + Send,
    R: for<'a> ToolFunction<'a, S, A>,
{
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        self.access == Access::Reads
    }

    fn run<'a>(
        &'a self,
        input: Value,
        context: &'a ToolContext,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> ToolFuture<'a> {
        Box::pin(async move {
            let arguments = arguments::parse(&self.spec, &input)?;
            let call = Call {
                tool: &self.spec.name,
                input: &input,
                context,
                progress,
            };
            let output = self.run.run(&self.state, arguments, call).await?;
            Ok(output.into())
        })
    }
}
