//! Background commands. For each job, a tokio task reads the output and waits for the exit. An exited job is kept, so
//! that its output can still be read. If there are more than [`KEPT_MAX`] jobs, the oldest exited job is dropped.
//! Called by `bash`, `bash_output` and `bash_kill`. When the last of these tools is dropped, all jobs are terminated.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::line::Line;
use super::shell::shell;
use crate::capture::Capture;
use crate::confine::ActiveSandbox;
use crate::context::ToolContext;
use crate::tool::ToolError;

const RUNNING_MAX: usize = 16;

/// The largest number of remembered jobs, running or exited.
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

/// A background command. Dropping this value terminates the command.
#[derive(Debug)]
pub(super) struct Job {
    capture: Arc<Mutex<Capture>>,
    /// `None` until the command has exited, then its exit status. Each change of this channel also reports new output.
    progress: watch::Receiver<Option<String>>,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Jobs {
    /// Starts a command and returns its job id. Must be called within a tokio runtime.
    pub(super) async fn start(
        &self,
        context: &ToolContext,
        line: Line,
        sandbox: Option<ActiveSandbox>,
        limit: Option<Duration>,
    ) -> Result<u32, ToolError> {
        self.check_room()?;
        let job = Job::start(context, line, sandbox, limit).await?;
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
                "{RUNNING_MAX} jobs are already running ({}): terminate one with bash_kill",
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
                [] => "no job exists".to_owned(),
                ids => format!("jobs: {}", ids.join(", ")),
            };
            ToolError::Input(format!("`id`: there is no job {id}; {known}"))
        })
    }
}

impl Job {
    async fn start(
        context: &ToolContext,
        line: Line,
        sandbox: Option<ActiveSandbox>,
        limit: Option<Duration>,
    ) -> Result<Job, ToolError> {
        let mut program = shell(context, line, sandbox).await?;
        let capture = Arc::new(Mutex::new(Capture::new(context)));
        let (progress_sender, progress) = watch::channel(None);
        let (stop, mut stop_receiver) = watch::channel(false);
        let printed_to = Arc::clone(&capture);
        let task = tokio::spawn(async move {
            let stop = async {
                // An error means that the job, which owns the sender, was dropped. In this case, stop the program too.
                let _stopped = stop_receiver.wait_for(|stop| *stop).await;
            };
            let ended = program
                .finish(limit, stop, |bytes| {
                    lock(&printed_to).push(bytes);
                    progress_sender.send_modify(|_ended| ());
                })
                .await;
            lock(&printed_to).end();
            let ended = match ended {
                Ok(ended) => ended.to_string(),
                Err(error) => format!("cannot wait for the job: {error}"),
            };
            progress_sender.send_replace(Some(ended));
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

    /// Waits at most `wait` for new output or the exit. Returns the output since the last call and the state.
    pub(super) async fn output(&self, wait: Duration) -> (String, String) {
        let mut progress = self.progress.clone();
        let news = progress.wait_for(|ended| ended.is_some() || lock(&self.capture).has_unread());
        // After a timeout, return the output so far.
        let _waited = tokio::time::timeout(wait, news).await;
        // Read the state before the output. In the other order, a job that exits in between would be reported as exited
        // without its last output.
        let state = match &*self.progress.borrow() {
            Some(ended) => ended.clone(),
            None => "running".to_owned(),
        };
        (lock(&self.capture).take(), state)
    }

    /// Terminates the command and returns when it has exited.
    pub(super) async fn stop(&self) {
        self.stop.send_replace(true);
        let mut progress = self.progress.clone();
        // The tokio task sets the status after the command has exited.
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
