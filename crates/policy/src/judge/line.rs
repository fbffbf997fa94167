//! Evaluates a bash line: each command, each redirection, each path. Called by the judge.

use std::path::{Component, Path};

use agent_team_protocol::request::{Containment, RunnableView};

use super::{Changes, Findings, Judge, Part, PartAction, Reason, why};
use crate::call::{join, leading_cds, paths_in};
use crate::pattern::{CommandContext, Reach};
use crate::program::{self, Form};
use crate::reading::reading;
use crate::rule::Rule;
use crate::rule_book::{Entry, RuleKind};
use crate::shell::{self, Command, Pipeline, Target};
use crate::words;

/// Programs that only print or return a status, regardless of their arguments.
const PRINTING: &[&str] = &["echo", "false", "pwd", "true"];

/// Why the built-in rule for printing allows a command.
const PRINTS: &str = "it only prints";

/// Why the built-in rule for reading allows a command.
const READS: &str = "it only reads the project";

/// The containment that Landlock lacks, as reasons of requests.
const STARTS_PROGRAMS: &str = "the sandbox here cannot contain the programs that a repository configures for git; bubblewrap can";
const CANNOT_HIDE: &str =
    "the sandbox here cannot hide the files of the rules for `Read`; bubblewrap can";

const NULL: &str = "/dev/null";

