//! The native engine's worker: the one owner of what this process is doing while a model thinks in it. Called by
//! `lib.rs`, once.
//!
//! ```text
//! supervisor ◄─► link ──tasks, messages, stop──► inbox ──► mind ◄──► model
//!                 ▲                                         │  └───► tools
//!                 └── calls ◄── desk ◄──────────────────────┤
//! pane, log ◄── lines ◄── screen ◄──────────────────────────┘
//! ```
//! A reader who looks for …
//! - the loop of a turn: `mind`, one answer: `step`, its calls: `calls`, its end: `ending`
//! - work that is not a model's: `custom`
//! - what waits to be told, and what interrupts: `inbox`; in which words: `say`
//! - how a lead without tools is asked, round by round: `rounds`; in which words: `question`
//! - what whoever watches is told: `live`
//! - what is stored and read back: `transcript`; what is cut out of it: `compact`
//! - calls of the supervisor, stopping, reconnecting: `errand`
//!
//! Everything arrives here as an [`Event`] and is applied at once, without waiting; what waits is the mind's.

mod calls;
mod compact;
mod custom;
mod ending;
mod errand;
mod inbox;
mod live;
mod mind;
mod question;
mod rounds;
mod say;
pub(crate) mod screen;
pub(crate) mod seam;
mod step;
mod transcript;
mod verify;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::RequestId;
use agent_team_protocol::notification::{Assignment, Inform, MemberWaits, ShowPane, TaskOutput};
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::view::Waiting;
use agent_team_system::signals::SignalEvent;
use agent_team_terminal_ui::Tone;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::calls::Toolbox;
use self::custom::{Comes, Custom};
use self::errand::{Errand, Life};
use self::inbox::{Inbox, Input};
use self::live::Live;
use self::mind::{End, Mind};
use self::screen::{Ended, Screen, Told, whole_lines};
use self::transcript::Transcript;
use self::verify::Verifier;
use crate::desk::{Desk, DeskCall};
use crate::engine::output::Coalescer;
use crate::hosted::{Engine, Seat};
use crate::link::{LinkEvent, Notice, Over, Ticket};
use crate::model::Model;
use crate::pane::{AgentEvent, AgentPane};
use crate::sleep_until;
use crate::team_tool::{Arrivals, Claims, PendingRequest, Shared};
use crate::tool::confine::Confinement;
use crate::tool::{Bench, Permission, Tool};
use crate::typed::{Act, Acted, Done};
use crate::worker::{OUTPUT_PAUSE, Parts, TERM_GRACE, next_signal, not_shown, output_due, refused};

/// What thinks and what it thinks with.
pub(crate) struct Makings<T> {
    pub(crate) agent: AgentSpec,
    pub(crate) model: Arc<dyn Model>,
    pub(crate) desk: Desk,
    pub(crate) calls: mpsc::UnboundedReceiver<DeskCall>,
    pub(crate) bench: Bench,
    /// What its commands are held to. `None`: nothing.
    pub(crate) confinement: Option<Arc<Confinement>>,
    /// Makes the tools, once there is what they share with the loop.
    pub(crate) tools: T,
}

/// What holds the `verify` lines of its tasks.
struct Hold {
    project: PathBuf,
    confinement: Option<Arc<Confinement>>,
    permission: Permission,
}

pub(crate) struct Agent {
    parts: Parts,
    pane: AgentPane,
    /// What is said and has not made a line for the log yet.
    said: String,
    life: Life,
    /// `None` once it has ended.
    mind: Option<JoinHandle<End>>,
    inputs: mpsc::UnboundedSender<Input>,
    shown: mpsc::UnboundedReceiver<Told>,
    calls: mpsc::UnboundedReceiver<DeskCall>,
    shared: Shared,
    /// The claim that the supervisor says is hers.
    held: Option<Assignment>,
    /// Requests without an answer.
    errands: HashMap<Ticket, Errand>,
    /// What the supervisor has not been shown and told yet, and when it may be.
    output: Coalescer,
    live: Live,
    output_at: Instant,
    /// What the supervisor was told that the mind waits for.
    waits: Option<Waiting>,
    /// The request that a tool waits for.
    asks: Option<RequestId>,
}

