//! `read`: part of a text file, with line numbers; or an image or a PDF, for a model that accepts it.

use std::fmt::Write as _;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek};

use agent_team_protocol::text::{INSPECTED, is_text};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::adapter::{Access, Call, tool};
use crate::file::WHOLE_MAX;
use crate::media;
use crate::permission::Permission;
use crate::resolved_path::{Purpose, ResolvedPath, failed};
use crate::seen_files::Version;
use crate::tool::{Output, Tool, ToolError, off_thread};

/// The default number of lines.
const LINES: usize = 2000;

/// The number of bytes of a line that are shown.
const LINE_MAX: usize = 2000;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
struct Arguments {
    /// The file, relative to the working directory or absolute.
    path: String,
    /// The first line to show, counted from 1. Default: 1.
    offset: Option<usize>,
    /// The largest number of lines to show. Default: 2000.
    limit: Option<usize>,
}

pub(super) fn read(permission: Permission) -> Box<dyn Tool> {
    let description = "Show a text file of the project; each line is preceded by its number and a tab. Read a \
                       file before you edit or replace it. For a long file, set `offset` and `limit`. Also shows \
                       images (PNG, JPEG, GIF, WebP) and PDFs.";
    tool("read", description, Access::Reads, permission, run)
}

async fn run(
    permission: &Permission,
    arguments: Arguments,
    call: Call<'_>,
) -> Result<Output, ToolError> {
    if arguments.offset == Some(0) || arguments.limit == Some(0) {
        return Err(ToolError::Input(
            "`offset` and `limit` must be at least 1".to_owned(),
        ));
    }
    let context = call.context;
    let resolved = ResolvedPath::find(context, &arguments.path, Purpose::Reading)?;
    permission
        .ask_to_read(call, &arguments.path, &resolved)
        .await?;
    let room = context.output_max;
    let path = resolved.clone();
    let sink = media::Sink::of(context);
    let (output, version) = off_thread(move || show(&path, &arguments, room, &sink)).await?;
    context.seen.set(resolved.path(), Some(version));
    Ok(output)
}

fn show(
    resolved: &ResolvedPath,
    arguments: &Arguments,
    room: usize,
    sink: &media::Sink,
) -> Result<(Output, Version), ToolError> {
    let name = resolved.display();
    if let Some(shown) = sink.read(resolved)? {
        return Ok(shown);
    }
    let Some((mut file, version)) = resolved.open()? else {
        return Err(ToolError::Failed(format!("{name} does not exist")));
    };
    if version.len > WHOLE_MAX && arguments.limit.is_none() {
        return Err(ToolError::Failed(format!(
            "{name} has {} bytes, which is too large. Find the relevant lines with grep, then read them with `offset` \
             and `limit`",
            version.len
        )));
    }
    let wrong = |error: io::Error| failed(&name, &error);
    let mut beginning = Vec::new();
    (&file)
        .take(INSPECTED as u64)
        .read_to_end(&mut beginning)
        .map_err(wrong)?;
    if !is_text(&beginning) {
        return Err(ToolError::Failed(format!(
            "{name} is binary ({} bytes) and cannot be shown as text. Inspect it with a program that reads its format",
            version.len
        )));
    }
    file.rewind().map_err(wrong)?;
    let text = lines(file, arguments, room).map_err(wrong)?;
    Ok((text.into(), version))
}

/// The requested lines, as far as they fit into `room` bytes, and the offset at which to continue.
fn lines(file: File, arguments: &Arguments, room: usize) -> io::Result<String> {
    let first = arguments.offset.unwrap_or(1);
    let last = first.saturating_add(arguments.limit.unwrap_or(LINES) - 1);
    // Leave room for the notes at the end.
    let room = room.saturating_sub(200);
    let mut reader = BufReader::new(file);
    let mut text = String::new();
    let mut number = 0;
    let mut crlf = false;
    let mut ended = true;
    let mut line = Vec::new();
    while let Some(length) = next_line(&mut reader, &mut line)? {
        number += 1;
        if number < first {
            continue;
        }
        ended = line.last() == Some(&b'\n') || length > line.len() as u64;
        crlf |= line.ends_with(b"\r\n");
        let content = String::from_utf8_lossy(&line);
        let content = content.trim_end_matches(['\n', '\r']);
        let before = text.len();
        let _infallible = write!(text, "{number:>6}\t{content}");
        if length > line.len() as u64 {
            let _infallible = write!(text, " … (line cut: it has {length} bytes)");
        }
        text.push('\n');
        let full = text.len() > room && before > 0;
        if full {
            text.truncate(before);
            number -= 1;
        }
        if full || number == last {
            if full || next_line(&mut reader, &mut line)?.is_some() {
                let next = number + 1;
                let _infallible =
                    writeln!(text, "(there are more lines: continue with offset {next})");
                ended = true;
            }
            break;
        }
    }
    if number == 0 {
        return Ok("(the file is empty)\n".to_owned());
    }
    if text.is_empty() {
        return Ok(format!(
            "(the file has only {number} lines: line {first} does not exist)\n"
        ));
    }
    if crlf {
        text.push_str("(its lines end with CR LF; edit keeps that)\n");
    }
    if !ended {
        text.push_str("(no newline at the end of the file)\n");
    }
    Ok(text)
}

/// Reads one line and keeps at most [`LINE_MAX`] bytes. Returns the line's full length, or `None` at the end of the
/// file.
fn next_line(reader: &mut BufReader<File>, line: &mut Vec<u8>) -> io::Result<Option<u64>> {
    line.clear();
    let mut length = 0;
    loop {
        let buffer = reader.fill_buf()?;
        if buffer.is_empty() {
            return Ok((length > 0).then_some(length));
        }
        let newline = buffer.iter().position(|&byte| byte == b'\n');
        let taken = newline.map_or(buffer.len(), |at| at + 1);
        let kept = taken.min(LINE_MAX - line.len());
        line.extend_from_slice(&buffer[..kept]);
        reader.consume(taken);
        length += taken as u64;
        if newline.is_some() {
            return Ok(Some(length));
        }
    }
}
