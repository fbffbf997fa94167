//! `grep`: searches lines by a regular expression, with ripgrep's libraries.

use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use globset::GlobMatcher;
use grep_regex::{RegexMatcher, RegexMatcherBuilder};
use grep_searcher::{
    BinaryDetection, Searcher, SearcherBuilder, Sink, SinkContext, SinkFinish, SinkMatch,
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::adapter::{Access, Call, tool};
use crate::guard::Guard;
use crate::permission::Permission;
use crate::resolved_path::{Purpose, ResolvedPath, failed};
use crate::tool::{Tool, ToolError};
use crate::walk::{Deadline, files, pattern, with_deadline};

/// The default and the largest number of matching lines, or of files with a match.
const MATCHES: usize = 100;
const MATCHES_MAX: usize = 1000;

const CONTEXT_MAX: usize = 20;

/// The number of bytes of a line that are shown.
const LINE_MAX: usize = 500;

/// The largest line that can be searched, in bytes.
const HEAP_MAX: usize = 8 << 20;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// A regular expression in Rust's syntax.
    pattern: String,
    /// The file or directory to search. Default: the working directory.
    path: Option<String>,
    /// Only files whose paths match, such as `*.rs` or `src/**`.
    glob: Option<String>,
    /// Ignore case. Default: false.
    #[serde(default)]
    ignore_case: bool,
    /// Lines to show before and after each match. Default: 0; at most 20.
    #[serde(default)]
    context: usize,
    /// Show only the names of the files with a match. Default: false.
    #[serde(default)]
    files_only: bool,
    /// The largest number of matches or files to show. Default: 100; at most 1000.
    limit: Option<usize>,
}

pub(super) fn grep(permission: Permission) -> Box<dyn Tool> {
    let description = "Search the files of the project for a regular expression and show matching lines with line \
                       numbers. Binary files and files ignored by git are left out.";
    tool("grep", description, Access::Reads, permission, run)
}

async fn run(
    permission: &Permission,
    arguments: Arguments,
    call: Call<'_>,
) -> Result<String, ToolError> {
    let matcher = RegexMatcherBuilder::new()
        .case_insensitive(arguments.ignore_case)
        .line_terminator(Some(b'\n'))
        .build(&arguments.pattern)
        .map_err(|error| ToolError::Input(format!("`pattern`: {error}")))?;
    let glob = arguments.glob.as_deref();
    let glob = glob.map(|glob| pattern("glob", glob)).transpose()?;
    let given = arguments.path.as_deref().unwrap_or(".");
    let context = call.context;
    let resolved = ResolvedPath::find(context, given, Purpose::Reading)?;
    permission.ask_to_read(call, given, &resolved).await?;
    let search = Search {
        matcher,
        glob,
        context: arguments.context.min(CONTEXT_MAX),
        files_only: arguments.files_only,
        limit: arguments.limit.unwrap_or(MATCHES).clamp(1, MATCHES_MAX),
        room: context.output_max.saturating_sub(200),
        project: context.project.clone(),
        guard: context.guard.clone(),
    };
    with_deadline(move |deadline| search.run(&resolved, &deadline)).await
}

#[derive(Debug)]
struct Search {
    matcher: RegexMatcher,
    glob: Option<GlobMatcher>,
    context: usize,
    files_only: bool,
    /// The largest number of matching lines, or of files with a match, to show.
    limit: usize,
    /// The largest size of the result, in bytes.
    room: usize,
    project: PathBuf,
    guard: Guard,
}

