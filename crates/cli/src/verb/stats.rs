//! `stats`: time, tokens and cost of each member and of the team.

use std::process::ExitCode;

use agent_team_protocol::document::{Stats, TeamStats};
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::text::duration;
use agent_team_protocol::view::{TeamView, Usage};

use crate::args::Global;
use crate::error::Failure;
use crate::output::table::{Cell, Table, elastic, fixed, optional};
use crate::output::{Output, columns, usage};

/// The cells of a row after the name. `shows_usage`: whether the table has columns for tokens and cost.
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
    output.show(&document, || table(&team, &document, columns()))?;
    Ok(ExitCode::SUCCESS)
}

fn table(team: &TeamView, document: &TeamStats<'_>, columns: Option<usize>) -> String {
    // Teams without agents use no tokens: leave out the columns.
    let shows_usage =
        team.usage.tokens() > 0 || team.members.iter().any(|member| member.engine.uses_model());
    let mut columns_shown = vec![elastic("NAME")];
    if shows_usage {
        columns_shown.extend([
            optional("IN", 3),
            optional("OUT", 4),
            optional("CACHED", 1),
            fixed("COST"),
        ]);
    }
    columns_shown.extend([optional("UP", 2), fixed("WORKING"), fixed("DONE")]);
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
    table.render(columns)
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use unicode_width::UnicodeWidthStr;

    use super::*;
    use crate::output::text;

    #[test]
    fn a_narrow_terminal_shows_the_important_columns() {
        let member = json!({
            "name": "reviewer-of-parsers", "role": "worker", "lead": false, "engine": "native", "model": null,
            "colour": "green", "placement": "tmux", "state": "idle", "why": "", "for_ms": 1, "pid": null,
            "launch": null, "task": null, "pane": null, "unread": 0, "requests": 0, "restarts": 0,
            "last_result": null, "up_ms": 7_503_000, "working_ms": 4_062_000, "completed": 12,
            "usage": {"input": 12_034_000, "output": 190_000, "cached": 11_034_000, "micro_usd": 14_120_000},
        });
        let team = json!({
            "team": "demo-01234567", "name": "demo", "project": "/p", "state": "up", "revision": 1,
            "members": [member], "tasks": {"pending": 0, "in_progress": 0, "completed": 12, "failed": 0, "cancelled": 0},
            "usage": member["usage"], "placement": "",
        });
        let team: TeamView = serde_json::from_value(team).expect("a team");
        let document = TeamStats::of(&team);
        let heads = |columns: usize| {
            let table = text::of_program(&table(&team, &document, Some(columns)));
            assert!(table.lines().all(|line| line.width() <= columns), "{table}");
            let head = table.lines().next().expect("a head").to_owned();
            head.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let all = [
            "NAME", "IN", "OUT", "CACHED", "COST", "UP", "WORKING", "DONE",
        ];
        assert_eq!(heads(80), all);
        assert_eq!(heads(50), ["NAME", "IN", "OUT", "COST", "WORKING", "DONE"]);
        assert_eq!(heads(36), ["NAME", "COST", "WORKING", "DONE"]);
    }
}
