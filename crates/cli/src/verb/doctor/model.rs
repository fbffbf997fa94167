//! Which model each member would ask, and why it is that one. The worker's own program is asked: it is the one that
//! knows providers and keys, and shows none of them. Called by `doctor`, and by `up` before a lead is given a goal.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::{Command, Stdio};

use agent_team_file::{Loaded, Setting};
use agent_team_protocol::spec::{AgentSpec, Engine, MemberSpec};
use agent_team_system::daemon;
use serde::Deserialize;

use super::Check;

const NAME: &str = "model";

/// What the worker's program says of a model.
#[derive(Debug, Deserialize)]
pub(in crate::verb) struct Explained {
    model: String,
    why: String,
}

/// One for members that ask the same model.
pub(super) fn checks(loaded: Option<&Loaded>) -> Vec<Check> {
    let neutral = |detail| vec![Check::neutral(NAME, detail)];
    let Some(loaded) = loaded else {
        return neutral("the team file says nothing until it can be read");
    };
    let thinks = |member: &&MemberSpec| member.engine == Engine::Native;
    let mut alike: BTreeMap<_, Vec<&MemberSpec>> = BTreeMap::new();
    for member in loaded.spec.members.iter().filter(thinks) {
        let model = member.agent.model.as_deref();
        alike.entry((model, &member.env)).or_default().push(member);
    }
    if alike.is_empty() {
        return neutral("nobody in this team asks one");
    }
    let check = |((model, env), members): ((Option<&str>, _), Vec<&MemberSpec>)| {
        let names: Vec<_> = members.iter().map(|member| member.name.as_str()).collect();
        let names = names.join(", ");
        let asks = AgentSpec {
            model: model.map(str::to_owned),
            providers: members[0].agent.providers.clone(),
            ..AgentSpec::default()
        };
        match explain(&asks, env) {
            Ok(Explained { model: name, why }) => {
                let from = model.map(|_| from(&loaded.settings, &members));
                let from = from.map(|from| format!("named in {from}; "));
                let from = from.unwrap_or_default();
                Check::good(NAME, format!("{names}: {name} ({from}{why})"))
            }
            Err(why) => Check::bad(NAME, format!("{names}: {why}"))
                .hint("agent-team config set model PROVIDER/MODEL names another"),
        }
    };
    alike.into_iter().map(check).collect()
}

/// Where the model of the first of these is named.
fn from(settings: &[Setting], members: &[&MemberSpec]) -> String {
    let of = |key: &str| settings.iter().find(|setting| setting.key == key);
    let first = members.first().map_or("", |member| member.name.as_str());
    let own = of(&format!("members.{first}.model")).map(|setting| setting.from.as_str());
    match own {
        Some("the team's") => of("model").map_or_else(String::new, |team| team.from.clone()),
        Some(place) => place.to_owned(),
        None => String::new(),
    }
}

/// What an agent that asks this would think with; `env` goes before our own environment. The error is for a person.
pub(in crate::verb) fn explain(
    asks: &AgentSpec,
    env: &BTreeMap<String, String>,
) -> Result<Explained, String> {
    let worker = Engine::Native.worker();
    let path = daemon::sibling_binary(worker).map_err(|error| error.to_string())?;
    let cannot = |error: std::io::Error| format!("{worker} cannot be run: {error}");
    let mut child = Command::new(path)
        .arg("--model")
        .envs(env)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(cannot)?;
    let asks = serde_json::to_vec(asks).expect("a spec has string keys");
    let mut stdin = child.stdin.take().expect("it is piped");
    stdin.write_all(&asks).map_err(cannot)?;
    drop(stdin);
    let said = child.wait_with_output().map_err(cannot)?;
    if !said.status.success() {
        let text = String::from_utf8_lossy(&said.stderr);
        let text = text.trim();
        let text = text.strip_prefix(&format!("{worker}: ")).unwrap_or(text);
        return Err(text.to_owned());
    }
    serde_json::from_slice(&said.stdout).map_err(|error| format!("{worker} says nonsense: {error}"))
}
