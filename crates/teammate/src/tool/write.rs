//! `write`: creates a file, or replaces the whole content of a file that the model has read.

use agent_team_llm::ToolSpec;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::file::{Change, Existing};
use super::permission::Permission;
use super::resolved_path::{Purpose, ResolvedPath};
use super::{Tool, ToolContext, ToolFuture, arguments, off_thread};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the working directory or absolute. Missing directories are created.
    path: String,
    /// The file's new content.
    content: String,
}

#[derive(Debug)]
pub(super) struct WriteFile {
    spec: ToolSpec,
    permission: Permission,
}

impl WriteFile {
    pub(super) fn new(permission: Permission) -> Self {
        let description = "Create a file of the project, or replace its whole content. An existing file must have \
                           been read, and not have changed since. Use edit to change part of a file.";
        Self {
            spec: arguments::spec::<Arguments>("write", description),
            permission,
        }
    }
}

impl Tool for WriteFile {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        false
    }

    fn run<'a>(
        &'a self,
        input: Value,
        context: &'a ToolContext,
        progress: &'a (dyn Fn(&str) + Send + Sync),
    ) -> ToolFuture<'a> {
        Box::pin(async move {
            let Arguments { path, content } = arguments::parse(&self.spec, input)?;
            let resolved = ResolvedPath::find(context, &path, Purpose::Writing)?;
            let known = context.known(&resolved);
            let change = off_thread(move || {
                let old = Existing::read(&resolved, known)?;
                let done = if old.is_some() { "replaced" } else { "created" };
                let lines = content.lines().count();
                let noun = if lines == 1 { "line" } else { "lines" };
                let done = format!("{done} {}: {lines} {noun}", resolved.display());
                Ok(Change::new(resolved, old, content.into_bytes(), done))
            })
            .await?;
            change
                .apply("write", &path, &self.permission, context, progress)
                .await
        })
    }
}