enum Event {
    Link(LinkEvent),
    Call(DeskCall),
    Told(Told),
    Ended(End),
    OutputDue(mpsc::OwnedPermit<TaskOutput>),
    Pane(AgentEvent),
    Acted(Acted),
    Signal(SignalEvent),
    Deadline,
}

impl Agent {
    /// Must be called within the worker's runtime.
    pub(crate) fn new<T>(parts: Parts, pane: AgentPane, makings: Makings<T>) -> Self
    where
        T: FnOnce(&Desk, &Shared) -> Vec<Box<dyn Tool>>,
    {
        let Makings {
            agent,
            model,
            desk,
            calls,
            bench,
            confinement,
            tools,
        } = makings;
        let hold = Hold {
            project: bench.project.clone(),
            confinement: confinement.clone(),
            permission: seam::permission_of(&agent, &desk),
        };
        Self::around(parts, pane, calls, hold, |inputs, shared, screen| {
            let tools = match agent.strategy {
                Some(_) => Vec::new(),
                None => tools(&desk, &shared),
            };
            let toolbox = Toolbox::new(tools, bench);
            let mind = Mind {
                agent,
                model,
                confinement,
                specs: toolbox.specs(),
                search: false,
                toolbox,
                system: String::new(),
                lead: None,
                desk,
                inbox: Inbox::new(inputs, shared.arrivals.clone(), shared.claims.clone()),
                shared,
                transcript: Transcript::default(),
                screen,
            };
            mind.run()
        })
    }

    /// The same with work that the embedding program does itself.
    pub(crate) fn with_engine(
        parts: Parts,
        pane: AgentPane,
        desk: Desk,
        calls: mpsc::UnboundedReceiver<DeskCall>,
        engine: Box<dyn Engine>,
    ) -> Self {
        // The embedding program does the work itself, and gave the lines too.
        let hold = Hold {
            project: parts.place.cwd.clone(),
            confinement: None,
            permission: Permission::Bypass,
        };
        Self::around(parts, pane, calls, hold, |inputs, shared, screen| {
            let custom = Custom {
                engine,
                seat: Seat {
                    desk,
                    shared,
                    screen,
                },
                comes: Comes::new(inputs),
            };
            custom.run()
        })
    }

    fn around<F>(
        parts: Parts,
        pane: AgentPane,
        calls: mpsc::UnboundedReceiver<DeskCall>,
        hold: Hold,
        mind: impl FnOnce(mpsc::UnboundedReceiver<Input>, Shared, Screen) -> F,
    ) -> Self
    where
        F: Future<Output = End> + Send + 'static,
    {
        let (inputs, heard) = mpsc::unbounded_channel();
        let live = Live::new(&parts.place.marker);
        let (screen, shown) = Screen::new(live.clone());
        let shared = Shared {
            claims: Claims::default(),
            arrivals: Arrivals::default(),
            verify: Arc::new(Verifier {
                place: Arc::clone(&parts.place),
                project: hold.project,
                screen: screen.clone(),
                confinement: hold.confinement,
                permission: hold.permission,
            }),
        };
        let mind = mind(heard, shared.clone(), screen);
        Self {
            parts,
            pane,
            said: String::new(),
            life: Life::Working,
            mind: Some(tokio::spawn(mind)),
            inputs,
            shown,
            calls,
            shared,
            held: None,
            errands: HashMap::new(),
            output: Coalescer::default(),
            live,
            output_at: Instant::now(),
            waits: None,
            asks: None,
        }
    }

    /// Works until there is nothing to work for. Returns the exit code.
    pub(crate) async fn run(mut self) -> u8 {
        let code = loop {
            if let Life::Gone { code } = self.life {
                break code;
            }
            let event = self.next().await;
            self.apply(event);
        };
        if let Some(mind) = &self.mind {
            mind.abort();
            // What it started ends with it, and before we do.
            end_of(&mut self.mind).await;
        }
        self.pane.close().await;
        code
    }

