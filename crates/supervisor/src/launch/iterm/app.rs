//! What is asked of iTerm2, one method for each request that we make, with its refusals as typed errors. Called by
//! everything in [`super`].

use super::connection::{Connection, Cookie, ItermError, failed};
use super::survey::{Session, Tag};
use super::wire::{
    Activate, ActivateApp, Answer, Ask, Assignment, Child, Close, CloseSessions, CloseStatus,
    CreateTab, Direction, Empty, Focus, Invoke, InvokeStatus, Method, Node, Property, Sessions,
    SplitPane, SplitStatus, Summary, TabStatus, Target, Variable, VariableStatus,
};
use crate::settings::ItermPlace;

/// On a session of ours: whose it is, as [`Tag`] writes it. Variables of that prefix are for whoever sets them.
const TAG: &str = "user.agent_team";

/// One app, by its socket.
#[derive(Debug, Clone)]
pub(super) struct App {
    place: ItermPlace,
}

impl App {
    pub(super) fn at(place: ItermPlace) -> Self {
        Self { place }
    }

    /// Makes sure that there is a connection, with the caller's cookie where one is needed.
    pub(super) async fn open(&self, cookie: Option<&Cookie>) -> Result<(), ItermError> {
        Connection::to(&self.place, cookie).await.map(drop)
    }

    async fn call(&self, ask: Ask) -> Result<Answer, ItermError> {
        let connection = Connection::to(&self.place, None).await?;
        let outcome = connection.call(ask).await;
        if outcome.as_ref().is_err_and(ItermError::is_away) {
            connection.forget(&self.place);
        }
        outcome
    }

    /// Every session, without what is asked of each. The app may have been started anew since it was last asked: a
    /// connection that turns out to be over is made once more.
    pub(super) async fn sessions(&self) -> Result<Vec<Session>, ItermError> {
        let ask = || self.call(Ask::ListSessions(Empty {}));
        let answer = match ask().await {
            Err(ItermError::Lost(_)) => ask().await?,
            other => other?,
        };
        let Answer::Sessions(sessions) = answer else {
            return Err(unexpected());
        };
        Ok(listed(sessions))
    }

    /// Which process a session runs, and whose it is of ours.
    pub(super) async fn look_at(
        &self,
        session: &str,
    ) -> Result<(Option<u32>, Option<Tag>), ItermError> {
        let get = ["session.pid", TAG].map(str::to_owned).to_vec();
        let values = self.variables(session, Vec::new(), get).await?;
        let json = |at: usize| serde_json::from_str::<serde_json::Value>(values.get(at)?).ok();
        let pid = json(0).and_then(|pid| u32::try_from(pid.as_u64()?).ok());
        let tag = json(1).and_then(|tag| Tag::parse(tag.as_str()?));
        Ok((pid, tag))
    }

    pub(super) async fn tag(&self, session: &str, tag: &Tag) -> Result<(), ItermError> {
        let set = vec![Assignment {
            name: Some(TAG.to_owned()),
            value: Some(serde_json::Value::from(tag.to_string()).to_string()),
        }];
        self.variables(session, set, Vec::new()).await.map(drop)
    }

    async fn variables(
        &self,
        session: &str,
        set: Vec<Assignment>,
        get: Vec<String>,
    ) -> Result<Vec<String>, ItermError> {
        let ask = Variable {
            session: Some(session.to_owned()),
            set,
            get,
        };
        let Answer::Variables(answer) = self.call(Ask::Variable(ask)).await? else {
            return Err(unexpected());
        };
        let status = answer.status();
        if status == VariableStatus::SessionNotFound {
            return Err(ItermError::Gone);
        }
        if status != VariableStatus::Ok {
            return Err(failed("tell a session's variables", &format!("{status:?}")));
        }
        Ok(answer.values)
    }

    /// A session beside another one, in its tab.
    pub(super) async fn split(
        &self,
        session: &str,
        direction: Direction,
        properties: Vec<Property>,
    ) -> Result<String, ItermError> {
        let ask = SplitPane {
            session: Some(session.to_owned()),
            direction: Some(direction.into()),
            properties,
        };
        let Answer::PaneSplit(answer) = self.call(Ask::SplitPane(ask)).await? else {
            return Err(unexpected());
        };
        match answer.status() {
            SplitStatus::Ok => answer
                .sessions
                .into_iter()
                .next()
                // So it is in a tab whose sessions are tmux's.
                .ok_or_else(|| failed("split a session", "it names no new one")),
            SplitStatus::CannotSplit => Err(ItermError::NoRoom),
            SplitStatus::SessionNotFound => Err(ItermError::Gone),
            status @ (SplitStatus::InvalidProfileName | SplitStatus::MalformedProperty) => {
                Err(failed("split a session", &format!("{status:?}")))
            }
        }
    }

