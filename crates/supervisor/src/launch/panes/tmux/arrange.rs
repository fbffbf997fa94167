//! Lays out windows again after their size has changed. Called by the team's launcher.
//!
//! - A window is *cramped* if it has changed its size since its last layout and one of its panes is smaller than the
//!   minimum. A window with a single pane, a pane of the user or a zoomed pane is never cramped. The panes that do not
//!   fit move to later windows with room, then to new windows; the active pane stays. The cramped window is laid out
//!   again. While panes still need a place, each later window without a zoomed pane is laid out again too, even if no
//!   pane joins it or a pane of the user is in it.
//! - If no window is cramped and a window has changed its size, fewer windows may have room for all panes. The panes of
//!   the last windows then move to the first windows. A window that panes join is laid out again. Nothing moves if a
//!   window contains a pane of the user or a zoomed pane.
//!
//! All other windows keep their layouts, which the user may have changed.

use std::collections::BTreeMap;

use super::TmuxPanes;
use super::call::{self, Command, TmuxError};
use super::layout::{self, Frame, is_small};
use super::survey::{Pane, Window};

/// A window of the team.
struct TeamWindow {
    window: Window,
    /// The panes of members.
    members: Vec<Pane>,
    /// All panes of the window are members', and none is zoomed.
    is_ours: bool,
    /// The window has another size than at its last layout.
    is_resized: bool,
}

impl TeamWindow {
    fn is_cramped(&self) -> bool {
        let is_any_small = self.members.iter().any(|pane| is_small(pane.size_of_pane));
        self.is_ours && self.is_resized && self.window.panes > 1 && is_any_small
    }
}

impl TmuxPanes {
    /// Best effort: the layout is cosmetic.
    pub(super) async fn arrange(&mut self) {
        if let Err(error) = self.try_arrange().await {
            tracing::debug!(%error, "cannot lay out the panes again");
        }
        // Panes may be in other windows now.
        self.survey = None;
        let laid_out = self.laid_out.clone();
        if self.survey().await.is_ok() {
            self.note_sizes();
            // Keep the size that each window had when it was laid out. If a window has changed its size again
            // meanwhile, the size reports of its panes cause another layout, which then detects the change.
            for (window, size) in &mut self.laid_out {
                *size = laid_out.get(window).copied().unwrap_or(*size);
            }
        }
    }

    async fn try_arrange(&mut self) -> Result<(), TmuxError> {
        self.survey = None;
        let (team, laid_out) = (self.team.clone(), self.laid_out.clone());
        let survey = self.survey().await?;
        let windows = survey.windows_of(&team).into_iter().map(|window| {
            let is_here = |pane: &&Pane| pane.window == window.id && pane.is_of(&team);
            let members: Vec<_> = survey.panes().filter(is_here).cloned().collect();
            TeamWindow {
                // In a window with a pane of the user, the members' panes may stay too small. Each layout would then
                // cause another layout.
                is_ours: !window.zoomed && members.len() == window.panes,
                // A pane also changes its size when the user drags a border. The window then has its old size.
                is_resized: laid_out.get(&window.id) != Some(&window.size),
                members,
                window,
            }
        });
        let windows: Vec<_> = windows.collect();
        self.note_sizes();
        if windows.iter().any(TeamWindow::is_cramped) {
            return self.spread(&windows).await;
        }
        let sizes: Vec<_> = windows.iter().map(|it| it.window.size).collect();
        let panes = windows.iter().map(|it| it.window.panes).sum();
        let needed = layout::windows_needed(self.layout, &sizes, panes);
        let are_ours = windows.iter().all(|it| it.is_ours);
        if needed < windows.len() && are_ours && windows.iter().any(|it| it.is_resized) {
            return self.gather(&windows, needed).await;
        }
        Ok(())
    }

