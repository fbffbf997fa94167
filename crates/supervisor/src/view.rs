//! Converts the core's state into the views of the wire. Called by the driver.

use agent_team_core::CompletedTask;
use agent_team_core::member::{Life, Member};
use agent_team_core::request::RequestState;
use agent_team_core::round::{Round, Work};
use agent_team_core::run::{self, Run};
use agent_team_core::task::{self, Task};
use agent_team_core::user_mail::UserQuestion;
use agent_team_core::{Team, Tick};
use agent_team_protocol::Party;
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::engine::Engine;
use agent_team_protocol::external;
use agent_team_protocol::goal::GoalView;
use agent_team_protocol::notification::{Assignment, MemberModel};
use agent_team_protocol::placement::Placement;
use agent_team_protocol::request::UserQuestionView;
use agent_team_protocol::spec::{ClaimPolicy, FileDigest, RoleSpec};
use agent_team_protocol::text::{age, duration, visible_label};
use agent_team_protocol::value::{Effort, RunFailure};
use agent_team_protocol::view::{
    MemberState, MemberView, PlanView, QuestionView, RoleView, RoundState, RoundView, RunState,
    RunView, TaskState, TaskView, Waiting,
};
use agent_team_providers::ModelName;

use crate::settings::{self, MemberSettings, TeamSettings};

/// Maximum characters of a goal, and of an answer, in the view of a team.
const GOAL_CHARACTERS: usize = 200;

/// Facts about a member that the core does not have.
#[derive(Debug, Clone)]
pub(crate) struct RuntimeFacts<'a> {
    /// `None` when this version cannot read the settings.
    pub(crate) settings: Option<&'a MemberSettings>,
    /// Unix time in milliseconds.
    pub(crate) wall_ms: u64,
    /// The wait that the worker last reported.
    pub(crate) waiting: Option<Waiting>,
    /// When the worker began to report a wait.
    pub(crate) waiting_since: Option<Tick>,
    /// The model that answers, if the worker has reported it.
    pub(crate) model: Option<MemberModel>,
    pub(crate) placement: Placement,
    pub(crate) pane: Option<String>,
    /// The member should have a pane, but runs without one.
    pub(crate) lost_pane: bool,
    pub(crate) unresponsive: bool,
    pub(crate) disconnected: bool,
}

/// The roles that the team defines.
pub(crate) fn roles(settings: &TeamSettings) -> Vec<RoleView> {
    let view = |role: &RoleSpec| RoleView {
        name: role.name.clone(),
        description: role.description.clone(),
    };
    settings.roles.iter().map(view).collect()
}

/// The effort that a model receives, `None` if it receives no effort. Without `model`, the model is still unknown.
fn effort_of(model: Option<&str>, effort: Option<Effort>) -> Option<Effort> {
    let is_sent = match model.map(str::parse) {
        Some(Ok(ModelName::Of { provider, model })) => provider.sends_effort(&model, effort),
        Some(Ok(ModelName::Replay(_)) | Err(_)) | None => true,
    };
    is_sent.then(|| effort.unwrap_or_default())
}

