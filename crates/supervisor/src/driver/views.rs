//! Read-only views of a team: its members as clients see them, and the labels of their panes. Called by the driver.

use agent_team_core::member::{Life, Member};
use agent_team_core::{Refused, Team, Tick};
use agent_team_protocol::method::{MemberAnswer, SendAnswer};
use agent_team_protocol::notification::Allowance;
use agent_team_protocol::permissions::Mode;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, MemberView, TeamState, TeamView};
use agent_team_protocol::{
    MemberName, MessageId, Party, Refusal, TaskId, attention, external, text,
};
use agent_team_store::TeamIdentity;

use super::launches::{LaunchRuntime, Launches};
use crate::convert;
use crate::launch::panes::TerminalBackend;
use crate::launch::{Label, TeamSummary};
use crate::parsed_settings::ParsedSettings;
use crate::settings::{self, TeamPlacement};
use crate::view::{self, RuntimeFacts};

/// Maximum number of task keys that are compared with an unknown key. A comparison takes microseconds, and the driver
/// of the team handles no other input meanwhile.
const COMPARED_TASKS: usize = 1_000;

/// The inputs of a team's views.
#[derive(Debug, Clone, Copy)]
pub(super) struct Views<'a> {
    pub(super) identity: &'a TeamIdentity,
    pub(super) team: &'a Team,
    pub(super) settings: &'a ParsedSettings,
    pub(super) launches: &'a Launches,
    /// Whether all workers run inside the supervisor's process.
    pub(super) is_embedded: bool,
    pub(super) now: Tick,
    pub(super) wall_ms: u64,
}

