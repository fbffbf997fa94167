//! The rules of the providers' APIs for images and PDFs, for scripts of the fake model server.
//!
//! Written from the providers' documentation of 2025 and 2026, not from a recording of a service:
//! - Messages: blocks `image` and `document` in a result or a message, with a source in base64; at most 5 MiB of base64
//!   for an image; a failed result contains only text.
//! - Chat Completions: parts `image_url` and `file` with `data:` URLs in messages of the user; a message with the role
//!   `tool` contains only text.
//! - Responses: an output is a text, or consists of parts `input_text`, `input_image` and `input_file`, like a message.

use serde_json::Value;

use crate::fake_model_server::Request;

const IMAGES: [&str; 4] = ["image/png", "image/jpeg", "image/gif", "image/webp"];
const PDF: &str = "application/pdf";
const IMAGE_MAX: usize = 5 << 20;

/// The type and the base64 of each image and PDF of the request, in order.
///
/// # Errors
/// If the request breaks a rule. The text is the message of the error response.
pub fn media(request: &Request) -> Result<Vec<(String, String)>, String> {
    let body = &request.body;
    let mut found = Vec::new();
    for item in list(&body["input"]) {
        for part in list(&item["output"]).iter().chain(list(&item["content"])) {
            let url = match part["type"].as_str() {
                Some("input_text" | "output_text") => continue,
                Some("input_image") => &part["image_url"],
                Some("input_file") if part["filename"].is_string() => &part["file_data"],
                _ => return Err(format!("Invalid value in output: {part}")),
            };
            found.push(data_of(url, part["type"] == "input_image")?);
        }
    }
    for message in list(&body["messages"]) {
        for part in list(&message["content"]) {
            let role = message["role"].as_str().unwrap_or("");
            match part["type"].as_str().unwrap_or("") {
                "image_url" if role == "user" => {
                    found.push(data_of(&part["image_url"]["url"], true)?);
                }
                "file" if role == "user" && part["file"]["filename"].is_string() => {
                    found.push(data_of(&part["file"]["file_data"], false)?);
                }
                "image_url" | "file" => return Err(format!("Invalid part for role {role}")),
                "image" | "document" => found.extend(block_of(part, false)?),
                "tool_result" => {
                    for block in list(&part["content"]) {
                        found.extend(block_of(block, part["is_error"] == true)?);
                    }
                }
                _ => {}
            }
        }
    }
    Ok(found)
}

/// The type and the base64 of a block of a message or a result in the Messages API; `None` for text. `is_error`: the
/// block belongs to a failed result.
fn block_of(block: &Value, is_error: bool) -> Result<Option<(String, String)>, String> {
    let source = &block["source"];
    let text = |field: &str| source[field].as_str().unwrap_or("").to_owned();
    let (mime, data) = (text("media_type"), text("data"));
    match block["type"].as_str() {
        Some("text") => return Ok(None),
        Some(_) if is_error => {
            return Err("tool_result: all content must be type text if is_error is true".into());
        }
        Some("image") if IMAGES.contains(&mime.as_str()) && data.len() <= IMAGE_MAX => {}
        Some("document") if mime == PDF => {}
        _ => return Err(format!("Input tag is not permitted: {}", block["type"])),
    }
    if text("type") != "base64" || data.is_empty() {
        return Err("source: base64 data is required".into());
    }
    Ok(Some((mime, data)))
}

/// The type and the base64 of a `data:` URL.
fn data_of(url: &Value, is_image: bool) -> Result<(String, String), String> {
    let text = url.as_str().and_then(|url| url.strip_prefix("data:"));
    let parts = text.and_then(|text| text.split_once(";base64,"));
    let known = |mime: &str| match is_image {
        true => IMAGES.contains(&mime),
        false => mime == PDF,
    };
    match parts {
        Some((mime, data)) if known(mime) && !data.is_empty() => Ok((mime.into(), data.into())),
        _ => Err("Invalid data URL".into()),
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}
