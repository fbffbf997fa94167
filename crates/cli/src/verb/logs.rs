//! `logs`: prints the output of members; with `-f` follows it. Following reads a log file whenever the supervisor sends
//! a stored event, or a transient event of its member; it does not poll.
//!
//! The output of one member is printed as it is. The lines of several members are merged by their times and begin with
//! the member's name.

use std::collections::BTreeMap;
use std::process::ExitCode;

use agent_team_client::{Notice, Session, Subscription};
use agent_team_protocol::method::{MemberLog, MemberShow, Nothing, OneMember, TeamShow};
use agent_team_protocol::spec::Colour;
use agent_team_protocol::view::MemberView;
use agent_team_protocol::{MemberName, Revision};
use agent_team_system::clock::wall_ms;
use agent_team_terminal_ui::style::Style;
use serde::Serialize;

use crate::args::{self, Global};
use crate::error::Failure;
use crate::log::{Log, LogLine, LogLines};
use crate::output::style::{member_name, paint};
use crate::output::{Output, text, time};

/// The document for one member; with `-f`, one for each new piece of output.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct MemberOutput<'a> {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberName>"))]
    member: &'a MemberName,
    text: &'a str,
}

/// The document of `--json` without `-f`, for several members or selected lines.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Lines<'a> {
    lines: Vec<OutputLine<'a>>,
}

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct OutputLine<'a> {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Wire<MemberName>"))]
    member: &'a MemberName,
    /// Unix time in milliseconds; `null` when it was not recorded.
    at: Option<u64>,
    text: &'a str,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    args: args::Logs,
) -> Result<ExitCode, Failure> {
    let mut session = global.session()?;
    match args.member.as_slice() {
        [member] if args.shows_all_text() => {
            one(session, output, member.clone(), args.follow).await?;
        }
        [] => {
            let team = session.query::<TeamShow>(Nothing {}).await?;
            several(session, output, &args, team.members, team.revision).await?;
        }
        named => {
            let (mut views, mut revision) = (Vec::new(), Revision(0));
            for member in named.iter().cloned() {
                let shown = session.query::<MemberShow>(OneMember { member }).await?;
                // Subscribing from the first of the revisions misses no output.
                if views.is_empty() {
                    revision = shown.revision;
                }
                views.push(shown.member);
            }
            several(session, output, &args, views, revision).await?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the text of one member as it is.
async fn one(
    mut session: Session,
    output: Output,
    member: MemberName,
    follow: bool,
) -> Result<(), Failure> {
    let path = path_of(&mut session, &member).await?;
    // Resolve `lead` to the member's name: events contain only names.
    let shown = session.query::<MemberShow>(OneMember { member }).await?;
    let member = shown.member.name;
    if !follow {
        let (_, text) = Log::whole(path)?;
        let document = MemberOutput {
            member: &member,
            text: &text,
        };
        return output.show(&document, || {
            let mut shown = text::of_program(&text);
            if !shown.is_empty() && !shown.ends_with('\n') {
                shown.push('\n');
            }
            shown
        });
    }
    // Subscribe before reading: output that is written in between would produce no notification.
    let mut events = Subscription::new(session.separate(), shown.revision, true).await?;
    let (mut log, mut text) = Log::whole(path)?;
    loop {
        if !text.is_empty() {
            let item = MemberOutput {
                member: &member,
                text: &text,
            };
            output.item(&item, || text::of_program(&text))?;
        }
        while !concerns(&events.next().await?, &member) {}
        text = log.read()?;
    }
}

/// Prints the lines of these members, merged by time.
async fn several(
    mut session: Session,
    output: Output,
    args: &args::Logs,
    members: Vec<MemberView>,
    revision: Revision,
) -> Result<(), Failure> {
    let mut events = match args.follow {
        // Subscribe before reading, as in `one`.
        true => Some(Subscription::new(session.separate(), revision, true).await?),
        false => None,
    };
    let printer = Printer::new(output, args.timestamps, &members);
    let mut logs = BTreeMap::new();
    let mut lines: Vec<(MemberName, LogLine)> = Vec::new();
    for MemberView { name, .. } in members {
        let path = path_of(&mut session, &name).await?;
        let (
            log,
            LogLines {
                complete,
                unfinished,
            },
        ) = Log::lines(path)?;
        // Without `-f` no later read completes the last line.
        let unfinished = unfinished.filter(|_| !args.follow);
        let of_member = complete.into_iter().chain(unfinished);
        lines.extend(of_member.map(|line| (name.clone(), line)));
        let unfinished = String::new();
        logs.insert(name, Tail { log, unfinished });
    }
    // A stable sort: the lines of one member keep their order.
    lines.sort_by_key(|(_, line)| line.at);
    if let Some(since) = args.since {
        let earliest = wall_ms().saturating_sub(since);
        lines.retain(|(_, line)| line.at.is_some_and(|at| at >= earliest));
    }
    if let Some(tail) = args.tail {
        lines.drain(..lines.len().saturating_sub(tail));
    }
    let Some(events) = &mut events else {
        return printer.show(&lines);
    };
    for (member, line) in &lines {
        printer.item(member, line)?;
    }
    loop {
        let notice = events.next().await?;
        for (member, tail) in &mut logs {
            if concerns(&notice, member) {
                for line in tail.new_lines()? {
                    printer.item(member, &line)?;
                }
            }
        }
    }
}

/// Maximum length of an unfinished line, in bytes: a longer line is printed in pieces.
const UNFINISHED_MAX: usize = 64 << 10;

/// A log that is followed line by line.
struct Tail {
    log: Log,
    unfinished: String,
}

impl Tail {
    /// The lines that were completed since the last call.
    fn new_lines(&mut self) -> Result<Vec<LogLine>, Failure> {
        self.unfinished.push_str(&self.log.read()?);
        let mut complete = self.unfinished.rfind('\n').map_or(0, |newline| newline + 1);
        if self.unfinished.len() - complete > UNFINISHED_MAX {
            complete = self.unfinished.len();
        }
        let rest = self.unfinished.split_off(complete);
        let text = std::mem::replace(&mut self.unfinished, rest);
        let at = Some(wall_ms());
        let line = |text: &str| LogLine {
            at,
            text: text.to_owned(),
        };
        Ok(text.lines().map(line).collect())
    }
}

/// Prints lines with the names of their members.
struct Printer {
    output: Output,
    timestamps: bool,
    colours: BTreeMap<MemberName, Colour>,
    width: usize,
}

impl Printer {
    fn new(output: Output, timestamps: bool, members: &[MemberView]) -> Self {
        let widths = members.iter().map(|member| member.name.as_str().len());
        let colours = members.iter();
        let colours = colours.map(|member| (member.name.clone(), member.colour));
        Self {
            output,
            timestamps,
            width: widths.max().unwrap_or(0),
            colours: colours.collect(),
        }
    }

    fn show(&self, lines: &[(MemberName, LogLine)]) -> Result<(), Failure> {
        let documents = lines.iter().map(|(member, line)| document(member, line));
        let document = Lines {
            lines: documents.collect(),
        };
        self.output.show(&document, || {
            let lines = lines.iter().map(|(member, line)| self.text(member, line));
            lines.collect()
        })
    }

    fn item(&self, member: &MemberName, line: &LogLine) -> Result<(), Failure> {
        self.output
            .item(&document(member, line), || self.text(member, line))
    }

    /// `2026-11-21T03:42:19Z ada    │ the line`; without the name when only one member is shown.
    fn text(&self, member: &MemberName, line: &LogLine) -> String {
        let at = match (self.timestamps, line.at) {
            (false, _) => String::new(),
            (true, Some(at)) => format!("{} ", time::utc(at)),
            (true, None) => format!("{:<20} ", "–"),
        };
        let style = |colour: &Colour| member_name(*colour);
        let style = self.colours.get(member).map_or(Style::PLAIN, style);
        let width = self.width;
        let name = match self.colours.len() {
            1 => String::new(),
            _ => paint(style, format!("{:<width$} │ ", member.as_str())),
        };
        let text = text::of_program(&line.text);
        let lines = text.trim_end().split('\n');
        lines
            .map(|text| format!("{}\n", format!("{at}{name}{text}").trim_end()))
            .collect()
    }
}

fn document<'a>(member: &'a MemberName, line: &'a LogLine) -> OutputLine<'a> {
    OutputLine {
        member,
        at: line.at,
        text: &line.text,
    }
}

async fn path_of(
    session: &mut Session,
    member: &MemberName,
) -> Result<std::path::PathBuf, Failure> {
    let member = member.clone();
    Ok(session.query::<MemberLog>(OneMember { member }).await?.path)
}

fn concerns(notice: &Notice, member: &MemberName) -> bool {
    match notice {
        Notice::Transient(transient) => transient.member == *member,
        // Any event may come with output, and reading a log that has not grown is cheap.
        Notice::Event(_) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_end_is_followed_in_pieces() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ada.log");
        std::fs::write(&path, "x".repeat(UNFINISHED_MAX)).unwrap();
        let (log, _) = Log::lines(path.clone()).unwrap();
        let unfinished = String::new();
        let mut tail = Tail { log, unfinished };
        assert_eq!(tail.new_lines().unwrap(), []);
        std::fs::write(&path, "x".repeat(UNFINISHED_MAX + 1)).unwrap();
        assert_eq!(tail.new_lines().unwrap()[0].text.len(), UNFINISHED_MAX + 1);
        assert_eq!(tail.unfinished, "");
    }
}
