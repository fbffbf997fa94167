//! The state of the single-terminal view: the shown member, the transcripts, key handling. Used by [`super`]; pure.
//!
//! Each member has its own [`TranscriptView`], which receives all its output. The view of the shown member is painted,
//! with a strip of all members above its prompt. The output of the other members appears when the user switches to
//! them.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use agent_team_client::Notice;
use agent_team_client::command_file::CalledCommand;
use agent_team_protocol::attention::Need;
use agent_team_protocol::engine::{OutputKind, TypedLine};
use agent_team_protocol::event::ClientEvent;
use agent_team_protocol::goal::GoalView;
use agent_team_protocol::method::{CallPrompt, CommandsAnswer};
use agent_team_protocol::notification::{OutputFragment, TransientNotice};
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::{Channel, DecideRequest, Decided, RequestState, RequestView};
use agent_team_protocol::spec::{CommandFile, Notify};
use agent_team_protocol::status::Status;
use agent_team_protocol::view::{MemberState, MemberView, RunState, TeamState, TeamView, Waiting};
use agent_team_protocol::{LaunchId, MemberName, RequestId, RunId, TeamId};
use agent_team_terminal_ui::keys::Key;
use agent_team_terminal_ui::line::Line;
use agent_team_terminal_ui::notifications::UserNotifications;
use agent_team_terminal_ui::style::{Style, Theme};
use agent_team_terminal_ui::{
    Candidate, CustomCommand, Names, PromptKind, TextKind, Tone, TranscriptView, UserAction, call,
};

use super::overlap::Overlap;
use super::strip::{self, Mark};
use crate::output::{member, style, text};

/// Printed once at the start; for a team of several members after [`TAB_HINT`].
const HINT: &str = "esc: interrupt · ^C twice: leave, the team stays up · /help";
const TAB_HINT: &str = "tab: next member · ";

/// Printed when the team goes down while the view is open. Messages are delivered when the team is up again.
const DOWN: &str =
    "the team is down; start it with agent-team up in another terminal, or leave with ^C twice";

/// The effect of a key, for the event loop.
#[derive(Debug)]
pub(super) enum Effect {
    Leave,
    /// `typed`: the line for the input history.
    Perform {
        action: Action,
        typed: Option<String>,
    },
}

/// An action of the user: a call to the supervisor, or a verb to run.
#[derive(Debug)]
pub(super) enum Action {
    Send {
        to: MemberName,
        text: String,
    },
    /// Run a shell line in the environment of a command member.
    RunLine {
        member: MemberName,
        line: String,
    },
    /// End the typed line that the member runs, if any.
    EndLine(MemberName),
    /// Add a task for a command member.
    Task {
        member: MemberName,
        line: String,
    },
    Decide(DecideRequest),
    /// Interrupt the member's turn.
    Interrupt(MemberName),
    /// Look up names to complete the prompt.
    Complete(Names),
    /// Run `agent-team` with these arguments.
    Verb(Vec<String>),
    /// Send the text of a command file to the member.
    Command {
        to: MemberName,
        file: Box<CommandFile>,
        called: CalledCommand,
    },
    /// Let the member send itself the text of an MCP server's prompt.
    Prompt(CallPrompt),
}

#[derive(Debug)]
struct MemberRow {
    view: MemberView,
    transcript: TranscriptView,
    /// The request that the member waits for, and whether it was already fetched.
    request: Option<(RequestId, bool)>,
    /// The log that was shown at the start.
    overlap: Overlap,
    /// The member has output since it was last shown.
    has_unread: bool,
    /// The member was removed from the team.
    removed: bool,
    /// Tool calls that the model is still streaming: the tool and the arguments so far.
    calls: HashMap<String, (String, String)>,
    /// The diff of a call whose result has not arrived yet.
    diff: Option<String>,
    commands: CommandsAnswer,
    /// The launch whose commands were requested. A later launch can have others.
    commands_of: Option<LaunchId>,
    /// The member has changed since its commands were requested: its MCP servers may have other prompts. The commands
    /// are requested after the next read of the team, so that a member cannot cause requests at a higher rate.
    has_changed: bool,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) team: TeamId,
    /// The team must be read again.
    pub(super) stale: bool,
    /// Never empty: the shown member stays, even when it is removed from the team.
    members: Vec<MemberRow>,
    /// The input history of all members, oldest first.
    history: Vec<String>,
    /// Index of the shown member.
    shown: usize,
    /// Whether the shown member was painted since the last switch.
    is_painted: bool,
    /// Bytes to write before the next frame: they erase the prompt of the previously shown member, or notify the user.
    prelude: Vec<u8>,
    notifications: UserNotifications,
    notify: Notify,
    in_tmux: bool,
    /// The run that is under way.
    run: Option<RunId>,
    is_down: bool,
    /// The permission mode of the team.
    mode: Option<Mode>,
    read_only: bool,
    theme: Theme,
    size: (u16, u16),
}

