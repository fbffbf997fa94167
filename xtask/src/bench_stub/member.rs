//! A worker that speaks the supervisor's protocol but has no engine: it only sends and reads messages.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use agent_team_protocol::ErrorCode;
use agent_team_protocol::id::{MemberName, MessageId, Recipient};
use agent_team_protocol::initialize::Initialize;
use agent_team_protocol::launch::LaunchFile;
use agent_team_protocol::method::{
    Exit, MemberExit, MessageRead, MessageSend, ReadMessages, RequestAsk, RequestWait, SendMessage,
};
use agent_team_protocol::notification::{Deliver, Notification, StopMember};
use agent_team_protocol::request::{AskRequest, Decided, OneRequest, Permission};
use agent_team_protocol::rpc::{self, Call, Frame, FrameKind};
use anyhow::{Context as _, Result, bail};

use crate::conversation;
use crate::transport::{Transport, now_ns};

/// Environment variable of a member: the name of its peer.
const PEER: &str = "AGENT_TEAM_BENCH_PEER";

/// Environment variable of a member: the control socket of the bench. Without it, the member echoes.
const CONTROL: &str = "AGENT_TEAM_BENCH_CONTROL";

/// Interval and number of attempts to reconnect to a supervisor.
const SEARCH_EVERY: Duration = Duration::from_millis(2);
const SEARCHES: u32 = 5_000;

pub(crate) fn run(file: &Path) -> Result<()> {
    let bytes = fs::read(file)
        .context("cannot read the launch file: it was used by another process, or withdrawn")?;
    fs::remove_file(file)?;
    let launch: LaunchFile = serde_json::from_slice(&bytes)?;
    let mut member = Member::connect(&launch)?;
    match launch.environment.get(CONTROL) {
        Some(control) => conversation::run_commands(&mut member, control.as_ref()),
        // After a kill of the supervisor, wait for the next one, which adopts this worker.
        None => loop {
            conversation::echo(&mut member)?;
            if member.stopped {
                return Ok(());
            }
            member = Member::connect(&launch)?;
        },
    }
}

struct Member {
    writer: UnixStream,
    reader: BufReader<UnixStream>,
    peer: MemberName,
    /// Frames for the next write.
    outgoing: String,
    next_id: u64,
    /// Received messages that were not returned yet.
    arrived: Vec<(u64, String)>,
    stopped: bool,
}

enum Received {
    Messages,
    Accepted,
    RefusedForNow,
    Nothing,
    End,
}

impl Member {
    fn connect(launch: &LaunchFile) -> Result<Self> {
        let mut writer = connect_to_supervisor(launch)?;
        let initialize = Initialize::member(
            launch.team.clone(),
            launch.launch.clone(),
            launch.token.clone(),
        );
        writer.write_all(rpc::initialize(0, &initialize).as_bytes())?;
        let mut reader = BufReader::with_capacity(64 * 1024, writer.try_clone()?);
        let mut answer = String::new();
        reader.read_line(&mut answer)?;
        if !answer.contains("\"result\"") {
            bail!("cannot connect: {answer}");
        }
        let peer = launch
            .environment
            .get(PEER)
            .map_or("nobody", String::as_str);
        Ok(Self {
            writer,
            reader,
            peer: peer.parse()?,
            outgoing: String::new(),
            next_id: 0,
            arrived: Vec::new(),
            stopped: false,
        })
    }

    /// Queues a request; returns its id.
    fn queue<M: agent_team_protocol::method::Method>(&mut self, args: M::Args) -> u64 {
        self.next_id += 1;
        let call = Call {
            team: None,
            key: Some(self.next_id.to_string()),
            args,
        };
        self.outgoing
            .push_str(&rpc::request::<M>(self.next_id, &call));
        self.next_id
    }

    fn queue_message(&mut self, text: &str) {
        self.queue::<MessageSend>(SendMessage {
            to: Recipient::Member(self.peer.clone()),
            text: text.to_owned(),
            urgent: false,
            reply_to: None,
            summary: None,
            wants_reply: false,
            attach_outside: false,
        });
    }

    fn flush(&mut self) -> Result<()> {
        if !self.outgoing.is_empty() {
            self.writer.write_all(self.outgoing.as_bytes())?;
            self.outgoing.clear();
        }
        Ok(())
    }

    /// Makes a call and waits for its answer; ignores other frames that arrive in between.
    fn answered<M: agent_team_protocol::method::Method>(
        &mut self,
        args: M::Args,
    ) -> Result<M::Answer> {
        let request = self.queue::<M>(args).to_string();
        self.flush()?;
        loop {
            let mut frame = String::new();
            if self.reader.read_line(&mut frame)? == 0 {
                bail!("the supervisor closed the connection");
            }
            if let FrameKind::Response { id, outcome } =
                Frame::parse(&frame).and_then(Frame::kind)?
                && id.get() == request
            {
                let answer = outcome.map_err(|error| anyhow::anyhow!("{}", error.message))?;
                return Ok(serde_json::from_str(answer.get())?);
            }
        }
    }

