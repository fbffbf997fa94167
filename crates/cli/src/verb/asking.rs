//! Asks the user for decisions, and for answers to the questions of members, on the terminal while `run` or `up --wait`
//! waits. Called by [`super::waiting`].
//!
//! ```text
//! request ──► queue ──► shown ──► line typed ──► decided ──► next of the queue
//!                         │└──── not an answer ──► prompt again
//!                         └───── decided by another client ──► closed with one line
//! ```
//! A member's question passes through the same states. A typed line is the answer, and an empty line leaves the
//! question open.
//!
//! The terminal stays in its usual mode: an answer is a line, and `^C` ends the wait as before. Input that was typed
//! before a dialog is discarded. A request that does not fit the screen can only be allowed after all of it was shown.
//! Another client can decide a request at any time. In the background no dialog is shown: requests stay in the queue
//! until the process is in the foreground.

use std::collections::{BTreeSet, VecDeque};
use std::io::Write;
use std::time::Duration;

use agent_team_client::{Notice, Session, SessionError, Subscription};
use agent_team_protocol::command_line::CommandLine;
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::method::{MessageSend, RequestDecide, RequestList, SendMessage};
use agent_team_protocol::request::{
    Channel, DecideRequest, Decision, ListRequests, RequestState, RequestView, Scope,
    UserQuestionView,
};
use agent_team_protocol::{MessageId, Party, Recipient, RequestId, Revision};
use agent_team_system::terminal::{self, Tty};
use agent_team_terminal_ui::dialog::Dialog;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::requests;
use crate::error::Failure;
use crate::output::Output;
use crate::output::request::{self, action_line, state};
use crate::output::{style, text};

/// The size of a terminal that reports no size.
const DEFAULT_SIZE: (u16, u16) = (80, 24);

/// Rows that a request leaves free on the screen: for the line about omitted rows, and for the prompt.
const FREE_ROWS: usize = 3;

/// The minimum number of shown rows, even on a smaller screen.
const ROWS_MIN: usize = 5;

/// While requests are queued, interval of the check whether the command is in the foreground. A shell that moves a
/// running job to the foreground sends it no signal.
const FOREGROUND_INTERVAL: Duration = Duration::from_millis(200);

pub(super) struct Asker {
    tty: Tty,
    session: Session,
    events: Subscription,
    output: Output,
    /// Requests and questions that were not shown yet, oldest first.
    queue: VecDeque<Item>,
    open: Option<OpenItem>,
    /// The questions of members that were queued before.
    known: BTreeSet<MessageId>,
    foreground_check: Interval,
}

#[derive(Debug, PartialEq, Eq)]
enum Item {
    Request(RequestId),
    Question(UserQuestionView),
}

/// The request or question that waits for a typed line.
enum OpenItem {
    Request(Box<OpenRequest>),
    Question(UserQuestionView),
}

/// The request that is open for an answer.
struct OpenRequest {
    view: RequestView,
    dialog: Dialog,
    /// All rows were shown.
    is_read: bool,
    /// The user has chosen `e`: the next line is the reason.
    wants_reason: bool,
}

pub(super) enum AskerEvent {
    Notice(Result<Notice, SessionError>),
    /// The input of one read. `None`: the terminal was closed, or the user typed `^D`.
    Typed(Option<String>),
    /// Requests are queued, and the process may be in the foreground now.
    ForegroundCheck,
}

/// The meaning of a typed line.
#[derive(Debug, PartialEq, Eq)]
enum LineMeaning {
    Decided(Decision),
    /// A denial; its reason follows.
    NeedsReason,
    ShowAll,
    /// An approval that does not count, because not all of the request was shown yet.
    Unread,
    Unknown,
}