impl State {
    /// `None` when the team has no members.
    pub(super) fn new(
        team: &TeamView,
        first: Option<&MemberName>,
        read_only: bool,
        theme: Theme,
        notifications: UserNotifications,
        now: Instant,
    ) -> Option<Self> {
        let is_first = |view: &MemberView| first.map_or(view.lead, |first| view.name == *first);
        let shown = team.members.iter().position(is_first).unwrap_or(0);
        let mut state = Self {
            team: team.team.clone(),
            stale: false,
            members: Vec::new(),
            history: Vec::new(),
            shown,
            is_painted: false,
            prelude: Vec::new(),
            notifications,
            notify: team.notify.clone(),
            in_tmux: std::env::var_os("TMUX").is_some_and(|tmux| !tmux.is_empty()),
            run: None,
            is_down: team.state == TeamState::Down,
            mode: team.mode,
            read_only,
            theme,
            size: (80, 24),
        };
        for member in &team.members {
            state.add(member.clone(), now);
        }
        state.note_goal_end(team);
        let transcript = &mut state.members.get_mut(shown)?.transcript;
        let tab = if team.members.len() > 1 { TAB_HINT } else { "" };
        transcript.lines(Tone::Dim, &format!("{tab}{HINT}"));
        state.update_strip();
        Some(state)
    }

    fn add(&mut self, view: MemberView, now: Instant) {
        let mut transcript = TranscriptView::new(view.name.clone(), self.theme);
        transcript.set_colour(Some(view.colour));
        transcript.attach(self.size);
        transcript.remember(self.history.iter().cloned());
        transcript.set_prompt(match view.engine.typed() {
            TypedLine::Shell => PromptKind::Shell,
            TypedLine::Message => PromptKind::Message,
        });
        transcript.open("");
        let mut row = MemberRow {
            view: view.clone(),
            transcript,
            request: None,
            overlap: Overlap::new(String::new(), now),
            has_unread: false,
            removed: false,
            calls: HashMap::new(),
            diff: None,
            commands: CommandsAnswer {
                commands: Vec::new(),
                prompts: Vec::new(),
            },
            commands_of: None,
            has_changed: false,
        };
        row.show_work(now);
        row.on_refresh(view, now);
        self.members.push(row);
    }

    /// The shown member.
    pub(super) fn shown(&self) -> &MemberName {
        &self.members[self.shown].view.name
    }

    fn row(&mut self, member: &MemberName) -> Option<&mut MemberRow> {
        self.members.iter_mut().find(|row| row.view.name == *member)
    }

    pub(super) fn on_resize(&mut self, size: (u16, u16)) {
        self.size = size;
        for row in &mut self.members {
            row.transcript.resize(size);
        }
        self.update_strip();
    }

    pub(super) fn columns(&self) -> u16 {
        self.size.0
    }

    /// Shows the end of a member's log. `read`: the time of reading the log, if live output can be in the log.
    pub(super) fn append_log(&mut self, member: &MemberName, log: String, read: Option<Instant>) {
        if let Some(row) = self.row(member) {
            let text = text::of_program(&log);
            row.transcript.log(&text, row.view.engine.uses_model());
            if let Some(read) = read {
                row.overlap = Overlap::new(log, read);
            }
        }
    }

    /// Appends plain text to the transcript of a member.
    pub(super) fn append_output(&mut self, member: &MemberName, text: &str) {
        if let Some(row) = self.row(member) {
            row.transcript.lines(Tone::Plain, text);
        }
    }

    /// The agents whose slash commands were not requested since the launch or the last change of the member. Returns each
    /// change once.
    pub(super) fn take_unread_commands(&mut self) -> Vec<MemberName> {
        let new = self.members.iter_mut().filter(|row| {
            row.view.engine.typed() == TypedLine::Message
                && row.view.launch.is_some()
                && row.view.launch != row.commands_of
        });
        let new = new.map(|row| {
            row.commands_of.clone_from(&row.view.launch);
            row.view.name.clone()
        });
        new.collect()
    }

