//! Where members run and are shown: the placements, the caller's terminal, and reports on each placement.

use serde::{Deserialize, Serialize};

/// The requested placement of members.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PlacementChoice {
    /// The first of these that is available: the caller's tmux, the caller's iTerm2, the tmux server of agent-team. If
    /// none of them is available: hosted for a caller with a terminal, otherwise headless. The choice and its reason
    /// are reported.
    Auto,
    Tmux,
    /// Native sessions of iTerm2.
    Iterm,
    /// The tmux server of agent-team, whose windows and panes iTerm2 draws natively.
    ItermTmux,
    Headless,
    /// Several members in one process.
    Hosted,
}

/// The properties of a [`PlacementChoice`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacementInfo {
    /// The value of `--panes` and of `placement` in the team file, and the `name` in a [`PlacementReport`].
    pub word: &'static str,
    /// Explains the word in `--help`.
    pub help: &'static str,
    /// `None`: see [`PlacementChoice::Auto`].
    pub placement: Option<Placement>,
    /// Whether a single member can have this placement. iTerm2 can be chosen only for the whole team.
    pub for_members: bool,
}

impl PlacementChoice {
    /// All choices, in the order of `--help`.
    pub const ALL: [Self; 6] = [
        Self::Auto,
        Self::Tmux,
        Self::Iterm,
        Self::ItermTmux,
        Self::Headless,
        Self::Hosted,
    ];

    pub fn info(self) -> PlacementInfo {
        let of_members = |word, help, placement| PlacementInfo {
            word,
            help,
            placement,
            for_members: true,
        };
        let of_teams = |word, help, placement| PlacementInfo {
            for_members: false,
            ..of_members(word, help, Some(placement))
        };
        match self {
            Self::Auto => of_members(
                "auto",
                "Your tmux, your iTerm2, or a separate tmux server; without them hosted or headless",
                None,
            ),
            Self::Tmux => of_members("tmux", "A pane for each member", Some(Placement::Tmux)),
            Self::Iterm => of_teams("iterm", "Native iTerm2 sessions", Placement::Iterm),
            Self::ItermTmux => of_teams(
                "iterm-tmux",
                "A separate tmux server, shown by iTerm2 (tmux -CC)",
                Placement::Tmux,
            ),
            Self::Headless => of_members(
                "headless",
                "A process for each member, without a terminal",
                Some(Placement::Headless),
            ),
            Self::Hosted => of_members(
                "hosted",
                "All members in one process, shown in this terminal",
                Some(Placement::Hosted),
            ),
        }
    }
}

/// The actual placement of a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(rename_all = "snake_case")]
pub enum Placement {
    Tmux,
    Iterm,
    /// The member runs in its own process, without a terminal.
    Headless,
    /// The member runs together with other members in one process.
    Hosted,
    #[serde(other)]
    Unknown,
}

impl Placement {
    /// The text after "runs" in messages to the user.
    pub fn name(self) -> &'static str {
        match self {
            Self::Tmux => "in tmux",
            Self::Iterm => "in iTerm2",
            Self::Headless => "headless",
            Self::Hosted => "hosted",
            Self::Unknown => "in an unknown place (newer version)",
        }
    }

    /// Whether members with this placement have a pane, which they can lose.
    pub fn has_panes(self) -> bool {
        match self {
            Self::Tmux | Self::Iterm => true,
            Self::Headless | Self::Hosted | Self::Unknown => false,
        }
    }
}

/// The caller's terminal. The supervisor never uses its own environment for this.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerTerminal {
    /// `$TMUX`, when set.
    #[serde(default)]
    pub tmux: Option<String>,
    /// `$TMUX_PANE`, when set.
    #[serde(default)]
    pub tmux_pane: Option<String>,
    /// `$PATH`, to find tmux and osascript.
    pub path: String,
    /// Columns and rows; `None` without a terminal.
    #[serde(default)]
    pub size: Option<(u16, u16)>,
    /// `None`: the terminal is not an iTerm2 terminal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub iterm: Option<Box<CallerIterm>>,
}

/// The smallest useful pane: columns and rows. Terminal backends split no window into smaller panes, and a worker
/// reports a pane that has become smaller.
pub const MIN_PANE: (u16, u16) = (40, 6);

/// Variables that describe the caller's terminal. Members do not receive them.
pub const TERMINAL_VARIABLES: [&str; 5] = [
    "TMUX",
    "TMUX_PANE",
    "ITERM_SESSION_ID",
    "ITERM2_COOKIE",
    "ITERM2_KEY",
];