impl Asker {
    /// `None` if there is no terminal to ask on: stdin and stderr must be terminals.
    pub(super) async fn new(
        session: &Session,
        output: Output,
        after: Revision,
    ) -> Result<Option<Self>, Failure> {
        let Some(tty) = may_ask(output).then(Tty::open).and_then(Result::ok) else {
            return Ok(None);
        };
        let mut foreground_check = interval(FOREGROUND_INTERVAL);
        foreground_check.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut asker = Self {
            tty,
            session: session.separate(),
            events: Subscription::new(session.separate(), after, false).await?,
            output,
            queue: VecDeque::new(),
            open: None,
            known: BTreeSet::new(),
            foreground_check,
        };
        let list = ListRequests { all: false };
        let pending = asker.session.query::<RequestList>(list).await?.requests;
        let pending = pending.iter().map(|view| Item::Request(view.id));
        asker.queue.extend(pending);
        asker.update_questions().await?;
        asker.open_next().await?;
        Ok(Some(asker))
    }

    pub(super) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether dialogs can be shown now: the command must be in the foreground.
    pub(super) fn can_ask(&self) -> bool {
        self.tty.is_in_foreground()
    }

    /// The next event. Cancel-safe.
    pub(super) async fn next(&mut self) -> AskerEvent {
        let mut buffer = [0; 4096];
        tokio::select! {
            biased;
            notice = self.events.next() => AskerEvent::Notice(notice),
            read = self.tty.read(&mut buffer), if self.open.is_some() => {
                let read = read.unwrap_or(0);
                let typed = (read > 0).then(|| String::from_utf8_lossy(&buffer[..read]).into_owned());
                AskerEvent::Typed(typed)
            }
            _ = self.foreground_check.tick(), if self.open.is_none() && !self.queue.is_empty() => {
                AskerEvent::ForegroundCheck
            }
        }
    }

    /// # Errors
    /// If the supervisor cannot be reached, or the terminal was closed: no more questions can be asked.
    pub(super) async fn handle(&mut self, event: AskerEvent) -> Result<(), Failure> {
        match event {
            AskerEvent::Notice(notice) => self.on_notice(&notice?).await,
            AskerEvent::Typed(Some(typed)) => self.on_typed(&typed).await,
            AskerEvent::Typed(None) => Err(Failure::usage(
                "the terminal is closed; decide with: agent-team requests",
            )),
            AskerEvent::ForegroundCheck => self.open_next().await,
        }
    }

    /// Ends the line of the open dialog; its request stays pending.
    pub(super) fn leave(&mut self) {
        if self.open.take().is_some() {
            print("\n");
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other events are about neither requests nor questions"
    )]
    async fn on_notice(&mut self, notice: &Notice) -> Result<(), Failure> {
        let Notice::Event(notice) = notice else {
            return Ok(());
        };
        match &notice.event {
            ClientEvent::RequestAsked { request, .. } => {
                let item = Item::Request(*request);
                if !self.asks_about(*request) && !self.queue.contains(&item) {
                    self.queue.push_back(item);
                }
            }
            // A question of a member, or an answer of the user.
            ClientEvent::MessageAccepted { from, to, .. }
                if *from == Party::User || to.contains(&Party::User) =>
            {
                self.update_questions().await?;
            }
            ClientEvent::RequestAllowed { request, .. }
            | ClientEvent::RequestDenied { request, .. }
            | ClientEvent::RequestWithdrawn { request, .. } => {
                let item = Item::Request(*request);
                self.queue.retain(|queued| *queued != item);
                if self.asks_about(*request) {
                    self.leave();
                    let view = requests::show(&mut self.session, *request).await?;
                    self.output.note(&decided(&view));
                }
            }
            _ => {}
        }
        self.open_next().await
    }

    fn asks_about(&self, request: RequestId) -> bool {
        matches!(&self.open, Some(OpenItem::Request(open)) if open.view.id == request)
    }

