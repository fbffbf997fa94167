//! Live output of members: text, tool calls and their results as they arrive. Called by `envelopes`.

use agent_team_protocol::MemberName;
use agent_team_protocol::envelope::{AgUi, Envelope, Speaker};
use agent_team_protocol::notification::OutputFragment;

use super::{Envelopes, Origin};

impl Envelopes {
    pub(super) fn add_fragment(
        &mut self,
        name: &MemberName,
        fragment: &OutputFragment,
        origin: Origin,
        envelopes: &mut Vec<Envelope>,
    ) {
        // The models' ids are unique within one transcript only, so the member's name is added.
        let id = |own_id: &str| format!("{name}/{own_id}");
        let timestamp = origin.timestamp;
        match fragment {
            OutputFragment::Text { message, delta } => {
                let message_id = id(message);
                let Some(progress) = self.members.get_mut(name) else {
                    return;
                };
                if progress.text.as_ref() != Some(&message_id) {
                    let before = progress.text.replace(message_id.clone());
                    envelopes.extend(before.map(|before| self.text_end(name, before, origin)));
                    let start = AgUi::TextMessageStart {
                        message_id: message_id.clone(),
                        role: Speaker::Assistant,
                        timestamp,
                    };
                    envelopes.push(self.wrap(Some(name), start, origin));
                }
                if !delta.is_empty() {
                    let content = AgUi::TextMessageContent {
                        message_id,
                        delta: delta.clone(),
                        timestamp,
                    };
                    envelopes.push(self.wrap(Some(name), content, origin));
                }
            }
            OutputFragment::TextEnded { message } => {
                let message_id = id(message);
                let progress = self.members.get_mut(name);
                let ended =
                    progress.and_then(|progress| progress.text.take_if(|text| *text == message_id));
                envelopes.extend(ended.map(|ended| self.text_end(name, ended, origin)));
            }
            OutputFragment::Call {
                call,
                tool,
                message,
            } => {
                let Some(progress) = self.members.get_mut(name) else {
                    return;
                };
                if progress.calls.insert(id(call)) {
                    let start = AgUi::ToolCallStart {
                        tool_call_id: id(call),
                        tool_call_name: tool.clone(),
                        parent_message_id: message.as_deref().map(id),
                        timestamp,
                    };
                    envelopes.push(self.wrap(Some(name), start, origin));
                }
            }
            OutputFragment::Input { call, delta } => {
                let tool_call_id = id(call);
                let progress = self.members.get(name);
                if progress.is_some_and(|progress| progress.calls.contains(&tool_call_id)) {
                    let arguments = AgUi::ToolCallArgs {
                        tool_call_id,
                        delta: delta.clone(),
                        timestamp,
                    };
                    envelopes.push(self.wrap(Some(name), arguments, origin));
                }
            }
            OutputFragment::CallEnded { call } => {
                envelopes.extend(self.call_end(name, id(call), origin))
            }
            OutputFragment::Returned { call, text, .. } => {
                envelopes.extend(self.call_end(name, id(call), origin));
                let result = AgUi::ToolCallResult {
                    message_id: id(&format!("{call}/result")),
                    tool_call_id: id(call),
                    content: text.clone(),
                    role: Speaker::Tool,
                    timestamp,
                };
                envelopes.push(self.wrap(Some(name), result, origin));
            }
            // The CUSTOM event `output` contains these lines. Thoughts are only for live views.
            OutputFragment::Lines { .. }
            | OutputFragment::Thought { .. }
            | OutputFragment::Unknown => {}
        }
    }

    fn text_end(&self, name: &MemberName, message_id: String, origin: Origin) -> Envelope {
        let timestamp = origin.timestamp;
        let end = AgUi::TextMessageEnd {
            message_id,
            timestamp,
        };
        self.wrap(
            Some(name),
            end,
            // The end of a text is never stored, so the envelope has no revision to resume from.
            Origin {
                revision: None,
                ..origin
            },
        )
    }

    fn call_end(&mut self, name: &MemberName, id: String, origin: Origin) -> Option<Envelope> {
        let progress = self.members.get_mut(name)?;
        let tool_call_id = progress.calls.take(&id)?;
        let timestamp = origin.timestamp;
        let end = AgUi::ToolCallEnd {
            tool_call_id,
            timestamp,
        };
        Some(self.wrap(
            Some(name),
            end,
            Origin {
                revision: None,
                ..origin
            },
        ))
    }

    /// Ends the text and the calls that the member has begun.
    pub(super) fn end_open_output(&mut self, name: &MemberName, origin: Origin) -> Vec<Envelope> {
        let Some(progress) = self.members.get_mut(name) else {
            return Vec::new();
        };
        let (text, calls) = (progress.text.take(), progress.calls.clone());
        let mut envelopes: Vec<_> = text
            .map(|text| self.text_end(name, text, origin))
            .into_iter()
            .collect();
        envelopes.extend(
            calls
                .into_iter()
                .filter_map(|call| self.call_end(name, call, origin)),
        );
        envelopes
    }
}
