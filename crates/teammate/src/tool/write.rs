//! `write`: a new file, or a whole new content for one that the model has read.

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::file::{Change, Existing};
use super::permit::Permission;
use super::place::{Place, Purpose};
use super::{Bench, Running, Tool, arguments, off_thread};
use crate::model::ToolSpec;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the working directory or absolute. Directories on the way are made.
    path: String,
    /// All that the file shall contain.
    content: String,
}

#[derive(Debug)]
pub(super) struct WriteFile {
    spec: ToolSpec,
    permission: Permission,
}

impl WriteFile {
    pub(super) fn new(permission: Permission) -> Self {
        let description = "Makes a file of the project, or replaces all of one. What exists must have been read \
            before, and not have changed since. To change a part of a file, use edit.";
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
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let Arguments { path, content } = arguments::parse(&self.spec, input)?;
            let place = Place::find(bench, &path, Purpose::Writing)?;
            let known = bench.known(&place);
            let change = off_thread(move || {
                let old = Existing::read(&place, known)?;
                let done = if old.is_some() { "replaced" } else { "made" };
                let lines = content.lines().count();
                let noun = if lines == 1 { "line" } else { "lines" };
                let done = format!("{done} {}: {lines} {noun}", place.shown());
                Ok(Change::new(place, old, content.into_bytes(), done))
            })
            .await?;
            change
                .carry_out("write", &path, &self.permission, bench, shown)
                .await
        })
    }
}
