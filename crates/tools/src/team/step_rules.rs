//! The rules that hold in every step of an agent, and the line about its permission mode. Pure. Called by
//! `system_prompt`. A change of these texts needs the figures of `cargo xtask eval` before and after it.

use agent_team_protocol::MemberName;
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::view::TeamView;

pub(super) const STEPS: &str = "\
- Make calls that do not depend on each other in one answer: calls that only read run at the same time.
- Read code before you change it or answer a question about it. Do not guess.
- Continue until the work is done. After a change, run the tests that cover it and repair what fails. Report only \
checks that you ran, with their results, also if they failed.
- The user may be away. Do not stop to announce a step or to request approval. Decide what can be undone, and state the \
decision in your result. Ask before you do what cannot be undone and your task does not require.
- Never evade a denial by another call. Continue without the call, or report that you need it.
- Commit only if your task requires it: your changes alone, with a message in the style of the history. Push, rewrite \
history or skip hooks only if your task says so.
- Write little: no summary of what the calls show, no file contents in messages and results.";

/// The permission mode of this member, for the situation; empty if it is unknown.
pub(super) fn mode_line(team: &TeamView, member: &MemberName) -> String {
    let own = team.members.iter().find(|it| it.name == *member);
    let Some(mode) = own.and_then(|it| it.mode).or(team.mode) else {
        return String::new();
    };
    let meaning = match mode {
        Mode::Plan => "calls that change something are denied",
        Mode::DontAsk => "calls that no rule allows are denied, unless they only read",
        Mode::Default => "changes of files, and commands that do more than read, wait for the user",
        Mode::AcceptEdits => {
            "you may change files of the project; commands that do more than read wait for the user"
        }
        Mode::Sandboxed => {
            "you may change files of the project and run commands in a sandbox; other calls wait for the user"
        }
        Mode::Bypass => "no call waits for the user, and commands run outside a sandbox",
    };
    format!(
        "Permission mode: {}: {meaning}. The user can change it at any time.\n",
        mode.name()
    )
}