    /// Sets the slash commands of a member.
    pub(super) fn set_commands(&mut self, member: &MemberName, commands: CommandsAnswer) {
        if let Some(row) = self.row(member) {
            let files = commands.commands.iter().map(|file| CustomCommand {
                name: file.name.clone(),
                arguments: file.arguments.clone(),
                description: file.description.clone(),
            });
            let prompts = commands.prompts.iter().map(|prompt| CustomCommand {
                name: prompt.name.clone(),
                arguments: prompt.arguments.clone(),
                description: prompt.description.clone(),
            });
            let is_same = row.commands.commands == commands.commands
                && row.commands.prompts == commands.prompts;
            if !is_same {
                row.transcript.set_commands(files.chain(prompts).collect());
                row.commands = commands;
            }
        }
    }

    /// Adds lines to the input history, oldest first.
    pub(super) fn add_to_history(&mut self, typed: impl IntoIterator<Item = String>) {
        for text in typed {
            for row in &mut self.members {
                row.transcript.remember([text.clone()]);
            }
            self.history.push(text);
        }
    }

    /// Applies the current state of the team.
    pub(super) fn on_refresh(&mut self, team: TeamView, now: Instant) {
        self.notify = team.notify.clone();
        self.mode = team.mode;
        self.note_goal_end(&team);
        self.note_waits(&team);
        let was_down = std::mem::replace(&mut self.is_down, team.state == TeamState::Down);
        if self.is_down && !was_down {
            self.note(DOWN);
        }
        let names: Vec<_> = team.members.iter().map(|view| view.name.clone()).collect();
        for view in team.members {
            match self.row(&view.name) {
                Some(row) => row.on_refresh(view, now),
                None => self.add(view, now),
            }
        }
        let shown = &mut self.members[self.shown];
        let is_removed = !names.contains(&shown.view.name);
        if is_removed && !shown.removed {
            let text = format!("{} was removed from the team", shown.view.name);
            shown.transcript.end_work();
            shown.transcript.lines(Tone::Runtime, &text);
        }
        shown.removed = is_removed;
        let name = shown.view.name.clone();
        self.members
            .retain(|row| row.view.name == name || names.contains(&row.view.name));
        self.shown = self.position(&name);
        self.update_strip();
    }

    /// Notifies the user when the goal ends. The transcript of the lead shows the result.
    fn note_goal_end(&mut self, team: &TeamView) {
        let under_way = |goal: &GoalView| (goal.state == RunState::UnderWay).then_some(goal.run);
        let before = std::mem::replace(&mut self.run, team.goal.as_ref().and_then(under_way));
        if let (Some(before), Some(goal)) = (before, &team.goal)
            && goal.run == before
            && goal.state != RunState::UnderWay
        {
            let text = format!("{}: {}", team.name, goal.headline());
            self.notify_user(&text);
        }
    }

    /// Notifies the user of members that have begun to wait for the user, except the shown member.
    fn note_waits(&mut self, team: &TeamView) {
        let shown = self.shown().clone();
        let waits = team.members.iter().filter(|view| view.name != shown);
        let new = waits.filter_map(|view| {
            let need = Need::of(view)?;
            let before = self.members.iter().find(|row| row.view.name == view.name);
            let is_known = before.is_some_and(|row| Need::of(&row.view) == Some(need));
            (!is_known).then(|| format!("{} {}", view.name, need.verb()))
        });
        let new: Vec<_> = new.collect();
        if !new.is_empty() {
            self.notify_user(&format!("{}: {}", team.name, new.join(", ")));
        }
    }

    fn notify_user(&mut self, text: &str) {
        let desktop = match self.notify {
            Notify::Desktop => true,
            Notify::Bell => false,
            // The supervisor runs the user's command.
            Notify::Off | Notify::Command(_) => return,
        };
        let sequence = self.notifications.sequence(text, desktop, self.in_tmux);
        self.prelude.extend(sequence);
    }

    fn position(&self, member: &MemberName) -> usize {
        let at = |row: &MemberRow| row.view.name == *member;
        self.members.iter().position(at).unwrap_or(0)
    }

