//! Commands in rules. Called by the rule.

use super::Standing;
use crate::program::{self, Form, name};
use crate::words;

/// The words of a command, and whether others may follow.
#[derive(Debug, Clone)]
pub(super) struct CommandPattern {
    /// At least one.
    pub(super) words: Vec<String>,
    pub(super) more: bool,
}

impl CommandPattern {
    /// By the letter; a prefix must say all that is run.
    pub(super) fn allows(&self, argv: &[String], standing: Standing) -> bool {
        // After `cd`, another file has the name that the rule says.
        if standing.moved && self.names_files() {
            return false;
        }
        let form = program::form(argv);
        let itself = if self.more {
            argv.starts_with(&self.words) && program::reaches(self.words.len(), argv)
        } else {
            // What evaluates its input does not say what it runs.
            argv == self.words && !(form == Form::Evaluates && standing.fed)
        };
        itself
            || matches!(form, Form::Wraps { inner, clear: true } if self.allows(&argv[inner..], standing))
    }

    /// By any path of the program, with options between the words, and in whatever runs it.
    pub(super) fn catches(&self, argv: &[String]) -> bool {
        let Some((program, args)) = argv.split_first() else {
            return false;
        };
        let itself = name(program) == name(&self.words[0])
            && if self.more {
                follows(&self.words[1..], args)
            } else {
                args == &self.words[1..]
            };
        itself
            || match program::form(argv) {
                Form::Plain => false,
                Form::Evaluates => self.is_spelt_in(&words::of(&args.join(" "))),
                Form::Wraps { inner, .. } => {
                    self.catches(&argv[inner..]) || self.is_spelt_in(&words::of(&args.join(" ")))
                }
            }
    }

    /// What it allows depends on the directory.
    fn names_files(&self) -> bool {
        let relative = |word: &String| word.contains('/') && !word.starts_with('/');
        self.words.iter().any(relative) || program::runs_files(&self.words[0])
    }

    /// One after the other, wherever.
    pub(super) fn is_spelt_in(&self, words: &[String]) -> bool {
        // What parts words in a text also parts those of the rule.
        let wanted: Vec<String> = self.words.iter().flat_map(|word| words::of(word)).collect();
        !wanted.is_empty()
            && words
                .windows(wanted.len())
                .any(|found| (name(&found[0]) == name(&wanted[0])) && found[1..] == wanted[1..])
    }
}

/// Each word stands in the arguments after the one before. Between them are only options, each perhaps with a value; an
/// option stands anywhere.
fn follows(words: &[String], args: &[String]) -> bool {
    let Some((word, rest)) = words.split_first() else {
        return true;
    };
    let anywhere = word.starts_with('-');
    let mut value = false;
    for (at, arg) in args.iter().enumerate() {
        if arg == word && follows(rest, &args[at + 1..]) {
            return true;
        }
        let option = arg.starts_with('-');
        if !anywhere && !option && !value {
            return false;
        }
        value = option;
    }
    false
}