    /// Queues the new questions of members, and drops the questions that are closed.
    async fn update_questions(&mut self) -> Result<(), Failure> {
        let list = ListRequests { all: false };
        let questions = self.session.query::<RequestList>(list).await?.questions;
        let is_open = |id: MessageId| questions.iter().any(|question| question.id == id);
        self.queue.retain(|item| match item {
            Item::Request(_) => true,
            Item::Question(question) => is_open(question.id),
        });
        if let Some(OpenItem::Question(question)) = &self.open
            && !is_open(question.id)
        {
            let ended = format!("{} of {} needs no answer now", question.id, question.member);
            self.leave();
            self.output.note(&ended);
        }
        let new = questions
            .into_iter()
            .filter(|it| self.known.insert(it.id))
            .map(Item::Question);
        self.queue.extend(new);
        Ok(())
    }

    /// Sends the typed line as the answer to a member's question.
    async fn answer(&mut self, question: &UserQuestionView, typed: &str) -> Result<(), Failure> {
        let line = typed.lines().next().unwrap_or_default().trim();
        if line.is_empty() {
            let later = CommandLine::Send(&question.member);
            self.output.note(&format!("answer later with: {later}"));
            return Ok(());
        }
        let message = SendMessage {
            to: Recipient::Member(question.member.clone()),
            text: line.to_owned(),
            urgent: false,
            reply_to: Some(question.id),
            summary: None,
            wants_reply: false,
            attach_outside: true,
        };
        if let Err(error) = self.session.call::<MessageSend>(message).await {
            self.output.note(&text::line(&error.to_string()));
        }
        Ok(())
    }

    async fn on_typed(&mut self, typed: &str) -> Result<(), Failure> {
        let request = match &mut self.open {
            None => return Ok(()),
            Some(OpenItem::Request(request)) => request,
            Some(OpenItem::Question(question)) => {
                let question = question.clone();
                self.open = None;
                self.answer(&question, typed).await?;
                return self.open_next().await;
            }
        };
        match request.read(typed) {
            LineMeaning::Decided(decision) => self.decide(decision).await,
            LineMeaning::NeedsReason => {
                request.wants_reason = true;
                self.prompt();
                Ok(())
            }
            LineMeaning::ShowAll => {
                request.is_read = true;
                let (columns, _) = self.tty.size().unwrap_or(DEFAULT_SIZE);
                let (text, _) = shown(&request.dialog, columns.into(), usize::MAX);
                self.output.note(&text);
                // An answer that was typed before the rest was on the screen does not count.
                let _kept = self.tty.discard_input();
                self.prompt();
                Ok(())
            }
            LineMeaning::Unread => {
                self.output
                    .note("not all of the request was shown: type `a` to see all of it");
                self.prompt();
                Ok(())
            }
            LineMeaning::Unknown => {
                self.prompt();
                Ok(())
            }
        }
    }

    async fn decide(&mut self, decision: Decision) -> Result<(), Failure> {
        let Some(OpenItem::Request(open)) = self.open.take() else {
            return Ok(());
        };
        let view = open.view;
        let request = view.id;
        let decide = DecideRequest {
            request,
            digest: Some(view.digest),
            decision,
            via: Some(Channel::Cli),
        };
        match self.session.call::<RequestDecide>(decide).await {
            Ok(_) => {
                let view = requests::show(&mut self.session, request).await?;
                self.output.note(&decided(&view));
            }
            // Another client may have decided first. A request that is still pending is asked about again.
            Err(error) => {
                self.output.note(&text::line(&error.to_string()));
                self.queue.push_front(Item::Request(request));
            }
        }
        self.open_next().await
    }