    /// The requests that were not fetched yet, with their members. Returns each request once.
    pub(super) fn take_unfetched_requests(&mut self) -> Vec<(MemberName, RequestId)> {
        let unfetched = self.members.iter_mut().filter_map(|row| {
            let (request, was_fetched) = row.request.as_mut()?;
            let first = !std::mem::replace(was_fetched, true);
            first.then(|| (row.view.name.clone(), *request))
        });
        unfetched.collect()
    }

    /// Fetches a request again after a decision about it failed. Its card is shown again if the request is still pending.
    pub(super) fn fetch_request_again(&mut self, member: &MemberName, request: RequestId) {
        let row = self.row(member).and_then(|row| row.request.as_mut());
        if let Some((_, was_fetched)) = row.filter(|(awaited, _)| *awaited == request) {
            *was_fetched = false;
        }
    }

    /// Shows the dialog of a request, if the member still waits for it and no decision was made.
    pub(super) fn open_request(&mut self, member: &MemberName, view: RequestView) {
        if let Some(row) = self.row(member)
            && row.request.is_some_and(|(request, _)| request == view.id)
            && view.state == RequestState::Pending
        {
            row.transcript.ask(view, Channel::Top);
        }
    }

    /// Offers names for the completion of a member's prompt.
    pub(super) fn offer(&mut self, member: &MemberName, names: &Names, candidates: Vec<Candidate>) {
        if let Some(row) = self.row(member) {
            row.transcript.offer(names, candidates);
        }
    }

    pub(super) fn on_notice(&mut self, notice: Notice, now: Instant) {
        let TransientNotice {
            member,
            text,
            fragments,
            ..
        } = match notice {
            Notice::Transient(notice) => notice,
            Notice::Event(notice) => {
                self.fold_decided(notice.event);
                self.stale = true;
                return;
            }
        };
        if text.is_empty() && fragments.is_empty() {
            self.stale = true;
            if let Some(row) = self.row(&member) {
                row.has_changed = true;
            }
            return;
        }
        let shown = self.shown().clone();
        if let Some(row) = self.row(&member) {
            row.has_unread = member != shown;
            match row.view.engine.output() {
                OutputKind::Plain => match row.overlap.new_part(&text, now) {
                    "" => {}
                    new => row.transcript.lines(Tone::Plain, new),
                },
                OutputKind::Transcript => {
                    for fragment in fragments {
                        row.on_output(fragment, now);
                    }
                }
            }
        }
        self.update_strip();
    }

    /// Folds the card of a request that this event decides or withdraws.
    fn fold_decided(&mut self, event: ClientEvent) {
        let (request, decided) = if let ClientEvent::RequestAllowed {
            request, scope, by, ..
        } = event
        {
            let (by, scope) = (Some(by), Some(scope));
            (request, Decided::Allowed { by, scope })
        } else if let ClientEvent::RequestDenied {
            request,
            by,
            reason,
            ..
        } = event
        {
            let reason = reason.to_string();
            (request, Decided::Denied { by, reason })
        } else if let ClientEvent::RequestWithdrawn { request, .. } = event {
            (request, Decided::Over)
        } else {
            return;
        };
        for row in &mut self.members {
            row.transcript.end_request(request, &decided);
        }
    }

    /// Shows a note of this program in the transcript of the shown member.
    pub(super) fn note(&mut self, text: &str) {
        self.members[self.shown]
            .transcript
            .lines(Tone::Runtime, text);
    }

    /// Handles the keys of one read.
    pub(super) fn on_keys(&mut self, keys: &[Key], now: Instant) -> Vec<Effect> {
        match keys {
            keys if keys.contains(&Key::Control('\\')) => return vec![Effect::Leave],
            [Key::Tab] if self.tab_switches() => self.switch(1),
            [Key::Control('t')] => self.switch(self.members.len() - 1),
            keys => {
                let row = &mut self.members[self.shown];
                if self.read_only {
                    let is_leave_key = |key| matches!(key, &Key::Control('c' | 'd'));
                    return keys
                        .iter()
                        .any(is_leave_key)
                        .then_some(Effect::Leave)
                        .into_iter()
                        .collect();
                }
                let actions = row.transcript.press(keys, now);
                let effects: Vec<Effect> = actions
                    .into_iter()
                    .filter_map(|action| row.effect(action))
                    .collect();
                for effect in &effects {
                    if let Effect::Perform {
                        typed: Some(typed), ..
                    } = effect
                    {
                        self.add_to_history([typed.clone()]);
                    }
                }
                return effects;
            }
        }
        Vec::new()
    }

