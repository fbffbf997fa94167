//! The prompt: the line editor with its menu, completion, and the keys that interrupt, clear and leave. Used by the
//! transcript view; pure.
//!
//! ```text
//!   Esc   closes a search or the menu; else interrupts a working agent once; else clears the prompt
//!   ^C    ends a search; else clears the prompt and cancels shell lines that were typed ahead
//!         twice within 2 s at an empty prompt: leaves
//!   ^D    leaves, at an empty prompt
//!   Tab   takes the selected entry of the menu; else completes the word before the cursor
//! ```

use std::time::{Duration, Instant};

use crate::complete::{self, Change, Completion, From, Names};
use crate::custom_command::{self, CustomCommand};
use crate::editor::Editor;
use crate::keys::Key;
use crate::line::Line;
use crate::menu::{Candidate, Menu};
use crate::slash::{self, PromptKind};
use crate::style::Style;

/// The time within which the second ^C leaves.
const LEAVE_WITHIN: Duration = Duration::from_secs(2);

/// The effect of a key outside the prompt.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entered {
    Text(String),
    Interrupt,
    /// Cancel the shell lines that were typed ahead.
    CancelLines,
    Complete(Names),
    Leave,
}

#[derive(Debug, Default)]
pub(super) struct Prompt {
    pub(super) editor: Editor,
    kind: PromptKind,
    /// Further slash commands.
    pub(super) custom: Vec<CustomCommand>,
    menu: Option<OpenMenu>,
    /// The user closed the menu of commands; it stays closed for the rest of the command.
    verbs_closed: bool,
    /// The completion whose names are being looked up.
    asked: Option<Completion>,
    /// The escape key has interrupted the current work.
    interrupted: bool,
    /// Set by ^C at an empty prompt. Until this time, the next ^C leaves.
    leave_until: Option<Instant>,
    /// The hint that the first ^C shows if a second ^C does not leave.
    how_to_leave: Option<&'static str>,
}

#[derive(Debug)]
struct OpenMenu {
    menu: Menu,
    /// `None`: the menu of commands, which is updated when the text changes.
    completion: Option<Completion>,
}

impl Prompt {
    pub(super) fn set_how_to_leave(&mut self, how: Option<&'static str>) {
        self.how_to_leave = how;
    }

    pub(super) fn kind(&self) -> PromptKind {
        self.kind
    }

    pub(super) fn set_kind(&mut self, kind: PromptKind) {
        self.kind = kind;
        if kind == PromptKind::Shell {
            self.editor.keep_backslash();
        }
    }

