//! Notifies the user of requests, of messages to the user, of held members, of used-up limits, and of the end of a
//! goal. The notification appears in the terminal that shows the member, or the user's program receives it. A held
//! member has no terminal: the terminal of another member shows its notification. Called with each event after its
//! commit, so that an event notifies at most once: neither a restart of the supervisor nor a repeated call notifies
//! again.
//!
//! ```text
//! event ─┬─ the user's program runs
//!        ├─ the member has no pane ───────────────────────────┬─ the terminal that shows the member notifies
//!        └─ does its pane have the focus? ── no, or unknown ──┘
//!                                        └─ yes: the user sees the event
//! ```
//! The notification contains text of agents. It is one line without control characters; the program receives it as an
//! argument and as JSON, never as part of a shell line.

use std::rc::Rc;

use agent_team_core::Event;
use agent_team_core::member::Next;
use agent_team_core::round::Strategy;
use agent_team_protocol::notification::{GoalEnded, NotifyUser};
use agent_team_protocol::spec::{Notify, NotifyCommand};
use agent_team_protocol::text::visible_label;
use agent_team_protocol::value::BudgetState;
use agent_team_protocol::{MemberName, Party};
use tokio::sync::oneshot;

use super::Driver;
use super::launches::LaunchRuntime;
use super::message::Message;
use super::notifier::Kind;
use crate::hooks::{self, Program};
use crate::launch::Order;
use crate::{permission, view};

/// Maximum characters of a notification.
const TEXT_CHARACTERS: usize = 200;

impl Driver {
    /// Notifies the user of a committed event, if the user should know it at once.
    pub(super) fn notify_user(&mut self, event: &Event) {
        let Some((kind, member, text)) = self.notification_of(event) else {
            return;
        };
        let text = format!("{}: {text}", self.identity.name);
        let text = visible_label(&text, TEXT_CHARACTERS);
        let notify = self.settings.team().map(|settings| settings.notify.clone());
        let desktop = match notify.unwrap_or_default() {
            Notify::Off => return,
            Notify::Command(command) if self.notifier.is_due(kind) => {
                return self.run_notify_command(command, kind, &member, text);
            }
            Notify::Command(_) => return,
            Notify::Desktop => true,
            Notify::Bell => false,
        };
        let notify = NotifyUser { text, desktop };
        let member = self.shown_by(member);
        let runtime = self.launches.of(&self.team, &member);
        let Some(pane) = runtime.and_then(|(_, runtime)| LaunchRuntime::pane(runtime)) else {
            return self.show_notification(kind, &member, &notify);
        };
        let (answered, has_focus) = oneshot::channel();
        self.launcher.order(Order::AskFocus(pane.clone(), answered));
        let driver = self.to_self.clone();
        tokio::task::spawn_local(async move {
            if !has_focus.await.unwrap_or(false) {
                let _driver_gone = driver.send(Message::Unfocused {
                    kind,
                    member,
                    notify,
                });
            }
        });
    }

    /// The member whose terminal shows a notification about `member`. If `member` has no launch, the lead or another
    /// member with a launch shows the notification.
    fn shown_by(&self, member: MemberName) -> MemberName {
        let has_launch = |name: &&MemberName| self.launches.of(&self.team, name).is_some();
        let names = self.team.lead().into_iter().chain(self.team.members());
        let mut names = std::iter::once(&member).chain(names.map(|other| &other.spec.name));
        names.find(has_launch).unwrap_or(&member).clone()
    }

    /// Notifies the user through the terminal that shows the member.
    pub(super) fn show_notification(
        &mut self,
        kind: Kind,
        member: &MemberName,
        notify: &NotifyUser,
    ) {
        if self.notifier.is_due(kind) {
            self.notify(member, notify);
            self.publish_notification(member, notify);
        }
    }

    /// The text of a notification, and the member whose terminal shows it.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "the user is notified of few events"
    )]
    fn notification_of(&mut self, event: &Event) -> Option<(Kind, MemberName, String)> {
        match event {
            Event::RequestAsked {
                request, member, ..
            } => {
                let request = self.team.requests().get(*request)?;
                let text = permission::lead_notice(request).filter(|_| request.is_pending())?;
                Some((Kind::Request, member.clone(), text))
            }
            Event::MessageAccepted {
                from: Party::Member(from),
                to,
                text,
                ..
            } if to.contains(&Party::User) => {
                let line = text.trim().lines().next().unwrap_or_default();
                Some((Kind::Message, from.clone(), format!("{from}: {line}")))
            }
            Event::RunFinished { answer, .. } => {
                // A lead that does not work in rounds has shown the end of the goal itself.
                let shown = self.team.spec().strategy == Strategy::Lead;
                self.goal_ended(answer, shown)
            }
            Event::RunFailed { reason, .. } => self.goal_ended(reason, false),
            Event::LaunchEnded {
                member,
                next: Next::Hold { reason },
                ..
            }
            | Event::MemberParked {
                member,
                next: Next::Hold { reason },
            } => Some((
                Kind::Held,
                member.clone(),
                format!("{member} is held: {reason}"),
            )),
            Event::BudgetStateChanged {
                member,
                measure,
                state: BudgetState::Spent,
            } => {
                let of = member.as_ref().map_or("the team", MemberName::as_str);
                let text = format!("{of} has used up {}", measure.key());
                // The limit of the team concerns all members: the lead, or a member of a team without lead, shows the
                // notification.
                let mut names = self.team.lead().into_iter().chain(self.team.members());
                let member = member
                    .as_ref()
                    .or(names.next().map(|other| &other.spec.name))?;
                Some((Kind::Limit, member.clone(), text))
            }
            _ => None,
        }
    }

    /// The notification of the end of the goal. Unless the pane of the lead has already `shown` the end, also shows it
    /// there.
    fn goal_ended(&mut self, text: &str, shown: bool) -> Option<(Kind, MemberName, String)> {
        let goal = view::goal(&self.team, self.now(), self.machine.wall_ms())?;
        let lead = self.team.lead()?.spec.name.clone();
        let headline = goal.headline();
        if !shown {
            let text = text.to_owned();
            self.notify(&lead, &GoalEnded { goal, text });
        }
        Some((Kind::Goal, lead, headline))
    }

    /// Runs the user's program in its own tokio task and process group.
    fn run_notify_command(
        &self,
        command: NotifyCommand,
        kind: Kind,
        member: &MemberName,
        text: String,
    ) {
        let mut environment = self.environment().unwrap_or_default().of_hooks();
        for (name, value) in [
            ("AGENT_TEAM_EVENT", kind.name()),
            ("AGENT_TEAM_TEAM", self.identity.team.as_str()),
            ("AGENT_TEAM_MEMBER", member.as_str()),
        ] {
            environment.insert(name.to_owned(), value.to_owned());
        }
        let input = serde_json::json!({
            "event": kind.name(),
            "team": self.identity.team,
            "member": member,
            "text": text,
        });
        let NotifyCommand { mut argv, files } = command;
        argv.push(text);
        let program = Program {
            argv,
            files,
            project: self.identity.project.clone(),
            environment,
            input: input.to_string(),
        };
        let has_failed = Rc::clone(&self.notifier.has_failed);
        tokio::task::spawn_local(async move {
            let name = program.argv[0].clone();
            if let Err(why) = hooks::run_program(program).await {
                if has_failed.replace(true) {
                    tracing::debug!(name, why, "the program of `notify` failed again");
                } else {
                    tracing::warn!(name, why, "the program of `notify` failed");
                }
            }
        });
    }
}