    /// Whether Tab shows the next member. While the user types a text, Tab completes the text.
    fn tab_switches(&self) -> bool {
        self.read_only || self.members[self.shown].transcript.is_prompt_empty()
    }

    fn switch(&mut self, by: usize) {
        if std::mem::take(&mut self.is_painted) {
            self.prelude
                .extend(self.members[self.shown].transcript.hide());
        }
        let next = (self.shown + by) % self.members.len();
        let name = self.members[next].view.name.clone();
        // A removed member stays only while it is shown.
        self.members
            .retain(|row| row.view.name == name || !row.removed);
        self.shown = self.position(&name);
        self.members[self.shown].has_unread = false;
        self.update_strip();
    }

    pub(super) fn next_paint(&self, now: Instant) -> Option<Instant> {
        if !self.is_painted || !self.prelude.is_empty() {
            return Some(now);
        }
        self.members[self.shown].transcript.next_paint(now)
    }

    pub(super) fn paint(&mut self, now: Instant) -> Vec<u8> {
        let many = self.members.len() > 1;
        let team_mode = self.mode;
        let row = &mut self.members[self.shown];
        if !std::mem::replace(&mut self.is_painted, true) {
            let title = row.title(team_mode);
            row.transcript.show(many.then_some(&title));
        }
        let mut bytes = std::mem::take(&mut self.prelude);
        bytes.extend(row.transcript.paint(now));
        bytes
    }

    pub(super) fn on_painted(&mut self, now: Instant) {
        self.members[self.shown].transcript.was_painted(now);
    }

    /// Returns the last bytes to write; they erase the prompt.
    pub(super) fn leave(&mut self, now: Instant) -> Vec<u8> {
        let mut bytes = std::mem::take(&mut self.prelude);
        bytes.extend(self.members[self.shown].transcript.leave(now));
        bytes
    }

    /// Updates the strip above the prompt: the members if there are several, and how full the window of the shown
    /// member's model is.
    fn update_strip(&mut self) {
        let context = self.members[self.shown].view.context;
        let context = context.and_then(|context| context.label());
        let mut label = Line::default();
        if let Some(context) = context {
            label.push(Style::DIM, &format!(" {context}"));
        }
        if self.members.len() < 2 {
            return self.members[self.shown].transcript.set_strip(label);
        }
        let marks = self.members.iter().map(|row| {
            let (sign, style) = row.sign();
            Mark {
                name: &row.view.name,
                colour: row.view.colour,
                sign,
                style,
                has_unread: row.has_unread,
            }
        });
        let columns = usize::from(self.size.0).saturating_sub(1 + label.width());
        let mut strip = strip::strip(&marks.collect::<Vec<_>>(), self.shown, columns);
        strip.append(&label);
        self.members[self.shown].transcript.set_strip(strip);
    }
}

impl MemberRow {
    /// The sign of the state and its style, for the strip.
    fn sign(&self) -> (&'static str, Style) {
        match self.removed {
            true => (Status::Failure.sign(), style::BAD),
            false => (member::sign(&self.view), member::state_style(&self.view)),
        }
    }

    /// Shows the current work of the member with its duration, or nothing when it does not work.
    fn show_work(&mut self, now: Instant) {
        let duration = Duration::from_millis(self.view.for_ms);
        let since = now.checked_sub(duration).unwrap_or(now);
        let what = match self.view.task {
            Some(task) if self.view.engine.runs_lines() => task.to_string(),
            Some(_) | None => "thinking".to_owned(),
        };
        let is_working = self.view.state == MemberState::Working;
        self.transcript
            .set_work(is_working.then_some((what, since)));
    }

    /// The name and role, and the permission mode as in the border of a pane.
    fn title(&self, team_mode: Option<Mode>) -> String {
        let MemberView { name, role, .. } = &self.view;
        let role = match role.as_str() == name.as_str() {
            true => String::new(),
            false => format!(" ({role})"),
        };
        let mode = self.view.mode.or(team_mode);
        let mode = mode.and_then(|mode| mode.in_title(self.view.engine));
        let mode = mode.map_or_else(String::new, |mode| format!(" · {mode}"));
        format!("━━ {name}{role}{mode} ━━")
    }

