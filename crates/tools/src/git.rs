//! `git_status` and `git_diff`: the changes in the project.
//!
//! Git runs programs that a repository configures: hooks, filters, monitors, pagers, diff drivers. Members can write to
//! the repository, so git runs in the sandbox with a read-only project and without network; without a sandbox, the call
//! needs permission as a shell command does. In addition, settings that name programs are overridden here, and git
//! (since 2.41) does not read the attributes of the project, so that no filter of the project applies.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::adapter::{Access, Call, Progress, tool};
use crate::capture::Capture;
use crate::confine::{ActiveSandbox, Confinement};
use crate::context::ToolContext;
use crate::permission::{Permission, Permit};
use crate::program::{Program, ProgramEnd, find_outside};
use crate::resolved_path::{Purpose, ResolvedPath};
use crate::tool::{Tool, ToolError};

const TIMEOUT: Duration = Duration::from_secs(60);

/// The largest size of a list of files, in bytes.
const LIST_MAX: usize = 8 << 20;

/// Settings that override the settings of the repository and of the user.
const SETTINGS: [&str; 8] = [
    "core.attributesFile=/dev/null",
    "core.fsmonitor=false",
    "core.hooksPath=/dev/null",
    "core.pager=cat",
    "color.ui=false",
    "diff.ignoreSubmodules=all",
    "protocol.allow=never",
    "submodule.recurse=false",
];

const ENVIRONMENT: [(&str, &str); 4] = [
    ("GIT_ATTR_NOSYSTEM", "1"),
    ("GIT_NO_LAZY_FETCH", "1"),
    ("GIT_OPTIONAL_LOCKS", "0"),
    ("GIT_TERMINAL_PROMPT", "0"),
];

/// The same settings as environment variables, for a `git` that a shell starts. In addition, git may not use a bare
/// repository within the project: its `config` is an ordinary file of the project, which can name programs.
pub(crate) fn settings_of_environment() -> Vec<(OsString, OsString)> {
    let bare = ["safe.bareRepository=explicit"];
    let settings = SETTINGS.iter().chain(&bare);
    let settings: Vec<_> = settings
        .filter_map(|setting| setting.split_once('='))
        .collect();
    let mut variables = vec![("GIT_CONFIG_COUNT".into(), settings.len().to_string().into())];
    for (number, (key, value)) in settings.into_iter().enumerate() {
        variables.push((format!("GIT_CONFIG_KEY_{number}").into(), key.into()));
        variables.push((format!("GIT_CONFIG_VALUE_{number}").into(), value.into()));
    }
    variables.extend(ENVIRONMENT.map(|(name, value)| (name.into(), value.into())));
    variables
}

/// Adds the option that prevents `git diff` in a shell line from running the program in `diff.external`. A setting
/// cannot prevent this: with an empty value, git runs a program with an empty name.
pub(crate) fn without_external_diff(argv: &mut Vec<String>) {
    let words: Vec<_> = argv.iter().take(3).map(String::as_str).collect();
    let subcommand = match words[..] {
        ["git", "diff", ..] => 1,
        ["git", "--no-pager", "diff"] => 2,
        _ => return,
    };
    argv.insert(subcommand + 1, "--no-ext-diff".to_owned());
}

/// The variable that names the tree from which attributes are read; supported since git 2.41.
const ATTRIBUTES: &str = "GIT_ATTR_SOURCE";