pub(crate) fn member(team: &Team, member: &Member, facts: RuntimeFacts, now: Tick) -> MemberView {
    let task = team.task_of(&member.spec.name);
    let waiting = waiting(team, member, facts.waiting.as_ref());
    let is_working = task.is_some() || member.transcript.active;
    let state = state(member, is_working, waiting.is_some(), facts.unresponsive);
    let (engine, model, effort, unasked) = match facts.settings {
        Some(settings) => {
            let agent = &settings.agent;
            let uses_model = settings.engine.uses_model();
            let effort = uses_model.then(|| team.effort().or(agent.effort));
            let external = agent.external.as_ref();
            let unasked = external::unasked(settings.engine, external);
            // The model of an external agent is unknown: show the agent's name.
            let name = external.filter(|_| settings.engine.is_external());
            let model = name.map(|agent| agent.name.clone());
            let model = model.or_else(|| agent.model.clone());
            (settings.engine, model, effort, unasked)
        }
        None => (Engine::Unknown, None, None, None),
    };
    let (model, context) = match facts.model.clone() {
        Some(reported) => (Some(reported.model), reported.context),
        None => (model, None),
    };
    let effort = effort.and_then(|effort| effort_of(model.as_deref(), effort));
    let run = team.run().filter(|run| run.is_under_way());
    let mut why = why(run, member, task, waiting.as_ref(), &facts, now);
    if facts.disconnected {
        why.push_str("; its worker is not connected");
    }
    if let (Life::Ready { .. }, Some(reason)) = (&member.life, &member.objection) {
        why.push_str(&format!("; it objected to stopping: {reason}"));
    }
    let name = &member.spec.name;
    if let (Life::Ready { .. }, Some(reason)) = (&member.life, &member.turn_failure) {
        why.push_str(&format!("; its last turn could not continue: {reason}"));
    }
    let asks_user = team.user_question_of(name).map(|it| it.message);
    let wrote_user = team.unread_from(name);
    let mail = [("asks you", asks_user), ("wrote to you", wrote_user)];
    if let Some((verb, message)) = mail.iter().find_map(|(verb, it)| Some((verb, (*it)?))) {
        // If the member waits for this answer, the text above has already named the question.
        let is_named =
            matches!(&waiting, Some(Waiting::Answer { message: named }) if *named == message);
        let subject = match is_named {
            true => String::new(),
            false => format!(" it {verb} in {message}:"),
        };
        why.push_str(&format!(
            ";{subject} read the message with {}, answer with {}",
            CommandLine::Messages,
            CommandLine::Send(name)
        ));
    }
    MemberView {
        name: member.spec.name.clone(),
        role: member.spec.role.clone(),
        lead: member.spec.lead,
        claim: match member.spec.claimable.unassigned {
            true => ClaimPolicy::Ready,
            false => ClaimPolicy::Assigned,
        },
        engine,
        model,
        context,
        effort,
        unasked: unasked.map(str::to_owned),
        usage: member.transcript.spent,
        up_ms: member.account.up.read(now),
        working_ms: member.account.working.read(now),
        completed: member.account.completed,
        colour: settings::colour(&member.spec),
        placement: facts.placement,
        state,
        // The mode depends on the team's settings: the caller sets it.
        mode: None,
        for_ms: in_state_ms(team, member, waiting.as_ref(), &facts, now),
        waiting: waiting.filter(|_| state == MemberState::Waiting),
        why,
        pid: member.life.process().map(|process| process.pid),
        launch: member.life.launch().map(|launch| launch.id.clone()),
        task: task.map(|task| task.id),
        pane: facts.pane,
        lost_pane: facts.lost_pane,
        disconnected: facts.disconnected,
        unread: u32::try_from(member.inbox.len()).unwrap_or(u32::MAX),
        requests: u32::try_from(
            team.requests()
                .pending()
                .filter(|request| request.member == member.spec.name)
                .count(),
        )
        .unwrap_or(u32::MAX),
        asks_user,
        wrote_user,
        plan: plan(team, member),
        restarts: u32::try_from(member.restarts.recent(now)).unwrap_or(u32::MAX),
        last_result: member.last_result.as_deref().map(str::to_owned),
    }
}

/// How long the member has been in its state. A turn without a task counts from its start, and so does a wait, except a
/// wait for budget.
fn in_state_ms(
    team: &Team,
    member: &Member,
    waiting: Option<&Waiting>,
    facts: &RuntimeFacts,
    now: Tick,
) -> u64 {
    let turn = member.account.working.started();
    let turn = turn.filter(|_| team.task_of(&member.spec.name).is_none());
    let in_state = now.since(turn.unwrap_or(member.since).max(member.since));
    let waited = match waiting {
        Some(Waiting::Permission { request } | Waiting::Plan { request, .. }) => {
            let request = team.requests().get(*request);
            let waited = request.map(|it| facts.wall_ms.saturating_sub(it.asked_at));
            // The wall clock may jump: limit the wait to the time since the member started.
            let up_since = member.account.up.started().unwrap_or(member.since);
            waited.map(|waited| waited.min(now.since(up_since)))
        }
        Some(
            Waiting::Answer { .. }
            | Waiting::RateLimit { .. }
            | Waiting::Reply { .. }
            | Waiting::Dialog { .. },
        ) => facts.waiting_since.map(|since| now.since(since)),
        Some(Waiting::Budget { .. } | Waiting::Unknown) | None => None,
    };
    // A task that the member receives during the wait begins a new state, but does not shorten the wait.
    waited.unwrap_or(in_state)
}

