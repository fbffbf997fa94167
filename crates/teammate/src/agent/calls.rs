//! Executes the tool calls of one answer in order: adjacent read-only calls concurrently, all other calls one by one.
//! Called by the agent loop.
//!
//! Every call gets a result. A failure or a panic becomes text for the model.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use agent_team_llm::{ToolCall, ToolResult, ToolSpec};
use agent_team_protocol::text::{visible, visible_label};
use agent_team_protocol::view::Waiting;
use agent_team_terminal_ui::Tone;
use agent_team_terminal_ui::call::{first_line, header};
use agent_team_tools::team::{self, without_middle};
use agent_team_tools::{Output, Tool, ToolContext, ToolError, mcp};
use serde_json::Value;
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::Instant;

use super::hooks::{HookedCall, Hooks};
use super::inbox::{Inbox, Interruption};
use super::output_sink::{EndedCall, OuterLines, OutputSink};
use crate::timer::sleep_until;

/// The largest number of characters in the text that reports what a `wait` or `ask` call waits for.
const WAIT_TEXT_MAX: usize = 120;

/// The largest number of ids in this text for a `wait` call.
const WAIT_IDS_MAX: usize = 8;

/// The tools of this member.
#[derive(Debug)]
pub(super) struct Toolbox {
    tools: BTreeMap<String, Arc<dyn Tool>>,
    context: Arc<ToolContext>,
    hooks: Hooks,
}

/// The results of an answer's calls.
#[derive(Debug)]
pub(super) struct CallResults {
    /// One result for each call, in the same order.
    pub(super) results: Vec<ToolResult>,
    /// The files that the calls have changed.
    pub(super) changed: Vec<String>,
    /// The member must stop now.
    pub(super) stopped: bool,
    /// Not all calls could run to their end.
    pub(super) interrupted: bool,
    /// A hook ends the turn, for this reason.
    pub(super) stopped_by_hook: Option<String>,
}

impl Toolbox {
    pub(super) fn new(tools: Vec<Box<dyn Tool>>, context: Arc<ToolContext>, hooks: Hooks) -> Self {
        let named = |tool: Box<dyn Tool>| (tool.spec().name.clone(), Arc::from(tool));
        Self {
            tools: tools.into_iter().map(named).collect(),
            context,
            hooks,
        }
    }

    pub(super) fn add(&mut self, tools: Vec<Box<dyn Tool>>) {
        let named = |tool: Box<dyn Tool>| (tool.spec().name.clone(), Arc::from(tool));
        self.tools.extend(tools.into_iter().map(named));
    }

    /// Replaces all tools of MCP servers.
    pub(super) fn replace_mcp(&mut self, tools: Vec<Box<dyn Tool>>) {
        self.tools.retain(|name, _| !mcp::is_mcp(name));
        self.add(tools);
    }

    pub(super) fn context(&self) -> &ToolContext {
        &self.context
    }

    /// The directory against which relative paths are resolved.
    pub(super) fn cwd(&self) -> &Path {
        &self.context.cwd
    }

    pub(super) fn specs(&self) -> Vec<ToolSpec> {
        self.tools
            .values()
            .map(|tool| tool.spec().clone())
            .collect()
    }

    pub(super) async fn execute(
        &self,
        calls: &[ToolCall],
        inbox: &mut Inbox,
        sink: &OutputSink,
    ) -> CallResults {
        let mut progress = CallProgress {
            calls,
            sink,
            results: vec![None; calls.len()],
            changed: Vec::new(),
            interrupted: None,
            finish_at: None,
            stopped_by_hook: None,
        };
        let mut next = 0;
        while next < calls.len() {
            if let Some(interruption) = inbox.interrupted() {
                progress.interrupt(interruption);
            }
            if !progress.may_continue() || progress.stopped_by_hook.is_some() {
                break;
            }
            let end = next + self.batch_length(&calls[next..]);
            let running = self.start(calls, next..end, sink);
            let waits = calls[next..end].iter().find_map(waits_for);
            if waits.is_some() {
                sink.set_waiting(waits.clone());
            }
            for question in calls[next..end].iter().filter_map(question_to_user) {
                sink.lines(Tone::Runtime, &question);
                self.hooks.notify("elicitation_dialog", question);
            }
            progress.finish(running, inbox, waits.is_some()).await;
            if waits.is_some() {
                sink.set_waiting(None);
            }
            next = end;
        }
        CallResults {
            stopped: progress.finish_at.is_some(),
            interrupted: progress.interrupted.is_some(),
            stopped_by_hook: progress.stopped_by_hook.clone(),
            changed: std::mem::take(&mut progress.changed),
            results: progress.results(next),
        }
    }