    async fn next(&mut self) -> Event {
        let output = self.parts.link.output.clone();
        let (waits, output_at) = (!self.output.is_empty(), self.output_at);
        let due = async {
            if !waits {
                self.live.changed().await;
            }
            output_due(Some(output_at), output).await
        };
        let deadline = self.life.deadline();
        let Parts {
            link,
            typed,
            signals,
            ..
        } = &mut self.parts;
        let pane = &mut self.pane;
        tokio::select! {
            biased;
            signal = next_signal(signals) => Event::Signal(signal),
            event = link.next() => Event::Link(event),
            Some(call) = self.calls.recv() => Event::Call(call),
            event = pane.next() => Event::Pane(event),
            Some(acted) = typed.acted.recv() => Event::Acted(acted),
            () = sleep_until(deadline) => Event::Deadline,
            Some(permit) = due => Event::OutputDue(permit),
            Some(told) = self.shown.recv() => Event::Told(told),
            end = end_of(&mut self.mind) => Event::Ended(end),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Link(event) => self.link_event(event),
            Event::Call(call) => self.make(call),
            Event::Told(told) => self.show(told),
            Event::Ended(end) => self.mind_ended(end),
            Event::OutputDue(permit) => {
                permit.send(self.output());
            }
            Event::Pane(event) => self.pane_event(event),
            Event::Acted(Ok(Done::Told | Done::Task(_))) => {}
            Event::Acted(Ok(Done::Shown(view))) => self.show_request(*view),
            Event::Acted(Ok(Done::Printed(text))) => self.pane.view.lines(Tone::Plain, &text),
            Event::Acted(Err(failed)) => self.note(&refused(failed.what, &failed.refusal)),
            Event::Signal(SignalEvent::Shutdown) => self.stop(TERM_GRACE, "terminated".into()),
            Event::Signal(SignalEvent::Hangup) => self.lose_pane(),
            Event::Signal(SignalEvent::WindowChanged) => self.pane.fit(),
            // ^C is a key here.
            Event::Signal(SignalEvent::Interrupt | SignalEvent::Info) => {}
            Event::Deadline => self.deadline(),
        }
    }

    fn link_event(&mut self, event: LinkEvent) {
        match event {
            LinkEvent::Connected(welcome) => self.connected(welcome),
            LinkEvent::Start(assignment) => self.start(assignment),
            LinkEvent::Abandon(abandon) => self.abandon(abandon),
            LinkEvent::Deliver(deliver) => {
                let urgent = deliver.messages.iter().any(|message| message.urgent);
                self.shared.arrivals.deliver(deliver.messages);
                self.tell(Input::Arrived { urgent });
            }
            LinkEvent::Inform(inform) => self.inform(inform),
            LinkEvent::Allowance(allowance) => self.tell(Input::Allowance(allowance)),
            LinkEvent::Show(show) => {
                self.move_pane(&show);
                self.look_up_request();
            }
            LinkEvent::Stop(stop) => self.stop(Duration::from_millis(stop.grace_ms), stop.reason),
            LinkEvent::Answered(ticket, outcome) => self.answered(ticket, outcome),
            LinkEvent::Unreachable(why) => {
                self.note(&format!("no supervisor, trying again: {why}"));
            }
            LinkEvent::Over(Over::Stopped) => self.vanish("the supervisor was stopped"),
            LinkEvent::Over(Over::Retired(why)) => self.vanish(&format!("retired: {why}")),
        }
    }

    /// Shows news of a teammate's request, and passes it to the agent loop. A pending request that has arrived before,
    /// over an earlier connection, is no news.
    fn inform(&mut self, inform: Inform) {
        let shown = visible_line(&inform.text).into_owned();
        match inform.request.or(inform.decide) {
            Some(id) if inform.pending || inform.decide.is_some() => {
                let request = PendingRequest {
                    id,
                    line: inform.text,
                    may_allow: inform.decide.is_some(),
                };
                if self.shared.arrivals.add_request(request) {
                    self.note(&shown);
                    self.tell(Input::Arrived { urgent: false });
                }
            }
            over => {
                if let Some(id) = over {
                    self.shared.arrivals.end_request(id);
                    self.tell(Input::RequestOver(id));
                }
                self.note(&shown);
                self.tell(Input::Informed(inform.text));
            }
        }
    }

    /// What was shown and said since the last one.
    fn output(&mut self) -> TaskOutput {
        self.output_at = Instant::now() + OUTPUT_PAUSE;
        TaskOutput {
            task: self.held.as_ref().map(|held| held.task),
            text: self.output.take(),
            said: self.live.take(),
        }
    }

