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
use std::sync::Arc;
use std::time::Duration;

use agent_team_protocol::RequestId;
use agent_team_protocol::notification::{Assignment, MemberWaits, TaskOutput};
use agent_team_protocol::spec::AgentSpec;
use agent_team_protocol::text::visible_line;
use agent_team_protocol::view::Waiting;
use agent_team_system::signals::SignalEvent;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use self::calls::Toolbox;
use self::custom::{Comes, Custom};
use self::errand::{Errand, Life};
use self::inbox::{Inbox, Input};
use self::live::Live;
use self::mind::{End, Mind};
use self::screen::{Screen, Told};
use self::transcript::Transcript;
use self::verify::Verifier;
use crate::desk::{Desk, DeskCall};
use crate::engine::output::Coalescer;
use crate::hosted::{Engine, Seat};
use crate::link::{LinkEvent, Notice, Over, Ticket};
use crate::model::Model;
use crate::pane::{PaneEvent, Room};
use crate::sleep_until;
use crate::team_tool::{Arrivals, Claims, Shared};
use crate::tool::confine::Confinement;
use crate::tool::{Bench, Tool};
use crate::typed::{Act, Acted, Done};
use crate::worker::{OUTPUT_PAUSE, Parts, TERM_GRACE, next_signal, output_due, refused};

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

pub(crate) struct Agent {
    parts: Parts,
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
    Told(Told, Option<Room>),
    Ended(End),
    OutputDue(mpsc::OwnedPermit<TaskOutput>),
    Pane(PaneEvent),
    Acted(Acted),
    Signal(SignalEvent),
    Deadline,
}

impl Agent {
    /// Must be called within the worker's runtime.
    pub(crate) fn new<T>(parts: Parts, makings: Makings<T>) -> Self
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
        Self::around(parts, calls, |inputs, shared, screen| {
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
        desk: Desk,
        calls: mpsc::UnboundedReceiver<DeskCall>,
        engine: Box<dyn Engine>,
    ) -> Self {
        Self::around(parts, calls, |inputs, shared, screen| {
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
        calls: mpsc::UnboundedReceiver<DeskCall>,
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
                screen: screen.clone(),
            }),
        };
        let mind = mind(heard, shared.clone(), screen);
        Self {
            parts,
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
        self.parts.pane.close().await;
        code
    }

    async fn next(&mut self) -> Event {
        let room = self.parts.pane.room();
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
            pane,
            link,
            typed,
            signals,
            ..
        } = &mut self.parts;
        tokio::select! {
            biased;
            signal = next_signal(signals) => Event::Signal(signal),
            event = link.next() => Event::Link(event),
            Some(call) = self.calls.recv() => Event::Call(call),
            event = pane.next() => Event::Pane(event),
            Some(acted) = typed.acted.recv() => Event::Acted(acted),
            () = sleep_until(deadline) => Event::Deadline,
            Some(permit) = due => Event::OutputDue(permit),
            (told, room) = next_told(&mut self.shown, room) => Event::Told(told, room),
            end = end_of(&mut self.mind) => Event::Ended(end),
        }
    }

    fn apply(&mut self, event: Event) {
        match event {
            Event::Link(event) => self.link_event(event),
            Event::Call(call) => self.make(call),
            Event::Told(told, room) => self.show(told, room),
            Event::Ended(end) => self.mind_ended(end),
            Event::OutputDue(permit) => {
                permit.send(self.output());
            }
            Event::Pane(event) => self.pane_event(event),
            Event::Acted(Ok(Done::Told | Done::Task(_))) => {}
            Event::Acted(Ok(Done::Shown(view))) => self.show_request(*view),
            Event::Acted(Err(failed)) => self.note(&refused(failed.what, &failed.refusal)),
            Event::Signal(SignalEvent::Shutdown) => self.stop(TERM_GRACE, "terminated".into()),
            Event::Signal(SignalEvent::Interrupt) => self.parts.pane.interrupt(),
            Event::Signal(SignalEvent::Hangup) => self.lose_pane(),
            Event::Signal(SignalEvent::WindowChanged | SignalEvent::Info) => {}
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
            LinkEvent::Inform(inform) => {
                self.note(&visible_line(&inform.text));
                self.tell(Input::Informed(inform.text));
            }
            LinkEvent::Allowance(allowance) => self.tell(Input::Allowance(allowance)),
            LinkEvent::Show(show) => {
                // No message waits for the terminal here.
                self.parts.move_pane(&show);
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

    fn show(&mut self, told: Told, room: Option<Room>) {
        match told {
            Told::Lines {
                style,
                text,
                weight,
            } => {
                self.parts.pane.lines(style, &text, room);
                self.write_log(&text);
                self.output.push(&text);
                self.output.push("\n");
                drop(weight);
            }
            Told::Session(session) => self.parts.link.notify(Notice::Session(session)),
            Told::Waits(on) => {
                self.waits.clone_from(&on);
                self.parts.link.notify(Notice::Waits(MemberWaits { on }));
            }
        }
    }

    fn pane_event(&mut self, event: PaneEvent) {
        match event {
            PaneEvent::Lines(lines) => {
                for line in lines {
                    if !line.trim().is_empty() {
                        // The task that takes them ends with this process only.
                        let _ended = self.parts.typed.acts.send(Act::Line(line));
                    }
                }
                self.parts.pane.prompt();
            }
            PaneEvent::Decided(decide) => {
                // As above.
                let _ended = self.parts.typed.acts.send(Act::Decide(decide));
            }
            // The terminal is never a task's here, and no message waits for it.
            PaneEvent::Keys(_) | PaneEvent::Shown(_) => {}
            PaneEvent::Gone => self.lose_pane(),
        }
    }

    fn lose_pane(&mut self) {
        if self.parts.pane.is_open() {
            self.parts.lose_pane();
        }
    }

    /// A line of ours, in the pane and in the log. `line` is harmless text.
    fn note(&mut self, line: &str) {
        self.write_log(line);
        self.parts.pane.line(line);
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

/// The next thing to show, once the pane has room for it. Safe to cancel.
async fn next_told(
    shown: &mut mpsc::UnboundedReceiver<Told>,
    room: impl Future<Output = Option<Room>>,
) -> (Told, Option<Room>) {
    let room = room.await;
    match shown.recv().await {
        Some(told) => (told, room),
        None => std::future::pending().await,
    }
}
