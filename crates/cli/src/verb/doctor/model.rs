//! Finds the model that each member would use, and the reason. Called by `doctor`, by `spawn`, by `up`, and by the check
//! of prices.

use std::collections::BTreeMap;

use agent_team_file::{Loaded, Setting};
use agent_team_protocol::spec::{AgentSpec, DelegateSpec, MemberSpec};
use serde::Deserialize;

use super::check::Check;
use crate::verb::native_worker;

const NAME: &str = "model";

/// The output of the worker's program about a model.
#[derive(Debug, Deserialize)]
pub(in crate::verb) struct ExplainedModel {
    model: String,
    why: String,
    /// The models without a known price, among the member's model, its fallbacks, its model for summaries and the model
    /// of its helpers.
    pub(in crate::verb) unpriced: Vec<String>,
}

/// A model, its fallbacks, the model for summaries, and the model of helpers.
type Models<'a> = (
    Option<&'a str>,
    &'a [String],
    Option<&'a str>,
    Option<&'a str>,
);

/// Members with the same models and the same environment.
pub(in crate::verb) struct Alike<'a> {
    members: Vec<&'a MemberSpec>,
    /// Only the keys that choose models.
    agent: AgentSpec,
}

impl<'a> Alike<'a> {
    /// Groups the members that use a model.
    pub(in crate::verb) fn groups(members: impl Iterator<Item = &'a MemberSpec>) -> Vec<Self> {
        let mut alike: BTreeMap<_, Vec<&MemberSpec>> = BTreeMap::new();
        for member in members.filter(|member| member.engine.uses_model()) {
            let model = member.agent.model.as_deref();
            let compact = member.agent.compact.as_deref();
            let delegate = member.agent.delegate.as_ref();
            let of_helpers = delegate.and_then(|delegate| delegate.model.as_deref());
            let fallbacks = member.agent.fallbacks.as_slice();
            let models: Models<'_> = (model, fallbacks, compact, of_helpers);
            alike.entry((models, &member.env)).or_default().push(member);
        }
        let groups = alike.into_iter();
        let groups = groups.map(
            |(((model, fallbacks, compact, of_helpers), _), members)| Self {
                agent: AgentSpec {
                    model: model.map(str::to_owned),
                    fallbacks: fallbacks.to_vec(),
                    compact: compact.map(str::to_owned),
                    delegate: of_helpers.map(|model| DelegateSpec {
                        model: Some(model.to_owned()),
                        ..DelegateSpec::default()
                    }),
                    providers: members[0].agent.providers.clone(),
                    ..AgentSpec::default()
                },
                members,
            },
        );
        groups.collect()
    }

    /// The first of the members.
    pub(in crate::verb) fn first(&self) -> &'a MemberSpec {
        self.members[0]
    }

    /// The names of the members, such as `ada, bob`.
    pub(in crate::verb) fn names(&self) -> String {
        let names: Vec<_> = self.members.iter().map(|it| it.name.as_str()).collect();
        names.join(", ")
    }

    /// Resolves the model of the members. Their environment overrides `env`, which overrides the inherited environment.
    pub(in crate::verb) fn explain(
        &self,
        mut env: BTreeMap<String, String>,
    ) -> Result<ExplainedModel, String> {
        env.extend(self.first().env.clone());
        explain(&self.agent, &env)
    }
}

/// One check for each group of members with the same model and environment.
pub(super) fn checks(loaded: Option<&Loaded>) -> Vec<Check> {
    let neutral = |detail| vec![Check::neutral(NAME, detail)];
    let Some(loaded) = loaded else {
        return neutral("unknown until the team file can be read");
    };
    let groups = Alike::groups(loaded.spec.members.iter());
    if groups.is_empty() {
        return neutral("no member of this team uses a model");
    }
    let check = |group: Alike<'_>| {
        let names = group.names();
        match group.explain(BTreeMap::new()) {
            Ok(ExplainedModel {
                model: name, why, ..
            }) => {
                let model = group.agent.model.as_ref();
                let from = model.map(|_| from(&loaded.settings, &group.members));
                let from = from.map(|from| format!("set in {from}; "));
                let from = from.unwrap_or_default();
                Check::good(NAME, format!("{names}: {name} ({from}{why})"))
            }
            Err(why) => Check::bad(NAME, format!("{names}: {why}"))
                .hint("choose another model with: agent-team config set model PROVIDER/MODEL"),
        }
    };
    groups.into_iter().map(check).collect()
}

/// The place that sets the model of the first of these members.
fn from(settings: &[Setting], members: &[&MemberSpec]) -> String {
    let find = |key: &str| settings.iter().find(|setting| setting.key == key);
    let first = members.first().map_or("", |member| member.name.as_str());
    let source = find(&format!("members.{first}.model")).map(|setting| setting.from.as_str());
    match source {
        Some("the team's") => find("model").map_or_else(String::new, |team| team.from.clone()),
        Some(source) => source.to_owned(),
        None => String::new(),
    }
}

/// Resolves the model of an agent; `env` overrides the inherited environment. The error is a text for the user.
pub(in crate::verb) fn explain(
    agent: &AgentSpec,
    env: &BTreeMap<String, String>,
) -> Result<ExplainedModel, String> {
    let agent = serde_json::to_vec(agent).expect("a spec has string keys");
    native_worker::ask("--model", &agent, env)
}
