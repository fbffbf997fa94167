//! Matches commands against rules. Called by [`super::Rule`].

use crate::pattern::CommandContext;
use crate::program::{self, Form, name};
use crate::words;

/// The words of a command, and whether more words may follow.
#[derive(Debug, Clone)]
pub(super) struct CommandPattern {
    /// The words; there is at least one.
    pub(super) words: Vec<String>,
    pub(super) more: bool,
}

impl CommandPattern {
    /// For allow rules: whether the words match literally. A prefix must contain every program that the command runs.
    pub(super) fn allows(&self, argv: &[String], in_line: CommandContext) -> bool {
        // After `cd`, the file names in the rule refer to other files.
        if in_line.after_cd && self.names_files() {
            return false;
        }
        let form = program::form(argv);
        let itself = if self.more {
            argv.starts_with(&self.words) && program::reaches(self.words.len(), argv)
        } else {
            // A rule for a command that evaluates its input does not cover that input.
            argv == self.words && !(form == Form::Evaluates && in_line.fed)
        };
        itself
            || matches!(form, Form::Wraps { inner, clear: true } if self.allows(&argv[inner..], in_line))
    }

    /// For deny and ask rules: matches the program under any path, permits options between the words, and finds the
    /// words anywhere in the arguments of another program. `evaluated`: whether another program may execute the output
    /// of this command.
    pub(super) fn catches(&self, argv: &[String], evaluated: bool) -> bool {
        let Some((program, args)) = argv.split_first() else {
            return false;
        };
        let itself = name(program) == name(&self.words[0])
            && if self.more {
                follows(&self.words[1..], args, Gap::Options(1))
            } else {
                args == &self.words[1..]
            };
        if itself {
            return true;
        }
        if !evaluated && program::is_inert(argv) {
            return false;
        }
        let inner = match program::form(argv) {
            Form::Wraps { inner, .. } => self.catches(&argv[inner..], evaluated),
            Form::Plain | Form::Evaluates => false,
        };
        // The table does not list every program that runs its arguments, so any program might run them.
        inner || self.is_scattered_in(&words::of_arguments(argv))
    }

    /// Whether the pattern names files, so that the files that it allows depend on the directory.
    fn names_files(&self) -> bool {
        let relative = |word: &String| word.contains('/') && !word.starts_with('/');
        self.words.iter().any(relative) || program::runs_files(&self.words[0])
    }

    /// Whether a shell text contains the words: in one command with any words between them, or in the whole text with
    /// only options and their values between them.
    pub(super) fn is_in_text(&self, text: &str) -> bool {
        let commands = text.split([';', '|', '&', '\n']);
        self.is_found(&words::of_arguments(&[text]), Gap::Options(VALUE_WORDS))
            || commands
                .map(|command| words::of_arguments(&[command]))
                .any(|words| self.is_scattered_in(&words))
    }

    /// Whether the words occur in this order, with anything between them.
    fn is_scattered_in(&self, words: &[String]) -> bool {
        self.is_found(words, Gap::Any)
    }

    fn is_found(&self, words: &[String], gap: Gap) -> bool {
        // Split the rule's words in the same way as the words of the text.
        let wanted: Vec<String> = self.words.iter().flat_map(|word| words::of(word)).collect();
        let Some((program, rest)) = wanted.split_first() else {
            return false;
        };
        let program = name(program);
        (0..words.len())
            .any(|at| name(&words[at]) == program && follows(rest, &words[at + 1..], gap))
    }
}

/// Maximum number of words in an option's value, as in `-c alias.x=push`.
const VALUE_WORDS: usize = 3;

/// The words that may be between the words of a rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Gap {
    /// Options, each with a value of up to this many words.
    Options(usize),
    Any,
}

/// Whether the words occur in the arguments in this order, each within the gap after the previous word. A word that is
/// an option may follow at any distance.
fn follows(words: &[String], args: &[String], gap: Gap) -> bool {
    let Some((word, rest)) = words.split_first() else {
        return true;
    };
    let most = match gap {
        Gap::Options(most) if !word.starts_with('-') => most,
        Gap::Options(_) | Gap::Any => usize::MAX,
    };
    let mut room = if most == usize::MAX { most } else { 0 };
    for (at, arg) in args.iter().enumerate() {
        if arg == word {
            if follows(rest, &args[at + 1..], gap) {
                return true;
            }
            // If the rest does not follow the first occurrence of the word, it does not follow a later occurrence
            // either.
            if gap == Gap::Any {
                return false;
            }
        }
        match arg.starts_with('-') {
            true => room = most,
            false if room == 0 => return false,
            false => room -= 1,
        }
    }
    false
}