pub(crate) fn run(run: &Run) -> RunView {
    let text = |text: &std::sync::Arc<str>| Some(text.to_string());
    let (state, answer, reason, ended_at) = match &run.state {
        run::RunState::UnderWay => (RunState::UnderWay, None, None, None),
        run::RunState::Finished { answer, at } => {
            (RunState::Finished, text(answer), None, Some(*at))
        }
        run::RunState::Failed {
            failure,
            reason,
            at,
        } => {
            let state = match failure {
                RunFailure::MaxRounds => RunState::MaxRounds,
                RunFailure::Stuck => RunState::Failed,
                RunFailure::Cancelled => RunState::Cancelled,
            };
            (state, None, text(reason), Some(*at))
        }
        run::RunState::Abandoned { at } => (RunState::Abandoned, None, None, Some(*at)),
    };
    RunView {
        run: run.id,
        goal: run.goal.to_string(),
        state,
        answer,
        reason,
        rounds: run.rounds_so_far(),
        effort: run.effort,
        started_at: run.started_at,
        ended_at,
    }
}

/// The team's newest goal.
pub(crate) fn goal(team: &Team, now: Tick, wall_ms: u64) -> Option<GoalView> {
    let current = team.run()?;
    let run = run(current);
    let totals = team.run_totals(now)?;
    let first_line = |text: &str| {
        let line = text.trim().lines().next().unwrap_or_default();
        visible_label(line, GOAL_CHARACTERS)
    };
    Some(GoalView {
        run: run.run,
        state: run.state,
        goal: first_line(&run.goal),
        answer: run
            .answer
            .as_deref()
            .or(run.reason.as_deref())
            .map(first_line),
        took_ms: run
            .ended_at
            .unwrap_or(wall_ms)
            .saturating_sub(run.started_at),
        tasks: totals.tasks,
        files: u64::try_from(current.files.len()).unwrap_or(u64::MAX),
        micro_usd: totals.micro_usd,
        unpriced: totals.unpriced,
    })
}

/// All rounds of a run, in order.
pub(crate) fn rounds(run: &Run) -> impl Iterator<Item = RoundView> {
    (1..).zip(&run.rounds).map(|(number, round)| {
        let (state, member, task, output) = match round {
            Round::Worked { member, task, work } => {
                let (state, output) = match work {
                    Work::UnderWay => (RoundState::UnderWay, None),
                    Work::Completed { output } => (RoundState::Completed, Some(output)),
                    Work::Failed { output } => (RoundState::Failed, Some(output)),
                };
                (state, Some(member), *task, output)
            }
            Round::Unclear { why } => (RoundState::Unclear, None, None, Some(why)),
            Round::Answered => (RoundState::Answered, None, None, None),
        };
        RoundView {
            round: number,
            state,
            member: member.cloned(),
            task,
            output: output.map(|output| output.to_string()),
        }
    })
}

pub(crate) fn question_to_user(question: &UserQuestion) -> UserQuestionView {
    UserQuestionView {
        id: question.message,
        member: question.member.clone(),
        text: question.text.to_string(),
        asked_at: question.asked_at,
    }
}

/// The question that the lead's model must answer now.
pub(crate) fn question(team: &Team) -> Option<QuestionView> {
    let question = team.round_prompt()?;
    Some(QuestionView {
        run: question.run,
        goal: team.run()?.goal.to_string(),
        round: question.round,
        expected_reply: question.expected_reply,
    })
}

/// The reason why the member waits. A member without work does not wait for budget.
pub(crate) fn waiting(team: &Team, member: &Member, reported: Option<&Waiting>) -> Option<Waiting> {
    let has_work = || {
        member.transcript.active
            || member.has_unread_work()
            || team.task_of(&member.spec.name).is_some()
    };
    match team.out_of_budget(member) {
        Some(out) => has_work().then(|| Waiting::Budget {
            why: out.to_string(),
        }),
        None => {
            let mut pending = team.requests().pending();
            let request = pending.find(|request| request.member == member.spec.name);
            let waiting = request.map(|request| match request.plan {
                Some(plan) => Waiting::Plan {
                    request: request.id,
                    number: plan.number,
                },
                None => Waiting::Permission {
                    request: request.id,
                },
            });
            waiting.or_else(|| {
                let question = team.user_question_of(&member.spec.name);
                match (reported, question) {
                    (Some(Waiting::Reply { .. }), Some(question)) => Some(Waiting::Answer {
                        message: question.message,
                    }),
                    (reported, _) => reported.cloned(),
                }
            })
        }
    }
}

/// The state of a member's plan, if the member must plan first.
fn plan(team: &Team, member: &Member) -> Option<PlanView> {
    if !member.spec.must_plan {
        return None;
    }
    let number = member.lock.newest_plan;
    let mut requests = team.requests().iter();
    let last = requests.find(|request| {
        request.member == member.spec.name && request.plan.is_some_and(|it| it.number == number)
    });
    Some(match last.map(|request| (request.id, &request.state)) {
        _ if !member.is_locked() => PlanView::Approved { number },
        Some((request, RequestState::Pending)) => PlanView::Waiting { number, request },
        Some((_, RequestState::Denied { by, reason })) => PlanView::SentBack {
            number,
            by: by.clone(),
            reason: reason.to_string(),
        },
        Some(_) | None => PlanView::Missing { number },
    })
}

