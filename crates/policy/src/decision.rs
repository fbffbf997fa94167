//! Decisions: a ruling with its reasons. The judge makes them; clients display them.

use std::fmt;

use agent_team_protocol::hook::HookDecision;
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::RunnableView;
use agent_team_protocol::text::{is_deceptive, visible_line};

use super::call::ToolCall;
use super::domain::ascii_host;
use super::rule_book::{RuleKind, Source};

/// The outcome for a call or for a part of it, ordered from the most to the least permissive. Of several rulings, the
/// greatest applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Ruling {
    Allow,
    Ask,
    Deny,
}

/// The judgement of one call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judgement {
    pub ruling: Ruling,
    /// The parts in the order of the call. There is at least one part.
    pub parts: Vec<Part>,
    /// How to execute an allowed literal line. `None` if the call is not allowed or is not a command. Also `None` if
    /// bash must run the text unchanged, because the user or the mode has allowed the whole text.
    pub run: Option<RunnableView>,
}

/// One action of a call, with its ruling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    pub action: PartAction,
    pub ruling: Ruling,
    pub why: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PartAction {
    /// A literal command.
    Command(Vec<String>),
    /// A bash text that is not literal.
    Text(String),
    /// A path, as written.
    Read(String),
    Edit(String),
    /// A URL.
    Fetch(String),
    Tool(String),
}

/// The reason of a ruling.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    Rule {
        kind: RuleKind,
        rule: String,
        source: Source,
    },
    /// This exact call was allowed before.
    Exact(Source),
    Mode(Mode),
    /// A built-in rule, with its reason.
    BuiltIn(&'static str),
    NoRule,
    /// No rule allows the part, and the sandbox of the call lacks this containment.
    Uncontained(&'static str),
    /// The part has this feature, so no rule can allow it.
    Complex(&'static str),
    /// A hook allows the part.
    AllowedByHook,
    /// A hook requires a decision about the part, for this reason.
    AskedByHook(String),
}

impl Judgement {
    /// A denial of the whole call, regardless of rules.
    pub fn denied(call: &ToolCall, why: &'static str) -> Self {
        let part = Part {
            action: PartAction::Tool(call.tool.clone()),
            ruling: Ruling::Deny,
            why: Reason::BuiltIn(why),
        };
        Self {
            ruling: Ruling::Deny,
            parts: vec![part],
            run: None,
        }
    }

    /// Replaces each ask by a deny with this reason.
    #[must_use]
    pub fn without_asking(mut self, why: &Reason) -> Self {
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

    /// Applies the decision of a hook. `Allow` allows only the parts that no rule decides. It changes no denial, no ask
    /// rule, and no decision that a protected path, a note of the user or a complex feature requires. `Ask` asks about
    /// each allowed part.
    #[must_use]
    pub fn with_hook(mut self, hook: &HookDecision) -> Self {
        for part in &mut self.parts {
            match (hook, part.ruling) {
                (HookDecision::Allow, Ruling::Ask)
                    if matches!(part.why, Reason::NoRule | Reason::Uncontained(_)) =>
                {
                    part.ruling = Ruling::Allow;
                    part.why = Reason::AllowedByHook;
                }
                (HookDecision::Ask { reason }, Ruling::Allow) => {
                    part.ruling = Ruling::Ask;
                    part.why = Reason::AskedByHook(reason.clone());
                }
                _ => {}
            }
        }
        let ruling = self.parts.iter().map(|part| part.ruling).max();
        self.ruling = ruling.unwrap_or(self.ruling);
        if self.ruling != Ruling::Allow {
            self.run = None;
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

impl fmt::Display for Judgement {
    /// Prints the ruling, then a line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ruling)?;
        for part in &self.parts {
            write!(f, "\n  {:5}  {}: {}", part.ruling, part.action, part.why)?;
        }
        Ok(())
    }
}

impl fmt::Display for PartAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PartAction::Command(argv) => {
                for (index, word) in argv.iter().enumerate() {
                    if index > 0 {
                        f.write_str(" ")?;
                    }
                    f.write_str(&quoted(word))?;
                }
                Ok(())
            }
            PartAction::Text(text) => f.write_str(&text.escape_debug().to_string()),
            PartAction::Read(path) => write!(f, "read {}", quoted(path)),
            PartAction::Edit(path) => write!(f, "write {}", quoted(path)),
            PartAction::Fetch(address) => {
                write!(f, "fetch {}", quoted(address))?;
                match ascii_host(address) {
                    Some(host) => write!(f, " (host {host})"),
                    None => Ok(()),
                }
            }
            PartAction::Tool(tool) => f.write_str(&quoted(tool)),
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Reason::Rule { kind, rule, source } => {
                let does = match kind {
                    RuleKind::Deny => "denied",
                    RuleKind::Ask => "approval required",
                    RuleKind::Allow => "allowed",
                };
                write!(f, "{does} by {rule} ({source})")
            }
            Reason::Exact(source) => write!(f, "this exact call was allowed ({source})"),
            Reason::Mode(mode) => write!(f, "in mode {mode}"),
            Reason::BuiltIn(why) | Reason::Uncontained(why) => f.write_str(why),
            Reason::NoRule => f.write_str("no rule allows it"),
            Reason::Complex(why) => write!(
                f,
                "no rule can allow it, because it has {why}; the user can allow exactly this call"
            ),
            Reason::AllowedByHook => f.write_str("allowed by a hook"),
            Reason::AskedByHook(reason) if reason.is_empty() => {
                f.write_str("a hook requires a decision")
            }
            Reason::AskedByHook(reason) => {
                write!(f, "a hook requires a decision: {}", visible_line(reason))
            }
        }
    }
}

/// A word in shell syntax: unquoted if it contains only plain characters, else in quotes. Deceptive characters are
/// shown as escapes.
pub fn quoted(word: &str) -> String {
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
