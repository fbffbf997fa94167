//! The texts of messages as rows of the screen, rendered once. Used by [`super::state`]; pure.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use agent_team_protocol::view::MessageView;
use agent_team_protocol::{MessageId, Party};
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::markdown;
use agent_team_terminal_ui::style::Style;

use crate::output::text;

const INDENT: usize = 2;

#[derive(Debug, Default)]
pub(super) struct MessageBodies(RefCell<RenderedBodies>);

#[derive(Debug, Default)]
struct RenderedBodies {
    columns: usize,
    bodies: BTreeMap<MessageId, Rc<Vec<Line>>>,
}

impl MessageBodies {
    /// Drops the rows of all messages that are not in `messages`.
    pub(super) fn keep(&mut self, messages: &[MessageView]) {
        let bodies = &mut self.0.get_mut().bodies;
        bodies.retain(|id, _| messages.iter().any(|it| it.id == *id));
    }

    /// The rows of a message's text. Members write Markdown; the user's text is shown as it was typed.
    pub(super) fn of(&self, message: &MessageView, columns: usize) -> Rc<Vec<Line>> {
        let mut rendered = self.0.borrow_mut();
        if rendered.columns != columns {
            *rendered = RenderedBodies {
                columns,
                ..RenderedBodies::default()
            };
        }
        let body = rendered.bodies.entry(message.id);
        Rc::clone(body.or_insert_with(|| Rc::new(body_rows(message, columns))))
    }
}

fn body_rows(message: &MessageView, columns: usize) -> Vec<Line> {
    let text = text::of_program(message.text.trim_end());
    let room = columns.saturating_sub(INDENT);
    let lines = match message.from {
        Party::Member(_) => markdown::lines(&text, room),
        Party::User | Party::System => {
            let lines = Line::all(Style::PLAIN, &text);
            lines.flat_map(|line| line.wrapped(room, 2)).collect()
        }
    };
    let indented = lines.iter().map(|line| {
        let mut row = Line::of(Style::PLAIN, &" ".repeat(INDENT));
        row.append(line);
        row
    });
    indented.collect()
}
