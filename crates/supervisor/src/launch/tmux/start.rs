//! Workers into panes: a member's own pane again where there is one, else a new one.
//!
//! Each step is one call of tmux that makes and tags panes in one go, so that no pane is ever there without its tags.
//! What a step found out, that a pane was closed by hand or that a window is full, the next one goes by.

use std::collections::BTreeSet;
use std::path::Path;

use agent_team_core::member::ProcessStamp;
use agent_team_protocol::launch::LAUNCH_MARKER;
use agent_team_protocol::view::Placement;
use agent_team_system::process::ProcessId;

use super::call::{self, CALL_MAX, Command, TmuxError, path_text};
use super::server::{OWN_SERVER, write_configuration};
use super::survey::{
    FORMAT, LAUNCH_TAG, MEMBER_TAG, Pane, SESSION_TAG, TEAM_TAG, WINDOW_TAG, Window,
};
use super::{Panes, label_commands, room};
use crate::launch::{LaunchOrder, Running};
use crate::settings::TmuxSession;

/// A border: the name in its colour, then what it does. A pane that is not ours gets its number.
const BORDER: &str = "#{?@agent_team_member,#[fg=#{@agent_team_colour}]#[bold] #{@agent_team_member}#[default] \
                      #{@agent_team_label} , #{pane_index} }";

/// What a pane says whose worker has ended, where tmux knows this option.
const ENDED: &str =
    "#{@agent_team_member} has ended; agent-team restart #{@agent_team_member} starts it again";

/// Bytes kept free in a call for the commands that finish a window.
const FINISH_BYTES: usize = 512;

/// Where the next panes go.
#[derive(Debug)]
enum Room {
    /// The team's session on our own server, with its first window.
    Session,
    /// A further window in a session.
    NewWindow { session: String, name: String },
    /// A window of ours that has seats left.
    Beside(Window),
}

/// A call, and the orders in whose order it prints panes.
struct Step {
    commands: Vec<Command>,
    orders: Vec<usize>,
    /// `None`: only panes that were there already.
    room: Option<Room>,
}

/// What the steps have come to.
struct Progress<'a> {
    worker: &'a Path,
    orders: &'a [LaunchOrder],
    /// Beside the orders: the pane that each got.
    born: Vec<Option<Pane>>,
    /// Windows that tmux has no room in, whatever we reckoned.
    full: BTreeSet<String>,
}

impl Progress<'_> {
    fn waiting(&self) -> impl Iterator<Item = usize> {
        (0..self.orders.len()).filter(|&index| self.born[index].is_none())
    }
}

impl Panes {
    /// Starts a worker for each order, in the member's own pane where there is one. One outcome for each, in order.
    pub(crate) async fn start(
        &mut self,
        worker: &Path,
        orders: &[LaunchOrder],
    ) -> Vec<Result<Running, String>> {
        let mut progress = Progress {
            worker,
            orders,
            born: vec![None; orders.len()],
            full: BTreeSet::new(),
        };
        let team = &self.team;
        let is_known = |order: &LaunchOrder| {
            self.survey
                .as_ref()
                .is_some_and(|survey| survey.of_member(team, order.member.as_str()).is_some())
        };
        if !orders.iter().all(is_known) {
            // A window may have another size by now than when we looked.
            self.survey = None;
        }
        let (mut looked_again, mut fault) = (false, None);
        while fault.is_none() && progress.waiting().next().is_some() {
            match self.step(&mut progress).await {
                Ok(()) => {}
                Err(error) => {
                    self.survey = None;
                    if error.is_stale() && !looked_again {
                        looked_again = true;
                    } else {
                        fault = Some(error.to_string());
                    }
                }
            }
        }
        let fault = fault.unwrap_or_default();
        let mut outcomes = Vec::with_capacity(orders.len());
        for (order, born) in orders.iter().zip(progress.born) {
            outcomes.push(match born {
                Some(pane) => {
                    self.labels
                        .insert(order.member.clone(), order.label.clone());
                    self.running(pane).await
                }
                None => Err(fault.clone()),
            });
        }
        outcomes
    }