    /// Applies the current state of the member.
    fn on_refresh(&mut self, view: MemberView, now: Instant) {
        let before = (self.view.state, self.view.task);
        let is_new = before != (view.state, view.task);
        self.view = view;
        if std::mem::take(&mut self.has_changed) {
            self.commands_of = None;
        }
        if is_new {
            self.show_work(now);
        }
        let is_working = |state| matches!(state, MemberState::Working | MemberState::Waiting);
        if is_working(before.0) && !is_working(self.view.state) {
            // The notification about the end of a tool call may have been lost: notifications are not stored.
            self.transcript.end_work();
            self.calls.clear();
        }
        self.transcript
            .set_waiting(self.view.state == MemberState::Waiting, now);
        let request = match &self.view.waiting {
            Some(Waiting::Permission { request } | Waiting::Plan { request, .. }) => Some(*request),
            Some(_) | None => None,
        };
        let before = self.request.map(|(request, _)| request);
        if request != before {
            if let Some(before) = before {
                // Usually the event with the decision has already arrived.
                self.transcript.end_request(before, &Decided::Unknown);
            }
            self.request = request.map(|request| (request, false));
        }
    }

    /// Adds output of the model to the transcript.
    fn on_output(&mut self, fragment: OutputFragment, now: Instant) {
        match fragment {
            OutputFragment::Text { delta, .. } => {
                self.transcript.push_text(TextKind::Answer, &delta)
            }
            OutputFragment::TextEnded { .. } => self.transcript.end_text(),
            OutputFragment::Call { call, tool, .. } => {
                self.calls.insert(call, (tool, String::new()));
            }
            OutputFragment::Input { call, delta } => {
                if let Some((_, input)) = self.calls.get_mut(&call) {
                    input.push_str(&delta);
                }
            }
            OutputFragment::CallEnded { call } => {
                if let Some((tool, input)) = self.calls.remove(&call) {
                    self.transcript
                        .begin_call(&call, &call::header(&tool, &input), now);
                }
            }
            OutputFragment::Returned { call, text, failed } => {
                let diff = self.diff.take();
                let first_line = call::first_line(&text, failed);
                self.transcript
                    .end_call(&call, &first_line, diff.as_deref(), &text);
            }
            OutputFragment::Lines { text, diff: true } => self.diff = Some(text),
            OutputFragment::Lines { text, diff: false } => {
                self.transcript.lines(Tone::Runtime, &text);
            }
            OutputFragment::Thought { .. } | OutputFragment::Unknown => {}
        }
    }

    /// Translates an action of the user at the prompt; `None` if it has no effect in this view.
    fn effect(&self, user_action: UserAction) -> Option<Effect> {
        let member = self.view.name.clone();
        let (action, typed) = match user_action {
            UserAction::Typed(text) => {
                let line = text.clone();
                let action = match self.view.engine.typed() {
                    TypedLine::Shell => Action::RunLine { member, line },
                    TypedLine::Message => Action::Send {
                        to: member,
                        text: line,
                    },
                };
                (action, Some(text))
            }
            UserAction::Run(typed, words) => (Action::Verb(words), Some(typed)),
            UserAction::Task(typed, line) => (Action::Task { member, line }, Some(typed)),
            UserAction::Interrupt => (Action::Interrupt(member), None),
            UserAction::Custom(typed, name, words) => {
                let mut files = self.commands.commands.iter();
                let Some(file) = files.find(|file| file.name == name) else {
                    let prompt = CallPrompt {
                        member,
                        name,
                        words,
                    };
                    let action = Action::Prompt(prompt);
                    let typed = Some(typed);
                    return Some(Effect::Perform { action, typed });
                };
                let file = Box::new(file.clone());
                let called = CalledCommand {
                    typed: typed.clone(),
                    name,
                    words,
                };
                let to = member;
                (Action::Command { to, file, called }, Some(typed))
            }
            UserAction::CancelLines => (Action::EndLine(member), None),
            UserAction::Complete(names) => (Action::Complete(names), None),
            UserAction::Decide(decide) => (Action::Decide(decide), None),
            UserAction::NextMode => {
                let words = ["mode", "next"].map(str::to_owned);
                (Action::Verb(words.into()), None)
            }
            UserAction::Leave => return Some(Effect::Leave),
        };
        Some(Effect::Perform { action, typed })
    }
}
