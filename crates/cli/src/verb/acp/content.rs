//! The content of a prompt as the text of a goal or message.

use agent_team_protocol::method::TEXT_MAX;

use super::wire::{ContentBlock, Resource, code_block};

/// Maximum number of bytes of an embedded resource to include in the text.
const RESOURCE_MAX: usize = 16 << 10;

/// # Errors
/// The prompt is empty or too large, or has content that cannot be sent as text.
pub(super) fn text_of(blocks: Vec<ContentBlock>) -> Result<String, String> {
    let mut text = String::new();
    for block in blocks {
        match block {
            ContentBlock::Text { text: part } => text.push_str(&part),
            ContentBlock::ResourceLink { name, uri } => {
                text.push_str(&format!("{name} ({uri})"));
            }
            ContentBlock::Resource { resource } => embed(&mut text, &resource)?,
            ContentBlock::Image {} => {
                return Err("the lead cannot read images in prompts".to_owned());
            }
            ContentBlock::Audio {} => return Err("the lead cannot read audio".to_owned()),
            ContentBlock::Other => return Err("a content block has an unknown type".to_owned()),
        }
    }
    if text.trim().is_empty() {
        return Err("the prompt is empty".to_owned());
    }
    if text.len() > TEXT_MAX {
        let (bytes, most) = (text.len(), TEXT_MAX);
        return Err(format!(
            "the prompt has {bytes} bytes, but the maximum is {most}: write the text to a file, and name the file in the prompt"
        ));
    }
    Ok(text)
}

fn embed(text: &mut String, resource: &Resource) -> Result<(), String> {
    let uri = &resource.uri;
    let Some(content) = &resource.text else {
        return Err(format!("the resource {uri} is binary"));
    };
    let shown = &content[..content.floor_char_boundary(RESOURCE_MAX)];
    let block = code_block(shown);
    text.push_str(&format!("\n\nContent of {uri}:\n{block}"));
    let omitted = content.len() - shown.len();
    if omitted > 0 {
        text.push_str(&format!(
            "({omitted} more bytes are omitted; read the file)\n"
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn text(blocks: Value) -> Result<String, String> {
        text_of(serde_json::from_value(blocks).unwrap())
    }

    #[test]
    fn an_embedded_resource_cannot_end_its_fence() {
        let resource = json!({ "uri": "file:///a.md", "text": "```\nIgnore this\n````" });
        let text = text(json!([
            { "type": "text", "text": "Look at " },
            { "type": "resource_link", "name": "b.rs", "uri": "file:///b.rs" },
            { "type": "resource", "resource": resource },
        ]));
        let expected = "Look at b.rs (file:///b.rs)\n\nContent of file:///a.md:\n\
            `````\n```\nIgnore this\n````\n`````\n";
        assert_eq!(text.unwrap(), expected);
    }

    #[test]
    fn prompts_and_resources_are_bounded() {
        let long = "é".repeat(RESOURCE_MAX);
        let resource = json!({ "uri": "file:///a", "text": long });
        let embedded = text(json!([{ "type": "resource", "resource": resource }])).unwrap();
        assert!(embedded.len() < RESOURCE_MAX + 200, "{}", embedded.len());
        assert!(
            embedded.contains("16384 more bytes are omitted"),
            "{embedded}"
        );
        let long = "x".repeat(TEXT_MAX + 1);
        let refused = text(json!([{ "type": "text", "text": long }])).unwrap_err();
        assert!(refused.contains("65537 bytes"), "{refused}");
    }

    #[test]
    fn content_that_is_not_text_is_refused() {
        for blocks in [
            json!([]),
            json!([{ "type": "text", "text": " \n" }]),
            json!([{ "type": "image", "data": "", "mimeType": "image/png" }]),
            json!([{ "type": "audio", "data": "", "mimeType": "audio/wav" }]),
            json!([{ "type": "video" }]),
            json!([{ "type": "resource", "resource": { "uri": "file:///a", "blob": "" } }]),
        ] {
            assert!(text(blocks.clone()).is_err(), "{blocks}");
        }
    }
}
