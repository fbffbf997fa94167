//! The keystrokes of a pane's terminal: decoded for the prompt, or unchanged for a program. Called only by `terminal`.
//!
//! ```text
//!   discarded ──► prompt ◄──► program 1, program 2, …
//! ```
//! A keystroke belongs to the prompt or program that had the terminal when the keystroke was read. A change of the
//! route first reads the input that was typed earlier, until the input pauses: a paste for the prompt must not reach a
//! program, and a password for a program that has ended must not become a shell line.

use std::time::Duration;

use agent_team_protocol::notification::Attachment;
use agent_team_system::terminal::Tty;
use agent_team_terminal_ui::keys::{Key, KeyDecoder, REST_OF_KEY};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::attach_helper;
use super::event::Event;
use crate::timer::sleep_until;

/// The largest read, in bytes: the longest line that a terminal edits.
const READ_BYTES: usize = 4096;

/// The length of a pause of the input. It is long enough for the kernel and tmux to pass on the next bytes of a paste
/// on a busy machine. It is too short to be perceived before a prompt.
const PAUSE: Duration = Duration::from_millis(20);

/// The receiver of keystrokes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route {
    Discarded,
    Prompt,
    /// The program with this id.
    Program(u64),
}

pub(super) struct Keyboard {
    route: Route,
    /// Decodes the keystrokes for the prompt.
    decoder: KeyDecoder,
    /// The time at which an incomplete escape sequence counts as the escape key.
    settled_at: Option<Instant>,
    /// `None`: the terminal is the worker's own.
    attachment: Option<Attachment>,
    events: mpsc::UnboundedSender<Event>,
}

impl Keyboard {
    pub(super) fn new(
        attachment: Option<Attachment>,
        events: mpsc::UnboundedSender<Event>,
    ) -> Self {
        Self {
            route: Route::Discarded,
            decoder: KeyDecoder::default(),
            settled_at: None,
            attachment,
            events,
        }
    }

    /// Reports keystrokes. Returns when the terminal is closed, or must be returned to the attach helper. Cancel-safe.
    pub(super) async fn forward(&mut self, tty: &Tty) {
        loop {
            let settled_at = self.settled_at;
            tokio::select! {
                biased;
                more = self.read(tty) => if !more {
                    return;
                },
                () = sleep_until(settled_at) => self.settle(),
            }
        }
    }

    /// Changes the route. With `pauses`, keystrokes still take the previous route until the input has paused. A key or
    /// paste that has begun always takes the previous route as a whole. Returns false when the terminal is closed, or
    /// must be returned to the attach helper.
    pub(super) async fn hand_over(&mut self, tty: &Tty, route: Route, pauses: bool) -> bool {
        let pause = pauses.then_some(PAUSE);
        while let Some(pause) = self.decoder.rest_within().or(pause) {
            match tokio::time::timeout(pause, self.read(tty)).await {
                Ok(true) => {}
                Ok(false) => return false,
                Err(_paused) => break,
            }
        }
        self.settle();
        self.decoder = KeyDecoder::default();
        self.route = route;
        true
    }

    /// Discards the following keystrokes.
    pub(super) fn discard(&mut self) {
        self.route = Route::Discarded;
    }

    pub(super) fn is_for_program(&self) -> bool {
        matches!(self.route, Route::Program(_))
    }

    /// Reads once. Returns false when the terminal is closed, or must be returned to the attach helper. Cancel-safe.
    async fn read(&mut self, tty: &Tty) -> bool {
        let mut buffer = [0; READ_BYTES];
        let typed = match tty.read(&mut buffer).await {
            // In cooked mode, ^D also reads as zero bytes; a closed terminal has no size.
            Ok(0) if !self.is_raw() && tty.size().is_some() => {
                return self.attachment != Some(Attachment::Attached);
            }
            Ok(0) | Err(_) => return false,
            Ok(read) => &buffer[..read],
        };
        if self
            .attachment
            .is_some_and(|attachment| attach_helper::leaves(typed, attachment))
        {
            return false;
        }
        match self.route {
            Route::Discarded => {}
            Route::Prompt => {
                let keys = self.decoder.read(typed);
                self.report(keys);
            }
            Route::Program(program) => {
                let bytes = typed.to_vec();
                self.send(Event::Typed { program, bytes });
            }
        }
        true
    }

    /// A read-only terminal is always in raw mode, because it must not echo keystrokes.
    fn is_raw(&self) -> bool {
        self.attachment == Some(Attachment::ReadOnly) || self.route != Route::Discarded
    }

