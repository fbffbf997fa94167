//! The conversation of an agent with its model: prompts, answers, and the transcript that stores both. Called by the
//! agent loop, by the rounds of a lead, and by the code that ends turns and writes summaries.
//!
//! This file executes no tool, and decides neither when a turn begins nor when it ends. Nothing takes effect before the
//! supervisor has stored it.

use std::sync::Arc;

use agent_team_llm::{Answer, Item, Model, Prompt, ToolResult, ToolSpec};
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AppendTranscript, ReadTranscript, TranscriptAppend, TranscriptRead, TurnEnd,
};
use agent_team_protocol::notification::MemberModel;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::view::{ContextView, Usage, Waiting};
use agent_team_protocol::{MessageId, Party, Refusal, with_causes};
use agent_team_terminal_ui::Tone;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::Shared;
use agent_team_tools::{SeenFile, ToolContext, attached};

use super::inbox::{Inbox, Interruption, ModelInput};
use super::output_sink::OutputSink;
use super::prompts;
use super::step::{StepOutcome, TextVisibility, ask};
use super::transcript::{Mark, Transcript, raw, spent, stored};
use crate::worker::ExitReport;

/// The largest size of one append in bytes of JSON, unless a single item is larger.
const APPEND_MAX: usize = 512 << 10;

/// Why the loop ended.
#[derive(Debug)]
pub(crate) enum End {
    /// A stop was requested.
    Stopped,
    Report(ExitReport),
}

#[derive(Debug)]
pub(super) struct Conversation {
    pub(super) model: Arc<dyn Model>,
    /// The model that writes summaries. `None`: `model` does.
    pub(super) compact: Option<Arc<dyn Model>>,
    /// The tool specs that are offered to the model.
    pub(super) specs: Vec<ToolSpec>,
    /// The provider may search the web.
    pub(super) search: bool,
    pub(super) system: String,
    /// Stored as the first input, and again before later inputs if the model no longer sees it: after a restart in
    /// another situation, or after a summary. Empty: there is none.
    pub(super) situation: String,
    pub(super) client: SupervisorClient,
    pub(super) shared: Shared,
    pub(super) inbox: Inbox,
    pub(super) transcript: Transcript,
    pub(super) sink: OutputSink,
}

impl Conversation {
    /// Reads the stored transcript.
    pub(super) async fn read_back(&mut self) -> Result<(), End> {
        loop {
            let after = self.transcript.entries();
            let args = ReadTranscript {
                member: None,
                after,
            };
            let page = self.client.call::<TranscriptRead>(&args).await;
            let page = page.map_err(|refusal| cannot("cannot read the transcript", &refusal))?;
            self.transcript.read(&page.items).map_err(|unreadable| {
                End::Report(ExitReport {
                    code: ExitCode::Failed as u8,
                    reason: with_causes(&unreadable),
                    hold: true,
                })
            })?;
            if !page.more || page.items.is_empty() {
                return Ok(());
            }
        }
    }

    /// Stores inputs for the model, with the images and PDFs that the user's messages name. Acknowledges the messages.
    pub(super) async fn store_inputs(
        &mut self,
        model_inputs: Vec<ModelInput>,
        context: &ToolContext,
    ) -> Result<(), End> {
        let mut items = Vec::new();
        let mut read = Vec::new();
        let mut bytes = 0;
        if !model_inputs.is_empty() && !self.transcript.shows(&self.situation) {
            bytes = self.situation.len();
            let text = prompts::note(&self.situation);
            items.push(Item::Input { text });
        }
        for input in model_inputs {
            if let Some(header) = prompts::header(&input) {
                self.sink.lines(Tone::Runtime, &header);
            }
            let item = prompts::item(&input);
            let length = stored(&mut item.clone()).get().len();
            if bytes > 0 && bytes + length > APPEND_MAX {
                let (items, read) = (std::mem::take(&mut items), std::mem::take(&mut read));
                self.append(items, read, Usage::default()).await?;
                bytes = 0;
            }
            bytes += length;
            items.push(item);
            if let ModelInput::Message(message) = input {
                if message.from == Party::User {
                    let mut media = Vec::new();
                    for file in attached(context, &message.text, message.attach_outside).await {
                        let line = match &file {
                            Ok(file) => format!("attached {}", visible_line(&file.name)),
                            Err(why) => format!("not attached: {}", visible_line(why)),
                        };
                        self.sink.lines(Tone::Dim, &line);
                        media.extend(file);
                    }
                    items.extend((!media.is_empty()).then_some(Item::Shown { media }));
                }
                read.push(message.id);
            }
        }
        if items.is_empty() {
            return Ok(());
        }
        self.append(items, read, Usage::default()).await
    }

    pub(super) async fn ask(&mut self) -> Result<StepOutcome, End> {
        self.report_model();
        let prompt = Prompt {
            system: &self.system,
            items: self.transcript.items(),
            tools: &self.specs,
            search: self.search,
            effort: self.inbox.effort(),
        };
        let stepped = ask(
            &*self.model,
            prompt,
            &mut self.inbox,
            &self.sink,
            TextVisibility::Shown,
        );
        let stepped = stepped.await;
        // A fallback may have answered.
        self.report_model();
        unless_stopped(stepped)
    }

