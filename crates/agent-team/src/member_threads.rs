//! The threads of the members' workers: each launch gets a thread with its own runtime. The worker starts a second
//! thread, for its connection. The supervisor starts workers here through the trait `Host`.
//!
//! A member that blocks its thread or panics does not affect other members.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use agent_team_llm::Model;
use agent_team_protocol::{MemberName, RoleName};
use agent_team_supervisor::embed::{Host, Hosted};
use agent_team_teammate::RunError;
use agent_team_teammate::hosted::{CustomTool, Engine, HostedLaunch, thread};
use tokio::sync::oneshot;

/// A member that is about to start: the input for the caller's choice of its engine and tools.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemberInfo {
    pub name: MemberName,
    pub role: RoleName,
    pub lead: bool,
}

/// Makes a member's engine. `None`: the member uses its model.
pub(crate) type MakeEngine = Box<dyn Fn(&MemberInfo) -> Option<Box<dyn Engine>> + Send + Sync>;

/// Returns whether a member is offered a tool.
pub(crate) type IsOffered = Box<dyn Fn(&MemberInfo) -> bool + Send + Sync>;

/// The models, engines and tools that the caller provides.
#[derive(Default)]
pub(crate) struct Engines {
    /// The caller's models, by their names.
    pub(crate) models: BTreeMap<String, Arc<dyn Model>>,
    pub(crate) engine: Option<MakeEngine>,
    pub(crate) tools: Vec<(CustomTool, IsOffered)>,
}

impl Engines {
    fn tools_of(&self, member: &MemberInfo) -> Vec<CustomTool> {
        let offered = self.tools.iter().filter(|(_, offered)| offered(member));
        offered.map(|(tool, _)| tool.clone()).collect()
    }
}

pub(crate) struct MemberThreads {
    engines: Arc<Engines>,
    threads: Mutex<Threads>,
}

struct Threads {
    handles: Vec<JoinHandle<()>>,
    /// Each thread holds a clone of the sender, so the channel closes when the last thread exits. `None` once no
    /// further thread may start.
    alive: Option<mpsc::Sender<Infallible>>,
    ended: Option<mpsc::Receiver<Infallible>>,
}

impl MemberThreads {
    pub(crate) fn new(engines: Engines) -> Self {
        let (alive, ended) = mpsc::channel();
        Self {
            engines: Arc::new(engines),
            threads: Mutex::new(Threads {
                handles: Vec::new(),
                alive: Some(alive),
                ended: Some(ended),
            }),
        }
    }

    /// Refuses new threads and waits at most `limit` until all threads have exited. Returns false if a thread is still
    /// running.
    pub(crate) fn join(&self, limit: Duration) -> bool {
        let (handles, ended) = {
            let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
            threads.alive = None;
            (std::mem::take(&mut threads.handles), threads.ended.take())
        };
        let until = Instant::now() + limit;
        if let Some(ended) = ended {
            let remaining = until.saturating_duration_since(Instant::now());
            if ended.recv_timeout(remaining) == Err(mpsc::RecvTimeoutError::Timeout) {
                tracing::error!("a member's thread did not exit");
                return false;
            }
        }
        for handle in handles {
            // Panics are caught inside the thread.
            let _ended = handle.join();
        }
        true
    }
}

impl Host for MemberThreads {
    fn start(&self, member: &MemberName, launch_file: &Path) -> io::Result<Hosted> {
        let (end, ending) = oneshot::channel();
        let (exited, ended) = oneshot::channel();
        let (engines, launch_file) = (Arc::clone(&self.engines), launch_file.to_owned());
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        let alive = threads.alive.clone();
        let alive = alive.ok_or_else(|| io::Error::other("the team is ending"))?;
        let worker = member.clone();
        let work = move || async move {
            work(&engines, &launch_file)
                .await
                .map_err(|e| e.to_string())
        };
        let on_end = move |worked| {
            if let Err(error) = worked {
                tracing::error!(member = %worker, error, "the worker failed");
            }
            drop(exited);
            drop(alive);
        };
        let handle = thread::start(format!("agent {member}"), ending, work, on_end)?;
        threads.handles.retain(|handle| !handle.is_finished());
        threads.handles.push(handle);
        Ok(Hosted { end, ended })
    }
}

async fn work(engines: &Engines, launch_file: &Path) -> Result<(), RunError> {
    let Some(launch) = HostedLaunch::take(launch_file)? else {
        return Ok(());
    };
    let member = MemberInfo {
        name: launch.member().clone(),
        role: launch.role().clone(),
        lead: launch.is_lead(),
    };
    let engine = engines.engine.as_ref().and_then(|make| make(&member));
    // The exit code is also in the worker's exit report.
    let _code = match engine {
        Some(engine) => launch.work(engine).await?,
        None => {
            let model = launch.model().and_then(|name| engines.models.get(name));
            let launch = launch.with_custom_tools(engines.tools_of(&member));
            launch.run(model.map(Arc::clone)).await?
        }
    };
    Ok(())
}
