//! The loop of a joined member: a chat session of another program does the member's work and calls the team tools
//! through `agent-team mcp`. Replaces `agent_loop`; started by the worker's loop.
//!
//! ```text
//! waiting for the chat session ──joined──► serving its calls ──disconnected──► held
//!               └── no session within JOIN_LIMIT ──────────────────────────────► held
//! ```
//! The launch ends when the connection of the chat session closes, so the member's claims return to the board. The
//! socket needs no token: programs in a sandbox cannot reach it, and only the process that has joined may call a tool.
//! A message counts as read when the process has confirmed a result that contains the message. Processes of an earlier
//! version do not confirm; for them, a message counts as read when the result is sent.

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use agent_team_llm::ToolSpec;
use agent_team_protocol::exit::ExitCode;
use agent_team_protocol::joined::{JoinAnswer, JoinedFrame, JoinedTool, LINE_MAX, ToolAnswer};
use agent_team_protocol::notification::DeliveredMessage;
use agent_team_protocol::text::visible_line;
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::socket::{Listener, Stream};
use agent_team_terminal_ui::Tone;
use agent_team_tools::ToolError;
use agent_team_tools::team::{ASK, IN_NEXT_STEP, WAIT, message_line};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};
use serde_json::{Value, json};
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::conversation::End;
use super::custom::acknowledge;
use super::inbox::Input;
use crate::hosted::team_handle::TeamHandle;
use crate::timer::sleep_until;
use crate::worker::ExitReport;

/// How long a launch waits for its chat session.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// Maximum wait of one call. MCP clients cancel a tool call that takes much longer.
const WAIT_MAX_S: u64 = 100;

const TIMEOUT: &str = "timeout_s";

/// How long an answer waits for its confirmation.
const CONFIRM_LIMIT: Duration = Duration::from_secs(5);

/// The largest number of concurrent calls.
const CALLS_MAX: usize = 32;

/// The largest number of notes that wait for a result.
const NOTES_MAX: usize = 50;

/// Maximum total size of the message texts in one result, in bytes; a single longer message is still returned. The
/// session reads the rest with another call.
const MESSAGES_MAX: usize = 30_000;

/// The reason for refusing every connection of another process while a chat session is joined.
const ALREADY_JOINED: &str = "another chat session has joined as this member";

const READ_MESSAGES: &str = "read_messages";

/// Replaces the usual description of the tool, which is for agents that receive messages without calling a tool.
const READ_MESSAGES_DESCRIPTION: &str = "Read your unread messages; this acknowledges them. The result of each other \
    tool ends with the number of unread messages.";

pub(super) struct Joined {
    pub(super) team: TeamHandle,
    pub(super) socket: PathBuf,
    pub(super) inputs: mpsc::UnboundedReceiver<Input>,
}

/// The state that all calls of the chat session share.
struct CallContext {
    team: TeamHandle,
    notes: Notes,
}

/// Texts for the next result, such as an assigned task.
#[derive(Default)]
struct Notes {
    texts: Mutex<VecDeque<String>>,
    added: Notify,
}

impl Notes {
    fn add(&self, text: String) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        while texts.len() >= NOTES_MAX {
            texts.pop_front();
        }
        texts.push_back(text);
        drop(texts);
        self.added.notify_waiters();
    }

    fn is_empty(&self) -> bool {
        let texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.is_empty()
    }

    fn take(&self) -> Vec<String> {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        texts.drain(..).collect()
    }

    fn put_back(&self, notes: Vec<String>) {
        let mut texts = self.texts.lock().unwrap_or_else(PoisonError::into_inner);
        for note in notes.into_iter().rev() {
            texts.push_front(note);
        }
    }
}

/// The messages and notes that an answer contains besides the result of its tool.
struct AddedTexts {
    messages: Vec<DeliveredMessage>,
    notes: Vec<String>,
}

/// The connection of the chat session.
struct ChatConnection {
    pid: u32,
    reader: FrameReader,
    _writer: FrameWriter,
}

