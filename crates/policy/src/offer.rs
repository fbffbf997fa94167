//! Rules that the user can allow instead of the exact request. They are derived from the request. Called by the
//! supervisor for the view of a request.
//!
//! The rules of an offer together cover the request. The prefix of an offered rule never begins with a program that
//! runs its arguments.

use std::path::Path;

use agent_team_protocol::permissions::Mode;

use super::call::{Action, ToolCall};
use super::decision::{Ruling, quoted};
use super::domain::host_of;
use super::path::{CallPath, RuleContext};
use super::program;
use super::rule_book::{RuleBook, RuleKind, Source};
use super::shell::{self, Command};

/// One of the alternatives that [`offers`] returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Together, the rules cover every part of the request. Empty: the exact request, by its digest.
    pub rules: Vec<String>,
    /// The calls that the rules allow, as a phrase without a subject.
    pub covers: String,
}

/// The alternatives, from the narrowest to the widest. The first one is the exact request.
pub fn offers(call: &ToolCall, context: &RuleContext) -> Vec<Offer> {
    let mut offers = vec![Offer {
        rules: Vec::new(),
        covers: "exactly this request".to_owned(),
    }];
    if !call.environment.is_empty() {
        return offers;
    }
    match call.action() {
        Action::Run(line) => offers.extend(commands(&line)),
        Action::Edit(paths) => {
            let of = |path: &String| {
                let call_path = call.path_of(path);
                let is_protected = call.is_protected(&call_path, context);
                files("Edit", "changing", &call_path, context, is_protected)
            };
            offers.extend(together(paths.iter().map(of).collect()));
        }
        Action::Read(path) => {
            let call_path = call.path_of(&path);
            let is_protected = call_path.is_protected(context);
            offers.extend(files("Read", "reading", &call_path, context, is_protected));
        }
        Action::Fetch(address) => offers.extend(host_of(&address).map(|host| Offer {
            rules: vec![format!("WebFetch(domain:{host})")],
            covers: format!("every address of {host}"),
        })),
        Action::Search => offers.push(Offer {
            rules: vec!["WebSearch".to_owned()],
            covers: "every search of the web".to_owned(),
        }),
        Action::Mcp(tool) => offers.push(Offer {
            covers: format!("{tool} with any arguments"),
            rules: vec![tool],
        }),
        Action::Own | Action::Unknown => {}
    }
    offers.retain(|offer| offer.rules.is_empty() || covers(&offer.rules, call, context));
    offers
}

/// Whether the call would be allowed with these rules alone.
fn covers(rules: &[String], call: &ToolCall, context: &RuleContext) -> bool {
    let mut book = RuleBook::new();
    rules
        .iter()
        .all(|rule| book.add(RuleKind::Allow, rule, Source::BuiltIn).is_ok())
        && book.judge(call, context, Mode::Default).ruling == Ruling::Allow
}

/// At most two offers: each command exactly, and each by its prefix.
fn commands(line: &str) -> Vec<Offer> {
    let Ok(line) = shell::read(line.as_bytes()) else {
        return Vec::new();
    };
    let commands: Vec<&Command> = line
        .commands()
        .filter(|command| command.argv[0] != "cd")
        .collect();
    // A rule for a command does not cover the files that redirections read or write.
    if commands.is_empty() || commands.iter().any(|command| !command.redirects.is_empty()) {
        return Vec::new();
    }
    let mut offers = Vec::new();
    if commands
        .iter()
        .all(|command| program::form(&command.argv) != program::Form::Evaluates)
    {
        let text = |command: &&Command| words(&command.argv);
        let texts: Vec<String> = commands.iter().map(text).collect();
        offers.push(Offer {
            rules: unique(texts.iter().map(|text| format!("Bash({text})"))),
            covers: format!("{} in any directory of the project", listed(&texts)),
        });
    }
    let prefixes: Option<Vec<String>> = commands
        .iter()
        .map(|command| prefix(&command.argv).map(words))
        .collect();
    if let Some(prefixes) = prefixes {
        offers.push(Offer {
            rules: unique(prefixes.iter().map(|prefix| format!("Bash({prefix}:*)"))),
            covers: format!("every command that begins with {}", listed(&prefixes)),
        });
    }
    offers
}

/// The program and its subcommands, without their operands.
fn prefix(argv: &[String]) -> Option<&[String]> {
    let is_verb = |word: &&String| {
        word.starts_with(|c: char| c.is_ascii_lowercase())
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == ':')
    };
    let most = match argv.get(1).map(String::as_str) {
        Some("run" | "exec") => 2,
        _ => 1,
    };
    let verbs = argv[1..].iter().take(most).take_while(is_verb).count();
    let prefix = &argv[..=verbs];
    (!program::is_too_wide(prefix) && program::reaches(prefix.len(), argv)).then_some(prefix)
}

/// At most two offers: the file, and its directory. None for a protected path.
fn files(
    tool: &str,
    doing: &str,
    call_path: &CallPath,
    context: &RuleContext,
    is_protected: bool,
) -> Vec<Offer> {
    if is_protected || call_path.path != call_path.resolved {
        return Vec::new();
    }
    let from = |path: &Path| -> Option<String> {
        let text = match path.strip_prefix(&context.project) {
            Ok(relative) => format!("./{}", relative.to_str()?),
            Err(_) => format!("/{}", path.to_str()?),
        };
        let plain = |c: char| !"*?[]{}\\()!~".contains(c) && !c.is_control();
        text.chars().all(plain).then_some(text)
    };
    let mut offers = Vec::new();
    if let Some(file) = from(&call_path.path) {
        offers.push(Offer {
            rules: vec![format!("{tool}({file})")],
            covers: format!("{doing} {}", call_path.path.display()),
        });
    }
    let directory = call_path.path.parent().filter(|directory| {
        // A rule for the whole project, a home directory or the root is too wide to offer.
        *directory != context.project
            && !context.project.starts_with(directory)
            && context
                .home
                .as_deref()
                .is_none_or(|home| !home.starts_with(directory))
    });
    if let Some((directory, text)) = directory.and_then(|path| Some((path, from(path)?))) {
        let text = text.strip_prefix("./").unwrap_or(&text);
        offers.push(Offer {
            rules: vec![format!("{tool}({text}/**)")],
            covers: format!("{doing} everything below {}", directory.display()),
        });
    }
    offers
}

/// The offers for several files: the files, and their directories. An offer needs a part for each file.
fn together(each: Vec<Vec<Offer>>) -> Vec<Offer> {
    let levels = each.iter().map(Vec::len).min().unwrap_or_default();
    let level = |at: usize| {
        let of_level = || each.iter().map(|offers| &offers[at]);
        let covers: Vec<&str> = of_level().map(|offer| offer.covers.as_str()).collect();
        Offer {
            rules: unique(of_level().flat_map(|offer| offer.rules.clone())),
            covers: unique(covers.into_iter().map(str::to_owned)).join(", "),
        }
    };
    (0..levels).map(level).collect()
}

fn words(argv: &[String]) -> String {
    let words: Vec<String> = argv.iter().map(|word| quoted(word)).collect();
    words.join(" ")
}

fn listed(texts: &[String]) -> String {
    let quoted: Vec<String> = texts.iter().map(|text| format!("`{text}`")).collect();
    quoted.join(", ")
}

fn unique(rules: impl Iterator<Item = String>) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for rule in rules {
        if !kept.contains(&rule) {
            kept.push(rule);
        }
    }
    kept
}