    /// Shows the next pending request or question, unless one is open.
    async fn open_next(&mut self) -> Result<(), Failure> {
        while self.open.is_none() {
            // A process in the background must not ask: reading the terminal would stop it. The next check tries again.
            if !self.tty.is_in_foreground() {
                return Ok(());
            }
            let id = match self.queue.pop_front() {
                None => return Ok(()),
                Some(Item::Request(id)) => id,
                Some(Item::Question(view)) => {
                    self.output.note(request::question(&view).trim_end());
                    self.open = Some(OpenItem::Question(view));
                    let _kept = self.tty.discard_input();
                    self.prompt();
                    return Ok(());
                }
            };
            let view = requests::show(&mut self.session, id).await?;
            if view.state != RequestState::Pending {
                continue;
            }
            let (columns, rows) = self.tty.size().unwrap_or(DEFAULT_SIZE);
            let most = usize::from(rows).saturating_sub(FREE_ROWS).max(ROWS_MIN);
            let dialog = Dialog::of(view.clone(), Channel::Cli);
            let (text, omitted) = shown(&dialog, columns.into(), most);
            self.output.note(&text);
            if omitted > 0 {
                let rows = if omitted == 1 { "line" } else { "lines" };
                self.output.note(&format!(
                    "… {omitted} more {rows}: type `a`, or run: agent-team requests show {id}"
                ));
            }
            self.open = Some(OpenItem::Request(Box::new(OpenRequest {
                view,
                dialog,
                is_read: omitted == 0,
                wants_reason: false,
            })));
            // Discard the input once the request is on the screen: keys that were typed before are not an answer.
            let _kept = self.tty.discard_input();
            self.prompt();
        }
        Ok(())
    }

    fn prompt(&self) {
        match &self.open {
            None => {}
            Some(OpenItem::Request(request)) => print(&request.prompt()),
            Some(OpenItem::Question(view)) => {
                print(&format!("{}, your answer (Enter: later): ", view.id));
            }
        }
    }
}

impl OpenRequest {
    fn prompt(&self) -> String {
        let id = self.view.id;
        if self.wants_reason {
            return format!("{id}: no, because: ");
        }
        let all = if self.is_read { "" } else { "[a] all " };
        if self.view.plan.is_some() {
            return format!("{id}? {all}[y] approve [n] send back [e] send back, because… ");
        }
        let rules = match self.dialog.offers().len() {
            0 => String::new(),
            1 => "[1] rule for the team ".to_owned(),
            offers => format!("[1-{offers}] rules for the team "),
        };
        let scope = self.view.default_scope.name();
        format!("{id}? {all}[y] {scope} {rules}[n] no [e] no, because… ")
    }

    /// Reads a typed line: only the first line of the input counts.
    fn read(&self, typed: &str) -> LineMeaning {
        let line = typed.lines().next().unwrap_or_default().trim();
        let deny = |reason: &str| {
            LineMeaning::Decided(Decision::Deny {
                reason: reason.to_owned(),
            })
        };
        if self.wants_reason {
            return deny(line);
        }
        let allow = |scope, rules| match self.is_read {
            true => LineMeaning::Decided(Decision::Allow { scope, rules }),
            false => LineMeaning::Unread,
        };
        match line {
            "y" => allow(self.view.default_scope, Vec::new()),
            "n" => deny(""),
            "e" => LineMeaning::NeedsReason,
            "a" => LineMeaning::ShowAll,
            line => {
                if let Some(reason) = line.strip_prefix("e ") {
                    return deny(reason.trim());
                }
                let offers = self.dialog.offers();
                let numbered = (1..).map(|number: usize| number.to_string()).zip(offers);
                let mut chosen = numbered.filter(|(number, _)| number == line);
                match chosen.next() {
                    Some((_, offer)) => allow(Scope::Team, offer.rules.clone()),
                    None => LineMeaning::Unknown,
                }
            }
        }
    }
}

/// Whether dialogs can be shown on stderr and answered on stdin.
pub(super) fn may_ask(output: Output) -> bool {
    !output.is_json()
        && terminal::is_terminal(std::io::stdin())
        && terminal::is_terminal(std::io::stderr())
}

