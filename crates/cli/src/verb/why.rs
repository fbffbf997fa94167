//! `why`: explains the state of a member or a task in one sentence; for an idle member also lists stuck tasks of the
//! board.

use std::process::ExitCode;

use agent_team_client::Session;
use agent_team_protocol::method::{MemberShow, Nothing, OneMember, OneTask, TaskShow, TeamShow};
use agent_team_protocol::view::{MemberState, TaskState, TaskView, Waiting};
use agent_team_protocol::{MemberName, TaskId};
use serde::Serialize;

use crate::args::{Global, WhySubject};
use crate::error::Failure;
use crate::output::{Output, task, text};

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TaskExplanation {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<TaskId>"))]
    task: TaskId,
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<TaskState>"))]
    state: TaskState,
    why: String,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Explanation<'a> {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberName>"))]
    member: &'a MemberName,
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberState>"))]
    state: MemberState,
    /// How long the member has been in this state, in milliseconds.
    for_ms: u64,
    why: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::reference::json::Wire<Waiting>>"))]
    waiting: Option<&'a Waiting>,
    /// Tasks that wait for a failed or cancelled task, or that no member can claim, each with the commands that help.
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    stuck: &'a [String],
    /// The calls that the member's program makes without asking.
    #[serde(skip_serializing_if = "Option::is_none")]
    unasked: Option<&'a str>,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    subject: WhySubject,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let member = match subject {
        WhySubject::Member(member) => member,
        WhySubject::Task(task) => return why_task(&mut session, output, task).await,
    };
    let answer = session.query::<MemberShow>(OneMember { member }).await?;
    let member = answer.member;
    // The board may be the reason why a member is idle.
    let stuck = match member.state {
        MemberState::Idle => {
            let board = session.board().await?;
            let members = session.query::<TeamShow>(Nothing {}).await?.members;
            let unclaimable = board
                .iter()
                .filter_map(|it| task::unclaimable(it, &members));
            let mut stuck = task::stuck(&board);
            stuck.extend(unclaimable);
            stuck
        }
        MemberState::Planned
        | MemberState::Launching
        | MemberState::Working
        | MemberState::Waiting
        | MemberState::Unresponsive
        | MemberState::Draining
        | MemberState::Cooling
        | MemberState::Held
        | MemberState::Stopped
        | MemberState::Unknown => Vec::new(),
    };
    let document = Explanation {
        member: &member.name,
        state: member.state,
        for_ms: member.for_ms,
        why: &member.why,
        waiting: member.waiting.as_ref(),
        stuck: &stuck,
        unasked: member.unasked.as_deref(),
    };
    output.show(&document, || {
        let mut text = format!("{}\n", text::line(&member.why));
        text.extend(stuck.iter().map(|line| format!("{line}\n")));
        if let Some(unasked) = &member.unasked {
            let name = &member.name;
            text.push_str(&format!(
                "{name} runs without asking: {}\n",
                text::line(unasked)
            ));
        }
        text
    })?;
    Ok(ExitCode::SUCCESS)
}

async fn why_task(
    session: &mut Session,
    output: Output,
    task: TaskId,
) -> Result<ExitCode, Failure> {
    let task = session.query::<TaskShow>(OneTask { task }).await?;
    let board = session.board().await?;
    let members = session.query::<TeamShow>(Nothing {}).await?.members;
    let of_board = |id| board.iter().find(|it: &&TaskView| it.id == id);
    let explanation = TaskExplanation {
        task: task.id,
        state: task.state,
        why: task::why(&task, of_board, &members),
    };
    output.show(&explanation, || format!("{}\n", explanation.why))?;
    Ok(ExitCode::SUCCESS)
}
