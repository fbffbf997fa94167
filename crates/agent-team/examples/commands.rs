//! A team with one command member: runs two tasks in order and prints their states.
//!
//! `cargo run -p agent-team --example commands`
#![expect(clippy::print_stdout, reason = "an example prints its result")]

use std::error::Error;
use std::sync::Arc;

use agent_team::protocol::view::TaskState;
use agent_team::{Member, Mode, TaskSpec, Team};
use tokio::sync::Notify;

#[tokio::main(flavor = "current_thread")]
pub(crate) async fn main() -> Result<(), Box<dyn Error>> {
    let changed = Arc::new(Notify::new());
    let notify = Arc::clone(&changed);
    let team = Team::builder()
        .mode(Mode::Manual)
        .member(Member::new("ada").command_engine())
        .on_envelope(move |_| notify.notify_one())
        .build()
        .await?;
    let task = |title: &str, run: &str, after: &[&str]| TaskSpec {
        title: title.to_owned(),
        run: Some(run.to_owned()),
        after: after.iter().map(|&key| key.to_owned()).collect(),
        ..TaskSpec::default()
    };
    let board = team.board();
    board
        .add(task("Build", "echo 42 > answer.txt", &[]))
        .await?;
    board
        .add(task("Test", "grep 42 answer.txt", &["Build"]))
        .await?;

    let open = [TaskState::Pending, TaskState::InProgress];
    let tasks = loop {
        let tasks = board.list().await?;
        if !tasks.iter().any(|task| open.contains(&task.state)) {
            break tasks;
        }
        changed.notified().await;
    };
    for task in tasks {
        println!("{} {}: {:?}", task.id, task.title, task.state);
    }
    team.shutdown().await?;
    Ok(())
}
