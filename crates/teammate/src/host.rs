//! The process of a team's hosted members: `agent-teammate-native --host`. The supervisor starts it with a listening
//! socket as stdin. Over that socket, the supervisor sends orders to start, watch and end members, one order per
//! connection. Each member is a separate launch with its own thread and its own connection to the supervisor.
//!
//! Like other workers, this process outlives the supervisor: the next supervisor connects to the same socket. The
//! process exits when its last member has ended.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use agent_team_protocol::LaunchId;
use agent_team_protocol::codec::FIRST_FRAME_MAX;
use agent_team_protocol::host::{HostAnswer, HostOrder};
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::process::ProcessId;
use agent_team_system::socket::{Listener, Stream};
use agent_team_system::spawn;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::LocalSet;

use crate::hosted::{HostedLaunch, thread};
use crate::{RunError, reap};

/// The members in this process.
#[derive(Default)]
struct Members {
    workers: RefCell<HashMap<LaunchId, InProcessWorker>>,
    /// Notified when a worker has been removed from `workers`.
    removed: Notify,
}

struct InProcessWorker {
    /// `None` after the member was ordered to end.
    end: Option<oneshot::Sender<()>>,
    /// True when the member's thread has ended.
    gone: watch::Receiver<bool>,
}

/// Hosts members until the last member has ended. Called once, by a process that does nothing else.
///
/// # Errors
/// If the runtime cannot be created, if this process cannot adopt orphaned processes, or if the socket cannot be used.
pub fn host() -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        spawn::become_subreaper()?;
        let listener = Listener::inherited()?;
        reap();
        let members = Rc::new(Members::default());
        loop {
            tokio::select! {
                stream = listener.accept() => {
                    tokio::task::spawn_local(serve(Rc::clone(&members), stream?));
                }
                // `notify_one` stores a permit, so a removal while this loop accepts a connection is not missed.
                () = members.removed.notified() => {
                    if members.workers.borrow().is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    })
}

/// Executes the order of one connection. The connection stays open until the order is answered or, for `Watch` and
/// `End`, until the member has ended: the supervisor takes the end of the connection as the member's end.
async fn serve(members: Rc<Members>, stream: Stream) {
    let (read, write) = stream.into_halves();
    let mut reader = FrameReader::new(read, FIRST_FRAME_MAX);
    let Ok(Some(frame)) = reader.next().await else {
        return;
    };
    match serde_json::from_str(&frame) {
        Ok(HostOrder::Start { file }) => {
            let failed = start(&members, &file).err();
            if let Err(error) = answer(write, failed).await {
                tracing::warn!(%error, "cannot answer the order to start a member");
            }
        }
        Ok(HostOrder::Watch { launch }) => gone(&members, &launch).await,
        Ok(HostOrder::End { launch }) => {
            if let Some(worker) = members.workers.borrow_mut().get_mut(&launch) {
                // Dropping the sender ends the member's thread.
                worker.end = None;
            }
            gone(&members, &launch).await;
        }
        Err(error) => tracing::warn!(%error, "invalid order"),
    }
}

async fn answer(
    write: agent_team_system::socket::WriteHalf,
    failed: Option<String>,
) -> io::Result<()> {
    let ProcessId { pid, start_time } = ProcessId::current()?;
    let answer = HostAnswer {
        pid,
        start_time,
        failed,
    };
    let mut writer = FrameWriter::new(write);
    writer.queue(&format!("{}\n", serde_json::to_string(&answer)?));
    writer.flush().await
}

/// Returns when the launch no longer runs in this process.
async fn gone(members: &Members, launch: &LaunchId) {
    let worker = members
        .workers
        .borrow()
        .get(launch)
        .map(|worker| worker.gone.clone());
    if let Some(mut gone) = worker {
        // An error means that the sender was dropped: in this case, too, the member's thread has ended.
        let _gone = gone.wait_for(|gone| *gone).await;
    }
}

/// Takes the launch file and starts the member's thread. Does nothing if the launch was withdrawn, or if another
/// process has taken the launch: that process then reports the outcome.
fn start(members: &Rc<Members>, file: &Path) -> Result<(), String> {
    let taken = HostedLaunch::take_in_host_process(file).map_err(|error| error.to_string())?;
    let Some(hosted) = taken else { return Ok(()) };
    let (member, launch) = (hosted.member().clone(), hosted.launch().clone());
    let log = hosted.log().to_owned();
    let (end, ending) = oneshot::channel();
    let (set_gone, mut gone) = watch::channel(false);
    let work = move || async move {
        let worked = hosted.run(None).await;
        // The exit code is part of the exit report.
        worked.map(|_code| ()).map_err(|error| error.to_string())
    };
    let on_end = move |worked: Result<(), String>| {
        if let Err(why) = worked {
            write_log(&log, &why);
        }
        set_gone.send_replace(true);
    };
    thread::start(format!("agent {member}"), ending, work, on_end)
        .map_err(|error| error.to_string())?;
    let worker = InProcessWorker {
        end: Some(end),
        gone: gone.clone(),
    };
    members.workers.borrow_mut().insert(launch.clone(), worker);
    let members = Rc::clone(members);
    // The member may have ended before the insertion above: `wait_for` also returns for a value that was set earlier.
    tokio::task::spawn_local(async move {
        let _gone = gone.wait_for(|gone| *gone).await;
        members.workers.borrow_mut().remove(&launch);
        members.removed.notify_one();
    });
    Ok(())
}

/// Logs an error that the member's worker could not log itself.
fn write_log(log: &Path, why: &str) {
    let file = OpenOptions::new().append(true).open(log);
    // An error here cannot be reported anywhere.
    let _written = file.and_then(|mut file| writeln!(file, "\nthe worker failed: {why}"));
}
