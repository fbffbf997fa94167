//! Slash commands: verbs of the command line, typed at the prompt. Used by the transcript view; pure.
//!
//! The words are passed to `agent-team`, so they have the syntax and the errors of the command line. This module adds
//! three things: free text needs no quotes, arguments have defaults such as this member's name, and `/plan` and `/team`
//! are short for other verbs.

use agent_team_protocol::{MemberName, TaskId};

use crate::menu::Candidate;

/// The environment variable with the maximum width of a slash command's output, in columns: the command writes to a
/// pipe, and the view shows the output in its terminal.
pub const COLUMNS: &str = "AGENT_TEAM_COLUMNS";

/// The value of [`COLUMNS`] in a terminal of this width. The view leaves the last column free.
pub fn columns_of_output(terminal: u16) -> String {
    terminal.saturating_sub(1).to_string()
}

/// The meaning of the lines at a prompt.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum PromptKind {
    /// Messages to an agent.
    #[default]
    Message,
    /// Shell lines.
    Shell,
}

/// The verbs of `task`. At a prompt, any other text after `/task` is a new task.
pub(crate) const TASK_VERBS: &[&str] = &[
    "list", "show", "add", "update", "claim", "assign", "complete", "fail", "retry", "release",
    "cancel", "wait", "graph",
];

/// Name, arguments and description.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("help", "", "show this help"),
    (
        "task",
        "[TEXT | show T-1 | …]",
        "add a task; show or change the board",
    ),
    (
        "send",
        "MEMBER TEXT",
        "send a message to another member, or to all",
    ),
    (
        "plan",
        "[P-1]",
        "list plans that wait for approval, or show one",
    ),
    (
        "requests",
        "[allow P-1 | deny P-1 | …]",
        "list and decide permission requests",
    ),
    ("stop", "[MEMBER]", "stop this member, or another"),
    (
        "team",
        "N GOAL",
        "start the default team of this project with N workers and this goal",
    ),
    ("spawn", "ROLE", "add a member"),
    ("kill", "[MEMBER]", "kill a member's whole process tree"),
    (
        "restart",
        "[MEMBER]",
        "restart a member with its conversation",
    ),
    (
        "compact",
        "[MEMBER]",
        "summarise this member's conversation, to make room in its model's window",
    ),
    ("ps", "", "list members and their tasks"),
    ("why", "[MEMBER]", "explain the state of a member"),
    ("messages", "[MEMBER]", "show messages"),
    (
        "mode",
        "[MODE | next]",
        "show or change the permission mode; also shift-tab",
    ),
    (
        "rules",
        "[list | check -- COMMAND]",
        "show permission rules",
    ),
    ("role", "[list | show ROLE]", "show roles and their sources"),
    (
        "config",
        "[get | set KEY VALUE | reset KEY]",
        "show or change your settings",
    ),
    ("stats", "", "show the usage of each member"),
];

/// Verbs that are refused at the prompt, mostly because they need the terminal or run until they are interrupted.
const REFUSED: [&str; 12] = [
    "attach",
    "completions",
    "doctor",
    "down",
    "events",
    "init",
    "logs",
    "man",
    "next",
    "run",
    "top",
    "up",
];

/// The smallest similarity at which an unknown command gets a suggestion.
const NEAR: f64 = 0.75;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slash {
    Help,
    /// Arguments for `agent-team`.
    Verb(Vec<String>),
    /// A shell line that becomes a task of this member.
    Task(String),
    /// The command is invalid, with the reason.
    Wrong(String),
}

/// Whether `/name` is a verb at the prompt, or is refused there.
pub fn is_verb(name: &str) -> bool {
    COMMANDS.iter().any(|(verb, ..)| *verb == name) || REFUSED.contains(&name)
}

