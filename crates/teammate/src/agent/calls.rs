//! Carries out the calls of one answer: those that only read side by side, the others one by one, in order. Called by
//! the mind.
//!
//! Whatever happens to a call, a panic too, becomes text for the model. Every call gets a result.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use agent_team_protocol::text::visible_label;
use agent_team_protocol::view::Waiting;
use agent_team_terminal_ui::call::{first_line, header};
use serde_json::Value;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::inbox::{Inbox, Interruption};
use super::screen::{Ended, Ends, Screen};
use super::transcript::without_middle;
use crate::model::{ToolCall, ToolResult, ToolSpec};
use crate::sleep_until;
use crate::team_tool;
use crate::tool::{Bench, Output, Tool, ToolError};

/// Characters of what a call waits for.
const SHOWN: usize = 120;

/// Of what a call waits for, so many are named.
const WAITS_SHOWN: usize = 8;

/// What this member can call.
#[derive(Debug)]
pub(super) struct Toolbox {
    tools: BTreeMap<String, Arc<dyn Tool>>,
    bench: Arc<Bench>,
}

/// What became of an answer's calls.
#[derive(Debug)]
pub(super) struct CarriedOut {
    /// One for each call, in their order.
    pub(super) results: Vec<ToolResult>,
    /// This member is to stop now.
    pub(super) stopped: bool,
}

impl Toolbox {
    pub(super) fn new(tools: Vec<Box<dyn Tool>>, bench: Bench) -> Self {
        let named = |tool: Box<dyn Tool>| (tool.spec().name.clone(), Arc::from(tool));
        Self {
            tools: tools.into_iter().map(named).collect(),
            bench: Arc::new(bench),
        }
    }

    /// Offers these too.
    pub(super) fn add(&mut self, tools: Vec<Box<dyn Tool>>) {
        let named = |tool: Box<dyn Tool>| (tool.spec().name.clone(), Arc::from(tool));
        self.tools.extend(tools.into_iter().map(named));
    }

    pub(super) fn bench(&self) -> &Bench {
        &self.bench
    }

    /// Where relative paths start.
    pub(super) fn cwd(&self) -> &Path {
        &self.bench.cwd
    }

    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.tools
            .values()
            .map(|tool| tool.spec().clone())
            .collect()
    }

    pub(super) async fn carry_out(
        &self,
        calls: &[ToolCall],
        inbox: &mut Inbox,
        screen: &Screen,
    ) -> CarriedOut {
        let mut round = Round {
            calls,
            screen,
            results: vec![None; calls.len()],
            interrupted: None,
            finish_at: None,
        };
        let mut next = 0;
        while next < calls.len() {
            if let Some(interruption) = inbox.interrupted() {
                round.interrupt(interruption);
            }
            if !round.goes_on() {
                break;
            }
            let end = next + self.batch(&calls[next..]);
            let running = self.start(calls, next..end, screen);
            let waits = calls[next..end].iter().find_map(waits_for);
            if waits.is_some() {
                screen.waits(waits.clone());
            }
            round.finish(running, inbox, waits.is_some()).await;
            if waits.is_some() {
                screen.waits(None);
            }
            next = end;
        }
        CarriedOut {
            stopped: round.finish_at.is_some(),
            results: round.results(next),
        }
    }

    /// How many of these calls may run side by side, from the first on.
    fn batch(&self, calls: &[ToolCall]) -> usize {
        let reads = |call: &&ToolCall| match self.tools.get(&call.name) {
            Some(tool) => tool.reads_only(),
            None => true,
        };
        calls.iter().take_while(reads).count().max(1)
    }

    fn start(&self, calls: &[ToolCall], which: std::ops::Range<usize>, screen: &Screen) -> Running {
        let mut running = Running::default();
        for index in which {
            let call = &calls[index];
            screen.begun(&call.id, &header(&call.name, &call.input));
            let handle = match (self.tools.get(&call.name), arguments(call)) {
                (Some(tool), Ok(input)) => {
                    let (tool, bench) = (Arc::clone(tool), Arc::clone(&self.bench));
                    let (screen, id) = (screen.clone(), call.id.clone());
                    running.tasks.spawn(async move {
                        let watch = screen.watch(Some(&id));
                        let hiding = Mutex::new(bench.secrets.hiding());
                        let hiding = || hiding.lock().unwrap_or_else(PoisonError::into_inner);
                        let shown = |text: &str| watch.push(&hiding().text(text));
                        let outcome = tool.run(input, &bench, &shown).await;
                        watch.push(&hiding().rest_of_text());
                        Done {
                            outcome: without_secrets(outcome, &bench),
                            seen: watch.seen(),
                        }
                    })
                }
                (None, _) => {
                    let error = self.unknown(&call.name);
                    running.tasks.spawn(async { Done::without(error) })
                }
                (Some(_), Err(error)) => running.tasks.spawn(async { Done::without(error) }),
            };
            running.indices.insert(handle.id(), index);
        }
        running
    }

    fn unknown(&self, name: &str) -> ToolError {
        let names: Vec<&str> = self.tools.keys().map(String::as_str).collect();
        ToolError::Input(format!(
            "there is no tool {name}; there are: {}",
            names.join(", ")
        ))
    }
}