impl Joined {
    /// Runs until the member is stopped, the chat session disconnects, no chat session has joined within
    /// [`JOIN_LIMIT`], or the socket fails.
    pub(super) async fn run(self) -> End {
        let Self {
            team,
            socket,
            mut inputs,
        } = self;
        let listener = match Listener::bind_own(&socket) {
            Ok(listener) => listener,
            Err(error) => return held(format!("cannot open the socket of the member: {error}")),
        };
        let context = Arc::new(CallContext {
            team,
            notes: Notes::default(),
        });
        let end = context.serve(&listener, &mut inputs).await;
        // Each launch has its own path, so a socket that cannot be removed blocks no later launch.
        let _removed = std::fs::remove_file(&socket);
        end
    }
}

impl CallContext {
    async fn serve(
        self: &Arc<Self>,
        listener: &Listener,
        inputs: &mut mpsc::UnboundedReceiver<Input>,
    ) -> End {
        let join_until = Instant::now() + JOIN_LIMIT;
        let mut session: Option<ChatConnection> = None;
        // Dropping this set cancels the calls.
        let mut calls = JoinSet::new();
        loop {
            let (is_joined, pid) = (session.is_some(), session.as_ref().map(|it| it.pid));
            let deadline = (!is_joined).then_some(join_until);
            tokio::select! {
                biased;
                input = inputs.recv() => match input {
                    Some(Input::Stop { .. }) | None => return End::Stopped,
                    Some(input) => self.accept_input(input),
                },
                () = closed(&mut session) => {
                    return held("the chat session has disconnected".to_owned());
                }
                () = sleep_until(deadline) => {
                    return held("no chat session has joined".to_owned());
                }
                Some(called) = calls.join_next() => if let Err(error) = called && error.is_panic() {
                    std::panic::resume_unwind(error.into_panic());
                },
                accepted = listener.accept(), if calls.len() < CALLS_MAX => match accepted {
                    Err(error) => return held(format!("cannot accept a connection: {error}")),
                    Ok(stream) if !is_joined => session = self.join(stream).await,
                    Ok(stream) if stream.peer().pid == pid => {
                        calls.spawn(Arc::clone(self).call(stream));
                    }
                    Ok(stream) => refuse(stream, ALREADY_JOINED).await,
                },
            }
        }
    }

    fn accept_input(&self, input: Input) {
        match input {
            Input::Task(task) => self.notes.add(format!(
                "{} is yours now: {}. Read it with list_tasks, and end it with complete_task, fail_task or release_task.",
                task.task,
                visible_line(&task.title)
            )),
            Input::Abandoned(abandon) => self.notes.add(format!(
                "{} is no longer yours: {}. Stop working on it.",
                abandon.task,
                visible_line(&abandon.reason)
            )),
            Input::Informed(text) => self.notes.add(visible_line(&text).into_owned()),
            Input::Interrupt => self
                .notes
                .add("The user asks you to stop your current work and to read your messages.".to_owned()),
            // `answer` takes messages and requests from the arrivals. The other program manages its own conversation
            // and usage, so compaction and allowances do not apply.
            Input::Arrived { .. }
            | Input::RequestOver(_)
            | Input::Compact
            | Input::Welcomed(_)
            | Input::Allowance(_)
            | Input::Stop { .. } => {}
        }
    }

    /// Answers a connection while no chat session is joined. Returns `None` if the connection does not join.
    async fn join(&self, stream: Stream) -> Option<ChatConnection> {
        let Some(pid) = stream.peer().pid else {
            refuse(stream, "the connecting process is in another PID namespace").await;
            return None;
        };
        let (read, write) = stream.into_halves();
        let mut reader = FrameReader::new(read, LINE_MAX);
        let mut writer = FrameWriter::new(write);
        // The process sends `Join` before it waits for an answer. The timeout limits how long a connection that sends
        // nothing can delay others.
        let frame = tokio::time::timeout(Duration::from_secs(1), reader.next()).await;
        let Ok(Ok(Some(frame))) = frame else {
            return None;
        };
        if !matches!(serde_json::from_str(&frame), Ok(JoinedFrame::Join {})) {
            return None;
        }
        let specs = self.team.team_tools().specs().into_iter();
        let answer = JoinAnswer {
            tools: specs.map(|spec| self.offered(spec)).collect(),
            unread: self.team.shared.arrivals.unread(),
            refused: None,
        };
        send(&mut writer, &answer).await.ok()?;
        self.team
            .sink
            .lines(Tone::Runtime, "a chat session has joined");
        Some(ChatConnection {
            pid,
            reader,
            _writer: writer,
        })
    }

