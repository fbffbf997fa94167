//! The conversations of the app-server of Codex, as its notifications report them. Used by `codex` and `follow`.

use std::collections::{HashMap, HashSet};

/// The largest number of conversations whose status is known. Further conversations are not followed.
const LOADED_MAX: usize = 4096;

/// The conversations that the server has loaded: those of the user and of helpers.
#[derive(Default)]
pub(super) struct Threads {
    /// Whether a turn runs, by the id of the conversation.
    loaded: HashMap<String, bool>,
    /// The conversations that contain the rules of the team.
    pub(super) with_rules: HashSet<String>,
}

impl Threads {
    pub(super) fn has_rules(&mut self, thread: &str) {
        self.with_rules.insert(thread.to_owned());
    }

    /// Stores the status of a conversation. Returns whether a client has just loaded it, or begun a turn in it.
    pub(super) fn changed(&mut self, thread: &str, status: &str) -> bool {
        if self.loaded.len() >= LOADED_MAX && !self.loaded.contains_key(thread) {
            return false;
        }
        let is_active = status == "active";
        let was_active = match status {
            "notLoaded" => {
                self.loaded.remove(thread);
                return false;
            }
            _ => self.loaded.insert(thread.to_owned(), is_active),
        };
        match status {
            "active" => was_active != Some(true),
            "idle" => was_active.is_none(),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_conversations_is_not_kept() {
        let mut threads = Threads::default();
        for number in 0..=LOADED_MAX {
            let is_new = threads.changed(&number.to_string(), "idle");
            assert_eq!(is_new, number < LOADED_MAX, "{number}");
        }
        assert_eq!(threads.loaded.len(), LOADED_MAX);
    }

    #[test]
    fn only_a_loaded_conversation_and_a_new_turn_are_opened() {
        let mut threads = Threads::default();
        assert!(threads.changed("a", "idle"), "loaded");
        assert!(threads.changed("a", "active"), "a turn begins");
        assert!(!threads.changed("a", "active"), "a pending approval");
        assert!(!threads.changed("a", "idle"), "the turn has ended");
        assert!(!threads.changed("a", "systemError"));
        assert!(!threads.changed("a", "idle"));
        assert!(!threads.changed("a", "notLoaded"));
        assert!(threads.changed("a", "idle"), "loaded again");
        assert!(threads.changed("b", "active"), "loaded with a turn");
    }
}