    /// The approximate number of tokens of the next prompt.
    pub(super) fn tokens(&self) -> u64 {
        self.transcript.tokens(self.prompt())
    }

    /// Reports the model that answers, and how full its window is.
    pub(super) fn report_model(&self) {
        self.sink.report_model(MemberModel {
            model: self.model.name().to_owned(),
            context: ContextView::new(self.tokens(), self.model.window()),
        });
    }

    /// If the user has interrupted the turn, stores a note about the interruption, and waits until an input continues
    /// the turn.
    pub(super) async fn wait_if_interrupted(&mut self) -> Result<(), End> {
        if !self.inbox.is_interrupted_by_user() {
            return Ok(());
        }
        self.sink.lines(
            Tone::Runtime,
            "… interrupted by you: your next message continues",
        );
        let note = Item::Input {
            text: prompts::note(prompts::INTERRUPTED),
        };
        self.append(vec![note], Vec::new(), Usage::default())
            .await?;
        let what = "your message: you interrupted it".to_owned();
        self.sink.set_waiting(Some(Waiting::Reply { what }));
        let continues = self.inbox.wait_for_user().await;
        self.sink.set_waiting(None);
        continues.map_err(|_stop| End::Stopped)
    }

    pub(super) fn prompt(&self) -> Prompt<'_> {
        Prompt {
            system: &self.system,
            items: self.transcript.items(),
            tools: &self.specs,
            search: self.search,
            effort: self.inbox.effort(),
        }
    }

    pub(super) async fn store_answer(&mut self, answer: Answer) -> Result<(), End> {
        let usage = spent(answer.usage, self.model.price());
        self.append(vec![Item::Answered(answer)], Vec::new(), usage)
            .await
    }

    /// Stores items, and acknowledges messages in the same request. The items become part of the conversation only
    /// after they are stored.
    pub(super) async fn append(
        &mut self,
        mut items: Vec<Item>,
        read: Vec<MessageId>,
        usage: Usage,
    ) -> Result<(), End> {
        let entries = items.iter_mut().map(stored).collect();
        let args = AppendTranscript {
            items: entries,
            read,
            usage,
            ..AppendTranscript::default()
        };
        self.store(args).await?;
        items
            .into_iter()
            .for_each(|item| self.transcript.push(item));
        Ok(())
    }

    /// Stores the results of calls. The same request reports the files that the calls have changed, and stores the
    /// files that they have read or written.
    pub(super) async fn append_results(
        &mut self,
        results: Vec<ToolResult>,
        read: Vec<MessageId>,
        changed: Vec<String>,
        seen: Vec<SeenFile>,
    ) -> Result<(), End> {
        let mut item = Item::Returned { results };
        let mut items = vec![stored(&mut item)];
        let seen = (!seen.is_empty()).then_some(Mark::Seen { files: seen });
        items.extend(seen.as_ref().map(raw));
        let args = AppendTranscript {
            items,
            read,
            changed,
            ..AppendTranscript::default()
        };
        self.store(args).await?;
        self.transcript.push(item);
        if seen.is_some() {
            // The record of seen files already contains the mark's files.
            self.transcript.count_entry();
        }
        Ok(())
    }

    /// Stores a mark, which changes the items that the model sees, or ends the turn.
    pub(super) async fn append_mark(
        &mut self,
        mark: Mark,
        usage: Usage,
        turn_end: Option<TurnEnd>,
    ) -> Result<(), End> {
        let args = AppendTranscript {
            items: vec![raw(&mark)],
            usage,
            turn_end,
            ..AppendTranscript::default()
        };
        self.store(args).await?;
        self.transcript.mark(mark);
        Ok(())
    }

    /// Stores entries. The same request acknowledges the messages `read`, counts `usage`, reports the changed files,
    /// and ends the turn if `turn_end` is set.
    pub(super) async fn store(&mut self, args: AppendTranscript) -> Result<(), End> {
        let stored = self.client.call::<TranscriptAppend>(&args).await;
        let stored = stored.map_err(|refusal| cannot("cannot store the transcript", &refusal))?;
        self.inbox.allow(stored.allowance);
        self.shared.arrivals.acknowledged(&args.read);
        Ok(())
    }
}

/// Returns the outcome of a step, or the end of the loop if the step was interrupted by a stop.
pub(super) fn unless_stopped(stepped: StepOutcome) -> Result<StepOutcome, End> {
    match stepped {
        StepOutcome::Interrupted(Interruption::Stop { .. }) => Err(End::Stopped),
        other @ (StepOutcome::Interrupted(Interruption::NewInput(_) | Interruption::ByUser)
        | StepOutcome::Answered(_)
        | StepOutcome::Failed(_)) => Ok(other),
    }
}

pub(super) fn cannot(what: &str, refusal: &Refusal) -> End {
    End::Report(ExitReport {
        code: ExitCode::Failed as u8,
        reason: format!("{what}: {}", refusal.message),
        hold: false,
    })
}
