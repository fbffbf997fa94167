//! The board as the plan of a session, and the tasks of members as tool calls: one call for each claim. Pure, except
//! for [`Board::refresh`].
//!
//! The calls follow from the difference of two boards, not from events: the result is the same after a lost connection.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_team_client::{Session, SessionError};
use agent_team_protocol::text::{visible, visible_label, visible_line};
use agent_team_protocol::view::{TaskState, TaskView};
use agent_team_protocol::{Generation, MemberName, Party, TaskId};
use serde_json::{Value, json};

use super::diffs::{self, Hunk};
use super::wire::text_content;

/// The minimum time between two reads of the board.
const INTERVAL: Duration = Duration::from_millis(200);

/// The maximum number of entries of a plan.
const ENTRIES_MAX: usize = 100;

/// The longest title of an entry or call, in characters.
const TITLE_MAX: usize = 200;

/// Maximum length of a displayed result, in bytes.
const RESULT_MAX: usize = 32 << 10;

pub(super) struct Board {
    is_stale: bool,
    next: Instant,
    /// The plan that was sent last.
    plan: Value,
    /// The open calls.
    calls: BTreeMap<TaskId, Call>,
    /// The newest claim of each task.
    seen: BTreeMap<TaskId, Generation>,
}

/// The work of a member on a task.
struct Call {
    generation: Generation,
    owner: MemberName,
    hunks: Vec<Hunk>,
    last_line: String,
    has_news: bool,
}

impl Board {
    pub(super) fn new() -> Self {
        Self {
            is_stale: true,
            next: Instant::now(),
            plan: Value::Null,
            calls: BTreeMap::new(),
            seen: BTreeMap::new(),
        }
    }

    pub(super) fn outdate(&mut self) {
        self.is_stale = true;
    }

    /// When the next updates are due. `None`: nothing has changed.
    pub(super) fn due(&self) -> Option<Instant> {
        let has_news = self.calls.values().any(|call| call.has_news);
        (self.is_stale || has_news).then_some(self.next)
    }

    /// The updates since the last call. Reads the board if it has changed. `begins`: whether the tasks that members
    /// work on begin new calls.
    pub(super) async fn refresh(
        &mut self,
        session: &mut Session,
        begins: bool,
    ) -> Result<Vec<Value>, SessionError> {
        let began = Instant::now();
        let mut updates = Vec::new();
        if std::mem::take(&mut self.is_stale) {
            let tasks = session.board().await?;
            updates = self.difference(&tasks, begins);
        }
        updates.extend(self.progress_updates());
        // A large board is read less often.
        self.next = Instant::now() + INTERVAL.max(began.elapsed() * 10);
        Ok(updates)
    }

    /// A member has printed these lines.
    pub(super) fn on_output(&mut self, member: &MemberName, text: &str) {
        let lines = text.lines().rev();
        let Some(line) = lines.map(str::trim).find(|line| !line.is_empty()) else {
            return;
        };
        let line = visible_label(line, TITLE_MAX);
        for call in self.calls_of(member) {
            if call.last_line != line {
                call.last_line.clone_from(&line);
                call.has_news = true;
            }
        }
    }

    /// A member has changed files; `hunks` are the hunks of the diff.
    pub(super) fn on_diff(&mut self, member: &MemberName, hunks: Vec<Hunk>) {
        // A member works on one task.
        let Some(call) = self.calls_of(member).next() else {
            return;
        };
        diffs::keep_newest(&mut call.hunks, hunks);
        call.has_news = true;
    }

