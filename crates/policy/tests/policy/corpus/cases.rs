//! Parses the corpus files, whose form README.md in their directory describes. Used by the table test and by the fuzz
//! targets.

use agent_team_policy::{Judgement, Mode, RuleBook, RuleKind, ToolCall};
use serde_json::json;

pub(crate) use crate::context::book;
use crate::context::{self, context};

/// A corpus file with its text at build time.
pub(crate) struct File {
    pub(crate) name: &'static str,
    pub(crate) text: &'static str,
}

macro_rules! files {
    ($($name:literal),*) => { [$(File { name: $name, text: include_str!($name) }),*] };
}

pub(crate) const JUDGED: [File; 5] = files![
    "denied.txt",
    "options.txt",
    "paths.txt",
    "urls.txt",
    "words.txt"
];

pub(crate) const RULES: File = File {
    name: "rules.txt",
    text: include_str!("rules.txt"),
};

/// The settings shared by the cases below a title.
#[derive(Debug, Clone)]
pub(crate) struct Set {
    pub(crate) title: String,
    pub(crate) rules: Vec<(RuleKind, String)>,
    pub(crate) mode: Mode,
    pub(crate) tool: String,
}

#[derive(Debug, Clone)]
pub(crate) struct Case {
    pub(crate) line: usize,
    pub(crate) expected: String,
    pub(crate) reason: Option<String>,
    pub(crate) argument: String,
}

impl File {
    pub(crate) fn sets(&self) -> Vec<(Set, Vec<Case>)> {
        let mut sets: Vec<(Set, Vec<Case>)> = Vec::new();
        for (number, text) in (1..).zip(self.text.lines()) {
            let wrong = |why: &str| -> ! { panic!("{}:{number}: {why}: {text}", self.name) };
            if text.is_empty() || text.starts_with('#') {
                continue;
            }
            if let Some(title) = text.strip_prefix('[').and_then(|it| it.strip_suffix(']')) {
                let set = Set {
                    title: title.to_owned(),
                    rules: Vec::new(),
                    mode: Mode::Default,
                    tool: "bash".to_owned(),
                };
                sets.push((set, Vec::new()));
                continue;
            }
            let Some((set, cases)) = sets.last_mut() else {
                wrong("a line before the first title")
            };
            match case(number, text) {
                Some(case) => cases.push(case),
                None => match text.split_once('=') {
                    Some((key, value)) if cases.is_empty() => set.set(key.trim(), value.trim()),
                    _ => wrong("neither a case nor a setting before the first case"),
                },
            }
        }
        sets
    }
}

/// Parses a case: `deny "a reason": an argument`.
fn case(line: usize, text: &str) -> Option<Case> {
    let word = text.find([' ', ':'])?;
    let (expected, rest) = text.split_at(word);
    if !["allow", "ask", "deny", "ok", "bad"].contains(&expected) {
        return None;
    }
    let (reason, argument) = match rest.strip_prefix(" \"") {
        Some(rest) => {
            let (reason, argument) = rest.split_once("\":")?;
            (Some(reason.to_owned()), argument)
        }
        None => (None, rest.strip_prefix(':')?),
    };
    Some(Case {
        line,
        expected: expected.to_owned(),
        reason,
        argument: unescaped(argument.strip_prefix(' ').unwrap_or(argument)),
    })
}

fn unescaped(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        let escape = &rest[at + 1..];
        let (c, length) = match escape.chars().next() {
            Some('n') => ('\n', 1),
            Some('r') => ('\r', 1),
            Some('t') => ('\t', 1),
            Some('\\') => ('\\', 1),
            Some('u') => {
                let end = escape.find('}').expect("`\\u{…}` is closed");
                let number = u32::from_str_radix(&escape[2..end], 16).expect("hexadecimal digits");
                (char::from_u32(number).expect("a character"), end + 1)
            }
            other => panic!("no escape: {other:?} in {text}"),
        };
        out.push(c);
        rest = &escape[length..];
    }
    out + rest
}

impl Set {
    fn set(&mut self, key: &str, value: &str) {
        match key {
            "allow" => self.rules.push((RuleKind::Allow, value.to_owned())),
            "ask" => self.rules.push((RuleKind::Ask, value.to_owned())),
            "deny" => self.rules.push((RuleKind::Deny, value.to_owned())),
            "mode" => {
                let mut known = Mode::NAMES.into_iter();
                let mode = known.find(|(name, _)| *name == value);
                self.mode = mode.expect("a mode").1;
            }
            "tool" | "rule" => self.tool = value.to_owned(),
            key => panic!("no setting: {key}"),
        }
    }

    pub(crate) fn book(&self) -> RuleBook {
        book(&self.rules)
    }
}

pub(crate) fn call(tool: &str, argument: &str) -> ToolCall {
    let name = match tool {
        "bash" => "command",
        "fetch" => "url",
        _ => "path",
    };
    context::call(tool, json!({ name: argument }))
}

pub(crate) fn judged(book: &RuleBook, mode: Mode, call: &ToolCall) -> Judgement {
    book.judge(call, &context(), mode)
}