    /// Waits for one frame; its acknowledgement is sent with the next write.
    fn read_frame(&mut self) -> Result<Received> {
        let mut frame = String::new();
        if self.reader.read_line(&mut frame)? == 0 {
            return Ok(Received::End);
        }
        let now = now_ns();
        match Frame::parse(&frame).and_then(Frame::kind)? {
            FrameKind::Notification { method, params } if method == Deliver::NAME => {
                let Deliver { messages } = serde_json::from_str(params.get())?;
                let ids: Vec<MessageId> = messages.iter().map(|message| message.id).collect();
                self.arrived.extend(
                    messages
                        .into_iter()
                        .rev()
                        .map(|message| (now, message.text)),
                );
                self.queue::<MessageRead>(ReadMessages { messages: ids });
                Ok(Received::Messages)
            }
            FrameKind::Notification { method, .. } if method == StopMember::NAME => {
                self.stopped = true;
                self.queue::<MemberExit>(Exit {
                    code: 0,
                    reason: "asked to stop".to_owned(),
                    hold: false,
                });
                self.flush()?;
                Ok(Received::End)
            }
            FrameKind::Notification { .. } => Ok(Received::Nothing),
            FrameKind::Request { id, .. } => {
                self.outgoing
                    .push_str(&rpc::result(id, &agent_team_protocol::method::Nothing {}));
                self.flush()?;
                Ok(Received::Nothing)
            }
            // Only answers to message calls contain a message id.
            FrameKind::Response {
                outcome: Ok(result),
                ..
            } if result.get().contains("\"id\"") => Ok(Received::Accepted),
            FrameKind::Response { outcome: Ok(_), .. } => Ok(Received::Nothing),
            FrameKind::Response {
                outcome: Err(error),
                ..
            } => match error.data {
                Some(refusal) if refusal.code == ErrorCode::InboxFull => {
                    Ok(Received::RefusedForNow)
                }
                _ => bail!("refused: {}", error.message),
            },
        }
    }
}

impl Transport for Member {
    fn send(&mut self, text: &str) -> Result<()> {
        self.queue_message(text);
        self.flush()
    }

    fn receive(&mut self) -> Result<Option<(u64, String)>> {
        loop {
            if let Some(message) = self.arrived.pop() {
                return Ok(Some(message));
            }
            // Flush the acknowledgements before this read blocks: otherwise they wait for the next write, which may not
            // come.
            if !self.reader.buffer().contains(&b'\n') {
                self.flush()?;
            }
            if let Received::End = self.read_frame()? {
                return Ok(None);
            }
        }
    }

    fn flood(&mut self, count: u64, window: u64) -> Result<u64> {
        let (mut accepted, mut in_flight, mut refused) = (0, 0, 0);
        let text = format!("{:<64}", "flood");
        while accepted < count {
            while in_flight < window && accepted + in_flight < count {
                self.queue_message(&text);
                in_flight += 1;
            }
            self.flush()?;
            loop {
                match self.read_frame()? {
                    Received::Accepted => (accepted, in_flight) = (accepted + 1, in_flight - 1),
                    Received::RefusedForNow => (refused, in_flight) = (refused + 1, in_flight - 1),
                    Received::Messages | Received::Nothing => {}
                    Received::End => bail!("the supervisor closed the connection"),
                }
                if !self.reader.buffer().contains(&b'\n') {
                    break;
                }
            }
            self.arrived.clear();
        }
        Ok(refused)
    }

    fn ask(&mut self, number: u64) -> Result<bool> {
        let command = serde_json::json!({ "command": format!("command {number}") });
        let permission: Permission = self.answered::<RequestAsk>(AskRequest {
            tool: "bash".to_owned(),
            arguments: serde_json::value::to_raw_value(&command)?,
            directory: std::env::current_dir()?,
            confined: true,
            containment: Default::default(),
            paths: Vec::new(),
            hook: None,
        })?;
        let Permission::Asked { request } = permission else {
            bail!("expected a pending request, but it was decided immediately: {permission:?}");
        };
        let decided = self.answered::<RequestWait>(OneRequest { request })?;
        Ok(matches!(decided, Decided::Allowed { .. }))
    }
}

fn connect_to_supervisor(launch: &LaunchFile) -> Result<UnixStream> {
    for _ in 0..SEARCHES {
        let lock = fs::read_to_string(&launch.supervisor_lock).unwrap_or_default();
        // The first line is the path of the socket.
        let socket = lock.lines().next().unwrap_or_default();
        if let Ok(stream) = UnixStream::connect(socket) {
            return Ok(stream);
        }
        std::thread::sleep(SEARCH_EVERY);
    }
    bail!("cannot connect to a supervisor")
}