type Outcome = Result<Output, ToolError>;

/// What a call came to, and what the person has seen of that already, while it ran.
struct Done {
    outcome: Outcome,
    seen: Option<Ends>,
}

impl Done {
    /// Nothing was begun.
    fn without(error: ToolError) -> Self {
        Self {
            outcome: Err(error),
            seen: None,
        }
    }
}

/// What the model is told of it, and the person is shown.
fn without_secrets(outcome: Outcome, bench: &Bench) -> Outcome {
    let hide = |text: String| bench.secrets.hide(&text).into_owned();
    match outcome {
        Ok(Output { text, diff }) => Ok(Output {
            text: without_middle(hide(text), bench.output_max),
            diff: diff.map(hide),
        }),
        Err(ToolError::Input(text)) => Err(ToolError::Input(hide(text))),
        Err(ToolError::Failed(text)) => Err(ToolError::Failed(hide(text))),
    }
}

/// Calls that run side by side. Dropping it ends them.
#[derive(Default)]
struct Running {
    tasks: JoinSet<Done>,
    indices: HashMap<Id, usize>,
}

/// The calls of one answer, and what they came to so far.
struct Round<'a> {
    calls: &'a [ToolCall],
    screen: &'a Screen,
    results: Vec<Option<ToolResult>>,
    /// They were ended for this.
    interrupted: Option<&'static str>,
    /// This member is to stop: what runs may take until then.
    finish_at: Option<Instant>,
}

impl Round<'_> {
    fn goes_on(&self) -> bool {
        self.interrupted.is_none() && self.finish_at.is_none()
    }

    fn interrupt(&mut self, interruption: Interruption) {
        match interruption {
            Interruption::Hear(why) => self.interrupted = Some(why),
            Interruption::Stop { finish_at } => self.finish_at = Some(finish_at),
        }
    }

    /// Waits for all of them, or ends them when something cannot wait. `idle`: they do nothing but wait themselves.
    async fn finish(&mut self, mut running: Running, inbox: &mut Inbox, idle: bool) {
        loop {
            tokio::select! {
                biased;
                joined = running.tasks.join_next_with_id() => match joined {
                    Some(joined) => self.settle(&running.indices, joined),
                    None => return,
                },
                interruption = inbox.interruption(), if self.goes_on() => {
                    self.interrupt(interruption);
                    if self.interrupted.is_some() || idle {
                        return self.end(running).await;
                    }
                }
                () = sleep_until(self.finish_at) => return self.end(running).await,
            }
        }
    }

    /// Returns when nothing of them is left.
    async fn end(&mut self, mut running: Running) {
        running.tasks.abort_all();
        while let Some(joined) = running.tasks.join_next_with_id().await {
            self.settle(&running.indices, joined);
        }
    }

    fn settle(&mut self, indices: &HashMap<Id, usize>, joined: Result<(Id, Done), JoinError>) {
        let (id, done) = match joined {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                let text = "the tool has a bug: it panicked. Go another way.".to_owned();
                (error.id(), Done::without(ToolError::Failed(text)))
            }
        };
        if let Some(&index) = indices.get(&id) {
            self.results[index] = Some(shown(&self.calls[index], &done, self.screen));
        }
    }

    /// Everything from call `begun` on was not begun.
    fn results(self, begun: usize) -> Vec<ToolResult> {
        let why = self.interrupted.unwrap_or("this member is stopping");
        let results = self.results.into_iter().enumerate();
        let results = results.map(|(index, result)| {
            result.unwrap_or_else(|| {
                let text = if index < begun {
                    format!("interrupted, because {why}; unknown whether it was done")
                } else {
                    format!("not carried out, because {why}")
                };
                let done = Done::without(ToolError::Failed(text));
                shown(&self.calls[index], &done, self.screen)
            })
        });
        results.collect()
    }
}

