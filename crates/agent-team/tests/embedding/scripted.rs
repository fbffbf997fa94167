//! A scripted model and a scripted engine.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_team::model::{Answer, Answering, Delta, Item, Model, Prompt, Stop, ToolCall, Usage};
use agent_team::protocol::Party;
use agent_team::{Assignment, DeliveredMessage, Engine, EngineFuture, TaskResult, TeamHandle};
use serde_json::{Value, json};

/// Returns the reply to a prompt.
type Script = dyn FnMut(&Prompt<'_>) -> Answer + Send;

pub(crate) struct ScriptedModel {
    name: String,
    script: Mutex<Box<Script>>,
}

impl ScriptedModel {
    pub(crate) fn new(
        name: &str,
        script: impl FnMut(&Prompt<'_>) -> Answer + Send + 'static,
    ) -> Arc<Self> {
        Arc::new(Self {
            name: name.to_owned(),
            script: Mutex::new(Box::new(script)),
        })
    }

    /// A lead that answers each goal immediately with the goal in capitals.
    pub(crate) fn shouting() -> Arc<Self> {
        Self::shouting_as("scripted/shouting")
    }

    /// [`ScriptedModel::shouting`] with another name.
    pub(crate) fn shouting_as(name: &str) -> Arc<Self> {
        Self::new(name, |prompt| {
            let goal = inputs(prompt).filter(|text| text.contains("goal ")).last();
            match (prompt.items.last(), goal) {
                (Some(Item::Input { .. }), Some(goal)) => {
                    let words = goal.rsplit("goal ").next().unwrap_or_default();
                    let answer = words.trim().to_uppercase();
                    call("finish", json!({ "answer": answer }))
                }
                _ => text("Done."),
            }
        })
    }
}

impl fmt::Debug for ScriptedModel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl Model for ScriptedModel {
    fn name(&self) -> &str {
        &self.name
    }

    fn window(&self) -> u64 {
        100_000
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        Box::pin(async move {
            let answer = {
                let mut script = self.script.lock().unwrap_or_else(PoisonError::into_inner);
                script(&prompt)
            };
            if !answer.text.is_empty() {
                on_delta(Delta::Text(answer.text.clone()));
            }
            Ok(answer)
        })
    }
}

pub(crate) fn inputs<'a>(prompt: &Prompt<'a>) -> impl Iterator<Item = &'a str> {
    prompt.items.iter().filter_map(|item| match item {
        Item::Input { text } => Some(text.as_str()),
        Item::Shown { .. } | Item::Answered(_) | Item::Returned { .. } => None,
    })
}

/// The texts of the tool results so far.
pub(crate) fn results<'a>(prompt: &Prompt<'a>) -> Vec<&'a str> {
    let results = prompt.items.iter().filter_map(|item| match item {
        Item::Returned { results } => Some(results),
        Item::Input { .. } | Item::Shown { .. } | Item::Answered(_) => None,
    });
    results
        .flatten()
        .map(|result| result.text.as_str())
        .collect()
}

/// A lead that makes these calls one after another for its first goal, then finishes with the last result.
pub(crate) fn lead_that_calls(calls: Vec<(&'static str, Value)>) -> Arc<ScriptedModel> {
    ScriptedModel::new("scripted/caller", move |prompt| {
        let results = results(prompt);
        match calls.get(results.len()) {
            Some((name, input)) => call(name, input.clone()),
            None if results.len() == calls.len() => {
                let last = results.last().copied().unwrap_or_default();
                call("finish", json!({ "answer": last }))
            }
            None => text("Done."),
        }
    })
}

pub(crate) fn text(text: &str) -> Answer {
    Answer {
        text: text.to_owned(),
        usage: Usage {
            input: 10,
            output: 2,
            ..Usage::default()
        },
        ..Answer::default()
    }
}

pub(crate) fn call(name: &str, input: Value) -> Answer {
    Answer {
        calls: vec![ToolCall {
            id: format!("call-{}", agent_team_system::random::id()),
            name: name.to_owned(),
            input: input.to_string(),
        }],
        stop: Stop::Calls,
        ..text("")
    }
}

/// The function with which a [`ScriptedEngine`] does a task.
type Work = dyn Fn(&Assignment) -> TaskResult + Send + Sync;

/// Does tasks with a function. As a lead, it answers a goal with the text of the goal.
pub(crate) struct ScriptedEngine(pub(crate) Arc<Work>);

impl Engine for ScriptedEngine {
    fn work<'a>(
        &'a mut self,
        task: &'a Assignment,
        _: &'a TeamHandle,
    ) -> EngineFuture<'a, TaskResult> {
        Box::pin(async move { (self.0)(task) })
    }

    fn receive<'a>(
        &'a mut self,
        messages: &'a [DeliveredMessage],
        team: &'a TeamHandle,
    ) -> EngineFuture<'a, ()> {
        Box::pin(async move {
            // System notices are not goals, and can arrive while no run is under way.
            let goals = messages
                .iter()
                .filter(|message| message.from == Party::User);
            for message in goals.filter(|_| team.is_lead()) {
                let answer = format!("received: {}", message.text);
                team.finish(&answer, true)
                    .await
                    .expect("a run is under way");
            }
        })
    }
}

/// Waits with a limit that is long enough for a loaded machine.
pub(crate) async fn within<T>(what: &str, event: impl Future<Output = T>) -> T {
    match tokio::time::timeout(Duration::from_secs(60), event).await {
        Ok(happened) => happened,
        Err(_) => panic!("timed out waiting for {what}"),
    }
}
