//! What the server says: a reply as a test describes it, and how each of the two wires writes it.

use serde_json::{Value, json};

/// Bytes of a piece, unless a test says otherwise: small enough to cut every event, and characters too.
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
    /// What a model says, streamed.
    Answer(Said),
    /// The data of each event, as it is.
    Events(Vec<String>),
    /// No stream.
    Whole { kind: String, body: Vec<u8> },
    /// Not even a status.
    Nothing,
}

#[derive(Debug, Clone, Default)]
struct Said {
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
    /// The connection closes after that many events.
    Cut(usize),
    /// Nothing follows that many events, for ever.
    Hang(usize),
    /// An error follows that many events.
    Error(usize, Value),
}

/// The bytes of a reply, as they are written.
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

    /// An answer of text.
    pub fn text(text: &str) -> Self {
        let said = Said {
            text: text.to_owned(),
            input: 100,
            output: 10,
            ..Said::default()
        };
        Self::new(200, Content::Answer(said))
    }

    /// An answer that calls a tool.
    pub fn call(name: &str, input: Value) -> Self {
        Self::text("").and_call(name, input)
    }

    /// One more call, beside what is there.
    pub fn and_call(self, name: &str, input: Value) -> Self {
        self.and_raw_call(name, &input.to_string())
    }

    /// One more call, whose arguments may be no JSON.
    pub fn and_raw_call(mut self, name: &str, input: &str) -> Self {
        let call = (name.to_owned(), input.to_owned());
        self.said().calls.push(call);
        self
    }

    /// A thought before the answer, with what proves it on the Messages wire.
    pub fn thinking(mut self, thought: &str, signature: &str) -> Self {
        self.said().thought = Some((thought.to_owned(), signature.to_owned()));
        self
    }

    /// Why it ends, in the wire's own word.
    pub fn stop(mut self, reason: &str) -> Self {
        self.said().stop = Some(reason.to_owned());
        self
    }

    /// Tokens that were read, written, and of those read how many from the cache.
    pub fn tokens(mut self, input: u64, output: u64, cached: u64) -> Self {
        let said = self.said();
        (said.input, said.output, said.cached) = (input, output, cached);
        self
    }

    /// A refusal, in the shape that both wires have.
    pub fn error(status: u16, message: &str) -> Self {
        let body = json!({ "type": "error", "error": { "type": "error", "message": message } });
        Self::json(status, &body)
    }

    /// A document.
    pub fn json(status: u16, body: &Value) -> Self {
        Self::whole(status, "application/json", &body.to_string())
    }

    /// A page for people.
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

    /// A stream of these events' data, whatever they are.
    pub fn events(data: &[&str]) -> Self {
        let data = data.iter().map(|data| (*data).to_owned());
        Self::new(200, Content::Events(data.collect()))
    }

    /// The request is taken and never answered.
    pub fn hang() -> Self {
        Self::new(200, Content::Nothing).hang_after(0)
    }

    /// One more header.
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The connection closes after that many events.
    pub fn cut_after(mut self, events: usize) -> Self {
        self.fault = Some(Fault::Cut(events));
        self
    }

    /// Nothing follows that many events.
    pub fn hang_after(mut self, events: usize) -> Self {
        self.fault = Some(Fault::Hang(events));
        self
    }

    /// This error takes the place of what follows that many events.
    pub fn error_after(mut self, events: usize, error: Value) -> Self {
        self.fault = Some(Fault::Error(events, error));
        self
    }

    /// Pieces of that many bytes.
    pub fn in_pieces_of(mut self, bytes: usize) -> Self {
        self.piece = bytes;
        self
    }

    fn said(&mut self) -> &mut Said {
        match &mut self.content {
            Content::Answer(said) => said,
            Content::Events(_) | Content::Whole { .. } | Content::Nothing => {
                panic!("only an answer has that")
            }
        }
    }

    /// `number` makes the ids of its calls unlike those of other replies.
    pub(super) fn write(self, number: usize, messages_wire: bool) -> Writing {
        let (kind, parts) = match self.content {
            Content::Nothing => {
                return Writing {
                    pieces: Vec::new(),
                    ending: Ending::Hangs,
                };
            }
            Content::Whole { kind, body } => (kind, vec![body]),
            Content::Answer(said) if messages_wire => (stream(), said.messages(number)),
            Content::Answer(said) => (stream(), said.chat(number)),
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

/// A text in a few fragments, as models give them.
fn fragments(text: &str) -> Vec<String> {
    let chars: Vec<char> = text.chars().collect();
    let size = chars.len().div_ceil(3).max(1);
    chars
        .chunks(size)
        .map(|chunk| chunk.iter().collect())
        .collect()
}

impl Said {
    /// The events of Chat Completions; the fragments of parallel calls come in turns.
    fn chat(self, number: usize) -> Vec<Vec<u8>> {
        let delta = |delta: Value, finish: Value| {
            json!({ "id": "chatcmpl-1", "object": "chat.completion.chunk", "choices": [
                { "index": 0, "delta": delta, "finish_reason": finish }
            ] })
        };
        let going = |value: Value| delta(value, Value::Null);
        let mut chunks = vec![going(json!({ "role": "assistant", "content": "" }))];
        if let Some((thought, _)) = &self.thought {
            let thoughts = fragments(thought).into_iter();
            chunks.extend(thoughts.map(|text| going(json!({ "reasoning_content": text }))));
        }
        let texts = fragments(&self.text).into_iter();
        chunks.extend(texts.map(|text| going(json!({ "content": text }))));
        let mut inputs = Vec::new();
        for (index, (name, input)) in self.calls.iter().enumerate() {
            chunks.push(going(json!({ "tool_calls": [{
                "index": index, "id": format!("call_{number}_{index}"), "type": "function",
                "function": { "name": name, "arguments": "" },
            }] })));
            inputs.push(fragments(input).into_iter());
        }
        loop {
            let before = chunks.len();
            for (index, input) in inputs.iter_mut().enumerate() {
                chunks.extend(input.next().map(|fragment| {
                    going(json!({ "tool_calls": [
                        { "index": index, "function": { "arguments": fragment } }
                    ] }))
                }));
            }
            if chunks.len() == before {
                break;
            }
        }
        let usual = if self.calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        };
        let stop = self.stop.unwrap_or_else(|| usual.to_owned());
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

    /// The events of Messages.
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
        let usual = if self.calls.is_empty() {
            "end_turn"
        } else {
            "tool_use"
        };
        let stop = self.stop.unwrap_or_else(|| usual.to_owned());
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