    /// A session in a tab of its own, in this window or one of its own.
    pub(super) async fn create_tab(
        &self,
        window: Option<String>,
        properties: Vec<Property>,
    ) -> Result<String, ItermError> {
        let ask = CreateTab {
            window_id: window,
            properties,
            select_tab: Some(false),
        };
        let Answer::TabCreated(answer) = self.call(Ask::CreateTab(ask)).await? else {
            return Err(unexpected());
        };
        let status = answer.status();
        if status == TabStatus::InvalidWindowId {
            return Err(ItermError::Gone);
        }
        if status != TabStatus::Ok {
            return Err(failed("open a tab", &format!("{status:?}")));
        }
        answer
            .session
            .ok_or_else(|| failed("open a tab", "it names no session"))
    }

    /// What a session is called from now on.
    pub(super) async fn name(&self, session: &str, name: &str) -> Result<(), ItermError> {
        let name = serde_json::Value::from(name);
        let ask = Invoke {
            method: Some(Method {
                receiver: Some(session.to_owned()),
            }),
            invocation: Some(format!("iterm2.set_name(name: {name})")),
            timeout: None,
        };
        let Answer::Invoked(answer) = self.call(Ask::Invoke(ask)).await? else {
            return Err(unexpected());
        };
        match answer.error {
            None => Ok(()),
            Some(error) if error.status() == InvokeStatus::InvalidId => Err(ItermError::Gone),
            Some(error) => Err(failed("name a session", error.reason())),
        }
    }

    /// Closes sessions without asking the person; one that is gone already is none that failed.
    pub(super) async fn close(&self, sessions: Vec<String>) -> Result<(), ItermError> {
        let ask = Close {
            sessions: Some(CloseSessions {
                session_ids: sessions,
            }),
            force: Some(true),
        };
        let Answer::Closed(answer) = self.call(Ask::Close(ask)).await? else {
            return Err(unexpected());
        };
        if answer
            .statuses()
            .any(|status| status == CloseStatus::UserDeclined)
        {
            return Err(failed("close a session", "you declined it"));
        }
        Ok(())
    }

    /// Brings a session before the person: its window, its tab, itself, and the app.
    pub(super) async fn show(&self, session: &str) -> Result<(), ItermError> {
        self.activate(Activate {
            target: Some(Target::Session(session.to_owned())),
            order_window_front: Some(true),
            select_tab: Some(true),
            select_session: Some(true),
            app: Some(ActivateApp {
                ignoring_other_apps: Some(true),
            }),
        })
        .await
    }

    /// What each window shows, and which session of each tab is typed into.
    pub(super) async fn focus(&self) -> Result<Vec<Focus>, ItermError> {
        let Answer::Focused(answer) = self.call(Ask::Focus(Empty {})).await? else {
            return Err(unexpected());
        };
        let all = answer.notifications.into_iter();
        Ok(all.filter_map(|one| one.focus).collect())
    }

    /// Gives the focus back within a window or a tab; no window comes forward.
    pub(super) async fn give_back(&self, focus: Focus) -> Result<(), ItermError> {
        let (target, tab) = match focus {
            Focus::Tab(tab) => (Target::Tab(tab), true),
            Focus::Session(session) => (Target::Session(session), false),
        };
        self.activate(Activate {
            target: Some(target),
            order_window_front: Some(false),
            select_tab: Some(tab),
            select_session: Some(!tab),
            app: None,
        })
        .await
    }

    async fn activate(&self, ask: Activate) -> Result<(), ItermError> {
        let Answer::Activated(answer) = self.call(Ask::Activate(ask)).await? else {
            return Err(unexpected());
        };
        if answer.status.unwrap_or(0) != 0 {
            return Err(ItermError::Gone);
        }
        Ok(())
    }
}

fn unexpected() -> ItermError {
    failed("do that", "its answer is to something else")
}

/// The sessions of an answer, in the app's order.
pub(super) fn listed(listed: Sessions) -> Vec<Session> {
    let mut sessions = Vec::new();
    for window in listed.windows {
        for tab in window.tabs {
            let at = |summary: Summary, hidden: bool| Session {
                window: window.window_id.clone(),
                tab: tab.tab_id.clone(),
                hidden,
                ..session(&summary)
            };
            let shown = tab.root.into_iter().flat_map(leaves);
            sessions.extend(shown.map(|summary| at(summary, false)));
            sessions.extend(tab.minimized.into_iter().map(|summary| at(summary, true)));
        }
    }
    sessions.extend(listed.buried.iter().map(session));
    sessions
}

fn session(summary: &Summary) -> Session {
    let cells = |cells: Option<i32>| {
        cells
            .and_then(|cells| u16::try_from(cells).ok())
            .unwrap_or(0)
    };
    let size = summary.grid_size.unwrap_or_default();
    Session {
        id: summary.unique_identifier.clone().unwrap_or_default(),
        window: None,
        tab: None,
        hidden: true,
        size: (cells(size.width), cells(size.height)),
        pid: None,
        tag: None,
    }
}

/// The sessions of a tree of splits, from the left and the top. Its depth is bounded by decoding.
fn leaves(node: Node) -> Vec<Summary> {
    let mut found = Vec::new();
    for link in node.links {
        match link.child {
            Some(Child::Session(session)) => found.push(session),
            Some(Child::Node(node)) => found.extend(leaves(node)),
            None => {}
        }
    }
    found
}
