//! `config …`: what the user sets of a team for themselves, beside the team file and before it.

use std::process::ExitCode;

use agent_team_file::{Key, Loaded, Own, Reading, Setting};
use agent_team_protocol::method::{Nothing, SetBudget, TeamBudget, TeamList};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::spec::{Budget, MemberSpec};
use agent_team_protocol::view::TeamState;
use agent_team_protocol::{ErrorCode, MemberName, TeamId};
use agent_team_system::directories::Directories;
use serde::Serialize;

use super::up;
use crate::args::{ConfigCommand, Global};
use crate::error::Failure;
use crate::output::table::{Cell, Table, elastic, fixed};
use crate::output::{Output, columns, text};
use crate::session::{self, Session};

#[derive(Serialize)]
struct Listing {
    settings: Vec<Setting>,
}

/// What `set` and `reset` came to.
#[derive(Serialize)]
struct Changed {
    setting: Setting,
    /// Where it is written.
    file: String,
    /// `now`, or `next_launch`.
    holds: &'static str,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: ConfigCommand,
) -> Result<ExitCode, Failure> {
    match command {
        ConfigCommand::Get { key } => get(global, output, key).await?,
        ConfigCommand::Set { key, value } => {
            let key: Key = key.parse()?;
            let value = key.check(&value)?;
            change(global, output, key, Some(value)).await?;
        }
        ConfigCommand::Reset { key } => change(global, output, key.parse()?, None).await?,
    }
    Ok(ExitCode::SUCCESS)
}

async fn get(global: &Global, output: Output, key: Option<String>) -> Result<(), Failure> {
    let loaded = load(global, None).await?;
    warn(output, &loaded);
    let mut settings = loaded.settings;
    if let Some(key) = key {
        let key: Key = key.parse()?;
        let name = key.to_string();
        settings.retain(|setting| setting.key == name);
        if settings.is_empty() {
            return Err(nothing_of_it(&key));
        }
    } else {
        // Every known role can be named; those without a model would only fill the list.
        settings.retain(|setting| setting.value.is_some() || !setting.key.starts_with("roles."));
    }
    let listing = Listing { settings };
    output.show(&listing, || table(&listing.settings))
}

/// A key that is one, and that nothing here has.
fn nothing_of_it(key: &Key) -> Failure {
    Failure::of(
        ErrorCode::UnknownMember,
        format!("nothing here has a setting {key}"),
    )
    .hint("agent-team config get lists those that there are")
}

async fn change(
    global: &Global,
    output: Output,
    key: Key,
    value: Option<String>,
) -> Result<(), Failure> {
    let before = load(global, None).await?;
    let spec = &before.spec;
    let team = TeamId::new(&spec.name, &spec.project);
    let directories = Directories::from_environment()?;
    let mut own = Own::load(&directories.config, &team)?;
    if value.is_none() && own.get(&key).is_none() {
        return Err(Failure::of(
            ErrorCode::WrongState,
            format!("{key} is not set by you: there is nothing to take back"),
        ));
    }
    let is_reset = value.is_none();
    let whose = format!("{} in {}", spec.name, spec.project.display());
    own.set(key.clone(), value);
    let after = load(global, Some(&own)).await?;
    let name = key.to_string();
    let in_vain = after.warnings.iter().find(|warning| {
        let said = format!("{name} is set in vain: ");
        warning.message.starts_with(&said)
    });
    if let (Some(warning), false) = (in_vain, is_reset) {
        let (_, why) = warning.message.split_once(": ").unwrap_or_default();
        let failure = Failure::of(ErrorCode::Invalid, format!("{name} cannot be set: {why}"));
        return Err(failure.hint("agent-team config get lists what can be set"));
    }
    own.save(&whose)?;
    let now = match key.is_limit() {
        true => put_to_work(&team, &key, &after).await?,
        false => false,
    };
    let listed = after.settings.iter().find(|setting| setting.key == name);
    let setting = listed.cloned().unwrap_or(Setting {
        key: name,
        value: own.get(&key).map(str::to_owned),
        from: own.place(),
    });
    let changed = Changed {
        setting,
        file: own.place(),
        holds: if now { "now" } else { "next_launch" },
    };
    output.show(&changed, || told(&changed))
}

/// A limit holds at once for a team that is up. Says whether it is.
async fn put_to_work(team: &TeamId, key: &Key, loaded: &Loaded) -> Result<bool, Failure> {
    let reference = TeamRef::Id(team.clone());
    let Some(mut session) = Session::of_running_team(reference).await? else {
        return Ok(false);
    };
    let teams = session.ask::<TeamList>(Nothing {}).await?.teams;
    let is_up = teams
        .iter()
        .any(|entry| entry.team == *team && entry.state == TeamState::Up);
    if is_up {
        let (member, budget) = concerned(key, loaded);
        session
            .call::<TeamBudget>(SetBudget { member, budget })
            .await?;
    }
    Ok(is_up)
}

/// Whose budget it is, and what it is now.
fn concerned(key: &Key, loaded: &Loaded) -> (Option<MemberName>, Budget) {
    let Key::Member(name, _) = key else {
        return (None, loaded.spec.limits.budget);
    };
    let is = |member: &&MemberSpec| member.name == *name;
    let member = loaded.spec.members.iter().find(is);
    let budget = member.map(|member| member.budget).unwrap_or_default();
    (Some(name.clone()), budget)
}

/// The team of this project, or what a goal would bring up without a team file.
async fn load(global: &Global, own: Option<&Own>) -> Result<Loaded, Failure> {
    let here = session::current_directory()?;
    let directories = Directories::from_environment()?;
    let reading = Reading {
        here: &here,
        settings: Some(&directories.config),
        variables: None,
        own,
    };
    let file = match &global.team {
        Some(name) => Some(up::known_file(global, name).await?),
        None => agent_team_file::find(&here),
    };
    Ok(match file {
        Some(file) => agent_team_file::load(&file, reading)?,
        None => agent_team_file::of_workers(up::WORKERS, reading)?,
    })
}

fn warn(output: Output, loaded: &Loaded) {
    for warning in &loaded.warnings {
        output.note(&text::line(&format!("warning: {warning}")));
    }
}

fn table(settings: &[Setting]) -> String {
    let mut table = Table::new([fixed("SETTING"), fixed("VALUE"), elastic("FROM")]);
    for Setting { key, value, from } in settings {
        table.row([
            Cell::new(key),
            Cell::new(value.as_deref().unwrap_or("–")),
            Cell::new(from),
        ]);
    }
    table.render(columns())
}

fn told(changed: &Changed) -> String {
    let Setting { key, value, from } = &changed.setting;
    let value = value.as_deref().unwrap_or("not set");
    let holds = match changed.holds {
        "now" => "it holds from now on",
        _ => "it holds from the next launch on: agent-team up starts anew whom it concerns",
    };
    format!(
        "{key} is {} ({}); {holds}\n",
        text::line(value),
        text::line(from)
    )
}