impl CallerTerminal {
    /// Describes the caller's terminal. `variable` returns a variable of the caller's environment, if the variable is
    /// set and not empty.
    pub fn of(variable: impl Fn(&str) -> Option<String>, size: Option<(u16, u16)>) -> Self {
        Self {
            tmux: variable("TMUX"),
            tmux_pane: variable("TMUX_PANE"),
            path: variable("PATH").unwrap_or_default(),
            size,
            iterm: CallerIterm::of(&variable).map(Box::new),
        }
    }

    /// Whether the supervisor can show panes in this terminal by itself. Otherwise the user must attach.
    pub fn shows_panes(&self) -> bool {
        self.tmux.is_some() || self.iterm.is_some()
    }
}

/// The environment of a terminal in iTerm2. It must come from the caller: iTerm2 gives its cookies to its own sessions
/// only, and listens on a socket below the user's home directory.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CallerIterm {
    /// `$ITERM_SESSION_ID`, as in `w0t1p2:UUID`. Inside tmux: the iTerm2 session outside tmux.
    #[serde(default)]
    pub session: Option<String>,
    /// The caller is connected by ssh: iTerm2 runs on another machine.
    pub remote: bool,
    /// `$HOME`.
    pub home: String,
    /// `$IT2_SUITE`: set by other builds of iTerm2, which use their own directories.
    #[serde(default)]
    pub suite: Option<String>,
    /// `$ITERM2_COOKIE` and `$ITERM2_KEY`. Secrets: `Debug` hides them.
    #[serde(default)]
    pub cookie: Option<String>,
    #[serde(default)]
    pub key: Option<String>,
}

impl CallerIterm {
    /// The iTerm2 terminal that the caller runs in, if any. It is also found inside tmux and over ssh, which pass on
    /// its variables.
    fn of(variable: &impl Fn(&str) -> Option<String>) -> Option<Self> {
        let is = |name, expected: &str| variable(name).is_some_and(|value| value == expected);
        let session = variable("ITERM_SESSION_ID");
        let is_inside =
            session.is_some() || is("TERM_PROGRAM", "iTerm.app") || is("LC_TERMINAL", "iTerm2");
        is_inside.then(|| Self {
            session,
            remote: variable("SSH_CONNECTION").is_some() || variable("SSH_TTY").is_some(),
            home: variable("HOME").unwrap_or_default(),
            suite: variable("IT2_SUITE"),
            cookie: variable("ITERM2_COOKIE"),
            key: variable("ITERM2_KEY"),
        })
    }
}

impl std::fmt::Debug for CallerIterm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CallerIterm")
            .field("session", &self.session)
            .field("remote", &self.remote)
            .field("home", &self.home)
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

/// Whether a placement can show members. `agent-teamd --placements` prints it for `doctor`, which must not link the code
/// that probes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlacementReport {
    /// A value of `--panes`.
    pub name: String,
    /// `None`: not available here, which is not an error.
    pub ok: Option<bool>,
    /// The placement that members would get, or the reason why it is not available.
    pub detail: String,
    #[serde(default)]
    pub hint: Option<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_placements_are_listed_by_their_wire_names() {
        let words = PlacementChoice::ALL.map(|choice| choice.info().word);
        let on_the_wire = serde_json::to_value(PlacementChoice::ALL).unwrap();
        assert_eq!(on_the_wire, serde_json::json!(words));

        let schema = schemars::schema_for!(PlacementChoice).to_value();
        let variants = schema["oneOf"].as_array().unwrap().iter();
        let mut known: Vec<_> = variants
            .flat_map(|variant| match variant["enum"].as_array() {
                Some(plain) => plain.clone(),
                None => vec![variant["const"].clone()],
            })
            .collect();
        known.retain(|word| !words.iter().any(|listed| word == listed));
        assert_eq!(known, [] as [serde_json::Value; 0]);
    }

    #[test]
    fn iterm2_is_recognised_by_its_variables() {
        let of = |set: &[(&str, &str)]| {
            let find = |name: &str| set.iter().find(|(key, _)| *key == name);
            CallerTerminal::of(
                |name| find(name).map(|(_, value)| (*value).to_owned()),
                None,
            )
        };
        assert!(!of(&[("HOME", "/h"), ("ITERM2_COOKIE", "c")]).shows_panes());
        for inside in [("ITERM_SESSION_ID", "w0t0p0:A"), ("LC_TERMINAL", "iTerm2")] {
            let terminal = of(&[("HOME", "/h"), ("SSH_TTY", "/dev/pts/1"), inside]);
            let iterm = terminal.iterm.clone().unwrap();
            assert_eq!((iterm.home.as_str(), iterm.remote), ("/h", true));
            assert!(terminal.shows_panes());
        }
        assert!(of(&[("TMUX", "/t,1,0")]).shows_panes());
    }
}
