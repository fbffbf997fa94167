//! Builds the call that creates panes: its commands and their order. Used by [`super::start`].

use std::collections::BTreeSet;
use std::path::Path;

use super::call::{self, CALL_MAX, Command, TmuxError, path_text};
use super::layout::Frame;
use super::survey::{
    FORMAT, LAUNCH_TAG, MEMBER_TAG, Pane, SESSION_TAG, TEAM_TAG, WINDOW_TAG, Window,
};
use super::{TmuxPanes, keys, layout, look};
use crate::launch::order::LaunchOrder;

/// The text of a pane after its program has exited, if tmux supports `remain-on-exit-format`. After an attach helper
/// has exited, the member itself can still be running.
const ENDED: &str = "#{?#{m:* --hold *,#{pane_start_command}},\
                     #{@agent_team_member} left this pane; run agent-team panes reopen #{@agent_team_member},\
                     #{@agent_team_member} has exited; run agent-team restart #{@agent_team_member}}";

/// Makes a command print the pane that it creates.
const PRINT: [&str; 3] = ["-P", "-F", FORMAT];

/// Bytes reserved in a call for the commands that finish a window.
const FINISH_BYTES: usize = 2048;

/// Bytes per pane in a layout string.
const ARRANGEMENT_BYTES: usize = 40;

/// The state of one start, between its tmux calls.
pub(super) struct Progress<'a> {
    pub(super) orders: &'a [LaunchOrder],
    /// The pane of each order, parallel to `orders`.
    pub(super) panes: Vec<Option<Pane>>,
    /// Windows that tmux reported as full, although [`super::layout`] calculated that there is room.
    pub(super) full: BTreeSet<String>,
}

impl Progress<'_> {
    pub(super) fn waiting(&self) -> impl Iterator<Item = usize> {
        (0..self.orders.len()).filter(|&index| self.panes[index].is_none())
    }
}

/// Where the next panes are created.
#[derive(Debug)]
pub(super) enum PaneTarget {
    /// A new session for the team on agent-team's server, with the team's first window.
    Session,
    /// A further window of a session.
    NewWindow { session: String, name: String },
    /// A window of the team with room for more panes.
    Beside(Window),
}

/// One call, and the orders in the sequence in which the call prints their panes.
pub(super) struct Step {
    pub(super) commands: Vec<Command>,
    pub(super) orders: Vec<usize>,
    /// `None`: only existing panes are reused.
    pub(super) pane_target: Option<PaneTarget>,
}

impl TmuxPanes {
    /// The call that restarts existing panes for orders, as many as fit into one call.
    pub(super) fn respawns(
        &self,
        progress: &Progress<'_>,
        old: &[(usize, String)],
    ) -> Result<Step, TmuxError> {
        let mut step = Step {
            commands: Vec::new(),
            orders: Vec::new(),
            pane_target: None,
        };
        for (index, pane) in old {
            let order = &progress.orders[*index];
            let respawn = Command::of(&["respawn-pane", "-k", "-t", pane]);
            let mut group = vec![program(respawn, order)?];
            group.extend(self.tags(Some(pane), order));
            group.push(Command::of(&["display-message", "-p", "-t", pane, FORMAT]));
            if !step.commands.is_empty()
                && call::bytes(&step.commands) + call::bytes(&group) > CALL_MAX
            {
                break;
            }
            step.commands.extend(group);
            step.orders.push(*index);
        }
        Ok(step)
    }

