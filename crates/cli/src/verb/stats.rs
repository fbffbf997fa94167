//! `stats`: time, tokens and cost of each member and of the team.

use std::process::ExitCode;

use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::text::duration;
use agent_team_protocol::view::{MemberView, TeamView, Usage};
use agent_team_protocol::{MemberName, TeamId};
use serde::Serialize;

use crate::args::Global;
use crate::error::Failure;
use crate::output::table::{Cell, Table, elastic, fixed};
use crate::output::{Output, columns, usage};

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct TeamStats<'a> {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<TeamId>"))]
    team: &'a TeamId,
    members: Vec<MemberStats<'a>>,
    /// Includes removed members. Its times count the periods in which at least one member was up, or worked.
    total: Stats,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct MemberStats<'a> {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberName>"))]
    name: &'a MemberName,
    stats: Stats,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
struct Stats {
    tokens_in: u64,
    tokens_out: u64,
    /// Part of `tokens_in`.
    tokens_cached: u64,
    /// US dollars. `None` when a price is unknown.
    cost: Option<f64>,
    up_ms: u64,
    working_ms: u64,
    tasks_completed: u64,
}

impl Stats {
    fn new(usage: &Usage, up_ms: u64, working_ms: u64, tasks_completed: u64) -> Self {
        Self {
            tokens_in: usage.input,
            tokens_out: usage.output,
            tokens_cached: usage.cached,
            cost: usage.usd(),
            up_ms,
            working_ms,
            tasks_completed,
        }
    }

    fn of(member: &MemberView) -> Self {
        let MemberView {
            usage,
            up_ms,
            working_ms,
            completed,
            ..
        } = member;
        Self::new(usage, *up_ms, *working_ms, *completed)
    }

    fn total(team: &TeamView) -> Self {
        let completed = team.tasks.completed;
        Self::new(&team.usage, team.up_ms, team.working_ms, completed)
    }

    /// `spends`: with the columns of tokens and costs.
    fn cells(&self, usage: &Usage, spends: bool) -> Vec<Cell> {
        let mut cells = Vec::new();
        if spends {
            cells.extend([
                Cell::new(usage::tokens(self.tokens_in)),
                Cell::new(usage::tokens(self.tokens_out)),
                Cell::new(usage::tokens(self.tokens_cached)),
                Cell::new(usage::cost(usage)),
            ]);
        }
        cells.extend([
            Cell::new(duration(self.up_ms)),
            Cell::new(duration(self.working_ms)),
            Cell::new(self.tasks_completed.to_string()),
        ]);
        cells
    }
}

pub(super) async fn run(global: &Global, output: Output) -> Result<ExitCode, Failure> {
    let team = global.session()?.query::<TeamShow>(Nothing {}).await?;
    let members = team.members.iter().map(|member| MemberStats {
        name: &member.name,
        stats: Stats::of(member),
    });
    let document = TeamStats {
        team: &team.team,
        members: members.collect(),
        total: Stats::total(&team),
    };
    output.show(&document, || table(&team, &document))?;
    Ok(ExitCode::SUCCESS)
}

fn table(team: &TeamView, document: &TeamStats<'_>) -> String {
    // Teams without agents use no tokens: leave out the columns.
    let spends =
        team.usage.tokens() > 0 || team.members.iter().any(|member| member.engine.uses_model());
    let mut columns_shown = vec![elastic("NAME")];
    if spends {
        columns_shown.extend([fixed("IN"), fixed("OUT"), fixed("CACHED"), fixed("COST")]);
    }
    columns_shown.extend([fixed("UP"), fixed("WORKING"), fixed("DONE")]);
    let mut table = Table::new(columns_shown);
    let mut row = |name: &str, stats: &Stats, usage: &Usage| {
        let mut cells = vec![Cell::new(name)];
        cells.extend(stats.cells(usage, spends));
        table.row(cells);
    };
    for (entry, member) in document.members.iter().zip(&team.members) {
        row(member.name.as_str(), &entry.stats, &member.usage);
    }
    row("total", &document.total, &team.usage);
    table.render(columns())
}
