//! `role …`: lists the roles of this project and shows one. Contacts the supervisor only to find the project of another
//! team (`-t`).

use std::path::Path;
use std::process::ExitCode;

use agent_team_file::{Layer, Reading, RoleDefinition, RoleSource};
use agent_team_protocol::engine::Engine;
use agent_team_protocol::spec::DelegateSpec;
use agent_team_protocol::text::visible;
use agent_team_protocol::{ErrorCode, RoleName};
use agent_team_system::directories::Directories;
use agent_team_terminal_ui::style::Style;
use serde::Serialize;

use super::up;
use crate::args::{Global, RoleCommand};
use crate::caller;
use crate::error::Failure;
use crate::output::style::paint;
use crate::output::table::{Cell, Column, Table, elastic, fixed};
use crate::output::{Output, columns, text};

#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub(crate) struct Roles {
    #[cfg_attr(test, schemars(with = "Vec<crate::reference::json::RoleDefinition>"))]
    roles: Vec<RoleDefinition>,
}

pub(super) async fn run(
    global: &Global,
    output: Output,
    command: RoleCommand,
) -> Result<ExitCode, Failure> {
    let roles = known(global).await?;
    match command {
        RoleCommand::List => {
            let listing = Roles { roles };
            output.show(&listing, || table(&listing.roles))?;
        }
        RoleCommand::Show { role } => {
            let role = find(roles, &role)?;
            output.show(&role, || details(&role))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

async fn known(global: &Global) -> Result<Vec<RoleDefinition>, Failure> {
    let here = caller::current_directory()?;
    let directories = Directories::from_environment()?;
    let file = match &global.team {
        Some(name) => Some(up::known_file(global, name).await?),
        None => agent_team_file::find(&here),
    };
    let reading = Reading {
        here: &here,
        settings: Some(&directories.config),
        variables: None,
        overrides: None,
    };
    Ok(agent_team_file::roles(
        file.as_deref(),
        project(&here),
        reading,
    )?)
}

/// The directory of a project without a team file: the nearest directory with `.agent-team`, else the current
/// directory.
pub(super) fn project(here: &Path) -> &Path {
    let mut above = here.ancestors();
    above
        .find(|directory| directory.join(agent_team_file::DIRECTORY).is_dir())
        .unwrap_or(here)
}

fn find(roles: Vec<RoleDefinition>, name: &RoleName) -> Result<RoleDefinition, Failure> {
    let known: Vec<_> = roles.iter().map(|role| role.name.as_str()).collect();
    let hint = agent_team_file::suggest(name.as_str(), &known);
    let mut roles = roles.into_iter();
    roles.find(|role| role.name == *name).ok_or_else(|| {
        Failure::of(ErrorCode::UnknownRole, format!("there is no role {name}")).hint(hint)
    })
}

fn table(roles: &[RoleDefinition]) -> String {
    const COLUMNS: &[Column] = &[
        fixed("ROLE"),
        fixed("FROM"),
        fixed("ENGINE"),
        elastic("FOR"),
    ];
    let mut table = Table::new(COLUMNS);
    for role in roles {
        let summary = match role.faults.first() {
            Some(fault) => format!("cannot be used: {fault}"),
            None => role.description.clone(),
        };
        table.row([
            Cell::new(role.name.as_str()),
            Cell::new(layer(role.from)),
            Cell::new(role.engine.map_or("the team's", Engine::name)),
            Cell::new(summary),
        ]);
    }
    table.render(columns())
}

fn layer(layer: Layer) -> &'static str {
    match layer {
        Layer::TeamFile => "team file",
        Layer::Project => "project",
        Layer::Claude => ".claude",
        Layer::Nyzhi => ".nyzhi",
        Layer::User => "user",
        Layer::BuiltIn => "built in",
    }
}

fn details(role: &RoleDefinition) -> String {
    let mut text = format!(
        "{}: {}\n",
        paint(Style::BOLD, role.name.as_str()),
        text::line(&role.description)
    );
    let mut row = |name: &str, value: String| {
        text.push_str(&format!("  {name:<10} {}\n", text::line(&value)));
    };
    row("from", place(role.from, &role.place));
    for hidden in &role.hides {
        let RoleSource { from, place: at } = hidden;
        row("hides", place(*from, at));
    }
    row(
        "engine",
        role.engine.map_or("the team's", Engine::name).to_owned(),
    );
    row(
        "model",
        role.model
            .clone()
            .unwrap_or_else(|| "the team's".to_owned()),
    );
    if let Some(effort) = role.effort {
        row("effort", effort.name().to_owned());
    }
    if let Some(compact) = &role.compact {
        row("compact", compact.clone());
    }
    if let Some(DelegateSpec {
        model,
        steps,
        tokens,
    }) = &role.delegate
    {
        let model = model.as_deref().unwrap_or("its own model");
        row(
            "delegate",
            format!("{model}, {steps} steps, {tokens} tokens"),
        );
    }
    if let Some(steps) = role.max_steps {
        row("max_steps", steps.to_string());
    }
    row(
        "tools",
        role.tools
            .as_ref()
            .map_or_else(|| "all".to_owned(), |tools| tools.join(", ")),
    );
    if !role.deny_tools.is_empty() {
        row("denied", role.deny_tools.join(", "));
    }
    if role.network {
        row("network", "yes".to_owned());
    }
    for fault in &role.faults {
        row("fault", fault.clone());
    }
    for warning in &role.warnings {
        row("warning", warning.clone());
    }
    if !role.prompt.is_empty() {
        text.push_str(&format!("\n{}\n", visible(&role.prompt)));
    }
    text
}

fn place(from: Layer, place: &str) -> String {
    match from {
        Layer::BuiltIn => "built in".to_owned(),
        Layer::TeamFile | Layer::Project | Layer::Claude | Layer::Nyzhi | Layer::User => {
            place.to_owned()
        }
    }
}