    /// The number of calls, from the first, that may run concurrently.
    fn batch_length(&self, calls: &[ToolCall]) -> usize {
        let reads = |call: &&ToolCall| self.reads_only(call);
        calls.iter().take_while(reads).count().max(1)
    }

    /// Whether the call changes no state. True for an unknown tool, whose call only fails.
    pub(super) fn reads_only(&self, call: &ToolCall) -> bool {
        match self.tools.get(&call.name) {
            Some(tool) => tool.reads_only(),
            None => true,
        }
    }

    fn start(
        &self,
        calls: &[ToolCall],
        batch: std::ops::Range<usize>,
        sink: &OutputSink,
    ) -> RunningCalls {
        let mut running = RunningCalls::default();
        for index in batch {
            let call = &calls[index];
            sink.begun(&call.id, &header(&call.name, &call.input));
            let handle = match (self.tools.get(&call.name), arguments(call)) {
                (Some(tool), Ok(input)) => {
                    let (tool, context) = (Arc::clone(tool), Arc::clone(&self.context));
                    let (sink, id) = (sink.clone(), call.id.clone());
                    let hooks = self.hooks.clone();
                    running.tasks.spawn(async move {
                        let output = sink.tool_output(Some(&id));
                        let redactor = Mutex::new(context.secrets.stream());
                        let redactor = || redactor.lock().unwrap_or_else(PoisonError::into_inner);
                        let shown = |text: &str| match text.strip_prefix('\r') {
                            Some(status) => sink.status(&id, &context.secrets.redact(status)),
                            None => output.push(&redactor().text(text)),
                        };
                        let HookedCall { outcome, stopped } =
                            hooks.call(&*tool, &id, input, &shown).await;
                        output.push(&redactor().rest_of_text());
                        FinishedCall {
                            outcome: without_secrets(outcome, &context),
                            seen: output.seen(),
                            stopped_by_hook: stopped,
                        }
                    })
                }
                (None, _) => {
                    let error = self.unknown(&call.name);
                    running.tasks.spawn(async { FinishedCall::failed(error) })
                }
                (Some(_), Err(error)) => running.tasks.spawn(async { FinishedCall::failed(error) }),
            };
            running.indices.insert(handle.id(), index);
        }
        running
    }

    /// Repeats a call of an earlier launch to restore the state of the tool. The result is dropped.
    pub(super) async fn repeat(&self, name: &str, input: &str) {
        if let Some(tool) = self.tools.get(name)
            && let Ok(input) = serde_json::from_str(input)
            && let Err(error) = tool.run(input, &self.context, &|_| {}).await
        {
            tracing::warn!(name, %error, "cannot restore the state of a tool");
        }
    }

    fn unknown(&self, name: &str) -> ToolError {
        if name.starts_with("mcp__") && self.tools.contains_key(mcp::CALL) {
            let text = format!(
                "there is no tool {name} in your list: call it with {}",
                mcp::CALL
            );
            return ToolError::Input(text);
        }
        let names: Vec<&str> = self.tools.keys().map(String::as_str).collect();
        ToolError::Input(format!(
            "there is no tool {name}. Tools: {}",
            names.join(", ")
        ))
    }
}

pub(crate) type ToolOutcome = Result<Output, ToolError>;

/// The result of a call, and the first and last line of the output that was shown while the call ran.
struct FinishedCall {
    outcome: ToolOutcome,
    seen: Option<OuterLines>,
    stopped_by_hook: Option<String>,
}

impl FinishedCall {
    /// A failed call that has shown no output.
    fn failed(error: ToolError) -> Self {
        Self {
            outcome: Err(error),
            seen: None,
            stopped_by_hook: None,
        }
    }
}

