//! The rules that apply in every step of an agent, and the line about its permission mode. Pure. Called by
//! `system_prompt`. A change of these texts requires the figures of `cargo xtask eval` before and after the change.

use agent_team_protocol::MemberName;
use agent_team_protocol::view::TeamView;

const STEPS: &str = "\
- Make calls that do not depend on each other in one answer: calls that only read run at the same time.
- Read code before you change it or answer a question about it. Do not guess.
- Continue until the work is done. After a change, run the tests that cover it and repair what fails. Report only \
checks that you ran, with their results, also if they failed.
- The user may be away. {APPROVAL} Decide what can be undone, and state the \
decision in your result. Ask before you do what cannot be undone and your task does not require.
- Never evade a denial by another call. Continue without the call, or report that you need it.
- Commit only if your task requires it: your changes alone, with a message in the style of the history. Push, rewrite \
history or skip hooks only if your task requires it.
- Write little: no summary of what the calls show, no file contents in messages and results.";

const APPROVAL: &str = "Do not stop to announce a step or to request approval.";
const APPROVAL_OF_PLAN: &str =
    "Do not stop to announce a step. Request approval only for your plan, with propose_plan.";

/// The rules for a member. `must_plan`: whether the member must have a plan approved before it changes anything.
pub(super) fn steps(must_plan: bool) -> String {
    let approval = match must_plan {
        true => APPROVAL_OF_PLAN,
        false => APPROVAL,
    };
    STEPS.replace("{APPROVAL}", approval)
}

/// The permission mode of this member, for the situation; empty if it is unknown.
pub(super) fn mode_line(team: &TeamView, member: &MemberName) -> String {
    let own = team.members.iter().find(|it| it.name == *member);
    let Some(mode) = own.and_then(|it| it.mode).or(team.mode) else {
        return String::new();
    };
    format!(
        "Permission mode: {mode}: {}. The user can change it at any time.\n",
        mode.for_model()
    )
}
