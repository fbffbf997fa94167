//! Parses server-sent events from a byte stream. Called by `http`, and by the worker of an agent with an HTTP server.
//!
//! Does no I/O. The size of an event is limited, because a server may send an event without an end.

/// The largest event, in bytes. The largest legitimate events are complete answers of a few hundred kilobytes.
const EVENT_MAX: usize = 16 << 20;

/// Collects bytes into events.
#[derive(Debug, Default)]
pub struct Reader {
    /// Bytes that do not form a complete line yet.
    rest: Vec<u8>,
    /// The data of the current event.
    data: Option<String>,
    /// Whether any event was read.
    pub any: bool,
}

/// Why the bytes are not events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unreadable {
    TooLong,
    NotText,
}

impl Reader {
    /// Returns the data of every event that these bytes complete, in order. Event names, ids and comments are skipped:
    /// in all APIs, the data contains the type.
    ///
    /// # Errors
    /// If an event is too long, or not text.
    pub fn push(&mut self, bytes: &[u8]) -> Result<Vec<String>, Unreadable> {
        let mut events = Vec::new();
        let mut searched = self.rest.len();
        self.rest.extend_from_slice(bytes);
        let mut from = 0;
        while let Some(at) = self.rest[searched..].iter().position(|byte| *byte == b'\n') {
            let end = searched + at;
            let line = std::str::from_utf8(&self.rest[from..end]);
            let line = line.map_err(|_| Unreadable::NotText)?;
            let line = line.strip_suffix('\r').unwrap_or(line);
            if line.is_empty() {
                events.extend(self.data.take());
            } else if let Some(data) = line.strip_prefix("data:") {
                let data = data.strip_prefix(' ').unwrap_or(data);
                match &mut self.data {
                    Some(before) => {
                        before.push('\n');
                        before.push_str(data);
                    }
                    None => self.data = Some(data.to_owned()),
                }
            }
            from = end + 1;
            searched = from;
        }
        self.rest.drain(..from);
        if self.rest.len() + self.data.as_ref().map_or(0, String::len) > EVENT_MAX {
            return Err(Unreadable::TooLong);
        }
        self.any |= !events.is_empty();
        Ok(events)
    }
}

#[cfg(test)]
mod tests {
    use agent_team_fuzz::{Target, must};
    use agent_team_protocol::spec::Wire;
    use agent_team_providers::Provider;

    use super::super::decode::Decode;
    use super::super::draft::{Author, Draft};
    use super::super::{chat, messages};
    use super::*;
    use crate::model::Prompt;

    const STREAM: &str =
        "event: a\r\ndata: {\"t\":\"Größe 🦀\"}\r\n\r\n: ping\n\ndata:one\ndata: two\n\ndata: cut";

    #[test]
    fn events_do_not_depend_on_chunk_boundaries() {
        for size in 1..STREAM.len() {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for piece in STREAM.as_bytes().chunks(size) {
                events.extend(reader.push(piece).expect("valid events"));
            }
            assert_eq!(events, ["{\"t\":\"Größe 🦀\"}", "one\ntwo"], "{size}");
        }
    }

    #[test]
    fn an_endless_line_is_an_error() {
        let mut reader = Reader::default();
        let piece = [b'a'; 1 << 20];
        let end = (0..32).find_map(|_| reader.push(&piece).err());
        assert_eq!(end, Some(Unreadable::TooLong));
        assert_eq!(
            Reader::default().push(b"data: \xff\n"),
            Err(Unreadable::NotText)
        );
    }

    const TARGET: Target = Target {
        name: "sse",
        property: stream,
        seeds: || {
            let frames = [
                STREAM,
                "data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"tool_use\",\
                 \"id\":\"a\",\"name\":\"bash\",\"input\":{}}}\n\n\
                 data: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"input_json_delta\",\
                 \"partial_json\":\"{}\"}}\n\ndata: {\"type\":\"content_block_stop\",\"index\":0}\n\n\
                 data: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"tool_use\"},\"usage\":{\"output_tokens\":3}}\n\n\
                 data: {\"type\":\"message_stop\"}\n\n",
                "data: {\"choices\":[{\"delta\":{\"content\":\"hi\",\"tool_calls\":[{\"index\":0,\"id\":\"a\",\
                 \"function\":{\"name\":\"bash\",\"arguments\":\"{}\"}}]},\"finish_reason\":\"stop\"}]}\n\n\
                 data: {\"choices\":[],\"usage\":{\"prompt_tokens\":1,\"completion_tokens\":2}}\n\ndata: [DONE]\n\n",
            ];
            frames
                .map(|frame| agent_team_fuzz::input(frame.as_bytes()))
                .to_vec()
        },
        tokens: &[
            "\n",
            "\r\n",
            "\n\n",
            "data:",
            "data: ",
            ":",
            "event: ",
            "\u{ff}",
            "\u{c3}\u{9f}",
            "\0",
            "{",
            "}",
            "[",
            "]",
            "\"",
            "null",
            "-1",
            "1e99",
            "18446744073709551616",
            "\"index\":7",
            "\"type\":\"ping\"",
        ],
        regressions: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions"),
    };

    #[test]
    fn fuzz_sse() {
        TARGET.repeat_regressions();
        TARGET.check_seeds();
        TARGET.fuzz();
    }

    /// Checks that events do not depend on chunk boundaries, and that no event makes a decoder panic.
    fn stream(text: &str) -> Result<(), String> {
        let bytes = agent_team_fuzz::bytes(text);
        let read = |size: usize| -> Result<Vec<String>, Unreadable> {
            let mut reader = Reader::default();
            let mut events = Vec::new();
            for piece in bytes.chunks(size) {
                events.extend(reader.push(piece)?);
            }
            Ok(events)
        };
        let whole = read(bytes.len().max(1));
        for size in [1, 7] {
            must(read(size) == whole, "events depend on chunk boundaries")?;
        }
        let prompt = Prompt {
            system: "",
            items: &[],
            tools: &[],
            search: false,
            effort: None,
        };
        let author = || Author {
            by: "test",
            wire: Wire::ChatCompletions,
            default_wire: Wire::ChatCompletions,
        };
        let draft = || Draft::new(&prompt, author());
        let quirks = &Provider::named("openai").expect("a provider").quirks;
        let decoders: [Box<dyn Decode>; 2] = [
            Box::new(chat::AnswerDecoder::new(draft(), quirks)),
            Box::new(messages::AnswerDecoder::new(draft())),
        ];
        for mut decoder in decoders {
            for event in whole.iter().flatten() {
                if decoder.event(event, &mut |_| {}).is_err() {
                    break;
                }
            }
            let _answer = decoder.finish(true);
        }
        Ok(())
    }
}