/// The state shown for a member. `is_working`: the member holds a task or is in a turn.
pub(crate) fn state(
    member: &Member,
    is_working: bool,
    is_waiting: bool,
    is_unresponsive: bool,
) -> MemberState {
    match &member.life {
        Life::Planned => MemberState::Planned,
        Life::Launching { .. } => MemberState::Launching,
        Life::Ready { .. } if is_unresponsive => MemberState::Unresponsive,
        Life::Ready { .. } if is_waiting => MemberState::Waiting,
        Life::Ready { .. } if is_working => MemberState::Working,
        Life::Ready { .. } => MemberState::Idle,
        Life::StopRequested { .. } | Life::Draining { .. } | Life::Ending { .. } => {
            MemberState::Draining
        }
        Life::Cooling { .. } => MemberState::Cooling,
        Life::Held { .. } => MemberState::Held,
        Life::Stopped => MemberState::Stopped,
    }
}

/// Explains the member's state in one sentence.
fn why(
    run: Option<&Run>,
    member: &Member,
    task: Option<&Task>,
    waiting: Option<&Waiting>,
    facts: &RuntimeFacts,
    now: Tick,
) -> String {
    let name = &member.spec.name;
    let age = age(now.since(member.since));
    match &member.life {
        Life::Planned => format!("{name} is queued to start"),
        Life::Launching { .. } => {
            format!("{name} was started {age} ago and has not connected yet")
        }
        Life::Ready { .. } => {
            let reopen = format!(
                "; it runs without a pane: reopen it with {}",
                CommandLine::ReopenPanes
            );
            let trouble = match (facts.unresponsive, facts.lost_pane) {
                (true, true) => "; it has lost its pane and does not respond",
                (true, false) => "; it does not respond",
                (false, true) => &reopen,
                (false, false) => "",
            };
            let waits = waiting.and_then(|waiting| match waiting {
                Waiting::Budget { why } => Some(format!(": {why}")),
                Waiting::RateLimit { until, why } => Some(format!(
                    " for its model; next request in {}: {why}",
                    duration(until.saturating_sub(facts.wall_ms))
                )),
                Waiting::Permission { request } => Some(format!(
                    " for permission: see {}",
                    CommandLine::ShowRequest(*request)
                )),
                Waiting::Plan { request, number } => Some(format!(
                    " for approval of its plan {number}: see {}",
                    CommandLine::ShowRequest(*request)
                )),
                Waiting::Answer { message } => Some(format!(" for your answer to {message}")),
                Waiting::Reply { what } | Waiting::Dialog { what } => Some(format!(" for {what}")),
                Waiting::Unknown => None,
            });
            match (waits, task) {
                (Some(waits), None) => format!("{name} waits{waits}{trouble}"),
                (Some(waits), Some(task)) => {
                    let title = &task.spec.title;
                    format!("{name} has {} ({title}) and waits{waits}{trouble}", task.id)
                }
                (None, Some(task)) => format!(
                    "{name} has worked on {} ({}) for {age}{trouble}",
                    task.id,
                    doing(task)
                ),
                (None, None) if member.transcript.active => {
                    format!("{name} is in a turn, without a task{trouble}")
                }
                (None, None) if member.spec.lead && run.is_some() => format!(
                    "{name} has been idle for {age}, and the goal has no answer: continue with {}, or end it with {}{trouble}",
                    CommandLine::Send(name),
                    CommandLine::Cancel
                ),
                (None, None) if member.spec.lead => format!(
                    "{name} has been idle for {age}: it waits for a goal or a message from the team{trouble}"
                ),
                (None, None) => {
                    format!(
                        "{name} has been idle for {age}: no task on the board is ready for it{trouble}"
                    )
                }
            }
        }
        Life::StopRequested { stop_request, .. } => format!(
            "{name} was asked by {} to stop {age} ago, and may object",
            stop_request.by
        ),
        Life::Draining { reason, .. } => format!("{reason} {age} ago, and finishes its work"),
        Life::Ending { reason, .. } => format!("{reason}; its processes are being terminated"),
        Life::Cooling { restart_at } => {
            let left = duration(restart_at.since(now));
            format!(
                "{name} exited {} times recently and restarts in {left}",
                member.restarts.recent(now)
            )
        }
        Life::Held { reason } => {
            format!(
                "{name} is held: {reason}; try again with {}",
                CommandLine::Restart(name)
            )
        }
        Life::Stopped => format!(
            "{name} is stopped; start it with {}",
            CommandLine::Restart(name)
        ),
    }
}