    /// Moves the panes of the last windows to the first windows, which have room for all panes. The emptied windows
    /// close.
    async fn gather(&self, windows: &[TeamWindow], needed: usize) -> Result<(), TmuxError> {
        let (kept, emptied) = windows.split_at(needed);
        let mut moved = emptied.iter().flat_map(|it| &it.members);
        let mut commands = Vec::new();
        let mut targets = BTreeMap::new();
        for (index, TeamWindow { window, .. }) in kept.iter().enumerate() {
            let frame = Frame {
                layout: self.layout,
                size: window.size,
                first: index == 0,
            };
            let room = frame.capacity().saturating_sub(window.panes);
            let mut count = window.panes;
            for pane in moved.by_ref().take(room) {
                commands.extend(join(&pane.id, &window.id, frame));
                targets.insert(&pane.id, &window.id);
                count += 1;
            }
            if count > window.panes {
                commands.extend(select_layouts(&window.id, frame, count));
            }
        }
        // Keep the active pane visible.
        let is_shown = |it: &&TeamWindow| it.members.iter().any(|pane| pane.window_active);
        if let Some(shown) = emptied.iter().find(is_shown)
            && let Some(target) = targets.get(&shown.window.active)
        {
            commands.extend([
                Command::of(&["select-window", "-t", target]),
                Command::of(&["select-pane", "-t", &shown.window.active]),
            ]);
        }
        for call in call::calls(commands) {
            self.tmux.run(&call).await?;
        }
        Ok(())
    }

    /// Moves panes that no longer fit into their window to the next windows.
    async fn spread(&self, windows: &[TeamWindow]) -> Result<(), TmuxError> {
        let layout = self.layout;
        let (mut moved, mut joins, mut layouts) = (Vec::new(), Vec::new(), Vec::new());
        for (index, it) in windows.iter().enumerate() {
            let TeamWindow {
                window, members, ..
            } = it;
            let frame = Frame {
                layout,
                size: window.size,
                first: index == 0,
            };
            let mut count = window.panes;
            if it.is_cramped() {
                // One member's pane must stay: without it, the window would no longer be the team's.
                let excess = count
                    .saturating_sub(frame.capacity())
                    .min(members.len() - 1);
                // The last panes leave, in their order.
                let others = members.iter().rev().filter(|pane| pane.id != window.active);
                let mut leaving: Vec<&Pane> = others.take(excess).collect();
                leaving.reverse();
                moved.extend(leaving);
                count -= excess;
            } else if moved.is_empty() || window.zoomed {
                continue;
            }
            let room = frame.capacity().saturating_sub(window.panes);
            for pane in moved.drain(..room.min(moved.len())) {
                joins.extend(join(&pane.id, &window.id, frame));
                count += 1;
            }
            layouts.extend(select_layouts(&window.id, frame, count));
        }
        let Window { session, size, .. } = &windows[0].window;
        for call in call::calls(joins) {
            self.tmux.run(&call).await?;
        }
        let mut number = windows.len();
        while !moved.is_empty() {
            let frame = Frame {
                layout,
                size: *size,
                first: false,
            };
            let panes: Vec<_> = moved.drain(..frame.capacity().min(moved.len())).collect();
            self.break_out(&panes, session, number, frame).await?;
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
        panes: &[&Pane],
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
        commands.extend(others.iter().flat_map(|pane| join(&pane.id, window, frame)));
        commands.extend(select_layouts(window, frame, panes.len()));
        for call in call::calls(commands) {
            self.tmux.run(&call).await?;
        }
        Ok(())
    }
}

/// Moves a pane to the end of a window. The layout makes room for the next pane.
fn join(pane: &str, window: &str, frame: Frame) -> [Command; 2] {
    let last = format!("{window}.{{bottom-right}}");
    [
        Command::of(&["join-pane", "-d", "-s", pane, "-t", &last]),
        Command::of(&["select-layout", "-t", window, frame.interim_layout()]),
    ]
}

fn select_layouts(window: &str, frame: Frame, panes: usize) -> Vec<Command> {
    let select = |layout: &str| Command::of(&["select-layout", "-t", window, layout]);
    let mut commands = vec![select(frame.interim_layout())];
    commands.extend(frame.final_layout(panes).map(|layout| select(&layout)));
    commands
}