impl Views<'_> {
    pub(super) fn members(&self) -> Vec<MemberView> {
        let mut views: Vec<MemberView> = self
            .team
            .members()
            .map(|member| self.member(member))
            .collect();
        views.sort_by_key(|view| !view.lead);
        views
    }

    pub(super) fn member_answer(&self, name: &MemberName) -> Option<MemberAnswer> {
        Some(MemberAnswer {
            revision: self.team.revision(),
            member: self.member(self.team.member(name)?),
            team: Some(self.team_state()),
        })
    }

    /// `storage_error`: why the journal can no longer be written.
    pub(super) fn team(&self, storage_error: Option<String>) -> TeamView {
        let settings = self.settings.team();
        let (account, spent) = self.team.account();
        TeamView {
            team: self.identity.team.clone(),
            name: self.identity.name.clone(),
            project: self.identity.project.clone(),
            state: self.team_state(),
            storage_error,
            revision: self.team.revision(),
            mode: self.mode(),
            members: self.members(),
            tasks: self.team.board().counts(),
            usage: *spent,
            up_ms: account.up.read(self.now),
            working_ms: account.working.read(self.now),
            unread: u32::try_from(self.team.user_mail().len()).unwrap_or(u32::MAX),
            roles: settings.map(view::roles).unwrap_or_default(),
            placement: self.placement(),
            goal: view::goal(self.team, self.now, self.wall_ms),
            notify: settings
                .map(|settings| settings.notify.clone())
                .unwrap_or_default(),
        }
    }

    fn team_state(&self) -> TeamState {
        if self.team.is_down() {
            TeamState::Down
        } else {
            TeamState::Up
        }
    }

    pub(super) fn member(&self, member: &Member) -> MemberView {
        let runtime = self.runtime(member);
        let wanted = self.wanted_placement(member);
        let placement = runtime.and_then(LaunchRuntime::placement).unwrap_or(wanted);
        let facts = RuntimeFacts {
            settings: self.settings.member(&member.spec.name).ok(),
            wall_ms: self.wall_ms,
            placement,
            lost_pane: wanted.has_panes() && placement == Placement::Headless,
            pane: runtime.and_then(LaunchRuntime::pane).cloned(),
            unresponsive: runtime.is_some_and(LaunchRuntime::is_unresponsive),
            disconnected: matches!(member.life, Life::Ready { .. })
                && !runtime.is_some_and(LaunchRuntime::is_connected),
            waiting: runtime.and_then(LaunchRuntime::waiting).cloned(),
            waiting_since: runtime.and_then(LaunchRuntime::waiting_since),
            model: runtime.and_then(LaunchRuntime::model).cloned(),
        };
        MemberView {
            mode: self.own_mode(&member.spec.name),
            ..view::member(self.team, member, facts, self.now)
        }
    }

    fn mode(&self) -> Option<Mode> {
        let configured = self.settings.team()?.permission_defaults.mode;
        Some(self.team.spec().modes.of_team(configured))
    }

    /// The permission mode of the member, if it differs from the team's.
    fn own_mode(&self, name: &MemberName) -> Option<Mode> {
        let configured = self.settings.team()?.permission_defaults.mode;
        let mode = mode_of(self.team, name, configured);
        (Some(mode) != self.mode()).then_some(mode)
    }

    fn runtime(&self, member: &Member) -> Option<&LaunchRuntime> {
        self.launches.get(&member.life.launch()?.id)
    }

    pub(super) fn wanted_placement(&self, member: &Member) -> Placement {
        let settings = self.settings.member(&member.spec.name);
        let (headless, hosted) = settings.as_ref().map_or((false, false), |settings| {
            (settings.headless, settings.hosted)
        });
        // A hosted member has no terminal, so its program could never be shown.
        let shows_program = settings.is_ok_and(|settings| settings.engine.shows_program());
        match self
            .settings
            .team()
            .map(|settings| &settings.team_placement.terminal)
        {
            // An embedding program has no terminals: all its members are hosted.
            Some(TerminalBackend::Hosted) if self.is_embedded => Placement::Hosted,
            Some(TerminalBackend::Hosted) if shows_program => Placement::Headless,
            _ if hosted && shows_program => Placement::Headless,
            _ if hosted => Placement::Hosted,
            _ if headless => Placement::Headless,
            Some(terminal) => terminal.placement(),
            None => Placement::Headless,
        }
    }

    /// The members among `parties` that show a terminal program. Messages are shown in their panes, but are not
    /// delivered to their programs.
    fn with_program(&self, parties: &[Party]) -> Vec<Party> {
        let has_program = |party: &&Party| {
            let Party::Member(name) = party else {
                return false;
            };
            let settings = self.settings.member(name);
            settings.is_ok_and(|settings| settings.engine.shows_program())
        };
        parties.iter().filter(has_program).cloned().collect()
    }

    /// The answer to a message to these recipients.
    pub(super) fn sent(&self, id: MessageId, to: Vec<Party>) -> SendAnswer {
        let (mut in_turn, mut after_turn, mut in_or_after_turn) =
            <(Vec<_>, Vec<_>, Vec<_>)>::default();
        for party in &to {
            let Party::Member(name) = party else {
                continue;
            };
            if !self.is_in_turn(name) {
                continue;
            }
            let settings = self.settings.member(name).ok();
            let external = settings.and_then(|settings| settings.agent.external.as_ref());
            let group = match external.map_or(Some(true), external::joins_turn) {
                Some(true) => &mut in_turn,
                Some(false) => &mut after_turn,
                None => &mut in_or_after_turn,
            };
            group.push(party.clone());
        }
        SendAnswer {
            id,
            only_shown: self.with_program(&to),
            in_turn,
            after_turn,
            in_or_after_turn,
            to,
        }
    }

    fn is_in_turn(&self, name: &MemberName) -> bool {
        self.team.member(name).is_some_and(|member| {
            let is_up = matches!(member.life, Life::Ready { .. } | Life::StopRequested { .. });
            is_up && member.transcript.active
        })
    }

    /// The chosen placement and its reason.
    pub(super) fn placement(&self) -> String {
        match self.settings.rules() {
            Ok(Some(rules)) => {
                let TeamPlacement { terminal, reason } = &rules.settings.team_placement;
                format!("{}: {reason}", terminal.placement().name())
            }
            Ok(None) => "the team was never brought up".to_owned(),
            Err(error) => error.to_string(),
        }
    }

    pub(super) fn label(&self, member: &Member) -> Option<Label> {
        let name = &member.spec.name;
        let state = serde_json::to_value(self.state(member)).ok()?;
        let role = &member.spec.role;
        let mut text = state.as_str().unwrap_or_default().to_owned();
        if role.as_str() != name.as_str() {
            text = format!("{role} · {text}");
        }
        let mode = self.own_mode(name).or_else(|| self.mode());
        let settings = self.settings.member(name).ok();
        let shown_mode = mode
            .zip(settings)
            .and_then(|(mode, it)| mode.in_title(it.engine));
        if let Some(mode) = shown_mode {
            text = format!("{text} · {mode}");
        }
        let model = self.runtime(member).and_then(LaunchRuntime::model);
        let context = model.and_then(|model| model.context);
        if let Some(context) = context.and_then(|context| context.label()) {
            text = format!("{text} · {context}");
        }
        let has_question = self.team.user_question_of(name).is_some();
        let has_mail = self.team.unread_from(name).is_some();
        let mut requests = self.team.requests().pending();
        let asks = has_question || has_mail || requests.any(|request| request.member == *name);
        if has_question {
            text.push_str(" · asks you");
        } else if has_mail {
            text.push_str(" · wrote to you");
        }
        if let Some(task) = self.team.task_of(name) {
            text = format!("{text} {} {}", task.id, view::doing(task));
        }
        Some(Label {
            colour: settings::colour(&member.spec),
            text,
            asks,
        })
    }

    fn state(&self, member: &Member) -> MemberState {
        let runtime = self.runtime(member);
        let reported = runtime.and_then(LaunchRuntime::waiting);
        let is_waiting = view::waiting(self.team, member, reported).is_some();
        let is_working = self.team.task_of(&member.spec.name).is_some() || member.transcript.active;
        let unresponsive = runtime.is_some_and(LaunchRuntime::is_unresponsive);
        view::state(member, is_working, is_waiting, unresponsive)
    }

    /// The summary for status lines.
    pub(super) fn summary(&self) -> TeamSummary {
        let tasks = self.team.board().counts();
        let (_, spent) = self.team.account();
        TeamSummary {
            name: self.identity.name.to_string(),
            completed: tasks.completed,
            failed: tasks.failed,
            in_progress: tasks.in_progress,
            waiting: self.waiting_summary(),
            cost: match spent.micro_usd {
                0 => String::new(),
                _ => text::cost(spent),
            },
            mode: self
                .mode()
                .filter(|mode| *mode != Mode::Default)
                .map_or("", Mode::name),
        }
    }

    /// The members that wait for the user. Builds full views only for members that may be waiting.
    fn waiting_summary(&self) -> String {
        let may_wait = |member: &&Member| {
            let name = &member.spec.name;
            self.team.user_question_of(name).is_some()
                || self.team.unread_from(name).is_some()
                || matches!(
                    self.state(member),
                    MemberState::Waiting | MemberState::Held | MemberState::Unresponsive
                )
        };
        let members = self.team.members().filter(may_wait);
        let views: Vec<_> = members.map(|member| self.member(member)).collect();
        attention::summary(&views)
    }

    /// Whether the member has budget for further model requests, and the effort of these requests, as sent to its
    /// worker.
    pub(super) fn allowance(&self, name: &MemberName) -> Allowance {
        let out = self
            .team
            .member(name)
            .and_then(|member| self.team.out_of_budget(member));
        Allowance {
            as_of: self.team.revision(),
            waits: out.map(|out| out.to_string()),
            effort: self.team.effort(),
        }
    }
}

