//! The images and PDFs of one request, read from their files. Called by `http`, and by `chat`, `responses` and
//! `messages`, which write the images and PDFs in the form of each API.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::media::{Media, MediaSupport};
use crate::model::{Item, Prompt, ToolResult};

/// The largest total size of the files in one request, in bytes: 16 MB in base64. The oldest files are left out.
const TOTAL_MAX: u64 = 12_000_000;

/// The files of one request, in base64.
#[derive(Debug, Default)]
pub(super) struct Loaded {
    by_digest: HashMap<String, String>,
}

impl Loaded {
    /// Reads the newest files of the prompt that the model accepts. Skips a file if `is_refused` returns true for its
    /// digest.
    pub(super) fn of(
        prompt: &Prompt<'_>,
        support: MediaSupport,
        is_refused: impl Fn(&str) -> bool,
    ) -> Self {
        let mut loaded = Self::default();
        let mut rest = TOTAL_MAX;
        for media in prompt.items.iter().rev().flat_map(media_of) {
            if support.of(media.kind) != Some(true)
                || is_refused(&media.sha256)
                || loaded.by_digest.contains_key(&media.sha256)
            {
                continue;
            }
            // If a file does not fit, all older files are left out too: a gap would change with each request.
            let Some(remaining) = rest.checked_sub(media.bytes) else {
                break;
            };
            if let Some(bytes) = media.read() {
                rest = remaining;
                let encoded = STANDARD.encode(bytes);
                loaded.by_digest.insert(media.sha256.clone(), encoded);
            }
        }
        loaded
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_digest.is_empty()
    }

    pub(super) fn digests(&self) -> HashSet<String> {
        self.by_digest.keys().cloned().collect()
    }

    /// The digests of the files that the prompt shows after its last answer.
    pub(super) fn new_digests(&self, prompt: &Prompt<'_>) -> HashSet<String> {
        let is_answer = |item: &&Item| matches!(item, Item::Answered(_));
        let new = prompt
            .items
            .iter()
            .rev()
            .take_while(|item| !is_answer(item));
        let digests = new.flat_map(media_of).map(|media| &media.sha256);
        let loaded = digests.filter(|digest| self.by_digest.contains_key(*digest));
        loaded.cloned().collect()
    }

    pub(super) fn without(&self, digests: &HashSet<String>) -> Self {
        let kept = self.by_digest.iter();
        let kept = kept.filter(|(digest, _)| !digests.contains(*digest));
        Self {
            by_digest: kept
                .map(|(digest, data)| (digest.clone(), data.clone()))
                .collect(),
        }
    }

    /// The files in `media` that this request contains, with their data in base64.
    pub(super) fn shown<'a>(&'a self, media: &'a [Media]) -> Vec<(&'a Media, &'a str)> {
        let found = |media: &'a Media| {
            let data = self.by_digest.get(&media.sha256)?;
            Some((media, data.as_str()))
        };
        media.iter().filter_map(found).collect()
    }

    /// The text of a result, with a note about each file that this request does not contain.
    pub(super) fn text(&self, result: &ToolResult, text: &str) -> String {
        let is_hidden = |media: &&Media| !self.by_digest.contains_key(&media.sha256);
        let hidden = result.media.iter().filter(is_hidden);
        let notes = hidden.map(|media| format!("\n({} is not shown in this request)", media.name));
        format!("{text}{}", notes.collect::<String>())
    }

    /// The text before the files of an input. Names all files, and marks the files that this request does not contain.
    pub(super) fn title(&self, media: &[Media]) -> String {
        let names = media.iter().map(|media| {
            let is_shown = self.by_digest.contains_key(&media.sha256);
            let note = if is_shown {
                ""
            } else {
                " (not shown in this request)"
            };
            format!("{}{note}", media.name)
        });
        format!("Attached: {}", names.collect::<Vec<_>>().join(", "))
    }
}

/// The files that an item shows, the last one first.
fn media_of(item: &Item) -> impl Iterator<Item = &Media> {
    let (results, media): (&[ToolResult], &[Media]) = match item {
        Item::Returned { results } => (results, &[]),
        Item::Shown { media } => (&[], media),
        Item::Input { .. } | Item::Answered(_) => (&[], &[]),
    };
    let of_results = results
        .iter()
        .rev()
        .flat_map(|result| result.media.iter().rev());
    media.iter().rev().chain(of_results)
}

/// The name of a document's file. Some servers read the type from its ending.
pub(super) fn file_name(media: &Media) -> String {
    let extension = Path::new(&media.name).extension();
    match extension.is_some_and(|it| it.eq_ignore_ascii_case("pdf")) {
        true => media.name.clone(),
        false => format!("{}.pdf", media.name),
    }
}

pub(super) fn data_url(media: &Media, data: &str) -> String {
    format!("data:{};base64,{data}", media.kind.mime())
}
