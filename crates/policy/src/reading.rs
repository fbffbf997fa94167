//! The built-in rule for reading: commands that only print files of the project, or what git knows about them. Called
//! by the judge, which also requires a sandbox, and checks the paths and the deny and ask rules.
//!
//! The tables list the options that are admitted; a command with any other option is not a reading command. Options
//! that write a file (`sort -o`), start a program (`rg --pre`, `find -exec`, `git diff --ext-diff`), read a list of
//! files or of patterns (`grep -f`, `wc --files0-from`) or follow links (`grep -R`) are not admitted. Git also starts
//! programs that a repository configures (fsmonitor, filters): [`Reading::starts_programs`].

use crate::program::{self, Form};

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Reading<'a> {
    /// Arguments that are, or may be, files.
    pub(crate) paths: Vec<&'a str>,
    /// Whether the program may start programs that the repository configures, so the project must be read-only.
    pub(crate) starts_programs: bool,
    /// Whether the command may print committed versions of files, which a sandbox cannot hide.
    pub(crate) prints_history: bool,
}

/// The arguments of a program that are not options.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Operands {
    None,
    /// Files, or revisions of git.
    Paths,
    /// A pattern, then files. If an option contains the pattern, or no pattern is needed, all operands are files.
    PatternAndPaths,
    /// Texts that are not opened as files.
    Texts,
}

/// A reading program, or a subcommand of git.
struct Reader {
    name: &'static str,
    /// Letters of options without a value.
    flags: &'static str,
    /// Letters of options with a value, in the same argument or in the next.
    values: &'static str,
    /// Other options. A value follows an option that ends with `=`.
    long: &'static [&'static str],
    operands: Operands,
}

const fn reader(
    name: &'static str,
    flags: &'static str,
    values: &'static str,
    long: &'static [&'static str],
    operands: Operands,
) -> Reader {
    Reader {
        name,
        flags,
        values,
        long,
        operands,
    }
}

use Operands::{None as NoOperand, Paths, PatternAndPaths, Texts};

const COLOUR: [&str; 2] = ["--color=never", "--color=auto"];

/// With this letter, or with one of these options, `grep` and `rg` use no operand as a pattern.
const PATTERN: char = 'e';
const PATTERN_OPTIONS: [&str; 2] = ["--regexp=", "--files"];

/// The reading programs. `diff` is missing because it follows links in directories, and `tree` because its bundled
/// options can name a file to write.
const PROGRAMS: &[Reader] = &[
    reader("basename", "", "", &[], Texts),
    reader("cat", "AbEenTtsuv", "", &["--number"], Paths),
    reader("cut", "s", "bcdf", &["--fields=", "--delimiter="], Paths),
    reader("dirname", "", "", &[], Texts),
    reader("du", "abchkms", "d", &["--max-depth="], Paths),
    reader("file", "bi", "", &["--brief", "--mime-type"], Paths),
    reader(
        "grep",
        "EFGHILPUabchilnoqrsvwxz",
        "ABCem",
        &[
            "--count",
            "--exclude-dir=",
            "--exclude=",
            "--extended-regexp",
            "--files-with-matches",
            "--fixed-strings",
            "--ignore-case",
            "--include=",
            "--invert-match",
            "--line-number",
            "--max-count=",
            "--only-matching",
            "--recursive",
            "--regexp=",
            "--word-regexp",
        ],
        PatternAndPaths,
    ),
    reader("head", "qv", "cn", &["--bytes=", "--lines="], Paths),
    reader(
        "ls",
        "1ABCFGNQRSUXabcdfghiklmnopqrstuvx",
        "",
        &[
            "--all",
            "--almost-all",
            "--classify",
            "--directory",
            "--full-time",
            "--group-directories-first",
            "--human-readable",
            "--recursive",
            "--reverse",
            "--sort=",
        ],
        Paths,
    ),
    reader("md5sum", "bt", "", &[], Paths),
    reader("nl", "", "b", &[], Paths),
    reader("realpath", "em", "", &[], Paths),
    reader(
        "rg",
        "0FHINPSUbchilnoqsuvwx",
        "ABCTegmt",
        &[
            "--count",
            "--files",
            "--files-with-matches",
            "--fixed-strings",
            "--glob=",
            "--heading",
            "--hidden",
            "--ignore-case",
            "--line-number",
            "--max-count=",
            "--multiline",
            "--no-heading",
            "--no-ignore",
            "--no-line-number",
            "--only-matching",
            "--regexp=",
            "--smart-case",
            "--type=",
            "--word-regexp",
        ],
        PatternAndPaths,
    ),
    reader("sha256sum", "bt", "", &[], Paths),
    reader(
        "sort",
        "MRVbcdfghimnrsuz",
        "kt",
        &["--key=", "--reverse", "--unique"],
        Paths,
    ),
    reader("stat", "t", "c", &["--format=", "--printf="], Paths),
    reader("tac", "", "", &[], Paths),
    reader("tail", "qv", "cn", &["--bytes=", "--lines="], Paths),
    reader("tr", "Ccdst", "", &["--delete"], Texts),
    // The second operand of `uniq` is a file that `uniq` writes.
    reader("uniq", "Dcdiuz", "fsw", &["--count"], NoOperand),
    reader("wc", "Lclmw", "", &["--bytes", "--lines", "--words"], Paths),
    reader("which", "a", "", &[], Texts),
];

