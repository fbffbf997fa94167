//! Converts results of MCP tool calls, resources and prompts to text. Shows the images of a result or a resource to a model
//! that accepts images.

use agent_team_llm::{Media, MediaKind};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use rmcp::model::{
    CallToolResult, ContentBlock, GetPromptResult, ReadResourceResult, ResourceContents,
};

use super::calling::Called;
use crate::capture::Capture;
use crate::context::ToolContext;
use crate::media::Sink;
use crate::tool::{Output, ToolError};

/// The largest number of images of one result that the model sees.
const IMAGES_MAX: usize = 8;

/// The text of a result without text.
const EMPTY: &str = "(empty result)";

/// Converts a result. A text that is too long for a model loses its middle, and is stored in a file, like a program's
/// output.
///
/// # Errors
/// If the server returned an error.
pub(super) fn output(called: &Called, context: &ToolContext) -> Result<Output, ToolError> {
    let result = &called.result;
    let failed = result.is_error == Some(true);
    // A failed result shows no images, so they are not stored.
    let sink = (!failed).then(|| Sink::of(context));
    let mut images = Images::new(sink);
    let text = text(result, &mut images);
    let text = limited(&with_notes(text, &called.notes), context);
    if failed {
        return Err(ToolError::Failed(text));
    }
    Ok(Output {
        media: images.media,
        ..Output::from(text)
    })
}

/// Converts the contents of a resource, with the same limits as a result.
pub(super) fn resource(read: &ReadResourceResult, context: &ToolContext) -> Output {
    let mut images = Images::new(Some(Sink::of(context)));
    let all = read.contents.iter();
    let all: Vec<_> = all.map(|it| contents(it, &mut images)).collect();
    Output {
        media: images.media,
        ..Output::from(limited(&all.join("\n"), context))
    }
}

/// The text of a prompt's messages.
pub(super) fn prompt(prompt: &GetPromptResult) -> String {
    let mut none = Images::new(None);
    let texts = prompt.messages.iter();
    let texts: Vec<_> = texts
        .map(|message| block(&message.content, &mut none))
        .collect();
    texts.join("\n\n")
}

/// Appends the notes about forms to the text.
fn with_notes(mut text: String, notes: &[String]) -> String {
    if notes.is_empty() {
        return text;
    }
    text.truncate(text.trim_end().len());
    if text.is_empty() {
        text.push_str(EMPTY);
    }
    for note in notes {
        text.push_str("\n(");
        text.push_str(note);
        text.push(')');
    }
    text
}

fn limited(text: &str, context: &ToolContext) -> String {
    let mut capture = Capture::new(context);
    capture.push(text.as_bytes());
    capture.end();
    let text = capture.take();
    match text.trim().is_empty() {
        true => EMPTY.to_owned(),
        false => text,
    }
}

/// The text of a result. Its images are added to `images`.
fn text(result: &CallToolResult, images: &mut Images) -> String {
    let all = result.content.iter();
    let mut parts: Vec<String> = all.map(|content| block(content, images)).collect();
    let is_text = |block: &ContentBlock| matches!(block, ContentBlock::Text(_));
    // Structured content repeats the text content, so use it only if there is no text.
    if let Some(data) = &result.structured_content
        && !result.content.iter().any(is_text)
    {
        parts.push(format!("{data:#}"));
    }
    parts.join("\n")
}

/// The images of one result that the model sees.
struct Images {
    /// `None`: the model sees no images.
    sink: Option<Sink>,
    media: Vec<Media>,
}

impl Images {
    fn new(sink: Option<Sink>) -> Self {
        Self {
            sink,
            media: Vec::new(),
        }
    }

    /// Shows an image to the model. Returns `None` if the data is not an image or is too large, if there are too many
    /// images, or if the model accepts no images.
    fn show(&mut self, data: &str) -> Option<String> {
        let sink = self.sink.as_ref()?;
        if self.media.len() >= IMAGES_MAX {
            return None;
        }
        let bytes = STANDARD.decode(data).ok()?;
        let kind = MediaKind::of(&bytes).filter(|kind| kind.is_image())?;
        let name = format!("image {}", self.media.len() + 1);
        let output = sink.shown(kind, &name, &bytes).ok()?;
        self.media.extend(output.media);
        Some(output.text)
    }
}