/// `P-4 is allowed by user: bash: git push`
fn decided(view: &RequestView) -> String {
    let by = view.decided_by.as_ref().map(|by| format!(" by {by}"));
    let by = by.unwrap_or_default();
    format!("{} is {}{by}: {}", view.id, state(view), action_line(view))
}

/// The first `most` lines of a request on a terminal with these columns, and the number of omitted lines.
fn shown(dialog: &Dialog, columns: usize, most: usize) -> (String, usize) {
    let lines = dialog.lines(columns);
    let omitted = lines.len().saturating_sub(most);
    let lines = lines[..lines.len() - omitted].iter();
    let lines: Vec<String> = lines.map(|line| line.ansi(style::theme())).collect();
    (lines.join("\n"), omitted)
}

fn print(text: &str) {
    let mut stderr = anstream::stderr();
    // A closed stderr must not fail the command.
    let _gone = write!(stderr, "{text}").and_then(|()| stderr.flush());
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn open_request(is_read: bool) -> OpenRequest {
        let view = json!({
            "id": "P-4", "member": "ada", "tool": "bash", "input": {"command": "ls"},
            "directory": "/project", "state": "pending", "digest": "d", "asked_at": 0, "why": [],
            "offers": [
                {"rules": [], "covers": "exactly this"},
                {"rules": ["Bash(ls:*)"], "covers": "every ls"},
            ],
        });
        let view: RequestView = serde_json::from_value(view).unwrap();
        OpenRequest {
            dialog: Dialog::of(view.clone(), Channel::Cli),
            view,
            is_read,
            wants_reason: false,
        }
    }

    fn deny(reason: &str) -> LineMeaning {
        LineMeaning::Decided(Decision::Deny {
            reason: reason.to_owned(),
        })
    }

    fn allow(scope: Scope, rules: &[&str]) -> LineMeaning {
        let rules = rules.iter().map(|&rule| rule.to_owned()).collect();
        LineMeaning::Decided(Decision::Allow { scope, rules })
    }

    #[test]
    fn each_answer_is_one_line() {
        let mut open_request = open_request(true);
        assert_eq!(
            open_request.prompt(),
            "P-4? [y] once [1] rule for the team [n] no [e] no, because… "
        );
        for (typed, expected) in [
            ("y\n", allow(Scope::Once, &[])),
            ("1\ny\n", allow(Scope::Team, &["Bash(ls:*)"])),
            ("n\n", deny("")),
            ("e\n", LineMeaning::NeedsReason),
            ("e tests first\n", deny("tests first")),
            ("a\n", LineMeaning::ShowAll),
        ] {
            assert_eq!(open_request.read(typed), expected, "{typed:?}");
        }
        for typed in ["", "\n", "yes\n", "Y\n", "0\n", "2\n", "ny\n", "\x1b[A\n"] {
            assert_eq!(open_request.read(typed), LineMeaning::Unknown, "{typed:?}");
        }
        open_request.wants_reason = true;
        assert_eq!(open_request.read("y\n"), deny("y"));
    }

    #[test]
    fn an_unread_request_can_only_be_denied() {
        let open_request = open_request(false);
        assert_eq!(open_request.read("y\n"), LineMeaning::Unread);
        assert_eq!(open_request.read("1\n"), LineMeaning::Unread);
        assert_eq!(open_request.read("n\n"), deny(""));
        assert!(open_request.prompt().starts_with("P-4? [a] all [y]"));
    }

    #[test]
    fn a_long_request_is_cut_by_lines() {
        let dialog = open_request(true).dialog;
        let (whole, omitted) = shown(&dialog, 60, usize::MAX);
        assert_eq!(omitted, 0);
        assert!(whole.contains("ls") && whole.contains("[1] "), "{whole}");
        let (begun, omitted) = shown(&dialog, 60, 2);
        assert_eq!(begun.lines().count(), 2, "{begun}");
        assert_eq!(begun.lines().count() + omitted, whole.lines().count());
    }
}
