//! Random edits of dependencies, compared with a graph of plain numbers. An edit must be refused if and only if it
//! changes a completed task, creates a cycle, or names an unknown task. The user must be able to claim a task if and
//! only if the task is neither completed nor cancelled and all its dependencies are completed.

use std::collections::{BTreeMap, BTreeSet};

use agent_team_core::input::{
    After, Call, ClaimRef, CompletionHook, Input, Origin, ReplyTo, TaskChanges,
};
use agent_team_core::{Answer, InputContext, Refused, Team, Tick};
use agent_team_protocol::id::TaskId;
use proptest::collection::vec;
use proptest::prelude::*;

use crate::calls::reply_in;
use crate::specs::task_spec;

#[derive(Debug, Clone)]
enum Edit {
    Add { after: Vec<u64> },
    Update { task: u64, after: Vec<u64> },
    Complete { task: u64 },
    Cancel { task: u64 },
    Retry { task: u64 },
}

fn edit() -> impl Strategy<Value = Edit> {
    let task = || 1_u64..20;
    prop_oneof![
        4 => vec(task(), 0..3).prop_map(|after| Edit::Add { after }),
        6 => (task(), vec(task(), 0..4)).prop_map(|(task, after)| Edit::Update { task, after }),
        3 => task().prop_map(|task| Edit::Complete { task }),
        1 => task().prop_map(|task| Edit::Cancel { task }),
        1 => task().prop_map(|task| Edit::Retry { task }),
    ]
}

/// The open tasks with their dependencies.
#[derive(Default)]
struct Graph {
    open_tasks: BTreeMap<u64, Vec<u64>>,
    cancelled: BTreeSet<u64>,
    last: u64,
}

impl Graph {
    fn has_cycle(&self, task: u64, after: &[u64]) -> bool {
        let mut seen = BTreeSet::new();
        let mut to_visit = after.to_vec();
        while let Some(next) = to_visit.pop() {
            if seen.insert(next) {
                to_visit.extend(self.open_tasks.get(&next).into_iter().flatten());
            }
        }
        seen.contains(&task)
    }

    fn is_ready(&self, task: u64) -> bool {
        let is_done = |after: &u64| !self.open_tasks.contains_key(after);
        !self.cancelled.contains(&task)
            && self
                .open_tasks
                .get(&task)
                .is_some_and(|after| after.iter().all(is_done))
    }
}

fn call(team: &mut Team, call: Call) -> Result<Answer, Refused> {
    let context = InputContext {
        now: Tick(1),
        wall: 1,
        seed: [0; 32],
    };
    let input = Input::Called {
        by: Origin::User,
        key: None,
        reply: ReplyTo(1),
        call: Box::new(call),
    };
    reply_in(&team.advance(&context, input)).expect("every call is answered")
}

fn ids(after: &[u64]) -> Vec<After> {
    after.iter().map(|n| After::Task(TaskId(*n))).collect()
}

fn wait_for(team: &mut Team, graph: &mut Graph, task: u64, after: &[u64]) {
    let is_new = task == graph.last + 1;
    let answer = if is_new {
        call(
            team,
            Call::AddTask {
                spec: task_spec("x"),
                after: ids(after),
                lines: Vec::new(),
            },
        )
    } else {
        let changes = Box::new(TaskChanges {
            after: Some(ids(after)),
            ..TaskChanges::default()
        });
        call(
            team,
            Call::UpdateTask {
                task: TaskId(task),
                changes,
                lines: Vec::new(),
            },
        )
    };
    let known = |n: &u64| (1..=graph.last).contains(n) || *n == task;
    if !is_new && !graph.open_tasks.contains_key(&task) {
        assert!(answer.is_err(), "T-{task} is completed, but was changed");
    } else if !after.iter().all(known) {
        assert!(
            matches!(
                answer,
                Err(Refused::UnknownDependency { .. } | Refused::Cycle(_))
            ),
            "{answer:?}"
        );
    } else if graph.has_cycle(task, after) {
        assert!(
            matches!(answer, Err(Refused::Cycle(_))),
            "T-{task} after {after:?}: {answer:?}"
        );
    } else {
        assert!(answer.is_ok(), "T-{task} after {after:?}: {answer:?}");
        graph.open_tasks.insert(task, after.to_vec());
        graph.last = graph.last.max(task);
    }
}

fn complete(team: &mut Team, graph: &mut Graph, task: u64) {
    let claim = ClaimRef {
        task: TaskId(task),
        generation: None,
    };
    let claimed = call(
        team,
        Call::ClaimTask {
            task: Some(claim.task),
        },
    );
    assert_eq!(
        claimed.is_ok(),
        graph.is_ready(task),
        "T-{task}: {claimed:?}"
    );
    if claimed.is_ok() {
        let complete = Call::CompleteTask {
            claim,
            result: "".into(),
            hook: CompletionHook::NotRun,
        };
        call(team, complete).expect("the owner completes the task");
        graph.open_tasks.remove(&task);
    }
}

proptest! {
    // Edits are cheap, and only many edits reach the rare cases: run eight times the usual number of cases.
    #![proptest_config(crate::config(8))]

    #[test]
    fn edits_keep_the_graph_acyclic_and_blocked_tasks_exact(edits in vec(edit(), 0..120)) {
        let (mut team, mut graph) = (Team::default(), Graph::default());
        for edit in edits {
            match edit {
                Edit::Add { after } => {
                    let task = graph.last + 1;
                    wait_for(&mut team, &mut graph, task, &after);
                }
                Edit::Update { task, after } if task <= graph.last => wait_for(&mut team, &mut graph, task, &after),
                Edit::Complete { task } => complete(&mut team, &mut graph, task),
                Edit::Cancel { task } => {
                    if call(&mut team, Call::CancelTask { task: TaskId(task) }).is_ok() {
                        graph.cancelled.insert(task);
                    }
                }
                Edit::Retry { task } => {
                    if call(&mut team, Call::RetryTask { task: TaskId(task) }).is_ok() {
                        graph.cancelled.remove(&task);
                    }
                }
                Edit::Update { .. } => {}
            }
            let blocked: Vec<u64> = team.board().iter().filter(|it| it.is_blocked()).map(|it| it.id.0).collect();
            let waiting = |(_, after): &(&u64, &Vec<u64>)| after.iter().any(|n| graph.open_tasks.contains_key(n));
            let expected: Vec<u64> = graph.open_tasks.iter().filter(waiting).map(|(task, _)| *task).collect();
            prop_assert_eq!(blocked, expected);
        }
    }
}
