//! The terminal backends that have panes, behind one interface. Called by the team's launcher, one order at a time.
//!
//! A backend only shows workers: starting one means running its program in a pane. Liveness, stopping and exit status
//! are handled elsewhere, identically for all backends. A new backend is a new variant here.

use agent_team_protocol::method::{AttachAnswer, CallerTerminal};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::view::Receipt;
use agent_team_protocol::{MemberName, Refusal, TeamId};
use agent_team_system::directories::Directories;

use super::{FoundPane, Label, LaunchOrder, StartedWorker, iterm, tmux};
use crate::settings::TerminalBackend;

/// The panes of one team.
#[derive(Debug)]
pub(super) enum Panes {
    Tmux(tmux::Panes),
    Iterm(iterm::Panes),
}

impl Panes {
    /// Makes no call to the terminal yet. `None` if members have no panes.
    pub(super) fn for_backend(
        terminal: TerminalBackend,
        team: TeamId,
        layout: Layout,
        directories: &Directories,
    ) -> Option<Self> {
        match terminal {
            TerminalBackend::Headless | TerminalBackend::Hosted => None,
            TerminalBackend::Tmux(backend) => {
                let panes = tmux::Panes::new(team, backend, layout, directories);
                Some(Self::Tmux(panes))
            }
            TerminalBackend::Iterm(backend) => {
                Some(Self::Iterm(iterm::Panes::new(team, backend, layout)))
            }
        }
    }

    /// Starts a worker for each order, in the member's existing pane if there is one. One result per order, in order.
    pub(super) async fn start(
        &mut self,
        orders: &[LaunchOrder],
    ) -> Vec<Result<StartedWorker, String>> {
        match self {
            Self::Tmux(panes) => panes.start(orders).await,
            Self::Iterm(panes) => panes.start(orders).await,
        }
    }

    /// Whether the last start failed because no pane can be opened until the user acts, for example after the window
    /// was closed.
    pub(super) fn is_gone(&self) -> bool {
        match self {
            Self::Tmux(panes) => panes.is_gone(),
            Self::Iterm(panes) => panes.is_gone(),
        }
    }

    /// The team's current panes: member, process and id.
    pub(super) async fn found(&mut self) -> Vec<FoundPane> {
        match self {
            Self::Tmux(panes) => panes.found().await,
            Self::Iterm(panes) => panes.found().await,
        }
    }

    /// Drops cached knowledge of the panes.
    pub(super) fn forget(&mut self) {
        match self {
            Self::Tmux(panes) => panes.forget(),
            // Caches nothing.
            Self::Iterm(_) => {}
        }
    }

    /// Shows labels of members. Best effort: labels are cosmetic.
    pub(super) async fn label(&mut self, labels: Vec<(MemberName, Label)>) {
        match self {
            Self::Tmux(panes) => panes.label(labels).await,
            Self::Iterm(panes) => panes.label(labels).await,
        }
    }

    /// Shows the summary of members that wait for the user in status lines; an empty text clears it.
    pub(super) async fn show_summary(&mut self, summary: &str) {
        match self {
            Self::Tmux(panes) => panes.show_summary(summary).await,
            // iTerm2 has no status line; session names show waiting members.
            Self::Iterm(_) => {}
        }
    }

    /// The command with which the caller sees the team or one member's pane. For a connected member only a pane whose
    /// process is in `shown_by` counts.
    pub(super) async fn attach(
        &mut self,
        member: Option<&MemberName>,
        shown_by: Option<&[u32]>,
        read_only: bool,
        terminal: &CallerTerminal,
    ) -> Result<AttachAnswer, Refusal> {
        match self {
            Self::Tmux(panes) => panes.attach(member, shown_by, read_only, terminal).await,
            Self::Iterm(panes) => panes.attach(member, shown_by, read_only, terminal).await,
        }
    }

    /// Closes the member's pane. Best effort: remaining panes are closed with the team.
    pub(super) async fn close(&mut self, member: &MemberName) {
        match self {
            Self::Tmux(panes) => panes.close(member).await,
            Self::Iterm(panes) => panes.close(member).await,
        }
    }

    /// Closes all panes of the team, with a receipt for each.
    pub(super) async fn close_all(&mut self) -> Vec<Receipt> {
        match self {
            Self::Tmux(panes) => panes.close_all().await,
            Self::Iterm(panes) => panes.close_all().await,
        }
    }
}
