//! The loop of a lead without tools: asks its model for the next round of a run, or for a synthesis, and sends the
//! reply to the supervisor. Called by the agent loop instead of its turns.
//!
//! ```text
//! question of the run ──► already answered before a restart? ── yes ───────────┐
//!     ▲                        │ no                                            ▼
//!     │                        └──► question stored ──► model ──► answer stored ──► reply sent
//!     │                                                   ▲         │ empty, refused or cut
//!     │                                                   └─────────┘ asked again twice
//!     └─────────────────────────────────────────────────────────────────────────────┘
//! ```
//! The supervisor keeps the rounds and interprets replies. Messages to the lead are added to the next question.

use std::convert::Infallible;

use agent_team_llm::{Answer, Item};
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    AppendTranscript, ITEM_MAX, ListRounds, Nothing, ReplyToRun, RunQuestion, RunReply, RunRounds,
    TeamShow, TurnEnd,
};
use agent_team_protocol::spec::Strategy;
use agent_team_protocol::view::{ExpectedReply, QuestionView, RoundView, Usage};
use agent_team_protocol::{ErrorCode, with_causes};
use agent_team_terminal_ui::Tone;

use super::agent_loop::AgentLoop;
use super::conversation::{End, cannot};
use super::ending::{RETRIES, Unusable};
use super::question::{self, QuestionInputs};
use super::step::StepOutcome;
use super::text_calls::{self, Opening};
use super::transcript::{Mark, QuestionKey, raw, spent, stored};
use super::{deps, prompts};
use crate::pane::paint;
use crate::worker::ExitReport;

/// The largest total size of the outputs in one question, in bytes.
const OUTPUTS_MAX: usize = 192 << 10;

impl AgentLoop {
    /// Runs until the member is stopped, or cannot continue.
    pub(super) async fn lead_by_rounds(&mut self, strategy: &Strategy) -> Result<Infallible, End> {
        loop {
            let question = self.question().await?;
            let key = QuestionKey {
                run: question.run,
                round: question.round,
            };
            let reply = match self.conversation.transcript.answer_to(key) {
                Some(answer) => question::reply(answer),
                None => self.ask_model(key, &question, strategy).await?,
            };
            let reply = ReplyToRun {
                run: question.run,
                round: question.round,
                text: reply,
            };
            match self.conversation.client.call::<RunReply>(&reply).await {
                Ok(_) => {}
                // The supervisor already has the reply, or the run is over.
                Err(refusal) if refusal.code == ErrorCode::WrongState => {}
                Err(refusal) => return Err(cannot("cannot send the reply", &refusal)),
            }
        }
    }

    /// Waits until a run asks a question.
    async fn question(&mut self) -> Result<QuestionView, End> {
        let client = self.conversation.client.clone();
        let next_question = client.call::<RunQuestion>(&Nothing {});
        tokio::pin!(next_question);
        loop {
            tokio::select! {
                biased;
                input = self.conversation.inbox.next_input() => match input {
                    Err(_) => return Err(End::Stopped),
                    Ok(true) => self.conversation.sink.lines(Tone::Dim, "… added to the next question"),
                    Ok(false) if self.conversation.inbox.takes_compaction() => {
                        self.conversation.sink.lines(Tone::Dim, "… nothing to compact: each run starts a new conversation");
                    }
                    Ok(false) => {}
                },
                question = &mut next_question => {
                    return question.map_err(|refusal| cannot("cannot wait for a run", &refusal));
                }
            }
        }
    }

