//! Parses rules, and explains the errors of invalid rules. Called by the rule book, the supervisor and the crate
//! `team-file`.

use super::command::CommandPattern;
use super::{Pattern, Rule, RuleError};
use crate::domain::DomainPattern;
use crate::glob::PathPattern;
use crate::pattern::Fault;
use crate::program;
use crate::rule_book::RuleKind;
use crate::shell;

/// Tool names of other products, with their counterparts.
const FOREIGN: &[(&str, &str)] = &[
    ("Write", "Edit"),
    ("MultiEdit", "Edit"),
    ("NotebookEdit", "Edit"),
    ("Glob", "Read"),
    ("Grep", "Read"),
    ("LS", "Read"),
    ("NotebookRead", "Read"),
    ("Fetch", "WebFetch"),
    ("Shell", "Bash"),
];

const TOOLS: &[&str] = &["Bash", "Read", "Edit", "WebFetch", "WebSearch", "Plan"];

impl Rule {
    /// Parses a rule. The accepted syntax depends on the kind.
    ///
    /// # Errors
    /// When the text is not a rule, or the rule could never match.
    pub fn parse(text: &str, kind: RuleKind) -> Result<Rule, RuleError> {
        let text = text.trim();
        match pattern(text, kind) {
            Ok(pattern) => Ok(Rule {
                text: text.to_owned(),
                pattern,
            }),
            Err(fault) => Err(RuleError {
                rule: text.to_owned(),
                at: fault.at,
                what: fault.what,
                instead: fault.instead,
            }),
        }
    }
}

fn pattern(text: &str, kind: RuleKind) -> Result<Pattern, Fault> {
    if let Some(at) = text.find(|c: char| c.is_control()) {
        return Err(Fault::new(
            at,
            "a control character",
            "one line of plain text",
        ));
    }
    let (tool, specifier) = match text.find('(') {
        None => (text, None),
        Some(open) => match text[open + 1..].strip_suffix(')') {
            Some(specifier) => (&text[..open], Some((specifier, open + 1))),
            None => {
                return Err(Fault::new(
                    text.len(),
                    "the last `)` is missing",
                    format!("`{text})`"),
                ));
            }
        },
    };
    if let Some((specifier, at)) = specifier
        && specifier.trim().is_empty()
    {
        let instead =
            format!("`{tool}` to match all calls, or put a specifier between the parentheses");
        return Err(Fault::new(at, "an empty specifier never matches", instead));
    }
    let inside = |(text, at): (&str, usize), parse: fn(&str) -> Result<PathPattern, Fault>| {
        parse(text).map_err(|fault| fault.after(at))
    };
    match tool {
        "Bash" => {
            let command = specifier
                .filter(|(text, _)| !matches!(*text, "*" | ":*"))
                .map(|(text, at)| command(text, kind).map_err(|fault| fault.after(at)))
                .transpose()?;
            Ok(Pattern::Bash(command))
        }
        "Read" => {
            let path = specifier.map(|specifier| inside(specifier, PathPattern::parse));
            Ok(Pattern::Read(path.transpose()?))
        }
        "Edit" => {
            let path = specifier.map(|specifier| inside(specifier, PathPattern::parse));
            Ok(Pattern::Edit(path.transpose()?))
        }
        "WebFetch" => {
            let Some((text, at)) = specifier else {
                return Ok(Pattern::Fetch(None));
            };
            let Some(domain) = text.strip_prefix("domain:") else {
                return Err(Fault::new(
                    at,
                    "only hosts can be matched",
                    "`WebFetch(domain:example.com)`",
                ));
            };
            let domain = DomainPattern::parse(domain, "domain:".len());
            Ok(Pattern::Fetch(Some(
                domain.map_err(|fault| fault.after(at))?,
            )))
        }
        "WebSearch" => match specifier {
            None => Ok(Pattern::Search),
            Some((_, at)) => Err(Fault::new(at, "searches cannot be narrowed", "`WebSearch`")),
        },
        "Plan" => match (specifier, kind) {
            (None, RuleKind::Allow) => Ok(Pattern::Plan),
            (None, RuleKind::Deny | RuleKind::Ask) => Err(Fault::new(
                0,
                "every plan needs a decision anyway",
                "nothing, or `Plan` in `approve`",
            )),
            (Some((_, at)), _) => Err(Fault::new(at, "plans cannot be narrowed", "`Plan`")),
        },
        tool if tool.starts_with("mcp__") => mcp(tool, specifier),
        tool => Err(unknown(tool)),
    }
}