/// Redacts secrets in the result, for both the model and the user. Limits the length of a successful result's text.
pub(crate) fn without_secrets(outcome: ToolOutcome, context: &ToolContext) -> ToolOutcome {
    let hide = |text: String| context.secrets.redact(&text).into_owned();
    match outcome {
        Ok(Output {
            text,
            diff,
            changed,
            media,
        }) => Ok(Output {
            text: without_middle(hide(text), context.output_max),
            diff: diff.map(hide),
            changed: changed
                .into_iter()
                .map(|path| hide(path.to_string_lossy().into_owned()).into())
                .collect(),
            media,
        }),
        Err(ToolError::Input(text)) => Err(ToolError::Input(hide(text))),
        Err(ToolError::Failed(text)) => Err(ToolError::Failed(hide(text))),
    }
}

/// Calls that run concurrently. Dropping this value terminates them.
#[derive(Default)]
struct RunningCalls {
    tasks: JoinSet<FinishedCall>,
    indices: HashMap<Id, usize>,
}

/// The calls of one answer, with their results so far.
struct CallProgress<'a> {
    calls: &'a [ToolCall],
    sink: &'a OutputSink,
    results: Vec<Option<ToolResult>>,
    changed: Vec<String>,
    /// Why the calls were interrupted.
    interrupted: Option<&'static str>,
    /// The member must stop: running calls may continue until this time.
    finish_at: Option<Instant>,
    /// A hook ends the turn, for this reason: no other call begins.
    stopped_by_hook: Option<String>,
}

impl CallProgress<'_> {
    fn may_continue(&self) -> bool {
        self.interrupted.is_none() && self.finish_at.is_none()
    }

    fn interrupt(&mut self, interruption: Interruption) {
        match interruption {
            Interruption::NewInput(why) => self.interrupted = Some(why),
            Interruption::ByUser => self.interrupted = Some("the user interrupted this turn"),
            Interruption::Stop { finish_at } => self.finish_at = Some(finish_at),
        }
    }

    /// Waits for all calls. A stop terminates them at `finish_at`, or at once if they only wait (`idle`). Any other
    /// interruption terminates them at once.
    ///
    /// The branches are polled in order: if a call has ended, its result is kept even if an interruption is ready. The
    /// inbox returns a stop again and again, so it is not polled after a stop.
    async fn finish(&mut self, mut running: RunningCalls, inbox: &mut Inbox, idle: bool) {
        loop {
            tokio::select! {
                biased;
                joined = running.tasks.join_next_with_id() => match joined {
                    Some(joined) => self.settle(&running.indices, joined),
                    None => return,
                },
                interruption = inbox.interruption(), if self.may_continue() => {
                    self.interrupt(interruption);
                    if self.interrupted.is_some() || idle {
                        return self.end(running).await;
                    }
                }
                () = sleep_until(self.finish_at) => return self.end(running).await,
            }
        }
    }

    /// Terminates the calls and waits until all of them have ended.
    async fn end(&mut self, mut running: RunningCalls) {
        running.tasks.abort_all();
        while let Some(joined) = running.tasks.join_next_with_id().await {
            self.settle(&running.indices, joined);
        }
    }

    fn settle(
        &mut self,
        indices: &HashMap<Id, usize>,
        joined: Result<(Id, FinishedCall), JoinError>,
    ) {
        let (id, done) = match joined {
            Ok(done) => done,
            Err(error) if error.is_cancelled() => return,
            Err(error) => {
                let text =
                    "the tool panicked, which is a bug in it. Use another approach.".to_owned();
                (error.id(), FinishedCall::failed(ToolError::Failed(text)))
            }
        };
        if let Ok(output) = &done.outcome {
            let paths = output.changed.iter();
            self.changed
                .extend(paths.map(|path| path.to_string_lossy().into_owned()));
        }
        if done.stopped_by_hook.is_some() {
            self.stopped_by_hook.clone_from(&done.stopped_by_hook);
        }
        if let Some(&index) = indices.get(&id) {
            self.results[index] = Some(show_result(&self.calls[index], &done, self.sink));
        }
    }

    /// Creates the results. The first `begun` calls were started; the other calls were not.
    fn results(self, begun: usize) -> Vec<ToolResult> {
        let why = match self.stopped_by_hook {
            Some(_) => "a hook ends this turn",
            None => self.interrupted.unwrap_or("this member is stopping"),
        };
        let results = self.results.into_iter().enumerate();
        let results = results.map(|(index, result)| {
            result.unwrap_or_else(|| {
                let text = if index < begun {
                    format!(
                        "interrupted, because {why}; it is unknown whether the call took effect"
                    )
                } else {
                    format!("not executed, because {why}")
                };
                let done = FinishedCall::failed(ToolError::Failed(text));
                show_result(&self.calls[index], &done, self.sink)
            })
        });
        results.collect()
    }
}

