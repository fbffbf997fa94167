//! Members in panes of tmux. Panes are found by their tags and addressed by their ids, never by name or index.
//!
//! A pane is a view: whether its worker lives is known from its socket and its pidfd. Only panes that carry this
//! team's tag are ever closed, and the user's own windows are never split or selected away from.

mod call;
mod panes;

use std::path::PathBuf;

use agent_team_core::member::ProcessStamp;
use agent_team_protocol::method::AttachAnswer;
use agent_team_protocol::spec::Layout;
use agent_team_protocol::view::{Fate, Placement, Receipt, ReceiptKind};
use agent_team_protocol::{MemberName, Refusal, TeamId};
use agent_team_system::process::{ExitWatch, ProcessId};

use call::{Command, formatted, label_text};
pub(crate) use call::{Tmux, TmuxError};
use panes::Pane;

use super::{Label, LaunchOrder, Running, arguments, no_pane};
use crate::settings::{TmuxPlace, TmuxSession};

/// Bytes of one joined call, at most: tmux takes 16 KiB.
const CALL_MAX: usize = 12 << 10;

/// How long our own server may take to end once its last session is gone.
const SERVER_END_LIMIT: std::time::Duration = std::time::Duration::from_secs(5);

/// The panes of one team.
pub(crate) struct Panes {
    team: TeamId,
    place: TmuxPlace,
    layout: Layout,
    tmux: Tmux,
    /// What tmux said last; `None` until it was asked, and when it may be wrong.
    known: Option<Vec<Pane>>,
    labelled: std::collections::BTreeMap<MemberName, Label>,
}

impl Panes {
    pub(crate) fn new(
        team: TeamId,
        place: TmuxPlace,
        layout: Layout,
        configuration: PathBuf,
    ) -> Self {
        let configuration = matches!(place.session, TmuxSession::Own).then_some(configuration);
        let tmux = Tmux::new(place.binary.clone(), place.socket.clone(), configuration);
        Self {
            team,
            place,
            layout,
            tmux,
            known: None,
            labelled: Default::default(),
        }
    }

    /// Starts a worker for each order, in the member's own pane where it has one. One outcome for each, in order.
    pub(crate) async fn start(
        &mut self,
        worker: &std::path::Path,
        orders: &[LaunchOrder],
    ) -> Vec<Result<Running, String>> {
        let mut outcomes: Vec<Option<Result<Pane, TmuxError>>> = Vec::with_capacity(orders.len());
        for order in orders {
            outcomes.push(self.restart(worker, order).await);
        }
        let fresh = orders
            .iter()
            .zip(&outcomes)
            .filter(|(_, outcome)| outcome.is_none());
        let fresh: Vec<&LaunchOrder> = fresh.map(|(order, _)| order).collect();
        let mut opened = self.open(worker, &fresh).await.into_iter();
        outcomes
            .into_iter()
            .map(|outcome| {
                let pane = outcome
                    .or_else(|| opened.next())
                    .unwrap_or(Err(TmuxError::TimedOut));
                pane.map_err(|error| error.to_string())
                    .and_then(|pane| running(&pane))
            })
            .collect()
    }

