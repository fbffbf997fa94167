//! The process of a team's hosted members: `agent-teammate-native --host`, started by the supervisor with a listening
//! socket as its stdin, over which it is told whom to start and whom to end. Every member in it is a launch of its own,
//! on a thread of its own, with a connection of its own to the supervisor; nothing here speaks for them.
//!
//! It outlives the supervisor, as workers do: the next one connects to the same socket. It ends with its last member.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs::OpenOptions;
use std::io::{self, Write};
use std::path::Path;
use std::rc::Rc;

use agent_team_protocol::LaunchId;
use agent_team_protocol::codec::FIRST_FRAME_MAX;
use agent_team_protocol::host::{HostAnswer, HostOrder};
use agent_team_protocol::spec::Engine;
use agent_team_system::connection::{FrameReader, FrameWriter};
use agent_team_system::process::ProcessId;
use agent_team_system::socket::{Listener, Stream};
use agent_team_system::spawn;
use tokio::sync::{Notify, oneshot, watch};
use tokio::task::LocalSet;

use crate::hosted::{HostedLaunch, thread};
use crate::{RunError, reap};

/// The members that are here.
#[derive(Default)]
struct Seats {
    taken: RefCell<HashMap<LaunchId, Seat>>,
    left: Notify,
}

struct Seat {
    /// `None`: it was told to end.
    end: Option<oneshot::Sender<()>>,
    /// True when nothing of it is left.
    gone: watch::Receiver<bool>,
}

/// Hosts members until the last one has ended. Called once, by a process that does nothing else.
///
/// # Errors
/// When the system gives no socket.
pub fn host() -> Result<(), RunError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        spawn::become_subreaper()?;
        let listener = Listener::inherited()?;
        reap();
        let seats = Rc::new(Seats::default());
        loop {
            tokio::select! {
                stream = listener.accept() => {
                    tokio::task::spawn_local(serve(Rc::clone(&seats), stream?));
                }
                () = seats.left.notified() => {
                    if seats.taken.borrow().is_empty() {
                        return Ok(());
                    }
                }
            }
        }
    })
}

async fn serve(seats: Rc<Seats>, stream: Stream) {
    let (read, write) = stream.into_halves();
    let mut reader = FrameReader::new(read, FIRST_FRAME_MAX);
    let Ok(Some(frame)) = reader.next().await else {
        return;
    };
    match serde_json::from_str(&frame) {
        Ok(HostOrder::Start { file }) => {
            let failed = start(&seats, &file).err();
            let answered = answer(write, failed).await;
            if let Err(error) = answered {
                tracing::warn!(%error, "nobody hears that a member was started");
            }
        }
        Ok(HostOrder::Watch { launch }) => gone(&seats, &launch).await,
        Ok(HostOrder::End { launch }) => {
            if let Some(seat) = seats.taken.borrow_mut().get_mut(&launch) {
                seat.end = None;
            }
            gone(&seats, &launch).await;
        }
        Err(error) => tracing::warn!(%error, "this is no order"),
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

/// Returns when nothing of the launch is here.
async fn gone(seats: &Seats, launch: &LaunchId) {
    let seat = seats
        .taken
        .borrow()
        .get(launch)
        .map(|seat| seat.gone.clone());
    if let Some(mut gone) = seat {
        // It comes to an end with the member's thread, which is then over.
        let _gone = gone.wait_for(|gone| *gone).await;
    }
}

fn start(seats: &Rc<Seats>, file: &Path) -> Result<(), String> {
    let taken = HostedLaunch::take_here(file).map_err(|error| error.to_string())?;
    // Another took it: what becomes of it is said there.
    let Some(hosted) = taken else { return Ok(()) };
    let (member, launch) = (hosted.member().clone(), hosted.launch().clone());
    let log = hosted.log().to_owned();
    let (end, ending) = oneshot::channel();
    let (left, mut gone) = watch::channel(false);
    let work = move || async move {
        let worked = match hosted.engine() {
            Engine::Command => hosted.run_commands().await,
            Engine::Native => hosted.think(None).await,
            engine @ Engine::Unknown => Err(RunError::Engine(engine)),
        };
        // Its exit code is in its last words.
        worked.map(|_code| ()).map_err(|error| error.to_string())
    };
    let over = move |worked: Result<(), String>| {
        if let Err(why) = worked {
            write_log(&log, &why);
        }
        left.send_replace(true);
    };
    thread::start(format!("agent {member}"), ending, work, over)
        .map_err(|error| error.to_string())?;
    let seat = Seat {
        end: Some(end),
        gone: gone.clone(),
    };
    seats.taken.borrow_mut().insert(launch.clone(), seat);
    let seats = Rc::clone(seats);
    tokio::task::spawn_local(async move {
        let _gone = gone.wait_for(|gone| *gone).await;
        seats.taken.borrow_mut().remove(&launch);
        seats.left.notify_one();
    });
    Ok(())
}

/// What a member's worker can no longer say itself.
fn write_log(log: &Path, why: &str) {
    let file = OpenOptions::new().append(true).open(log);
    // There is nowhere left to complain to.
    let _written = file.and_then(|mut file| writeln!(file, "\na bug, or no way to work: {why}"));
}
