//! Trust in the lines of a project's files that permit calls or run programs. `up` and `run` check it before a team
//! starts; `init` grants it for its own template.
//!
//! The files come with the project and may be hostile: these lines take effect only after the user has trusted their
//! digest. The trusted lines are stored for the project, so later only a change needs a new decision, and only the
//! change is shown.

use std::io::{BufRead, Write};
use std::path::Path;

use agent_team_file::{ABSENT, Loaded, RequiredTrust};
use agent_team_policy::quoted;
use agent_team_protocol::TeamId;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::text::visible_line;
use agent_team_system::directories::Directories;
use agent_team_system::{private_file, terminal};
use serde::{Deserialize, Serialize};

use crate::error::Failure;
use crate::output::Output;

/// The trusted lines as stored. Earlier versions stored only the digest, as plain text.
#[derive(Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct TrustedLines {
    digest: String,
    #[serde(default)]
    lines: Option<Vec<String>>,
}

/// Succeeds if no line needs trust, or if the user trusted the lines: earlier, by `--trust`, or on the terminal.
pub(super) fn check(
    output: Output,
    required_trust: Option<&RequiredTrust>,
    team: &TeamId,
    typed: Option<&str>,
) -> Result<(), Failure> {
    let Some(required_trust) = required_trust else {
        return Ok(());
    };
    let directories = Directories::from_environment()?;
    let trusted = read(&directories.trusted(team.as_str()));
    if trusted.digest == required_trust.digest {
        return Ok(());
    }
    output.note(&changes(required_trust, trusted.lines.as_deref()));
    decide(
        output,
        required_trust,
        typed,
        "cannot start the team: its files are not trusted",
    )?;
    remember(&directories, team, required_trust)
}

/// Like [`check`], for a member that the user spawns. The trust in the team's files covers the same lines. A new decision
/// is not stored: it does not concern the files.
pub(super) fn check_spawn(
    output: Output,
    required_trust: &RequiredTrust,
    team: &TeamId,
    typed: Option<&str>,
) -> Result<(), Failure> {
    let directories = Directories::from_environment()?;
    let trusted = read(&directories.trusted(team.as_str())).lines;
    let trusted = trusted.unwrap_or_default();
    if required_trust
        .lines
        .iter()
        .all(|line| trusted.contains(line))
    {
        return Ok(());
    }
    output.note(&changes(required_trust, None));
    decide(
        output,
        required_trust,
        typed,
        "cannot spawn the member: its agent is not trusted",
    )
}

/// Asks the user, or compares the digest that the user has typed.
fn decide(
    output: Output,
    required_trust: &RequiredTrust,
    typed: Option<&str>,
    refusal: &str,
) -> Result<(), Failure> {
    let is_trusted = match typed {
        Some(typed) => typed == required_trust.digest,
        None => !output.is_json() && may_ask() && ask()?,
    };
    match is_trusted {
        true => Ok(()),
        false => Err(untrusted(output, required_trust, refusal)),
    }
}

/// Trusts the lines of a team file that `init` has just written. When another file of the project adds a line, nothing
/// is trusted, and `up` asks.
pub(super) fn trust_own(file: &Loaded) -> Result<(), Failure> {
    let Some(required_trust) = &file.required_trust else {
        return Ok(());
    };
    let of_tasks = |line: &String| line.starts_with("task ");
    if !required_trust.lines.iter().all(of_tasks) {
        return Ok(());
    }
    let team = TeamId::new(&file.spec.name, &file.spec.project);
    remember(&Directories::from_environment()?, &team, required_trust)
}

fn read(file: &Path) -> TrustedLines {
    let Ok(bytes) = private_file::read(file) else {
        return TrustedLines::default();
    };
    serde_json::from_slice(&bytes).unwrap_or_else(|_| TrustedLines {
        digest: String::from_utf8_lossy(&bytes).into_owned(),
        lines: None,
    })
}

fn remember(
    directories: &Directories,
    team: &TeamId,
    required_trust: &RequiredTrust,
) -> Result<(), Failure> {
    directories.prepare()?;
    let trusted = TrustedLines {
        digest: required_trust.digest.clone(),
        lines: Some(required_trust.lines.clone()),
    };
    let written = serde_json::to_vec(&trusted)
        .map_err(std::io::Error::other)
        .and_then(|bytes| private_file::replace(&directories.trusted(team.as_str()), &bytes));
    written.map_err(|error| Failure::io("cannot store the trust", &error))
}