/// The subcommands of git. All operands count as paths: with an operand outside the repository, `git diff` compares
/// files as with `--no-index`.
const GIT: &[Reader] = &[
    reader("blame", "efnsw", "L", &[], Paths),
    // An operand of `git branch` creates a branch.
    reader(
        "branch",
        "arv",
        "",
        &[
            "--all",
            "--list",
            "--remotes",
            "--show-current",
            "--verbose",
        ],
        NoOperand,
    ),
    reader("diff", "0123456789CMRUabpuwz", "GS", DIFF, Paths),
    reader("log", "0123456789CMRUabpuwz", "GLSn", LOG, Paths),
    reader(
        "ls-files",
        "cdmostz",
        "",
        &[
            "--cached",
            "--deleted",
            "--exclude-standard",
            "--modified",
            "--others",
            "--stage",
        ],
        Paths,
    ),
    reader(
        "rev-parse",
        "",
        "",
        &[
            "--abbrev-ref",
            "--git-dir",
            "--is-inside-work-tree",
            "--short",
            "--show-prefix",
            "--show-toplevel",
            "--verify",
        ],
        Paths,
    ),
    reader("show", "0123456789CMRUabpuwz", "GS", LOG, Paths),
    reader(
        "status",
        // `-v` is missing on purpose: it prints committed content.
        "bsuz",
        "",
        &[
            "--branch",
            "--ignored",
            "--long",
            "--porcelain",
            "--porcelain=",
            "--short",
            "--show-stash",
            "--untracked-files=",
            "-uall",
            "-uno",
        ],
        Paths,
    ),
];

const DIFF: &[&str] = &[
    "--cached",
    "--check",
    "--diff-filter=",
    "--find-renames",
    "--ignore-all-space",
    "--ignore-space-change",
    "--merge-base",
    "--name-only",
    "--name-status",
    "--no-color",
    "--no-ext-diff",
    "--no-renames",
    "--no-textconv",
    "--numstat",
    "--patch",
    "--raw",
    "--shortstat",
    "--staged",
    "--stat",
    "--stat=",
    "--summary",
    "--unified=",
    "--word-diff",
];

const LOG: &[&str] = &[
    "--abbrev-commit",
    "--after=",
    "--all",
    "--author=",
    "--before=",
    "--date=",
    "--decorate",
    "--diff-filter=",
    "--find-renames",
    "--first-parent",
    "--follow",
    "--format=",
    "--graph",
    "--grep=",
    "--max-count=",
    "--merges",
    "--name-only",
    "--name-status",
    "--no-color",
    "--no-decorate",
    "--no-ext-diff",
    "--no-merges",
    "--no-patch",
    "--no-textconv",
    "--numstat",
    "--oneline",
    "--patch",
    "--pretty",
    "--pretty=",
    "--reverse",
    "--shortstat",
    "--since=",
    "--stat",
    "--stat=",
    "--unified=",
    "--until=",
];

/// The subcommands of git that print no content of committed files.
const GIT_WITHOUT_CONTENT: [&str; 4] = ["branch", "ls-files", "rev-parse", "status"];

/// The tests and actions of `find`: without a value, and with a value.
const FIND: &[&str] = &[
    "!", "(", ")", "-a", "-and", "-depth", "-empty", "-false", "-ls", "-mount", "-not", "-o",
    "-or", "-print", "-print0", "-prune", "-true", "-xdev",
];
const FIND_VALUES: &[&str] = &[
    "-iname",
    "-ipath",
    "-iregex",
    "-maxdepth",
    "-mindepth",
    "-mmin",
    "-mtime",
    "-name",
    "-path",
    "-regex",
    "-size",
    "-type",
];

/// The names of all reading commands, for display.
pub fn reading_commands() -> Vec<String> {
    let programs = PROGRAMS.iter().map(|reader| reader.name.to_owned());
    let others = ["find", "sed -n"].map(str::to_owned);
    let git = GIT.iter().map(|reader| format!("git {}", reader.name));
    let mut names: Vec<String> = programs.chain(others).chain(git).collect();
    names.sort();
    names
}

