//! `config …`: the user's own overrides of a team's settings. They are stored outside the project and take precedence
//! over the team file.

use std::collections::BTreeMap;
use std::process::ExitCode;

use agent_team_client::Session;
use agent_team_file::{Key, Loaded, Overrides, Reading, Setting};
use agent_team_protocol::method::{Nothing, SetBudget, TeamBudget, TeamList};
use agent_team_protocol::rpc::TeamRef;
use agent_team_protocol::spec::{Budget, MemberSpec};
use agent_team_protocol::view::TeamState;
use agent_team_protocol::{ErrorCode, MemberName, TeamId};
use agent_team_system::directories::Directories;
use serde::Serialize;

use super::{prices, up};
use crate::args::{ConfigCommand, Global};
use crate::caller;
use crate::error::Failure;
use crate::output::table::{Cell, Table, elastic, fixed};
use crate::output::{Output, columns, text};

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Settings {
    #[cfg_attr(test, schemars(with = "Vec<crate::reference::json::Setting>"))]
    settings: Vec<Setting>,
}

/// The result of `set` and `reset`.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct ChangedSetting {
    #[cfg_attr(test, schemars(with = "crate::reference::json::Setting"))]
    setting: Setting,
    /// The file that stores the override.
    file: String,
    /// When the change takes effect: `now` or `next_launch`.
    applies: &'static str,
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
            return Err(no_such_setting(&key));
        }
    } else {
        // Every known role has a model key; leave out the keys without a value.
        settings.retain(|setting| setting.value.is_some() || !setting.key.starts_with("roles."));
    }
    let listing = Settings { settings };
    output.show(&listing, || table(&listing.settings))
}

/// The error for a valid key whose member or role does not exist here.
fn no_such_setting(key: &Key) -> Failure {
    Failure::of(
        ErrorCode::UnknownMember,
        format!("this team has no setting {key}"),
    )
    .hint("list the settings with: agent-team config get")
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
    let mut overrides = Overrides::load(&directories.config, &team)?;
    if value.is_none() && overrides.get(&key).is_none() {
        return Err(Failure::of(
            ErrorCode::WrongState,
            format!("cannot reset {key}: you have not set it"),
        ));
    }
    let is_reset = value.is_none();
    let label = format!("{} in {}", spec.name, spec.project.display());
    overrides.set(key.clone(), value);
    let after = load(global, Some(&overrides)).await?;
    let name = key.to_string();
    let ineffective = after.warnings.iter().find(|warning| {
        let prefix = format!("{name} has no effect: ");
        warning.message.starts_with(&prefix)
    });
    if let (Some(warning), false) = (ineffective, is_reset) {
        let (_, why) = warning.message.split_once(": ").unwrap_or_default();
        let failure = Failure::of(ErrorCode::Invalid, format!("cannot set {name}: {why}"));
        return Err(failure.hint("list the settings with: agent-team config get"));
    }
    if key.to_string().ends_with("limits.usd") && !is_reset {
        prices::check(&after.spec, &BTreeMap::new())?;
    }
    overrides.save(&label)?;
    let now = match key.is_limit() {
        true => apply_limit(&team, &key, &after).await?,
        false => false,
    };
    let listed = after.settings.iter().find(|setting| setting.key == name);
    let setting = listed.cloned().unwrap_or(Setting {
        key: name,
        value: overrides.get(&key).map(str::to_owned),
        from: overrides.place(),
    });
    let changed = ChangedSetting {
        setting,
        file: overrides.place(),
        applies: if now { "now" } else { "next_launch" },
    };
    output.show(&changed, || text_of(&changed))
}

/// Applies a changed limit to the team if the team is up; returns whether it is up.
async fn apply_limit(team: &TeamId, key: &Key, loaded: &Loaded) -> Result<bool, Failure> {
    let reference = Some(TeamRef::Id(team.clone()));
    let Some(mut session) = Session::of_running(reference).await? else {
        return Ok(false);
    };
    let teams = session.query::<TeamList>(Nothing {}).await?.teams;
    let is_up = teams
        .iter()
        .any(|entry| entry.team == *team && entry.state == TeamState::Up);
    if is_up {
        let (member, budget) = budget_of(key, loaded);
        session
            .call::<TeamBudget>(SetBudget { member, budget })
            .await?;
    }
    Ok(is_up)
}

/// The member whose budget the key changes (`None`: the team), and the budget.
fn budget_of(key: &Key, loaded: &Loaded) -> (Option<MemberName>, Budget) {
    let Key::Member(name, _) = key else {
        return (None, loaded.spec.limits.budget);
    };
    let is = |member: &&MemberSpec| member.name == *name;
    let member = loaded.spec.members.iter().find(is);
    let budget = member.map(|member| member.budget).unwrap_or_default();
    (Some(name.clone()), budget)
}

/// Loads the team of `--team` or of this project; without a team file, the default team.
pub(super) async fn load(
    global: &Global,
    overrides: Option<&Overrides>,
) -> Result<Loaded, Failure> {
    let here = caller::current_directory()?;
    let directories = Directories::from_environment()?;
    let reading = Reading {
        here: &here,
        settings: Some(&directories.config),
        variables: None,
        overrides,
    };
    let file = match &global.team {
        Some(name) => Some(up::known_file(global, name).await?),
        None => agent_team_file::find(&here),
    };
    Ok(match file {
        Some(file) => agent_team_file::load(&file, reading)?,
        None => agent_team_file::of_workers(up::DEFAULT_WORKERS, None, reading)?,
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

fn text_of(changed: &ChangedSetting) -> String {
    let Setting { key, value, from } = &changed.setting;
    let value = value.as_deref().unwrap_or("not set");
    let applies = match changed.applies {
        "now" => "applies now",
        _ => "the next agent-team up applies it, and restarts the affected members",
    };
    format!(
        "{key} is {} ({}); {applies}\n",
        text::line(value),
        text::line(from)
    )
}
