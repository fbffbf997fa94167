//! Queries of clients and members. The driver answers them after a commit: the team's state then equals the stored
//! state, unless the storage has failed. History is read on other threads.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use agent_team_core::{Origin, Team};
use agent_team_protocol::method::{
    CommandsAnswer, ListMessages, ListRounds, ListTasks, LogAnswer, Memory, MessageListAnswer,
    ReadTranscript, RoundListAnswer, ScreenAnswer, TranscriptPage,
};
use agent_team_protocol::view::{MessageState, MessageView, TaskView, TeamView};
use agent_team_protocol::{ErrorCode, MemberName, Party, Refusal, Revision, RunId, TaskId};
use agent_team_store::StoredMessage;
use serde::{Deserialize, Serialize};
use serde_json::value::{RawValue, to_raw_value};
use tokio::task::JoinError;

use super::history_reader::ReadPermit;
use super::launches::LaunchRuntime;
use super::request::Query;
use super::views::unknown_member;
use super::waiters::Condition;
use super::{Driver, Message, Storage};
use crate::outbox::Reply;
use crate::{convert, view};

impl Driver {
    pub(crate) fn show_member(&self, reply: Reply, name: &MemberName) {
        match self.views().member_answer(name) {
            Some(answer) => reply.ok(&answer),
            None => reply.refuse(unknown_member(&self.team, name)),
        }
    }

    pub(crate) fn find_log(&self, reply: Reply, name: &MemberName) {
        let path = self.log_of(name);
        // The log of a removed member can still be read.
        if self.team.member(name).is_some() || path.exists() {
            reply.ok(&LogAnswer { path });
        } else {
            reply.refuse(unknown_member(&self.team, name));
        }
    }

    pub(crate) fn show_screen(&self, reply: Reply, name: &MemberName) {
        let Some(member) = self.team.member(name) else {
            return reply.refuse(unknown_member(&self.team, name));
        };
        let launch = member.life.launch();
        let runtime = launch.and_then(|launch| self.launches.get(&launch.id));
        let screen = runtime.and_then(LaunchRuntime::screen);
        reply.ok(&ScreenAnswer {
            screen: screen.cloned(),
        });
    }

    pub(crate) fn list_commands(&self, reply: Reply, name: &MemberName) {
        if self.team.member(name).is_none() {
            return reply.refuse(unknown_member(&self.team, name));
        }
        let prompts = self.launches.of(&self.team, name);
        let prompts = prompts.map_or(Vec::new(), |(_, runtime)| runtime.prompts().to_vec());
        match self.settings.member(name) {
            Ok(settings) => reply.ok(&CommandsAnswer {
                commands: settings.agent.commands.clone(),
                prompts,
            }),
            Err(unreadable) => reply.refuse(unreadable.refusal()),
        }
    }

    pub(crate) fn wait_until_quiet(&mut self, reply: Reply) {
        self.waiters.wait(Condition::Quiet, reply);
    }

    pub(crate) fn team_view(&self) -> TeamView {
        self.views().team(self.storage_error())
    }

    /// Why nothing can be stored any longer. Checks the files, so that a moved database is reported before a commit
    /// fails.
    pub(super) fn storage_error(&self) -> Option<String> {
        match &self.storage {
            Storage::Failed(why) | Storage::Ending(why) => Some(why.clone()),
            Storage::Stored | Storage::Full(_) => {
                let error = self.reader.history().check().err();
                error.map(|error| error.to_string())
            }
        }
    }

    /// Lists a page of tasks. The page is built only when a reader is free. Therefore queued calls hold no tasks in
    /// memory, and a burst of calls delays other calls by at most one page per reader.
    pub(crate) fn list_tasks(&self, by: &Origin, reply: Reply, list: ListTasks) {
        let by = by.clone();
        let (reader, driver) = (self.reader.clone(), self.to_self.clone());
        tokio::task::spawn_local(async move {
            let permit = reader.permit().await;
            if !reply.is_abandoned() {
                let query =
                    Query::new(move |driver, _, reply| driver.read_tasks(reply, &list, permit));
                let _driver_gone = driver.send(Message::Read { by, reply, query });
            }
        });
    }

    fn read_tasks(&self, reply: Reply, list: &ListTasks, permit: ReadPermit) {
        let after = TaskId(list.after);
        let board = BoardPage::after(&self.team, after);
        let revision = self.team.revision();
        let read = permit.read(move |history| page(revision, &board, history, after));
        tokio::task::spawn_local(async move { answer(reply, read.await) });
    }