fn block(block: &ContentBlock, images: &mut Images) -> String {
    match block {
        ContentBlock::Text(text) => text.text.clone(),
        ContentBlock::Image(image) => images
            .show(&image.data)
            .unwrap_or_else(|| placeholder("image", &image.mime_type, &image.data)),
        ContentBlock::Audio(audio) => placeholder("sound", &audio.mime_type, &audio.data),
        ContentBlock::Resource(embedded) => contents(&embedded.resource, images),
        ContentBlock::ResourceLink(link) => format!("{}: {}", link.name, link.uri),
        _ => "(content of an unsupported kind)".to_owned(),
    }
}

fn contents(contents: &ResourceContents, images: &mut Images) -> String {
    match contents {
        ResourceContents::TextResourceContents { uri, text, .. } => format!("{uri}:\n{text}"),
        ResourceContents::BlobResourceContents {
            uri,
            mime_type,
            blob,
            ..
        } => {
            let kind = mime_type.as_deref().unwrap_or("of unknown type");
            let shown = images.show(blob);
            let shown = shown.unwrap_or_else(|| placeholder("file", kind, blob));
            format!("{uri}: {shown}")
        }
        _ => "(a resource of an unsupported kind)".to_owned(),
    }
}

/// Describes content that is not shown. `data` is base64.
fn placeholder(noun: &str, kind: &str, data: &str) -> String {
    format!("({noun}, {kind}, {} bytes: not shown)", data.len() / 4 * 3)
}

#[cfg(test)]
mod tests {
    use agent_team_llm::MediaSupport;
    use serde_json::json;

    use super::*;

    fn sink(images: Option<bool>, directory: &std::path::Path) -> Sink {
        let support = MediaSupport {
            images,
            documents: None,
        };
        Sink::new("openai/m", support, directory)
    }

    #[test]
    fn notes_follow_the_text_of_a_result() {
        let notes = ["a".to_owned(), "b".to_owned()];
        assert_eq!(with_notes("text\n".to_owned(), &[]), "text\n");
        assert_eq!(with_notes("text\n".to_owned(), &notes), "text\n(a)\n(b)");
        let empty = with_notes(" \n".to_owned(), &notes);
        assert_eq!(empty, "(empty result)\n(a)\n(b)");
    }

    #[test]
    fn images_are_shown_to_a_model_that_accepts_them() {
        let directory = tempfile::tempdir().unwrap();
        let data = STANDARD.encode(b"\x89PNG\r\n\x1a\n image");
        let image = |data: &str| json!({ "type": "image", "mimeType": "image/png", "data": data });
        let blob = json!({"uri": "file:///a.png", "mimeType": "image/png", "blob": data});
        let embedded = json!({"type": "resource", "resource": blob});
        let content = [
            image(&data),
            image("bm90IGFuIGltYWdl"),
            image("%%%"),
            embedded,
        ];
        let result = json!({ "content": content });
        let result: CallToolResult = serde_json::from_value(result).unwrap();
        let shown = |images| {
            let mut images = Images::new(Some(sink(images, directory.path())));
            let text = text(&result, &mut images);
            let lines: Vec<_> = text.lines().map(str::to_owned).collect();
            (lines, images.media)
        };
        let (lines, media) = shown(Some(true));
        assert_eq!(media.len(), 2);
        assert_eq!(lines[0], "image 1: image/png, 14 bytes");
        assert_eq!(lines[3], "file:///a.png: image 2: image/png, 14 bytes");
        assert!(
            lines[1].contains("not shown") && lines[2].contains("not shown"),
            "{lines:?}"
        );
        let stored = || std::fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(stored(), 1);
        let (lines, media) = shown(None);
        assert!(media.is_empty());
        assert!(
            lines.iter().all(|line| line.contains("not shown")),
            "{lines:?}"
        );
    }
}