    fn tell(&self, input: Input) {
        // A mind that has ended has said so itself.
        let _ended = self.inputs.send(input);
    }

    fn show(&mut self, told: Told) {
        let now = std::time::Instant::now();
        match told {
            Told::Said(of, piece) => {
                self.pane.view.say(of, &piece);
                self.said.push_str(&piece);
                let whole = whole_lines(&self.said);
                let lines: String = self.said.drain(..whole).collect();
                self.tell_lines(&lines);
            }
            Told::Paused => {
                self.pane.view.pause();
                let rest = std::mem::take(&mut self.said);
                self.tell_lines(&rest);
            }
            Told::Lines { tone, text } => {
                self.pane.view.lines(tone, &text);
                self.tell_lines(&text);
            }
            Told::Thinks(thinks) => {
                let thinking = thinks.then(|| ("thinking".to_owned(), now));
                self.pane.view.works(thinking);
            }
            Told::Begun { call, header } => {
                self.pane.view.begin_call(&call, &header, now);
                self.tell_lines(&header);
            }
            Told::Printed { call, text, weight } => {
                match call {
                    Some(call) => self.pane.view.printed(&call, &text),
                    None => self.pane.view.lines(Tone::Dim, &text),
                }
                self.tell_lines(&text);
                drop(weight);
            }
            Told::Ended(Ended {
                call,
                diff,
                first_line,
                unseen,
                all,
            }) => {
                self.pane
                    .view
                    .end_call(&call, &first_line, diff.as_deref(), &all);
                for text in diff.iter().chain(&unseen) {
                    self.tell_lines(text);
                }
            }
            Told::Waits(on) => {
                self.waits.clone_from(&on);
                self.show_waits();
                self.parts.link.notify(Notice::Waits(MemberWaits { on }));
            }
        }
    }

    /// Whole lines for the log, and for whoever watches from elsewhere.
    fn tell_lines(&mut self, text: &str) {
        let text = text.trim_end_matches('\n');
        if text.trim().is_empty() {
            return;
        }
        self.write_log(text);
        self.output.push(text);
        self.output.push("\n");
    }

    fn show_waits(&mut self) {
        let waits = self.waits.is_some() || self.asks.is_some();
        self.pane.view.waits(waits, std::time::Instant::now());
    }

    fn pane_event(&mut self, event: AgentEvent) {
        // The task that takes them ends with this process only.
        let _ended = match event {
            AgentEvent::Said(text) => self.parts.typed.acts.send(Act::Line(text)),
            AgentEvent::Decided(decide) => self.parts.typed.acts.send(Act::Decide(decide)),
            AgentEvent::Verb(words) => return self.parts.typed.verb(words),
            AgentEvent::Gone => return self.lose_pane(),
        };
    }

    fn lose_pane(&mut self) {
        if self.pane.surface.is_open() {
            self.parts.log_loss(&self.pane.surface);
            self.pane.lose();
            self.parts.tell_whereabouts(&self.pane.surface);
        }
    }

    /// Goes to a terminal that somebody lends.
    fn move_pane(&mut self, show: &ShowPane) {
        let Some(recent) = self.parts.recent() else {
            return;
        };
        if let Err(error) = self.pane.move_to(show, &recent) {
            not_shown(show, &error);
        }
        self.parts.tell_whereabouts(&self.pane.surface);
    }

    /// A line of ours, in the pane and in the log. `line` is harmless text.
    fn note(&mut self, line: &str) {
        self.write_log(line);
        self.pane.view.lines(Tone::Accent, line);
    }

    fn write_log(&mut self, line: &str) {
        // A log that cannot be written stops nothing; it has said so itself.
        let _logged = self.parts.log.line(line);
    }
}

/// Safe to cancel. Never returns after it has returned.
async fn end_of(mind: &mut Option<JoinHandle<End>>) -> End {
    let Some(task) = mind else {
        return std::future::pending().await;
    };
    let ended = task.await;
    *mind = None;
    match ended {
        Ok(end) => end,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        // We cut it off.
        Err(_) => End::Stopped,
    }
}
