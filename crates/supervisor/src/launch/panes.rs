//! The places in which a member has a pane, behind the same calls. Called by the team's launcher, one order at a time.
//!
//! A place shows workers, and no more: starting one there is telling it which program to run. Who lives, how a worker is
//! stopped and what it ended with is known elsewhere, and the same for all. A new place is a variant here.

use agent_team_protocol::method::{AttachAnswer, CallerTerminal};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::view::Receipt;
use agent_team_protocol::{MemberName, Refusal, TeamId};
use agent_team_system::directories::Directories;

use super::{FoundPane, Label, LaunchOrder, Running, iterm, tmux};
use crate::settings::Terminal;

/// The panes of one team.
#[derive(Debug)]
pub(super) enum Panes {
    Tmux(tmux::Panes),
    Iterm(iterm::Panes),
}

impl Panes {
    /// Makes no call of the terminal yet. `None` where members have no panes.
    pub(super) fn at(
        terminal: Terminal,
        team: TeamId,
        layout: Layout,
        directories: &Directories,
    ) -> Option<Self> {
        match terminal {
            Terminal::Headless | Terminal::Hosted => None,
            Terminal::Tmux(place) => {
                let panes = tmux::Panes::new(team, place, layout, directories);
                Some(Self::Tmux(panes))
            }
            Terminal::Iterm(place) => Some(Self::Iterm(iterm::Panes::new(team, place, layout))),
        }
    }

    /// A worker for each order, in the member's own pane where there is one. One outcome for each, in order.
    pub(super) async fn start(&mut self, orders: &[LaunchOrder]) -> Vec<Result<Running, String>> {
        match self {
            Self::Tmux(panes) => panes.start(orders).await,
            Self::Iterm(panes) => panes.start(orders).await,
        }
    }

    /// Whether the last start failed because there is nowhere to put a pane until the person does something about it.
    pub(super) fn are_gone(&self) -> bool {
        match self {
            Self::Tmux(panes) => panes.are_gone(),
            Self::Iterm(panes) => panes.are_gone(),
        }
    }

    /// The team's panes as they are now: whose, with which process, and their ids.
    pub(super) async fn found(&mut self) -> Vec<FoundPane> {
        match self {
            Self::Tmux(panes) => panes.found().await,
            Self::Iterm(panes) => panes.found().await,
        }
    }

    /// What is known of the panes may be wrong.
    pub(super) fn forget(&mut self) {
        match self {
            Self::Tmux(panes) => panes.forget(),
            // It asks each time.
            Self::Iterm(_) => {}
        }
    }

    /// Shows what the members are and do. Best effort: it is looks.
    pub(super) async fn label(&mut self, labels: Vec<(MemberName, Label)>) {
        match self {
            Self::Tmux(panes) => panes.label(labels).await,
            Self::Iterm(panes) => panes.label(labels).await,
        }
    }

    /// Has status lines say who waits for the person; nobody: an empty text.
    pub(super) async fn tell_waiting(&mut self, summary: &str) {
        match self {
            Self::Tmux(panes) => panes.tell_waiting(summary).await,
            // It has none; who waits says so in the name of the session.
            Self::Iterm(_) => {}
        }
    }

    /// What the caller runs to see the team or one member's pane, if anything; of a member that is there, the pane is
    /// one in which a process of `shown_by` is.
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

    /// Closes the member's pane. Best effort: what is left is closed with the team.
    pub(super) async fn close(&mut self, member: &MemberName) {
        match self {
            Self::Tmux(panes) => panes.close(member).await,
            Self::Iterm(panes) => panes.close(member).await,
        }
    }

    /// Closes every pane of the team, with a receipt for each.
    pub(super) async fn close_all(&mut self) -> Vec<Receipt> {
        match self {
            Self::Tmux(panes) => panes.close_all().await,
            Self::Iterm(panes) => panes.close_all().await,
        }
    }
}
