//! `write`: creates a file, or replaces the whole content of a file that the model has read.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::json;

use crate::adapter::{Access, Call, tool};
use crate::file::{Change, Existing, apply};
use crate::permission::Permission;
use crate::resolved_path::{Purpose, ResolvedPath};
use crate::tool::{Output, Tool, ToolError, off_thread};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the working directory or absolute. Missing directories are created.
    path: String,
    /// The file's new content.
    content: String,
}

pub(super) fn write(permission: Permission) -> Box<dyn Tool> {
    let description = "Create a file of the project, or replace its whole content. An existing file must have \
                       been read, and not have changed since. Use edit to change part of a file.";
    tool("write", description, Access::Changes, permission, run)
}

async fn run(
    permission: &Permission,
    arguments: Arguments,
    call: Call<'_>,
) -> Result<Output, ToolError> {
    let Arguments { path, content } = arguments;
    let resolved = ResolvedPath::find(call.context, &path, Purpose::Writing)?;
    let known = call.context.seen.version(&resolved.path());
    let (change, done) = off_thread(move || {
        let old = Existing::read(&resolved, known)?;
        let done = if old.is_some() { "replaced" } else { "created" };
        let lines = content.lines().count();
        let noun = if lines == 1 { "line" } else { "lines" };
        let done = format!("{done} {}: {lines} {noun}", resolved.display());
        Ok((Change::new(resolved, old, content.into_bytes()), done))
    })
    .await?;
    let request = json!({ "path": path });
    apply(vec![change], done, request, call, permission).await
}
