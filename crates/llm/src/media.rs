//! Images and PDFs that a tool result or a message shows to a model. Created by the tools, loaded for a request by
//! `http/loaded`.
//!
//! A transcript contains only a reference: the bytes are in a file of the member, stored once under their digest. A
//! file that is missing or was changed is not sent, and the model receives a note instead.

use std::fs;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use agent_team_protocol::text::hex;
use agent_team_system::random;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// The largest image, in bytes: Anthropic accepts 5 MB in base64.
const IMAGE_MAX: u64 = 3_750_000;

/// The largest PDF, in bytes.
const DOCUMENT_MAX: u64 = 10_000_000;

/// The approximate number of tokens of an image, and of [`DOCUMENT_BYTES`] bytes of a PDF.
const TOKENS: u64 = 1_600;
const DOCUMENT_BYTES: u64 = 50_000;

/// The estimate for a PDF is at most that for this number of images. A PDF of scanned pages has many bytes per page, so
/// its size would suggest far more pages than it has.
const DOCUMENT_IMAGES: u64 = 15;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MediaKind {
    Png,
    Jpeg,
    Gif,
    Webp,
    Pdf,
}

impl MediaKind {
    /// The kind of a file, from its first bytes. The name of the file is ignored.
    pub fn of(beginning: &[u8]) -> Option<Self> {
        let is_webp = beginning.starts_with(b"RIFF") && beginning.get(8..12) == Some(b"WEBP");
        match beginning {
            _ if beginning.starts_with(b"\x89PNG\r\n\x1a\n") => Some(Self::Png),
            _ if beginning.starts_with(b"\xff\xd8\xff") => Some(Self::Jpeg),
            _ if beginning.starts_with(b"GIF87a") || beginning.starts_with(b"GIF89a") => {
                Some(Self::Gif)
            }
            _ if is_webp => Some(Self::Webp),
            _ if beginning.starts_with(b"%PDF-") => Some(Self::Pdf),
            _ => None,
        }
    }

    pub fn mime(self) -> &'static str {
        match self {
            Self::Png => "image/png",
            Self::Jpeg => "image/jpeg",
            Self::Gif => "image/gif",
            Self::Webp => "image/webp",
            Self::Pdf => "application/pdf",
        }
    }

    pub fn is_image(self) -> bool {
        self != Self::Pdf
    }

    /// The largest file of this kind, in bytes.
    pub fn limit(self) -> u64 {
        match self.is_image() {
            true => IMAGE_MAX,
            false => DOCUMENT_MAX,
        }
    }
}

/// A stored image or PDF.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Media {
    pub kind: MediaKind,
    /// The name for the model.
    pub name: String,
    /// The absolute path of the file that contains the bytes.
    pub file: PathBuf,
    pub bytes: u64,
    /// SHA-256 of the bytes, in hexadecimal digits.
    pub sha256: String,
}

impl Media {
    /// Stores the bytes in the directory, unless they are stored there already.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn store(kind: MediaKind, name: &str, bytes: &[u8], directory: &Path) -> io::Result<Self> {
        let sha256 = digest(bytes);
        let file = directory.join(format!("media-{sha256}"));
        let media = Self {
            kind,
            name: name.to_owned(),
            bytes: bytes.len() as u64,
            sha256,
            file,
        };
        if media.read().is_none() {
            // Another call can store the same bytes at the same time, so each call writes its own temporary file.
            let temporary = media.file.with_extension(random::id());
            let mut options = fs::OpenOptions::new();
            options.write(true).create_new(true).mode(0o600);
            let mut file = options.open(&temporary)?;
            let stored = file.write_all(bytes);
            let stored = stored.and_then(|()| fs::rename(&temporary, &media.file));
            if stored.is_err() {
                // Only the first error is reported.
                let _removed = fs::remove_file(&temporary);
            }
            stored?;
        }
        Ok(media)
    }

    /// The stored bytes. `None` if they are missing or were changed.
    pub(crate) fn read(&self) -> Option<Vec<u8>> {
        let size = fs::metadata(&self.file).ok()?.len();
        let bytes = (size == self.bytes).then(|| fs::read(&self.file).ok())??;
        (digest(&bytes) == self.sha256).then_some(bytes)
    }

    /// The approximate number of tokens for a model.
    pub fn tokens(&self) -> u64 {
        match self.kind.is_image() {
            true => TOKENS,
            false => TOKENS * (self.bytes / DOCUMENT_BYTES + 1).min(DOCUMENT_IMAGES),
        }
    }
}

fn digest(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Whether a model accepts images and PDFs. `None`: unknown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MediaSupport {
    pub images: Option<bool>,
    pub documents: Option<bool>,
}

impl MediaSupport {
    pub fn of(self, kind: MediaKind) -> Option<bool> {
        match kind.is_image() {
            true => self.images,
            false => self.documents,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_estimate_for_a_pdf_has_a_limit() {
        let directory = tempfile::tempdir().unwrap();
        let store = |kind| Media::store(kind, "a", b"a", directory.path()).unwrap();
        let mut pdf = store(MediaKind::Pdf);
        assert_eq!(pdf.tokens(), TOKENS);
        pdf.bytes = 5_000_000;
        assert_eq!(pdf.tokens(), DOCUMENT_IMAGES * TOKENS);
    }

    #[test]
    fn parallel_stores_of_the_same_bytes_succeed() {
        let directory = tempfile::tempdir().unwrap();
        let bytes = vec![1; 1 << 20];
        let store = || Media::store(MediaKind::Png, "a", &bytes, directory.path()).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(store);
            }
        });
        assert_eq!(store().read(), Some(bytes.clone()));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }
}