    pub(crate) fn show_task(&self, reply: Reply, id: TaskId) {
        match self.team.board().get(id) {
            Some(task) => reply.ok(&view::task(&self.team, task)),
            None if self.team.board().is_completed(id) => {
                self.read_history(reply, move |history| {
                    let archived = history.archived(id).map_err(|error| error.to_string())?;
                    let view =
                        archived.ok_or_else(|| format!("cannot find {id} in the archive"))?;
                    RawValue::from_string(view).map_err(|error| error.to_string())
                })
            }
            None => reply.refuse(convert::refusal(&agent_team_core::Refused::UnknownTask(id))),
        }
    }

    pub(crate) fn wait_for_run(&mut self, reply: Reply, run: RunId) {
        if self.team.run().is_some_and(|last| last.id == run) {
            self.waiters.wait(Condition::Run(run), reply);
        } else {
            reply.refuse(unknown_run(run));
        }
    }

    pub(crate) fn wait_for_question(&mut self, reply: Reply) {
        self.waiters.wait(Condition::Question, reply);
    }

    pub(crate) fn show_run(&self, reply: Reply) {
        let run = self.team.run().map(view::run);
        let none = || Refusal::new(ErrorCode::UnknownRun, "the team has had no goal");
        reply.send(run.ok_or_else(none));
    }

    pub(crate) fn list_rounds(&self, reply: Reply, list: &ListRounds) {
        let Some(run) = self.team.run().filter(|run| run.id == list.run) else {
            return reply.refuse(unknown_run(list.run));
        };
        let (mut rounds, mut bytes) = (Vec::new(), 0);
        let mut remaining = view::rounds(run).skip(list.after as usize).peekable();
        // JSON escaping can make text six times longer (`\u0000`). A page ends at an eighth of `PAGE_BYTES`, so that it
        // fits into a frame even if its last round exceeds that size.
        while let Some(round) = remaining.next_if(|_| bytes < PAGE_BYTES / 8) {
            bytes += round.output.as_ref().map_or(0, String::len);
            rounds.push(round);
        }
        let more = remaining.peek().is_some();
        reply.ok(&RoundListAnswer { rounds, more });
    }

    /// A member can read only its own transcript.
    pub(crate) fn read_transcript(&self, reply: Reply, by: &Origin, read: ReadTranscript) {
        let owner = match (by, read.member) {
            (Origin::User, Some(member)) => member,
            (Origin::Member { name, .. }, None) => name.clone(),
            (Origin::Member { name, .. }, Some(member)) if *name == member => member,
            (Origin::User, None) => {
                let text = "transcript/read requires `member`";
                return reply.refuse(Refusal::new(ErrorCode::InvalidParams, text));
            }
            (Origin::Member { .. }, Some(_)) => {
                let text = "a member can read only its own transcript";
                return reply.refuse(Refusal::new(ErrorCode::NotPermitted, text));
            }
        };
        let Some(member) = self.team.member(&owner) else {
            return reply.refuse(unknown_member(&self.team, &owner));
        };
        // The store can contain more items than the member has: the items of a removed member with the same name.
        let items_max = member.transcript.length.saturating_sub(read.after);
        let items_max = usize::try_from(items_max).unwrap_or(usize::MAX);
        self.read_history(reply, move |history| {
            let (mut items, mut more) = history
                .transcript(&owner, read.after)
                .map_err(|error| error.to_string())?;
            if items.len() >= items_max {
                items.truncate(items_max);
                more = false;
            }
            let items: Result<_, _> = items.into_iter().map(RawValue::from_string).collect();
            Ok(TranscriptPage {
                items: items.map_err(|error| error.to_string())?,
                more,
            })
        });
    }

    pub(crate) fn recall(&self, reply: Reply, key: Option<&str>) {
        let memory = self.team.memory().iter();
        let wanted = memory.filter(|(known, _)| key.is_none_or(|key| key == &***known));
        let values: Result<_, _> = wanted
            .map(|(key, value)| Ok((key.to_string(), RawValue::from_string(value.to_string())?)))
            .collect();
        match values {
            Ok(values) => reply.ok(&Memory { values }),
            Err(error) => {
                let error: serde_json::Error = error;
                reply.refuse(Refusal::internal(error.to_string()));
            }
        }
    }