/// The empty tree, by the repository's object format. Every repository has it.
const EMPTY_TREES: [(&str, &str); 2] = [
    ("sha1", "4b825dc642cb6eb9a060e54bf8d69288fbee4904"),
    (
        "sha256",
        "6ef19b41225c5369f1c104d45d8d85efa9b057b53b14b4b9b939dd74decc5321",
    ),
];

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct StatusArguments {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct DiffArguments {
    /// Only this file or directory.
    path: Option<String>,
    /// Show staged changes instead of unstaged ones. Default: false.
    #[serde(default)]
    staged: bool,
    /// A commit or branch to compare with, or two as `a..b`. Default: the index; with `staged`: HEAD.
    against: Option<String>,
}

pub(super) fn tools(
    permission: Permission,
    confinement: Option<Arc<Confinement>>,
) -> [Box<dyn Tool>; 2] {
    let runner = Runner {
        permission,
        confinement,
    };
    [
        tool(
            "git_status",
            "Show the branch and the changed, staged and untracked files of the project, like `git status --short \
             --branch`.",
            Access::Reads,
            runner.clone(),
            status,
        ),
        tool(
            "git_diff",
            "Show the changes in the project as a unified diff. Untracked files are not included: call git_status to \
             list them.",
            Access::Reads,
            runner,
            diff,
        ),
    ]
}

async fn status(
    runner: &Runner,
    _arguments: StatusArguments,
    call: Call<'_>,
) -> Result<String, ToolError> {
    let git = runner.open(call).await?;
    let args = ["status", "--short", "--branch", "--ignore-submodules=all"];
    let args = args.into_iter().chain(["--", "."]).map(OsString::from);
    Ok(changes(git.run(args.collect(), call.progress).await?))
}

async fn diff(
    runner: &Runner,
    arguments: DiffArguments,
    call: Call<'_>,
) -> Result<String, ToolError> {
    // Use `Writing`: `Reading` also permits stored outputs, which are not in the repository.
    let path = match &arguments.path {
        Some(path) => ResolvedPath::find(call.context, path, Purpose::Writing)?
            .path()
            .into(),
        None => ".".into(),
    };
    let git = runner.open(call).await?;
    let mut args: Vec<OsString> = ["diff", "--no-ext-diff", "--no-textconv"]
        .map(OsString::from)
        .into();
    args.push("--ignore-submodules=all".into());
    if arguments.staged {
        args.push("--staged".into());
    }
    if let Some(against) = arguments.against {
        args.push(git.commits(&against).await?.into());
    }
    let paths = match call.context.guard.is_empty() {
        true => vec![path],
        false => git.unguarded(&args, path).await?,
    };
    if paths.is_empty() {
        return Ok(changes(String::new()));
    }
    args.push("--".into());
    args.extend(paths);
    Ok(changes(git.run(args, call.progress).await?))
}

fn changes(text: String) -> String {
    match text.is_empty() {
        true => "(no changes)".to_owned(),
        false => text,
    }
}

#[derive(Debug, Clone)]
struct Runner {
    permission: Permission,
    /// `None`: the member's programs run without a sandbox.
    confinement: Option<Arc<Confinement>>,
}

struct Git<'a> {
    context: &'a ToolContext,
    sandbox: Option<ActiveSandbox>,
    program: PathBuf,
    /// The tree from which attributes are read. `None`: not determined yet, or unknown because git is older than 2.29.
    attributes: Option<&'static str>,
    _permit: Option<Permit>,
}

impl Runner {
    /// Finds the sandbox, git and the repository. Requests permission if there is no sandbox.
    async fn open<'a>(&'a self, call: Call<'a>) -> Result<Git<'a>, ToolError> {
        let context = call.context;
        let sandbox = match &self.confinement {
            Some(confinement) => confinement
                .sandbox()
                .await
                .ok()
                .map(ActiveSandbox::read_only),
            None => None,
        };
        let permit = match &sandbox {
            Some(_) => None,
            None => Some(self.permission.ask(call, call.input, None).await?),
        };
        // A directory of the project could contain a program called `git`.
        let path = context.variable("PATH").unwrap_or_default();
        let program = find_outside(&context.project, OsStr::new(path), "git")
            .ok_or_else(|| ToolError::Failed("cannot run git: not found on PATH".to_owned()))?;
        let mut git = Git {
            context,
            sandbox,
            program,
            attributes: None,
            _permit: permit,
        };
        // This command fails outside a repository, where `git diff` would compare any two files.
        let args = ["rev-parse", "--is-inside-work-tree", "--show-object-format"];
        let answer = git.run(args.map(OsString::from).into(), &|_| ()).await?;
        let format = answer.lines().nth(1).unwrap_or_default();
        let tree = EMPTY_TREES.iter().find(|(known, _)| *known == format);
        git.attributes = match tree {
            Some((_, tree)) => Some(*tree),
            // Git before 2.29 prints the unknown option instead of a format.
            None if format.starts_with("--") => None,
            None => {
                let text = format!("git's object format {format:?} is not supported");
                return Err(ToolError::Failed(text));
            }
        };
        Ok(git)
    }
}

