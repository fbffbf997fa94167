//! The key of agent-team's server that shows the next waiting member: `^B a`. Used by [`super::create`]; pure.
//!
//! All teams share the key table of the server. So the key runs the shell line in an option of the session, which
//! contains the team.

use std::ffi::OsStr;
use std::path::Path;

use agent_team_protocol::TeamId;
use agent_team_protocol::text::shell_quoted;
use agent_team_system::directories::Directories;

use super::call::Command;
use super::user_options::{NEXT_OPTION, WAITING_OPTION};

/// The program of the command line.
pub(super) const COMMAND_LINE: &str = "agent-team";

/// The shell line that shows the next waiting member of a team: `agent-team next`, in the environment in which it finds
/// this installation. tmux discards stderr, so errors are printed with the output. `None`: a path is not text.
pub(super) fn next_line(binary: &Path, team: &TeamId, directories: &Directories) -> Option<String> {
    let mut words = vec!["/usr/bin/env".to_owned()];
    // Options come before all assignments.
    let (set, unset): (Vec<_>, Vec<_>) = directories
        .variables()
        .into_iter()
        .partition(|(_, value)| value.is_some());
    for (name, _) in unset {
        words.extend(["-u".to_owned(), name.to_owned()]);
    }
    for (name, value) in set {
        let value = value.unwrap_or_default();
        words.push(format!("{name}={}", quoted(&value)?));
    }
    words.push(quoted(binary.as_os_str())?);
    words.extend(["--team", team.as_str(), "next", "2>&1"].map(str::to_owned));
    Some(words.join(" "))
}

/// The commands that bind the key, and set the shell line for a session.
pub(super) fn bind(session: &str, next_line: &str) -> [Command; 2] {
    let waits = format!("#{{W:#{{{WAITING_OPTION}}}}}");
    // tmux inserts the value of the option and does not expand it again.
    let run = format!("run-shell -b '#{{{NEXT_OPTION}}}'");
    let none = "display-message 'no member waits for you'";
    [
        Command::of(&["set-option", "-t", session, "--", NEXT_OPTION, next_line]),
        Command::of(&["bind-key", "a", "if-shell", "-F", &waits, &run, none]),
    ]
}

/// The word, quoted for a POSIX shell.
fn quoted(word: &OsStr) -> Option<String> {
    word.to_str().map(shell_quoted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_quotes_paths_and_unsets_variables_first() {
        let team = TeamId::from_directory_name("demo-12345678").unwrap();
        let directories = Directories {
            state: "/h/it's/agent-team".into(),
            run: "/r/agent-team".into(),
            config: "/c/agent-team".into(),
        };
        assert_eq!(
            next_line(Path::new("/b in/agent-team"), &team, &directories).unwrap(),
            r"/usr/bin/env -u AGENT_TEAM_HOME XDG_STATE_HOME='/h/it'\''s' XDG_CONFIG_HOME='/c' XDG_RUNTIME_DIR='/r' '/b in/agent-team' --team demo-12345678 next 2>&1"
        );
    }
}