    fn settle(&mut self) {
        let keys = self.decoder.settle();
        self.report(keys);
    }

    fn report(&mut self, keys: Vec<Key>) {
        let is_unsettled = self.decoder.is_unsettled();
        self.settled_at = is_unsettled.then(|| Instant::now() + REST_OF_KEY);
        if !keys.is_empty() {
            self.send(Event::Pressed(keys));
        }
    }

    fn send(&self, event: Event) {
        // A send fails only if the receiver is gone, because the worker is exiting.
        let _gone = self.events.send(event);
    }
}

#[cfg(test)]
mod tests {
    use agent_team_system::pty::Pty;
    use agent_team_system::spawn::{Child, ProgramSpec};

    use super::*;

    /// A terminal in raw mode that no program reads, and the user's side of this terminal.
    struct Scene {
        pty: Pty,
        tty: Tty,
        keyboard: Keyboard,
        events: mpsc::UnboundedReceiver<Event>,
        _child: Child,
    }

    impl Scene {
        async fn new() -> Self {
            let pty = Pty::open(80, 24).unwrap();
            let line = "tty; exec sleep 1000";
            let child = pty.spawn(&ProgramSpec {
                program: "/bin/sh".into(),
                args: vec!["-c".into(), line.into()],
                env: std::env::vars_os().collect(),
                cwd: "/".into(),
            });
            let (mut name, mut buffer) = (String::new(), [0; 256]);
            while !name.ends_with('\n') {
                let read = pty.read(&mut buffer).await.unwrap();
                name.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
            }
            let mut tty = Tty::open_path(name.trim().as_ref()).unwrap();
            tty.enter_raw_mode().unwrap();
            let (to_pane, events) = mpsc::unbounded_channel();
            Self {
                pty,
                tty,
                keyboard: Keyboard::new(None, to_pane),
                events,
                _child: child.unwrap(),
            }
        }

        async fn type_in(&self, keys: &str) {
            self.pty.write_all(keys.as_bytes()).await.unwrap();
        }

        async fn hand_over(&mut self, route: Route, pauses: bool) {
            let is_open = self.keyboard.hand_over(&self.tty, route, pauses).await;
            assert!(is_open);
        }

        /// The reported keystrokes: for a program as text, for the prompt as keys.
        fn reported(&mut self) -> (String, Vec<Key>) {
            let (mut text, mut keys) = (String::new(), Vec::new());
            while let Ok(event) = self.events.try_recv() {
                match event {
                    Event::Typed { bytes, .. } => text.push_str(str::from_utf8(&bytes).unwrap()),
                    Event::Pressed(pressed) => keys.extend(pressed),
                    Event::Shown(_) | Event::Written | Event::Gone => panic!("{event:?}"),
                }
            }
            (text, keys)
        }
    }

    #[tokio::test]
    async fn unread_keys_belong_to_the_program_that_has_ended() {
        let mut scene = Scene::new().await;
        scene.hand_over(Route::Program(1), false).await;
        scene.type_in("secret\r").await;
        scene.hand_over(Route::Prompt, true).await;
        assert_eq!(scene.reported(), ("secret\r".into(), vec![]));
        scene.type_in("x").await;
        assert!(scene.keyboard.read(&scene.tty).await);
        assert_eq!(scene.reported(), (String::new(), vec![Key::Char('x')]));
    }

    #[tokio::test]
    async fn unread_keys_belong_to_the_prompt_before_a_task() {
        let mut scene = Scene::new().await;
        scene.hand_over(Route::Prompt, false).await;
        scene.type_in("ls").await;
        scene.hand_over(Route::Program(1), true).await;
        let keys = vec![Key::Char('l'), Key::Char('s')];
        assert_eq!(scene.reported(), (String::new(), keys));
    }

    #[tokio::test]
    async fn a_begun_paste_belongs_to_the_prompt_as_a_whole() {
        let mut scene = Scene::new().await;
        scene.hand_over(Route::Prompt, false).await;
        scene.type_in("\x1b[200~one ").await;
        assert!(scene.keyboard.read(&scene.tty).await);
        let Scene {
            pty, tty, keyboard, ..
        } = &mut scene;
        let (is_open, written) = tokio::join!(
            keyboard.hand_over(tty, Route::Program(1), false),
            pty.write_all(b"two\x1b[201~")
        );
        assert!(is_open && written.is_ok());
        let pasted = vec![Key::Paste("one two".into())];
        assert_eq!(scene.reported(), (String::new(), pasted));
    }
}
