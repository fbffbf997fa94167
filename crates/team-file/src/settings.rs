//! The keys of `agent-team config` with their values and origins, and warnings for overrides without effect. Called
//! when the team is read.

use agent_team_protocol::MemberName;
use agent_team_protocol::spec::{BaseUrl, Budget};
use agent_team_providers::PROVIDERS;

use super::member::{Defaults, Member, SetKeys};
use super::overrides::{Item, Key, Overrides, Setting};
use super::role::Roles;
use super::source::{Fault, Source};

/// The displayed origin of a model that is not set.
const FIRST_MODEL: &str = "the first provider with a key or a server";
/// The displayed origin of an effort that is not set.
const EFFORT: &str = "built in: medium, for models that think";
/// The default step limit and its origin.
pub(super) const STEPS: (&str, &str) = ("100", "built in");

/// All settings of the team, of each role and of each member. A role without a model is listed without a value.
pub(super) fn list(
    source: &Source<'_>,
    defaults: &Defaults,
    budget_of_file: Budget,
    members: &[Member],
    roles: &Roles,
    overrides: &Overrides,
) -> Vec<Setting> {
    let lister = Lister { source, overrides };
    let steps = |steps: Option<u32>| steps.map(|steps| steps.to_string());
    let team = defaults.set_keys;
    let agent_keys = &defaults.agent_keys;
    let of_team = Key::Team(Item::Role);
    let mut all = vec![
        lister.setting(
            of_team.clone(),
            Some(defaults.role().to_string()),
            lister.origin(team.role, team, "built in"),
        ),
        lister.setting(
            Key::Team(Item::Model),
            agent_keys.model.clone(),
            lister.origin(team.model, team, FIRST_MODEL),
        ),
        lister.setting(
            Key::Team(Item::Effort),
            agent_keys.effort.map(|effort| effort.name().to_owned()),
            lister.origin(team.effort, team, EFFORT),
        ),
        lister.setting(
            Key::Team(Item::MaxSteps),
            steps(agent_keys.max_steps).or(Some(STEPS.0.to_owned())),
            lister.origin(team.max_steps, team, STEPS.1),
        ),
    ];
    let in_file = format!("{} [limits]", source.file());
    all.extend(lister.limits(budget_of_file, &in_file, Key::Team));
    let in_file = |name: &str| format!("{} [providers.{name}]", source.file());
    all.extend(PROVIDERS.iter().filter_map(|provider| {
        let spec = agent_keys.providers.get(provider.name)?;
        let (BaseUrl::OfProject(url) | BaseUrl::Own(url)) = spec.base_url.as_ref()?;
        let from = in_file(provider.name);
        Some(lister.setting(Key::BaseUrl(provider), Some(url.clone()), from))
    }));
    all.extend(roles.iter().map(|(name, role)| {
        let model = role.agent_keys.model.clone();
        let from = match model {
            Some(_) => role.place.place.clone(),
            None => "the team's".to_owned(),
        };
        lister.setting(Key::RoleModel(name.clone()), model, from)
    }));
    for member in members {
        let name = &member.spec.name;
        let key = |item| Key::Member(name.clone(), item);
        let set_keys = member.set_keys;
        let role = roles.get(&member.spec.role);
        let inherited_role = match (member.spec.lead, overrides.get(&of_team), team.role) {
            (true, _, _) | (false, None, false) => "built in".to_owned(),
            (false, Some(_), _) => overrides.place(),
            (false, None, true) => lister.origin(true, team, ""),
        };
        all.push(lister.setting(
            key(Item::Role),
            Some(member.spec.role.to_string()),
            lister.origin(set_keys.role, set_keys, &inherited_role),
        ));
        if !member.spec.engine.is_agent() {
            continue;
        }
        let of_role = |is_set: bool, from: Option<&String>| {
            let place = role.map(|role| role.place.place.clone());
            let place = from.cloned().or(place).unwrap_or_default();
            is_set.then(|| format!("role {}: {place}", member.spec.role))
        };
        let model_of_role = role
            .and_then(|role| of_role(role.agent_keys.model.is_some(), role.model_from.as_ref()));
        let steps_of_role =
            role.and_then(|role| of_role(role.agent_keys.max_steps.is_some(), None));
        let inherited = |of_role: Option<String>, of_team: bool, default: &str| {
            let of_team = if of_team { "the team's" } else { default };
            of_role.unwrap_or_else(|| of_team.to_owned())
        };
        let from = inherited(model_of_role, agent_keys.model.is_some(), FIRST_MODEL);
        all.push(lister.setting(
            key(Item::Model),
            member.agent.model.clone(),
            lister.origin(set_keys.model, set_keys, &from),
        ));
        let effort_of_role = role.and_then(|role| of_role(role.agent_keys.effort.is_some(), None));
        let from = inherited(effort_of_role, agent_keys.effort.is_some(), EFFORT);
        all.push(lister.setting(
            key(Item::Effort),
            member.agent.effort.map(|effort| effort.name().to_owned()),
            lister.origin(set_keys.effort, set_keys, &from),
        ));
        let from = inherited(steps_of_role, agent_keys.max_steps.is_some(), STEPS.1);
        all.push(lister.setting(
            key(Item::MaxSteps),
            steps(member.agent.max_steps).or(Some(STEPS.0.to_owned())),
            lister.origin(set_keys.max_steps, set_keys, &from),
        ));
        let in_file = lister.origin(set_keys.limits, set_keys, "no limit");
        all.extend(lister.limits(member.spec.budget, &in_file, key));
    }
    all
}