pub(super) fn arguments(call: &ToolCall) -> Result<Value, ToolError> {
    let text = match call.input.trim() {
        // Some models send an empty string for no arguments.
        "" => "{}",
        text => text,
    };
    match serde_json::from_str(text) {
        Ok(input @ Value::Object(_)) => Ok(input),
        Ok(_) => Err(ToolError::Input(
            "the arguments are not a JSON object".into(),
        )),
        Err(error) => Err(ToolError::Input(format!(
            "the arguments are not JSON ({error}): repeat the call with all arguments"
        ))),
    }
}

/// The wait that a call of `wait` or `ask` reports to the supervisor. `None` for other calls.
pub(crate) fn waits_for(call: &ToolCall) -> Option<Waiting> {
    if call.name == team::ASK {
        let ask = arguments(call).unwrap_or_default();
        let asked = match ask["to"].as_str().unwrap_or_default() {
            "user" => "your answer".to_owned(),
            member => format!("the reply of {member}"),
        };
        let what = visible_label(&asked, WAIT_TEXT_MAX);
        return Some(Waiting::Reply { what });
    }
    let wait = (call.name == team::WAIT).then(|| arguments(call).ok())?;
    let wait = wait.unwrap_or_default();
    let ids = wait["ids"].as_array().into_iter().flatten();
    let ids: Vec<_> = ids.filter_map(Value::as_str).take(WAIT_IDS_MAX).collect();
    let subject = wait["for"].as_str().unwrap_or("messages");
    let what = visible_label(&format!("{subject} {}", ids.join(", ")), WAIT_TEXT_MAX);
    Some(Waiting::Reply {
        what: what.trim_end().to_owned(),
    })
}

/// The whole question of a call of `ask` to the user. The call's line shows only the beginning of the question.
fn question_to_user(call: &ToolCall) -> Option<String> {
    let ask = (call.name == team::ASK).then(|| arguments(call).ok())??;
    let question = (ask["to"] == "user").then(|| ask["question"].as_str())??;
    Some(format!("? {}", visible(question)))
}

/// The part of the result that was not shown while the call ran, such as the exit status that a tool appends.
fn unshown_part<'a>(text: &'a str, seen: Option<&OuterLines>) -> Option<&'a str> {
    let (Some(seen), Some(all)) = (seen, OuterLines::of(text)) else {
        return Some(text);
    };
    if seen.first != all.first {
        return Some(text);
    }
    let last = text.trim_end().lines().next_back();
    last.filter(|last| *last != seen.last)
}

/// Shows the result of a call, and converts it for the model.
fn show_result(call: &ToolCall, done: &FinishedCall, sink: &OutputSink) -> ToolResult {
    let (text, diff, media, failed) = match &done.outcome {
        Ok(output) => {
            let Output { diff, media, .. } = output.clone();
            (output.text.clone(), diff, media, false)
        }
        Err(error) => (error.to_string(), None, Vec::new(), true),
    };
    let unseen = unshown_part(&text, done.seen.as_ref());
    sink.ended(EndedCall {
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
        media,
    };
    sink.live.returned(&result);
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
    fn output_that_was_shown_live_is_not_repeated() {
        let seen = OuterLines::of("\nrunning 2 tests\n..\nok\n");
        let unshown_part = |text| unshown_part(text, seen.as_ref());
        assert_eq!(
            unshown_part("\nrunning 2 tests\n..\nok\n(exit 0)"),
            Some("(exit 0)")
        );
        assert_eq!(unshown_part("\nrunning 2 tests\n..\nok\n"), None);
        assert_eq!(
            unshown_part("it hangs"),
            Some("it hangs"),
            "the result is not the shown output"
        );
        assert_eq!(super::unshown_part("all of it", None), Some("all of it"));
        assert_eq!(unshown_part(""), Some(""));
    }

    #[test]
    fn invalid_arguments_are_reported_to_the_model() {
        assert_eq!(
            arguments(&call("")),
            Ok(Value::Object(serde_json::Map::new()))
        );
        let error = arguments(&call("{\"path\": ")).unwrap_err().to_string();
        assert!(error.contains("repeat the call"), "{error}");
        assert!(arguments(&call("[1]")).is_err());
    }
}
