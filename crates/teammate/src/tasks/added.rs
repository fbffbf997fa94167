//! The tasks that the user adds with `/task` in this pane. Called by [`super::Tasks`].
//!
//! The supervisor responds over another connection than the connection over which it assigns tasks, and an assignment
//! may arrive first. The note "T-4 added" must be above the output of T-4, and must appear once.

use std::collections::VecDeque;

use agent_team_protocol::TaskId;

#[derive(Default)]
pub(super) struct AddedTasks {
    /// The lines without a response, in the order of the requests. Responses come in the same order.
    unanswered: VecDeque<String>,
    /// Tasks that began before the response. Their notes are written.
    noted: Vec<TaskId>,
}

impl AddedTasks {
    pub(super) fn requested(&mut self, line: String) {
        self.unanswered.push_back(line);
    }

    /// Called when a task begins. Returns whether its note must be written now.
    pub(super) fn begins(&mut self, task: TaskId, line: Option<&str>) -> bool {
        let is_added = self.unanswered.iter().any(|added| line == Some(added));
        if is_added && !self.noted.contains(&task) {
            self.noted.push(task);
            return true;
        }
        false
    }

    /// Called when the supervisor has added a task. Returns whether its note must be written now.
    pub(super) fn responded(&mut self, task: TaskId) -> bool {
        self.unanswered.pop_front();
        let noted = self.noted.iter().position(|noted| *noted == task);
        noted.map(|index| self.noted.remove(index)).is_none()
    }

    /// Called when the supervisor has refused to add a task.
    pub(super) fn refused(&mut self) {
        self.unanswered.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TASK: TaskId = TaskId(4);
    const LINE: &str = "make check";

    #[test]
    fn the_note_precedes_the_output_and_appears_once() {
        let mut added = AddedTasks::default();
        added.requested(LINE.to_owned());
        assert!(added.begins(TASK, Some(LINE)), "assigned first");
        assert!(!added.begins(TASK, Some(LINE)), "assigned again");
        assert!(!added.responded(TASK));
        added.requested(LINE.to_owned());
        assert!(added.responded(TaskId(5)), "the response came first");
        assert!(!added.begins(TaskId(5), Some(LINE)));
    }

    #[test]
    fn tasks_of_others_and_refused_lines_have_no_note() {
        let mut added = AddedTasks::default();
        added.requested(LINE.to_owned());
        assert!(!added.begins(TASK, Some("make")));
        assert!(!added.begins(TASK, None), "a task without a line");
        added.refused();
        assert!(!added.begins(TASK, Some(LINE)));
    }
}