    pub(crate) fn list_messages(&self, reply: Reply, by: &Origin, list: ListMessages) {
        if let Origin::Member { name, .. } = by
            && list.of != Some(Party::Member(name.clone()))
        {
            let text = "only the user may read messages of other members";
            return reply.refuse(Refusal::new(ErrorCode::NotPermitted, text));
        }
        if let Some(Party::Member(name)) = &list.of
            && self.team.member(name).is_none()
        {
            return reply.refuse(unknown_member(&self.team, name));
        }
        let unread: std::collections::BTreeMap<_, _> = self
            .team
            .members()
            .map(|member| {
                let name = member.spec.name.clone();
                let states: std::collections::BTreeMap<_, _> = member
                    .inbox
                    .iter()
                    .map(|(id, _)| (id, self.message_state(&name, id)))
                    .collect();
                (name, states)
            })
            .collect();
        let of_user = self.team.user_mail().clone();
        self.read_history(reply, move |history| {
            let limit = usize::try_from(list.limit).unwrap_or(usize::MAX);
            let stored = history
                .messages(list.of.as_ref(), limit)
                .map_err(|error| error.to_string())?;
            let state = |to: &Party, message: &StoredMessage| match to {
                Party::Member(name) => unread
                    .get(name)
                    .and_then(|states| states.get(&message.id))
                    .copied()
                    .unwrap_or(MessageState::Read),
                Party::User if of_user.is_unread(message.id) => MessageState::Delivered,
                Party::User | Party::System => MessageState::Read,
            };
            let of = list.of.as_ref();
            let concerns = |message: &StoredMessage, to: &Party| {
                of.is_none_or(|of| *of == message.from || of == to)
            };
            let messages = stored
                .iter()
                .flat_map(|message| message.to.iter().map(move |to| (message, to)))
                .filter(|(message, to)| concerns(message, to))
                .map(|(message, to)| MessageView {
                    id: message.id,
                    from: message.from.clone(),
                    to: to.clone(),
                    text: message.text.to_string(),
                    state: state(to, message),
                    urgent: message.urgent,
                    reply_to: message.reply_to,
                    summary: message.note.summary.as_deref().map(str::to_owned),
                    at: message.at,
                })
                .collect();
            Ok(MessageListAnswer {
                messages: newest_that_fit(messages),
            })
        });
    }

    /// Answers from history, which is read on another thread.
    fn read_history<A: Serialize + Send + 'static>(
        &self,
        reply: Reply,
        read: impl FnOnce(&agent_team_store::History) -> Result<A, String> + Send + 'static,
    ) {
        let reader = self.reader.clone();
        tokio::task::spawn_local(async move {
            let permit = reader.permit().await;
            if reply.is_abandoned() {
                return;
            }
            answer(reply, permit.read(read).await);
        });
    }
}

fn answer<A: Serialize>(reply: Reply, read: Result<Result<A, String>, JoinError>) {
    match read {
        Ok(Ok(answer)) => reply.ok(&answer),
        Ok(Err(error)) => reply.refuse(Refusal::new(ErrorCode::StorageFailed, error)),
        Err(panic) => reply.refuse(Refusal::internal(panic.to_string())),
    }
}

/// Keeps the newest messages, at least one, that fit into a frame even if JSON escaping makes them six times longer.
fn newest_that_fit(mut messages: Vec<MessageView>) -> Vec<MessageView> {
    let mut bytes = 0;
    let fitting = messages.iter().rev().take_while(|message| {
        let fits = bytes < PAGE_BYTES / 8;
        bytes += message.text.len();
        fits
    });
    let left_out = messages.len() - fitting.count();
    messages.drain(..left_out);
    messages
}

/// Maximum number of tasks per page.
const PAGE_TASKS: usize = 512;

/// Size in bytes at which a page ends. The last task of a page may exceed it.
const PAGE_BYTES: usize = 512 << 10;

/// `TaskListAnswer` on the wire, with tasks in the JSON form that the archive stores.
#[derive(Debug, Serialize)]
struct Page {
    revision: Revision,
    tasks: Vec<Box<RawValue>>,
    more: bool,
}

/// The tasks of the board after a given id, in order of their ids: all, or at least as many as fit into a page.
#[derive(Debug)]
struct BoardPage {
    tasks: Vec<TaskView>,
    /// The board has more tasks after these.
    more: bool,
}

impl BoardPage {
    fn after(team: &Team, after: TaskId) -> Self {
        let mut board = team.board().after(after).peekable();
        let (mut tasks, mut bytes) = (Vec::new(), 0);
        while let Some(task) = board.next_if(|_| tasks.len() < PAGE_TASKS && bytes < PAGE_BYTES) {
            // This sum is less than the tasks' serialised size. So `merge_page` always ends the page before the first
            // task that is left out here.
            let lines = task.spec.run.iter().chain(&task.spec.verify);
            bytes += task.spec.description.len() + lines.map(|line| line.len()).sum::<usize>();
            tasks.push(view::task(team, task));
        }
        let more = board.peek().is_some();
        Self { tasks, more }
    }
}

