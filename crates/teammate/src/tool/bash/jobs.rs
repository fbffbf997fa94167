//! Commands in the background: each has a task that follows it, and is kept until its output was shown. Called by
//! `bash` and its two companions. When the last of these is dropped, all jobs are ended.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::super::capture::Capture;
use super::super::confine::Held;
use super::super::{Bench, ToolError};
use super::line::Line;
use super::shell;

/// Jobs that run at once.
const RUNNING_MAX: usize = 16;

/// Jobs that are remembered, running or not.
const KEPT_MAX: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Jobs {
    jobs: Mutex<Numbered>,
}

#[derive(Debug, Default)]
struct Numbered {
    last: u32,
    by_id: BTreeMap<u32, Arc<Job>>,
}

/// One command in the background. Dropping it ends the command.
#[derive(Debug)]
pub(super) struct Job {
    capture: Arc<Mutex<Capture>>,
    /// How it ended, once it has; changes whenever it prints, too.
    progress: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Jobs {
    /// Starts a command and returns its id. Must be called within a tokio runtime.
    pub(super) async fn start(
        &self,
        bench: &Bench,
        line: Line,
        held: Option<Held>,
        limit: Option<Duration>,
    ) -> Result<u32, ToolError> {
        self.check_room()?;
        let job = Job::start(bench, line, held, limit).await?;
        let mut jobs = lock(&self.jobs);
        jobs.last += 1;
        let id = jobs.last;
        jobs.by_id.insert(id, Arc::new(job));
        if jobs.by_id.len() > KEPT_MAX {
            let oldest = jobs.by_id.iter().find(|(_, job)| !job.runs());
            if let Some(id) = oldest.map(|(&id, _)| id) {
                jobs.by_id.remove(&id);
            }
        }
        Ok(id)
    }

    fn check_room(&self) -> Result<(), ToolError> {
        let jobs = lock(&self.jobs);
        let running: Vec<String> = jobs
            .by_id
            .iter()
            .filter(|(_, job)| job.runs())
            .map(|(id, _)| id.to_string())
            .collect();
        if running.len() >= RUNNING_MAX {
            return Err(ToolError::Failed(format!(
                "{RUNNING_MAX} jobs run already ({}): end one with bash_kill",
                running.join(", ")
            )));
        }
        Ok(())
    }

    pub(super) fn find(&self, id: u32) -> Result<Arc<Job>, ToolError> {
        let jobs = lock(&self.jobs);
        jobs.by_id.get(&id).cloned().ok_or_else(|| {
            let ids: Vec<String> = jobs.by_id.keys().map(u32::to_string).collect();
            let known = match ids.as_slice() {
                [] => "there is none".to_owned(),
                ids => format!("there are {}", ids.join(", ")),
            };
            ToolError::Input(format!("`id`: there is no job {id}; {known}"))
        })
    }
}

impl Job {
    async fn start(
        bench: &Bench,
        line: Line,
        held: Option<Held>,
        limit: Option<Duration>,
    ) -> Result<Job, ToolError> {
        let mut program = shell(bench, line, held).await?;
        let capture = Arc::new(Mutex::new(Capture::new(bench)));
        let (tell, progress) = watch::channel(None);
        let (stop, mut told_to_stop) = watch::channel(false);
        let printed_to = Arc::clone(&capture);
        let task = tokio::spawn(async move {
            let stop = async {
                // A job that nobody knows any more is aborted.
                let _told = told_to_stop.wait_for(|stop| *stop).await;
            };
            let ended = program
                .finish(limit, stop, |bytes| {
                    lock(&printed_to).push(bytes);
                    tell.send_modify(|_ended| ());
                })
                .await;
            lock(&printed_to).end();
            let ended = match ended {
                Ok(ended) => ended.to_string(),
                Err(error) => format!("it was lost: {error}"),
            };
            tell.send_replace(Some(ended));
        });
        Ok(Job {
            capture,
            progress,
            stop,
            task,
        })
    }

    fn runs(&self) -> bool {
        self.progress.borrow().is_none()
    }

    /// What it printed since the last time, and how it is. Waits for either at most this long.
    pub(super) async fn news(&self, wait: Duration) -> (String, String) {
        let mut progress = self.progress.clone();
        let anything = progress.wait_for(|ended| ended.is_some() || lock(&self.capture).has_news());
        // What there is by then is all that there is.
        let _waited = tokio::time::timeout(wait, anything).await;
        let state = match &*self.progress.borrow() {
            Some(ended) => ended.clone(),
            None => "it runs".to_owned(),
        };
        (lock(&self.capture).take(), state)
    }

    /// Returns when it has ended.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut progress = self.progress.clone();
        // Its task is gone only when it has ended.
        let _ended = progress.wait_for(Option::is_some).await;
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
