//! `git_status` and `git_diff`: what has changed in the project. Read-only: no hook, no monitor, no filter of the
//! terminal's or of a diff's, no lock, and nothing is fetched.

use std::ffi::OsString;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use serde_json::Value;

use super::capture::Capture;
use super::place::{Place, Purpose};
use super::program::{Ended, Program};
use super::{Bench, Output, Running, Tool, ToolError, arguments};
use crate::model::ToolSpec;

const TIMEOUT: Duration = Duration::from_secs(60);

/// Before the subcommand.
const QUIET: [&str; 8] = [
    "--no-pager",
    "--literal-pathspecs",
    "-c",
    "core.hooksPath=/dev/null",
    "-c",
    "core.fsmonitor=false",
    "-c",
    "color.ui=false",
];

const ENVIRONMENT: [(&str, &str); 3] = [
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
    ("GIT_NO_LAZY_FETCH", "1"),
];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StatusArguments {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiffArguments {
    /// Only this file or directory.
    path: Option<String>,
    /// What is staged for the next commit, instead of what is not. Default: false.
    #[serde(default)]
    staged: bool,
    /// A commit or branch to compare with, or two as `a..b`. Default: the index.
    against: Option<String>,
}

#[derive(Debug)]
pub(super) struct GitStatus {
    spec: ToolSpec,
}

impl GitStatus {
    pub(super) fn new() -> Self {
        let description = "Shows the branch and the files of the project that are changed, staged or not yet known \
            to git, as `git status --short --branch` does.";
        Self {
            spec: arguments::spec::<StatusArguments>("git_status", description),
        }
    }
}

impl Tool for GitStatus {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let StatusArguments {} = arguments::parse(&self.spec, input)?;
            let args = ["status", "--short", "--branch", "--", "."];
            git(bench, args.map(OsString::from).into(), shown).await
        })
    }
}

#[derive(Debug)]
pub(super) struct GitDiff {
    spec: ToolSpec,
}

impl GitDiff {
    pub(super) fn new() -> Self {
        let description = "Shows what was changed in the project, as a unified diff. Files that git does not know \
            yet are not in it: git_status lists them.";
        Self {
            spec: arguments::spec::<DiffArguments>("git_diff", description),
        }
    }
}

impl Tool for GitDiff {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        true
    }

    fn run<'a>(
        &'a self,
        input: Value,
        bench: &'a Bench,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> Running<'a> {
        Box::pin(async move {
            let arguments: DiffArguments = arguments::parse(&self.spec, input)?;
            let mut args: Vec<OsString> = ["diff", "--no-ext-diff", "--no-textconv"]
                .map(OsString::from)
                .into();
            if arguments.staged {
                args.push("--staged".into());
            }
            if let Some(against) = arguments.against {
                if against.starts_with('-') || against.contains('\0') {
                    return Err(ToolError::Input(format!(
                        "`against`: {against:?} is no commit or branch"
                    )));
                }
                args.push(against.into());
            }
            let of = match arguments.path {
                Some(path) => Place::find(bench, &path, Purpose::Writing)?.path().into(),
                None => ".".into(),
            };
            let of = match bench.guard.is_empty() {
                true => vec![of],
                false => unguarded(bench, &args, of).await?,
            };
            if of.is_empty() {
                return Ok(unchanged());
            }
            args.push("--".into());
            args.extend(of);
            git(bench, args, shown).await
        })
    }
}

/// Which files such a diff would show that may simply be read.
async fn unguarded(
    bench: &Bench,
    args: &[OsString],
    of: OsString,
) -> Result<Vec<OsString>, ToolError> {
    let mut args = args.to_vec();
    let names = ["--name-only", "--relative", "--no-renames", "-z", "--"];
    args.extend(names.map(OsString::from));
    args.push(of);
    let names = run(bench, args, &|_| ()).await?;
    let names = names.split('\0').filter(|name| !name.is_empty());
    Ok(names
        .filter(|name| !bench.guard.covers(&bench.project.join(name)))
        .map(OsString::from)
        .collect())
}

fn unchanged() -> Output {
    Output {
        text: "(nothing has changed)".to_owned(),
        diff: None,
    }
}

/// # Errors
/// When git is not there, or did not do it.
async fn git(
    bench: &Bench,
    args: Vec<OsString>,
    shown: &(dyn Fn(&str) + Send + Sync),
) -> Result<Output, ToolError> {
    // Outside of a repository `git diff` would compare any two files.
    run(
        bench,
        vec!["rev-parse".into(), "--is-inside-work-tree".into()],
        &|_| (),
    )
    .await?;
    let text = run(bench, args, shown).await?;
    if text.is_empty() {
        return Ok(unchanged());
    }
    Ok(Output { text, diff: None })
}

async fn run(
    bench: &Bench,
    args: Vec<OsString>,
    shown: &(dyn Fn(&str) + Send + Sync),
) -> Result<String, ToolError> {
    // Whatever else of git's is set there could name programs to run or files to write.
    let of_git = |name: &OsString| name.to_string_lossy().starts_with("GIT_");
    let mut env = bench.env.clone();
    env.retain(|(name, _)| !of_git(name));
    env.extend(ENVIRONMENT.map(|(name, value)| (name.into(), value.into())));
    let args = QUIET.map(OsString::from).into_iter().chain(args).collect();
    let mut program = Program::start(None, "git".into(), args, env, bench.project.clone())
        .map_err(|error| ToolError::Failed(format!("git did not start: {error}")))?;
    let mut capture = Capture::new(bench);
    let ended = program
        .finish(Some(TIMEOUT), std::future::pending(), |bytes| {
            shown(&capture.push(bytes));
        })
        .await
        .map_err(|error| ToolError::Failed(format!("git was lost: {error}")))?;
    shown(&capture.end());
    let text = capture.take();
    if matches!(ended, Ended::Exited(status) if status.success()) {
        return Ok(text);
    }
    Err(ToolError::Failed(format!("{text}(git: {ended})")))
}
