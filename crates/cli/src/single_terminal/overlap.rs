//! Live output that is also in the log that the view read at its start. The view subscribes before it reads the logs, so
//! that it misses nothing; output in between arrives twice. Pure.

use std::time::{Duration, Instant};

/// For this time after the log was read, output may arrive that the log already contains: a worker writes output to its
/// log at once, and sends it to the supervisor, which sends it to the view.
const LATENCY: Duration = Duration::from_secs(1);

/// The end of a log of which a part may still arrive as live output.
#[derive(Debug)]
pub(super) struct Overlap {
    log: String,
    /// Output was found in `log`. From then on, `log` contains only the text after that output.
    is_found: bool,
    until: Instant,
}

impl Overlap {
    /// `log`: the end of the log, read at `now`.
    pub(super) fn new(log: String, now: Instant) -> Self {
        Self {
            log,
            is_found: false,
            until: now + LATENCY,
        }
    }

    /// The part of live output that is not in the log.
    pub(super) fn new_part<'a>(&mut self, output: &'a str, now: Instant) -> &'a str {
        if now >= self.until {
            self.log.clear();
        }
        let start = match self.is_found {
            true => Some(0),
            // Use the last match, so that at most one of two equal outputs is dropped.
            false => self.log.rfind(output).or_else(|| self.start_of_end(output)),
        };
        let rest = start.map_or("", |start| &self.log[start..]);
        let length = if rest.starts_with(output) {
            output.len()
        } else if output.starts_with(rest) {
            rest.len()
        } else {
            0
        };
        self.is_found = length > 0;
        self.log = rest[length..].to_owned();
        if length == 0 {
            self.log.clear();
        }
        &output[length..]
    }

    /// Finds the longest end of the log with which the output begins. Returns the start of this end.
    fn start_of_end(&self, output: &str) -> Option<usize> {
        let mut starts = self.log.char_indices().map(|(start, _)| start);
        starts.find(|start| output.starts_with(&self.log[*start..]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The output that is shown after this log, for these outputs.
    fn shown(log: &str, outputs: &[&str]) -> String {
        let now = Instant::now();
        let mut overlap = Overlap::new(log.to_owned(), now);
        let parts = outputs.iter().map(|output| overlap.new_part(output, now));
        parts.collect()
    }

    #[test]
    fn output_in_the_log_is_not_shown_again() {
        assert_eq!(shown("a\nb\nc\n", &["b\n", "c\n", "d\n"]), "d\n");
        assert_eq!(shown("a\nb\n", &["b\nc\n", "b\n"]), "c\nb\n");
        assert_eq!(shown("a\nb\nc", &["b\n", "c\nd\n"]), "\nd\n");
    }

    #[test]
    fn new_output_is_shown() {
        assert_eq!(shown("a\nb\n", &["c\n", "b\n"]), "c\nb\n");
        assert_eq!(shown("", &["a\n"]), "a\n");
        // Other text follows in the log, so this output is new.
        assert_eq!(shown("a\nb\n", &["a\n", "c\n"]), "c\n");
    }

    #[test]
    fn equal_output_after_the_latency_is_shown() {
        let now = Instant::now();
        let mut overlap = Overlap::new("tick\n".to_owned(), now);
        assert_eq!(overlap.new_part("tick\n", now + LATENCY), "tick\n");
    }
}
