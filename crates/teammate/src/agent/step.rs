//! One request to the model, with its answer streamed to the output sink. Called by the agent loop.

use agent_team_llm::{Answer, Delta, Model, ModelError, Prompt, ToolCall};
use agent_team_protocol::text::duration;
use agent_team_protocol::view::Waiting;
use agent_team_system::clock;
use agent_team_terminal_ui::call::{first_line, header};
use agent_team_terminal_ui::{TextKind, Tone};
use agent_team_tools::web_search;
use serde_json::json;

use super::inbox::{Inbox, Interruption};
use super::output_sink::{EndedCall, OutputSink, THINKING};

/// The outcome of a request to the model.
#[derive(Debug)]
pub(super) enum StepOutcome {
    Answered(Answer),
    Failed(ModelError),
    /// The answer is incomplete and was dropped.
    Interrupted(Interruption),
}

/// Whether the user sees the model's text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TextVisibility {
    Shown,
    Hidden,
}

/// Waits until the model may be called, and requests one answer. An interruption ends the request.
pub(super) async fn ask(
    model: &dyn Model,
    prompt: Prompt<'_>,
    inbox: &mut Inbox,
    sink: &OutputSink,
    visibility: TextVisibility,
) -> StepOutcome {
    let wait = |why: &str| sink.lines(Tone::Runtime, &format!("… waiting: {why}"));
    match inbox.until_allowed(wait).await {
        Ok(false) => {}
        // The loop must first take the inputs that arrived during the wait.
        Ok(true) => {
            return StepOutcome::Interrupted(Interruption::NewInput("its budget was raised"));
        }
        Err(stop) => return StepOutcome::Interrupted(stop),
    }
    let work = sink.show_thinking();
    let mut thoughts = sink.stream(TextKind::Thought);
    let mut answer = sink.stream(TextKind::Answer);
    let mut live_answer = sink.live.answer_stream();
    let (mut is_waiting, mut has_waited) = (false, false);
    let mut on_delta = |delta| {
        if std::mem::take(&mut is_waiting) {
            sink.set_waiting(None);
            work.set(THINKING);
        }
        match delta {
            Delta::Waiting { pause, why } => {
                live_answer.start_over();
                thoughts.end();
                answer.end();
                let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let text = format!("{why}; next attempt in {}", duration(ms));
                // The log and the scrollback get one line for each request, not one for each attempt.
                if !std::mem::replace(&mut has_waited, true) {
                    sink.lines(Tone::Runtime, &format!("… {text}"));
                }
                work.set(&text);
                let until = clock::wall_ms().saturating_add(ms);
                sink.set_waiting(Some(Waiting::RateLimit { until, why }));
                is_waiting = true;
            }
            Delta::Replaced { by, why } => {
                live_answer.start_over();
                thoughts.end();
                answer.end();
                sink.lines(Tone::Runtime, &format!("… continues with {by}: {why}"));
            }
            _ if visibility == TextVisibility::Hidden => {}
            Delta::Thought(text) => {
                thoughts.push(&text);
                live_answer.thought(&text);
            }
            Delta::Text(text) => {
                thoughts.end();
                answer.push(&text);
                live_answer.text(&text);
            }
            // The pane shows a call when it is executed.
            Delta::Call { id, name } => live_answer.call(&id, &name),
            Delta::Input { id, fragment } => live_answer.input(&id, &fragment),
            // The provider has executed this call: begin and end it at once.
            Delta::Searched { id, query, found } => {
                thoughts.end();
                answer.end();
                let call = ToolCall {
                    id,
                    name: web_search::NAME.to_owned(),
                    input: json!({ "query": query }).to_string(),
                };
                sink.begun(&call.id, &header(&call.name, &call.input));
                let first_line = first_line(&found, false);
                sink.ended(EndedCall {
                    call: call.id.clone(),
                    diff: None,
                    unseen: Some(first_line.clone()),
                    first_line,
                    all: found.clone(),
                });
                live_answer.searched(&call, found);
            }
        }
    };
    // If an answer and an interruption are both ready, keep the answer: its tokens are already spent.
    let stepped = tokio::select! {
        biased;
        answer = model.answer(prompt, &mut on_delta) => match answer {
            Ok(answer) => StepOutcome::Answered(answer),
            Err(error) => StepOutcome::Failed(error),
        },
        interruption = inbox.interruption() => StepOutcome::Interrupted(interruption),
    };
    thoughts.end();
    answer.end();
    if is_waiting {
        sink.set_waiting(None);
    }
    if let (StepOutcome::Answered(answer), TextVisibility::Shown) = (&stepped, visibility) {
        live_answer.complete(answer);
    }
    if let StepOutcome::Interrupted(Interruption::NewInput(why)) = &stepped {
        sink.lines(Tone::Runtime, &format!("… interrupted: {why}"));
    }
    stepped
}