/// The files that this command reads; `None` if it is not a reading command. A command whose program is given as a path
/// is not a reading command: a file of the project can have any name.
pub(crate) fn reading(argv: &[String]) -> Option<Reading<'_>> {
    let (program, args) = argv.split_first()?;
    let plain = |paths| Reading {
        paths,
        starts_programs: false,
        prints_history: false,
    };
    match program.as_str() {
        "git" => git(args),
        "find" => find(args).map(plain),
        // Only this form of `sed` is known to print and do nothing else.
        "sed" if program::form(argv) == Form::Plain => Some(plain(words(&args[2..]))),
        name => find_reader(PROGRAMS, name)?.operands(args).map(plain),
    }
}

fn find_reader(table: &'static [Reader], name: &str) -> Option<&'static Reader> {
    table.iter().find(|reader| reader.name == name)
}

fn words(args: &[String]) -> Vec<&str> {
    args.iter().map(String::as_str).collect()
}

fn git(args: &[String]) -> Option<Reading<'_>> {
    let (first, rest) = args.split_first()?;
    let (subcommand, args) = match first.as_str() {
        "--no-pager" => rest.split_first()?,
        _ => (first, rest),
    };
    let reader = find_reader(GIT, subcommand)?;
    Some(Reading {
        paths: reader.operands(args)?,
        starts_programs: true,
        prints_history: !GIT_WITHOUT_CONTENT.contains(&reader.name),
    })
}

/// The directories in the arguments of `find`.
fn find(args: &[String]) -> Option<Vec<&str>> {
    let begins_expression = |arg: &&String| arg.starts_with(['-', '(', ')', '!', ',']);
    let paths = args
        .iter()
        .take_while(|arg| !begins_expression(arg))
        .count();
    let mut rest = args[paths..].iter();
    while let Some(arg) = rest.next() {
        if FIND_VALUES.contains(&arg.as_str()) {
            rest.next()?;
        } else if !FIND.contains(&arg.as_str()) {
            return None;
        }
    }
    Some(words(&args[..paths]))
}

impl Reader {
    /// The arguments that may be files; `None` if one of the arguments is not admitted.
    fn operands<'a>(&self, args: &'a [String]) -> Option<Vec<&'a str>> {
        let mut operands = Vec::new();
        let mut has_pattern = self.operands == PatternAndPaths;
        let mut args = args.iter().map(String::as_str);
        while let Some(arg) = args.next() {
            if arg == "--" {
                operands.extend(args.by_ref());
            } else if arg == "-" || !arg.starts_with('-') {
                operands.push(arg);
            } else {
                let option = self.option(arg)?;
                if option.takes_next {
                    args.next()?;
                }
                has_pattern &= !option.gives_pattern;
            }
        }
        match self.operands {
            NoOperand if !operands.is_empty() => None,
            NoOperand | Texts => Some(Vec::new()),
            // `-` is the standard input, but counts as a path: a file of this name in the project is harmless.
            Paths | PatternAndPaths => {
                let first = usize::from(has_pattern).min(operands.len());
                Some(operands.split_off(first))
            }
        }
    }

    /// Parses an option; `None` if the option is not admitted.
    fn option(&self, arg: &str) -> Option<Parsed> {
        let is = |option: &str| match option.strip_suffix('=') {
            Some(name) => arg.strip_prefix(name).is_some_and(|it| it.starts_with('=')),
            None => arg == option,
        };
        if COLOUR.contains(&arg) || self.long.iter().any(|option| is(option)) {
            return Some(Parsed {
                takes_next: false,
                gives_pattern: PATTERN_OPTIONS.iter().any(|option| is(option)),
            });
        }
        let letters = arg
            .strip_prefix('-')
            .filter(|rest| !rest.starts_with('-'))?;
        let plain = Parsed {
            takes_next: false,
            gives_pattern: false,
        };
        // Accept a number of lines, such as `head -5`.
        let counts = self.values.contains(['A', 'n']);
        if counts && letters.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(plain);
        }
        for (at, letter) in letters.char_indices() {
            if self.values.contains(letter) {
                return Some(Parsed {
                    takes_next: at + letter.len_utf8() == letters.len(),
                    gives_pattern: letter == PATTERN,
                });
            }
            if !self.flags.contains(letter) {
                return None;
            }
        }
        Some(plain)
    }
}

/// An admitted option.
struct Parsed {
    /// Whether the value is the next argument.
    takes_next: bool,
    /// Whether no operand is a pattern.
    gives_pattern: bool,
}