    /// In the pane that the member has; `None` when there is none.
    async fn restart(
        &mut self,
        worker: &std::path::Path,
        order: &LaunchOrder,
    ) -> Option<Result<Pane, TmuxError>> {
        let pane = match self.pane(&order.member).await {
            Ok(pane) => pane?,
            Err(error) => return Some(Err(error)),
        };
        let mut commands = vec![
            Command::new("respawn-pane")
                .flag("-k")
                .option("-t", &pane.id)
                .option("-e", &marker(order))
                .argv(&argv(worker, order)),
        ];
        commands.extend(self.tags(&pane.id, order));
        commands.push(panes::show(&pane.id));
        match self.tmux.run(&commands).await {
            Ok(printed) => {
                let pane = panes::parse(&printed).into_iter().next()?;
                self.know(pane.clone(), order);
                Some(Ok(pane))
            }
            // What we knew is out of date.
            Err(TmuxError::Gone(_) | TmuxError::NoServer(_)) => {
                self.known = None;
                None
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// In new panes, with as few calls as their words allow. One outcome for each, in order.
    async fn open(
        &mut self,
        worker: &std::path::Path,
        orders: &[&LaunchOrder],
    ) -> Vec<Result<Pane, TmuxError>> {
        let mut made: Vec<Pane> = Vec::with_capacity(orders.len());
        let (mut error, mut full) = (None, None);
        while made.len() < orders.len() && error.is_none() {
            match self
                .open_some(worker, &orders[made.len()..], &mut full)
                .await
            {
                Ok(panes) => made.extend(panes),
                Err(failed) => error = Some(failed),
            }
        }
        let tags = orders
            .iter()
            .zip(&made)
            .flat_map(|(order, pane)| self.tags(&pane.id, order));
        for batch in call::batches(tags.collect(), CALL_MAX) {
            // A worker that is gone by now took its pane along, on a server where panes do not stay.
            if let Err(error) = self.tmux.run(&batch).await {
                tracing::warn!(%error, "a pane cannot be tagged");
            }
        }
        let missing = orders.len() - made.len();
        let mut error = error.into_iter();
        let failed = std::iter::repeat_with(|| Err(error.next().unwrap_or(TmuxError::TimedOut)));
        made.into_iter()
            .map(Ok)
            .chain(failed.take(missing))
            .collect()
    }

    /// At least one more pane: in the team's newest window while there is room, else in a new one.
    async fn open_some(
        &mut self,
        worker: &std::path::Path,
        orders: &[&LaunchOrder],
        full: &mut Option<String>,
    ) -> Result<Vec<Pane>, TmuxError> {
        let ours = self.ours().await?;
        let room = panes::room(self.place.size, self.layout);
        let open = panes::newest_window(&ours)
            .filter(|(window, panes)| panes.len() < room && full.as_deref() != Some(*window));
        let Some((window, panes)) = open else {
            return Ok(vec![self.open_window(worker, orders[0], &ours).await?]);
        };
        // The last pane of the layout is split, so that panes stand in the order in which they were made.
        let target = format!("{window}.{{bottom-right}}");
        let splits = orders.iter().take(room - panes.len()).map(|order| {
            vec![
                Command::new("split-window")
                    .flag("-d")
                    .option("-t", &target)
                    .option("-e", &marker(order))
                    .print(panes::FORMAT)
                    .argv(&argv(worker, order)),
                Command::new("select-layout")
                    .option("-t", window)
                    .word(layout_name(self.layout)),
            ]
        });
        let batch = call::batches(splits.flatten().collect(), CALL_MAX)
            .into_iter()
            .next();
        let (printed, failed) = self.tmux.run_on(&batch.unwrap_or_default()).await;
        let made = panes::parse(&printed);
        let window = window.to_owned();
        for (pane, order) in made.iter().zip(orders) {
            self.know(pane.clone(), order);
        }
        match failed {
            Some(TmuxError::NoSpace(_)) => *full = Some(window),
            Some(error) if made.is_empty() => {
                self.known = None;
                return Err(error);
            }
            Some(_) | None => {}
        }
        Ok(made)
    }

    fn know(&mut self, pane: Pane, order: &LaunchOrder) {
        self.labelled
            .insert(order.member.clone(), order.label.clone());
        let (team, member) = (self.team.to_string(), order.member.to_string());
        let known = self.known.get_or_insert_default();
        known.retain(|other| other.id != pane.id);
        known.push(Pane {
            team,
            member,
            ..pane
        });
    }

    /// The member's pane, by its tag.
    async fn pane(&mut self, member: &MemberName) -> Result<Option<Pane>, TmuxError> {
        let panes = self.ours().await?;
        Ok(panes
            .into_iter()
            .find(|pane| pane.member == member.as_str()))
    }

    /// Every pane that carries this team's tag.
    async fn ours(&mut self) -> Result<Vec<Pane>, TmuxError> {
        let known = match self.known.take() {
            Some(known) => known,
            None => match self.tmux.run(&[panes::list()]).await {
                Ok(listing) => panes::parse(&listing),
                Err(TmuxError::NoServer(_)) => Vec::new(),
                Err(error) => return Err(error),
            },
        };
        let ours = known
            .iter()
            .filter(|pane| pane.team == self.team.as_str())
            .cloned()
            .collect();
        self.known = Some(known);
        Ok(ours)
    }

    async fn open_window(
        &mut self,
        worker: &std::path::Path,
        order: &LaunchOrder,
        ours: &[Pane],
    ) -> Result<Pane, TmuxError> {
        let argv = &argv(worker, order);
        let windows: std::collections::BTreeSet<&str> =
            ours.iter().map(|pane| pane.window.as_str()).collect();
        let name = match windows.len() {
            0 => "team".to_owned(),
            others => format!("team-{}", others + 1),
        };
        let session = match &self.place.session {
            TmuxSession::Users(session) => Some(format!("{session}:")),
            TmuxSession::Own if self.session_exists().await? => Some(format!("={}:", self.team)),
            TmuxSession::Own => None,
        };
        let marker = marker(order);
        let open = match session {
            Some(session) => Command::new("new-window")
                .flag("-d")
                .option("-t", &session)
                .option("-n", &formatted(&name))
                .option("-e", &marker)
                .print(panes::FORMAT)
                .argv(argv),
            None => {
                self.tmux.write_configuration().map_err(TmuxError::Io)?;
                let (columns, rows) = self.place.size;
                // `-e` of a new session is younger than the oldest tmux that serves, so the marker is set around it.
                Command::new("new-session")
                    .flag("-d")
                    .option("-s", self.team.as_str())
                    .option("-x", &columns.to_string())
                    .option("-y", &rows.to_string())
                    .option("-n", &formatted(&name))
                    .print(panes::FORMAT)
                    .argv(&with_marker(&marker, argv))
            }
        };
        let printed = self.tmux.run(&[open]).await?;
        let pane = panes::parse(&printed).into_iter().next();
        let pane = pane
            .ok_or_else(|| TmuxError::Strange(format!("it printed {printed:?} for a new pane")))?;
        self.know(pane.clone(), order);
        self.dress(&pane.window).await;
        Ok(pane)
    }

    async fn session_exists(&self) -> Result<bool, TmuxError> {
        let session = format!("={}", self.team);
        match self
            .tmux
            .run(&[Command::new("has-session").option("-t", &session)])
            .await
        {
            Ok(_) => Ok(true),
            Err(TmuxError::Gone(_) | TmuxError::NoServer(_)) => Ok(false),
            Err(error) => Err(error),
        }
    }

    fn tags(&self, pane: &str, order: &LaunchOrder) -> Vec<Command> {
        let set = |name: &str, value: &str| {
            Command::new("set-option")
                .flag("-p")
                .option("-t", pane)
                .words([name, value])
        };
        vec![
            set(panes::TEAM_TAG, self.team.as_str()),
            set(panes::MEMBER_TAG, order.member.as_str()),
            set(panes::LAUNCH_TAG, order.launch.as_str()),
            set("@agent_team_label", &label_text(&order.label.text)),
            set(
                "@agent_team_colour",
                &format!("colour{}", order.label.colour.ansi256()),
            ),
        ]
    }

    /// What a window of ours looks like. Best effort: it is looks.
    async fn dress(&self, window: &str) {
        let set = |name: &str, value: &str| {
            Command::new("set-option")
                .flag("-w")
                .option("-t", window)
                .words([name, value])
        };
        let border = "#[fg=#{@agent_team_colour}]#[bold] #{@agent_team_member} #[default]#{@agent_team_label} ";
        let main = (self.place.size.0 / 2).max(panes::SMALLEST.0).to_string();
        let commands = [
            set("remain-on-exit", "on"),
            set("main-pane-width", &main),
            set("pane-border-status", "top"),
            set("pane-border-format", border),
            set("automatic-rename", "off"),
            set("allow-rename", "off"),
        ];
        if let Err(error) = self.tmux.run(&commands).await {
            tracing::warn!(%error, "a window cannot be dressed");
        }
    }

    /// Shows in the borders what the members are and do. Best effort.
    pub(crate) async fn label(&mut self, labels: Vec<(MemberName, Label)>) {
        let Ok(ours) = self.ours().await else { return };
        let mut commands = Vec::new();
        for (member, label) in labels {
            let Some(pane) = ours.iter().find(|pane| pane.member == member.as_str()) else {
                continue;
            };
            if self.labelled.get(&member) == Some(&label) {
                continue;
            }
            commands.push(
                Command::new("set-option")
                    .flag("-p")
                    .option("-t", &pane.id)
                    .words(["@agent_team_label", &label_text(&label.text)]),
            );
            self.labelled.insert(member, label);
        }
        for batch in call::batches(commands, CALL_MAX) {
            if let Err(error) = self.tmux.run(&batch).await {
                tracing::debug!(%error, "a border cannot be changed");
                self.known = None;
            }
        }
    }

    pub(crate) async fn close(&mut self, member: &MemberName) {
        self.known = None;
        self.labelled.remove(member);
        if let Ok(Some(pane)) = self.pane(member).await
            && let Err(error) = self
                .tmux
                .run(&[Command::new("kill-pane").option("-t", &pane.id)])
                .await
        {
            tracing::warn!(%member, %error, "its pane cannot be closed");
        }
        self.known = None;
    }

    /// Closes every pane of the team, and our own server once it shows nobody else.
    pub(crate) async fn close_all(&mut self) -> Vec<Receipt> {
        self.known = None;
        self.labelled.clear();
        let Ok(ours) = self.ours().await else {
            return Vec::new();
        };
        let server = self.server().await;
        for pane in &ours {
            if let Err(error) = self
                .tmux
                .run(&[Command::new("kill-pane").option("-t", &pane.id)])
                .await
            {
                tracing::debug!(pane = pane.id, %error, "not closed");
            }
        }
        self.known = None;
        let left = self.ours().await.unwrap_or_default();
        let mut receipts: Vec<Receipt> = ours
            .iter()
            .map(|pane| Receipt {
                kind: ReceiptKind::Pane,
                what: format!("{} ({})", pane.id, pane.member),
                fate: if left.iter().any(|left| left.id == pane.id) {
                    Fate::Survived
                } else {
                    Fate::Closed
                },
            })
            .collect();
        self.known = None;
        if self.place.session == TmuxSession::Own {
            receipts.extend(self.end_server(server).await);
        }
        receipts
    }

    /// Our server ends by itself with its last pane; its socket stays behind.
    async fn end_server(&self, server: Option<ProcessId>) -> Option<Receipt> {
        let server = server?;
        let socket = Receipt {
            kind: ReceiptKind::Socket,
            what: self.place.socket.display().to_string(),
            fate: Fate::Kept,
        };
        match self
            .tmux
            .run(&[Command::new("list-panes").flag("-a")])
            .await
        {
            // Somebody else's panes are on it: another team's, or ones made by hand.
            Ok(listing) if !listing.trim().is_empty() => return Some(socket),
            Ok(_) | Err(_) => {}
        }
        if let Ok(Some(mut watch)) = ExitWatch::open(server)
            && !watch.exited_within(SERVER_END_LIMIT).await.unwrap_or(false)
        {
            return Some(Receipt {
                fate: Fate::Survived,
                ..socket
            });
        }
        self.tmux.remove_configuration();
        match std::fs::remove_file(&self.place.socket) {
            Ok(()) => Some(Receipt {
                fate: Fate::Removed,
                ..socket
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Some(Receipt {
                fate: Fate::Removed,
                ..socket
            }),
            Err(_) => Some(Receipt {
                fate: Fate::Survived,
                ..socket
            }),
        }
    }

    async fn server(&self) -> Option<ProcessId> {
        let pid = self
            .tmux
            .run(&[Command::new("display-message").flag("-p").word("#{pid}")])
            .await
            .ok()?;
        ProcessId::of(pid.trim().parse().ok()?).ok().flatten()
    }

    /// Shows a pane in the client that the caller types in.
    async fn switch(&self, pane: &Pane, caller: Option<&str>) -> Result<AttachAnswer, TmuxError> {
        let mut list = Command::new("list-clients").option("-F", "#{client_name}");
        if let Some(session) = caller.and_then(session_in) {
            list = list.option("-t", &session);
        }
        let clients = self.tmux.run(&[list]).await?;
        let client = clients.lines().next().ok_or_else(|| {
            TmuxError::Gone("no terminal is attached to the session of this one".to_owned())
        })?;
        let switch = Command::new("switch-client")
            .option("-c", client)
            .option("-t", &pane.id);
        self.tmux.run(&[switch]).await?;
        Ok(AttachAnswer {
            argv: Vec::new(),
            unset: Vec::new(),
        })
    }

    /// What the caller runs to see the team, or one member's pane. `caller`: its `$TMUX`.
    pub(crate) async fn attach(
        &mut self,
        member: Option<&MemberName>,
        read_only: bool,
        caller: Option<&str>,
    ) -> Result<AttachAnswer, Refusal> {
        self.known = None;
        let refused = |error: TmuxError| {
            Refusal::new(agent_team_protocol::ErrorCode::NoPane, error.to_string())
        };
        let ours = self.ours().await.map_err(refused)?;
        let pane = match member {
            Some(member) => ours.iter().find(|pane| pane.member == member.as_str()),
            None => ours.first(),
        };
        let pane = pane.ok_or_else(|| no_pane(member))?;
        let here = caller.and_then(|tmux| tmux.split(',').next()) == self.place.socket.to_str();
        if here {
            return self.switch(pane, caller).await.map_err(refused);
        }
        let mut commands = vec![
            Command::new("select-window").option("-t", &pane.id),
            Command::new("select-pane").option("-t", &pane.id),
        ];
        if member.is_some() {
            // Zoomed, unless it is already.
            let zoom = format!("resize-pane -Z -t {}", pane.id);
            commands.push(
                Command::new("if-shell")
                    .flag("-F")
                    .option("-t", &pane.id)
                    .words(["#{window_zoomed_flag}", "", &zoom]),
            );
        }
        let attach = Command::new("attach-session").option("-t", &pane.session);
        commands.push(if read_only { attach.flag("-r") } else { attach });
        let unset = vec!["TMUX".to_owned(), "TMUX_PANE".to_owned()];
        Ok(AttachAnswer {
            argv: self.tmux.argv(&commands),
            unset,
        })
    }
}

/// The session's id in a `$TMUX`, which is `socket,pid,session`.
fn session_in(tmux: &str) -> Option<String> {
    let number: u64 = tmux.rsplit(',').next()?.parse().ok()?;
    Some(format!("${number}"))
}

fn argv(worker: &std::path::Path, order: &LaunchOrder) -> Vec<String> {
    std::iter::once(worker.as_os_str().to_owned())
        .chain(arguments(order))
        .map(|word| word.to_string_lossy().into_owned())
        .collect()
}

fn marker(order: &LaunchOrder) -> String {
    format!(
        "{}={}",
        agent_team_protocol::launch::LAUNCH_MARKER,
        order.launch
    )
}

/// The same program with the marker in its environment.
fn with_marker(marker: &str, argv: &[String]) -> Vec<String> {
    ["/usr/bin/env".to_owned(), marker.to_owned()]
        .into_iter()
        .chain(argv.iter().cloned())
        .collect()
}

fn running(pane: &Pane) -> Result<Running, String> {
    let process = ProcessId::of(pane.pid).ok().flatten();
    let process =
        process.ok_or_else(|| format!("its process ended at once in pane {}", pane.id))?;
    Ok(Running {
        process: ProcessStamp {
            pid: process.pid,
            start_time: process.start_time,
        },
        placement: Placement::Tmux,
        pane: Some(pane.id.clone()),
    })
}

fn layout_name(layout: Layout) -> &'static str {
    match layout {
        Layout::MainVertical => "main-vertical",
        Layout::Tiled => "tiled",
        Layout::EvenHorizontal => "even-horizontal",
        Layout::EvenVertical => "even-vertical",
    }
}
