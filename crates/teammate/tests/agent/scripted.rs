//! A model and tools that a test controls.

use agent_team_llm::{
    Answer, Answering, Delta, Item, MediaSupport, Model, ModelError, Prompt, Stop, ToolCall,
    ToolSpec, Usage,
};
use agent_team_protocol::value::Effort;
use agent_team_tools::{Output, Tool, ToolContext, ToolError, ToolFuture};
use serde_json::Value;
use tokio::sync::{mpsc, oneshot};

/// A request to the model that is not answered yet.
#[derive(Debug)]
pub(crate) struct ModelRequest {
    pub(crate) items: Vec<Item>,
    pub(crate) tools: Vec<String>,
    pub(crate) effort: Option<Effort>,
    answer: oneshot::Sender<ModelReply>,
}

#[derive(Debug)]
enum ModelReply {
    Answer(Answer),
    Error(ModelError),
}

impl ModelRequest {
    /// All inputs of the model, in order, as one text.
    pub(crate) fn input(&self) -> String {
        let texts = self.items.iter().filter_map(|item| match item {
            Item::Input { text } => Some(text.as_str()),
            Item::Shown { .. } | Item::Answered(_) | Item::Returned { .. } => None,
        });
        texts.collect::<Vec<_>>().join("\n")
    }

    /// The texts of the results in the last item.
    pub(crate) fn results(&self) -> Vec<String> {
        match self.items.last() {
            Some(Item::Returned { results }) => {
                results.iter().map(|result| result.text.clone()).collect()
            }
            other => panic!("the last item is {other:?}"),
        }
    }

    pub(crate) fn answer_text(self, text: &str) {
        self.answer(text_answer(text));
    }

    pub(crate) fn call(self, calls: &[(&str, &str)]) {
        self.answer(calls_for(calls));
    }

    pub(crate) fn answer(self, answer: Answer) {
        // In some tests, the agent has dropped the request.
        let _dropped = self.answer.send(ModelReply::Answer(answer));
    }

    pub(crate) fn fail(self, error: ModelError) {
        self.answer.send(ModelReply::Error(error)).unwrap();
    }

    /// Waits until the agent has dropped this request.
    pub(crate) async fn dropped(mut self) {
        crate::rig::within("the answer to be dropped", self.answer.closed()).await;
    }
}

pub(crate) fn text_answer(text: &str) -> Answer {
    Answer {
        text: text.into(),
        usage: Usage {
            input: 10,
            output: 5,
            ..Usage::default()
        },
        ..Answer::default()
    }
}

/// Calls with ids `c0`, `c1`, …
pub(crate) fn calls_for(calls: &[(&str, &str)]) -> Answer {
    let call = |(index, (name, input)): (usize, &(&str, &str))| ToolCall {
        id: format!("c{index}"),
        name: (*name).into(),
        input: (*input).into(),
    };
    Answer {
        calls: calls.iter().enumerate().map(call).collect(),
        stop: Stop::Calls,
        ..Answer::default()
    }
}

#[derive(Debug)]
pub(crate) struct ScriptedModel {
    pub(crate) asked: mpsc::UnboundedSender<ModelRequest>,
    pub(crate) window: u64,
}

impl Model for ScriptedModel {
    fn name(&self) -> &str {
        "test/scripted"
    }

    fn window(&self) -> u64 {
        self.window
    }

    fn media_support(&self) -> MediaSupport {
        MediaSupport {
            images: Some(true),
            documents: None,
        }
    }

    fn answer<'a>(
        &'a self,
        prompt: Prompt<'a>,
        on_delta: &'a mut (dyn FnMut(Delta) + Send),
    ) -> Answering<'a> {
        let (answer, answered) = oneshot::channel();
        let request = ModelRequest {
            items: prompt.items.to_vec(),
            tools: prompt.tools.iter().map(|tool| tool.name.clone()).collect(),
            effort: prompt.effort,
            answer,
        };
        Box::pin(async move {
            self.asked.send(request).expect("the test is running");
            match answered.await.expect("the test answers") {
                ModelReply::Answer(answer) => {
                    on_delta(Delta::Text(answer.text.clone()));
                    Ok(answer)
                }
                ModelReply::Error(error) => Err(error),
            }
        })
    }
}

/// A call in progress.
#[derive(Debug)]
pub(crate) struct PendingCall {
    pub(crate) tool: &'static str,
    pub(crate) input: Value,
    answer: oneshot::Sender<Result<Output, ToolError>>,
}

impl PendingCall {
    pub(crate) fn returns(self, text: &str) {
        self.returns_output(Output {
            text: text.into(),
            ..Output::default()
        });
    }

    pub(crate) fn returns_output(self, output: Output) {
        self.answer.send(Ok(output)).unwrap();
    }

    /// Makes the tool panic.
    pub(crate) fn breaks(self) {
        drop(self.answer);
    }

    /// Waits until the agent has dropped this call.
    pub(crate) async fn ended(mut self) {
        crate::rig::within("the call to be dropped", self.answer.closed()).await;
    }
}

#[derive(Debug)]
pub(crate) struct ScriptedTool {
    spec: ToolSpec,
    name: &'static str,
    reads_only: bool,
    called: mpsc::UnboundedSender<PendingCall>,
}

impl ScriptedTool {
    /// `look` only reads; `change` and `apply_patch` do not.
    pub(crate) fn all(called: &mpsc::UnboundedSender<PendingCall>) -> Vec<Box<dyn Tool>> {
        let tool = |name: &'static str, reads_only| -> Box<dyn Tool> {
            Box::new(Self {
                spec: ToolSpec {
                    name: name.into(),
                    description: String::new(),
                    input: serde_json::json!({"type": "object"}),
                },
                name,
                reads_only,
                called: called.clone(),
            })
        };
        vec![
            tool("look", true),
            tool("change", false),
            tool("apply_patch", false),
        ]
    }
}

impl Tool for ScriptedTool {
    fn spec(&self) -> &ToolSpec {
        &self.spec
    }

    fn reads_only(&self) -> bool {
        self.reads_only
    }

    fn run<'a>(
        &'a self,
        input: Value,
        _context: &'a ToolContext,
        shown: &'a (dyn Fn(&str) + Send + Sync),
    ) -> ToolFuture<'a> {
        let (answer, answered) = oneshot::channel();
        let called = PendingCall {
            tool: self.name,
            input,
            answer,
        };
        Box::pin(async move {
            shown("at work\n");
            self.called.send(called).expect("the test is running");
            answered.await.expect("the tool does not panic")
        })
    }
}
