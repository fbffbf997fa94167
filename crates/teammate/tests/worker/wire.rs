//! The supervisor's end of a connection in tests.

use agent_team_protocol::Refusal;
use agent_team_protocol::codec::FRAME_MAX;
use agent_team_protocol::initialize::{BUILD, Initialize, Initialized, Welcome};
use agent_team_protocol::method::Method;
use agent_team_protocol::notification::{Assignment, Notification};
use agent_team_protocol::rpc::{self, Call, Frame, FrameKind};
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::socket::Stream;
use serde::Serialize;
use serde_json::value::RawValue;

use crate::rig::{LIMIT, ScriptedSupervisor, within};

pub(crate) struct Connection {
    reader: FrameReader,
    writer: FrameWriter,
    /// The id of the unanswered `initialize`.
    initialize: Option<Box<RawValue>>,
    /// Frames that were read while waiting for another frame.
    skipped: Vec<String>,
}

/// A call that the worker made and that is not answered yet.
pub(crate) struct ReceivedCall<A> {
    id: Box<RawValue>,
    pub(crate) key: Option<String>,
    pub(crate) call: Call<A>,
}

impl<A> ReceivedCall<A> {
    pub(crate) fn args(&self) -> &A {
        &self.call.args
    }
}

impl Connection {
    /// Reads the peer's `initialize`; [`Connection::welcome`] and similar methods answer it.
    pub(crate) async fn greeted(stream: Stream) -> (Self, Initialize) {
        let (reader, writer) = stream.into_halves();
        let mut reader = FrameReader::new(reader, FRAME_MAX);
        let frame = within("an initialize", reader.next())
            .await
            .unwrap()
            .unwrap();
        let Ok(FrameKind::Request { id, method, params }) =
            Frame::parse(&frame).and_then(Frame::kind)
        else {
            panic!("not a request: {frame}");
        };
        assert_eq!(method, "initialize");
        let connection = Self {
            reader,
            writer: FrameWriter::new(writer),
            initialize: Some(id.to_owned()),
            skipped: Vec::new(),
        };
        (connection, serde_json::from_str(params.get()).unwrap())
    }

    async fn send(&mut self, line: &str) {
        self.writer.queue(line);
        within("the peer to read", self.writer.flush())
            .await
            .unwrap();
    }

    pub(crate) async fn refuse_initialize(&mut self, refusal: Refusal) {
        let id = self.initialize.take().expect("an unanswered initialize");
        self.send(&rpc::error(&id, refusal)).await;
    }

    async fn greet(&mut self, member: Option<Welcome>) {
        let id = self.initialize.take().expect("an unanswered initialize");
        let answer = Initialized {
            protocol: 1,
            build: BUILD.into(),
            pid: std::process::id(),
            member,
        };
        self.send(&rpc::result(&id, &answer)).await;
    }

    pub(crate) async fn welcome_client(&mut self) {
        self.greet(None).await;
    }

    pub(crate) async fn welcome(&mut self, of: &ScriptedSupervisor, holds: Option<Assignment>) {
        let welcome = Welcome {
            name: "ada".parse().unwrap(),
            team: of.team(),
            role: "worker".parse().unwrap(),
            colour: "blue".into(),
            assignment: holds,
            allowance: Default::default(),
        };
        self.greet(Some(welcome)).await;
    }

    pub(crate) async fn notify<N: Notification>(&mut self, notification: &N) {
        self.send(&rpc::notification(notification)).await;
    }

    /// The first frame, skipped or new, for which `pick` returns a value.
    async fn find<T>(&mut self, what: &str, pick: impl Fn(&str) -> Option<T>) -> T {
        if let Some(at) = self.skipped.iter().position(|frame| pick(frame).is_some()) {
            let frame = self.skipped.remove(at);
            return pick(&frame).expect("`pick` accepts the frame");
        }
        let search = async {
            loop {
                let Some(frame) = self.reader.next().await.unwrap() else {
                    panic!("the connection closed before {what}");
                };
                if let Some(found) = pick(&frame) {
                    return found;
                }
                self.skipped.push(frame);
            }
        };
        match tokio::time::timeout(LIMIT, search).await {
            Ok(found) => found,
            Err(_) => panic!("timed out waiting for {what}; received {:#?}", self.skipped),
        }
    }

    pub(crate) async fn asked<M: Method>(&mut self) -> ReceivedCall<M::Args> {
        self.find(M::NAME, |frame| {
            match Frame::parse(frame).unwrap().kind().unwrap() {
                FrameKind::Request { id, method, params } if method == M::NAME => {
                    let call: Call<M::Args> = serde_json::from_str(params.get()).unwrap();
                    let key = call.key.clone();
                    Some(ReceivedCall {
                        id: id.to_owned(),
                        key,
                        call,
                    })
                }
                FrameKind::Request { .. }
                | FrameKind::Notification { .. }
                | FrameKind::Response { .. } => None,
            }
        })
        .await
    }

    pub(crate) async fn noticed<N: Notification>(&mut self, is_wanted: impl Fn(&N) -> bool) -> N {
        self.find(N::NAME, |frame| {
            match Frame::parse(frame).unwrap().kind().unwrap() {
                FrameKind::Notification { method, params } if method == N::NAME => {
                    serde_json::from_str(params.get()).ok().filter(&is_wanted)
                }
                FrameKind::Request { .. }
                | FrameKind::Notification { .. }
                | FrameKind::Response { .. } => None,
            }
        })
        .await
    }

    /// Asserts that no skipped frame names this method.
    pub(crate) fn assert_not_called<M: Method>(&self) {
        let name = format!("\"{}\"", M::NAME);
        let found = self.skipped.iter().find(|frame| frame.contains(&name));
        assert_eq!(found, None);
    }

    pub(crate) async fn answer<A>(&mut self, call: &ReceivedCall<A>, answer: &impl Serialize) {
        self.send(&rpc::result(&call.id, answer)).await;
    }

    pub(crate) async fn refuse<A>(&mut self, call: &ReceivedCall<A>, refusal: Refusal) {
        self.send(&rpc::error(&call.id, refusal)).await;
    }

    /// Sends a request to the worker and waits for its answer.
    pub(crate) async fn call<M: Method>(&mut self, args: M::Args) -> M::Answer {
        let call = Call {
            team: None,
            key: None,
            args,
        };
        self.send(&rpc::request::<M>(77, &call)).await;
        self.find("an answer", |frame| {
            match Frame::parse(frame).unwrap().kind().unwrap() {
                FrameKind::Response { id, outcome } if id.get() == "77" => {
                    Some(serde_json::from_str(outcome.unwrap().get()).unwrap())
                }
                FrameKind::Request { .. }
                | FrameKind::Notification { .. }
                | FrameKind::Response { .. } => None,
            }
        })
        .await
    }
}