    /// The tool in the form that the chat session receives. The longest timeout of a waiting tool is [`WAIT_MAX_S`].
    fn offered(&self, spec: ToolSpec) -> JoinedTool {
        let mut input = spec.input;
        if is_wait(&spec.name)
            && let Some(timeout) = input.pointer_mut("/properties/timeout_s")
        {
            timeout["maximum"] = json!(WAIT_MAX_S);
            timeout["description"] =
                json!(format!("Default: {WAIT_MAX_S}. Call again to wait longer."));
        }
        let description = match spec.name.as_str() {
            READ_MESSAGES => READ_MESSAGES_DESCRIPTION.to_owned(),
            ASK => spec.description.replace(
                "The reply is in your next step",
                "The result contains the reply",
            ),
            _ => spec.description,
        };
        JoinedTool {
            reads: self.team.tools.reads_only(&spec.name),
            name: spec.name,
            description,
            input: to_raw_value(&input).expect("a JSON value"),
        }
    }

    /// Serves one call. Cancels the call if its connection closes before the answer is ready.
    async fn call(self: Arc<Self>, stream: Stream) {
        let (read, write) = stream.into_halves();
        let mut reader = FrameReader::new(read, LINE_MAX);
        let mut writer = FrameWriter::new(write);
        let Ok(Some(frame)) = reader.next().await else {
            return;
        };
        let Ok(JoinedFrame::Call {
            tool,
            input,
            confirms,
        }) = serde_json::from_str(&frame)
        else {
            return;
        };
        let (answer, added) = tokio::select! {
            answer = self.answer(&tool, &input) => answer,
            _closed = reader.next() => return,
        };
        let is_sent = send(&mut writer, &answer).await.is_ok();
        if is_sent && (!confirms || is_confirmed(&mut reader).await) {
            let read = added.messages.iter().map(|message| message.id);
            acknowledge(&self.team, read.collect()).await;
        } else {
            // The session has cancelled the call, or has not confirmed the answer. The texts are not lost: the next
            // result contains the notes, and the next result of a wait or a read contains the messages.
            self.team.shared.arrivals.put_back(added.messages);
            self.notes.put_back(added.notes);
        }
    }

    /// Returns the answer, and the messages and notes that were added to it. Cancel-safe: takes no message or note
    /// before its last await.
    async fn answer(&self, tool: &str, input: &RawValue) -> (ToolAnswer, AddedTexts) {
        let (mut text, failed) = match self.result(tool, input).await {
            Ok(text) => (text, false),
            Err(ToolError::Input(text) | ToolError::Failed(text)) => (text, true),
        };
        let arrivals = &self.team.shared.arrivals;
        let (mut messages, mut notes) = (Vec::new(), self.notes.take());
        let waits = is_wait(tool) && !failed;
        let reads = serde_json::from_str(input.get())
            .is_ok_and(|input: Value| is_read_of_unread(tool, &input));
        if waits || reads {
            messages = arrivals.take_within(MESSAGES_MAX);
        }
        if waits {
            // This answer contains the messages: a chat session has no next step in which they would arrive.
            text = text.replace(IN_NEXT_STEP, ":");
            // Take all requests: a request that stays in the arrivals ends every later wait at once.
            let requests = arrivals.take_requests().into_iter();
            let requests = requests.map(|request| request.text());
            notes.extend(requests.filter(|request| !text.contains(request.as_str())));
        }
        let lines = messages.iter().map(message_line);
        for part in lines.chain(notes.iter().cloned()) {
            if !text.is_empty() {
                text.push_str("\n\n");
            }
            text.push_str(&part);
        }
        if reads && text.is_empty() {
            text = "No unread messages.".to_owned();
        }
        let answer = ToolAnswer {
            text: without_escapes(&self.team.tools.redacted(&text)),
            failed,
            unread: arrivals.unread(),
        };
        (answer, AddedTexts { messages, notes })
    }

