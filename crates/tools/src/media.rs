//! Images and PDFs for the model: whether the model accepts them, their limits and their storage. Called by `read`, by
//! `mcp/answer` for results, and by the agent loop for messages of the user.

use std::io::{Read, Seek};
use std::path::{Path, PathBuf};

use agent_team_llm::{Media, MediaKind, MediaSupport};
use agent_team_protocol::text::{INSPECTED, is_text};

use crate::context::ToolContext;
use crate::resolved_path::{Purpose, ResolvedPath, failed};
use crate::seen_files::Version;
use crate::tool::{Output, ToolError, off_thread};

/// Endings of the names of images and PDFs. The refusal of such a file is shown to the user.
const MEDIA_ENDINGS: [&str; 6] = [".png", ".jpg", ".jpeg", ".gif", ".webp", ".pdf"];

/// The largest number of files that one message attaches.
const ATTACHED_MAX: usize = 8;

/// Stores images and PDFs for the model of a member.
pub(super) struct Sink {
    model: String,
    support: MediaSupport,
    /// The member's directory for these files.
    directory: PathBuf,
}

impl Sink {
    pub(super) fn of(context: &ToolContext) -> Self {
        Self::new(&context.model, context.media, &context.outputs)
    }

    pub(super) fn new(model: &str, support: MediaSupport, directory: &Path) -> Self {
        Self {
            model: model.to_owned(),
            support,
            directory: directory.to_owned(),
        }
    }

    /// # Errors
    /// If the model does not accept this kind, or the file is too large.
    pub(super) fn check(&self, kind: MediaKind, name: &str, bytes: u64) -> Result<(), ToolError> {
        let Self { model, .. } = self;
        let (noun, key) = match kind.is_image() {
            true => ("images", "vision"),
            false => ("PDFs", "pdf"),
        };
        let (provider, short) = model.split_once('/').unwrap_or(("<provider>", model));
        let why = match self.support.of(kind) {
            Some(true) if bytes <= kind.limit() => return Ok(()),
            Some(true) => format!(
                "{name} has {bytes} bytes; the limit for {noun} is {} bytes: make a smaller file",
                kind.limit()
            ),
            Some(false) => format!("cannot show {name}: {model} accepts no {noun}"),
            None => format!(
                "cannot show {name}: it is unknown whether {model} accepts {noun}. If it does, the user can set \
                 \"{short}\" = {{ {key} = true }} in [models.{provider}] of config.toml"
            ),
        };
        Err(ToolError::Failed(why))
    }

    /// Shows this file to the model. Returns `None` if the file does not exist, or is neither an image nor a PDF. Also
    /// returns `None` for UTF-8 text that begins like an image or a PDF, unless the model is known to accept this kind.
    ///
    /// # Errors
    /// As for [`Self::shown`], and if the file cannot be read.
    pub(super) fn read(
        &self,
        resolved: &ResolvedPath,
    ) -> Result<Option<(Output, Version)>, ToolError> {
        let name = resolved.display();
        let wrong = |error: std::io::Error| failed(&name, &error);
        let Some((mut file, version)) = resolved.open()? else {
            return Ok(None);
        };
        let mut beginning = Vec::new();
        (&file)
            .take(INSPECTED as u64)
            .read_to_end(&mut beginning)
            .map_err(wrong)?;
        let Some(kind) = MediaKind::of(&beginning) else {
            return Ok(None);
        };
        // A text file can begin like an image or a PDF: a note about GIF89a, a PDF written by hand.
        if self.support.of(kind) != Some(true) && is_utf8(&beginning) {
            return Ok(None);
        }
        self.check(kind, &name, version.len)?;
        file.rewind().map_err(wrong)?;
        let mut bytes = Vec::new();
        (&file)
            .take(kind.limit() + 1)
            .read_to_end(&mut bytes)
            .map_err(wrong)?;
        Ok(Some((self.shown(kind, &name, &bytes)?, version)))
    }

