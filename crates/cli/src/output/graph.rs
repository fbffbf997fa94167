//! The dependencies between tasks, as indented text and as Graphviz input. Called by `task graph`.

use std::collections::{HashMap, HashSet};

use agent_team_protocol::TaskId;
use agent_team_protocol::view::{TaskState, TaskView};

use super::{task, text};

/// Indents each task below the task that it waits for. A task with several dependencies is printed below one of them;
/// below its other dependencies, a line refers to the task.
pub(crate) fn tree(tasks: &[TaskView]) -> String {
    if tasks.is_empty() {
        return "no tasks\n".into();
    }
    let by_id: HashMap<TaskId, &TaskView> = tasks.iter().map(|task| (task.id, task)).collect();
    let is_root = |task: &&TaskView| !task.after.iter().any(|id| by_id.contains_key(id));
    let mut shown = HashSet::new();
    let mut tree = String::new();
    // Iterative, because a long chain of tasks would overflow the stack.
    let mut open: Vec<(usize, &TaskView)> = tasks
        .iter()
        .filter(is_root)
        .rev()
        .map(|task| (0, task))
        .collect();
    while let Some((depth, task)) = open.pop() {
        tree.extend(std::iter::repeat_n("  ", depth));
        if !shown.insert(task.id) {
            tree.push_str(&format!("{} see above\n", task.id));
            continue;
        }
        tree.push_str(&task::line(task));
        if let Some(owner) = &task.owner {
            tree.push_str(&format!(" ({owner})"));
        }
        tree.push('\n');
        let next = task.blocks.iter().rev().filter_map(|id| by_id.get(id));
        open.extend(next.map(|task| (depth + 1, *task)));
    }
    tree
}

/// Graphviz input with an edge from each task to the tasks that wait for it.
pub(crate) fn dot(tasks: &[TaskView]) -> String {
    let mut dot =
        String::from("digraph tasks {\n  rankdir=LR;\n  node [shape=box, style=filled];\n");
    for task in tasks {
        let label = quote(&format!("{} {}", task.id, text::line(&task.title)));
        dot.push_str(&format!(
            "  \"{}\" [label={label}, fillcolor=\"{}\"];\n",
            task.id,
            fill(task)
        ));
    }
    for task in tasks {
        for after in &task.after {
            dot.push_str(&format!("  \"{after}\" -> \"{}\";\n", task.id));
        }
    }
    dot.push_str("}\n");
    dot
}

fn fill(task: &TaskView) -> &'static str {
    match task.state {
        TaskState::Pending if task.blocked => "lightgrey",
        TaskState::Pending | TaskState::Unknown => "white",
        TaskState::InProgress => "lightyellow",
        TaskState::Completed => "palegreen",
        TaskState::Failed => "lightpink",
        TaskState::Cancelled => "grey",
    }
}

fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use agent_team_protocol::{Generation, Party, Revision};

    use super::*;

    fn view(id: u64, title: &str, state: TaskState, after: &[u64], blocks: &[u64]) -> TaskView {
        let ids = |ids: &[u64]| ids.iter().copied().map(TaskId).collect();
        TaskView {
            id: TaskId(id),
            key: title.into(),
            title: title.into(),
            description: String::new(),
            state,
            owner: None,
            generation: Generation(0),
            role: None,
            assignee: None,
            after: ids(after),
            blocks: ids(blocks),
            blocked: state == TaskState::Pending && !after.is_empty(),
            priority: 0,
            labels: Vec::new(),
            files: Vec::new(),
            run: None,
            verify: None,
            rerun: true,
            active_form: None,
            metadata: None,
            attempts: 0,
            created_by: Party::User,
            created_at: 0,
            changed_at: 0,
            revision: Revision(1),
            result: None,
        }
    }

    fn diamond() -> Vec<TaskView> {
        let mut tasks = vec![
            view(1, "Build", TaskState::Completed, &[], &[2, 3]),
            view(2, "Test", TaskState::InProgress, &[1], &[4]),
            view(3, "Lint \"all\"", TaskState::Pending, &[1], &[4]),
            view(4, "Pack\u{1b}[2J", TaskState::Pending, &[2, 3], &[]),
        ];
        tasks[1].owner = Some(Party::Member("ada".parse().unwrap()));
        tasks
    }

    #[test]
    fn a_task_with_two_dependencies_appears_once() {
        let tree = anstream::adapter::strip_str(&tree(&diamond())).to_string();
        let lines = [
            "✓ T-1 Build",
            "  ◐ T-2 Test (ada)",
            "    ◌ T-4 Pack\\e[2J",
            "  ◌ T-3 Lint \"all\"",
            "    T-4 see above",
            "",
        ];
        assert_eq!(tree, lines.join("\n"));
    }

    #[test]
    fn a_long_chain_does_not_exhaust_the_stack() {
        let chain = |id: u64| view(id, "x", TaskState::Pending, &[id - 1], &[id + 1]);
        let tasks: Vec<_> = (1..2_000).map(chain).collect();
        assert_eq!(tree(&tasks).lines().count(), 1_999);
    }

    #[test]
    fn labels_are_quoted_for_graphviz() {
        let dot = dot(&diamond());
        assert!(
            dot.contains(r#""T-3" [label="T-3 Lint \"all\"", fillcolor="lightgrey"];"#),
            "{dot}"
        );
        assert!(dot.contains(r#"label="T-4 Pack\\e[2J""#), "{dot}");
        assert!(dot.contains("\"T-2\" -> \"T-4\";"), "{dot}");
    }
}