/// The permission mode of a member of a team whose last `up` chose the mode `configured`.
pub(super) fn mode_of(team: &Team, member: &MemberName, configured: Mode) -> Mode {
    let lead = team.lead().map(|lead| &lead.spec.name);
    team.spec().modes.of_member(member, lead, configured)
}

pub(super) fn unknown_member(team: &Team, name: &MemberName) -> Refusal {
    refusal(team, &Refused::UnknownMember(name.to_string()))
}

/// A refusal of the core, with the most similar name if the call named an unknown member or an unknown dependency.
pub(super) fn refusal(team: &Team, refused: &Refused) -> Refusal {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "other refusals contain no name that the user typed"
    )]
    let similar = match refused {
        Refused::UnknownMember(name) => {
            let names = team.members().map(|member| member.spec.name.as_str());
            convert::did_you_mean(name, names)
        }
        Refused::UnknownDependency { unknown, .. } => {
            let on_board = team.board().after(TaskId(0)).map(|task| &task.spec.key);
            let completed = team.board().completed_keys().map(|(key, ..)| key);
            let keys = on_board.chain(completed).take(COMPARED_TASKS);
            convert::did_you_mean(unknown, keys.map(|key| &**key))
        }
        _ => None,
    };
    let refusal = convert::refusal(refused);
    match similar {
        Some(similar) => refusal.hint(similar),
        None => refusal,
    }
}

#[cfg(test)]
mod tests {
    use agent_team_core::input::{NewRun, TurnProgress};
    use agent_team_core::{Answer, Call, Origin};
    use agent_team_protocol::Recipient;
    use agent_team_protocol::notification::MemberModel;
    use agent_team_protocol::spec::TaskSpec;
    use agent_team_protocol::value::MessageNote;
    use agent_team_protocol::view::{ContextView, Waiting};

