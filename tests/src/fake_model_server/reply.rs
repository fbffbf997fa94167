//! The replies of the server: how a test describes a reply, and how each of the two protocols encodes it.

use serde_json::{Value, json};

/// The default size of a chunk of a stream, in bytes: small enough to split every event, and some characters.
const PIECE: usize = 11;

/// A reply to one request.
#[derive(Debug, Clone)]
pub struct Reply {
    status: u16,
    headers: Vec<(String, String)>,
    content: Content,
    fault: Option<Fault>,
    piece: usize,
}

#[derive(Debug, Clone)]
enum Content {
    /// A streamed answer of a model.
    Answer(ModelAnswer),
    /// A stream with the data of each event, unchanged.
    Events(Vec<String>),
    /// A stream of events that have names.
    NamedEvents(Vec<Value>),
    /// A complete body.
    Whole { kind: String, body: Vec<u8> },
    /// No response at all.
    Nothing,
}

#[derive(Debug, Clone, Default)]
struct ModelAnswer {
    thought: Option<(String, String)>,
    text: String,
    calls: Vec<(String, String)>,
    stop: Option<String>,
    input: u64,
    output: u64,
    cached: u64,
}

#[derive(Debug, Clone)]
enum Fault {
    /// The connection closes after this many events.
    Cut(usize),
    /// The stream stops after this many events, and the connection stays open.
    Hang(usize),
    /// An error event follows this many events.
    Error(usize, Value),
}

/// An encoded reply, in the chunks in which it is sent.
pub(super) struct Writing {
    pub(super) pieces: Vec<Vec<u8>>,
    pub(super) ending: Ending,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Whole,
    Cut,
    Hangs,
}

impl Reply {
    fn new(status: u16, content: Content) -> Self {
        Self {
            status,
            headers: Vec::new(),
            content,
            fault: None,
            piece: PIECE,
        }
    }

    /// An answer with this text.
    pub fn text(text: &str) -> Self {
        let answer = ModelAnswer {
            text: text.to_owned(),
            input: 100,
            output: 10,
            ..ModelAnswer::default()
        };
        Self::new(200, Content::Answer(answer))
    }

    /// An answer that calls a tool.
    pub fn call(name: &str, input: Value) -> Self {
        Self::text("").and_call(name, input)
    }

    /// Adds a call to the answer.
    pub fn and_call(self, name: &str, input: Value) -> Self {
        self.and_raw_call(name, &input.to_string())
    }

    /// Adds a call whose arguments need not be JSON.
    pub fn and_raw_call(mut self, name: &str, input: &str) -> Self {
        let call = (name.to_owned(), input.to_owned());
        self.answer_mut().calls.push(call);
        self
    }

    /// Adds a thought before the text, with its signature in the Messages protocol.
    pub fn thinking(mut self, thought: &str, signature: &str) -> Self {
        self.answer_mut().thought = Some((thought.to_owned(), signature.to_owned()));
        self
    }

    /// Sets the stop reason, as the protocol spells it.
    pub fn stop(mut self, reason: &str) -> Self {
        self.answer_mut().stop = Some(reason.to_owned());
        self
    }

    /// Sets the token counts: input, output, and the cached part of the input.
    pub fn tokens(mut self, input: u64, output: u64, cached: u64) -> Self {
        let answer = self.answer_mut();
        (answer.input, answer.output, answer.cached) = (input, output, cached);
        self
    }

    /// An error response, in the form that both protocols have.
    pub fn error(status: u16, message: &str) -> Self {
        let body = json!({ "type": "error", "error": { "type": "error", "message": message } });
        Self::json(status, &body)
    }

