//! What is typed with a slash before it: a verb of the command line, in its words. Used by the transcript view; pure.
//!
//! The words go to `agent-team` itself, so that they mean here what they mean there, errors included. Only what a person
//! would have to quote for a shell, and what is of this member, is put in here.

use agent_team_protocol::MemberName;

/// A name, what may stand behind it, and what it does.
const COMMANDS: &[(&str, &str, &str)] = &[
    ("help", "", "this"),
    (
        "task",
        "[add TITLE | show T-1 | …]",
        "the board; without words, all of it",
    ),
    (
        "send",
        "MEMBER TEXT",
        "a message to somebody else, or to all",
    ),
    (
        "plan",
        "[P-1]",
        "what waits for your approval; with a number, all of it",
    ),
    (
        "requests",
        "[allow P-1 | deny P-1 | …]",
        "what waits for a decision",
    ),
    ("stop", "[MEMBER]", "asks this member, or another, to end"),
    (
        "team",
        "N GOAL",
        "a team of so many workers, and what it is to do",
    ),
    ("spawn", "ROLE", "one more member"),
    (
        "kill",
        "[MEMBER]",
        "ends a member's whole process tree at once",
    ),
    (
        "restart",
        "[MEMBER]",
        "a new launch, with the same conversation",
    ),
    ("ps", "", "who does what"),
    ("why", "[MEMBER]", "why a member is in its state"),
    ("messages", "[MEMBER]", "what was said"),
    (
        "rules",
        "[list | check -- COMMAND]",
        "what is allowed, asked and denied",
    ),
    (
        "role",
        "[list | show ROLE]",
        "the roles, and where each is from",
    ),
    (
        "config",
        "[get | set KEY VALUE | reset KEY]",
        "models, roles and limits, for yourself",
    ),
    ("stats", "", "what each member used"),
];

/// Verbs that take the terminal, or go on until they are ended.
const ELSEWHERE: [&str; 12] = [
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

/// How far from a command a word may be to be taken for it.
const NEAR: f64 = 0.75;

#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Slash {
    Help,
    /// Arguments for `agent-team`.
    Verb(Vec<String>),
    /// Why it is nothing that can be done.
    Wrong(String),
}

/// `None`: it is a text like others.
pub(crate) fn read(text: &str, member: &MemberName) -> Option<Slash> {
    let text = text.trim();
    let (name, rest) = match text.split_once(char::is_whitespace) {
        Some((name, rest)) => (name, rest.trim()),
        None => (text, ""),
    };
    let name = name.strip_prefix('/')?;
    // A path is none.
    if name.is_empty() || !name.chars().all(|c| c.is_ascii_lowercase() || c == '-') {
        return None;
    }
    let verb = |words: &[&str]| Slash::Verb(words.iter().map(|word| (*word).to_owned()).collect());
    let or_own = |verb: &str| match rest {
        "" => vec![verb.to_owned(), member.to_string()],
        rest => [vec![verb.to_owned()], words(rest)].concat(),
    };
    let or_else = |verb: &str, usual: &str| match rest {
        "" => vec![verb.to_owned(), usual.to_owned()],
        rest => [vec![verb.to_owned()], words(rest)].concat(),
    };
    Some(match (name, rest.split_once(char::is_whitespace)) {
        ("help", _) => Slash::Help,
        // A sentence needs no quotes here.
        ("task", Some(("add", title)))
            if !title.starts_with(['"', '\'', '-']) && !title.contains(" --") =>
        {
            verb(&["task", "add", title.trim()])
        }
        ("task" | "role", _) => Slash::Verb(or_else(name, "list")),
        ("send", Some((to, text))) if !to.starts_with('-') => {
            verb(&["send", "--", to, text.trim()])
        }
        ("config", _) => Slash::Verb(or_else(name, "get")),
        ("plan", _) if rest.is_empty() => verb(&["requests", "list"]),
        ("plan", _) => verb(&["requests", "show", rest]),
        ("requests" | "rules", _) => Slash::Verb(or_else(name, "list")),
        ("stop" | "kill" | "restart" | "why", _) => Slash::Verb(or_own(name)),
        ("team", Some((workers, goal))) if workers.parse::<u32>().is_ok() => {
            verb(&["up", "--detach", "-n", workers, "--", goal.trim()])
        }
        ("team", _) => {
            Slash::Wrong("/team takes a number of workers and a goal: /team 3 Fix the build".into())
        }
        ("send" | "spawn" | "ps" | "messages" | "stats", _) => {
            Slash::Verb([vec![name.to_owned()], words(rest)].concat())
        }
        _ if ELSEWHERE.contains(&name) => Slash::Wrong(format!(
            "/{name} needs a terminal of its own: agent-team {name}"
        )),
        _ => Slash::Wrong(unknown(name)),
    })
}

fn unknown(name: &str) -> String {
    let names = COMMANDS.iter().map(|(command, ..)| *command);
    let near = names.map(|command| (strsim::jaro_winkler(name, command), command));
    let nearest = near
        .filter(|(how, _)| *how >= NEAR)
        .max_by(|a, b| a.0.total_cmp(&b.0));
    match nearest {
        Some((_, nearest)) => {
            format!(
                "there is no /{name}; /{nearest} there is (with a blank before it, it is sent as text)"
            )
        }
        None => format!(
            "there is no /{name}; /help tells what there is (with a blank before it, it is sent as text)"
        ),
    }
}

/// What can be typed, a line each.
pub(crate) fn help() -> String {
    let left: Vec<_> = COMMANDS
        .iter()
        .map(|(name, takes, _)| format!("/{name} {takes}").trim_end().to_owned())
        .collect();
    let mut help = String::from(
        "enter sends; alt-enter, or a backslash at the end, begins a new line\n\
         up and down bring back what was typed before\n\
         ^O shows all that the last tool said, and once more what the one before it said\n",
    );
    for (left, (.., does)) in left.iter().zip(COMMANDS) {
        help.push_str(&format!("  {left}: {does}\n"));
    }
    help
}

/// As a shell makes words; where a quote has no other one, it is a character like others.
fn words(text: &str) -> Vec<String> {
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
        match read(text, &"ada".parse().unwrap()) {
            Some(Slash::Verb(words)) => words,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn wrong(text: &str) -> String {
        match read(text, &"ada".parse().unwrap()) {
            Some(Slash::Wrong(why)) => why,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn the_words_are_those_of_the_command_line() {
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
    fn what_is_of_this_member_need_not_be_said() {
        assert_eq!(verb("/stop"), ["stop", "ada"]);
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
    fn a_path_and_a_text_are_no_commands() {
        let ada = "ada".parse().unwrap();
        for text in ["/etc/hosts is wrong", "look at /task", "/", "/T-1"] {
            assert_eq!(read(text, &ada), None, "{text}");
        }
    }

    #[test]
    fn what_there_is_not_names_the_nearest() {
        assert!(wrong("/taks add x").contains("/task"));
        assert!(wrong("/zzz").contains("/help"));
        assert!(wrong("/top").contains("agent-team top"));
        assert!(wrong("/team x").contains("/team 3"));
    }
}
