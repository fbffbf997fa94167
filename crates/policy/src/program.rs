//! Tables and checks of programs: programs that run other programs, that evaluate an argument as code, or that write
//! the files in their arguments. Called by the rules, the judge and the offers.
//!
//! A program that is not listed counts as plain: the author of its allow rule is responsible. An entry can only narrow
//! the calls that an allow rule covers. There is one exception: a rule for a command also covers the command after
//! `timeout`, `nice`, `nohup` and `stdbuf`. The lists of [`is_inert`] narrow the calls that deny and ask rules match.

mod options;
mod table;

use self::options::has_any;
use self::table::{
    BUILTINS, COMPILERS, DESTROYERS, EVALUATORS, GIT_BUILTINS, GIT_WRITES, INERT, INTERPRETERS,
    LINKERS, OPAQUE, OPTIONS, RESPONSE_FILES, RUNNERS, RUNNING, RUNS_INPUT, SHELLS, SUBCOMMANDS,
    WRITERS,
};

/// Effects of a command besides its program's own work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    Plain,
    /// The command runs an inner command, which begins at this argument. If `clear`, the outer command does not change
    /// the effect of the inner command, so a rule for the inner command is sufficient. Otherwise a rule must name both.
    Wraps {
        inner: usize,
        clear: bool,
    },
    /// The command evaluates an argument or its input as code, or has arguments that this table does not know: a prefix
    /// rule is not sufficient.
    Evaluates,
}

/// The file name of a program in lower case, because some file systems ignore case.
pub(crate) fn name(program: &str) -> String {
    let last = program.rsplit('/').next().unwrap_or(program);
    last.to_ascii_lowercase()
}

pub(crate) fn form<S: AsRef<str>>(argv: &[S]) -> Form {
    let Some(program) = argv.first() else {
        return Form::Evaluates;
    };
    let name = name(program.as_ref());
    let name = canonical(&name);
    let args: Vec<&str> = argv[1..].iter().map(AsRef::as_ref).collect();
    let first = args.first().copied();
    if BUILTINS.contains(&name) || EVALUATORS.contains(&name) || is_loader(name) {
        return Form::Evaluates;
    }
    if takes(name, &args) || is_selected(SUBCOMMANDS, name, first) {
        return Form::Evaluates;
    }
    if is_selected(RUNNING, name, first) {
        return after_options(&args, 1, |_| false);
    }
    match name {
        // After `-v`, bash evaluates the subscript of a variable name: `test -v 'a[$(x)]'`.
        "printf" | "test" | "[" if first == Some("-v") => Form::Evaluates,
        "sed" => sed(&args),
        "make" | "gmake" => make(&args),
        "git" => git(&args),
        "tar" | "bsdtar" => tar(&args, first),
        "timeout" | "gtimeout" => timeout(&args),
        "nice" => nice(&args),
        "nohup" => after_options(&args, 0, |_| false).cleared(),
        "stdbuf" => after_options(&args, 0, |option| {
            option.len() > 2 && ["-i", "-o", "-e"].iter().any(|of| option.starts_with(of))
        })
        .cleared(),
        _ if OPAQUE.contains(&name) => after_options(&args, 0, |_| false),
        _ if RUNNERS.contains(&name) => {
            after_options(&args, 0, |option| option == "-y" || option == "--yes")
        }
        _ if SHELLS.contains(&name) => script(first),
        _ if is_interpreter(name) => match (first, args.get(1)) {
            (Some("--version" | "-V"), None) => Form::Plain,
            (Some("-m"), Some(_)) if name.starts_with("py") => Form::Wraps {
                inner: 2,
                clear: false,
            },
            _ => script(first),
        },
        _ => Form::Plain,
    }
}

/// Whether the program writes, removes or replaces the files in its arguments.
pub(crate) fn writes(argv: &[String]) -> bool {
    let Some((program, args)) = argv.split_first() else {
        return false;
    };
    let name = name(program);
    match canonical(&name) {
        "git" => args.iter().any(|arg| GIT_WRITES.contains(&arg.as_str())),
        name => WRITERS.contains(&name),
    }
}

/// Whether the program treats its arguments only as data: it starts no other program, and no alias or plug-in changes
/// its behaviour. False for a program given as a path: a file of the project can have any name.
pub(crate) fn is_inert(argv: &[String]) -> bool {
    match argv {
        [program, _] if program == "cd" => true,
        [program, subcommand, ..] if program == "git" => {
            GIT_BUILTINS.contains(&subcommand.as_str()) && form(argv) == Form::Plain
        }
        [program, ..] => INERT.contains(&program.as_str()) && form(argv) == Form::Plain,
        [] => false,
    }
}

