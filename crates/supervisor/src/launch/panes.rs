//! The list of terminal backends, and the backend of a team. A backend is a directory here and a registration in this
//! file: a variant of [`TerminalBackend`], its match arms in the two methods, and a row of [`BACKENDS`].
//!
//! A backend only shows workers: to start a worker, it runs the worker's program in a pane. Liveness, stopping and exit
//! status are handled elsewhere, identically for all backends.

pub(super) mod interface;
mod iterm;
pub(super) mod tmux;

use agent_team_protocol::TeamId;
use agent_team_protocol::placement::{CallerTerminal, Placement, PlacementChoice};
use agent_team_protocol::spec::Layout;
use agent_team_protocol::style::Theme;
use agent_team_system::directories::Directories;
use serde::{Deserialize, Serialize};

pub(super) use interface::Panes;
use interface::{Offer, Pending, Purpose, Unavailable};

/// The terminal backend of a team, with the data that a later supervisor needs to find the team's panes again. Stored
/// in the journal: variants and fields are added, never renamed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(crate) enum TerminalBackend {
    Headless,
    Hosted,
    Tmux(tmux::TmuxSite),
    Iterm(iterm::ItermSite),
}

impl TerminalBackend {
    /// The placement of a member if its spec sets none.
    pub(crate) fn placement(&self) -> Placement {
        match self {
            Self::Headless => Placement::Headless,
            Self::Hosted => Placement::Hosted,
            Self::Tmux(_) => Placement::Tmux,
            Self::Iterm(_) => Placement::Iterm,
        }
    }

    /// The panes of a team, `None` if its members have no panes. Makes no call to the terminal.
    pub(super) fn open(
        self,
        team: TeamId,
        layout: Layout,
        theme: Theme,
        directories: &Directories,
    ) -> Option<Box<dyn Panes>> {
        match self {
            Self::Headless | Self::Hosted => None,
            Self::Tmux(site) => Some(Box::new(tmux::TmuxPanes::new(
                team,
                site,
                layout,
                theme,
                directories,
            ))),
            Self::Iterm(site) => Some(Box::new(iterm::ItermPanes::new(team, site, layout))),
        }
    }
}

/// A terminal backend that opens panes, with the value of `--panes` that selects it.
pub(super) struct PaneBackend {
    pub(super) choice: PlacementChoice,
    /// The backend's name in texts for the user.
    pub(super) name: &'static str,
    /// Whether `auto` tries this backend.
    pub(super) is_in_auto: bool,
    /// A text that `doctor` adds to the backend's report, unless the caller is outside the backend's terminal.
    pub(super) caveat: Option<&'static str>,
    pub(super) probe: Probe,
}

/// Checks whether the caller's terminal can show the panes of a team.
type Probe = for<'a> fn(
    &'a CallerTerminal,
    &'a Directories,
    Purpose,
) -> Pending<'a, Result<Offer<TerminalBackend>, Unavailable>>;

/// The backends, in the order in which `auto` tries them and `doctor` reports them.
pub(super) static BACKENDS: [PaneBackend; 3] = [
    PaneBackend {
        choice: PlacementChoice::Tmux,
        name: "tmux",
        is_in_auto: true,
        caveat: None,
        probe: |terminal, directories, _| {
            Box::pin(async {
                let offer = tmux::probe(terminal, directories).await?;
                Ok(offer.map(TerminalBackend::Tmux))
            })
        },
    },
    PaneBackend {
        choice: PlacementChoice::Iterm,
        name: "iTerm2",
        is_in_auto: true,
        caveat: Some(iterm::UNTESTED),
        probe: |terminal, directories, purpose| {
            Box::pin(async move {
                let offer = iterm::probe(terminal, directories, purpose).await?;
                Ok(offer.map(TerminalBackend::Iterm))
            })
        },
    },
    PaneBackend {
        choice: PlacementChoice::ItermTmux,
        name: "tmux drawn by iTerm2",
        is_in_auto: false,
        caveat: Some(iterm::UNTESTED),
        probe: |terminal, directories, _| {
            Box::pin(async {
                let offer = tmux::probe_drawn(terminal, directories).await?;
                Ok(offer.map(TerminalBackend::Tmux))
            })
        },
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_choice_with_panes_has_a_backend() {
        for choice in PlacementChoice::ALL {
            let has_panes = choice.info().placement.is_some_and(Placement::has_panes);
            let is_here = BACKENDS.iter().any(|backend| backend.choice == choice);
            assert_eq!(is_here, has_panes, "{choice:?}");
        }
    }

    #[test]
    fn backends_keep_their_json_form_in_the_journal() {
        let stored = [
            r#"{"kind":"headless"}"#,
            r#"{"kind":"hosted"}"#,
            r#"{"kind":"tmux","binary":"/t","socket":"/s","session":"own","size":[80,24]}"#,
            r#"{"kind":"tmux","binary":"/t","socket":"/s","session":{"users":"$1"},"size":[80,24],"control_mode":true}"#,
            r#"{"kind":"iterm","socket":"/s","session":null,"osascript":"/o"}"#,
        ];
        for text in stored {
            let read: TerminalBackend = serde_json::from_str(text).unwrap();
            assert_eq!(serde_json::to_string(&read).unwrap(), text);
        }
    }
}