    fn calls_of<'a>(&'a mut self, member: &MemberName) -> impl Iterator<Item = &'a mut Call> {
        let calls = self.calls.values_mut();
        calls.filter(move |call| call.owner == *member)
    }

    /// The updates of calls whose members have printed lines or changed files since the last call.
    fn progress_updates(&mut self) -> Vec<Value> {
        let mut updates = Vec::new();
        for (task, call) in &mut self.calls {
            if std::mem::take(&mut call.has_news) {
                updates.push(call.update(*task, "in_progress", &call.last_line));
            }
        }
        updates
    }

    fn difference(&mut self, tasks: &[TaskView], begins: bool) -> Vec<Value> {
        let mut updates = Vec::new();
        for task in tasks {
            let worked = match (task.state, &task.owner) {
                (
                    TaskState::InProgress | TaskState::Completed | TaskState::Failed,
                    Some(Party::Member(owner)),
                ) => Some(owner),
                _ => None,
            };
            let is_open = worked.is_some() && task.state == TaskState::InProgress;
            // End the call if its claim has ended, or if another claim has replaced it.
            let ended = self.calls.get(&task.id);
            if ended.is_some_and(|call| !is_open || call.generation != task.generation)
                && let Some(call) = self.calls.remove(&task.id)
            {
                let is_same = call.generation == task.generation;
                let (status, result) = match (task.state, &task.result) {
                    (TaskState::Completed, result) if is_same => ("completed", result.as_deref()),
                    (TaskState::Failed, result) if is_same => ("failed", result.as_deref()),
                    (TaskState::Cancelled, _) => ("failed", Some("the task was cancelled")),
                    _ => ("failed", Some("the task was returned to the board")),
                };
                updates.push(call.update(task.id, status, result.unwrap_or_default()));
            }
            if let Some(owner) = worked
                && begins
                && !self.calls.contains_key(&task.id)
                && (is_open || self.is_new(task))
            {
                let call = Call::new(task.generation, owner.clone());
                updates.push(begin(task, owner));
                if is_open {
                    self.calls.insert(task.id, call);
                } else {
                    let is_completed = task.state == TaskState::Completed;
                    let status = if is_completed { "completed" } else { "failed" };
                    let result = task.result.as_deref().unwrap_or_default();
                    updates.push(call.update(task.id, status, result));
                }
            }
            self.seen.insert(task.id, task.generation);
        }
        let plan = plan(tasks);
        if plan != self.plan {
            self.plan = plan.clone();
            updates.push(plan);
        }
        updates
    }

    /// Whether the claim began after the last read.
    fn is_new(&self, task: &TaskView) -> bool {
        // Before the first read, every claim counts as old.
        !self.plan.is_null()
            && self
                .seen
                .get(&task.id)
                .is_none_or(|seen| *seen < task.generation)
    }
}

impl Call {
    fn new(generation: Generation, owner: MemberName) -> Self {
        Self {
            generation,
            owner,
            hunks: Vec::new(),
            last_line: String::new(),
            has_news: false,
        }
    }

    fn update(&self, task: TaskId, status: &str, text: &str) -> Value {
        let mut content: Vec<_> = self.hunks.iter().map(Hunk::content).collect();
        if !text.is_empty() {
            let shown = &text[..text.floor_char_boundary(RESULT_MAX)];
            content.push(text_content(&visible(shown)));
        }
        json!({
            "sessionUpdate": "tool_call_update",
            "toolCallId": call_id(task, self.generation),
            "status": status,
            "content": content,
            "locations": diffs::locations(&self.hunks),
        })
    }
}

fn begin(task: &TaskView, owner: &MemberName) -> Value {
    let title = format!("{owner}: {} {}", task.id, task.title);
    let kind = match &task.run {
        Some(_) => "execute",
        None => "other",
    };
    json!({
        "sessionUpdate": "tool_call",
        "toolCallId": call_id(task.id, task.generation),
        "title": visible_label(&title, TITLE_MAX),
        "kind": kind,
        "status": "in_progress",
    })
}

/// Each claim of a task has its own call.
fn call_id(task: TaskId, generation: Generation) -> String {
    format!("{task}/{}", generation.0)
}

/// The board as a plan. A large board is shown in part: the unfinished tasks first, then the newest.
fn plan(tasks: &[TaskView]) -> Value {
    let is_open =
        |task: &&TaskView| matches!(task.state, TaskState::Pending | TaskState::InProgress);
    let (open, ended): (Vec<_>, Vec<_>) = tasks.iter().partition(is_open);
    let mut shown: Vec<_> = open.into_iter().chain(ended.into_iter().rev()).collect();
    shown.truncate(ENTRIES_MAX);
    shown.sort_by_key(|task| task.id);
    let mut entries: Vec<_> = shown.iter().map(|task| entry(task)).collect();
    let more = tasks.len() - shown.len();
    if more > 0 {
        let text = format!("{more} more tasks: agent-team task list");
        entries.push(json!({ "content": text, "priority": "low", "status": "completed" }));
    }
    json!({ "sessionUpdate": "plan", "entries": entries })
}