    /// One call of tmux for orders that wait.
    async fn step(&mut self, progress: &mut Progress<'_>) -> Result<(), TmuxError> {
        let step = self.next_step(progress).await?;
        let (printed, outcome) = if let Some(Room::Session) = step.room {
            let _sole = OWN_SERVER.lock().await;
            if let Some(file) = &self.tmux.configuration {
                write_configuration(file)?;
            }
            self.tmux.run_partly(&step.commands).await
        } else {
            self.tmux.run_partly(&step.commands).await
        };

        let mut window = match &step.room {
            Some(Room::Beside(window)) => Some(window.id.clone()),
            Some(Room::Session | Room::NewWindow { .. }) | None => None,
        };
        let mut made = 0;
        for (&index, pane) in step
            .orders
            .iter()
            .zip(printed.lines().filter_map(Pane::parse))
        {
            let pane = self.tagged(pane, &progress.orders[index], step.room.as_ref(), made);
            window = Some(pane.window.clone());
            made += 1;
            if let Some(survey) = &mut self.survey {
                survey.add(pane.clone());
            }
            progress.born[index] = Some(pane);
        }
        match (outcome, window) {
            (Err(TmuxError::NoSpace(_)), Some(window)) => {
                progress.full.insert(window);
                Ok(())
            }
            (Ok(()), _) if made < step.orders.len() => {
                Err(TmuxError::Strange(format!("{printed:?} for new panes")))
            }
            (outcome, _) => outcome,
        }
    }

    async fn next_step(&mut self, progress: &Progress<'_>) -> Result<Step, TmuxError> {
        let (team, layout, default_size) = (self.team.clone(), self.layout, self.size);
        let session = self.session.clone();
        let survey = self.survey().await?;
        let old: Vec<(usize, String)> = progress
            .waiting()
            .filter_map(|index| {
                Some((
                    index,
                    survey
                        .of_member(&team, progress.orders[index].member.as_str())?
                        .id
                        .clone(),
                ))
            })
            .collect();
        if !old.is_empty() {
            return self.respawns(progress, &old);
        }
        let windows = survey.windows_of(&team);
        let seats =
            |window: &Window| room::capacity(layout, window.size).saturating_sub(window.panes);
        let open = windows
            .iter()
            .find(|window| seats(window) > 0 && !progress.full.contains(&window.id));
        if let Some(window) = open {
            return self.fill(
                progress,
                Room::Beside(window.clone()),
                window.size,
                seats(window),
            );
        }
        let session = match session {
            TmuxSession::Users(id) => Some(id),
            TmuxSession::Own => survey.session_of(&team).map(str::to_owned),
        };
        let size = session
            .as_deref()
            .and_then(|session| survey.size_in(session))
            .unwrap_or(default_size);
        let room = match session {
            Some(session) => Room::NewWindow {
                name: self.window_name(windows.len()),
                session,
            },
            None => Room::Session,
        };
        self.fill(progress, room, size, room::capacity(layout, size))
    }

    /// On our own server the session is named for the team already.
    fn window_name(&self, others: usize) -> String {
        let name = match self.session {
            TmuxSession::Own => "team",
            TmuxSession::Users(_) => self.team.as_str(),
        };
        match others {
            0 => name.to_owned(),
            others => format!("{name}-{}", others + 1),
        }
    }

    fn respawns(
        &self,
        progress: &Progress<'_>,
        old: &[(usize, String)],
    ) -> Result<Step, TmuxError> {
        let mut step = Step {
            commands: Vec::new(),
            orders: Vec::new(),
            room: None,
        };
        for (index, pane) in old {
            let order = &progress.orders[*index];
            let respawn = Command::new("respawn-pane").flag("-k").option("-t", pane);
            let mut group = vec![program(respawn, progress.worker, order)?];
            group.extend(self.tags(Some(pane), order));
            group.push(
                Command::new("display-message")
                    .flag("-p")
                    .option("-t", pane)
                    .word(FORMAT),
            );
            if !step.commands.is_empty()
                && call::bytes(&step.commands) + call::bytes(&group) > CALL_MAX
            {
                break;
            }
            step.commands.extend(group);
            step.orders.push(*index);
        }
        Ok(step)
    }

