//! The interface of terminal backends: the trait that each backend implements, and the types of its answers. Called by
//! the team's launcher, one order at a time, and by `launch/backend.rs`, which chooses the backend.

use std::fmt::Debug;
use std::pin::Pin;

use agent_team_core::input::ProcessExit;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::method::AttachAnswer;
use agent_team_protocol::placement::CallerTerminal;
use agent_team_protocol::view::{Receipt, ReceiptKind, ReceiptOutcome};
use agent_team_protocol::{ErrorCode, MemberName, Refusal};

use crate::launch::order::{Label, LaunchOrder, TeamSummary};
use crate::launch::report::{FoundPane, StartedWorker};

pub(in crate::launch) type Pending<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// The panes of one team.
pub(in crate::launch) trait Panes: Debug {
    /// Runs the program of each order, in the member's existing pane if there is one. Returns the results in the same
    /// sequence.
    fn start<'a>(
        &'a mut self,
        orders: &'a [LaunchOrder],
    ) -> Pending<'a, Vec<Result<StartedWorker, String>>>;

    /// Whether the last start failed because no pane can be opened until the user acts, for example after the window
    /// was closed.
    fn is_gone(&self) -> bool;

    /// Lists the team's panes again: member, process and id.
    fn found(&mut self) -> Pending<'_, Vec<FoundPane>>;

    /// Shows labels of members. Best effort: labels are cosmetic.
    fn label(&mut self, labels: Vec<(MemberName, Label)>) -> Pending<'_, ()>;

    /// Shows the summary in status lines. A backend without status lines does nothing: labels also show waiting
    /// members.
    fn show_summary<'a>(&'a mut self, _summary: &'a TeamSummary) -> Pending<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Lays out the panes again, because a pane has become too small or has grown. Does nothing by default, for
    /// terminals that lay out panes themselves.
    fn arrange(&mut self) -> Pending<'_, ()> {
        Box::pin(std::future::ready(()))
    }

    /// Whether the pane with this id is the active pane of a terminal that has the focus. False if the terminal does
    /// not report its focus, as the default implementation assumes.
    fn has_focus<'a>(&'a self, _pane: &'a str) -> Pending<'a, bool> {
        Box::pin(std::future::ready(false))
    }

    /// How this process of a pane exited; `Unknown` if the terminal does not report it, as the default implementation
    /// assumes.
    fn exit_of<'a>(&'a self, _pane: &'a str, _pid: u32) -> Pending<'a, ProcessExit> {
        Box::pin(std::future::ready(ProcessExit::Unknown))
    }

    /// The command that shows the caller the team or one member's pane; empty if the caller's terminal already shows
    /// it. For a connected member, only a pane with a process in `shown_by` counts.
    fn attach<'a>(
        &'a mut self,
        member: Option<&'a MemberName>,
        shown_by: Option<&'a [u32]>,
        read_only: bool,
        terminal: &'a CallerTerminal,
    ) -> Pending<'a, Result<AttachAnswer, Refusal>>;

    /// Closes the member's pane. Best effort: remaining panes are closed with the team.
    fn close<'a>(&'a mut self, member: &'a MemberName) -> Pending<'a, ()>;

    /// Closes the panes of the team and no other pane. Returns a receipt for each pane that is closed or survives, and
    /// for each pane that is kept because the user opened it or runs another program in it.
    fn close_all(&mut self) -> Pending<'_, Vec<Receipt>>;
}

/// Why a backend is probed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::launch) enum Purpose {
    /// The user requested this backend, or a report on it.
    Requested,
    /// `auto` tries this backend, so the probe must not wait for the user.
    Auto,
}

/// Where a backend would open the panes of a team.
#[derive(Debug)]
pub(in crate::launch) struct Offer<S> {
    pub(in crate::launch) site: S,
    /// Why the panes would be opened there, for display.
    pub(in crate::launch) reason: String,
    /// Whether the panes open in the caller's own terminal, which `auto` prefers.
    pub(in crate::launch) is_callers: bool,
}

impl<S> Offer<S> {
    pub(super) fn map<T>(self, wrap: impl FnOnce(S) -> T) -> Offer<T> {
        let Self {
            site,
            reason,
            is_callers,
        } = self;
        Offer {
            site: wrap(site),
            reason,
            is_callers,
        }
    }
}

/// Why a backend cannot show a team.
#[derive(Debug)]
pub(in crate::launch) struct Unavailable {
    pub(in crate::launch) why: String,
    /// The hint for a user who requested this backend, or who runs `auto` in a terminal of this backend.
    pub(in crate::launch) hint: Option<&'static str>,
    /// The hint for a user who runs `doctor`.
    pub(in crate::launch) doctor_hint: Option<&'static str>,
    /// Whether `doctor` reports an error.
    pub(in crate::launch) is_fault: bool,
    /// The caller is in a terminal of this backend, so `auto` explains why it does not use the backend.
    pub(in crate::launch) is_here: bool,
}

/// The refusal for a member without a pane in a team with panes.
pub(super) fn not_shown(member: Option<&MemberName>) -> Refusal {
    let refusal = |what: String| Refusal::new(ErrorCode::NoPane, what);
    match member {
        Some(member) => refusal(format!(
            "{member} has no pane: the pane was closed, or {member} was never started"
        ))
        .hint(format!(
            "if {member} is running, open a new pane with: {}",
            CommandLine::ReopenPane(member)
        )),
        None => refusal(
            "the team has no window: it was closed, or no member was started in it".to_owned(),
        )
        .hint(format!("show the members with: {}", CommandLine::Ps)),
    }
}

pub(super) fn pane_receipt(what: String, outcome: ReceiptOutcome) -> Receipt {
    Receipt {
        kind: ReceiptKind::Pane,
        what,
        outcome,
    }
}