fn unknown(tool: &str) -> Fault {
    let fold = |(foreign, _): &&(&str, &str)| foreign.eq_ignore_ascii_case(tool);
    if let Some((_, ours)) = FOREIGN.iter().find(fold) {
        let what = format!("rules use {ours} for this tool");
        return Fault::new(0, what, format!("`{ours}`, or `{ours}(…)`"));
    }
    if let Some(ours) = TOOLS.iter().find(|ours| ours.eq_ignore_ascii_case(tool)) {
        return Fault::new(
            0,
            "tools in rules begin with a capital letter",
            format!("`{ours}`"),
        );
    }
    Fault::new(
        0,
        format!("there is no tool {tool:?}"),
        "Bash, Read, Edit, WebFetch, WebSearch, mcp__<server>__<tool>, or Plan in `approve`",
    )
}

fn mcp(tool: &str, specifier: Option<(&str, usize)>) -> Result<Pattern, Fault> {
    if let Some((_, at)) = specifier {
        return Err(Fault::new(
            at,
            "MCP tools cannot be narrowed",
            format!("`{tool}`"),
        ));
    }
    let name = tool.strip_suffix("__*").unwrap_or(tool);
    // For `mcp__*`, removing the suffix `__*` also removes the underscores of the prefix.
    let rest = name.strip_prefix("mcp__").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    if let Some(odd) = rest.find(|c| !plain(c)) {
        return Err(Fault::new(
            "mcp__".len() + odd,
            "names of servers and tools do not contain this",
            "`mcp__<server>__<tool>`, or `mcp__<server>` for all of its tools",
        ));
    }
    match rest.split_once("__") {
        _ if rest.is_empty() => {}
        Some((server, tool)) if server.is_empty() || tool.is_empty() => {}
        Some(_) if name.len() < tool.len() => {}
        Some(_) => return Ok(Pattern::McpTool(name.to_owned())),
        None => return Ok(Pattern::McpServer(name.to_owned())),
    }
    Err(Fault::new(
        "mcp__".len(),
        "the name of the server or the tool is missing",
        "`mcp__<server>__<tool>`, or `mcp__<server>` for all of its tools",
    ))
}

/// Parses the text of a command. A final `:*` or ` *` permits further words.
fn command(text: &str, kind: RuleKind) -> Result<CommandPattern, Fault> {
    let (body, more) = match text.strip_suffix(":*").or_else(|| text.strip_suffix(" *")) {
        Some(body) => (body, true),
        None => (text, false),
    };
    let line = shell::read(body.as_bytes()).map_err(|complex| {
        let instead = if body.trim_start().starts_with('*') {
            "`Bash` for every command".to_owned()
        } else if body.as_bytes().get(complex.at) == Some(&b'*') {
            format!(
                "`*` only at the end, as in `Bash({}:*)`",
                body[..complex.at].trim_end()
            )
        } else {
            "one command of plain words, with special characters in single quotes".to_owned()
        };
        let what = format!("it never matches: it has {}", complex.why);
        Fault::new(complex.at, what, instead)
    })?;
    let mut commands = line.commands();
    let (Some(command), None) = (commands.next(), commands.next()) else {
        let what = "it never matches: each command of a line is checked separately";
        return Err(Fault::new(0, what, "one rule for each command"));
    };
    if !command.redirects.is_empty() {
        let what = "it never matches: a redirection is checked as a write to its file";
        return Err(Fault::new(
            0,
            what,
            "`Bash(…)` without it, and `Edit(…)` for the file",
        ));
    }
    let words = command.argv.clone();
    if kind == RuleKind::Allow && more && !program::may_be_plain(&words) {
        let what = format!(
            "`{}` can run code from its arguments, so a prefix is not specific enough",
            words[0]
        );
        let instead = match words[0].as_str() {
            "cd" => "nothing: `cd` within the project needs no rule".to_owned(),
            _ => format!(
                "the whole command without `:*`, or include the program that it runs, as in `Bash({body} ls:*)`"
            ),
        };
        return Err(Fault::new(0, what, instead));
    }
    Ok(CommandPattern { words, more })
}