/// Parses a slash command; `None` if the text is not a slash command.
pub(crate) fn read(text: &str, member: &MemberName, kind: PromptKind) -> Option<Slash> {
    // A text that begins with a space is not a command.
    let text = text.trim_end();
    let (name, rest) = match text.split_once(char::is_whitespace) {
        Some((name, rest)) => (name, rest.trim()),
        None => (text, ""),
    };
    let name = name.strip_prefix('/')?;
    // A path is not a command.
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
        return None;
    }
    let verb = |words: &[&str]| Slash::Verb(words.iter().map(|word| (*word).to_owned()).collect());
    let with_member = |verb: &str| match rest {
        "" => vec![verb.to_owned(), member.to_string()],
        rest => [vec![verb.to_owned()], words(rest)].concat(),
    };
    let with_default = |verb: &str, default: &str| match rest {
        "" => vec![verb.to_owned(), default.to_owned()],
        rest => [vec![verb.to_owned()], words(rest)].concat(),
    };
    if name == "task"
        && let Some(task) = new_task(rest, kind)
    {
        return Some(task);
    }
    Some(match (name, rest.split_once(char::is_whitespace)) {
        ("help", _) => Slash::Help,
        ("task" | "role", _) => Slash::Verb(with_default(name, "list")),
        ("send", Some((to, text))) if !to.starts_with('-') => {
            verb(&["send", "--", to, text.trim()])
        }
        ("config", _) => Slash::Verb(with_default(name, "get")),
        ("plan", _) if rest.is_empty() => verb(&["requests", "list"]),
        ("plan", _) => verb(&["requests", "show", rest]),
        ("requests" | "rules", _) => Slash::Verb(with_default(name, "list")),
        ("stop" | "kill" | "restart" | "compact" | "why", _) => Slash::Verb(with_member(name)),
        ("team", Some((workers, goal))) if workers.parse::<u32>().is_ok() => {
            verb(&["up", "--detach", "-n", workers, "--", goal.trim()])
        }
        ("team", _) => Slash::Wrong(
            "/team requires a number of workers and a goal: /team 3 Fix the build".into(),
        ),
        ("mode" | "send" | "spawn" | "ps" | "messages" | "stats", _) => {
            Slash::Verb([vec![name.to_owned()], words(rest)].concat())
        }
        _ if REFUSED.contains(&name) => Slash::Wrong(format!(
            "/{name} is not available here: run agent-team {name} in another terminal"
        )),
        _ => Slash::Wrong(unknown(name)),
    })
}

/// The id of a task, in one of the forms that the command line accepts: `T-9`, `t9`.
fn task_id(text: &str) -> Option<TaskId> {
    let number = text.strip_prefix(['T', 't'])?;
    format!("T-{}", number.strip_prefix('-').unwrap_or(number))
        .parse()
        .ok()
}

/// Returns the task that `/task` adds; `None` for its other verbs, and for `add` in the syntax of the command line.
fn new_task(rest: &str, kind: PromptKind) -> Option<Slash> {
    let (first, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let text = match first {
        "" => return None,
        // Free text needs no quotes here.
        "add" if !after.starts_with(['"', '\'', '-']) && !after.contains(" --") => after.trim(),
        first if TASK_VERBS.contains(&first) || first.starts_with('-') => return None,
        _ => rest,
    };
    if text.is_empty() {
        return None;
    }
    // A task with this command would only fail.
    if let (PromptKind::Shell, Some(task)) = (kind, task_id(text)) {
        let why = format!("there is no command {text}; show the task with /task show {task}");
        return Some(Slash::Wrong(why));
    }
    Some(match kind {
        PromptKind::Shell => Slash::Task(text.to_owned()),
        PromptKind::Message => Slash::Verb(["task", "add", text].map(str::to_owned).to_vec()),
    })
}

/// The verbs that begin with this text, with their slash.
pub(crate) fn candidates(typed: &str, kind: PromptKind) -> Vec<Candidate> {
    let commands = COMMANDS.iter().map(|(name, _, description)| {
        let description = match (*name, kind) {
            ("task", PromptKind::Shell) => "run a line as a task; show or change the board",
            _ => description,
        };
        Candidate::new(format!("/{name}"), description)
    });
    commands
        .filter(|command| command.text.starts_with(typed))
        .collect()
}

fn unknown(name: &str) -> String {
    let names = COMMANDS.iter().map(|(command, ..)| *command);
    let near = names.map(|command| (strsim::jaro_winkler(name, command), command));
    let nearest = near
        .filter(|(similarity, _)| *similarity >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, nearest)) => {
            format!(
                "unknown command /{name}; did you mean /{nearest}? (to send it as text, start with a space)"
            )
        }
        None => format!(
            "unknown command /{name}; /help lists the commands (to send it as text, start with a space)"
        ),
    }
}

/// The keys of both kinds of prompt.
const KEYS: &str = "\
/ opens a menu of these commands; tab completes commands, members, tasks and files; ^R searches the history
up and down browse the history; alt-enter, or a backslash at the end, starts a new line
^C clears the prompt; ^C twice leaves (a pane in tmux: prints how to detach)
";

