//! Completion of the prompt with Tab: finds the part of the text to complete, its candidates, and the resulting change.
//! Used by the transcript view; pure.
//!
//! ```text
//!   /st        verbs                           known here
//!   /task sh   the second word of a verb       known here
//!   /stop a    members      ┐
//!   /task show T  tasks     ├─ the program around the view looks them up, and offers them later
//!   look at @src/  files    ┘
//! ```
//! At the prompt for a shell, each word that is not part of a slash command is completed as a file.

use agent_team_protocol::text::shell_quoted;
use std::ops::Range;

use agent_team_protocol::text::visible_line;

use crate::menu::Candidate;
use crate::slash::{self, PromptKind};

/// Names that only the program around the view knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    Members,
    Tasks,
    /// The entries of `directory`: a path relative to the member's directory, either empty or with a slash at its end.
    /// Candidates begin with `directory`. Candidates that are directories end with a slash.
    Files {
        directory: String,
    },
}

/// The form in which a candidate is written into the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    /// A name without special characters.
    Name,
    /// A file after `@`.
    Mention,
    /// A word of a shell.
    Shell,
}

/// The part of the text that is completed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Completion {
    range: Range<usize>,
    /// The part without `@`, quotes and backslashes. Matching candidates begin with it.
    typed: String,
    form: Form,
    pub(crate) from: From,
}

/// The source of the candidates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum From {
    Known(Vec<Candidate>),
    Names(Names),
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) range: Range<usize>,
    pub(crate) text: String,
}

const SECOND_WORDS: &[(&str, &[&str])] = &[
    ("task", slash::TASK_VERBS),
    ("requests", &["list", "show", "allow", "deny", "watch"]),
    ("rules", &["list", "check"]),
    ("role", &["list", "show"]),
    ("config", &["get", "set", "reset"]),
];

/// Returns the completion for Tab with the cursor at this offset; `None` if nothing can be completed.
pub(crate) fn at(text: &str, cursor: usize, kind: PromptKind) -> Option<Completion> {
    let before = &text[..cursor];
    if let Some(rest) = before.strip_prefix('/')
        && let Some(completion) = of_slash(before, rest, kind)
    {
        return Some(completion);
    }
    match kind {
        PromptKind::Message => mention(before),
        PromptKind::Shell => shell_word(before),
    }
}

/// The start of the last word, as a byte offset. A blank can have more than one byte.
fn last_word(text: &str) -> usize {
    let mut blanks = text.char_indices().rev().filter(|(_, c)| c.is_whitespace());
    blanks.next().map_or(0, |(at, blank)| at + blank.len_utf8())
}

/// Completes a slash command; `None` in its free text.
fn of_slash(before: &str, rest: &str, kind: PromptKind) -> Option<Completion> {
    let start = last_word(before);
    let typed = before[start..].to_owned();
    let range = start..before.len();
    let name = |from| Completion {
        range: range.clone(),
        typed: typed.clone(),
        form: Form::Name,
        from,
    };
    if start == 0 {
        let is_verb = match kind {
            PromptKind::Message => !rest.contains('/'),
            // A path of a shell line can begin with a slash too.
            PromptKind::Shell => rest.chars().all(|c| c.is_ascii_lowercase()),
        };
        return is_verb.then(|| name(From::Known(slash::candidates(&typed, kind))));
    }
    let words: Vec<&str> = before[..start].split_whitespace().collect();
    let second = |verb: &str| {
        let words = SECOND_WORDS.iter().find(|(of, _)| *of == verb)?.1;
        let words = words.iter().map(|word| Candidate::new(*word, ""));
        Some(name(From::Known(words.collect())))
    };
    match words[..] {
        ["/send" | "/stop" | "/kill" | "/restart" | "/why" | "/messages"] => {
            Some(name(From::Names(Names::Members)))
        }
        ["/task", "assign", _] => Some(name(From::Names(Names::Members))),
        ["/task", verb]
            if slash::TASK_VERBS.contains(&verb) && !["add", "list"].contains(&verb) =>
        {
            Some(name(From::Names(Names::Tasks)))
        }
        [verb] => second(verb.strip_prefix('/')?),
        _ => None,
    }
}

/// Completes a file name after `@`.
fn mention(before: &str) -> Option<Completion> {
    let start = last_word(before);
    let typed = before[start..].strip_prefix('@')?.to_owned();
    Some(Completion {
        range: start..before.len(),
        form: Form::Mention,
        from: files(&typed)?,
        typed,
    })
}

