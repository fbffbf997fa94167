//! Converts the result of an MCP tool call to text for the model.

use rmcp::model::{
    CallToolResponse, CallToolResult, ContentBlock, GetPromptResult, ReadResourceResult,
    ResourceContents,
};

use super::calling::Called;
use crate::capture::Capture;
use crate::context::ToolContext;
use crate::tool::ToolError;

/// Converts a result, limited to the size for a model; a longer result is stored in a file, like a program's output.
///
/// # Errors
/// If the server returned an error, requests more input, or returned a result of an unknown kind.
pub(super) fn output(called: Called, context: &ToolContext) -> Result<String, ToolError> {
    let result = match called.response {
        CallToolResponse::Complete(result) => result,
        CallToolResponse::InputRequired(_) => {
            let text = "the MCP server requests more input, which is not supported";
            return Err(ToolError::Failed(text.to_owned()));
        }
        CallToolResponse::Task(_) | _ => {
            let text = "the MCP server returned a result that this version does not support";
            return Err(ToolError::Failed(text.to_owned()));
        }
    };
    let failed = result.is_error == Some(true);
    let mut text = limited(&text(&result), context);
    for note in called.notes {
        text = format!("{}\n({note})", text.trim_end());
    }
    if failed {
        return Err(ToolError::Failed(text));
    }
    Ok(text)
}

/// Converts the contents of a resource, limited like a result.
pub(super) fn resource(read: &ReadResourceResult, context: &ToolContext) -> String {
    let contents: Vec<_> = read.contents.iter().map(contents).collect();
    limited(&contents.join("\n"), context)
}

/// The text of a prompt's messages.
pub(super) fn prompt(prompt: &GetPromptResult) -> String {
    let texts = prompt.messages.iter();
    let texts: Vec<_> = texts.map(|message| block(&message.content)).collect();
    texts.join("\n\n")
}

fn limited(text: &str, context: &ToolContext) -> String {
    let mut capture = Capture::new(context);
    capture.push(text.as_bytes());
    capture.end();
    let text = capture.take();
    match text.trim().is_empty() {
        true => "(empty result)".to_owned(),
        false => text,
    }
}

fn text(result: &CallToolResult) -> String {
    let mut parts: Vec<String> = result.content.iter().map(block).collect();
    let is_text = |block: &ContentBlock| matches!(block, ContentBlock::Text(_));
    // Structured content repeats the text content, so use it only if there is no text.
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
        ContentBlock::Image(image) => placeholder("image", &image.mime_type, &image.data),
        ContentBlock::Audio(audio) => placeholder("sound", &audio.mime_type, &audio.data),
        ContentBlock::Resource(embedded) => contents(&embedded.resource),
        ContentBlock::ResourceLink(link) => format!("{}: {}", link.name, link.uri),
        _ => "(content of an unsupported kind)".to_owned(),
    }
}

fn contents(contents: &ResourceContents) -> String {
    match contents {
        ResourceContents::TextResourceContents { uri, text, .. } => format!("{uri}:\n{text}"),
        ResourceContents::BlobResourceContents {
            uri,
            mime_type,
            blob,
            ..
        } => {
            let kind = mime_type.as_deref().unwrap_or("of unknown type");
            format!("{uri}: {}", placeholder("file", kind, blob))
        }
        _ => "(a resource of an unsupported kind)".to_owned(),
    }
}

/// Describes content that is not shown. `data` is base64.
fn placeholder(noun: &str, kind: &str, data: &str) -> String {
    format!("({noun}, {kind}, {} bytes: not shown)", data.len() / 4 * 3)
}