    /// As many waiting orders as have seats and go into one call.
    fn fill(
        &self,
        progress: &Progress<'_>,
        room: Room,
        size: (u16, u16),
        seats: usize,
    ) -> Result<Step, TmuxError> {
        let (mut commands, mut orders) = (Vec::new(), Vec::new());
        let layout =
            Command::new("select-layout").word(room::name(room::fitting(self.layout, size)));
        // The new window is addressed by what only it is called until the call ends.
        let target = match (&room, progress.waiting().next()) {
            (Room::Session, _) => format!("={}:", self.team),
            (Room::NewWindow { session, .. }, Some(first)) => {
                format!("{session}:={}", progress.orders[first].launch)
            }
            (Room::NewWindow { .. }, None) => String::new(),
            (Room::Beside(window), _) => window.last.clone(),
        };
        for index in progress.waiting().take(seats) {
            let order = &progress.orders[index];
            let mut group = Vec::new();
            let split = match (&room, orders.len()) {
                (Room::Session, 0) => {
                    group.extend(self.new_session(progress.worker, order, size, &target)?);
                    None
                }
                (Room::NewWindow { session, .. }, 0) => {
                    let window = Command::new("new-window")
                        .flag("-d")
                        .option("-t", &format!("{session}:"));
                    let window = window
                        .option("-n", order.launch.as_str())
                        .flag("-P")
                        .option("-F", FORMAT);
                    group.push(program(window, progress.worker, order)?);
                    group.extend(self.window_options(&target, size));
                    None
                }
                (Room::Beside(_), 0) | (Room::Session | Room::NewWindow { .. }, 1) => {
                    Some(Command::new("split-window").option("-t", &target))
                }
                // Without a target: the pane that this call made last, so that they stay in order.
                _ => Some(Command::new("split-window")),
            };
            match split {
                // Not detached, so that it is the one that the commands after it are about.
                Some(split) => {
                    group.push(program(
                        split.flag("-P").option("-F", FORMAT),
                        progress.worker,
                        order,
                    )?);
                    group.extend(self.tags(None, order));
                    // Each time, or the last pane would soon be too small to split; windows are drawn only in the end.
                    group.push(layout.clone());
                }
                None => group.extend(self.tags(Some(&target), order)),
            }
            let bytes = call::bytes(&commands) + call::bytes(&group) + FINISH_BYTES;
            if !orders.is_empty() && bytes > CALL_MAX {
                break;
            }
            commands.extend(group);
            orders.push(index);
        }
        match &room {
            Room::Beside(window) => {
                commands.push(Command::new("select-pane").option("-t", &window.active));
                if window.zoomed {
                    commands.push(
                        Command::new("resize-pane")
                            .flag("-Z")
                            .option("-t", &window.active),
                    );
                }
            }
            Room::Session | Room::NewWindow { .. } if orders.len() > 1 => {
                commands.push(
                    Command::new("select-pane").option("-t", &format!("{target}.{{top-left}}")),
                );
            }
            Room::Session | Room::NewWindow { .. } => {}
        }
        if let Room::NewWindow { name, .. } = &room {
            commands.push(
                Command::new("rename-window")
                    .option("-t", &target)
                    .word(name),
            );
        }
        Ok(Step {
            commands,
            orders,
            room: Some(room),
        })
    }

    fn new_session(
        &self,
        worker: &Path,
        order: &LaunchOrder,
        (columns, rows): (u16, u16),
        target: &str,
    ) -> Result<Vec<Command>, TmuxError> {
        let (columns, rows) = (columns.to_string(), rows.to_string());
        let session = Command::new("new-session")
            .flag("-d")
            .option("-s", self.team.as_str());
        let session = session
            .option("-x", &columns)
            .option("-y", &rows)
            .option("-n", &self.window_name(0));
        // Its `-e` would be every later pane's in the session, also of those that a person makes.
        let mut argv = vec!["/usr/bin/env".to_owned(), marker(order)];
        argv.extend(worker_argv(worker, order)?);
        let mut commands = vec![
            session
                .option("-c", "/")
                .flag("-P")
                .option("-F", FORMAT)
                .program(&argv),
            Command::new("set-option")
                .option("-t", target)
                .word(SESSION_TAG)
                .word(self.team.as_str()),
            // tmux 3.2 does not go by the size that it is given.
            Command::new("resize-window")
                .option("-t", target)
                .option("-x", &columns)
                .option("-y", &rows),
            Command::new("set-option")
                .flag("-wu")
                .option("-t", target)
                .word("window-size"),
        ];
        commands.extend(self.window_options(target, self.size));
        Ok(commands)
    }