/// Completes a word of a shell line as a file name.
fn shell_word(before: &str) -> Option<Completion> {
    let (mut start, mut word, mut quote) = (0, String::new(), None);
    let mut characters = before.char_indices();
    while let Some((at, c)) = characters.next() {
        match (quote, c) {
            (Some('\''), '\'') | (Some('"'), '"') => quote = None,
            (None, '\'' | '"') => quote = Some(c),
            (None | Some('"'), '\\') => word.extend(characters.next().map(|(_, c)| c)),
            // The shell expands a word with these characters; this completion does not.
            (None | Some('"'), '$' | '`') => return None,
            (None, c) if c.is_whitespace() || ";|&<>()=".contains(c) => {
                start = at + c.len_utf8();
                word.clear();
            }
            (_, c) => word.push(c),
        }
    }
    if before[start..].starts_with('~') {
        return None;
    }
    Some(Completion {
        range: start..before.len(),
        form: Form::Shell,
        from: files(&word)?,
        typed: word,
    })
}

/// The files for a path that is being typed; `None` outside the member's directory.
fn files(typed: &str) -> Option<From> {
    let directory = &typed[..typed.rfind('/').map_or(0, |at| at + 1)];
    if directory.starts_with('/') || directory.split('/').any(|part| part == "..") {
        return None;
    }
    Some(From::Names(Names::Files {
        directory: directory.to_owned(),
    }))
}

impl Completion {
    /// The candidates that begin with the typed text.
    pub(crate) fn matching(&self, candidates: Vec<Candidate>) -> Vec<Candidate> {
        let mut matching = candidates;
        // Like a shell, list hidden files only after a dot.
        let last = self.typed.rfind('/').map_or(0, |at| at + 1);
        let lists_hidden = self.typed[last..].starts_with('.') || self.form == Form::Name;
        matching.retain(|candidate| {
            let rest = candidate.text.strip_prefix(self.typed.as_str());
            rest.is_some() && (lists_hidden || !candidate.text[last..].starts_with('.'))
        });
        matching
    }

    /// The change that writes this candidate.
    pub(crate) fn taken(&self, candidate: &Candidate) -> Change {
        let text = &candidate.text;
        let end = if text.ends_with('/') && self.form != Form::Name {
            ""
        } else {
            " "
        };
        self.change(format!("{}{end}", self.written(text)))
    }

    /// The change that writes the longest common beginning of the candidates; `None` if it is already typed.
    pub(crate) fn common(&self, candidates: &[Candidate]) -> Option<Change> {
        let first = &candidates.first()?.text;
        let mut common = first.as_str();
        for candidate in candidates {
            let same = common
                .char_indices()
                .zip(candidate.text.chars())
                .take_while(|((_, a), b)| a == b);
            let end = same.last().map_or(0, |((at, c), _)| at + c.len_utf8());
            common = &common[..end];
        }
        if self.form == Form::Mention {
            // Stop at the first special character: a quote around an incomplete name would have to be moved later.
            common = &common[..common.find(is_special).unwrap_or(common.len())];
        }
        (common.len() > self.typed.len()).then(|| self.change(self.written(common)))
    }

    fn change(&self, text: String) -> Change {
        Change {
            range: self.range.clone(),
            text,
        }
    }

    fn written(&self, text: &str) -> String {
        match self.form {
            Form::Name => text.to_owned(),
            // Escape the name: a file name must not add lines to a message for a model.
            Form::Mention if text.contains(is_special) => format!("@\"{}\"", visible_line(text)),
            Form::Mention => format!("@{text}"),
            Form::Shell => quoted(text),
        }
    }
}

fn is_special(c: char) -> bool {
    c.is_whitespace() || c == '"' || visible_line(c.encode_utf8(&mut [0; 4])).chars().ne([c])
}

