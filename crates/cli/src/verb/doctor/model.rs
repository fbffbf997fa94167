//! Finds the model that each member would use, and the reason. Called by `doctor`, by `spawn`, by `up` before it gives
//! a goal, and by the check of prices.

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

/// One check for each group of members with the same model and environment.
pub(super) fn checks(loaded: Option<&Loaded>) -> Vec<Check> {
    let neutral = |detail| vec![Check::neutral(NAME, detail)];
    let Some(loaded) = loaded else {
        return neutral("unknown until the team file can be read");
    };
    let is_agent = |member: &&MemberSpec| member.engine.uses_model();
    let mut alike: BTreeMap<_, Vec<&MemberSpec>> = BTreeMap::new();
    for member in loaded.spec.members.iter().filter(is_agent) {
        let model = member.agent.model.as_deref();
        let compact = member.agent.compact.as_deref();
        let delegate = member.agent.delegate.as_ref();
        let of_helpers = delegate.and_then(|delegate| delegate.model.as_deref());
        let fallbacks = member.agent.fallbacks.as_slice();
        let models = (model, fallbacks, compact, of_helpers);
        alike.entry((models, &member.env)).or_default().push(member);
    }
    if alike.is_empty() {
        return neutral("no member of this team uses a model");
    }
    let check = |((models, env), members): ((Models<'_>, _), Vec<&MemberSpec>)| {
        let (model, fallbacks, compact, of_helpers) = models;
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        let names = names.join(", ");
        let agent = AgentSpec {
            model: model.map(str::to_owned),
            fallbacks: fallbacks.to_vec(),
            compact: compact.map(str::to_owned),
            delegate: of_helpers.map(|model| DelegateSpec {
                model: Some(model.to_owned()),
                ..DelegateSpec::default()
            }),
            providers: members[0].agent.providers.clone(),
            ..AgentSpec::default()
        };
        match explain(&agent, env) {
            Ok(ExplainedModel {
                model: name, why, ..
            }) => {
                let from = model.map(|_| from(&loaded.settings, &members));
                let from = from.map(|from| format!("set in {from}; "));
                let from = from.unwrap_or_default();
                Check::good(NAME, format!("{names}: {name} ({from}{why})"))
            }
            Err(why) => Check::bad(NAME, format!("{names}: {why}"))
                .hint("choose another model with: agent-team config set model PROVIDER/MODEL"),
        }
    };
    alike.into_iter().map(check).collect()
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