/// In these functions, `to` is the directory that the leading `cd`s of the line lead to, relative to the call's
/// directory.
impl Judge<'_> {
    /// The parts of a line, and how to execute the line if all parts are allowed.
    pub(super) fn line(&self, text: &str) -> (Vec<Part>, Option<RunnableView>) {
        let line = match shell::read(text.as_bytes()) {
            Ok(line) => line,
            Err(complex) => return (vec![self.complex(text, complex.why)], None),
        };
        let Some((to, cds)) = leading_cds(&line) else {
            let why = "a `cd` in another form than `cd DIRECTORY &&` at the start";
            return (vec![self.complex(text, why)], None);
        };
        let mut parts = Vec::new();
        if !self.call.directory.is_inside(self.context) {
            let mut findings = Findings::new(Changes::Anything);
            findings.complex = Some("a directory outside the project");
            parts.push(self.part(PartAction::Text(text.to_owned()), findings));
        }
        for pipeline in &line.pipelines[..cds] {
            parts.push(self.cd(&pipeline.commands[0], to.as_deref()));
        }
        let read = |command: &Command| self.reads(command, to.as_deref(), true);
        let only_reads = only_reads(&line.pipelines[cds..], read);
        // Whether the line would run without a decision in a sandbox with more containment.
        let is_reading = |command: &Command| self.is_reading(command, to.as_deref(), true);
        let would_read = !only_reads && self::only_reads(&line.pipelines[cds..], is_reading);
        let mut pipelines = line.pipelines[cds..].to_vec();
        for pipeline in &mut pipelines {
            for index in 0..pipeline.commands.len() {
                let (before, later) = pipeline.commands.split_at(index + 1);
                let command = &before[index];
                let fed = index > 0
                    || command
                        .redirects
                        .iter()
                        .any(|redirect| matches!(redirect.to, Target::Read(_)));
                let in_line = CommandContext {
                    piped: index > 0,
                    fed,
                    after_cd: cds > 0,
                    evaluated: later.iter().any(|it| program::evaluates(&it.argv)),
                };
                let reads = self.reads(command, to.as_deref(), only_reads);
                let uncontained = would_read.then(|| self.uncontained(command)).flatten();
                let part = self.command(command, to.as_deref(), in_line, reads, uncontained);
                let built_in = matches!(part.why, Reason::BuiltIn(READS | PRINTS));
                parts.push(part);
                parts.extend(self.redirects(command, to.as_deref()));
                pipeline.commands[index].built_in = built_in;
            }
        }
        let directory = match &to {
            Some(to) => self.call.path_of(to),
            None => self.call.directory.clone(),
        };
        let read_by_rule = |part: &Part| part.why == Reason::BuiltIn(READS);
        let run = RunnableView {
            directory: directory.resolved,
            pipelines,
            reads_only: only_reads && parts.iter().any(read_by_rule),
        };
        (parts, Some(run))
    }

    /// A text that only bash can interpret. Deny and ask rules match its words.
    fn complex(&self, text: &str, reason: &'static str) -> Part {
        let words = words::of_arguments(&[text]);
        let find = |kind| {
            self.book
                .find(kind, |rule| rule.catches_text(text))
                .or_else(|| self.find_path(kind, None, &words, true))
                .map(why)
        };
        let mut findings = Findings::new(Changes::Anything);
        findings.deny = find(RuleKind::Deny);
        findings.ask = find(RuleKind::Ask);
        findings.protected = words
            .iter()
            .any(|word| self.call.path_of(word).is_protected(self.context));
        findings.complex = Some(reason);
        // The text can spell the words of a rule in a way that only bash understands.
        findings.contained =
            self.contains_commands() && !self.book.restricts(Rule::is_about_commands);
        self.part(PartAction::Text(text.to_owned()), findings)
    }

    /// Whether the built-in rule for reading allows the command. `read_only`: whether the project is read-only while
    /// the command runs.
    fn reads(&self, command: &Command, to: Option<&str>, read_only: bool) -> bool {
        self.is_reading(command, to, read_only)
            && self.contains_reading()
            && self.uncontained(command).is_none()
    }

    /// The containment that the sandbox of the call lacks for a command that only reads.
    fn uncontained(&self, command: &Command) -> Option<&'static str> {
        let reading = reading(&command.argv)?;
        let runs_read_only = self.call.confined && self.call.containment >= Containment::ReadOnly;
        if !runs_read_only || self.hides_files() {
            return None;
        }
        if reading.starts_programs {
            return Some(STARTS_PROGRAMS);
        }
        let restricted = self.book.restricts(Rule::is_about_reading);
        restricted.then_some(CANNOT_HIDE)
    }

    /// Whether the command only reads, if the sandbox contains it.
    fn is_reading(&self, command: &Command, to: Option<&str>, read_only: bool) -> bool {
        let Some(reading) = reading(&command.argv) else {
            return false;
        };
        let is_inside = |path: &&str| {
            let path = join(to, path);
            // The kernel applies `..` to the target of a link, not to the directory that contains the link.
            let goes_up = Path::new(&*path)
                .components()
                .any(|part| part == Component::ParentDir);
            let known = self.call.known(&path).filter(|_| !goes_up);
            known.is_some_and(|call_path| call_path.is_inside(self.context))
        };
        // In a line with a command that may write, only filters such as `head -5` count as reading.
        let is_filter = reading.paths.is_empty() && !reading.starts_programs;
        (read_only || is_filter)
            && !(reading.prints_history && self.book.restricts(Rule::is_about_reading))
            && reading.paths.iter().all(is_inside)
    }

    fn cd(&self, command: &Command, to: Option<&str>) -> Part {
        let known = to.and_then(|to| self.call.known(to));
        let mut findings = Findings::new(Changes::Nothing);
        let in_line = CommandContext::default();
        findings.deny = self.forbids(RuleKind::Deny, command, to, in_line);
        findings.ask = self.forbids(RuleKind::Ask, command, to, in_line);
        if known.is_some_and(|call_path| call_path.is_inside(self.context)) {
            findings.allow = Some(Reason::BuiltIn("it stays in the project"));
        }
        self.part(PartAction::Command(command.argv.clone()), findings)
    }

    fn command(
        &self,
        command: &Command,
        to: Option<&str>,
        in_line: CommandContext,
        reads: bool,
        uncontained: Option<&'static str>,
    ) -> Part {
        let argv = &command.argv;
        let only_prints = PRINTING.contains(&argv[0].as_str());
        let mut findings = Findings::new(if only_prints || reads {
            Changes::Nothing
        } else {
            Changes::Anything
        });
        findings.deny = self.forbids(RuleKind::Deny, command, to, in_line);
        findings.ask = self.forbids(RuleKind::Ask, command, to, in_line);
        findings.complex = (in_line.piped && program::runs_input(argv))
            .then_some("a pipe into a program that runs its input");
        findings.protected = program::writes(argv)
            && self
                .paths(argv, to)
                .any(|path| self.call.path_of(&path).is_protected(self.context));
        findings.allow = self
            .book
            .find(RuleKind::Allow, |rule| rule.allows_command(argv, in_line))
            .map(why)
            .or_else(|| only_prints.then_some(Reason::BuiltIn(PRINTS)))
            .or_else(|| reads.then_some(Reason::BuiltIn(READS)));
        findings.uncontained = uncontained;
        findings.contained = self.contains_commands()
            && !(findings.complex.is_some() && self.book.restricts(Rule::is_about_commands));
        self.part(PartAction::Command(argv.clone()), findings)
    }

    /// The deny or ask rule that matches a command, or a file in the arguments of the command.
    fn forbids(
        &self,
        kind: RuleKind,
        command: &Command,
        to: Option<&str>,
        in_line: CommandContext,
    ) -> Option<Reason> {
        let argv = &command.argv;
        let by_command = self
            .book
            .find(kind, |rule| rule.catches_command(argv, in_line.evaluated));
        let by_path = || self.find_path(kind, to, &argv[1..], program::writes(argv));
        let by_word = || {
            if program::is_inert(argv) && !in_line.evaluated {
                return None;
            }
            // A command that runs other programs may do anything with the files in its arguments. Any other command may
            // read the files in its arguments.
            let writes = in_line.evaluated || program::form(argv) != Form::Plain;
            self.find_path(kind, to, &words::of(&argv[1..].join(" ")), writes)
        };
        by_command.or_else(by_path).or_else(by_word).map(why)
    }

    fn paths<'a>(
        &'a self,
        argv: &'a [String],
        to: Option<&'a str>,
    ) -> impl Iterator<Item = String> {
        argv[1..]
            .iter()
            .flat_map(|argument| paths_in(argument))
            .map(move |path| join(to, path))
    }

    /// The rule that matches a path among these words: for reading, and for writing if the command may write.
    fn find_path(
        &self,
        kind: RuleKind,
        to: Option<&str>,
        words: &[String],
        writes: bool,
    ) -> Option<&Entry> {
        let call_paths: Vec<_> = words
            .iter()
            .flat_map(|word| paths_in(word))
            .map(|path| self.call.path_of(&join(to, path)))
            .collect();
        let matches = |rule: &Rule| {
            call_paths.iter().any(|call_path| {
                rule.names_read(call_path, self.context)
                    || (writes && rule.matches_edit(call_path, self.context, Reach::Wide))
            })
        };
        self.book.find(kind, matches)
    }

    fn redirects(&self, command: &Command, to: Option<&str>) -> Vec<Part> {
        let mut parts = Vec::new();
        for redirect in &command.redirects {
            match &redirect.to {
                Target::Read(path) | Target::Write(path) | Target::Append(path) if path == NULL => {
                }
                Target::Read(path) => parts.push(self.read(&join(to, path))),
                Target::Write(path) | Target::Append(path) => {
                    parts.push(self.edit(&join(to, path)));
                }
                Target::Fd(_) => {}
            }
        }
        parts
    }
}

/// Whether every command of these pipelines only reads or prints, and writes to no file.
fn only_reads(pipelines: &[Pipeline], reads: impl Fn(&Command) -> bool) -> bool {
    let mut commands = pipelines.iter().flat_map(|pipeline| &pipeline.commands);
    let writes = |command: &Command| {
        let mut redirects = command.redirects.iter();
        redirects.any(|redirect| match &redirect.to {
            Target::Write(path) | Target::Append(path) => path != NULL,
            Target::Read(_) | Target::Fd(_) => false,
        })
    };
    commands.all(|command| {
        let prints = PRINTING.contains(&command.argv[0].as_str());
        !writes(command) && (prints || reads(command))
    })
}
