//! `goal show`: prints the newest goal and its whole answer, or why it has none.

use std::process::ExitCode;

use agent_team_protocol::method::{Nothing, RunShow};
use agent_team_protocol::text::visible;
use agent_team_protocol::view::{RunState, RunView};
use agent_team_terminal_ui::style::Style;

use crate::args::Global;
use crate::error::Failure;
use crate::output::style::paint;
use crate::output::{Output, time};

pub(in crate::verb) async fn run(global: &Global, output: Output) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    let run = session.query::<RunShow>(Nothing {}).await?;
    output.show(&run, || text(&run))?;
    Ok(ExitCode::SUCCESS)
}

fn text(run: &RunView) -> String {
    let state = match run.state {
        RunState::UnderWay => "in progress",
        RunState::Finished => "finished",
        RunState::Failed | RunState::MaxRounds => "failed",
        RunState::Cancelled => "cancelled",
        RunState::Abandoned => "replaced by another goal",
        RunState::Unknown => "in an unknown state",
    };
    let id = paint(Style::BOLD, run.run.to_string());
    let effort = run
        .effort
        .map(|effort| format!(", effort {}", effort.name()));
    let mut text = format!(
        "{id} {state}, given {}{}\n{}\n",
        time::ago(run.started_at),
        effort.unwrap_or_default(),
        visible(run.goal.trim_end())
    );
    if let Some(answer) = &run.answer {
        text.push_str(&format!("\n{}\n", visible(answer.trim_end())));
    }
    if let Some(reason) = &run.reason {
        text.push_str(&format!("\nno answer: {}\n", visible(reason.trim_end())));
    }
    text
}