/// Warnings for overrides of missing members and roles, and for other overrides without effect.
pub(super) fn ineffective(members: &[Member], roles: &Roles, overrides: &Overrides) -> Vec<Fault> {
    let member = |name: &MemberName| members.iter().find(|member| member.spec.name == *name);
    let why = |key: &Key| match key {
        Key::Team(Item::Role) => {
            let role = overrides.get(key)?;
            let unknown = roles.known(role).is_none();
            unknown.then(|| format!("there is no role {role}"))
        }
        Key::Team(_) | Key::BaseUrl(_) => None,
        Key::RoleModel(name) => {
            let unknown = roles.get(name).is_none();
            unknown.then(|| format!("there is no role {name}"))
        }
        Key::Member(name, item) => match member(name) {
            None => Some(format!("there is no member {name}")),
            Some(_) if *item == Item::Role => {
                let role = overrides.get(key)?;
                let unknown = roles.known(role).is_none();
                unknown.then(|| format!("there is no role {role}"))
            }
            Some(member) if member.spec.engine.runs_lines() => {
                Some(format!("{name} runs commands and uses no model"))
            }
            Some(member) if member.spec.engine.shows_program() => Some(format!(
                "{name} shows a program and uses no model of agent-team"
            )),
            Some(_) => None,
        },
    };
    let keys = overrides.keys().filter_map(|key| Some((key, why(key)?)));
    keys.map(|(key, why)| Fault {
        file: overrides.place(),
        line: 1,
        column: 1,
        message: format!("{key} has no effect: {why}"),
        hint: Some(format!("run agent-team config reset {key} to remove it")),
    })
    .collect()
}

struct Lister<'a> {
    source: &'a Source<'a>,
    overrides: &'a Overrides,
}

impl Lister<'_> {
    fn setting(&self, key: Key, value: Option<String>, from: String) -> Setting {
        let from = match self.overrides.get(&key) {
            Some(_) => self.overrides.place(),
            None => from,
        };
        Setting {
            key: key.to_string(),
            value,
            from,
        }
    }

    /// The position of a table that sets the key, or else `otherwise`.
    fn origin(&self, is_set: bool, table: SetKeys, otherwise: &str) -> String {
        match is_set {
            true => format!("{}:{}", self.source.file(), self.source.line(table.at)),
            false => otherwise.to_owned(),
        }
    }

    fn limits(&self, budget: Budget, in_file: &str, key: impl Fn(Item) -> Key) -> [Setting; 3] {
        let usd = |micro: u64| (micro as f64 / 1e6).to_string();
        let minutes = |ms: u64| (ms as f64 / 60_000.0).to_string();
        [
            (Item::Tokens, budget.tokens.map(|tokens| tokens.to_string())),
            (Item::Usd, budget.micro_usd.map(usd)),
            (Item::Minutes, budget.work_ms.map(minutes)),
        ]
        .map(|(item, value)| {
            let key = key(item);
            let value = self.overrides.get(&key).map(str::to_owned).or(value);
            let from = if value.is_some() { in_file } else { "no limit" };
            self.setting(key, value, from.to_owned())
        })
    }
}
