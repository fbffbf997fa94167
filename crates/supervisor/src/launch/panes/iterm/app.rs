//! Typed requests to iTerm2, one method per request, with the app's refusals as typed errors. Called by the other
//! files of this backend.

use super::connection::{Connection, Cookie, ItermError, failed};
use super::site::ItermSite;
use super::survey::{ItermSession, Tag};
use super::wire::{
    Activate, ActivateApp, Answer, Ask, Assignment, Child, Close, CloseSessions, CloseStatus,
    CreateTab, Direction, Empty, Focus, Invoke, InvokeStatus, Method, Node, Property, Sessions,
    SplitPane, SplitStatus, Summary, TabStatus, Target, Variable, VariableStatus,
};

/// The session variable that holds a [`Tag`]. iTerm2 reserves the prefix `user.` for variables set by clients.
const TAG: &str = "user.agent_team";

/// One app, identified by its socket.
#[derive(Debug, Clone)]
pub(super) struct App {
    site: ItermSite,
}

impl App {
    pub(super) fn new(site: ItermSite) -> Self {
        Self { site }
    }

    /// Ensures that there is a connection, with the caller's cookie if one is required.
    pub(super) async fn open(&self, cookie: Option<&Cookie>) -> Result<(), ItermError> {
        Connection::get_or_open(&self.site, cookie).await.map(drop)
    }

    async fn call(&self, ask: Ask) -> Result<Answer, ItermError> {
        let connection = Connection::get_or_open(&self.site, None).await?;
        let outcome = connection.call(ask).await;
        if outcome.as_ref().is_err_and(ItermError::is_unavailable) {
            connection.forget(&self.site);
        }
        outcome
    }

    /// All sessions, without their variables. The app may have been restarted since the last request, so a lost
    /// connection is opened once more.
    pub(super) async fn sessions(&self) -> Result<Vec<ItermSession>, ItermError> {
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

    /// The process in a session, and the session's tag.
    pub(super) async fn inspect(
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
            return Err(failed(
                "access a session's variables",
                &format!("{status:?}"),
            ));
        }
        Ok(answer.values)
    }

    /// Splits a session: opens a new session in the same tab.
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
                // iTerm2 reports no new session for tabs whose sessions belong to a tmux integration.
                .ok_or_else(|| failed("split a session", "the response contains no new session")),
            SplitStatus::CannotSplit => Err(ItermError::NoRoom),
            SplitStatus::SessionNotFound => Err(ItermError::Gone),
            status @ (SplitStatus::InvalidProfileName | SplitStatus::MalformedProperty) => {
                Err(failed("split a session", &format!("{status:?}")))
            }
        }
    }

    /// Opens a session in a new tab of the window, or in a new window if `window` is `None`.
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
            .ok_or_else(|| failed("open a tab", "the response contains no session"))
    }

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

    /// Closes sessions without asking the user. A session that is already gone is not an error.
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
            return Err(failed("close a session", "the user declined"));
        }
        Ok(())
    }

    /// Brings a session to the front: its window, its tab, the session and the app.
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

    /// The selected tab of each window, and the focused session of each tab.
    pub(super) async fn focus(&self) -> Result<Vec<Focus>, ItermError> {
        let Answer::Focused(answer) = self.call(Ask::Focus(Empty {})).await? else {
            return Err(unexpected());
        };
        let notifications = answer.notifications.into_iter();
        Ok(notifications.filter_map(|it| it.focus).collect())
    }

    /// Restores the focus within a window or a tab. No window is raised.
    pub(super) async fn restore_focus(&self, focus: Focus) -> Result<(), ItermError> {
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
    failed("handle the request", "unexpected type of response")
}

/// The sessions of an answer, in the app's order.
pub(super) fn listed(listed: Sessions) -> Vec<ItermSession> {
    let mut sessions = Vec::new();
    for window in listed.windows {
        for tab in window.tabs {
            let at = |summary: Summary, hidden: bool| ItermSession {
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

fn session(summary: &Summary) -> ItermSession {
    let cells = |cells: Option<i32>| {
        cells
            .and_then(|cells| u16::try_from(cells).ok())
            .unwrap_or(0)
    };
    let size = summary.grid_size.unwrap_or_default();
    ItermSession {
        id: summary.unique_identifier.clone().unwrap_or_default(),
        window: None,
        tab: None,
        hidden: true,
        size: (cells(size.width), cells(size.height)),
        pid: None,
        tag: None,
    }
}

/// The sessions of a tree of splits, from left to right and top to bottom. The decoder bounds the depth.
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
