//! `stats`: time, tokens and cost of each member and of the team.

use std::process::ExitCode;

use agent_team_protocol::document::{Stats, TeamStats};
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::text::duration;
use agent_team_protocol::view::{TeamView, Usage};

use crate::args::Global;
use crate::error::Failure;
use crate::output::table::{Cell, Table, elastic, fixed};
use crate::output::{Output, columns, usage};

/// The cells of a row after the name. `shows_usage`: with the columns for tokens and cost.
fn cells(stats: &Stats, usage: &Usage, shows_usage: bool) -> Vec<Cell> {
    let mut cells = Vec::new();
    if shows_usage {
        cells.extend([
            Cell::new(usage::tokens(stats.tokens_in)),
            Cell::new(usage::tokens(stats.tokens_out)),
            Cell::new(usage::tokens(stats.tokens_cached)),
            Cell::new(usage::cost(usage)),
        ]);
    }
    cells.extend([
        Cell::new(duration(stats.up_ms)),
        Cell::new(duration(stats.working_ms)),
        Cell::new(stats.tasks_completed.to_string()),
    ]);
    cells
}

pub(super) async fn run(global: &Global, output: Output) -> Result<ExitCode, Failure> {
    let team = global.session()?.query::<TeamShow>(Nothing {}).await?;
    let document = TeamStats::of(&team);
    output.show(&document, || table(&team, &document))?;
    Ok(ExitCode::SUCCESS)
}

fn table(team: &TeamView, document: &TeamStats<'_>) -> String {
    // Teams without agents use no tokens: leave out the columns.
    let shows_usage =
        team.usage.tokens() > 0 || team.members.iter().any(|member| member.engine.uses_model());
    let mut columns_shown = vec![elastic("NAME")];
    if shows_usage {
        columns_shown.extend([fixed("IN"), fixed("OUT"), fixed("CACHED"), fixed("COST")]);
    }
    columns_shown.extend([fixed("UP"), fixed("WORKING"), fixed("DONE")]);
    let mut table = Table::new(columns_shown);
    let mut row = |name: &str, stats: &Stats, usage: &Usage| {
        let mut cells = vec![Cell::new(name)];
        cells.extend(self::cells(stats, usage, shows_usage));
        table.row(cells);
    };
    for (entry, member) in document.members.iter().zip(&team.members) {
        row(member.name.as_str(), &entry.stats, &member.usage);
    }
    row("total", &document.total, &team.usage);
    table.render(columns())
}
