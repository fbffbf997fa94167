//! `report`: writes a report of the team's work from its stored events: a page, a picture or a trace. Without a file,
//! prints the time and the cost of each member.
//!
//! ```text
//! events ─► reader.rs ─► history (cut to a run, without secrets) ─► page.rs, picture.rs, trace.rs ─► file.rs
//! ```

mod file;
mod history;
mod markup;
mod page;
mod picture;
mod reader;
mod scale;
mod trace;
mod words;

use std::path::PathBuf;
use std::process::ExitCode;

use agent_team_client::{Notice, Subscription};
use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::text::{cost, duration};
use agent_team_protocol::value::Usage;
use agent_team_protocol::view::TeamState;
use agent_team_protocol::{ErrorCode, MemberName, Revision, RunId, TeamId};
use agent_team_system::clock::wall_ms;
use agent_team_system::directories::Directories;
use serde::Serialize;

use self::file::ReportFile;
use self::history::History;
use self::reader::{Reader, UnknownRun};
use super::events::report_unreadable;
use crate::args::{self, Global};
use crate::error::Failure;
use crate::output::table::{Cell, Table, elastic, fixed};
use crate::output::time::utc;
use crate::output::{Output, columns, text, usage};
use crate::secrets::Secrets;

/// The work of the team within a window of time.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "TeamReport"))]
pub(crate) struct ReportDocument {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<TeamId>"))]
    team: TeamId,
    /// `None`: the whole history.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[cfg_attr(test, schemars(with = "Option<crate::reference::json::Wire<RunId>>"))]
    run: Option<RunId>,
    /// Unix time in milliseconds.
    from: u64,
    to: u64,
    members: Vec<MemberReport>,
    /// The files that were written.
    files: Vec<PathBuf>,
}

#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MemberReport {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberName>"))]
    name: MemberName,
    /// In a turn or on a task, without the time in which the member waited.
    worked_ms: u64,
    /// For decisions and replies.
    waited_ms: u64,
    held_ms: u64,
    up_ms: u64,
    tasks_completed: u64,
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<Usage>"))]
    usage: Usage,
}

type Draw = fn(&History, &str) -> String;

pub(super) async fn run(
    global: &Global,
    output: Output,
    args: args::Report,
) -> Result<ExitCode, Failure> {
    let kinds: [(Option<PathBuf>, &'static str, Draw); 3] = [
        (args.html, page::SIGNATURE, page::draw),
        (args.svg, picture::SIGNATURE, picture::draw),
        (args.trace, trace::SIGNATURE, trace::draw),
    ];
    let mut files = Vec::new();
    for (path, signature, draw) in kinds {
        if let Some(path) = path {
            files.push((ReportFile::check(path, signature)?, draw));
        }
    }
    let mut session = global.session()?;
    let team = session.query::<TeamShow>(Nothing {}).await?;
    let secrets = Secrets::of(&Directories::from_environment()?, &team.team);
    let mut reader = Reader::new(args.run, secrets);
    let mut events = Subscription::new(session, Revision(0), false).await?;
    let mut last = Revision(0);
    while last < events.head() && !reader.is_over() {
        if let Notice::Event(event) = events.next().await? {
            last = event.revision;
            reader.add(&event);
        }
    }
    let now = (team.state == TeamState::Up).then(wall_ms);
    let history = reader.finish(now).map_err(unknown_run(args.run))?;
    let title = match args.run {
        Some(run) => format!("{} {run}", team.name),
        None => team.name.to_string(),
    };
    let mut written = Vec::new();
    for (file, draw) in files {
        written.push(file.write(&draw(&history, &title))?);
    }
    report_unreadable(output, history.unreadable);
    let document = document(&history, team.team, args.run, written);
    output.show(&document, || summary(&history, &document))?;
    Ok(ExitCode::SUCCESS)
}

fn unknown_run(run: Option<RunId>) -> impl FnOnce(UnknownRun) -> Failure {
    move |UnknownRun(known)| {
        let run = run.map(|run| run.to_string()).unwrap_or_default();
        let text = format!("cannot report {run}: the team has no such run");
        let hint = match known.as_slice() {
            [] => "the team has had no goal: omit the run".to_owned(),
            [one] => format!("run: agent-team report {one}"),
            [first, .., last] => format!("choose a run from {first} to {last}"),
        };
        Failure::of(ErrorCode::UnknownRun, text).hint(hint)
    }
}

fn document(
    history: &History,
    team: TeamId,
    run: Option<RunId>,
    files: Vec<PathBuf>,
) -> ReportDocument {
    let members = picture::ordered(history).map(|(name, member)| {
        let times = history.times(name);
        MemberReport {
            name: name.clone(),
            worked_ms: times.worked,
            waited_ms: times.waited,
            held_ms: times.held,
            up_ms: times.up,
            tasks_completed: member.completed,
            usage: member.usage,
        }
    });
    ReportDocument {
        team,
        run,
        from: history.from,
        to: history.to,
        members: members.collect(),
        files,
    }
}

/// The files that were written; without files, a table of the members.
fn summary(history: &History, document: &ReportDocument) -> String {
    if !document.files.is_empty() {
        let lines = document.files.iter().map(|file| {
            let file = text::line(&file.to_string_lossy());
            format!("wrote {file}\n")
        });
        return lines.collect();
    }
    let mut table = Table::new([
        elastic("NAME"),
        fixed("WORKED"),
        fixed("WAITED"),
        fixed("HELD"),
        fixed("DONE"),
        fixed("TOKENS"),
        fixed("COST"),
    ]);
    let time = |ms: u64| match ms {
        0 => Cell::new("–"),
        ms => Cell::new(duration(ms)),
    };
    for member in &document.members {
        table.row([
            Cell::new(member.name.as_str()),
            time(member.worked_ms),
            time(member.waited_ms),
            time(member.held_ms),
            Cell::new(member.tasks_completed.to_string()),
            Cell::new(usage::tokens(member.usage.tokens())),
            Cell::new(cost(&member.usage)),
        ]);
    }
    let run = document
        .run
        .map(|run| format!(" {run}"))
        .unwrap_or_default();
    format!(
        "{}{run}: {}, {}\n{}",
        document.team,
        utc(history.from),
        duration(history.took()),
        table.render(columns())
    )
}
