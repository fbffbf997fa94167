//! Generates `docs/reference/keys.md`. The keys of `top` and of the prompt come from the help of these views; all other
//! keys are listed here.

use agent_team_terminal_ui::{PromptKind, prompt_help};

use super::cell::cell;
use crate::top::help_lines;

/// Keys of a permission request in a pane.
const REQUEST: [(&str, &str); 6] = [
    (
        "`y`",
        "allow the request: once, or for the scope of `default_scope`",
    ),
    ("`1` to `9`", "allow the numbered rule for the whole team"),
    ("`n`", "deny the request"),
    ("`e`", "deny the request with a reason"),
    ("`^O`, space", "show more of a long request"),
    ("esc", "fold the request to a line; `^O` shows it again"),
];

/// Keys of the view of a team in one terminal, besides the keys of the prompt.
const SINGLE_TERMINAL: [(&str, &str); 3] = [
    ("tab", "at an empty prompt: show the next member"),
    ("`^T`", "show the previous member"),
    ("`^C` twice, `^\\`", "leave; the team keeps running"),
];

/// Keys of `attach` to a member without a pane.
const ATTACHED: [(&str, &str); 1] = [("`^\\`", "detach; the member keeps running")];

/// Keys of tmux with its default prefix, for the panes of a team.
const TMUX: [(&str, &str); 7] = [
    ("`^B` `d`", "detach; the team keeps running"),
    (
        "`^B` `a`",
        "show the member that has waited for you longest; only in the tmux that `up` starts",
    ),
    ("`^B` and an arrow", "go to the pane in that direction"),
    ("`^B` `z`", "enlarge the pane, or make it small again"),
    (
        "`^B` `[`",
        "scroll with the arrows and page keys; `q` ends it",
    ),
    (
        "`^B` `n`, `^B` `p`",
        "go to the next or the previous window",
    ),
    (
        "`^B` `q`",
        "show the numbers of the panes; a digit goes there",
    ),
];

pub(super) fn page() -> String {
    let top: Vec<(&str, &str)> = help_lines().collect();
    let top: String = top
        .iter()
        .map(|(keys, what)| format!("{keys:<18}{what}\n"))
        .collect();
    let top: String = top
        .lines()
        .map(|line| format!("{}\n", line.trim_end()))
        .collect();
    format!(
        "# Keys\n\n`^X` is Control and X.\n\n\
         ## `agent-team top`\n\n`?` shows this list.\n\n```text\n{top}```\n\n\
         ## The prompt of an agent\n\n`/help` shows this list. Shift-Tab changes the permission mode of the team.\n\n\
         ```text\n{}```\n\n\
         ## The prompt of a command member\n\n```text\n{}```\n\n\
         ## A permission request in a pane\n\n`y` and the digits work only after every line of the request has been on \
         the screen. Keys that decide are ignored until the request has been on the screen for a moment in which you \
         pressed no key.\n\n{}\n\
         ## A team in one terminal\n\n{}\n\
         ## `agent-team attach` to a member without a pane\n\n{}\n\
         ## tmux\n\nThese are keys of tmux with its default prefix, `^B`.\n\n{}\n\
         The [guide](../guide/panes.md) shows how to bind a key of your own tmux to `agent-team next`.\n",
        prompt_help(PromptKind::Message),
        prompt_help(PromptKind::Shell),
        table(&REQUEST),
        table(&SINGLE_TERMINAL),
        table(&ATTACHED),
        table(&TMUX),
    )
}

fn table(rows: &[(&str, &str)]) -> String {
    let rows: String = rows
        .iter()
        .map(|(keys, what)| format!("| {} | {} |\n", cell(keys), cell(what)))
        .collect();
    format!("| key | action |\n|---|---|\n{rows}")
}