/// The text as one word of a shell. Within single quotes a shell interprets no character.
fn quoted(text: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "/._-+,:@%".contains(c);
    if text.chars().all(is_plain) && !text.starts_with('-') {
        return text.to_owned();
    }
    let text = match text.starts_with('-') {
        // A program must not read a file name as an option.
        true => format!("./{text}"),
        false => text.to_owned(),
    };
    if text.chars().all(is_plain) {
        return text;
    }
    shell_quoted(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str, kind: PromptKind) -> Completion {
        at(text, text.len(), kind).unwrap_or_else(|| panic!("{text}: nothing to complete"))
    }

    fn names(text: &str) -> Names {
        match completed(text, PromptKind::Message).from {
            From::Names(names) => names,
            From::Known(known) => panic!("{text}: {known:?}"),
        }
    }

    fn candidates(texts: &[&str]) -> Vec<Candidate> {
        let texts = texts.iter();
        texts.map(|text| Candidate::new(*text, "")).collect()
    }

    fn files_in(directory: &str) -> Names {
        let directory = directory.to_owned();
        Names::Files { directory }
    }

    #[test]
    fn a_multibyte_blank_before_the_cursor_ends_a_word() {
        for text in ["bonjour\u{a0}", "@\u{3000}"] {
            assert!(
                at(text, text.len(), PromptKind::Message).is_none(),
                "{text}"
            );
        }
        let completion = completed("see\u{3000}@src/", PromptKind::Message);
        assert_eq!(completion.range, 6..11);
    }

    /// Returns the text with the candidate in place of the typed part.
    fn taken(text: &str, kind: PromptKind, candidate: &str) -> String {
        let completion = completed(text, kind);
        let Change { range, text: with } = completion.taken(&Candidate::new(candidate, ""));
        let mut text = text.to_owned();
        text.replace_range(range, &with);
        text
    }

    #[test]
    fn the_position_selects_the_names() {
        assert_eq!(names("/stop a"), Names::Members);
        assert_eq!(names("/send "), Names::Members);
        assert_eq!(names("/task show T"), Names::Tasks);
        assert_eq!(names("/task assign T-1 "), Names::Members);
        assert_eq!(names("look at @src/ma"), files_in("src/"));
        assert_eq!(names("/send ben look at @"), files_in(""));
        let known = completed("/task sh", PromptKind::Message);
        assert!(matches!(known.from, From::Known(_)));
        for text in ["", "hello", "/send ben hel", "@/etc/", "@../", "@a/../../"] {
            assert_eq!(at(text, text.len(), PromptKind::Message), None, "{text}");
        }
    }

    #[test]
    fn words_of_a_shell_line_are_files() {
        for (text, directory) in [
            ("cat ", ""),
            ("cat src/l", "src/"),
            ("a;b<'my dir/f", "my dir/"),
            ("X=my\\ dir/", "my dir/"),
        ] {
            let completion = completed(text, PromptKind::Shell);
            assert_eq!(completion.from, From::Names(files_in(directory)), "{text}");
        }
        for text in ["cat $HO", "cat ~/a", "/usr/b", "`l", "cat ../x"] {
            assert_eq!(at(text, text.len(), PromptKind::Shell), None, "{text}");
        }
    }

    #[test]
    fn a_candidate_replaces_the_typed_part() {
        let message = PromptKind::Message;
        assert_eq!(taken("/st", message, "/stop"), "/stop ");
        assert_eq!(taken("/stop a", message, "ada"), "/stop ada ");
        assert_eq!(taken("see @sr", message, "src/"), "see @src/");
        assert_eq!(taken("see @m", message, "my file"), "see @\"my file\" ");
        let shell = PromptKind::Shell;
        assert_eq!(taken("cat sr", shell, "src/lib.rs"), "cat src/lib.rs ");
        assert_eq!(taken("cat 'my", shell, "my file"), "cat 'my file' ");
        assert_eq!(taken("cat ", shell, "it's"), "cat 'it'\\''s' ");
    }

    #[test]
    fn a_hostile_file_name_adds_no_command_and_no_line() {
        let hostile = "x\n$(touch PWN)";
        assert_eq!(
            taken("cat x", PromptKind::Shell, hostile),
            "cat 'x\n$(touch PWN)' "
        );
        assert_eq!(taken("rm ", PromptKind::Shell, "-rf"), "rm ./-rf ");
        assert_eq!(
            taken("see @x", PromptKind::Message, "x\nIgnore it\x1b[2J"),
            "see @\"x\\nIgnore it\\e[2J\" "
        );
    }

    #[test]
    fn the_common_beginning_is_written_first() {
        let completion = completed("@s", PromptKind::Message);
        let matching = completion.matching(candidates(&["src/", "srv/", "other", ".secret"]));
        assert_eq!(matching, candidates(&["src/", "srv/"]));
        let change = completion.common(&matching).unwrap();
        assert_eq!((change.range, change.text.as_str()), (0..2, "@sr"));
        assert_eq!(completion.common(&candidates(&["s1", "s2"])), None);
        let all = completed("@", PromptKind::Message);
        assert_eq!(all.matching(candidates(&[".env", "a"])), candidates(&["a"]));
        let hidden = completed("@.", PromptKind::Message);
        assert_eq!(hidden.matching(candidates(&[".env"])).len(), 1);
    }
}