/// One page of the board in order of ids, including archived tasks.
fn page(
    revision: Revision,
    board: &BoardPage,
    history: &agent_team_store::History,
    after: TaskId,
) -> Result<Page, String> {
    let archived = history
        .archived_after(after, PAGE_TASKS)
        .map_err(|error| error.to_string())?;
    merge_page(revision, board, archived).map_err(|error| error.to_string())
}

/// Merges the tasks of the board and of the archive, and keeps the first tasks that fit into a page.
fn merge_page(
    revision: Revision,
    board: &BoardPage,
    archived: Vec<String>,
) -> Result<Page, serde_json::Error> {
    #[derive(Deserialize)]
    struct Numbered {
        id: TaskId,
    }
    let mut more = board.more || archived.len() == PAGE_TASKS;
    let mut numbered = BTreeMap::new();
    for view in archived {
        let Numbered { id } = serde_json::from_str(&view)?;
        numbered.insert(id, RawValue::from_string(view)?);
    }
    for view in &board.tasks {
        // A task completed between the two reads is in both sources; the archive has the newer version.
        if let Entry::Vacant(entry) = numbered.entry(view.id) {
            entry.insert(to_raw_value(view)?);
        }
    }
    let (mut tasks, mut bytes) = (Vec::new(), 0);
    for view in numbered.into_values() {
        if tasks.len() == PAGE_TASKS || bytes >= PAGE_BYTES {
            more = true;
            break;
        }
        bytes += view.get().len();
        tasks.push(view);
    }
    Ok(Page {
        revision,
        tasks,
        more,
    })
}

fn unknown_run(run: RunId) -> Refusal {
    let text = format!("run {run} does not exist or has been replaced");
    Refusal::new(ErrorCode::UnknownRun, text)
}

#[cfg(test)]
mod tests {
    use agent_team_core::{Input, InputContext, ReplyTo};
    use agent_team_protocol::method::TaskListAnswer;
    use agent_team_protocol::spec::TaskSpec;

    use super::*;

    /// A board of pending tasks with descriptions of this many bytes.
    fn board_page(count: usize, bytes: usize) -> BoardPage {
        let mut team = Team::default();
        for number in 0..count {
            let spec = convert::task_spec(TaskSpec {
                key: number.to_string(),
                title: number.to_string(),
                description: "x".repeat(bytes),
                ..TaskSpec::default()
            });
            let call = agent_team_core::Call::AddTask {
                spec,
                after: Vec::new(),
                lines: Vec::new(),
            };
            let context = InputContext {
                now: agent_team_core::Tick(0),
                wall: 0,
                seed: [0; 32],
            };
            let input = Input::Called {
                by: Origin::User,
                key: None,
                reply: ReplyTo(0),
                call: Box::new(call),
            };
            team.advance(&context, input);
        }
        BoardPage::after(&team, TaskId(0))
    }

    /// The page as a client reads it.
    fn read(board: &BoardPage, archived: &[TaskView]) -> TaskListAnswer {
        let archived = archived
            .iter()
            .map(|view| serde_json::to_string(view).unwrap());
        let page = merge_page(Revision(7), board, archived.collect()).unwrap();
        serde_json::from_str(&serde_json::to_string(&page).unwrap()).unwrap()
    }

    #[test]
    fn a_page_merges_board_and_archive_in_order() {
        let mut archived = board_page(4, 0).tasks;
        let board = BoardPage {
            tasks: archived.split_off(1),
            more: false,
        };
        let mut completed = board.tasks[1].clone();
        completed.result = Some("done meanwhile".to_owned());
        archived.push(completed.clone());
        let page = read(&board, &archived);
        let ids: Vec<u64> = page.tasks.iter().map(|task| task.id.0).collect();
        assert_eq!(
            (ids, page.revision, page.more),
            (vec![1, 2, 3, 4], Revision(7), false)
        );
        assert_eq!(page.tasks[2].result, completed.result);
    }

    #[test]
    fn a_page_stops_at_its_size_limit_and_sets_more() {
        const LONG: usize = 60_000;
        let board = board_page(20, LONG);
        assert_eq!(
            board.tasks.len(),
            PAGE_BYTES / LONG + 1,
            "the page does not end with the task that exceeds the limit"
        );
        let mut archived = board_page(20, 0).tasks;
        for archived in [Vec::new(), archived.split_off(15)] {
            let page = read(&board, &archived);
            assert_eq!((page.tasks.len(), page.more), (board.tasks.len(), true));
        }
        let page = read(&board_page(PAGE_TASKS, 0), &[]);
        assert_eq!((page.tasks.len(), page.more), (PAGE_TASKS, false));
        let page = read(&board_page(PAGE_TASKS + 1, 0), &[]);
        assert_eq!((page.tasks.len(), page.more), (PAGE_TASKS, true));
    }
}
