//! The runs that the pictures show: agents in panes, agents in one terminal, and a team of commands. Used by [`super`].
//!
//! A screen must be the same in each run, but the order in which members act depends on chance, and the numbers of
//! messages and the text of the lead depend on that order. So a scene lets the members act one after the other: a hook
//! keeps the first task open until the lead waits for the task, dora gets its task when cleo waits for an answer, and a
//! member gets an answer when the lead waits again.

use std::fs;

use anyhow::{Context as _, Result};
use serde_json::Value;

use super::picture_files::PictureFiles;
use super::stage::{Size, Stage, Terminal};
use super::svg::Theme;
use crate::demo::{Team, goal};
use crate::run::root;

/// At this size the lead, ben and cleo fill the first window of the team, and dora is in the second window.
pub(super) const SMALL: Size = (80, 24);

pub(super) const SIZES: [Size; 3] = [SMALL, (120, 40), (200, 50)];

/// Keeps each task open until [`COMPLETION`] exists in the directory of the demo, which contains the project.
const HOOK: &str =
    "[hooks]\ntask_completed = \"until test -e ../completion; do sleep 0.1; done\"\n";
const COMPLETION: &str = "completion";

/// The input tokens of each step in the recording.
const STEP_TOKENS: u64 = 100;

/// A team of commands in which each task has its member and waits for the previous task. The team of
/// `sample-project.sh` would not give the same screen in each run: its tasks go to the members that are free first, and
/// its cargo commands wait for each other.
const COMMANDS: &str = include_str!("commands.toml");

/// A team whose lead has a goal, at one size and in one theme.
pub(super) fn agents(files: &PictureFiles, size: Size, theme: Theme) -> Result<()> {
    let stage = agents_stage()?;
    let team = stage.open(size, theme, &["up", &goal()?])?;
    ask_questions(&stage)?;
    next_window(&team)?;
    team.wait_for("[n] no")?;
    files.take("request", &team)?;

    let top = stage.open(size, theme, &["top"])?;
    top.wait_for("q quit")?;
    top.press(&["3", "2"])?;
    top.wait_for("T-3 Document")?;
    files.take("top", &top)?;
    top.press(&["Down", "Down"])?;
    top.wait_for("▸ ✓ T-1")?;
    top.press(&["Enter"])?;
    top.wait_for("completed by ben")?;
    files.take("task", &top)?;

    stage.run(&["requests", "allow", "P-1"])?;
    stage.wait_for_members("the end of T-3", |member| {
        is_idle(&member("dora")) && waits_after(&member("lead"), 5)
    })?;
    stage.run(&["send", "cleo", "yes"])?;
    stage.wait_for_members("the answer of the lead", |member| {
        ["lead", "cleo"].iter().all(|name| is_idle(&member(name)))
    })?;
    next_window(&team)?;
    team.wait_for("✓ Done in")?;
    files.take("goal", &team)?;
    team.press(&["/"])?;
    team.wait_for("show this help")?;
    files.take("menu", &team)
}

/// A team in one process, at all sizes and in all themes: the terminals attach to the same team.
pub(super) fn hosted(files: &PictureFiles) -> Result<()> {
    let stage = agents_stage()?;
    stage.run(&["up", "--detach", "--panes", "hosted", &goal()?])?;
    ask_questions(&stage)?;
    for theme in Theme::ALL {
        for size in SIZES {
            let view = stage.open(size, theme, &["attach", "dora"])?;
            view.wait_for("[n] no")?;
            files.take("hosted", &view)?;
        }
    }
    Ok(())
}

/// A team of commands after its tasks, at one size and in one theme.
pub(super) fn commands(files: &PictureFiles, size: Size, theme: Theme) -> Result<()> {
    let stage = Stage::new(Team::Commands, COMMANDS)?;
    let team = stage.open(size, theme, &["up"])?;
    team.wait_for("✓4")?;
    files.take("commands", &team)
}

/// The agents of the demo, with the hook.
fn agents_stage() -> Result<Stage> {
    let file = root().join("scripts/demo/team.toml");
    let text = fs::read_to_string(&file);
    let text = text.with_context(|| format!("cannot read {}", file.display()))?;
    Stage::new(Team::Agents, &format!("{text}\n{HOOK}"))
}

/// Plays the recording until ben has completed its task, cleo waits for an answer, and dora for a decision.
fn ask_questions(stage: &Stage) -> Result<()> {
    stage.wait_for_members("the tasks", |member| waits_after(&member("lead"), 2))?;
    // cleo is busy with its own task, so T-3 waits.
    stage.run(&["task", "assign", "T-3", "cleo"])?;
    stage.create_file(COMPLETION)?;
    stage.wait_for_members("the question of cleo", |member| {
        let asks = !member("cleo")["asks_user"].is_null();
        asks && is_idle(&member("ben")) && waits_after(&member("lead"), 3)
    })?;
    stage.run(&["task", "assign", "T-3", "dora"])?;
    stage.wait_for_members("the request of dora", |member| {
        member("dora")["requests"] == 1 && waits_after(&member("lead"), 4)
    })
}

/// Shows the other window of the team, if it has two.
fn next_window(team: &Terminal<'_>) -> Result<()> {
    if team.size == SMALL {
        team.press(&["C-b", "n"])?;
    }
    Ok(())
}

fn is_idle(member: &Value) -> bool {
    member["state"] == "idle"
}

/// Whether a member waits after this number of steps.
fn waits_after(member: &Value, steps: u64) -> bool {
    member["state"] == "waiting" && member["usage"]["input"] == steps * STEP_TOKENS
}