/// Whether the program runs its input as code, or may do so.
pub(crate) fn runs_input<S: AsRef<str>>(argv: &[S]) -> bool {
    let Some(program) = argv.first() else {
        return true;
    };
    let name = name(program.as_ref());
    let name = canonical(&name);
    let args: Vec<&str> = argv[1..].iter().map(AsRef::as_ref).collect();
    let first = args.first().copied();
    if SHELLS.contains(&name) || is_interpreter(name) {
        // An interpreter with code in its arguments reads its input as data; a shell's code may read the input as code.
        let code = !SHELLS.contains(&name) && has_any(&args, &["-c", "-e", "-m", "-r"]);
        return script(first) == Form::Evaluates && !code;
    }
    if RUNS_INPUT.contains(&name) || BUILTINS.contains(&name) {
        return true;
    }
    match form(argv) {
        Form::Plain => false,
        Form::Wraps { inner, .. } => runs_input(&argv[inner..]),
        Form::Evaluates => args.iter().any(|arg| {
            if *arg == "-" {
                return true;
            }
            let name = self::name(arg);
            let name = canonical(&name);
            SHELLS.contains(&name) || OPAQUE.contains(&name) || RUNS_INPUT.contains(&name)
        }),
    }
}

/// Whether the program may run another program's output.
pub(crate) fn evaluates<S: AsRef<str>>(argv: &[S]) -> bool {
    match form(argv) {
        Form::Plain => false,
        Form::Evaluates => true,
        Form::Wraps { inner, .. } => evaluates(&argv[inner..]),
    }
}

/// The name of a program in the tables, without a version. All compilers are `cc` and all linkers are `ld`, with or
/// without a target in the name.
fn canonical(name: &str) -> &str {
    let versionless = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.' || c == '-');
    let last = versionless.rsplit('-').next().unwrap_or(versionless);
    if COMPILERS.contains(&last) {
        return "cc";
    }
    if LINKERS.contains(&name) || LINKERS.contains(&last) {
        return "ld";
    }
    if versionless.is_empty() || is_known(name) {
        return name;
    }
    if is_known(versionless) {
        versionless
    } else {
        name
    }
}

fn is_known(name: &str) -> bool {
    let sets = [
        BUILTINS,
        EVALUATORS,
        OPAQUE,
        RUNNERS,
        SHELLS,
        INTERPRETERS,
        RUNS_INPUT,
        WRITERS,
        INERT,
    ];
    let tables = [OPTIONS, RUNNING, SUBCOMMANDS];
    sets.iter().any(|set| set.contains(&name))
        || tables.iter().any(|table| of(table, name).is_some())
}

/// The dynamic loader, which starts the program in its arguments.
fn is_loader(name: &str) -> bool {
    name == "ld.so"
        || ["ld-linux", "ld-musl", "ld64.so"]
            .iter()
            .any(|of| name.starts_with(of))
}

/// Whether the first argument of the program is a program or script that it runs.
pub(crate) fn runs_files(program: &str) -> bool {
    let name = name(program);
    SHELLS.contains(&canonical(&name)) || is_interpreter(&name)
}

/// Whether a prefix rule for these words would allow more than the user can intend.
pub(crate) fn is_too_wide<S: AsRef<str>>(words: &[S]) -> bool {
    let Some(program) = words.first() else {
        return true;
    };
    let name = name(program.as_ref());
    let name = canonical(&name);
    DESTROYERS.contains(&name)
        || WRITERS.contains(&name)
        || runs_files(name)
        || form(words) != Form::Plain
        || !may_be_plain(words)
}

/// Whether some command with this prefix can be allowed by a prefix rule.
pub(crate) fn may_be_plain<S: AsRef<str>>(words: &[S]) -> bool {
    // Sample arguments with which a program that often runs other programs is a plain command.
    let suffixes: [&[&str]; 5] = [&[], &["x"], &["-n", "1p"], &["1", "x"], &["x", "x"]];
    suffixes.iter().any(|suffix| {
        let argv: Vec<&str> = words
            .iter()
            .map(AsRef::as_ref)
            .chain(suffix.iter().copied())
            .collect();
        reaches(words.len(), &argv)
    })
}

/// Whether a prefix of this many words contains every program that the command runs.
pub(crate) fn reaches<S: AsRef<str>>(words: usize, argv: &[S]) -> bool {
    match form(argv) {
        Form::Plain => words > 0,
        Form::Evaluates => false,
        Form::Wraps { inner, .. } => words > inner && reaches(words - inner, &argv[inner..]),
    }
}

impl Form {
    fn cleared(self) -> Form {
        match self {
            Form::Wraps { inner, .. } => Form::Wraps { inner, clear: true },
            Form::Plain | Form::Evaluates => self,
        }
    }
}

/// The form of a command whose inner command follows after `skip` arguments and the `known` options. After any other
/// option, the form is [`Form::Evaluates`].
fn after_options(args: &[&str], skip: usize, known: impl Fn(&str) -> bool) -> Form {
    let rest = args.get(skip..).unwrap_or_default();
    let options = rest.iter().take_while(|word| known(word)).count();
    wraps(args, skip + options)
}

/// The form of a command whose inner command begins at this argument. If this argument is missing, an option or an
/// assignment, the form is [`Form::Evaluates`].
fn wraps(args: &[&str], at: usize) -> Form {
    match args.get(at) {
        Some(word) if !word.starts_with(['-', '+']) && !word.contains('=') => Form::Wraps {
            inner: at + 1,
            clear: false,
        },
        _ => Form::Evaluates,
    }
}