fn entry(task: &TaskView) -> Value {
    let (status, note) = match task.state {
        TaskState::Pending => ("pending", ""),
        TaskState::InProgress => ("in_progress", ""),
        TaskState::Completed | TaskState::Unknown => ("completed", ""),
        TaskState::Failed => ("completed", "failed: "),
        TaskState::Cancelled => ("completed", "cancelled: "),
    };
    let priority = match task.priority {
        ..0 => "low",
        0 => "medium",
        1.. => "high",
    };
    let owner = match &task.owner {
        Some(owner) => format!(" ({owner})"),
        None => String::new(),
    };
    let title = visible_label(&task.title, TITLE_MAX);
    let content = format!("{note}{} {title}{}", task.id, visible_line(&owner));
    json!({ "content": content, "priority": priority, "status": status })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(id: u64, state: &str, owner: Option<&str>, generation: u64) -> TaskView {
        let task = json!({
            "id": format!("T-{id}"), "key": "k", "title": format!("Task {id}"), "description": "", "state": state,
            "owner": owner, "generation": generation, "role": null, "for": null, "after": [], "blocks": [],
            "blocked": false, "priority": 0, "labels": [], "files": [], "run": null, "verify": null, "rerun": false,
            "attempts": generation, "created_by": "user", "created_at": 0, "changed_at": 0, "revision": 1,
            "result": "the result",
        });
        serde_json::from_value(task).unwrap()
    }

    fn calls(updates: &[Value]) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let calls = updates
            .iter()
            .filter(|update| update["sessionUpdate"] != "plan");
        calls
            .map(|update| {
                format!(
                    "{} {}",
                    text(&update["toolCallId"]),
                    text(&update["status"])
                )
            })
            .collect()
    }

    #[test]
    fn each_claim_is_a_call_that_ends_once() {
        let mut board = Board::new();
        let old = task(1, "completed", Some("ada"), 1);
        let pending = |generation| task(2, "pending", None, generation);
        let claimed = |generation| task(2, "in_progress", Some("ada"), generation);
        assert_eq!(
            calls(&board.difference(&[old.clone(), pending(0)], true)),
            [""; 0]
        );
        let begun = board.difference(&[old.clone(), claimed(1)], true);
        assert_eq!(calls(&begun), ["T-2/1 in_progress"]);
        assert_eq!(begun[0]["title"], "ada: T-2 Task 2");
        // The task was released and claimed again between two reads.
        let again = calls(&board.difference(&[claimed(2)], true));
        assert_eq!(again, ["T-2/1 failed", "T-2/2 in_progress"]);
        let ended = board.difference(&[task(2, "completed", Some("ada"), 2)], true);
        assert_eq!(calls(&ended), ["T-2/2 completed"]);
        assert!(ended[0].to_string().contains("the result"), "{ended:?}");
        // This task was claimed and failed between two reads.
        let quick = [task(3, "failed", Some("ada"), 1)];
        assert_eq!(
            calls(&board.difference(&quick, true)),
            ["T-3/1 in_progress", "T-3/1 failed"]
        );
        assert_eq!(calls(&board.difference(&quick, true)), [""; 0]);
    }

    #[test]
    fn a_session_without_a_prompt_begins_no_calls() {
        let mut board = Board::new();
        let claimed = [task(1, "in_progress", Some("ada"), 1)];
        assert_eq!(calls(&board.difference(&claimed, false)), [""; 0]);
        assert_eq!(
            calls(&board.difference(&claimed, true)),
            ["T-1/1 in_progress"]
        );
    }

    #[test]
    fn a_large_board_shows_its_open_tasks() {
        let mut tasks: Vec<_> = (1..=150)
            .map(|id| task(id, "completed", Some("ada"), 1))
            .collect();
        tasks[0] = task(1, "pending", None, 0);
        tasks[1] = task(2, "failed", Some("ada"), 1);
        let plan = plan(&tasks);
        let entries = plan["entries"].as_array().unwrap();
        assert_eq!(entries.len(), ENTRIES_MAX + 1);
        assert_eq!(entries[0]["content"], "T-1 Task 1");
        assert_eq!(entries[ENTRIES_MAX - 1]["content"], "T-150 Task 150 (ada)");
        assert_eq!(
            entries[ENTRIES_MAX]["content"],
            "50 more tasks: agent-team task list"
        );
    }
}