/// The help text, one command per line.
pub fn help(kind: PromptKind) -> String {
    let mut help = match kind {
        PromptKind::Message => String::from(
            "enter sends; @ and tab complete a file name\n\
             esc interrupts the model; a second one clears the prompt\n\
             ^O shows the complete result of the last tool call; each further ^O shows the result of an earlier call\n",
        ),
        PromptKind::Shell => String::from(
            "enter runs the line in a shell, not as a task; /task LINE adds it to the board\n\
             while a program runs, all keys are for the program\n\
             ^C also cancels lines that were typed ahead; esc clears the prompt\n",
        ),
    };
    help.push_str(KEYS);
    for (name, arguments, description) in COMMANDS {
        let usage = format!("/{name} {arguments}");
        help.push_str(&format!("  {}: {description}\n", usage.trim_end()));
    }
    help
}

/// Splits into words like a shell. If a quote is not closed, all quotes are ordinary characters.
pub(crate) fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let (mut quote, mut within) = (None, false);
    for c in text.chars() {
        match (quote, c) {
            (Some(open), c) if c == open => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                if !std::mem::replace(&mut within, true) {
                    words.push(String::new());
                }
            }
            (None, c) if c.is_whitespace() => within = false,
            (_, c) => {
                if !std::mem::replace(&mut within, true) {
                    words.push(String::new());
                }
                if let Some(word) = words.last_mut() {
                    word.push(c);
                }
            }
        }
    }
    if quote.is_some() {
        return text.split_whitespace().map(str::to_owned).collect();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verb(text: &str) -> Vec<String> {
        match read(text, &"ada".parse().unwrap(), PromptKind::Message) {
            Some(Slash::Verb(words)) => words,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn wrong(text: &str) -> String {
        match read(text, &"ada".parse().unwrap(), PromptKind::Message) {
            Some(Slash::Wrong(why)) => why,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn slash_commands_use_the_syntax_of_the_command_line() {
        assert_eq!(verb("/task"), ["task", "list"]);
        assert_eq!(
            verb("/task add Fix the parser"),
            ["task", "add", "Fix the parser"]
        );
        assert_eq!(
            verb("/task add 'Fix it' --for ben"),
            ["task", "add", "Fix it", "--for", "ben"]
        );
        assert_eq!(
            verb("/config set model openai/x"),
            ["config", "set", "model", "openai/x"]
        );
    }

    #[test]
    fn text_after_task_is_a_new_task() {
        let shell = |text: &str| read(text, &"ada".parse().unwrap(), PromptKind::Shell);
        for text in [
            "/task cargo test",
            "/task add cargo test",
            "/task  cargo test ",
        ] {
            assert_eq!(
                shell(text),
                Some(Slash::Task("cargo test".into())),
                "{text}"
            );
        }
        for text in ["/task T-9", "/task t9"] {
            assert!(
                matches!(shell(text), Some(Slash::Wrong(why)) if why.ends_with("/task show T-9")),
                "{text}"
            );
        }
        assert_eq!(
            verb("/task Fix the parser"),
            ["task", "add", "Fix the parser"]
        );
        for text in [
            "/task",
            "/task show T-1",
            "/task add 'x' --for ben",
            "/task add",
        ] {
            assert!(matches!(shell(text), Some(Slash::Verb(_))), "{text}");
        }
    }

    #[test]
    fn this_member_is_the_default() {
        assert_eq!(verb("/stop"), ["stop", "ada"]);
        assert_eq!(verb("/compact"), ["compact", "ada"]);
        assert_eq!(verb("/stop ben --force"), ["stop", "ben", "--force"]);
        assert_eq!(
            verb("/send ben it's done"),
            ["send", "--", "ben", "it's done"]
        );
        assert_eq!(
            verb("/team 3 Fix it all"),
            ["up", "--detach", "-n", "3", "--", "Fix it all"]
        );
        assert_eq!(
            verb("/requests deny P-1 --reason 'not so'"),
            ["requests", "deny", "P-1", "--reason", "not so"]
        );
    }

    #[test]
    fn paths_and_text_are_not_commands() {
        let ada = "ada".parse().unwrap();
        for text in [
            "/etc/hosts is wrong",
            "look at /task",
            "/",
            "/T-1",
            " /stop",
        ] {
            assert_eq!(read(text, &ada, PromptKind::Message), None, "{text}");
        }
    }

    #[test]
    fn an_unknown_command_suggests_the_nearest() {
        assert!(wrong("/taks add x").contains("/task"));
        assert!(wrong("/zzz").contains("/help"));
        assert!(wrong("/top").contains("agent-team top"));
        assert!(wrong("/team x").contains("/team 3"));
    }
}
