//! Views of members for clients, and labels for the borders of their panes.

use agent_team_core::member::{Life, Member};
use agent_team_protocol::method::MemberAnswer;
use agent_team_protocol::notification::Allowance;
use agent_team_protocol::view::{MemberState, MemberView, Placement, TeamState};
use agent_team_protocol::{MemberName, attention};

use super::Driver;
use super::launches::LaunchRuntime;
use crate::launch::panes::TerminalBackend;
use crate::launch::{Label, Order};
use crate::settings;
use crate::view::{self, RuntimeFacts};

impl Driver {
    pub(super) fn member_views(&self) -> Vec<MemberView> {
        let names: Vec<MemberName> = self
            .team
            .members()
            .map(|member| member.plan.name.clone())
            .collect();
        let mut views: Vec<MemberView> = names
            .iter()
            .filter_map(|name| self.member_view(name))
            .collect();
        views.sort_by_key(|view| !view.lead);
        views
    }

    pub(super) fn member_answer(&self, name: &MemberName) -> Option<MemberAnswer> {
        Some(MemberAnswer {
            revision: self.team.revision(),
            member: self.member_view(name)?,
            team: Some(self.team_state()),
        })
    }

    pub(super) fn team_state(&self) -> TeamState {
        if self.team.is_down() {
            TeamState::Down
        } else {
            TeamState::Up
        }
    }

    pub(super) fn member_view(&self, name: &MemberName) -> Option<MemberView> {
        let member = self.team.member(name)?;
        let runtime = self.launches.of(&self.team, name);
        let runtime = runtime.map(|(_, runtime)| runtime);
        let wanted = self.wanted_placement(member);
        let placement = runtime.and_then(LaunchRuntime::placement).unwrap_or(wanted);
        let facts = RuntimeFacts {
            settings: self.settings.member(name).ok(),
            wall_ms: self.machine.wall_ms(),
            placement,
            lost_pane: wanted.has_panes() && placement == Placement::Headless,
            pane: runtime.and_then(LaunchRuntime::pane).cloned(),
            unresponsive: runtime.is_some_and(LaunchRuntime::is_unresponsive),
            disconnected: matches!(member.life, Life::Ready { .. })
                && !runtime.is_some_and(LaunchRuntime::is_connected),
            waiting: runtime.and_then(LaunchRuntime::waiting).cloned(),
        };
        Some(view::member(&self.team, member, facts, self.now()))
    }

    pub(super) fn wanted_placement(&self, member: &Member) -> Placement {
        let settings = self.settings.member(&member.plan.name);
        let (headless, hosted) = settings.map_or((false, false), |settings| {
            (settings.headless, settings.hosted)
        });
        match self
            .settings
            .team()
            .map(|settings| &settings.team_placement.terminal)
        {
            // An embedding program has no terminals: all its members are hosted.
            Some(TerminalBackend::Hosted) if self.launcher.hosts() => Placement::Hosted,
            _ if hosted => Placement::Hosted,
            _ if headless => Placement::Headless,
            Some(terminal) => terminal.placement(),
            None => Placement::Headless,
        }
    }

    pub(super) fn label_of(&self, name: &MemberName) -> Option<Label> {
        let member = self.team.member(name)?;
        let task = self.team.task_of(name);
        let state = self.state_of(member);
        let state = serde_json::to_value(state).ok()?;
        let role = &member.plan.role;
        let mut text = format!("{role} · {}", state.as_str().unwrap_or_default());
        if self.team.user_mail().newest_from(name).is_some() {
            text.push_str(" · asks you");
        }
        if let Some(task) = task {
            text = format!("{text} {} {}", task.id, view::doing(task));
        }
        Some(Label {
            colour: settings::colour(&member.plan),
            text,
        })
    }

    fn state_of(&self, member: &Member) -> MemberState {
        let name = &member.plan.name;
        let runtime = self.launches.of(&self.team, name);
        let runtime = runtime.map(|(_, runtime)| runtime);
        let reported = runtime.and_then(LaunchRuntime::waiting);
        let waits = view::waiting(&self.team, member, reported).is_some();
        let works = self.team.task_of(name).is_some() || member.transcript.active;
        let unresponsive = runtime.is_some_and(LaunchRuntime::is_unresponsive);
        view::state(member, works, waits, unresponsive)
    }

    /// Summary of members that wait for the user, for status lines. Builds full views only for members that may be
    /// waiting.
    fn waiting_summary(&self) -> String {
        let may_wait = |member: &&Member| {
            self.team
                .user_mail()
                .newest_from(&member.plan.name)
                .is_some()
                || matches!(
                    self.state_of(member),
                    MemberState::Waiting | MemberState::Held | MemberState::Unresponsive
                )
        };
        let members = self.team.members().filter(may_wait);
        let views: Vec<_> = members
            .filter_map(|member| self.member_view(&member.plan.name))
            .collect();
        attention::summary(&views)
    }

    /// Whether the member has budget for further model requests, as sent to its worker.
    pub(super) fn allowance(&self, name: &MemberName) -> Allowance {
        let out = self
            .team
            .member(name)
            .and_then(|member| self.team.out_of_budget(member));
        Allowance {
            as_of: self.team.revision(),
            waits: out.map(|out| out.to_string()),
        }
    }

    /// Sends changed border labels and the summary of waiting members to the launcher.
    pub(super) fn refresh_labels(&mut self) {
        let names: Vec<MemberName> = self
            .team
            .members()
            .map(|member| member.plan.name.clone())
            .collect();
        for name in names {
            let Some(label) = self.label_of(&name) else {
                continue;
            };
            if self.labels.get(&name) != Some(&label) {
                self.labels.insert(name.clone(), label.clone());
                self.launcher.order(Order::Label(name, label));
            }
        }
        let waiting = self.waiting_summary();
        if self.waiting != waiting {
            self.waiting.clone_from(&waiting);
            self.launcher.order(Order::SetSummary(waiting));
        }
    }
}