impl Git<'_> {
    /// Resolves `against` to the id of a commit, or to a range `a..b` or `a...b` of ids. Other arguments of `git diff`,
    /// such as `HEAD:file`, could show a file that a rule denies.
    async fn commits(&self, against: &str) -> Result<String, ToolError> {
        for dots in ["...", ".."] {
            if let Some((from, to)) = against.split_once(dots) {
                let (from, to) = (self.commit(from, against), self.commit(to, against));
                return Ok(format!("{}{dots}{}", from.await?, to.await?));
            }
        }
        self.commit(against, against).await
    }

    async fn commit(&self, name: &str, against: &str) -> Result<String, ToolError> {
        let name = match name {
            // As in git, one side of a range may be empty.
            "" if name.len() < against.len() => "HEAD",
            name => name,
        };
        let unknown = || ToolError::Input(format!("`against`: {name:?} is not a commit or branch"));
        if name.is_empty() || name.starts_with('-') || name.contains('\0') {
            return Err(unknown());
        }
        let mut args: Vec<OsString> = ["rev-parse", "--verify", "--quiet", "--end-of-options"]
            .map(OsString::from)
            .into();
        args.push(format!("{name}^{{commit}}").into());
        let id = self.run(args, &|_| ()).await.map_err(|_| unknown())?;
        let id = id.trim();
        match !id.is_empty() && id.chars().all(|c| c.is_ascii_hexdigit()) {
            true => Ok(id.to_owned()),
            false => Err(unknown()),
        }
    }

    /// The files of the diff that may be read without permission. A file that was renamed or copied from a guarded file
    /// is left out too: it has the content of the guarded file.
    async fn unguarded(
        &self,
        args: &[OsString],
        path: OsString,
    ) -> Result<Vec<OsString>, ToolError> {
        let mut args = args.to_vec();
        let names = [
            "--name-status",
            "--relative",
            "--find-renames",
            "--find-copies",
            "-z",
            "--",
        ];
        args.extend(names.map(OsString::from));
        args.push(path);
        let list = self.bytes(args).await?;
        let list = String::from_utf8_lossy(&list);
        let mut words = list.split_terminator('\0');
        let mut names = Vec::new();
        while let (Some(status), Some(name)) = (words.next(), words.next()) {
            // Unexpected output, such as a warning: stop instead of guessing.
            if !status.starts_with(|c: char| "ABCDMRTUX".contains(c)) || status.len() > 4 {
                let text = format!("cannot read git's list of files at {status:?}");
                return Err(ToolError::Failed(text));
            }
            // For a rename or a copy, git prints both names.
            let new = match status.starts_with(['R', 'C']) {
                true => words.next(),
                false => None,
            };
            let names_of_file = [name].into_iter().chain(new);
            let is_guarded = |name| self.context.guard.covers(&self.context.project.join(name));
            if !names_of_file.clone().any(is_guarded) {
                names.extend(names_of_file);
            }
        }
        Ok(names.into_iter().map(OsString::from).collect())
    }

    /// Runs git and returns its output as text for the model and the user.
    ///
    /// # Errors
    /// If git cannot be started or fails.
    async fn run(&self, args: Vec<OsString>, progress: Progress<'_>) -> Result<String, ToolError> {
        let mut capture = Capture::new(self.context);
        let ended = self
            .follow(args, |bytes| progress(&capture.push(bytes)))
            .await?;
        progress(&capture.end());
        let text = capture.take();
        match matches!(ended, ProgramEnd::Exited(status) if status.success()) {
            true => Ok(text),
            false => Err(ToolError::Failed(format!("{text}(git: {ended})"))),
        }
    }

    /// Runs git and returns its raw output.
    ///
    /// # Errors
    /// If git cannot be started or fails, or prints more than [`LIST_MAX`] bytes.
    async fn bytes(&self, args: Vec<OsString>) -> Result<Vec<u8>, ToolError> {
        let mut printed = Vec::new();
        let ended = self.follow(args, |bytes| {
            let room = (LIST_MAX + 1).saturating_sub(printed.len());
            printed.extend_from_slice(&bytes[..bytes.len().min(room)]);
        });
        let ended = ended.await?;
        let is_done = matches!(ended, ProgramEnd::Exited(status) if status.success());
        match is_done && printed.len() <= LIST_MAX {
            true => Ok(printed),
            false => Err(ToolError::Failed(format!(
                "cannot list the files of the diff (git: {ended}): restrict the diff with `path`"
            ))),
        }
    }

    async fn follow(
        &self,
        args: Vec<OsString>,
        on_output: impl FnMut(&[u8]),
    ) -> Result<ProgramEnd, ToolError> {
        // Other `GIT_` variables could name programs to run or files to write.
        let of_git = |name: &OsString| name.to_string_lossy().starts_with("GIT_");
        let mut env = self.context.env.clone();
        env.retain(|(name, _)| !of_git(name));
        env.extend(ENVIRONMENT.map(|(name, value)| (name.into(), value.into())));
        env.extend(self.attributes.map(|tree| (ATTRIBUTES.into(), tree.into())));
        let mut all: Vec<OsString> = vec!["--no-pager".into(), "--literal-pathspecs".into()];
        all.extend(
            SETTINGS
                .iter()
                .flat_map(|setting| ["-c".into(), setting.into()]),
        );
        all.extend(args);
        let (program, cwd) = (self.program.clone(), self.context.project.clone());
        let mut program = Program::start(self.sandbox.clone(), program, all, env, cwd)
            .await
            .map_err(|error| ToolError::Failed(format!("cannot start git: {error}")))?;
        let finished = program.finish(Some(TIMEOUT), std::future::pending(), on_output);
        let finished = finished.await;
        finished.map_err(|error| ToolError::Failed(format!("cannot wait for git: {error}")))
    }
}