/// The description of a task in progress.
pub(crate) fn doing(task: &Task) -> &str {
    task.spec.active_form.as_deref().unwrap_or(&task.spec.title)
}

pub(crate) fn task(team: &Team, task: &Task) -> TaskView {
    let (state, owner, result) = match &task.state {
        task::TaskState::Pending { note, .. } => (TaskState::Pending, None, note.as_deref()),
        task::TaskState::InProgress { owner } => (TaskState::InProgress, Some(owner), None),
        task::TaskState::Failed { reason, owner } => {
            (TaskState::Failed, owner.as_ref(), Some(&**reason))
        }
        task::TaskState::Cancelled => (TaskState::Cancelled, None, None),
    };
    TaskView {
        blocks: team.board().blocks(task.id).collect(),
        ..task_view(task, state, owner.cloned(), result)
    }
}

/// The view of a completed task, as stored in the archive.
pub(crate) fn completed(completed: &CompletedTask) -> TaskView {
    TaskView {
        blocks: completed.blocks.clone(),
        changed_at: completed.at,
        revision: completed.revision,
        ..task_view(
            &completed.task,
            TaskState::Completed,
            Some(completed.owner.clone()),
            Some(&completed.result),
        )
    }
}

fn task_view(
    task: &Task,
    state: TaskState,
    owner: Option<Party>,
    result: Option<&str>,
) -> TaskView {
    let spec = &task.spec;
    let texts = |texts: &[std::sync::Arc<str>]| texts.iter().map(|text| text.to_string()).collect();
    TaskView {
        id: task.id,
        key: spec.key.to_string(),
        title: spec.title.to_string(),
        description: spec.description.to_string(),
        state,
        owner,
        generation: task.generation,
        role: spec.role.clone(),
        assignee: spec.assignee.clone(),
        after: spec.after.clone(),
        blocks: Vec::new(),
        blocked: task.is_blocked() && state != TaskState::Completed,
        priority: spec.priority,
        labels: texts(&spec.labels),
        files: texts(&spec.files),
        run: spec.run.as_deref().map(str::to_owned),
        verify: spec.verify.as_deref().map(str::to_owned),
        rerun: spec.rerun,
        active_form: spec.active_form.as_deref().map(str::to_owned),
        metadata: spec
            .metadata
            .as_deref()
            .and_then(|text| serde_json::from_str(text).ok()),
        attempts: task.attempts,
        created_by: task.created_by.clone(),
        created_at: task.created_at,
        changed_at: task.changed_at,
        revision: task.revision,
        result: result.map(str::to_owned),
    }
}

pub(crate) fn assignment(task: &Task, settings: Option<&TeamSettings>) -> Assignment {
    Assignment {
        task: task.id,
        generation: task.generation,
        title: task.spec.title.to_string(),
        description: task.spec.description.to_string(),
        run: task.spec.run.as_deref().map(str::to_owned),
        verify: task.spec.verify.as_deref().map(str::to_owned),
        attempt: task.attempts,
        files: files(task, settings),
    }
}

/// The scripts started by a task's lines, with the digests that the user trusted.
fn files(task: &Task, settings: Option<&TeamSettings>) -> Vec<FileDigest> {
    let lines = [task.spec.run.as_deref(), task.spec.verify.as_deref()];
    let mut lines = lines.into_iter().flatten().peekable();
    if lines.peek().is_none() {
        return Vec::new();
    }
    let files = settings.map(|settings| lines.flat_map(|line| settings.files_of(line)).collect());
    files.unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_effort_that_a_model_receives_is_shown() {
        let max = Some(Effort::Max);
        for (model, configured, shown) in [
            (Some("moonshot/kimi-k2.7-code"), max, None),
            (Some("anthropic/claude-haiku-4-5"), max, max),
            (
                Some("anthropic/claude-sonnet-5-5"),
                None,
                Some(Effort::Medium),
            ),
            (Some("groq/openai/gpt-oss-120b"), None, None),
            (Some("groq/openai/gpt-oss-120b"), max, max),
            (None, max, max),
        ] {
            assert_eq!(effort_of(model, configured), shown, "{model:?}");
        }
    }
}
