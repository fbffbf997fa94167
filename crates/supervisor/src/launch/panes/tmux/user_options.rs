//! The tmux user options of panes and windows that the formats of borders and status lines read.

pub(super) const LABEL_OPTION: &str = "@agent_team_label";
pub(super) const COLOUR_OPTION: &str = "@agent_team_colour";
/// Set while the member waits for the user.
pub(super) const ASKS_OPTION: &str = "@agent_team_asks";
/// The styles of a window's borders before agent-team changed them.
pub(super) const BORDER_OPTION: &str = "@agent_team_border";
pub(super) const ACTIVE_BORDER_OPTION: &str = "@agent_team_active_border";
/// The shell line that the key `^B a` runs in a session.
pub(super) const NEXT_OPTION: &str = "@agent_team_next";
/// Options of the team's first window, for status lines. A status line reads them with a loop over the windows of its
/// tmux session, because agent-team sets no options on the user's sessions, only on its own windows and panes.
pub(super) const WAITING_OPTION: &str = "@agent_team_waiting";
pub(super) const NAME_OPTION: &str = "@agent_team_name";
pub(super) const COMPLETED_OPTION: &str = "@agent_team_completed";
pub(super) const FAILED_OPTION: &str = "@agent_team_failed";
pub(super) const IN_PROGRESS_OPTION: &str = "@agent_team_in_progress";
pub(super) const COST_OPTION: &str = "@agent_team_cost";
pub(super) const MODE_OPTION: &str = "@agent_team_mode";
