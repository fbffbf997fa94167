//! Turns the commands of a schedule into calls: the small numbers of a command select tasks, members and roles.

use std::sync::Arc;

use agent_team_core::input::{
    After, Call, ClaimRef, CompletionHook, Origin, SpawnSpec, TaskChanges, UpSpec,
};
use agent_team_core::spec::{FileTask, MemberSpec, TaskSpec};
use agent_team_protocol::id::{Generation, MemberName, Recipient, RoleName, TaskId};

use crate::command::{Ask, FileChoice, Gen, TaskChoice};
use crate::specs::{member_spec, name, task_spec, team_spec};
use crate::world::World;

const NAMES: [&str; 8] = [
    "ada", "bob", "cy", "lead", "dee", "worker-1", "tester-1", "nobody",
];
/// The teammates that a team file may contain.
const WORKERS: [&str; 4] = ["ada", "bob", "cy", "dee"];
const ROLES: [&str; 2] = ["worker", "tester"];

impl World {
    /// The id of an existing task; rarely the next free id.
    pub(crate) fn task(&self, which: u8) -> TaskId {
        let last = self.model.tasks;
        TaskId(if which >= 245 {
            last + 1
        } else {
            u64::from(which) % last.max(1) + 1
        })
    }

    fn claim(&self, task: u8, generation: Gen) -> ClaimRef {
        let task = self.task(task);
        let current = self
            .team
            .board()
            .get(task)
            .map_or(0, |task| task.generation.0);
        let generation = match generation {
            Gen::Current => Some(current),
            Gen::Old => Some(current.saturating_sub(1)),
            Gen::Next => Some(current + 1),
            Gen::Omitted => None,
        };
        ClaimRef {
            task,
            generation: generation.map(Generation),
        }
    }

    pub(crate) fn resolve(&self, by: &Origin, ask: &Ask) -> Call {
        let member = |which: &u8| name(NAMES[usize::from(*which)]);
        match ask {
            Ask::Up(file) => Call::Up(Box::new(up_spec(file))),
            Ask::Down { force } => Call::Down { force: *force },
            Ask::Spawn { name, role } => Call::Spawn {
                spec: SpawnSpec {
                    name: name.as_ref().map(member),
                    role: role_of(*role),
                    like: member_spec("any"),
                },
            },
            Ask::Stop(which) => Call::Stop {
                member: member(which),
                force: false,
            },
            Ask::Remove(which) => Call::Remove {
                member: member(which),
                force: false,
            },
            Ask::Kill(which) => Call::Kill {
                member: member(which),
            },
            Ask::Restart(which) => Call::Restart {
                member: member(which),
            },
            Ask::Send { to, urgent } => Call::Send {
                to: recipient(*to),
                text: "a word".into(),
                urgent: *urgent,
                reply_to: None,
                note: Default::default(),
            },
            Ask::Read { count } => {
                let inbox = match by {
                    Origin::User => None,
                    Origin::Member { name, .. } => {
                        self.team.member(name).map(|member| &member.inbox)
                    }
                };
                let unread = inbox
                    .into_iter()
                    .flat_map(agent_team_core::mail::Inbox::iter)
                    .map(|(id, _)| id);
                Call::Read {
                    messages: unread.take(usize::from(*count % 5)).collect(),
                }
            }
            Ask::Add { task, after } => Call::AddTask {
                spec: task_of(task, false),
                after: after
                    .iter()
                    .map(|which| After::Task(self.task(*which)))
                    .collect(),
                lines: Vec::new(),
            },
            Ask::Update {
                task,
                priority,
                after,
            } => Call::UpdateTask {
                task: self.task(*task),
                changes: Box::new(TaskChanges {
                    priority: Some(i32::from(*priority)),
                    after: after.as_ref().map(|after| {
                        after
                            .iter()
                            .map(|which| After::Task(self.task(*which)))
                            .collect()
                    }),
                    ..TaskChanges::default()
                }),
                lines: Vec::new(),
            },
            Ask::Claim { task } => Call::ClaimTask {
                task: task.map(|which| self.task(which)),
            },
            Ask::Assign { task, member: to } => Call::AssignTask {
                task: self.task(*task),
                member: member(to),
            },
            Ask::Complete { task, generation } => complete(self.claim(*task, *generation)),
            Ask::Fail { task, generation } => Call::FailTask {
                claim: self.claim(*task, *generation),
                reason: "no".into(),
            },
            Ask::Release { task, generation } => Call::ReleaseTask {
                claim: self.claim(*task, *generation),
                note: "later".into(),
            },
            Ask::Retry(task) => Call::RetryTask {
                task: self.task(*task),
            },
            Ask::Cancel(task) => Call::CancelTask {
                task: self.task(*task),
            },
        }
    }
}

