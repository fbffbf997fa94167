//! A model server on loopback that gives the recorded answers of the tasks over Chat Completions, so that agents use
//! their HTTP client, its retries and their whole loop. Started by `eval`; it runs until the process exits.
//!
//! The base URL contains the name of the task, and the model has the name of the member. Answers are given in order.
//! The server estimates tokens as a quarter of the bytes, and counts the unchanged beginning of a request as cached. So
//! the figures of a recorded evaluation show how a change of prompts or tools changes the size of requests.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::{io, thread};

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use super::task::{EvalTask, Fault, RecordedAnswer};

/// Bytes per token in estimates.
const BYTES_PER_TOKEN: usize = 4;

/// Maximum size of a request, in bytes.
const REQUEST_MAX: usize = 16 << 20;

pub(super) struct RecordedModel {
    address: SocketAddr,
    recordings: Arc<Recordings>,
}

/// The rest of one member's recording.
struct Conversation {
    answers: VecDeque<RecordedAnswer>,
    /// Whether the first of these answers was given and repeats until a request contains its `until` text.
    is_repeating: bool,
    /// The number of answers so far.
    given: usize,
    /// The previous request.
    before: String,
}

struct Recordings {
    /// The conversations of each task and member.
    conversations: Mutex<BTreeMap<(String, String), Conversation>>,
    /// The windows of the tasks.
    windows: BTreeMap<String, u64>,
    /// The first request of each task that did not match the recording.
    mismatches: Mutex<BTreeMap<String, String>>,
}

impl RecordedModel {
    pub(super) fn start(tasks: &[EvalTask]) -> Result<Self> {
        let mut conversations: BTreeMap<_, Conversation> = BTreeMap::new();
        for task in tasks {
            for answer in &task.answers {
                let key = (task.name.clone(), answer.member.clone());
                let conversation = conversations.entry(key).or_insert_with(|| Conversation {
                    answers: VecDeque::new(),
                    is_repeating: false,
                    given: 0,
                    before: String::new(),
                });
                conversation.answers.push_back(answer.clone());
            }
        }
        let windows = tasks.iter().map(|task| (task.name.clone(), task.window));
        let recordings = Arc::new(Recordings {
            conversations: Mutex::new(conversations),
            windows: windows.collect(),
            mismatches: Mutex::default(),
        });
        let served = Arc::clone(&recordings);
        let listener = TcpListener::bind("127.0.0.1:0").context("cannot open a port")?;
        let address = listener.local_addr()?;
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let recordings = Arc::clone(&served);
                // Ignore errors of a connection, such as a client that closes it early.
                thread::spawn(move || recordings.serve(stream).ok());
            }
        });
        Ok(Self {
            address,
            recordings,
        })
    }

    /// Why a request of this task did not match the recording. `None`: all requests matched.
    pub(super) fn mismatch(&self, task: &str) -> Option<String> {
        let mismatches = self.recordings.mismatches.lock();
        let mismatches = mismatches.unwrap_or_else(PoisonError::into_inner);
        mismatches.get(task).cloned()
    }

    pub(super) fn base_url(&self, task: &str) -> String {
        format!("http://{}/{task}/v1", self.address)
    }
}

/// A response of the server.
struct Response {
    status: u16,
    kind: &'static str,
    body: String,
}

impl Response {
    fn json(status: u16, body: &Value) -> Self {
        Self {
            status,
            kind: "application/json",
            body: body.to_string(),
        }
    }

    fn error(status: u16, message: &str) -> Self {
        Self::json(status, &json!({ "error": { "message": message } }))
    }
}

impl Recordings {
    fn serve(&self, mut stream: TcpStream) -> io::Result<()> {
        let (path, body) = receive(&stream)?;
        let response = self.respond(&path, &body);
        // Send no `content-length`: the body ends with the connection.
        write!(
            stream,
            "HTTP/1.1 {} Recorded\r\ncontent-type: {}\r\nretry-after: 0\r\nconnection: close\r\n\r\n{}",
            response.status, response.kind, response.body
        )
    }

