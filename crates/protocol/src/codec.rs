//! Newline-delimited frames without I/O: the caller appends received bytes and takes complete frames.
//!
//! A frame is one line of UTF-8 JSON. It has at most [`FRAME_MAX`] bytes and [`DEPTH_MAX`] nested brackets, and no
//! NUL. These limits are checked before parsing, so that a hostile peer costs at most one buffer.

/// Maximum length of a frame after `initialize`, in bytes, without the newline.
pub const FRAME_MAX: usize = 1 << 20;

/// Maximum length of a frame before `initialize` was answered, in bytes.
pub const FIRST_FRAME_MAX: usize = 4 << 10;

/// Maximum nesting depth of arrays and objects in a frame.
pub const DEPTH_MAX: usize = 64;

/// Why received bytes are not a frame. The receiver closes this connection; other connections are unaffected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error("a frame is longer than {0} bytes")]
    TooLong(usize),
    #[error("a frame nests deeper than {DEPTH_MAX}")]
    TooDeep,
    #[error("a frame is not valid UTF-8, or contains a NUL")]
    NotText,
}

/// Collects received bytes and returns complete frames.
#[derive(Debug)]
pub struct Decoder {
    buffer: Vec<u8>,
    /// Start of the first frame that has not been returned yet.
    start: usize,
    /// Number of bytes after `start` that are known to contain no newline. Without this count, each read would scan an
    /// incomplete frame again from its start.
    scanned: usize,
    limit: usize,
}

impl Decoder {
    /// A decoder for frames of at most `limit` bytes.
    pub fn new(limit: usize) -> Self {
        Self {
            buffer: Vec::new(),
            start: 0,
            scanned: 0,
            limit,
        }
    }

    pub fn set_limit(&mut self, limit: usize) {
        self.limit = limit;
    }

    /// The buffer to which the caller appends received bytes. Removes the returned frames from the buffer first.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        if self.start > 0 {
            self.buffer.drain(..self.start);
            self.start = 0;
        }
        &mut self.buffer
    }

    /// The next complete frame, without its newline. Empty lines are skipped.
    ///
    /// # Errors
    /// The frame is too long, nests too deeply, or is not text. The decoder must not be used again: the start of the
    /// next frame is unknown.
    pub fn next_frame(&mut self) -> Result<Option<&str>, FrameError> {
        loop {
            let unseen = &self.buffer[self.start + self.scanned..];
            let Some(newline) = unseen.iter().position(|byte| *byte == b'\n') else {
                self.scanned += unseen.len();
                return if self.scanned > self.limit {
                    Err(FrameError::TooLong(self.limit))
                } else {
                    Ok(None)
                };
            };
            let from = self.start;
            let to = from + self.scanned + newline;
            self.start = to + 1;
            self.scanned = 0;
            if to - from > self.limit {
                return Err(FrameError::TooLong(self.limit));
            }
            if to > from {
                return check(&self.buffer[from..to]).map(Some);
            }
        }
    }
}

/// Whether a peer accepts this frame, given without its newline.
pub fn is_within_limits(frame: &str) -> bool {
    frame.len() <= FRAME_MAX && check(frame.as_bytes()).is_ok()
}

/// Checks the encoding and the nesting of a frame. Brackets within strings do not nest. The JSON parser reports
/// unbalanced brackets later.
fn check(line: &[u8]) -> Result<&str, FrameError> {
    let text = std::str::from_utf8(line).map_err(|_| FrameError::NotText)?;
    let (mut depth, mut in_string, mut escaped) = (0_usize, false, false);
    for byte in line {
        match byte {
            0 => return Err(FrameError::NotText),
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => {
                depth += 1;
                if depth > DEPTH_MAX {
                    return Err(FrameError::TooDeep);
                }
            }
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn frames(decoder: &mut Decoder, bytes: &[u8]) -> Result<Vec<String>, FrameError> {
        decoder.buffer().extend_from_slice(bytes);
        let mut frames = Vec::new();
        while let Some(frame) = decoder.next_frame()? {
            frames.push(frame.to_owned());
        }
        Ok(frames)
    }

    #[test]
    fn an_overlong_frame_is_refused_before_it_is_complete() {
        let mut decoder = Decoder::new(8);
        assert_eq!(
            frames(&mut decoder, b"12345678").unwrap(),
            Vec::<String>::new()
        );
        assert_eq!(frames(&mut decoder, b"9"), Err(FrameError::TooLong(8)));
        assert_eq!(
            frames(&mut Decoder::new(8), b"123456789\n"),
            Err(FrameError::TooLong(8))
        );
    }

    #[test]
    fn depth_counts_brackets_outside_strings_only() {
        let deep = |n: usize| format!("{}{}\n", "[".repeat(n), "]".repeat(n));
        assert!(frames(&mut Decoder::new(FRAME_MAX), deep(DEPTH_MAX).as_bytes()).is_ok());
        assert_eq!(
            frames(&mut Decoder::new(FRAME_MAX), deep(DEPTH_MAX + 1).as_bytes()),
            Err(FrameError::TooDeep)
        );
        let text = format!("\"{}\\\"{}\"\n", "[".repeat(80), "{".repeat(80));
        assert!(frames(&mut Decoder::new(FRAME_MAX), text.as_bytes()).is_ok());
    }

    #[test]
    fn invalid_utf8_and_nul_bytes_are_refused() {
        assert_eq!(
            frames(&mut Decoder::new(64), b"\xff\n"),
            Err(FrameError::NotText)
        );
        assert_eq!(
            frames(&mut Decoder::new(64), b"{\0}\n"),
            Err(FrameError::NotText)
        );
    }

    proptest! {
        #[test]
        fn chunking_does_not_change_the_frames(
            lines in prop::collection::vec("[a-z\\[\\]\"é ]{0,20}", 0..20),
            cuts in prop::collection::vec(1_usize..9, 1..40),
        ) {
            let bytes: Vec<u8> = lines.iter().flat_map(|line| [line.as_bytes(), b"\n"].concat()).collect();
            let whole = frames(&mut Decoder::new(64), &bytes).unwrap();
            let mut decoder = Decoder::new(64);
            let (mut pieces, mut rest, mut cut) = (Vec::new(), bytes.as_slice(), cuts.iter().cycle());
            while !rest.is_empty() {
                let (now, later) = rest.split_at((*cut.next().unwrap()).min(rest.len()));
                pieces.extend(frames(&mut decoder, now).unwrap());
                rest = later;
            }
            prop_assert_eq!(&pieces, &whole);
            prop_assert_eq!(whole, lines.into_iter().filter(|line| !line.is_empty()).collect::<Vec<_>>());
        }
    }
}