    fn window_options(&self, window: &str, size: (u16, u16)) -> Vec<Command> {
        let width = room::main_width(size).to_string();
        let set = |name: &str, value: &str| Command::set("-w", Some(window), name, value);
        vec![
            set(WINDOW_TAG, self.team.as_str()),
            set("remain-on-exit", "on"),
            Command::set("-wq", Some(window), "remain-on-exit-format", ENDED),
            set("automatic-rename", "off"),
            set("allow-rename", "off"),
            set("main-pane-width", &width),
            set("pane-border-status", "top"),
            set("pane-border-format", BORDER),
        ]
    }

    fn tags(&self, pane: Option<&str>, order: &LaunchOrder) -> Vec<Command> {
        let set = |name: &str, value: &str| Command::set("-p", pane, name, value);
        let mut commands = vec![
            set(TEAM_TAG, self.team.as_str()),
            set(MEMBER_TAG, order.member.as_str()),
            set(LAUNCH_TAG, order.launch.as_str()),
        ];
        commands.extend(label_commands(pane, &order.label));
        commands
    }

    /// The pane as it is after the call that printed it before it was tagged.
    fn tagged(&self, pane: Pane, order: &LaunchOrder, room: Option<&Room>, nth: usize) -> Pane {
        let team = self.team.to_string();
        let Some(room) = room else { return pane };
        let session_team = match (room, &self.session) {
            (Room::Beside(_), _) => pane.session_team,
            (Room::Session | Room::NewWindow { .. }, TmuxSession::Own) => team.clone(),
            (Room::Session | Room::NewWindow { .. }, TmuxSession::Users(_)) => String::new(),
        };
        let (active, zoomed, size) = match room {
            Room::Beside(window) => (false, window.zoomed, pane.size),
            Room::Session => (nth == 0, false, self.size),
            Room::NewWindow { .. } => (nth == 0, false, pane.size),
        };
        Pane {
            session_team,
            window_team: team.clone(),
            team,
            member: order.member.to_string(),
            active,
            zoomed,
            size,
            ..pane
        }
    }

    async fn running(&self, pane: Pane) -> Result<Running, String> {
        match ProcessId::of(pane.pid) {
            Ok(Some(process)) => Ok(Running {
                process: ProcessStamp {
                    pid: process.pid,
                    start_time: process.start_time,
                },
                placement: Placement::Tmux,
                pane: Some(pane.id),
            }),
            Ok(None) => Err(self.ended(&pane).await),
            Err(error) => Err(format!(
                "its process {} cannot be looked at: {error}",
                pane.pid
            )),
        }
    }

    /// How a worker ended that was gone before we could look at it. Some builds of tmux never learn of it.
    async fn ended(&self, pane: &Pane) -> String {
        let told = self
            .tmux
            .show(&pane.id, "#{pane_dead_status}\t#{pane_dead_signal}")
            .await
            .unwrap_or_default();
        let (status, signal) = told.split_once('\t').unwrap_or_default();
        let how = match (status, signal) {
            ("", "") => "tmux does not know how".to_owned(),
            (status, "") => format!("with status {status}"),
            (_, signal) => format!("by signal {signal}"),
        };
        format!(
            "its worker ended at once, {how}; pane {} shows its last words",
            pane.id
        )
    }
}

fn marker(order: &LaunchOrder) -> String {
    format!("{LAUNCH_MARKER}={}", order.launch)
}

/// The worker as what a pane runs, marked as the launch's. It changes to the member's directory itself.
fn program(command: Command, worker: &Path, order: &LaunchOrder) -> Result<Command, TmuxError> {
    let argv = worker_argv(worker, order)?;
    Ok(command
        .option("-e", &marker(order))
        .option("-c", "/")
        .program(&argv))
}

fn worker_argv(worker: &Path, order: &LaunchOrder) -> Result<Vec<String>, TmuxError> {
    let mut argv = vec![path_text(worker)?.to_owned()];
    for word in crate::launch::arguments(order) {
        argv.push(path_text(Path::new(&word))?.to_owned());
    }
    Ok(argv)
}