    use super::super::testing::{TestTeam, name};
    use super::*;

    #[test]
    fn the_lead_comes_first_and_a_lost_connection_shows() {
        let mut team = TestTeam::of(&["ada"]);
        let _frames = team.hello("ada", 7);
        let members = team.views().members();
        let names: Vec<_> = members.iter().map(|view| view.name.as_str()).collect();
        assert_eq!(names, ["lead", "ada"]);
        assert_eq!(members[0].state, MemberState::Launching);
        assert!(!members[1].disconnected && members[1].placement == Placement::Headless);
        let launch = team.launch_of("ada");
        assert!(
            !team.launches.detach(&launch, 8),
            "the end of another connection detached the member"
        );
        assert!(team.launches.detach(&launch, 7));
        assert!(team.views().members()[1].disconnected);
    }

    #[test]
    fn an_unknown_name_suggests_the_most_similar() {
        let team = TestTeam::of(&["ada", "grace"]);
        let hint = |typed: &str| unknown_member(&team.team, &name(typed)).hint;
        assert_eq!(hint("adaa").as_deref(), Some("did you mean `ada`?"));
        assert_eq!(hint("gracie").as_deref(), Some("did you mean `grace`?"));
        assert_eq!(
            hint("zebedee").as_deref(),
            Some("list the members with: agent-team ps")
        );
        let similar = |typed, known| convert::did_you_mean(typed, std::iter::once(known));
        assert_eq!(similar("b", "a"), None);
        assert_eq!(
            similar("zed", "ben"),
            None,
            "two of three characters differ"
        );
        assert!(similar("bne", "ben").is_some());
    }

    #[test]
    fn a_goal_for_a_lead_of_commands_is_refused() {
        let lead = serde_json::json!({
            "name": "lead", "role": "worker", "lead": true, "engine": "command", "cwd": "/w",
            "claim": "assigned",
        });
        let mut team = TestTeam::with(&[], serde_json::json!({ "members": [lead] }));
        let call = Call::StartRun(NewRun {
            goal: "Ship".into(),
            ..NewRun::default()
        });
        let refused = team.call(Origin::User, call).unwrap_err();
        let refusal = refusal(&team.team, &refused);
        assert_eq!(
            refusal.message,
            "cannot give a goal: the lead is not an agent"
        );
        assert!(refusal.hint.unwrap().contains("engine = \"native\""));
    }

    #[test]
    fn a_label_shows_the_state_and_the_task() {
        let mut team = TestTeam::of(&["ada"]);
        let _frames = team.hello("ada", 7);
        let label = |team: &TestTeam| {
            let member = team.team.member(&name("ada")).unwrap();
            team.views().label(member).unwrap().text
        };
        assert_eq!(label(&team), "worker · idle");
        let spec = TaskSpec {
            title: "build".to_owned(),
            ..TaskSpec::default()
        };
        let call = Call::AddTask {
            spec: convert::task_spec(spec),
            after: Vec::new(),
            lines: Vec::new(),
        };
        let Ok(Answer::Task { task, .. }) = team.call(Origin::User, call) else {
            panic!("not a task");
        };
        let ada = team.origin("ada");
        team.call(ada, Call::ClaimTask { task: Some(task) })
            .unwrap();
        assert_eq!(label(&team), "worker · working T-1 build");
        let launch = team.launch_of("ada");
        let waiting = Waiting::RateLimit {
            until: 0,
            why: "overloaded".to_owned(),
        };
        team.now = Tick(31_000);
        team.launches
            .set_waiting(&launch, Some(waiting.clone()), Tick(29_000));
        // The worker reports the same wait a second time.
        team.launches
            .set_waiting(&launch, Some(waiting), Tick(30_000));
        assert_eq!(label(&team), "worker · waiting T-1 build");
        let member = team.views().member_answer(&name("ada")).unwrap().member;
        assert_eq!(member.for_ms, 2_000, "the time is not that of the wait");
    }