    /// A JSON document.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::whole(status, "application/json", &body.to_string())
    }

    /// An HTML page.
    pub fn html(status: u16, body: &str) -> Self {
        Self::whole(status, "text/html", body)
    }

    fn whole(status: u16, kind: &str, body: &str) -> Self {
        let (kind, body) = (kind.to_owned(), body.as_bytes().to_vec());
        Self::new(status, Content::Whole { kind, body })
    }

    /// A list of models, for `GET /v1/models`.
    pub fn models(names: &[&str]) -> Self {
        let models = names
            .iter()
            .map(|name| json!({ "id": name, "object": "model" }));
        let models: Vec<_> = models.collect();
        Self::json(200, &json!({ "object": "list", "data": models }))
    }

    /// A stream of events with this data, valid or not.
    pub fn events(data: &[&str]) -> Self {
        let data = data.iter().map(|data| (*data).to_owned());
        Self::new(200, Content::Events(data.collect()))
    }

    /// A stream of events with this data. The field `type` of each event is also its name.
    pub fn named_events(data: &[Value]) -> Self {
        Self::new(200, Content::NamedEvents(data.to_vec()))
    }

    /// Accepts the request and never answers it.
    pub fn hang() -> Self {
        Self::new(200, Content::Nothing).hang_after(0)
    }

    /// Adds a header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Closes the connection after this many events.
    pub fn cut_after(mut self, events: usize) -> Self {
        self.fault = Some(Fault::Cut(events));
        self
    }

    /// Sends nothing after this many events, and keeps the connection open.
    pub fn hang_after(mut self, events: usize) -> Self {
        self.fault = Some(Fault::Hang(events));
        self
    }

    /// Sends this error after this many events, in place of the rest.
    pub fn error_after(mut self, events: usize, error: Value) -> Self {
        self.fault = Some(Fault::Error(events, error));
        self
    }

    /// Sends the stream in chunks of this many bytes.
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    fn answer_mut(&mut self) -> &mut ModelAnswer {
        match &mut self.content {
            Content::Answer(answer) => answer,
            Content::Events(_)
            | Content::NamedEvents(_)
            | Content::Whole { .. }
            | Content::Nothing => {
                panic!("this setting needs a model's answer")
            }
        }
    }

    /// Encodes the reply. `number` makes the ids of its calls unique among all replies.
    pub(super) fn write(self, number: usize, messages_wire: bool) -> Writing {
        let (kind, parts) = match self.content {
            Content::Nothing => {
                return Writing {
                    pieces: Vec::new(),
                    ending: Ending::Hangs,
                };
            }
            Content::Whole { kind, body } => (kind, vec![body]),
            Content::Answer(answer) if messages_wire => (stream(), answer.messages(number)),
            Content::Answer(answer) => (stream(), answer.chat(number)),
            Content::NamedEvents(data) => {
                let events = data.iter();
                let events = events.map(|data| event(data["type"].as_str(), &data.to_string()));
                (stream(), events.collect())
            }
            Content::Events(data) => {
                let events = data.into_iter().map(|data| event(None, &data));
                (stream(), events.collect())
            }
        };
        let (parts, ending) = match self.fault {
            None => (parts, Ending::Whole),
            Some(Fault::Cut(events)) => (first(parts, events), Ending::Cut),
            Some(Fault::Hang(events)) => (first(parts, events), Ending::Hangs),
            Some(Fault::Error(events, error)) => {
                let mut parts = first(parts, events);
                let name = messages_wire.then_some("error");
                parts.push(event(name, &error.to_string()));
                (parts, Ending::Whole)
            }
        };
        let mut head = format!(
            "HTTP/1.1 {} Scripted\r\ncontent-type: {kind}\r\ntransfer-encoding: chunked\r\nconnection: close\r\n",
            self.status
        );
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {value}\r\n"));
        }
        head.push_str("\r\n");
        let mut pieces = vec![head.into_bytes()];
        for piece in parts.concat().chunks(self.piece) {
            let mut chunk = format!("{:x}\r\n", piece.len()).into_bytes();
            chunk.extend_from_slice(piece);
            chunk.extend_from_slice(b"\r\n");
            pieces.push(chunk);
        }
        if ending == Ending::Whole {
            pieces.push(b"0\r\n\r\n".to_vec());
        }
        Writing { pieces, ending }
    }
}

fn first(mut parts: Vec<Vec<u8>>, events: usize) -> Vec<Vec<u8>> {
    parts.truncate(events);
    parts
}

fn stream() -> String {
    "text/event-stream; charset=utf-8".to_owned()
}

fn event(name: Option<&str>, data: &str) -> Vec<u8> {
    let name = name.map_or_else(String::new, |name| format!("event: {name}\n"));
    format!("{name}data: {data}\n\n").into_bytes()
}

/// Splits a text into a few fragments, as model servers do.
fn fragments(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let size = chars.len().div_ceil(3).max(1);
    chars
        .chunks(size)
        .map(|chunk| chunk.iter().collect())
        .collect()
}