    async fn result(&self, tool: &str, input: &RawValue) -> Result<String, ToolError> {
        let mut input: Value = serde_json::from_str(input.get())
            .map_err(|error| ToolError::Input(format!("cannot read the arguments: {error}")))?;
        if is_read_of_unread(tool, &input) {
            // The result has no text of its own: `answer` adds the messages.
            return Ok(String::new());
        }
        let tools = self.team.team_tools();
        if !is_wait(tool) {
            return tools.call(tool, input).await;
        }
        if let Some(arguments) = input.as_object_mut() {
            arguments
                .entry(TIMEOUT)
                .and_modify(|seconds| {
                    if seconds.as_u64().is_some_and(|seconds| seconds > WAIT_MAX_S) {
                        *seconds = json!(WAIT_MAX_S);
                    }
                })
                .or_insert(json!(WAIT_MAX_S));
        }
        if tool == ASK {
            // A note must not end a call of `ask`. Without a reply, the result of `ask` contains the id of the
            // question's message; a note in place of that result would lose the id.
            return tools.call(tool, input).await;
        }
        let mut noted = std::pin::pin!(self.notes.added.notified());
        // `notify_waiters` wakes only waiters that are registered. Register before the check, so that a note that is
        // added between the check and the wait ends the wait.
        noted.as_mut().enable();
        if !self.notes.is_empty() {
            return Ok("Something has changed:".to_owned());
        }
        tokio::select! {
            result = tools.call(tool, input) => result,
            () = noted => Ok("Something has changed:".to_owned()),
        }
    }
}

/// Whether the caller confirms within [`CONFIRM_LIMIT`] that it has received its answer.
async fn is_confirmed(reader: &mut FrameReader) -> bool {
    let line = tokio::time::timeout(CONFIRM_LIMIT, reader.next()).await;
    let Ok(Ok(Some(line))) = line else {
        return false;
    };
    matches!(serde_json::from_str(&line), Ok(JoinedFrame::Received {}))
}

/// Completes when the chat session has closed its connection. Never completes without a session. Cancel-safe.
async fn closed(session: &mut Option<ChatConnection>) {
    match session {
        // The session sends nothing after `Join`.
        Some(session) => drop(session.reader.next().await),
        None => std::future::pending().await,
    }
}

fn is_wait(tool: &str) -> bool {
    [WAIT, ASK].contains(&tool)
}

/// Whether the call reads the unread messages without a limit. The tool itself handles calls with other arguments.
fn is_read_of_unread(tool: &str, input: &Value) -> bool {
    let Some(arguments) = input.as_object() else {
        return false;
    };
    tool == READ_MESSAGES
        && arguments.iter().all(|(name, value)| match name.as_str() {
            "all" => *value == Value::Bool(false),
            "limit" => value.is_null(),
            _ => false,
        })
}

/// Replaces control characters, except newlines and tabs: the other program may write results to its terminal.
fn without_escapes(text: &str) -> String {
    text.replace(
        |c: char| c.is_control() && c != '\n' && c != '\t',
        "\u{fffd}",
    )
}

async fn refuse(stream: Stream, why: &str) {
    tracing::warn!(peer = ?stream.peer(), why, "refused a connection to the member's team tools");
    let (_read, write) = stream.into_halves();
    let answer = JoinAnswer {
        tools: Vec::new(),
        unread: 0,
        refused: Some(why.to_owned()),
    };
    // A short line fits into the buffer of the socket, so a peer that does not read cannot block this task. A peer that
    // has disconnected needs no answer.
    let _gone = send(&mut FrameWriter::new(write), &answer).await;
}

async fn send(writer: &mut FrameWriter, answer: &impl Serialize) -> io::Result<()> {
    writer.queue(&format!("{}\n", serde_json::to_string(answer)?));
    writer.flush().await
}

fn held(reason: String) -> End {
    End::Report(ExitReport {
        code: ExitCode::Failed as u8,
        reason,
        hold: true,
    })
}
