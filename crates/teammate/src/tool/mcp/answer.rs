//! What an answer of an MCP server becomes for a model: text. Called for every call of its tools.

use rmcp::model::{CallToolResponse, CallToolResult, ContentBlock, ResourceContents};

use super::super::capture::Capture;
use super::super::{Bench, Output, ToolError};

/// The answer within what a model is shown at once; the whole of a longer one is kept in a file, as a program's is.
pub(super) fn output(response: CallToolResponse, bench: &Bench) -> Result<Output, ToolError> {
    let result = match response {
        CallToolResponse::Complete(result) => result,
        CallToolResponse::InputRequired(_) => {
            let text = "the MCP server asks for more input, which it cannot be given here";
            return Err(ToolError::Failed(text.to_owned()));
        }
        CallToolResponse::Task(_) | _ => {
            let text = "the MCP server answered with something that this build does not know";
            return Err(ToolError::Failed(text.to_owned()));
        }
    };
    let failed = result.is_error == Some(true);
    let mut capture = Capture::new(bench);
    capture.push(text(&result).as_bytes());
    capture.end();
    let mut text = capture.take();
    if text.trim().is_empty() {
        text = "(it answered with nothing)".to_owned();
    }
    if failed {
        return Err(ToolError::Failed(text));
    }
    Ok(Output { text, diff: None })
}

fn text(result: &CallToolResult) -> String {
    let mut parts: Vec<String> = result.content.iter().map(block).collect();
    let is_text = |block: &ContentBlock| matches!(block, ContentBlock::Text(_));
    // A server that answers with data says the same as text, or should.
    if let Some(data) = &result.structured_content
        && !result.content.iter().any(is_text)
    {
        parts.push(format!("{data:#}"));
    }
    parts.join("\n")
}

fn block(block: &ContentBlock) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => unshown("image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => unshown("sound", &audio.mime_type, &audio.data),
        ContentBlock::Resource(embedded) => match &embedded.resource {
            ResourceContents::TextResourceContents { uri, text, .. } => format!("{uri}:\n{text}"),
            ResourceContents::BlobResourceContents {
                uri,
                mime_type,
                blob,
                ..
            } => {
                let kind = mime_type.as_deref().unwrap_or("of no known type");
                format!("{uri}: {}", unshown("file", kind, blob))
            }
            _ => "(a resource of a kind that this build does not know)".to_owned(),
        },
        ContentBlock::ResourceLink(link) => format!("{}: {}", link.name, link.uri),
        _ => "(content of a kind that this build does not know)".to_owned(),
    }
}

/// `data` is base64.
fn unshown(what: &str, kind: &str, data: &str) -> String {
    format!("({what}, {kind}, {} bytes: not shown)", data.len() / 4 * 3)
}