    fn respond(&self, path: &str, body: &[u8]) -> Response {
        let (task, path) = path
            .trim_start_matches('/')
            .split_once('/')
            .unwrap_or((path, ""));
        let Some(window) = self.windows.get(task) else {
            return Response::error(404, "unknown task");
        };
        if path == "v1/models" {
            let model = |name: &str| json!({ "id": name, "max_model_len": window });
            let models = [super::task::WORKER, super::task::LEAD].map(model);
            return Response::json(200, &json!({ "data": models }));
        }
        let request: Value = serde_json::from_slice(body).unwrap_or_default();
        if path != "v1/chat/completions" || !request.is_object() {
            return Response::error(404, "unknown path");
        }
        let member = request["model"].as_str().unwrap_or_default();
        let key = (task.to_owned(), member.to_owned());
        let mut conversations = self
            .conversations
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let Some(conversation) = conversations.get_mut(&key) else {
            return Response::error(400, &format!("{task} has no recording of {member}"));
        };
        conversation.answer(&request).unwrap_or_else(|why| {
            let why = format!("{task}, {member}: {why}");
            let mismatches = self.mismatches.lock();
            let mut mismatches = mismatches.unwrap_or_else(PoisonError::into_inner);
            mismatches.entry(key.0).or_insert_with(|| why.clone());
            Response::error(400, &why)
        })
    }
}

impl Conversation {
    fn answer(&mut self, request: &Value) -> Result<Response, String> {
        let number = self.given + 1;
        let news = since_last_answer(request);
        let reached = |answer: &RecordedAnswer| {
            let until = answer.until.as_ref();
            until.is_some_and(|text| news.contains(text))
        };
        if self.is_repeating && self.answers.front().is_some_and(reached) {
            self.answers.pop_front();
            self.is_repeating = false;
        }
        let answer = self
            .answers
            .front()
            .ok_or_else(|| format!("the recording has only {} answers", self.given))?;
        if let Some(expected) = &answer.expect
            && !news.contains(expected)
        {
            return Err(format!(
                "answer {number} expects {expected:?} in the request; its last part is: {news}"
            ));
        }
        let answer = answer.clone();
        self.is_repeating = answer.until.is_some();
        if !self.is_repeating {
            self.answers.pop_front();
        }
        self.given = number;
        if answer.fault == Some(Fault::Overloaded) {
            return Ok(Response::error(529, "overloaded"));
        }
        // Tools precede messages, as in the prompts that providers cache.
        let sent = format!("{}{}", request["tools"], request["messages"]);
        let same = sent.bytes().zip(self.before.bytes());
        let cached = same.take_while(|(new, old)| new == old).count();
        let usage = Usage {
            input: sent.len() / BYTES_PER_TOKEN,
            cached: cached / BYTES_PER_TOKEN,
        };
        self.before = sent;
        Ok(Response {
            status: 200,
            kind: "text/event-stream",
            body: stream(&answer, number, &usage),
        })
    }
}

struct Usage {
    input: usize,
    cached: usize,
}

/// The texts of the messages after the last answer.
fn since_last_answer(request: &Value) -> String {
    let messages = request["messages"]
        .as_array()
        .map_or(&[][..], Vec::as_slice);
    let answer = messages
        .iter()
        .rposition(|message| message["role"] == "assistant");
    let news = &messages[answer.map_or(0, |at| at + 1)..];
    let texts = news.iter().map(|message| {
        // A content is a text or a list of blocks.
        let content = &message["content"];
        let blocks = content.as_array().into_iter().flatten();
        let texts = blocks.filter_map(|block| block["text"].as_str());
        texts.chain(content.as_str()).collect::<String>()
    });
    texts.collect::<Vec<_>>().join("\n")
}

