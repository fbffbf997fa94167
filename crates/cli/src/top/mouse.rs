//! The mouse of [`Top`]. The frame on the screen determines the view and the entry at the pointer. Called by
//! [`super::keys`]; pure.

use agent_team_terminal_ui::keys::{Mouse, MouseAction, Scroll};

use super::state::{Effect, Mode, Page, Top};
use super::view::{ShownPane, TopView};

/// Rows that a step of the wheel scrolls.
const WHEEL: isize = 3;

impl Top {
    pub(super) fn on_mouse(&mut self, mouse: Mouse) -> Option<Effect> {
        // Only keys answer a prompt or a confirmation in the last line.
        if !matches!(self.mode, Mode::Browse) {
            return None;
        }
        match mouse.action {
            MouseAction::Press => self.press(mouse),
            MouseAction::ScrollUp => self.wheel(mouse, -WHEEL),
            MouseAction::ScrollDown => self.wheel(mouse, WHEEL),
        }
        None
    }

    /// The first click gives the focus to a view and selects an entry; a click on the selected entry opens it.
    fn press(&mut self, mouse: Mouse) {
        self.status = None;
        if self.page.is_some() {
            return;
        }
        if let Some(view) = self.shown.title_at(mouse.column, mouse.row) {
            self.set_focus(view);
            return;
        }
        let Some(pane) = self.shown.pane_at(mouse.column, mouse.row).copied() else {
            return;
        };
        let had_focus = self.focus == pane.view;
        if !had_focus {
            self.set_focus(pane.view);
        }
        let row = pane.first + usize::from(mouse.row - pane.area.y);
        if self.select_row(pane, row) && had_focus {
            self.enter();
        }
    }

    /// Selects a row of a list; returns whether the row was selected before.
    fn select_row(&mut self, pane: ShownPane, row: usize) -> bool {
        match pane.view {
            TopView::Members => {
                let Some(member) = self.member_ids().into_iter().nth(row) else {
                    return false;
                };
                let was_selected = self.selected() == Some(&member);
                self.select_member(member);
                was_selected
            }
            TopView::Board => {
                let ids = self.board_ids();
                let Some(id) = ids.get(row) else {
                    return false;
                };
                let was_selected = self.board_list.id() == Some(id);
                self.board_list.select(*id, &ids);
                was_selected
            }
            TopView::Requests if self.decided.is_none() => {
                let ids = self.request_ids();
                let Some(id) = ids.get(row) else {
                    return false;
                };
                let was_selected = self.requests_list.id() == Some(id);
                self.requests_list.select(*id, &ids);
                was_selected
            }
            TopView::Output | TopView::Requests | TopView::Messages => false,
        }
    }

    /// Scrolls the page, or the view at the pointer, without a change of focus or selection.
    fn wheel(&mut self, mouse: Mouse, by: isize) {
        match &mut self.page {
            Some(Page::Request(dialog)) => {
                let step = if by < 0 { Scroll::Up } else { Scroll::Down };
                for _ in 0..by.unsigned_abs() {
                    dialog.on_wheel(step);
                }
            }
            Some(_) => self.scroll_page(by),
            None => {
                let Some(pane) = self.shown.pane_at(mouse.column, mouse.row).copied() else {
                    return;
                };
                match pane.view {
                    TopView::Members => self.members_list.scroll(by),
                    TopView::Board => self.board_list.scroll(by),
                    TopView::Requests if self.decided.is_none() => self.requests_list.scroll(by),
                    TopView::Output | TopView::Requests | TopView::Messages => {
                        self.scroll_view(pane.view, by);
                    }
                }
            }
        }
    }
}