/// Whether a user is at the terminal: the question is written to stderr, the answer is read from stdin.
fn may_ask() -> bool {
    terminal::is_terminal(std::io::stdin()) && terminal::is_terminal(std::io::stderr())
}

/// Asks on the terminal; an empty answer means no.
fn ask() -> Result<bool, Failure> {
    let failed = |error: std::io::Error| Failure::io("cannot ask on the terminal", &error);
    let mut stderr = anstream::stderr();
    write!(stderr, "Trust this? [y/N] ").map_err(failed)?;
    stderr.flush().map_err(failed)?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .read_line(&mut answer)
        .map_err(failed)?;
    Ok(["y", "yes"].contains(&answer.trim().to_ascii_lowercase().as_str()))
}

/// All lines, or the difference from the trusted lines.
fn changes(required_trust: &RequiredTrust, before: Option<&[String]>) -> String {
    let Some(before) = before else {
        let mut text =
            "these lines of the project take effect only after you trust them:".to_owned();
        for line in &required_trust.lines {
            text.push_str(&format!("\n  {}", visible_line(line)));
        }
        return text;
    };
    let mut text = "these lines of the project changed since you trusted them:".to_owned();
    let mut removed: Vec<&String> = before.iter().collect();
    removed.retain(|line| !required_trust.lines.contains(line));
    let mut new = String::new();
    for line in required_trust
        .lines
        .iter()
        .filter(|line| !before.contains(line))
    {
        let is_before = |old: &&String| subject(line).is_some() && subject(old) == subject(line);
        match removed.iter().position(is_before) {
            Some(at) => {
                let (old, subject) = (removed.remove(at), subject(line).unwrap_or_default());
                let old = old.strip_prefix(subject).unwrap_or(old);
                let (line, old) = (visible_line(line), visible_line(old));
                new.push_str(&format!("\n  ~ {line}\n    before:{old}"));
            }
            None => new.push_str(&format!("\n  + {}", visible_line(line))),
        }
    }
    // If only lines about absent files were removed, the lines that start the files are unchanged: the files exist now.
    // They are not scripts, because a script would have a new line with its digest.
    let is_built =
        new.is_empty() && !removed.is_empty() && removed.iter().all(|line| line.ends_with(ABSENT));
    for line in removed {
        text.push_str(&format!("\n  - {}", visible_line(line)));
    }
    if is_built {
        text.push_str("\n  (it exists now and is not a script, so its content is not checked)");
    }
    text.push_str(&new);
    let kept = required_trust
        .lines
        .iter()
        .filter(|line| before.contains(line));
    match kept.count() {
        0 => {}
        kept => text.push_str(&format!("\n  ({kept} more are unchanged)")),
    }
    text
}

/// The beginning of a line that stays the same when the line changes, such as `task "Check" runs`. `None`: the line has
/// no such beginning.
fn subject(line: &str) -> Option<&str> {
    /// The ends of such beginnings; each is followed by a blank.
    const ENDS: [&str; 4] = [" runs", " is verified by", " is at", " (SHA-256"];

    // The key of a task is quoted, and can contain such an end.
    let key = line.strip_prefix("task \"").map(|rest| {
        let mut is_escaped = false;
        let end = rest.find(|c| {
            let was_escaped = is_escaped;
            is_escaped = c == '\\' && !was_escaped;
            c == '"' && !was_escaped
        });
        line.len() - rest.len() + end.unwrap_or_default()
    });
    let after = key.unwrap_or_default();
    let end_of = |end: &&str| Some(after + line[after..].find(&format!("{end} "))? + end.len());
    let end = ENDS.iter().filter_map(end_of).min()?;
    Some(&line[..end])
}

