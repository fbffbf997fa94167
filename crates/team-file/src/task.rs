//! `[[task]]`: the tasks of the board. Checks that their keys are unique and that their dependencies have no cycle.
//! Called when the team is read.

use std::collections::HashMap;

use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::{MemberName, TaskId};

use super::member::Member;
use super::role::{LEAD, Roles};
use super::source::Source;
use super::table::{At, Table, suggest};

/// A task whose dependencies are not yet resolved.
struct Draft<'a> {
    /// The position of the task's key or title.
    at: usize,
    after: Vec<At<&'a str>>,
    spec: TaskSpec,
}

/// Reads the tasks and resolves the members, roles and tasks that they name.
pub(super) fn read(
    source: &Source<'_>,
    tables: Vec<Table<'_>>,
    members: &[Member],
    roles: &Roles,
) -> Vec<TaskSpec> {
    let drafts: Vec<_> = tables
        .into_iter()
        .filter_map(|table| draft(source, table, members, roles))
        .collect();
    let mut by_key: HashMap<&str, usize> = HashMap::new();
    for (index, draft) in drafts.iter().enumerate() {
        let key = draft.spec.key.as_str();
        if let Some(first) = by_key.get(key) {
            source.fault_with_hint(
                draft.at,
                format!(
                    "key {key:?} is already used by the task on line {}",
                    source.line(drafts[*first].at)
                ),
                "give one of them a different `key`",
            );
        } else {
            by_key.insert(key, index);
        }
    }
    let after = resolve(source, &drafts, &by_key);
    report_cycles(source, &drafts, after);
    drafts.into_iter().map(|draft| draft.spec).collect()
}

fn draft<'a>(
    source: &Source<'_>,
    mut table: Table<'a>,
    members: &[Member],
    roles: &Roles,
) -> Option<Draft<'a>> {
    let at = table.at;
    let title = table.string("title");
    if title.is_none_or(|title| title.value.trim().is_empty()) {
        source.fault_with_hint(at, "a task needs a title", "add title = \"Run the tests\"");
    }
    let key = table.string("key");
    if let Some(key) = key
        && (key.value.trim().is_empty() || key.value.parse::<TaskId>().is_ok())
    {
        source.fault(
            key.at,
            format!(
                "{:?} is not a valid key: it is empty or looks like a task ID",
                key.value
            ),
        );
    }
    let after = table.strings("after").unwrap_or_default();
    let mut text = |key| table.string(key).map(|found| found.value.to_owned());
    let (description, run, verify) = (text("description"), text("run"), text("verify"));
    let active_form = text("active_form");
    let mut list = |key| {
        let strings = table.strings(key).unwrap_or_default();
        strings
            .into_iter()
            .map(|found| found.value.to_owned())
            .collect()
    };
    let (labels, files) = (list("labels"), list("files"));
    let spec = TaskSpec {
        key: key
            .or(title)
            .map(|found| found.value.to_owned())
            .unwrap_or_default(),
        title: title
            .map(|found| found.value.to_owned())
            .unwrap_or_default(),
        description: description.unwrap_or_default(),
        priority: table.integer("priority", i32::MIN..=i32::MAX).unwrap_or(0),
        labels,
        after: after.iter().map(|found| found.value.to_owned()).collect(),
        role: table
            .string("role")
            .and_then(|name| roles.find(source, name)),
        assignee: table
            .string("for")
            .and_then(|name| member(source, name, members)),
        files,
        run,
        verify,
        rerun: table.boolean("rerun").unwrap_or(true),
        active_form,
        metadata: table.object("metadata"),
    };
    table.finish();
    let named = key.or(title)?;
    Some(Draft {
        at: named.at,
        after,
        spec,
    })
}

fn member(source: &Source<'_>, name: At<&str>, members: &[Member]) -> Option<MemberName> {
    let of_name = |member: &&Member| {
        member.spec.name.as_str() == name.value || (member.spec.lead && name.value == LEAD)
    };
    let found = members.iter().find(of_name);
    if found.is_none() {
        let known: Vec<_> = members
            .iter()
            .map(|member| member.spec.name.as_str())
            .collect();
        let message = format!("`for`: there is no member {:?}", name.value);
        source.fault_with_hint(name.at, message, suggest(name.value, &known));
    }
    found.map(|member| member.spec.name.clone())
}