impl ModelAnswer {
    /// The events of Chat Completions. The fragments of parallel calls alternate.
    fn chat(self, number: usize) -> Vec<Vec<u8>> {
        let delta = |delta: Value, finish: Value| {
            json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [
                { "index": 0, "delta": delta, "finish_reason": finish }
            ] })
        };
        let unfinished = |value: Value| delta(value, Value::Null);
        let mut chunks = vec![unfinished(json!({ "role": "assistant", "content": "" }))];
        if let Some((thought, _)) = &self.thought {
            let thoughts = fragments(thought).into_iter();
            chunks.extend(thoughts.map(|text| unfinished(json!({ "reasoning_content": text }))));
        }
        let texts = fragments(&self.text).into_iter();
        chunks.extend(texts.map(|text| unfinished(json!({ "content": text }))));
        let mut inputs = Vec::new();
        for (index, (name, input)) in self.calls.iter().enumerate() {
            chunks.push(unfinished(json!({ "tool_calls": [{
                "index": index, "id": format!("call_{number}_{index}"), "type": "function",
                "function": { "name": name, "arguments": "" },
            }] })));
            inputs.push(fragments(input).into_iter());
        }
        loop {
            let before = chunks.len();
            for (index, input) in inputs.iter_mut().enumerate() {
                chunks.extend(input.next().map(|fragment| {
                    unfinished(json!({ "tool_calls": [
                        { "index": index, "function": { "arguments": fragment } }
                    ] }))
                }));
            }
            if chunks.len() == before {
                break;
            }
        }
        let default_stop = if self.calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        };
        let stop = self.stop.unwrap_or_else(|| default_stop.to_owned());
        chunks.push(delta(json!({}), stop.into()));
        chunks.push(json!({ "choices": [], "usage": {
            "prompt_tokens": self.input,
            "completion_tokens": self.output,
            "total_tokens": self.input + self.output,
            "prompt_tokens_details": { "cached_tokens": self.cached },
        } }));
        let chunks = chunks.iter().map(|chunk| event(None, &chunk.to_string()));
        chunks.chain([event(None, "[DONE]")]).collect()
    }

    /// The events of the Messages protocol.
    fn messages(self, number: usize) -> Vec<Vec<u8>> {
        let mut events = vec![
            json!({ "type": "message_start", "message": {
                "id": "msg_1", "role": "assistant", "content": [],
                "usage": {
                    "input_tokens": self.input - self.cached, "output_tokens": 1,
                    "cache_read_input_tokens": self.cached, "cache_creation_input_tokens": 0,
                },
            } }),
            json!({ "type": "ping" }),
        ];
        let mut index = 0;
        let mut block = |begins: Value, deltas: Vec<Value>| {
            events.push(
                json!({ "type": "content_block_start", "index": index, "content_block": begins }),
            );
            for delta in deltas {
                events
                    .push(json!({ "type": "content_block_delta", "index": index, "delta": delta }));
            }
            events.push(json!({ "type": "content_block_stop", "index": index }));
            index += 1;
        };
        let deltas = |text: &str, kind: &str, field: &str| -> Vec<Value> {
            let fragments = fragments(text).into_iter();
            fragments
                .map(|text| json!({ "type": kind, field: text }))
                .collect()
        };
        if let Some((thought, signature)) = &self.thought {
            let mut thoughts = deltas(thought, "thinking_delta", "thinking");
            thoughts.push(json!({ "type": "signature_delta", "signature": signature }));
            block(
                json!({ "type": "thinking", "thinking": "", "signature": "" }),
                thoughts,
            );
        }
        if !self.text.is_empty() {
            let texts = deltas(&self.text, "text_delta", "text");
            block(json!({ "type": "text", "text": "" }), texts);
        }
        for (at, (name, input)) in self.calls.iter().enumerate() {
            let id = format!("toolu_{number}_{at}");
            let inputs = deltas(input, "input_json_delta", "partial_json");
            block(
                json!({ "type": "tool_use", "id": id, "name": name, "input": {} }),
                inputs,
            );
        }
        let default_stop = if self.calls.is_empty() {
            "end_turn"
        } else {
            "tool_use"
        };
        let stop = self.stop.unwrap_or_else(|| default_stop.to_owned());
        events.push(
            json!({ "type": "message_delta", "delta": { "stop_reason": stop },
            "usage": { "output_tokens": self.output } }),
        );
        events.push(json!({ "type": "message_stop" }));
        let events = events.iter();
        events
            .map(|data| event(data["type"].as_str(), &data.to_string()))
            .collect()
    }
}
