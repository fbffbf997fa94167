//! The supervisors of a simulation, one after another: each starts, serves, and crashes, stops or hands over.

use std::cell::{Cell, RefCell};
use std::fs;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use agent_team_protocol::notification::GoodbyeReason;
use agent_team_store::Durability;
use agent_team_supervisor::in_memory::InMemorySupervisor;
use agent_team_system::directories::Directories;
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, LocalSet, spawn_local};
use tokio::time::{Instant, sleep_until};

use super::machine::Machine;
use super::network::ConnectionSelector;

/// The boot id of the simulated machine, which boots only once.
const BOOT: &str = "the only boot";

pub(super) struct Supervisors {
    machine: Machine,
    directories: Directories,
    running: RefCell<Option<Running>>,
}

struct Running {
    pid: u32,
    task: JoinHandle<()>,
    state: Rc<State>,
}

/// State that the simulation and the supervisor's task share.
#[derive(Default)]
struct State {
    /// `None` before the supervisor serves, and after its end.
    supervisor: RefCell<Option<InMemorySupervisor>>,
    /// The supervisor's task is not polled before this time, as after SIGSTOP.
    stopped_until: Cell<Option<Instant>>,
}

impl Supervisors {
    pub(super) fn new(machine: Machine, directories: Directories) -> Self {
        Self {
            machine,
            directories,
            running: RefCell::default(),
        }
    }

    /// Starts a supervisor if none runs. The supervisor serves after a short delay.
    pub(super) fn start(&self) {
        let mut running = self.running.borrow_mut();
        if running
            .as_ref()
            .is_some_and(|running| !running.task.is_finished())
        {
            return;
        }
        let machine = self.machine.for_supervisor();
        let state = Rc::new(State::default());
        let serve = serve(machine.clone(), self.directories.clone(), state.clone());
        *running = Some(Running {
            pid: machine.pid(),
            task: spawn_local(serve),
            state,
        });
    }

    /// Kills the running supervisor; returns its pid.
    pub(super) async fn kill(&self) -> Option<u32> {
        let running = self.running.borrow_mut().take()?;
        self.machine.network().stop_listening();
        self.machine.network().cut(ConnectionSelector::All);
        running.task.abort();
        // An error means that the task crashed or was aborted.
        let _ended = running.task.await;
        Some(running.pid)
    }

    /// Stops the supervisor for this time, as SIGSTOP and SIGCONT do.
    pub(super) fn stop_for(&self, lasts: Duration) {
        if let Some(running) = &*self.running.borrow() {
            running
                .state
                .stopped_until
                .set(Some(Instant::now() + lasts));
        }
    }

    /// Shuts the supervisor down in an orderly way; returns its pid if it was serving.
    pub(super) async fn close(&self, goodbye: GoodbyeReason) -> Option<u32> {
        let (supervisor, stopped) = {
            let running = self.running.borrow();
            let state = &running.as_ref()?.state;
            (
                state.supervisor.borrow().clone(),
                state.stopped_until.take(),
            )
        };
        if let Some(until) = stopped {
            sleep_until(until).await;
        }
        let supervisor = supervisor?;
        self.machine.network().stop_listening();
        let (closed, done) = oneshot::channel();
        let closing = spawn_local(async move {
            supervisor.close(goodbye).await;
            let _given_up = closed.send(());
        });
        // A supervisor that crashes meanwhile may never complete its close, so the wait is bounded.
        tokio::select! {
            biased;
            _closed = done => {}
            () = tokio::time::sleep(Duration::from_secs(30)) => {}
        }
        closing.abort();
        self.kill().await
    }

    /// The launch files and environment files that exist.
    pub(super) fn files_left(&self) -> Vec<String> {
        let directories = [
            self.directories.launch_files(),
            self.directories.run.join("env"),
        ];
        let entries = directories
            .into_iter()
            .filter_map(|directory| fs::read_dir(directory).ok())
            .flatten();
        entries
            .flatten()
            .map(|entry| format!("the file {}", entry.file_name().display()))
            .collect()
    }
}

async fn serve(machine: Machine, directories: Directories, state: Rc<State>) {
    machine.pause(2, 25).await;
    let mut accepted = machine.network().listen();
    let tasks = LocalSet::new();
    {
        let serve = tasks.run_until(async {
            let machine = Rc::new(machine.clone());
            let supervisor =
                InMemorySupervisor::start(machine, directories, Durability::Process, BOOT)
                    .expect("the simulation's directories are its own");
            state.supervisor.replace(Some(supervisor.clone()));
            while let Some(connection) = accepted.recv().await {
                let (reader, writer, peer) =
                    (connection.reader, connection.writer, connection.peer);
                spawn_local(supervisor.clone().serve(reader, writer, peer));
            }
            // The network no longer listens: the supervisor is closing or has crashed. Wait until this task is dropped.
            std::future::pending::<()>().await;
        });
        let mut serve = pin!(serve);
        let mut stopped = None;
        let serve = poll_fn(|context| {
            if let Some(until) = state.stopped_until.get() {
                let sleep = stopped.get_or_insert_with(|| Box::pin(sleep_until(until)));
                if sleep.as_mut().poll(context).is_pending() {
                    return std::task::Poll::Pending;
                }
                stopped = None;
                state.stopped_until.set(None);
            }
            serve.as_mut().poll(context)
        });
        tokio::select! {
            biased;
            () = machine.crashed() => {}
            () = serve => {}
        }
    }
    // Dropping the `LocalSet` drops all tasks, as the death of a process does.
    state.supervisor.replace(None);
}