/// The arguments as JSON.
fn arguments(call: &ToolCall) -> Result<Value, ToolError> {
    let text = match call.input.trim() {
        // What some models write for no arguments.
        "" => "{}",
        text => text,
    };
    match serde_json::from_str(text) {
        Ok(input @ Value::Object(_)) => Ok(input),
        Ok(_) => Err(ToolError::Input(
            "the arguments are not a JSON object".into(),
        )),
        Err(error) => Err(ToolError::Input(format!(
            "the arguments are not JSON ({error}): make the call again with all of them"
        ))),
    }
}

/// What a call of `wait` waits for.
fn waits_for(call: &ToolCall) -> Option<Waiting> {
    let wait = (call.name == team_tool::WAIT).then(|| arguments(call).ok())?;
    let wait = wait.unwrap_or_default();
    let ids = wait["ids"].as_array().into_iter().flatten();
    let ids: Vec<_> = ids.filter_map(Value::as_str).take(WAITS_SHOWN).collect();
    let subject = wait["for"].as_str().unwrap_or("messages");
    let what = visible_label(&format!("{subject} {}", ids.join(", ")), SHOWN);
    Some(Waiting::Reply {
        what: what.trim_end().to_owned(),
    })
}

/// What is left to be shown of a text whose output was seen while it came: how it ended, as some tools add.
fn unseen<'a>(text: &'a str, seen: Option<&Ends>) -> Option<&'a str> {
    let (Some(seen), Some(all)) = (seen, Ends::of(text)) else {
        return Some(text);
    };
    if seen.first != all.first {
        return Some(text);
    }
    let last = text.trim_end().lines().next_back();
    last.filter(|last| *last != seen.last)
}

/// Shows what a call came to, and makes it what the model is told.
fn shown(call: &ToolCall, done: &Done, screen: &Screen) -> ToolResult {
    let (text, diff, failed) = match &done.outcome {
        Ok(output) => (output.text.clone(), output.diff.clone(), false),
        Err(error) => (error.to_string(), None, true),
    };
    let unseen = unseen(&text, done.seen.as_ref());
    screen.ended(Ended {
        call: call.id.clone(),
        diff,
        first_line: first_line(&text, failed),
        unseen: unseen.map(|unseen| first_line(unseen, failed)),
        all: text.clone(),
    });
    let result = ToolResult {
        id: call.id.clone(),
        text,
        failed,
    };
    screen.live.returned(&result);
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(input: &str) -> ToolCall {
        ToolCall {
            id: "1".into(),
            name: "read".into(),
            input: input.into(),
        }
    }

    #[test]
    fn of_what_was_seen_while_it_came_only_the_end_is_shown_again() {
        let seen = Ends::of("\nrunning 2 tests\n..\nok\n");
        let unseen = |text| unseen(text, seen.as_ref());
        assert_eq!(
            unseen("\nrunning 2 tests\n..\nok\n(exit 0)"),
            Some("(exit 0)")
        );
        assert_eq!(unseen("\nrunning 2 tests\n..\nok\n"), None);
        assert_eq!(unseen("it hangs"), Some("it hangs"), "it is something else");
        assert_eq!(super::unseen("all of it", None), Some("all of it"));
        assert_eq!(unseen(""), Some(""));
    }

    #[test]
    fn arguments_that_are_none_are_an_error_that_the_model_can_act_on() {
        assert_eq!(
            arguments(&call("")),
            Ok(Value::Object(serde_json::Map::new()))
        );
        let error = arguments(&call("{\"path\": ")).unwrap_err().to_string();
        assert!(error.contains("make the call again"), "{error}");
        assert!(arguments(&call("[1]")).is_err());
    }
}
