//! Lays out windows again after their size has changed and panes have become smaller than the minimum. Called by the
//! team's launcher.
//!
//! Panes that no longer fit move to the team's next window with room, or to a new window; the active pane stays. A window
//! keeps its layout, which the user may have changed, if it has the size of its last layout, if its panes are all large
//! enough, or if one of them is the user's.

use super::TmuxPanes;
use super::call::{self, Command, TmuxError};
use super::layout::{Frame, is_small};
use super::survey::{Pane, Window};

/// A pane that moves to another window.
struct Moved {
    id: String,
    member: String,
}

impl TmuxPanes {
    /// Best effort: the layout is cosmetic.
    pub(super) async fn arrange(&mut self) {
        if let Err(error) = self.try_arrange().await {
            tracing::debug!(%error, "cannot lay out the panes again");
        }
        // Panes may be in other windows now.
        self.survey = None;
        if self.survey().await.is_ok() {
            self.note_sizes();
        }
    }

    async fn try_arrange(&mut self) -> Result<(), TmuxError> {
        self.survey = None;
        let (team, layout) = (self.team.clone(), self.layout);
        let laid_out = self.laid_out.clone();
        let survey = self.survey().await?;
        let windows = survey.windows_of(&team);
        let members_of = |window: &Window| -> Vec<&Pane> {
            let is_here = |pane: &&Pane| pane.window == window.id && pane.is_of(&team);
            survey.panes().filter(is_here).collect()
        };
        let is_cramped = |window: &Window| {
            let members = members_of(window);
            // In a window with a pane of the user, the members' panes may stay too small. Each layout would then cause
            // another layout.
            let is_members_only = members.len() == window.panes;
            let is_any_small = members.iter().any(|pane| is_small(pane.size_of_pane));
            // A pane can also be small because the user has dragged a border. The window then has its old size.
            let is_resized = laid_out.get(&window.id) != Some(&window.size);
            let is_group = !window.zoomed && window.panes > 1 && is_members_only;
            is_group && is_any_small && is_resized
        };
        if !windows.iter().any(is_cramped) {
            return Ok(());
        }
        let (mut moved, mut joins, mut layouts) = (Vec::new(), Vec::new(), Vec::new());
        for (index, window) in windows.iter().enumerate() {
            let frame = Frame {
                layout,
                size: window.size,
                first: index == 0,
            };
            let mut count = window.panes;
            if is_cramped(window) {
                let members = members_of(window);
                // One member's pane must stay: without it, the window would no longer be the team's.
                let excess = count
                    .saturating_sub(frame.capacity())
                    .min(members.len() - 1);
                // The last panes leave, in their order.
                let others = members.iter().rev().filter(|pane| pane.id != window.active);
                let mut leaving: Vec<Moved> = others
                    .take(excess)
                    .map(|pane| Moved {
                        id: pane.id.clone(),
                        member: pane.member.clone(),
                    })
                    .collect();
                leaving.reverse();
                moved.extend(leaving);
                count -= excess;
            } else if moved.is_empty() || window.zoomed {
                continue;
            }
            let room = frame.capacity().saturating_sub(window.panes);
            for pane in moved.drain(..room.min(moved.len())) {
                joins.extend(join(&pane, &window.id, frame));
                count += 1;
            }
            layouts.extend(select_layouts(&window.id, frame, count));
        }
        let (session, size) = (windows[0].session.clone(), windows[0].size);
        for call in call::calls(joins) {
            self.tmux.run(&call).await?;
        }
        let mut number = windows.len();
        while !moved.is_empty() {
            let frame = Frame {
                layout,
                size,
                first: false,
            };
            let panes: Vec<_> = moved.drain(..frame.capacity().min(moved.len())).collect();
            self.break_out(&panes, &session, number, frame).await?;
            number += 1;
        }
        // Lay out the old windows last, when the panes that do not fit have left.
        for call in call::calls(layouts) {
            self.tmux.run(&call).await?;
        }
        Ok(())
    }

    /// Moves the panes to a new window of the session.
    async fn break_out(
        &self,
        panes: &[Moved],
        session: &str,
        number: usize,
        frame: Frame,
    ) -> Result<(), TmuxError> {
        let [first, others @ ..] = panes else {
            return Ok(());
        };
        let Ok(member) = first.member.parse() else {
            return Ok(());
        };
        let (name, session) = (self.window_name(number, &member), format!("{session}:"));
        let new = Command::of(&["break-pane", "-d", "-P", "-F", "#{window_id}"]);
        let new = new.with(&["-s", &first.id, "-t", &session, "-n", &name]);
        let printed = self.tmux.run(&[new]).await?;
        let window = printed.trim();
        let mut commands = self.window_options(window, frame.size);
        commands.extend(others.iter().flat_map(|pane| join(pane, window, frame)));
        commands.extend(select_layouts(window, frame, panes.len()));
        for call in call::calls(commands) {
            self.tmux.run(&call).await?;
        }
        Ok(())
    }
}

/// Moves a pane to the end of a window. The layout makes room for the next pane.
fn join(pane: &Moved, window: &str, frame: Frame) -> [Command; 2] {
    let last = format!("{window}.{{bottom-right}}");
    [
        Command::of(&["join-pane", "-d", "-s", &pane.id, "-t", &last]),
        Command::of(&["select-layout", "-t", window, frame.interim_layout()]),
    ]
}

fn select_layouts(window: &str, frame: Frame, panes: usize) -> Vec<Command> {
    let select = |layout: &str| Command::of(&["select-layout", "-t", window, layout]);
    let mut commands = vec![select(frame.interim_layout())];
    commands.extend(frame.final_layout(panes).map(|layout| select(&layout)));
    commands
}