    /// Asks the model the question, together with all messages to the lead since the previous question.
    async fn ask_model(
        &mut self,
        key: QuestionKey,
        question: &QuestionView,
        strategy: &Strategy,
    ) -> Result<String, End> {
        let rounds = self.rounds(question).await?;
        let team = self.conversation.client.call::<TeamShow>(&Nothing {}).await;
        let team = team.map_err(|refusal| cannot("cannot read the team", &refusal))?;
        (self.conversation.system, _) = deps::prompts_of(
            &self.conversation.client,
            &self.agent,
            &team,
            self.conversation.model.window(),
            self.toolbox.cwd(),
            "",
            "",
        );
        let (begins, first_new) = match question.expected_reply {
            ExpectedReply::Decision { .. } => (rounds.is_empty(), rounds.len().saturating_sub(1)),
            // A synthesis is the only question of its run.
            ExpectedReply::Synthesis => (true, 0),
        };
        if begins {
            self.conversation
                .sink
                .lines(Tone::Runtime, &paint::goal(question));
        }
        for ended in rounds[first_new..].iter().filter_map(paint::round) {
            self.conversation.sink.lines(Tone::Dim, &ended);
        }
        self.conversation
            .sink
            .lines(Tone::Runtime, &paint::question(question));
        let window = usize::try_from(self.conversation.model.window()).unwrap_or(usize::MAX);
        let mut outputs_max = window.min(OUTPUTS_MAX);
        let mark = loop {
            let asking = QuestionInputs {
                question,
                strategy,
                rounds: &rounds,
                team: &team,
                outputs_max,
            };
            let text = format!("Date: {}\n\n{}", deps::today(), asking.text());
            let mark = Mark::Asked { asked: key, text };
            if raw(&mark).get().len() <= ITEM_MAX || outputs_max == 0 {
                break mark;
            }
            outputs_max /= 2;
        };
        self.conversation
            .append_mark(mark, Usage::default(), None)
            .await?;
        let mut retries = 0;
        loop {
            self.conversation.wait_if_interrupted().await?;
            let model_inputs = self.conversation.inbox.take();
            self.store_inputs(model_inputs).await?;
            match self.conversation.ask().await? {
                StepOutcome::Answered(answer) => {
                    let answer = self.without_calls(answer);
                    // A call in the text is only text: the model was offered no tools.
                    match Unusable::of(&answer, false, true) {
                        Some(unusable) if retries < RETRIES => {
                            retries += 1;
                            self.ask_again(answer, unusable, retries).await?;
                        }
                        Some(_) | None => return self.store_reply(answer).await,
                    }
                }
                StepOutcome::Interrupted(_) => {}
                // The next launch asks the same question again.
                StepOutcome::Failed(error) => {
                    return Err(End::Report(ExitReport {
                        code: ExitCode::Failed as u8,
                        reason: with_causes(&error),
                        hold: true,
                    }));
                }
            }
        }
    }

    /// All rounds so far.
    async fn rounds(&self, question: &QuestionView) -> Result<Vec<RoundView>, End> {
        let mut rounds = Vec::new();
        let mut wanted = Some(ListRounds::of(question.run));
        while let Some(list) = wanted {
            let page = self.conversation.client.call::<RunRounds>(&list).await;
            let page = page.map_err(|refusal| cannot("cannot list the rounds", &refusal))?;
            wanted = list.next(&page);
            rounds.extend(page.rounds);
        }
        Ok(rounds)
    }

    /// The answer without thoughts in its text, and without calls: the model was offered no tools.
    fn without_calls(&self, answer: Answer) -> Answer {
        let mut answer = match self.conversation.model.parses_calls() {
            true => answer,
            false => {
                let transcript = &self.conversation.transcript;
                let opening = Opening::after(transcript.items());
                text_calls::read(answer, transcript.entries(), opening)
            }
        };
        answer.calls.clear();
        answer
    }

    /// Stores an unusable answer with a note that asks the model to reply again.
    async fn ask_again(
        &mut self,
        answer: Answer,
        unusable: Unusable,
        retries: u32,
    ) -> Result<(), End> {
        let line = format!(
            "… {}: the model is asked again ({retries} of {RETRIES})",
            unusable.reason()
        );
        self.conversation.sink.lines(Tone::Runtime, &line);
        let usage = spent(answer.usage, self.conversation.model.price());
        let note = Item::Input {
            text: prompts::note(question::again(unusable)),
        };
        // Append both items in one call: after a restart, an answer at the end of the transcript would count as the
        // reply.
        self.conversation
            .append(vec![Item::Answered(answer), note], Vec::new(), usage)
            .await
    }

    /// Stores the answer together with the end of the turn.
    async fn store_reply(&mut self, answer: Answer) -> Result<String, End> {
        let usage = spent(answer.usage, self.conversation.model.price());
        let mut item = Item::Answered(answer);
        let entries = vec![stored(&mut item), raw(&Mark::Rested)];
        self.conversation
            .store(AppendTranscript {
                items: entries,
                usage,
                turn_end: Some(TurnEnd::default()),
                ..AppendTranscript::default()
            })
            .await?;
        let reply = match &item {
            Item::Answered(answer) => question::reply(answer),
            Item::Input { .. } | Item::Shown { .. } | Item::Returned { .. } => String::new(),
        };
        self.conversation.transcript.push(item);
        self.conversation.transcript.mark(Mark::Rested);
        Ok(reply)
    }
}
