//! Starts workers in sessions: in place of the member's old session if there is one, otherwise in a tab of the team
//! with room, otherwise in a new tab. Called by the team's launcher.

use agent_team_protocol::placement::Placement;
use agent_team_system::process::ProcessId;
use tokio::time::Instant;

use super::ItermPanes;
use super::connection::{ItermError, LIMIT};
use super::layout;
use super::profile;
use super::survey::{ItermSession, Survey, Tag};
use super::wire::{Direction, Focus};
use crate::launch::order::{LaunchOrder, ProgramTask};
use crate::launch::report::StartedWorker;

/// Interval between two checks for the process of a new session: the app reports the pid only after it has started
/// the process.
const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_millis(5);

impl ItermPanes {
    /// Runs the program of each order. Returns the results in the same sequence.
    pub(super) async fn start(
        &mut self,
        orders: &[LaunchOrder],
    ) -> Vec<Result<StartedWorker, String>> {
        self.gone = false;
        let mut survey = match self.survey().await {
            Ok(survey) => survey,
            Err(error) => {
                self.gone = error.is_unavailable();
                return orders.iter().map(|_| Err(error.to_string())).collect();
            }
        };
        // If the focus cannot be read, it is not restored afterwards.
        let focus = self.app.focus().await.unwrap_or_default();
        let mut outcomes = Vec::with_capacity(orders.len());
        for order in orders {
            let started = self.start_one(&mut survey, order).await;
            outcomes.push(started.map_err(|error| {
                self.gone |= error.is_unavailable();
                error.to_string()
            }));
        }
        if let Err(error) = self.restore_focus(focus).await {
            tracing::debug!(%error, "cannot restore the focus");
        }
        outcomes
    }

    async fn start_one(
        &mut self,
        survey: &mut Survey,
        order: &LaunchOrder,
    ) -> Result<StartedWorker, ItermError> {
        let old = survey.of_member(&self.team, &order.member).cloned();
        let (id, tag) = match (&order.task, old) {
            // The worker still runs in its old session: keep that session instead of replacing it by an attach
            // helper.
            (ProgramTask::AttachHelper { worker, .. }, Some(ItermSession { id, pid, tag, .. }))
                if pid == Some(*worker) && tag.is_some() =>
            {
                (id, tag)
            }
            (_, Some(old)) => (self.replace(survey, &old, order).await?, None),
            (_, None) => (self.open_session(survey, order).await?, None),
        };
        let tag = match tag {
            Some(tag) => tag,
            None => self.tag_or_close(order, &id).await?,
        };
        let process = tag.process;
        // The next order needs the new sizes. If the listing fails, that order uses the old sizes: iTerm2 may refuse
        // the split, or may split a pane that is already small.
        if let Ok(listed) = self.app.sessions().await {
            survey.refresh(listed);
            survey.put(&id, tag);
        }
        let name = profile::name(order.member.as_str(), &order.label);
        self.named.insert(order.member.clone(), (id.clone(), name));
        if process.start_time == 0 {
            return Err(ItermError::Ended);
        }
        Ok(StartedWorker {
            process,
            placement: Placement::Iterm,
            pane: Some(id),
        })
    }

    /// Opens a session beside the member's old session, and closes the old session.
    async fn replace(
        &self,
        survey: &mut Survey,
        old: &ItermSession,
        order: &LaunchOrder,
    ) -> Result<String, ItermError> {
        let direction = match layout::is_wide(old.size) {
            true => Direction::Vertical,
            false => Direction::Horizontal,
        };
        let properties = profile::properties(order)?;
        // Split before closing: closing the only session of a tab closes the tab, and closing the last tab can quit the
        // app.
        let new = match self.app.split(&old.id, direction, properties).await {
            Ok(new) => Some(new),
            // The old session is too small to split, buried or closed. It is closed before a new session is opened, so
            // that its neighbours get its room. If it was the app's last session, the app can quit; the worker then
            // starts headless.
            Err(ItermError::NoRoom | ItermError::Gone | ItermError::Failed { .. }) => None,
            Err(error) => return Err(error),
        };
        if let Err(error) = self.app.close(vec![old.id.clone()]).await {
            tracing::warn!(member = %order.member, %error, "cannot close the old session");
        }
        survey.refresh(self.app.sessions().await?);
        match new {
            Some(new) => Ok(new),
            None => self.open_session(survey, order).await,
        }
    }

    /// Opens a session in a tab of the team that has room, otherwise in a new tab.
    async fn open_session(
        &self,
        survey: &mut Survey,
        order: &LaunchOrder,
    ) -> Result<String, ItermError> {
        let properties = profile::properties(order)?;
        for (at, tab) in survey.tabs_of(&self.team).into_iter().enumerate() {
            let sizes: Vec<_> = tab.iter().map(|session| session.size).collect();
            let Some((pane, direction)) = layout::next(self.layout, &sizes, at == 0) else {
                continue;
            };
            let split = self
                .app
                .split(&tab[pane].id, direction, properties.clone())
                .await;
            match split {
                Ok(new) => return Ok(new),
                Err(ItermError::NoRoom | ItermError::Gone) => {}
                Err(error) => return Err(error),
            }
        }
        let window = survey.window_for(&self.team, self.caller.as_deref());
        match self.app.create_tab(window, properties.clone()).await {
            // The window was closed after it was listed.
            Err(ItermError::Gone) => self.app.create_tab(None, properties).await,
            other => other,
        }
    }

    /// Sets the order's tag on a new session. A session that cannot be tagged is closed, because it could never be
    /// found again.
    async fn tag_or_close(&self, order: &LaunchOrder, id: &str) -> Result<Tag, ItermError> {
        let tagged = self.try_tag(order, id).await;
        if tagged.is_err()
            && let Err(error) = self.app.close(vec![id.to_owned()]).await
        {
            tracing::warn!(session = id, %error, "cannot close a session without a tag");
        }
        tagged
    }

    /// Sets the order's tag on a session and returns it. A start time of 0 in the tag marks a process that has already
    /// ended.
    async fn try_tag(&self, order: &LaunchOrder, id: &str) -> Result<Tag, ItermError> {
        let pid = self.pid_in(id).await?;
        let process = ProcessId::of(pid).ok().flatten();
        let tag = Tag {
            team: self.team.to_string(),
            member: order.member.to_string(),
            launch: order.launch.to_string(),
            process: process.unwrap_or(ProcessId { pid, start_time: 0 }),
        };
        self.app.tag(id, &tag).await?;
        Ok(tag)
    }

    async fn pid_in(&self, session: &str) -> Result<u32, ItermError> {
        let give_up = Instant::now() + LIMIT;
        let mut polls = tokio::time::interval(POLL_INTERVAL);
        while Instant::now() < give_up {
            polls.tick().await;
            if let (Some(pid), _) = self.app.inspect(session).await? {
                return Ok(pid);
            }
        }
        Err(ItermError::TimedOut(LIMIT))
    }

    /// Restores the focus in each window and tab where it moved, so that the user's keystrokes keep going to the same
    /// session.
    async fn restore_focus(&self, before: Vec<Focus>) -> Result<(), ItermError> {
        let now = self.app.focus().await?;
        for focus in before {
            if !now.contains(&focus) {
                match self.app.restore_focus(focus).await {
                    // The session or tab was closed, for example a replaced session.
                    Ok(()) | Err(ItermError::Gone) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        Ok(())
    }
}