    /// Handles a key. `is_working`: the member works on something that the escape key can interrupt.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "all other keys edit the text"
    )]
    pub(super) fn press(&mut self, key: &Key, is_working: bool, now: Instant) -> Option<Entered> {
        let leave_until = self.leave_until.take();
        self.asked = None;
        if !is_working {
            self.interrupted = false;
        }
        if self.editor.is_searching() {
            return self.edit(key);
        }
        if self.menu_key(key) {
            return None;
        }
        match key {
            Key::Escape if is_working && !self.interrupted && self.kind == PromptKind::Message => {
                self.interrupted = true;
                Some(Entered::Interrupt)
            }
            Key::Escape => {
                self.interrupted = false;
                self.clear();
                None
            }
            Key::Control('d') if self.editor.is_empty() => Some(Entered::Leave),
            Key::Control('c') if self.editor.is_empty() => {
                if leave_until.is_some_and(|until| now <= until) {
                    return Some(Entered::Leave);
                }
                self.leave_until = Some(now + LEAVE_WITHIN);
                self.cancel_lines()
            }
            Key::Control('c') => {
                self.clear();
                self.cancel_lines()
            }
            Key::Tab => self.complete(),
            key => self.edit(key),
        }
    }

    /// Only shell lines wait at the prompt: messages to an agent are sent at once.
    fn cancel_lines(&self) -> Option<Entered> {
        (self.kind == PromptKind::Shell).then_some(Entered::CancelLines)
    }

    fn clear(&mut self) {
        self.editor.clear();
        self.menu = None;
        self.verbs_closed = false;
    }

    fn edit(&mut self, key: &Key) -> Option<Entered> {
        let entered = self.editor.press(key).map(Entered::Text);
        // A recalled command opens no menu, which would take the next arrow key.
        self.verbs_closed |= matches!(key, Key::Up | Key::Down | Key::Control('p' | 'n'));
        self.follow();
        entered
    }

    /// Sets the further slash commands. An open menu of commands lists them at once.
    pub(super) fn set_custom(&mut self, commands: Vec<CustomCommand>) {
        self.custom = commands;
        let completes = self
            .menu
            .as_ref()
            .is_some_and(|open| open.completion.is_some());
        if !completes {
            self.follow();
        }
    }

    /// Opens, updates or closes the menu of commands after a change of the text.
    fn follow(&mut self) {
        let text = self.editor.text();
        let is_verb = text.starts_with('/')
            && !text.contains(char::is_whitespace)
            && self.editor.cursor() == text.len()
            && !self.editor.is_searching();
        if !text.starts_with('/') {
            self.verbs_closed = false;
        }
        let verbs = match is_verb && !self.verbs_closed {
            true => {
                let mut verbs = slash::candidates(text, self.kind);
                verbs.extend(custom_command::candidates(text, &self.custom));
                verbs
            }
            false => Vec::new(),
        };
        match &mut self.menu {
            Some(open) if open.completion.is_none() && !verbs.is_empty() => open.menu.update(verbs),
            _ => {
                self.menu = Menu::of(verbs).map(|menu| OpenMenu {
                    menu,
                    completion: None,
                });
            }
        }
    }

    /// Handles a key of the open menu. Returns false if the key has its usual effect.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the menu has no other key")]
    fn menu_key(&mut self, key: &Key) -> bool {
        let Some(open) = &mut self.menu else {
            return false;
        };
        match key {
            Key::Down | Key::Control('n') => open.menu.down(),
            Key::Up | Key::Control('p') | Key::BackTab => open.menu.up(),
            // The command is complete: Enter runs it.
            Key::Enter
                if open.completion.is_none() && open.menu.selected().text == self.editor.text() =>
            {
                self.menu = None;
                return false;
            }
            Key::Tab | Key::Enter => {
                let chosen = open.menu.selected().clone();
                let completion = open.completion.clone();
                self.menu = None;
                match completion.or_else(|| self.completion()) {
                    Some(completion) => self.apply(completion.taken(&chosen)),
                    None => return false,
                }
            }
            Key::Escape => {
                self.verbs_closed |= open.completion.is_none();
                self.menu = None;
            }
            _ => {
                self.menu.take_if(|open| open.completion.is_some());
                return false;
            }
        }
        true
    }

    fn completion(&self) -> Option<Completion> {
        complete::at(self.editor.text(), self.editor.cursor(), self.kind)
    }

    fn complete(&mut self) -> Option<Entered> {
        let completion = self.completion()?;
        match completion.from.clone() {
            From::Known(candidates) => {
                self.choose(&completion, candidates);
                None
            }
            From::Names(names) => {
                self.asked = Some(completion);
                Some(Entered::Complete(names))
            }
        }
    }

    /// Returns whether the screen has changed.
    pub(super) fn offer(&mut self, names: &Names, candidates: Vec<Candidate>) -> bool {
        let is_asked =
            |asked: &mut Completion| matches!(&asked.from, From::Names(of) if of == names);
        let Some(completion) = self.asked.take_if(is_asked) else {
            return false;
        };
        self.choose(&completion, candidates);
        true
    }

    /// Writes the only candidate. Of several candidates, writes the common beginning and opens a menu.
    fn choose(&mut self, completion: &Completion, candidates: Vec<Candidate>) {
        let matching = completion.matching(candidates);
        if let [only] = &matching[..] {
            return self.apply(completion.taken(only));
        }
        if let Some(change) = completion.common(&matching) {
            self.apply(change);
        }
        if let Some(completion) = self.completion() {
            self.menu = Menu::of(matching).map(|menu| OpenMenu {
                menu,
                completion: Some(completion),
            });
        }
    }

    fn apply(&mut self, Change { range, text }: Change) {
        self.editor.replace(range, &text);
        self.menu = None;
    }

    /// The time at which the hint about the second ^C disappears.
    pub(super) fn hint_ends(&self) -> Option<Instant> {
        self.leave_until
    }

    pub(super) fn expire_hint(&mut self, now: Instant) {
        self.leave_until.take_if(|until| *until <= now);
    }

    pub(super) fn above(&self, columns: usize, most: usize, accent: Style) -> Vec<Line> {
        if let Some(open) = self.menu.as_ref().filter(|_| most > 0) {
            return open.menu.rows(columns, most, accent);
        }
        let hint = self.how_to_leave.unwrap_or("press ^C again to leave");
        let hint = Line::of(Style::DIM, hint).clipped(columns);
        self.leave_until.iter().map(|_| hint.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn typed(text: &str) -> Prompt {
        let mut prompt = Prompt::default();
        type_in(&mut prompt, text);
        prompt
    }

    fn type_in(prompt: &mut Prompt, text: &str) {
        for c in text.chars() {
            assert_eq!(press(prompt, Key::Char(c)), None);
        }
    }

    fn press(prompt: &mut Prompt, key: Key) -> Option<Entered> {
        prompt.press(&key, false, Instant::now())
    }

    fn menu(prompt: &Prompt) -> Vec<String> {
        let rows = prompt.above(60, 8, Style::PLAIN);
        rows.iter().map(Line::text).collect()
    }

    #[test]
    fn escape_interrupts_work_once_and_then_clears() {
        let mut prompt = typed("half a line");
        let now = Instant::now();
        let mut press = |is_working| prompt.press(&Key::Escape, is_working, now);
        assert_eq!(press(true), Some(Entered::Interrupt));
        assert_eq!(press(true), None);
        // After it has cleared the prompt, the key interrupts again.
        assert_eq!(press(true), Some(Entered::Interrupt));
        assert_eq!(press(false), None);
        assert_eq!(press(true), Some(Entered::Interrupt));
        assert!(prompt.editor.is_empty());
    }

    #[test]
    fn escape_closes_the_menu_before_it_interrupts() {
        let mut prompt = typed("/s");
        let now = Instant::now();
        assert_eq!(prompt.press(&Key::Escape, true, now), None);
        assert_eq!(menu(&prompt), [""; 0]);
        type_in(&mut prompt, "t");
        assert_eq!(menu(&prompt), [""; 0], "it stays closed");
        let interrupts = prompt.press(&Key::Escape, true, now);
        assert_eq!(interrupts, Some(Entered::Interrupt));
        assert_eq!(prompt.editor.text(), "/st");
    }

    #[test]
    fn a_shell_prompt_interrupts_nothing() {
        let mut prompt = typed("ls");
        prompt.set_kind(PromptKind::Shell);
        assert_eq!(prompt.press(&Key::Escape, true, Instant::now()), None);
        assert!(prompt.editor.is_empty());
    }

    #[test]
    fn an_interrupt_key_cancels_only_shell_lines() {
        for (kind, expected) in [
            (PromptKind::Shell, Some(Entered::CancelLines)),
            (PromptKind::Message, None),
        ] {
            let mut prompt = typed("ls");
            prompt.set_kind(kind);
            assert_eq!(press(&mut prompt, Key::Control('c')), expected);
            assert!(prompt.editor.is_empty());
            assert_eq!(press(&mut prompt, Key::Control('c')), expected);
            let leaves = press(&mut prompt, Key::Control('c'));
            assert_eq!(leaves, Some(Entered::Leave));
        }
    }

    #[test]
    fn only_a_second_interrupt_key_in_time_leaves() {
        let mut prompt = typed("x");
        let start = Instant::now();
        let mut press = |key, after| prompt.press(&key, false, start + after);
        let control_c = || Key::Control('c');
        assert_eq!(press(control_c(), Duration::ZERO), None, "clears the text");
        assert_eq!(press(control_c(), Duration::ZERO), None);
        let late = LEAVE_WITHIN + Duration::from_millis(1);
        assert_eq!(press(control_c(), late), None, "too late");
        assert_eq!(press(Key::Left, late), None);
        assert_eq!(press(control_c(), late), None, "a key was between");
        assert_eq!(press(control_c(), late), Some(Entered::Leave));
    }

    #[test]
    fn the_hint_to_leave_disappears() {
        let mut prompt = Prompt::default();
        let now = Instant::now();
        prompt.press(&Key::Control('c'), false, now);
        assert_eq!(menu(&prompt), ["press ^C again to leave"]);
        assert_eq!(prompt.hint_ends(), Some(now + LEAVE_WITHIN));
        prompt.expire_hint(now + LEAVE_WITHIN);
        assert_eq!(menu(&prompt), [""; 0]);
    }

    #[test]
    fn the_menu_filters_while_typing_and_enter_takes() {
        let mut prompt = typed("/");
        assert_eq!(menu(&prompt).len(), 8);
        type_in(&mut prompt, "st");
        assert_eq!(menu(&prompt).len(), 2, "stop and stats");
        press(&mut prompt, Key::Down);
        assert_eq!(press(&mut prompt, Key::Enter), None, "taken, not run");
        assert_eq!(prompt.editor.text(), "/stats ");
        let run = press(&mut prompt, Key::Enter);
        assert_eq!(run, Some(Entered::Text("/stats ".into())));
    }

    #[test]
    fn a_recalled_command_opens_no_menu() {
        let mut prompt = Prompt::default();
        prompt.editor.remember(["older", "/ps"].map(str::to_owned));
        press(&mut prompt, Key::Up);
        assert_eq!(menu(&prompt), [""; 0]);
        press(&mut prompt, Key::Up);
        assert_eq!(prompt.editor.text(), "older");
    }

    #[test]
    fn enter_runs_a_complete_command() {
        let mut prompt = typed("/ps");
        let run = press(&mut prompt, Key::Enter);
        assert_eq!(run, Some(Entered::Text("/ps".into())));
        assert_eq!(menu(&prompt), [""; 0]);
    }

    #[test]
    fn tab_completes_names_that_are_offered_in_time() {
        let mut prompt = typed("/send b");
        let asked = press(&mut prompt, Key::Tab);
        assert_eq!(asked, Some(Entered::Complete(Names::Members)));
        let members = ["ben", "bea", "ada"].map(|name| Candidate::new(name, "worker"));
        assert!(prompt.offer(&Names::Members, members.to_vec()));
        assert_eq!(prompt.editor.text(), "/send be");
        assert_eq!(menu(&prompt), ["▸ ben  worker", "  bea  worker"]);
        press(&mut prompt, Key::Down);
        press(&mut prompt, Key::Tab);
        assert_eq!(prompt.editor.text(), "/send bea ");

        let mut prompt = typed("/send b");
        press(&mut prompt, Key::Tab);
        press(&mut prompt, Key::Char('x'));
        assert!(!prompt.offer(&Names::Members, members.to_vec()), "too late");
        assert_eq!(prompt.editor.text(), "/send bx");
    }

    #[test]
    fn any_other_key_closes_the_candidates_and_edits() {
        let mut prompt = typed("see @");
        let names = Names::Files {
            directory: String::new(),
        };
        assert_eq!(
            press(&mut prompt, Key::Tab),
            Some(Entered::Complete(names.clone()))
        );
        prompt.offer(
            &names,
            ["a.rs", "b.rs"]
                .map(|file| Candidate::new(file, ""))
                .to_vec(),
        );
        assert_eq!(menu(&prompt), ["▸ a.rs", "  b.rs"]);
        type_in(&mut prompt, "b");
        assert_eq!(menu(&prompt), [""; 0]);
        assert_eq!(prompt.editor.text(), "see @b");
    }

    #[test]
    fn a_search_takes_the_keys_of_the_menu() {
        let mut prompt = Prompt::default();
        prompt.editor.remember(["/stats".to_owned()]);
        press(&mut prompt, Key::Control('r'));
        type_in(&mut prompt, "/s");
        assert_eq!(menu(&prompt), [""; 0]);
        assert_eq!(prompt.editor.text(), "/stats");
        assert_eq!(prompt.press(&Key::Escape, true, Instant::now()), None);
        assert_eq!(prompt.editor.text(), "", "the key only ended the search");
    }
}
