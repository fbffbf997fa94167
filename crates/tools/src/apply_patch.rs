//! `apply_patch`: creates, changes, removes and renames files with one patch, in the form that OpenAI's models write.
//!
//! All sections of the patch apply, or none. Each existing file must have been read, as for `edit`. The permission
//! request names every path and contains the diff of all files. The form: `parse`; a section's hunks: `hunks`.

mod hunks;
mod parse;

use agent_team_policy::CallPath;
use agent_team_protocol::text::is_text;
use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::{Value, json};

use self::parse::{Action, Section, parse};
use crate::adapter::{Access, Call, tool};
use crate::context::ToolContext;
use crate::file::{Change, Existing, apply};
use crate::permission::Permission;
use crate::resolved_path::{Purpose, ResolvedPath};
use crate::seen_files::Version;
use crate::tool::{APPLY_PATCH, Output, Tool, ToolError, off_thread};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The whole patch, from `*** Begin Patch` to `*** End Patch`.
    input: String,
}

pub(super) fn apply_patch(permission: Permission) -> Box<dyn Tool> {
    let description = "Change several files of the project with one patch: all of it, or nothing. Sections: `*** Add \
                       File: PATH` with `+` lines; `*** Delete File: PATH`; `*** Update File: PATH`, optionally `*** \
                       Move to: PATH`, with hunks that begin with `@@` and have 3 lines of context. Read existing \
                       files first.";
    tool(APPLY_PATCH, description, Access::Changes, permission, run)
}

/// The paths that the patch in the arguments of a call names. Empty if the patch is not valid: the call then fails.
pub fn patched_paths(input: &Value) -> Vec<String> {
    let sections = input["input"].as_str().map(parse);
    let sections = sections.and_then(Result::ok).unwrap_or_default();
    let paths = sections.iter().flat_map(Section::paths);
    paths.map(str::to_owned).collect()
}

async fn run(
    permission: &Permission,
    arguments: Arguments,
    call: Call<'_>,
) -> Result<Output, ToolError> {
    let sections = parse(&arguments.input).map_err(ToolError::Input)?;
    let mut targets: Vec<Target> = Vec::new();
    let mut paths = Vec::new();
    for section in &sections {
        for path in section.paths() {
            let target = Target::find(call.context, path)?;
            if targets.iter().any(|other| other.path == target.path) {
                let name = target.path.display();
                return Err(ToolError::Input(format!(
                    "the patch names {name} twice: write all hunks of a file in one section"
                )));
            }
            targets.push(target);
            paths.push(path.to_owned());
        }
    }
    let (changes, done) = off_thread(move || changes(sections, targets)).await?;
    apply(changes, done, json!({ "paths": paths }), call, permission).await
}

/// A path of the patch.
struct Target {
    path: ResolvedPath,
    known: Option<Version>,
    /// Whether the path leads through a symbolic link.
    is_link: bool,
}

impl Target {
    fn find(context: &ToolContext, given: &str) -> Result<Self, ToolError> {
        let path = ResolvedPath::find(context, given, Purpose::Writing)?;
        Ok(Self {
            known: context.seen.version(&path.path()),
            is_link: CallPath::lexical(&context.cwd, given) != path.path(),
            path,
        })
    }

    fn existing(&self) -> Result<Option<Existing>, ToolError> {
        Existing::read(&self.path, self.known)
    }

    /// The text file at this path.
    fn text_file(&self) -> Result<Existing, ToolError> {
        let name = self.path.display();
        let Some(file) = self.existing()? else {
            return Err(ToolError::Failed(format!("{name} does not exist")));
        };
        if !is_text(&file.bytes) {
            return Err(ToolError::Failed(format!(
                "{name} is binary and cannot be patched as text"
            )));
        }
        Ok(file)
    }

    /// The text file that the patch removes or moves from this path. A path through a symbolic link is refused: the
    /// patch would remove or move the target, and the link would remain.
    fn taken_file(&self) -> Result<Existing, ToolError> {
        if self.is_link {
            return Err(ToolError::Failed(format!(
                "the path leads through a symbolic link to {}: use that path",
                self.path.display()
            )));
        }
        self.text_file()
    }
}

/// The changes of all sections, and the tool's result. `targets`: the paths of the sections, in order.
fn changes(
    sections: Vec<Section>,
    targets: Vec<Target>,
) -> Result<(Vec<Change>, String), ToolError> {
    let mut targets = targets.into_iter();
    let mut next = || targets.next().expect("each path of a section has a target");
    let mut changes = Vec::new();
    let mut done = vec!["applied the patch:".to_owned()];
    for section in sections {
        let target = next();
        let name = target.path.display();
        match section.action {
            Action::Add { text } => {
                let old = target.existing()?;
                let verb = if old.is_some() { "replaced" } else { "created" };
                done.push(format!("{verb} {name}"));
                changes.push(Change::new(target.path, old, text.into_bytes()));
            }
            Action::Delete => {
                let old = target.taken_file()?;
                done.push(format!("removed {name}"));
                changes.push(Change::removal(target.path, old));
            }
            Action::Update { to, hunks } => {
                let old = match to {
                    Some(_) => target.taken_file()?,
                    None => target.text_file()?,
                };
                let patched = hunks::apply(&name, &old.bytes, &hunks).map_err(ToolError::Failed)?;
                if to.is_none() && patched.bytes == old.bytes {
                    let text = format!("the hunks leave {name} unchanged");
                    return Err(ToolError::Input(text));
                }
                let mut line = format!("changed {name}");
                if !patched.lines.is_empty() {
                    line.push_str(&format!(" at line {}", patched.lines.join(", ")));
                }
                if patched.differed {
                    line.push_str(
                        "; the patch differed from the file in white space, and was indented like the file",
                    );
                }
                if to.is_none() {
                    changes.push(Change::new(target.path, Some(old), patched.bytes));
                } else {
                    let target_of_move = next();
                    let replaced = target_of_move.existing()?;
                    line.push_str(&format!("; moved to {}", target_of_move.path.display()));
                    let (from, to) = ((target.path, old), (target_of_move.path, replaced));
                    changes.extend(Change::moved(from, to, patched.bytes));
                }
                done.push(line);
            }
        }
    }
    Ok((changes, done.join("\n")))
}
