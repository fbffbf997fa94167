//! How a lead without tools leads: its model is asked what the next round of a run is to be, or for a synthesis, and
//! what it says is passed on. Called by the mind in place of its turns.
//!
//! ```text
//! the run asks ──► asked before a restart, and answered? ── yes ─────────────┐
//!      ▲                │ no                                                 ▼
//!      │                └──► question stored ──► model ──► answer stored ──► passed on
//!      └─────────────────────────────────────────────────────────────────────┘
//! ```
//! What the rounds came to, and what a reply means, only the supervisor knows. What is said to the lead meanwhile is
//! heard with the next question.

use std::convert::Infallible;

use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::method::{
    ITEM_MAX, ListRounds, Nothing, ReplyToRun, Rest, RunQuestion, RunReply, RunRounds, TeamShow,
};
use agent_team_protocol::spec::Strategy;
use agent_team_protocol::view::{QuestionView, RoundView, Usage, Wants};
use agent_team_protocol::{ErrorCode, with_causes};
use agent_team_terminal_ui::Tone;

use super::mind::{End, Mind, cannot};
use super::question::{self, Asking};
use super::seam;
use super::step::Stepped;
use super::transcript::{Asked, Mark, raw, spent, stored};
use crate::model::{Answer, Item};
use crate::pane::paint;
use crate::worker::LastWords;

/// Bytes of all outputs in one question, at most.
const OUTPUTS_MAX: usize = 192 << 10;

impl Mind {
    /// Lives until it is told to stop, or cannot go on.
    pub(super) async fn lead_by_rounds(&mut self, strategy: &Strategy) -> Result<Infallible, End> {
        loop {
            let question = self.question().await?;
            let asked = Asked {
                run: question.run,
                round: question.round,
            };
            let reply = match self.transcript.answer_to(asked) {
                Some(answer) => question::reply(answer),
                None => self.put(asked, &question, strategy).await?,
            };
            let reply = ReplyToRun {
                run: question.run,
                round: question.round,
                text: reply,
            };
            match self.desk.call::<RunReply>(&reply).await {
                Ok(_) => {}
                // It was passed on before, or another goal has taken the run's place.
                Err(refusal) if refusal.code == ErrorCode::WrongState => {}
                Err(refusal) => return Err(cannot("its reply cannot be passed on", &refusal)),
            }
        }
    }

    /// Waits until a run wants to be told something.
    async fn question(&mut self) -> Result<QuestionView, End> {
        let desk = self.desk.clone();
        let asks = desk.call::<RunQuestion>(&Nothing {});
        tokio::pin!(asks);
        loop {
            tokio::select! {
                biased;
                news = self.inbox.news() => match news {
                    Err(_) => return Err(End::Stopped),
                    Ok(true) => self.screen.lines(Tone::Dim, "… heard with the next question"),
                    Ok(false) => {}
                },
                question = &mut asks => {
                    return question.map_err(|refusal| cannot("no run can be waited for", &refusal));
                }
            }
        }
    }

    /// Asks the model, with everything that was said to the lead since it was asked last.
    async fn put(
        &mut self,
        asked: Asked,
        question: &QuestionView,
        strategy: &Strategy,
    ) -> Result<String, End> {
        let rounds = self.rounds(question).await?;
        let team = self.desk.call::<TeamShow>(&Nothing {}).await;
        let team = team.map_err(|refusal| cannot("its team cannot be shown", &refusal))?;
        self.system = seam::system_of(&self.desk, &self.agent, &team, self.toolbox.cwd());
        let (begins, news) = match question.wants {
            Wants::Decision { .. } => (rounds.is_empty(), rounds.len().saturating_sub(1)),
            // It is the only question of its run.
            Wants::Synthesis => (true, 0),
        };
        if begins {
            self.screen.lines(Tone::Accent, &paint::goal(question));
        }
        for ended in rounds[news..].iter().filter_map(paint::round) {
            self.screen.lines(Tone::Dim, &ended);
        }
        self.screen.lines(Tone::Accent, &paint::question(question));
        let window = usize::try_from(self.model.window()).unwrap_or(usize::MAX);
        let mut most = window.min(OUTPUTS_MAX);
        let mark = loop {
            let asking = Asking {
                question,
                strategy,
                rounds: &rounds,
                team: &team,
                most,
            };
            let text = asking.text();
            let mark = Mark::Asked { asked, text };
            if raw(&mark).get().len() <= ITEM_MAX || most == 0 {
                break mark;
            }
            most /= 2;
        };
        self.append_mark(mark, Usage::default(), None).await?;
        loop {
            let heard = self.inbox.take();
            self.hear(heard).await?;
            match self.ask().await? {
                Stepped::Answered(answer) => return self.store_reply(answer).await,
                Stepped::Interrupted(_) => {}
                // Nothing is lost: the next launch is asked the same.
                Stepped::Failed(error) => {
                    return Err(End::Words(LastWords {
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
            let page = self.desk.call::<RunRounds>(&list).await;
            let page = page.map_err(|refusal| cannot("its rounds cannot be listed", &refusal))?;
            wanted = list.next(&page);
            rounds.extend(page.rounds);
        }
        Ok(rounds)
    }

    /// The answer, stored with the end of the turn that it is.
    async fn store_reply(&mut self, mut answer: Answer) -> Result<String, End> {
        // Nothing was offered to be called.
        answer.calls.clear();
        let usage = spent(answer.usage, self.model.price());
        let mut item = Item::Answered(answer);
        let entries = vec![stored(&mut item), raw(&Mark::Rested)];
        self.store(entries, Vec::new(), usage, Some(Rest::default()))
            .await?;
        let reply = match &item {
            Item::Answered(answer) => question::reply(answer),
            Item::Said { .. } | Item::Returned { .. } => String::new(),
        };
        self.transcript.push(item);
        self.transcript.mark(Mark::Rested);
        Ok(reply)
    }
}