    /// The call that creates panes for waiting orders: at most `room`, and only as many as fit into one call.
    pub(super) fn fill(
        &self,
        progress: &Progress<'_>,
        pane_target: PaneTarget,
        frame: Frame,
        room: usize,
    ) -> Result<Step, TmuxError> {
        let size = frame.size;
        let (mut commands, mut orders) = (Vec::new(), Vec::new());
        let layout = |layout: &str| Command::of(&["select-layout", layout]);
        let interim_layout = layout(frame.interim_layout());
        let existing = match &pane_target {
            PaneTarget::Beside(window) => window.panes,
            PaneTarget::Session | PaneTarget::NewWindow { .. } => 0,
        };
        // The id of the new window is unknown until the call returns. Until the end of the call the window is named
        // after the launch, which is unique, and addressed by that name.
        let target = match (&pane_target, progress.waiting().next()) {
            (PaneTarget::Session, _) => format!("={}:", self.team),
            (PaneTarget::NewWindow { session, .. }, Some(first)) => {
                format!("{session}:={}", progress.orders[first].launch)
            }
            (PaneTarget::NewWindow { .. }, None) => String::new(),
            (PaneTarget::Beside(window), _) => window.last.clone(),
        };
        for index in progress.waiting().take(room) {
            let order = &progress.orders[index];
            let mut group = Vec::new();
            let split = match (&pane_target, orders.len()) {
                (PaneTarget::Session, 0) => {
                    group.extend(self.new_session(order, size, &target)?);
                    None
                }
                (PaneTarget::NewWindow { session, .. }, 0) => {
                    let (session, name) = (format!("{session}:"), order.launch.as_str());
                    let window = Command::of(&["new-window", "-d", "-t", &session, "-n", name]);
                    group.push(program(window.with(&PRINT), order)?);
                    group.extend(self.window_options(&target, size));
                    None
                }
                (PaneTarget::Beside(_), 0)
                | (PaneTarget::Session | PaneTarget::NewWindow { .. }, 1) => {
                    Some(Command::of(&["split-window", "-t", &target]))
                }
                // Without a target, tmux splits the pane that this call created last. This keeps the panes in order.
                _ => Some(Command::of(&["split-window"])),
            };
            match split {
                // Do not pass `-d` (detached): the new pane must become the current pane, because the following
                // commands have no target.
                Some(split) => {
                    group.push(program(split.with(&PRINT), order)?);
                    group.extend(self.tags(None, order));
                    // The layout is applied after each split: tmux halves a pane, and the last pane would soon be too
                    // small to split. tmux draws the window only at the end of the call.
                    group.push(interim_layout.clone());
                }
                None => group.extend(self.tags(Some(&target), order)),
            }
            let arranged = (existing + orders.len() + 1) * ARRANGEMENT_BYTES;
            let bytes = call::bytes(&commands) + call::bytes(&group) + arranged + FINISH_BYTES;
            if !orders.is_empty() && bytes > CALL_MAX {
                break;
            }
            commands.extend(group);
            orders.push(index);
        }
        // A single pane needs no layout. Also, `select-layout` without a target would apply to the wrong window: only a
        // split makes the new window the current window of the call.
        if existing + orders.len() > 1
            && let Some(final_layout) = frame.final_layout(existing + orders.len())
        {
            commands.push(layout(&final_layout));
        }
        match &pane_target {
            PaneTarget::Beside(window) => {
                commands.push(Command::of(&["select-pane", "-t", &window.active]));
                if window.zoomed {
                    commands.push(Command::of(&["resize-pane", "-Z", "-t", &window.active]));
                }
            }
            PaneTarget::Session | PaneTarget::NewWindow { .. } if orders.len() > 1 => {
                let first = format!("{target}.{{top-left}}");
                commands.push(Command::of(&["select-pane", "-t", &first]));
            }
            PaneTarget::Session | PaneTarget::NewWindow { .. } => {}
        }
        if let PaneTarget::NewWindow { name, .. } = &pane_target {
            commands.push(Command::of(&["rename-window", "-t", &target, name]));
        }
        Ok(Step {
            commands,
            orders,
            pane_target: Some(pane_target),
        })
    }

    fn new_session(
        &self,
        order: &LaunchOrder,
        (columns, rows): (u16, u16),
        target: &str,
    ) -> Result<Vec<Command>, TmuxError> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let (team, window) = (self.team.as_str(), self.window_name(0, &order.member));
        let session = Command::of(&["new-session", "-d", "-s", team, "-n", &window, "-c", "/"]);
        let size = ["-x", columns.as_str(), "-y", rows.as_str()];
        // The marker is set with `env`, not with `-e` of new-session. `-e` would set it for the session, so that every
        // later pane in the session, even the user's, would carry the marker and be killed with the launch.
        let mut argv = Vec::new();
        if let Some(marker) = order.marker() {
            argv.extend(["/usr/bin/env".to_owned(), marker]);
        }
        argv.extend(argv_of(order)?);
        let mut commands = vec![
            session.with(&size).with(&PRINT).program(&argv),
            Command::of(&["set-option", "-t", target, SESSION_TAG, team]),
            // tmux 3.2 ignores the size given to new-session.
            Command::of(&["resize-window", "-t", target]).with(&size),
            Command::of(&["set-option", "-wu", "-t", target, "window-size"]),
        ];
        let status_line = look::status_line(self.theme).into_iter();
        commands.extend(status_line.map(|(option, value)| {
            Command::of(&["set-option", "-t", target, "--", option, &value])
        }));
        if let Some(next_line) = &self.next_line {
            commands.extend(keys::bind(target, next_line));
        }
        commands.extend(self.window_options(target, self.size));
        Ok(commands)
    }

    pub(super) fn window_options(&self, window: &str, size: (u16, u16)) -> Vec<Command> {
        let width = layout::main_width(size.0.into()).to_string();
        let set = |name: &str, value: &str| Command::set("-w", Some(window), name, value);
        let mut commands = vec![
            set(WINDOW_TAG, self.team.as_str()),
            set("remain-on-exit", "on"),
            Command::set("-wq", Some(window), "remain-on-exit-format", ENDED),
            set("automatic-rename", "off"),
            set("allow-rename", "off"),
            set("main-pane-width", &width),
        ];
        commands.extend(look::borders(window, self.theme, &self.session));
        commands
    }

    fn tags(&self, pane: Option<&str>, order: &LaunchOrder) -> Vec<Command> {
        let set = |name: &str, value: &str| Command::set("-p", pane, name, value);
        let mut commands = vec![
            set(TEAM_TAG, self.team.as_str()),
            set(MEMBER_TAG, order.member.as_str()),
            set(LAUNCH_TAG, order.launch.as_str()),
        ];
        commands.extend(self.label_commands(pane, &order.label));
        commands
    }
}

/// The order's program as the command of a pane. The worker changes to its member's directory itself.
fn program(command: Command, order: &LaunchOrder) -> Result<Command, TmuxError> {
    let command = match order.marker() {
        Some(marker) => command.with(&["-e", &marker]),
        None => command,
    };
    Ok(command.with(&["-c", "/"]).program(&argv_of(order)?))
}

fn argv_of(order: &LaunchOrder) -> Result<Vec<String>, TmuxError> {
    let mut argv = vec![path_text(&order.program)?.to_owned()];
    for word in order.arguments() {
        argv.push(path_text(Path::new(&word))?.to_owned());
    }
    Ok(argv)
}