pub(crate) fn complete(claim: ClaimRef) -> Call {
    Call::CompleteTask {
        claim,
        result: "done".into(),
        hook: CompletionHook::NotRun,
    }
}

fn role_of(which: u8) -> RoleName {
    ROLES[usize::from(which)].parse().expect("a good name")
}

fn recipient(which: u8) -> Recipient {
    match which {
        0 => Recipient::User,
        1 => Recipient::Lead,
        2 | 3 => Recipient::All,
        n => Recipient::Member(name(NAMES[usize::from(n - 4)])),
    }
}

fn task_of(choice: &TaskChoice, from_file: bool) -> TaskSpec {
    let title: Arc<str> = format!("task {}", choice.title).into();
    TaskSpec {
        title: title.clone(),
        key: title,
        description: format!("version {}", choice.version).into(),
        priority: choice.priority.into(),
        run: choice.runs.then(|| "make".into()),
        rerun: choice.rerun,
        role: choice.role.map(role_of),
        assignee: choice.assignee.map(|which| name(NAMES[usize::from(which)])),
        active_form: None,
        metadata: None,
        from_file,
        ..task_spec("")
    }
}

fn up_spec(file: &FileChoice) -> UpSpec {
    let has = |mask: u8, n: u8| mask & (1 << n) != 0;
    let worker = |n: u8| {
        let mut spec = member_spec(WORKERS[usize::from(n)]);
        spec.role = role_of(n % 2);
        spec.foreign = has(file.foreign, n);
        spec.settings = if has(file.changed_settings, n) {
            "new"
        } else {
            "old"
        }
        .into();
        spec.colour = if has(file.changed_colours, n) {
            "red"
        } else {
            "blue"
        }
        .into();
        spec.claimable.without_run = !has(file.runs_only, n);
        spec.claimable.unassigned = !has(file.assigned_only, n);
        spec
    };
    let lead = || MemberSpec {
        lead: true,
        ..member_spec("lead")
    };
    let mut team = team_spec();
    team.teammates = file.limit.into();
    team.starting = file.starting.into();
    team.asks_before_completing = file.hooks;
    team.asks_when_idle = file.hooks;
    let members: Vec<MemberSpec> = (0..4)
        .filter(|n| has(file.workers, *n))
        .map(worker)
        .chain(file.lead.then(lead))
        .collect();
    let in_file = |member: &MemberName| members.iter().any(|it| it.name == *member);
    let mut tasks: Vec<FileTask> = Vec::new();
    for (task, after) in &file.tasks {
        let mut spec = task_of(task, true);
        spec.assignee = spec.assignee.filter(in_file);
        let key = |n: &u8| {
            format!(
                "task {}",
                file.tasks[usize::from(*n) % file.tasks.len()].0.title
            )
            .into()
        };
        if !tasks.iter().any(|other| other.spec.key == spec.key) {
            tasks.push(FileTask {
                spec,
                after: after.iter().map(key).collect(),
            });
        }
    }
    UpSpec {
        team,
        members,
        tasks,
    }
}
