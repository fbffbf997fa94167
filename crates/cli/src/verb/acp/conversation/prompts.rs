//! The prompts of a session: goals, messages about the goal under way, slash commands, and their cancellation.

use agent_team_client::command_file::{self, CalledCommand};
use agent_team_client::json_rpc::RpcFault;
use agent_team_protocol::method::{
    CancelRun, MemberCommands, MessageSend, Nothing, OneMember, RequestList, RunCancel, RunShow,
    RunStart, RunWait, SendMessage, StartRun, TeamShow, WaitRun,
};
use agent_team_protocol::request::ListRequests;
use agent_team_protocol::spec::CommandFile;
use agent_team_protocol::view::RunState;
use agent_team_protocol::{ErrorCode, Recipient, RunId};
use serde_json::{Value, json};

use super::super::content::text_of;
use super::super::wire::{self, Prompt, StopReason};
use super::{Conversation, Goal, SessionEnd};

impl Conversation {
    /// Gives the lead a goal, or a message if a goal is under way. Returns the reason if the prompt has already ended.
    pub(super) async fn prompt(&mut self, params: &Value) -> Result<Option<StopReason>, RpcFault> {
        let Prompt { prompt } = wire::parse(params)?;
        let text = text_of(prompt).map_err(|why| wire::invalid(&why))?;
        let text = self.with_command(text).await?;
        let start = StartRun {
            goal: text.clone(),
            then_down: false,
            anew: false,
            memory: Default::default(),
            effort: None,
            attach_outside: false,
        };
        match self.calls.call::<RunStart>(start).await {
            Ok(answer) => {
                self.follow(answer.run, true);
                Ok(None)
            }
            Err(error) if error.has_code(ErrorCode::RunUnderWay) => self.join(text).await,
            Err(error) => Err(wire::failed(&error.into())),
        }
    }

    /// Sends the lead a message about the goal under way. The message is the reply if the lead has asked the user.
    async fn join(&mut self, text: String) -> Result<Option<StopReason>, RpcFault> {
        let list = ListRequests { all: false };
        let open = self.calls.query::<RequestList>(list).await;
        let questions = open.map_err(|error| wire::failed(&error.into()))?.questions;
        let mut questions = questions.into_iter();
        let question = questions.find(|question| question.member == self.lead);
        let message = SendMessage {
            to: Recipient::Member(self.lead.clone()),
            text,
            urgent: false,
            reply_to: question.map(|question| question.id),
            summary: None,
            wants_reply: false,
            attach_outside: false,
        };
        let sent = self.calls.call::<MessageSend>(message).await;
        sent.map_err(|error| wire::failed(&error.into()))?;
        let run = self.calls.query::<RunShow>(Nothing {}).await;
        let run = run.map_err(|error| wire::failed(&error.into()))?;
        if run.state != RunState::UnderWay {
            self.send_message(
                "The goal ended before this message. The lead reads it with the next goal.",
            )
            .await;
            return Ok(Some(StopReason::EndTurn));
        }
        self.follow(run.run, false);
        Ok(None)
    }

    /// The text of a slash command of the lead, or the text itself.
    async fn with_command(&mut self, text: String) -> Result<String, RpcFault> {
        let Some(words) = text.trim().strip_prefix('/') else {
            return Ok(text);
        };
        let mut words = words.split_whitespace().map(str::to_owned);
        let name = words.next().unwrap_or_default();
        let mut commands = self.commands().await.into_iter();
        let Some(command) = commands.find(|command| command.name == name) else {
            return Ok(text);
        };
        let called = CalledCommand {
            typed: text.trim().to_owned(),
            name,
            words: words.collect(),
        };
        let message = command_file::message(command, called).await;
        message.map_err(|why| wire::invalid(&format!("cannot use the command: {why}")))
    }

    /// The slash commands of the lead. Empty if the call fails, for example because the supervisor is of an earlier
    /// version.
    async fn commands(&mut self) -> Vec<CommandFile> {
        let member = self.lead.clone();
        let listed = self.calls.query::<MemberCommands>(OneMember { member });
        listed
            .await
            .map_or_else(|_| Vec::new(), |listed| listed.commands)
    }

    pub(super) async fn send_commands(&mut self) {
        let commands = self.commands().await;
        let commands = commands.iter().map(|command| {
            let mut listed = json!({ "name": command.name, "description": command.description });
            if !command.arguments.is_empty() {
                listed["input"] = json!({ "hint": command.arguments });
            }
            listed
        });
        let update = json!({
            "sessionUpdate": "available_commands_update",
            "availableCommands": commands.collect::<Vec<_>>(),
        });
        self.send([update]).await;
    }

    /// Follows the goal under way, if there is one: the session of an earlier editor continues.
    pub(super) async fn follow_goal_under_way(&mut self) -> Result<(), SessionEnd> {
        let goal = self.calls.query::<TeamShow>(Nothing {}).await?.goal;
        if let Some(goal) = goal.filter(|goal| goal.state == RunState::UnderWay) {
            self.follow(goal.run, true);
        }
        Ok(())
    }

    fn follow(&mut self, run: RunId, is_own: bool) {
        let known = self.goal.as_ref().filter(|goal| goal.run == run);
        let is_own = is_own || known.is_some_and(|goal| goal.is_own);
        if known.is_none() {
            self.waits.abort_all();
            let mut waiter = self.calls.separate();
            self.waits
                .spawn(async move { waiter.wait_for::<RunWait>(WaitRun { run }).await });
        }
        self.goal = Some(Goal { run, is_own });
        self.board.outdate();
    }

    /// Cancels the goal of the open prompts. A goal of another client continues without this session.
    pub(super) async fn cancel(&mut self) -> Result<(), SessionEnd> {
        if self.prompts.is_empty() {
            return Ok(());
        }
        let Some(Goal { run, is_own: true }) = self.goal else {
            self.goal = None;
            self.end_prompts(StopReason::Cancelled).await;
            return Ok(());
        };
        // The call cancels the goal under way, which may already be the next goal, of another client.
        if self.calls.query::<RunShow>(Nothing {}).await?.run != run {
            return Ok(());
        }
        let reason = CancelRun {
            reason: String::new(),
        };
        match self.calls.call::<RunCancel>(reason).await {
            Ok(_) => Ok(()),
            // The goal has just ended; its event follows.
            Err(error) if error.has_code(ErrorCode::NoRun) => Ok(()),
            Err(error) => {
                self.fail_prompts(&wire::failed(&error.into())).await;
                Ok(())
            }
        }
    }
}
