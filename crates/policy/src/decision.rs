//! What was decided and why, as a value that a person can read. Made by the judge.

use std::fmt;
use std::path::PathBuf;

use agent_team_protocol::text::{is_deceptive, visible_line};

use super::book::{Effect, Source};
use super::call::Call;
use super::domain::ascii_host;
use super::mode::Mode;
use super::shell::Line;

/// From the widest to the narrowest; of several, the last counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    Allow,
    Ask,
    Deny,
}

/// About one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    pub ruling: Ruling,
    /// At least one, in the order of the call.
    pub parts: Vec<Part>,
    /// What an allowed literal line is carried out as. None when it may only be handed to bash as it is, which somebody
    /// has then decided about the whole text.
    pub run: Option<Runnable>,
}

/// One thing that a call does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub what: What,
    pub ruling: Ruling,
    pub why: Why,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum What {
    /// A literal command.
    Command(Vec<String>),
    /// A text for bash that is not literal.
    Text(String),
    /// A path, as it was given.
    Read(String),
    Edit(String),
    /// An address.
    Fetch(String),
    Tool(String),
}

/// What decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    Rule {
        effect: Effect,
        rule: String,
        source: Source,
    },
    /// Exactly this was allowed before.
    Exact(Source),
    Mode(Mode),
    /// Always so: why.
    BuiltIn(&'static str),
    NoRule,
    /// No rule of any mode could allow it.
    Complex(&'static str),
}

/// Literal commands, to be started as these argument lists by nobody's shell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Runnable {
    /// Where all of them run, links followed: the `cd`s at the beginning are already in it.
    pub directory: PathBuf,
    pub line: Line,
}

impl Decision {
    /// A denial of the whole call, whatever rules say.
    pub fn denied(call: &Call, why: &'static str) -> Self {
        let part = Part {
            what: What::Tool(call.tool.clone()),
            ruling: Ruling::Deny,
            why: Why::BuiltIn(why),
        };
        Self {
            ruling: Ruling::Deny,
            parts: vec![part],
            run: None,
        }
    }

    /// The same where nobody is asked: what would be, is denied.
    #[must_use]
    pub fn without_asking(mut self, why: &Why) -> Self {
        for part in &mut self.parts {
            if part.ruling == Ruling::Ask {
                part.ruling = Ruling::Deny;
                part.why = why.clone();
            }
        }
        if self.ruling == Ruling::Ask {
            self.ruling = Ruling::Deny;
        }
        self
    }
}

impl Ruling {
    pub fn name(self) -> &'static str {
        match self {
            Ruling::Allow => "allow",
            Ruling::Ask => "ask",
            Ruling::Deny => "deny",
        }
    }
}

impl fmt::Display for Ruling {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl fmt::Display for Decision {
    /// The ruling, then a line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ruling)?;
        for part in &self.parts {
            write!(f, "\n  {:5}  {}: {}", part.ruling, part.what, part.why)?;
        }
        Ok(())
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Command(argv) => {
                for (index, word) in argv.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" ")?;
                    }
                    f.write_str(&quoted(word))?;
                }
                Ok(())
            }
            What::Text(text) => f.write_str(&text.escape_debug().to_string()),
            What::Read(path) => write!(f, "read {}", quoted(path)),
            What::Edit(path) => write!(f, "write {}", quoted(path)),
            What::Fetch(address) => {
                write!(f, "fetch {}", quoted(address))?;
                match ascii_host(address) {
                    Some(host) => write!(f, " (host {host})"),
                    None => Ok(()),
                }
            }
            What::Tool(tool) => f.write_str(&quoted(tool)),
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Rule {
                effect,
                rule,
                source,
            } => {
                let does = match effect {
                    Effect::Deny => "denied",
                    Effect::Ask => "approval required",
                    Effect::Allow => "allowed",
                };
                write!(f, "{does} by {rule} ({source})")
            }
            Why::Exact(source) => write!(f, "this exact call was allowed ({source})"),
            Why::Mode(mode) => write!(f, "in mode {mode}"),
            Why::BuiltIn(why) => f.write_str(why),
            Why::NoRule => f.write_str("no rule allows it"),
            Why::Complex(why) => write!(f, "no rule can allow it: it has {why}"),
        }
    }
}

/// A word in the form in which it can be typed again: in single quotes where a shell would not take it unquoted.
/// Invisible characters are shown as escapes.
pub(crate) fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./:=,+@%^".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    if word.chars().any(is_deceptive) {
        let escaped = word.replace('\\', r"\\").replace('\'', r"\'");
        return format!("$'{}'", visible_line(&escaped));
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}