/// The events of an answer.
fn stream(answer: &RecordedAnswer, number: usize, usage: &Usage) -> String {
    let chunk = |delta: Value, finish: Value| {
        json!({ "object": "chat.completion.chunk", "choices": [
            { "index": 0, "delta": delta, "finish_reason": finish }
        ] })
    };
    let mut events = vec![chunk(
        json!({ "role": "assistant", "content": answer.text }),
        Value::Null,
    )];
    let mut output = answer.text.len();
    let calls = answer.calls.iter().flatten();
    for (index, (name, arguments)) in calls.enumerate() {
        let text = arguments.as_str().map(str::to_owned);
        let arguments = text.unwrap_or_else(|| arguments.to_string());
        output += name.len() + arguments.len();
        events.push(chunk(
            json!({ "tool_calls": [{
                "index": index, "id": format!("call_{number}_{index}"), "type": "function",
                "function": { "name": name, "arguments": arguments },
            }] }),
            Value::Null,
        ));
    }
    let usual = if events.len() > 1 {
        "tool_calls"
    } else {
        "stop"
    };
    let stop = answer.stop.as_deref().unwrap_or(usual);
    events.push(chunk(json!({}), stop.into()));
    let output = output.div_ceil(BYTES_PER_TOKEN);
    events.push(json!({ "choices": [], "usage": {
        "prompt_tokens": usage.input, "completion_tokens": output,
        "total_tokens": usage.input + output,
        "prompt_tokens_details": { "cached_tokens": usage.cached },
    } }));
    if answer.fault == Some(Fault::Cut) {
        events.truncate(1);
    }
    let mut body: String = events
        .iter()
        .map(|event| format!("data: {event}\n\n"))
        .collect();
    if answer.fault.is_none() {
        body.push_str("data: [DONE]\n\n");
    }
    body
}

/// Reads a request: its path and body.
fn receive(stream: &TcpStream) -> io::Result<(String, Vec<u8>)> {
    let mut reader = BufReader::new(stream).take(REQUEST_MAX as u64);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    let mut length = 0;
    loop {
        line.clear();
        reader.read_line(&mut line)?;
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        if name.eq_ignore_ascii_case("content-length") {
            length = value.trim().parse().unwrap_or(0);
        }
    }
    let mut body = vec![0; usize::min(length, REQUEST_MAX)];
    reader.read_exact(&mut body)?;
    Ok((path, body))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conversation(answers: &str) -> Conversation {
        #[derive(serde::Deserialize)]
        struct File {
            answer: VecDeque<RecordedAnswer>,
        }
        let file: File = toml::from_str(answers).unwrap();
        Conversation {
            answers: file.answer,
            is_repeating: false,
            given: 0,
            before: String::new(),
        }
    }

    fn request(texts: &[&str]) -> Value {
        let roles = ["user", "assistant"].into_iter().cycle();
        let messages = roles
            .zip(texts)
            .map(|(role, text)| json!({ "role": role, "content": text }));
        json!({ "messages": messages.collect::<Vec<_>>() })
    }

    #[test]
    fn an_answer_needs_the_text_that_it_expects() {
        let mut ada = conversation("[[answer]]\nexpect = \"fails\"\ntext = \"I see.\"\n");
        let earlier = request(&["it fails", "I look", "all is well"]);
        let why = ada.answer(&earlier).err().unwrap();
        assert!(
            why.contains("all is well") && !why.contains("it fails"),
            "{why}"
        );
        let answer = ada.answer(&request(&["", "", "it fails"])).unwrap();
        assert!(answer.body.contains("I see."), "{}", answer.body);
        let why = ada.answer(&earlier).err().unwrap();
        assert!(why.contains("only 1 answers"), "{why}");
    }

    #[test]
    fn an_answer_repeats_until_a_request_has_its_until_text() {
        let mut lead = conversation(
            "[[answer]]\nuntil = \"done\"\ntext = \"wait\"\n[[answer]]\ntext = \"end\"\n",
        );
        for (news, expected) in [("done", "wait"), ("not yet", "wait"), ("done", "end")] {
            let body = lead.answer(&request(&[news])).unwrap().body;
            assert!(body.contains(expected), "{news}: {body}");
        }
    }

    #[test]
    fn only_the_unchanged_beginning_is_cached() {
        let mut ada = conversation("[[answer]]\n[[answer]]\n[[answer]]\n");
        let mut cached = |texts: &[&str]| {
            let body = ada.answer(&request(texts)).unwrap().body;
            let (_, tokens) = body.split_once("\"cached_tokens\":").unwrap();
            let end = tokens.find('}').unwrap();
            tokens[..end].parse::<usize>().unwrap()
        };
        let long = "x".repeat(400);
        assert_eq!(cached(&[&long]), 0);
        assert!(cached(&[&long, "yes"]) >= 100);
        assert!(cached(&["y", &long]) < 100);
    }
}