    /// Stores the bytes and shows them to the model.
    ///
    /// # Errors
    /// As for [`Self::check`], and if the bytes cannot be stored.
    pub(super) fn shown(
        &self,
        kind: MediaKind,
        name: &str,
        bytes: &[u8],
    ) -> Result<Output, ToolError> {
        self.check(kind, name, bytes.len() as u64)?;
        let media = Media::store(kind, name, bytes, &self.directory)
            .map_err(|error| ToolError::Failed(format!("cannot store {name}: {error}")))?;
        let text = format!("{name}: {}, {} bytes", kind.mime(), bytes.len());
        Ok(Output {
            media: vec![media],
            ..Output::from(text)
        })
    }
}

/// Whether a file with this beginning is UTF-8 text. The last character of the beginning can be incomplete.
fn is_utf8(beginning: &[u8]) -> bool {
    let utf8 = std::str::from_utf8(beginning);
    is_text(beginning) && utf8.map_or_else(|error| error.error_len().is_none(), |_| true)
}

/// The images and PDFs that a message of the user names as `@PATH` or `@"PATH"`. Each is shown, or refused with the
/// reason. Words that name no such file are left out.
///
/// `outside`: whether the files may be outside the project, as in [`MessageNote::attach_outside`]. Other texts come
/// from command files, from prompts of MCP servers or from the web page, which must not choose files of the user.
///
/// [`MessageNote::attach_outside`]: agent_team_protocol::value::MessageNote::attach_outside
pub async fn attached(
    context: &ToolContext,
    text: &str,
    outside: bool,
) -> Vec<Result<Media, String>> {
    let mut all = Vec::new();
    for path in mentioned(text).take(ATTACHED_MAX) {
        let is_named_like_media = MEDIA_ENDINGS.iter().any(|ending| {
            let start = path.len().checked_sub(ending.len());
            let end = start.and_then(|start| path.get(start..));
            end.is_some_and(|end| end.eq_ignore_ascii_case(ending))
        });
        match attach(context, path, outside).await {
            Ok(media) => all.extend(media.into_iter().map(Ok)),
            Err(why) if is_named_like_media => all.push(Err(why)),
            Err(_) => {}
        }
    }
    all
}

/// `path` may begin with `~/`.
async fn attach(context: &ToolContext, path: &str, outside: bool) -> Result<Vec<Media>, String> {
    let below_home = path.strip_prefix("~/");
    let in_home =
        below_home.and_then(|rest| Some(format!("{}/{rest}", std::env::home_dir()?.to_str()?)));
    let typed = path;
    let path = in_home.as_deref().unwrap_or(path);
    let resolved = match outside {
        true => ResolvedPath::find_anywhere(context, path),
        false => ResolvedPath::find(context, path, Purpose::Reading),
    };
    let resolved = resolved.map_err(|error| error.to_string().replace(path, typed))?;
    let guard = &context.guard;
    if guard.covers_given(&context.cwd, path) || guard.covers(&resolved.path()) {
        return Err(format!("{path} needs permission to be read"));
    }
    let sink = Sink::of(context);
    let read = off_thread(move || sink.read(&resolved)).await;
    let found = read.map_err(|error| error.to_string())?;
    found
        .map(|(output, _)| output.media)
        .ok_or_else(|| format!("{path} does not exist, or is neither an image nor a PDF"))
}

/// The paths after `@` at the beginning of a word.
fn mentioned(text: &str) -> impl Iterator<Item = &str> {
    let starts = text.match_indices('@').filter(|(at, _)| {
        let before = text[..*at].chars().next_back();
        before.is_none_or(char::is_whitespace)
    });
    starts.filter_map(|(at, sign)| {
        let rest = &text[at + sign.len()..];
        match rest.strip_prefix('"') {
            Some(quoted) => Some(quoted.split_once('"')?.0),
            None => {
                let word = rest.split(char::is_whitespace).next().unwrap_or("");
                Some(word.trim_end_matches([',', ';', ':', '.', '?', '!', ')']))
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mention_is_a_path_after_a_sign() {
        let text = "@a.png see @b/c.jpg, (me@example.org) and @\"d e.gif\" or @f.pdf.";
        let found: Vec<_> = mentioned(text).collect();
        assert_eq!(found, ["a.png", "b/c.jpg", "d e.gif", "f.pdf"]);
    }
}
