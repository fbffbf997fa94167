//! One answer of the model, told while it comes. Called by the mind.

use agent_team_protocol::view::Waiting;
use agent_team_system::clock;
use agent_team_terminal_ui::call::{first_line, header};
use agent_team_terminal_ui::{Tone, Words};
use serde_json::json;

use super::inbox::{Inbox, Interruption};
use super::screen::{Ended, Screen};
use crate::model::{Answer, Delta, Model, ModelError, Prompt, ToolCall};
use crate::tool::web_search;

/// What asking came to.
#[derive(Debug)]
pub(super) enum Stepped {
    Answered(Answer),
    Failed(ModelError),
    /// What was told of the answer is dropped.
    Interrupted(Interruption),
}

/// Whether the person is shown what the model says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    Aloud,
    Silent,
}

/// Asks, until there is an answer or something that cannot wait for it.
pub(super) async fn ask(
    model: &dyn Model,
    prompt: Prompt<'_>,
    inbox: &mut Inbox,
    screen: &Screen,
    voice: Voice,
) -> Stepped {
    let wait = |why: &str| screen.lines(Tone::Accent, &format!("… waiting: {why}"));
    match inbox.until_allowed(wait).await {
        Ok(false) => {}
        // What has come meanwhile is heard first.
        Ok(true) => return Stepped::Interrupted(Interruption::Hear("its budget was raised")),
        Err(stop) => return Stepped::Interrupted(stop),
    }
    let _asked = screen.thinks();
    let mut thoughts = screen.stream(Words::Thought);
    let mut words = screen.stream(Words::Spoken);
    let mut speech = screen.live.speech();
    let mut waits = false;
    let mut told = |delta| {
        if std::mem::take(&mut waits) {
            screen.waits(None);
        }
        match delta {
            Delta::Waiting { pause, why } => {
                speech.start_over();
                thoughts.end();
                words.end();
                let seconds = pause.as_secs_f64();
                screen.lines(
                    Tone::Accent,
                    &format!("… waiting {seconds:.0} s for the model: {why}"),
                );
                let ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                let until = clock::wall_ms().saturating_add(ms);
                screen.waits(Some(Waiting::RateLimit { until, why }));
                waits = true;
            }
            _ if voice == Voice::Silent => {}
            Delta::Thought(text) => thoughts.push(&text),
            Delta::Text(text) => {
                thoughts.end();
                words.push(&text);
                speech.text(&text);
            }
            // The pane shows calls when they are carried out.
            Delta::Call { id, name } => speech.call(&id, &name),
            Delta::Input { id, fragment } => speech.input(&id, &fragment),
            // Nobody here carries it out: it is over.
            Delta::Searched { id, query, found } => {
                thoughts.end();
                words.end();
                let call = ToolCall {
                    id,
                    name: web_search::NAME.to_owned(),
                    input: json!({ "query": query }).to_string(),
                };
                screen.begun(&call.id, &header(&call.name, &call.input));
                let first_line = first_line(&found, false);
                screen.ended(Ended {
                    call: call.id.clone(),
                    diff: None,
                    unseen: Some(first_line.clone()),
                    first_line,
                    all: found.clone(),
                });
                speech.searched(&call, found);
            }
        }
    };
    let stepped = tokio::select! {
        biased;
        answer = model.answer(prompt, &mut told) => match answer {
            Ok(answer) => Stepped::Answered(answer),
            Err(error) => Stepped::Failed(error),
        },
        interruption = inbox.interruption() => Stepped::Interrupted(interruption),
    };
    thoughts.end();
    words.end();
    if waits {
        screen.waits(None);
    }
    if let (Stepped::Answered(answer), Voice::Aloud) = (&stepped, voice) {
        speech.complete(answer);
    }
    if let Stepped::Interrupted(Interruption::Hear(why)) = &stepped {
        screen.lines(Tone::Accent, &format!("… interrupted: {why}"));
    }
    stepped
}