impl Search {
    fn run(&self, resolved: &ResolvedPath, deadline: &Deadline) -> Result<String, ToolError> {
        let mut searcher = SearcherBuilder::new()
            .binary_detection(BinaryDetection::quit(0))
            .line_number(true)
            .before_context(self.context)
            .after_context(self.context)
            .heap_limit(Some(HEAP_MAX))
            .build();
        let mut shown = Matches {
            search: self,
            deadline,
            file: String::new(),
            text: String::new(),
            matches: 0,
            full: false,
        };
        let mut finished = true;
        if resolved.is_a_directory() {
            finished = files(resolved, &self.guard, deadline, |file| {
                let wanted = self.glob.as_ref();
                if wanted.is_some_and(|glob| !glob.is_match(&file.relative)) {
                    return ControlFlow::Continue(());
                }
                // Skip files that cannot be read, or that have a line longer than `HEAP_MAX`.
                if let Ok(opened) = file.open() {
                    shown.begin(&file.path);
                    let _unreadable = searcher.search_file(&self.matcher, &opened, &mut shown);
                }
                if shown.full {
                    ControlFlow::Break(())
                } else {
                    ControlFlow::Continue(())
                }
            })?;
        } else {
            let Some((file, _)) = resolved.open()? else {
                return Err(ToolError::Failed(format!(
                    "{} does not exist",
                    resolved.display()
                )));
            };
            shown.begin(&resolved.path());
            searcher
                .search_file(&self.matcher, &file, &mut shown)
                .map_err(|error| failed(&resolved.display(), &error))?;
        }
        let full = shown.full;
        let mut text = shown.text;
        if text.is_empty() {
            text.push_str("(no match)\n");
        }
        if full {
            text.push_str(
                "(there may be more matches: narrow the pattern, the path or the glob)\n",
            );
        } else if !finished || deadline.is_over() {
            text.push_str(
                "(the search is incomplete: it reached its time limit; restrict it with `path` or `glob`)\n",
            );
        }
        Ok(text)
    }
}

/// The result so far.
struct Matches<'a> {
    search: &'a Search,
    deadline: &'a Deadline,
    /// The file of the current matches.
    file: String,
    text: String,
    matches: usize,
    /// Whether the limit of matches, or of the result's size, is reached.
    full: bool,
}

impl Matches<'_> {
    fn begin(&mut self, path: &Path) {
        let path = path.strip_prefix(&self.search.project).unwrap_or(path);
        self.file = path.display().to_string();
    }

    fn line(&mut self, number: Option<u64>, mark: char, bytes: &[u8]) {
        let number = number.unwrap_or(0);
        let whole = bytes.len();
        let text = String::from_utf8_lossy(&bytes[..whole.min(LINE_MAX)]);
        let text = text.trim_end_matches(['\n', '\r']);
        let cut = if whole > LINE_MAX { " …" } else { "" };
        let before = self.text.len();
        let _infallible = writeln!(self.text, "{}{mark}{number}{mark}{text}{cut}", self.file);
        if self.text.len() > self.search.room {
            self.text.truncate(before);
            self.full = true;
        }
    }
}

impl Sink for Matches<'_> {
    type Error = io::Error;

    fn matched(&mut self, _searcher: &Searcher, found: &SinkMatch<'_>) -> io::Result<bool> {
        if self.full || self.matches == self.search.limit {
            self.full = true;
            return Ok(false);
        }
        self.matches += 1;
        if self.search.files_only {
            let before = self.text.len();
            let _infallible = writeln!(self.text, "{}", self.file);
            if self.text.len() > self.search.room {
                self.text.truncate(before);
                self.full = true;
            }
            return Ok(false);
        }
        self.line(found.line_number(), ':', found.bytes());
        Ok(!self.full && !self.deadline.is_over())
    }

    fn context(&mut self, _searcher: &Searcher, found: &SinkContext<'_>) -> io::Result<bool> {
        if !self.search.files_only {
            self.line(found.line_number(), '-', found.bytes());
        }
        Ok(!self.full && !self.deadline.is_over())
    }

    fn context_break(&mut self, _searcher: &Searcher) -> io::Result<bool> {
        self.text.push_str("--\n");
        Ok(true)
    }

    fn finish(&mut self, _searcher: &Searcher, _end: &SinkFinish) -> io::Result<()> {
        if self.search.context > 0
            && !self.search.files_only
            && !self.text.is_empty()
            && !self.text.ends_with("--\n")
        {
            self.text.push_str("--\n");
        }
        Ok(())
    }
}
