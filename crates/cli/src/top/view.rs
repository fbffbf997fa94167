//! The views of `top`, and their places in the last frame. Written by [`super::draw`]; read by the state, to scroll, to
//! search and to find the view or entry at the mouse pointer. Plain data.

use std::time::Instant;

use ratatui::layout::{Position, Rect};

use crate::output::time;

/// The parts of the screen between which the focus moves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TopView {
    Members,
    Output,
    Board,
    Requests,
    Messages,
}

impl TopView {
    pub(super) const ALL: [Self; 5] = [
        Self::Members,
        Self::Output,
        Self::Board,
        Self::Requests,
        Self::Messages,
    ];

    /// The views that the keys 1 to 4 select.
    pub(super) const NUMBERED: [Self; 4] =
        [Self::Output, Self::Board, Self::Requests, Self::Messages];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Members => "members",
            Self::Output => "output",
            Self::Board => "board",
            Self::Requests => "requests",
            Self::Messages => "messages",
        }
    }

    /// Whether new entries appear at the end of the view, which then opens scrolled to its end.
    pub(super) fn is_newest_last(self) -> bool {
        matches!(self, Self::Output | Self::Messages)
    }
}

/// The places of the views, the page and the dialog in a frame.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct FrameLayout {
    pub(super) panes: Vec<ShownPane>,
    pub(super) titles: Vec<(Rect, TopView)>,
    /// The open page, unless it is a request.
    pub(super) page: Option<ShownPage>,
    /// Columns and rows of the area of the open request. `None`: no request is open.
    pub(super) dialog: Option<(usize, usize)>,
}

/// The rows of a view, without its title.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShownPane {
    pub(super) view: TopView,
    pub(super) area: Rect,
    /// The first visible row.
    pub(super) first: usize,
    /// Number of rows of the view.
    pub(super) total: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ShownPage {
    pub(super) columns: usize,
    pub(super) height: usize,
    pub(super) total: usize,
}

impl ShownPage {
    /// Number of rows by which the page can be scrolled.
    pub(super) fn max_scroll(&self) -> usize {
        self.total.saturating_sub(self.height)
    }
}

impl ShownPane {
    pub(super) fn height(&self) -> usize {
        self.area.height.into()
    }
}

impl FrameLayout {
    pub(super) fn pane(&self, view: TopView) -> Option<&ShownPane> {
        self.panes.iter().find(|pane| pane.view == view)
    }

    pub(super) fn pane_at(&self, column: u16, row: u16) -> Option<&ShownPane> {
        let at = Position::new(column, row);
        self.panes.iter().find(|pane| pane.area.contains(at))
    }

    pub(super) fn title_at(&self, column: u16, row: u16) -> Option<TopView> {
        let at = Position::new(column, row);
        let title = self.titles.iter().find(|(area, _)| area.contains(at));
        title.map(|(_, view)| *view)
    }
}

/// The time of a frame, from which ages are computed.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    pub(super) now: Instant,
    /// Unix time in milliseconds.
    pub(super) wall_ms: u64,
}

impl Clock {
    pub(super) fn age(self, at: u64) -> String {
        time::age(self.wall_ms.saturating_sub(at))
    }
}