/// The error for untrusted lines. With `--json` its message contains the lines; otherwise they were printed before.
fn untrusted(output: Output, required_trust: &RequiredTrust, refusal: &str) -> Failure {
    let mut text = refusal.to_owned();
    if output.is_json() {
        text.push_str(&format!(": {}", required_trust.lines.join("; ")));
    }
    let command = command_with(&required_trust.digest, std::env::args().skip(1));
    Failure::new("untrusted", ExitCode::Refused, text)
        .hint(format!("if you trust these lines: {command}"))
}

/// The command line with these arguments and this digest, for a shell.
fn command_with(digest: &str, arguments: impl Iterator<Item = String>) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut arguments = arguments.peekable();
    while let Some(argument) = arguments.next_if(|argument| argument != "--") {
        match argument.as_str() {
            // Drop the digest that did not match.
            "--trust" => drop(arguments.next()),
            wrong if wrong.starts_with("--trust=") => {}
            _ => words.push(argument),
        }
    }
    words.extend(["--trust".to_owned(), digest.to_owned()]);
    words.extend(arguments);
    let words: Vec<String> = words.iter().map(|word| quoted(word)).collect();
    format!("agent-team {}", words.join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn required_trust(lines: &[&str]) -> RequiredTrust {
        RequiredTrust {
            lines: lines.iter().map(|&line| line.to_owned()).collect(),
            digest: lines.concat(),
        }
    }

    #[test]
    fn only_changed_lines_are_shown() {
        let now = required_trust(&["a", "b", "c\u{1b}"]);
        let all = changes(&now, None);
        assert!(all.contains("\n  a\n  b\n  c"), "{all}");
        assert!(!all.contains('\u{1b}'), "{all}");
        let before = ["a".to_owned(), "x".to_owned()];
        let change = changes(&now, Some(&before));
        assert!(change.contains(":\n  - x\n  + b\n  + c"), "{change}");
        assert!(change.ends_with("\n  (1 more are unchanged)"), "{change}");
    }

    #[test]
    fn the_hint_is_a_command_that_a_shell_runs() {
        let hint = |arguments: &[&str]| {
            command_with(
                "0aff",
                arguments.iter().map(|&argument| argument.to_owned()),
            )
        };
        assert_eq!(
            hint(&["up", "--detach"]),
            "agent-team up --detach --trust 0aff"
        );
        assert_eq!(
            hint(&["run", "--trust", "0000", "it's done"]),
            r"agent-team run 'it'\''s done' --trust 0aff"
        );
        let agent = ["spawn", "ada", "--trust=0", "--", "cat", "--trust"];
        assert_eq!(
            hint(&agent),
            "agent-team spawn ada --trust 0aff -- cat --trust"
        );
    }

    #[test]
    fn a_changed_line_is_listed_once() {
        let now = required_trust(&[
            "task \"a \\\" runs b\" runs make check",
            "task \"New\" runs make",
            "the script check.sh (SHA-256 2)",
            "allow Bash(make:*)",
        ]);
        let before = [
            "task \"Old\" runs make",
            "task \"a \\\" runs b\" runs make",
            "the script check.sh (SHA-256 1)",
            "allow Bash(make check)",
        ];
        let change = changes(&now, Some(&before.map(str::to_owned)));
        let lines: Vec<&str> = change.lines().skip(1).collect();
        assert_eq!(
            lines,
            [
                "  - task \"Old\" runs make",
                "  - allow Bash(make check)",
                "  ~ task \"a \\\" runs b\" runs make check",
                "    before: make",
                "  + task \"New\" runs make",
                "  ~ the script check.sh (SHA-256 2)",
                "    before: 1)",
                "  + allow Bash(make:*)",
            ]
        );
    }

    #[test]
    fn a_built_program_is_explained() {
        let before = ["a".to_owned(), format!("the script built{ABSENT}")];
        let built = changes(&required_trust(&["a"]), Some(&before));
        assert!(
            built.contains("(it exists now and is not a script"),
            "{built}"
        );
        // The line that starts the program is gone, so the program may still be absent.
        let removed = changes(&required_trust(&["b"]), Some(&before));
        assert!(!removed.contains("exists now"), "{removed}");
    }

    #[test]
    fn trust_stored_by_earlier_versions_is_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("trusted");
        assert_eq!(read(&file), TrustedLines::default());
        private_file::create(&file, b"0123").unwrap();
        assert_eq!(read(&file).digest, "0123");
    }
}