fn timeout(args: &[&str]) -> Form {
    let mut at = 0;
    while let Some(word) = args.get(at) {
        match *word {
            "-k" | "-s" | "--kill-after" | "--signal" => at += 2,
            "--foreground" | "--preserve-status" | "-v" | "--verbose" => at += 1,
            word if word.starts_with("--kill-after=") || word.starts_with("--signal=") => at += 1,
            _ => break,
        }
    }
    let is_duration = |word: &&&str| {
        let number = word.trim_end_matches(['s', 'm', 'h', 'd']);
        !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit() || b == b'.')
    };
    match args.get(at).filter(is_duration) {
        Some(_) => wraps(args, at + 1).cleared(),
        None => Form::Evaluates,
    }
}

fn nice(args: &[&str]) -> Form {
    let is_number = |word: &str| {
        let digits = word.strip_prefix('-').unwrap_or(word);
        !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
    };
    let at = match args {
        ["-n" | "--adjustment", level, ..] if is_number(level) => 2,
        [level, ..] if level.starts_with('-') && is_number(level) => 1,
        [level, ..] if level.strip_prefix("--adjustment=").is_some_and(is_number) => 1,
        _ => 0,
    };
    wraps(args, at).cleared()
}

/// The form of a sed command. Only commands such as `sed -n 5p` and `sed -n 5,9p` are known to print and do nothing
/// else.
fn sed(args: &[&str]) -> Form {
    let prints = |script: &str| {
        script.strip_suffix('p').is_some_and(|lines| {
            !lines.is_empty() && lines.bytes().all(|b| b.is_ascii_digit() || b == b',')
        })
    };
    match args {
        ["-n", script, files @ ..]
            if prints(script) && !files.iter().any(|file| file.starts_with('-')) =>
        {
            Form::Plain
        }
        _ => Form::Evaluates,
    }
}

fn make(args: &[&str]) -> Form {
    /// Options for another makefile, another directory, or rules in the argument itself.
    const RULES: &[&str] = &[
        "-C",
        "-E",
        "-I",
        "-f",
        "--directory",
        "--eval",
        "--file",
        "--include-dir",
        "--makefile",
    ];
    let is_variable = |word: &&str| !word.starts_with('-') && word.contains('=');
    if has_any(args, RULES) || args.iter().any(is_variable) {
        return Form::Evaluates;
    }
    Form::Plain
}

/// The form of a git command. Options before the subcommand change the program that git runs and the repository; a
/// remote can contain a command.
fn git(args: &[&str]) -> Form {
    let args = args.strip_prefix(&["--no-pager"]).unwrap_or(args);
    let subcommand = args.first().copied();
    let before = match subcommand {
        Some("--version" | "--help") | None => false,
        Some(word) => word.starts_with('-'),
    };
    let letters: &[&str] = match subcommand {
        Some("rebase") => &["-x"],
        Some("grep") => &["-O"],
        Some("clone" | "init") => &["-c", "-u"],
        Some("archive") => &["-o"],
        _ => &[],
    };
    let runs = has_any(args, letters) || args.iter().any(|word| word.contains("ext::"));
    if before || runs || is_selected(SUBCOMMANDS, "git", subcommand) {
        return Form::Evaluates;
    }
    Form::Plain
}

/// The form of a tar command. The first word can combine options, with or without a dash.
fn tar(args: &[&str], first: Option<&str>) -> Form {
    let letters = first.is_some_and(|word| !word.starts_with("--") && word.contains(['I', 'F']));
    if letters || has_any(args, &["-I", "-F"]) || takes("tar", args) {
        return Form::Evaluates;
    }
    Form::Plain
}

/// The form of a shell or interpreter: plain if its first argument is a script. Without a script, the argument is
/// missing or is an option, and the program evaluates code.
fn script(first: Option<&str>) -> Form {
    match first {
        Some(word) if !word.starts_with(['-', '+']) && !word.is_empty() => Form::Plain,
        _ => Form::Evaluates,
    }
}

/// Whether the program is a script interpreter. Its name may contain a version, such as `python3.12`.
fn is_interpreter(name: &str) -> bool {
    INTERPRETERS.contains(&canonical(name))
}

fn is_selected(table: &[(&str, &[&str])], name: &str, first: Option<&str>) -> bool {
    let has_first = |words: &&[&str]| first.is_some_and(|word| words.contains(&word));
    of(table, name).is_some_and(|words| has_first(&words))
}

/// Whether the arguments contain an option of the table, or name a file from which the program reads options.
fn takes(name: &str, args: &[&str]) -> bool {
    let response_file =
        RESPONSE_FILES.contains(&name) && args.iter().any(|arg| arg.starts_with('@'));
    response_file || of(OPTIONS, name).is_some_and(|options| has_any(args, options))
}

fn of<'a>(table: &[(&str, &'a [&'a str])], name: &str) -> Option<&'a [&'a str]> {
    table
        .iter()
        .find(|(program, _)| *program == name)
        .map(|(_, words)| *words)
}