/// For each task, the indices of its dependencies, with their positions.
fn resolve(
    source: &Source<'_>,
    drafts: &[Draft<'_>],
    by_key: &HashMap<&str, usize>,
) -> Vec<Vec<At<usize>>> {
    let mut edges = Vec::with_capacity(drafts.len());
    for (index, draft) in drafts.iter().enumerate() {
        let mut of_task = Vec::new();
        for wanted in &draft.after {
            match by_key.get(wanted.value) {
                Some(same) if *same == index => {
                    source.fault(wanted.at, format!("{:?} waits for itself", wanted.value));
                }
                Some(other) => of_task.push(At {
                    value: *other,
                    at: wanted.at,
                }),
                None => {
                    let others = drafts
                        .iter()
                        .enumerate()
                        .filter(|(other, _)| *other != index);
                    let known: Vec<_> = others.map(|(_, it)| it.spec.key.as_str()).collect();
                    let text = format!("`after`: there is no task {:?}", wanted.value);
                    match known.as_slice() {
                        [] => source.fault(wanted.at, text),
                        known => {
                            source.fault_with_hint(wanted.at, text, suggest(wanted.value, known))
                        }
                    }
                }
            }
        }
        edges.push(of_task);
    }
    edges
}

/// Maximum number of cycles to report: densely connected tasks can have more cycles than tasks.
const CYCLES_MAX: usize = 10;

/// Reports cycles, each completely, starting with its first task in the file.
fn report_cycles(source: &Source<'_>, drafts: &[Draft<'_>], mut after: Vec<Vec<At<usize>>>) {
    for _ in 0..CYCLES_MAX {
        let Some(cycle) = find_cycle(&after) else {
            return;
        };
        let first = cycle[0];
        let name = |task: &usize| {
            let Draft { at, spec, .. } = &drafts[*task];
            format!("{:?} (line {})", spec.key, source.line(*at))
        };
        let names: Vec<_> = cycle.iter().map(name).collect();
        let next = cycle[1 % cycle.len()];
        let edge = after[first].iter().position(|edge| edge.value == next);
        // Remove this edge to break the cycle, so that the next iteration finds another cycle.
        let edge = after[first].remove(edge.expect("consecutive tasks of a cycle have an edge"));
        source.fault_with_hint(
            edge.at,
            format!(
                "these tasks wait for each other: {} waits for {:?}",
                names.join(" waits for "),
                drafts[first].spec.key
            ),
            "remove one of them from an `after` list",
        );
    }
}

/// Finds a cycle: each task waits for the next task, and the last task waits for the first. The first task is the
/// earliest in the file.
fn find_cycle(after: &[Vec<At<usize>>]) -> Option<Vec<usize>> {
    // Repeatedly remove tasks without remaining dependencies. Each remaining task is in a cycle or depends on a cycle.
    let mut waits_for: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut waited_for_by = vec![Vec::new(); after.len()];
    for (task, edges) in after.iter().enumerate() {
        for edge in edges {
            waited_for_by[edge.value].push(task);
        }
    }
    let mut free: Vec<usize> = (0..after.len())
        .filter(|task| waits_for[*task] == 0)
        .collect();
    while let Some(task) = free.pop() {
        for waiting in &waited_for_by[task] {
            waits_for[*waiting] -= 1;
            if waits_for[*waiting] == 0 {
                free.push(*waiting);
            }
        }
    }
    let mut at = (0..after.len()).find(|task| waits_for[*task] > 0)?;
    // Follow the remaining dependencies until a task is reached again.
    let (mut path, mut index_in_path) = (Vec::new(), HashMap::new());
    while !index_in_path.contains_key(&at) {
        index_in_path.insert(at, path.len());
        path.push(at);
        let mut edges = after[at].iter();
        let next = edges.find(|edge| waits_for[edge.value] > 0);
        at = next.expect("tasks without dependencies were removed").value;
    }
    let mut cycle = path.split_off(index_in_path[&at]);
    let earliest = (0..cycle.len()).min_by_key(|index| cycle[*index])?;
    cycle.rotate_left(earliest);
    Some(cycle)
}