    #[test]
    fn a_new_task_does_not_shorten_a_wait() {
        let mut team = TestTeam::of(&["ada"]);
        let _frames = team.hello("ada", 7);
        let launch = team.launch_of("ada");
        let waiting = Waiting::RateLimit {
            until: 0,
            why: "overloaded".to_owned(),
        };
        team.launches
            .set_waiting(&launch, Some(waiting), Tick(10_000));
        team.now = Tick(30_000);
        let spec = TaskSpec {
            title: "build".to_owned(),
            assignee: Some(name("ada")),
            ..TaskSpec::default()
        };
        let call = Call::AddTask {
            spec: convert::task_spec(spec),
            after: Vec::new(),
            lines: Vec::new(),
        };
        team.call(Origin::User, call).unwrap();
        team.now = Tick(31_000);
        let member = team.views().member_answer(&name("ada")).unwrap().member;
        assert!(member.task.is_some());
        assert_eq!(member.for_ms, 21_000);
    }

    #[test]
    fn a_member_is_idle_from_the_end_of_its_turn() {
        let mut team = TestTeam::of(&["ada"]);
        let _frames = team.hello("ada", 7);
        let mut append = |at, end: Option<&str>| {
            team.now = Tick(at);
            let progress = TurnProgress {
                items: vec!["an item".into()],
                turn_end: end.map(Into::into),
                ..TurnProgress::default()
            };
            let ada = team.origin("ada");
            team.call(ada, Call::Append(progress)).unwrap();
            team.now = Tick(at + 3_000);
            let member = team.views().member_answer(&name("ada")).unwrap().member;
            (member.state, member.for_ms)
        };
        append(10_000, None);
        let idle = (MemberState::Idle, 3_000);
        assert_eq!(append(20_000, Some("Done.")), idle);
        assert_eq!(
            append(60_000, Some("Yes.")),
            idle,
            "a turn of one step does not restart the idle time"
        );
    }

    #[test]
    fn a_label_shows_a_window_that_is_half_full() {
        let mut team = TestTeam::of(&["ada"]);
        let _frames = team.hello("ada", 7);
        let launch = team.launch_of("ada");
        for (tokens, expected) in [
            (Some(0), "worker · idle"),
            (Some(99_999), "worker · idle"),
            (Some(100_000), "worker · idle · context 50 %"),
            (Some(190_000), "worker · idle · context 95 %"),
            (None, "worker · idle"),
        ] {
            let model = MemberModel {
                model: "openai/m".to_owned(),
                context: tokens.and_then(|tokens| ContextView::new(tokens, 200_000)),
            };
            team.launches.set_model(&launch, model);
            let member = team.team.member(&name("ada")).unwrap();
            let label = team.views().label(member).unwrap().text;
            assert_eq!(label, expected, "{tokens:?}");
        }
    }

    #[test]
    fn a_label_shows_a_question_before_a_message() {
        let mut team = TestTeam::of(&["ada"]);
        let _frames = team.hello("ada", 7);
        let mut label_after = |wants_reply| {
            let call = Call::Send {
                to: Recipient::User,
                text: "Which port?".into(),
                urgent: false,
                reply_to: None,
                note: MessageNote {
                    wants_reply,
                    ..MessageNote::default()
                },
            };
            let ada = team.origin("ada");
            team.call(ada, call).unwrap();
            let member = team.team.member(&name("ada")).unwrap();
            let label = team.views().label(member).unwrap();
            assert!(label.asks);
            label.text
        };
        assert_eq!(label_after(false), "worker · idle · wrote to you");
        assert_eq!(label_after(true), "worker · idle · asks you");
    }

    #[test]
    fn a_label_omits_a_role_with_the_members_name() {
        let team = TestTeam::of(&["worker"]);
        let member = team.team.member(&name("worker")).unwrap();
        assert_eq!(team.views().label(member).unwrap().text, "launching");
    }

    #[test]
    fn a_summary_counts_tasks_in_progress() {
        let mut team = TestTeam::of(&["ada"]);
        let before = team.views().summary();
        assert_eq!((before.in_progress, before.cost.as_str()), (0, ""));
        let call = Call::AddTask {
            spec: convert::task_spec(TaskSpec {
                title: "build".to_owned(),
                ..TaskSpec::default()
            }),
            after: Vec::new(),
            lines: Vec::new(),
        };
        let Ok(Answer::Task { task, .. }) = team.call(Origin::User, call) else {
            panic!("not a task");
        };
        let _frames = team.hello("ada", 7);
        let ada = team.origin("ada");
        team.call(ada, Call::ClaimTask { task: Some(task) })
            .unwrap();
        assert_eq!(team.views().summary().in_progress, 1);
    }
}
