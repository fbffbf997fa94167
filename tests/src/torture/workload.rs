//! The clients of the torture: they send messages, add tasks, claim and complete them, make requests and decide them,
//! over the socket and the command line. Each client records its operations, which [`super::check`] compares with the
//! rest of the evidence.

use std::collections::BTreeSet;
use std::time::Duration;

use agent_team_protocol::id::Generation;
use agent_team_protocol::method::{
    AddTask, ClaimTask, EndTask, MessageSend, Nothing, RequestDecide, RequestList, SendMessage,
    TaskAdd, TaskClaim, TaskComplete, TaskRelease, TeamShow,
};
use agent_team_protocol::request::{DecideRequest, Decision, ListRequests, RequestView, Scope};
use agent_team_protocol::spec::TaskSpec;
use agent_team_protocol::view::{MemberState, MemberView};
use agent_team_protocol::{Recipient, TaskId};
use serde_json::Value;
use tokio::time::timeout;

use super::caller::{Caller, Phase, Target};
use super::history::{Answer, Call, Dice, Operation, Outcome, Recorder, Unlisted};
use super::world::{AGENT, COMMAND_MEMBERS, World};
use crate::fake_model_server::{Reply, Request};

/// The maximum number of commands that ask for permission: the agent's conversation contains all of them.
const COMMANDS_MAX: u64 = 150;

/// The streams of random numbers: one for the pauses of the decider, and one for the decision about each command.
const DECIDER: u64 = 9;
const DECISIONS: u64 = 1 << 40;

/// Records one operation from before its call to after its answer.
async fn recorded(
    recorder: &Recorder,
    client: &str,
    call: Call,
    outcome: impl Future<Output = Result<Answer, Outcome>>,
) -> Outcome {
    let began = recorder.now();
    let outcome = outcome.await.map_or_else(|other| other, Outcome::Done);
    let operation = Operation {
        client: client.to_owned(),
        began,
        ended: recorder.now(),
        call,
        outcome: outcome.clone(),
    };
    recorder.add(|evidence| evidence.operations.push(operation));
    outcome
}

async fn send(caller: &mut Caller, recorder: &Recorder, to: &str, text: String) {
    let message = SendMessage {
        to: to.parse::<Recipient>().expect("a recipient"),
        text: text.clone(),
        urgent: false,
        reply_to: None,
        summary: None,
        wants_reply: false,
        attach_outside: false,
    };
    let (client, to) = (caller.id.clone(), to.to_owned());
    let sent = async {
        let answer = caller.call::<MessageSend>(message).await?;
        Ok(Answer {
            id: answer.id.0,
            generation: 0,
            recipients: answer.to.iter().map(ToString::to_string).collect(),
        })
    };
    recorded(recorder, &client, Call::Send { to, text }, sent).await;
}

/// Sends numbered messages to members at random, and to all.
pub(crate) async fn sender(target: Target, recorder: Recorder, number: u64, mut dice: Dice) {
    let mut caller = Caller::new(target, format!("sender-{number}"));
    for count in 0.. {
        if !caller.target.pause(dice.between(20, 140)).await {
            return;
        }
        let to = match dice.below(10) {
            0 => "all",
            _ => dice.pick(&COMMAND_MEMBERS).expect("there are members"),
        };
        let padding = if dice.below(20) == 0 { 2_000 } else { 20 };
        let text = format!("sender-{number} {count} {}", "x".repeat(padding));
        send(&mut caller, &recorder, to, text).await;
    }
}

/// Sends through the command line. A command that loses its supervisor may take effect nevertheless.
pub(crate) async fn typist(world: &World, recorder: Recorder, mut dice: Dice) {
    let mut target = world.target();
    for count in 0.. {
        if !target.pause(dice.between(400, 1_500)).await {
            return;
        }
        let text = format!("typist {count}");
        let to = dice.pick(&COMMAND_MEMBERS).expect("there are members");
        let typed = async {
            let (code, output) = world.verb(&["send", to, &text, "--json"]).await;
            match code {
                0 => Ok(Answer {
                    id: numbered(&output["id"], "M-"),
                    generation: 0,
                    recipients: vec![(*to).to_owned()],
                }),
                4 => Err(Outcome::Refused(
                    output["error"]["code"]
                        .as_str()
                        .unwrap_or_default()
                        .to_owned(),
                )),
                _ => Err(Outcome::Unknown),
            }
        };
        let call = Call::Send {
            to: (*to).to_owned(),
            text: text.clone(),
        };
        // Each command is a separate client.
        recorded(&recorder, &text, call, typed).await;
    }
}

fn numbered(value: &Value, prefix: &str) -> u64 {
    let text = value.as_str().and_then(|text| text.strip_prefix(prefix));
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

async fn add_task(caller: &mut Caller, recorder: &Recorder, spec: TaskSpec) -> Option<TaskId> {
    let call = Call::AddTask {
        key: spec.key.clone(),
    };
    let client = caller.id.clone();
    let added = async {
        let answer = caller.call::<TaskAdd>(AddTask { spec }).await?;
        Ok(Answer {
            id: answer.task.0,
            generation: answer.generation.0,
            recipients: Vec::new(),
        })
    };
    match recorded(recorder, &client, call, added).await {
        Outcome::Done(answer) => Some(TaskId(answer.id)),
        Outcome::Refused(_) | Outcome::Unknown => None,
    }
}

/// Adds tasks that members run. Each run leaves a line when it begins and one when it ends.
pub(crate) async fn planner(target: Target, recorder: Recorder, mut dice: Dice) {
    let mut caller = Caller::new(target, "planner");
    for count in 0.. {
        if !caller.target.pause(dice.between(150, 700)).await {
            return;
        }
        let key = format!("task-{count}");
        let seconds = dice.below(4);
        // Some tasks start a session of processes. `kill` of the member must also end this session.
        let work = match dice.below(3) {
            0 => format!("setsid -w sleep 0.{seconds}"),
            1 => format!("git -c alias.nap='!sleep 0.{seconds}' nap"),
            _ => format!("sleep 0.{seconds}"),
        };
        let run = format!(
            "echo began $AGENT_TEAM_MEMBER $$ >> runs/{key}; {work}; echo ended $$ >> runs/{key}"
        );
        let spec = TaskSpec {
            title: key.clone(),
            key,
            run: Some(run),
            rerun: dice.below(3) > 0,
            ..TaskSpec::default()
        };
        add_task(&mut caller, &recorder, spec).await;
    }
}

/// Adds tasks without a `run` line, which no member takes. Claims, releases and again claims each task. Then completes
/// the task twice: first with the stale generation, which must be refused, then with the current generation.
pub(crate) async fn claimant(target: Target, recorder: Recorder, mut dice: Dice) {
    let mut caller = Caller::new(target, "claimant");
    for count in 0.. {
        if !caller.target.pause(dice.between(300, 1_200)).await {
            return;
        }
        let key = format!("claim-{count}");
        let spec = TaskSpec {
            title: key.clone(),
            key,
            ..TaskSpec::default()
        };
        let Some(task) = add_task(&mut caller, &recorder, spec).await else {
            continue;
        };
        let Some(stale) = claim(&mut caller, &recorder, task).await else {
            continue;
        };
        end::<TaskRelease>(&mut caller, &recorder, task, stale).await;
        let Some(current) = claim(&mut caller, &recorder, task).await else {
            continue;
        };
        end::<TaskComplete>(&mut caller, &recorder, task, stale).await;
        end::<TaskComplete>(&mut caller, &recorder, task, current).await;
    }
}

async fn claim(caller: &mut Caller, recorder: &Recorder, task: TaskId) -> Option<u64> {
    let (client, call) = (caller.id.clone(), Call::Claim { task: task.0 });
    let claimed = async {
        let claim = ClaimTask { task: Some(task) };
        let answer = caller.call::<TaskClaim>(claim).await?;
        Ok(Answer {
            id: answer.task.0,
            generation: answer.generation.0,
            recipients: Vec::new(),
        })
    };
    match recorded(recorder, &client, call, claimed).await {
        Outcome::Done(answer) => Some(answer.generation),
        Outcome::Refused(_) | Outcome::Unknown => None,
    }
}

/// A method that ends a claim.
trait End: agent_team_protocol::method::Method<Args = EndTask> {
    fn call(task: u64, generation: u64) -> Call;
}

impl End for TaskRelease {
    fn call(task: u64, generation: u64) -> Call {
        Call::Release { task, generation }
    }
}

impl End for TaskComplete {
    fn call(task: u64, generation: u64) -> Call {
        Call::Complete { task, generation }
    }
}

async fn end<M: End>(caller: &mut Caller, recorder: &Recorder, task: TaskId, generation: u64) {
    let client = caller.id.clone();
    let ended = async {
        let end = EndTask {
            task,
            generation: Some(Generation(generation)),
            text: "claimant".to_owned(),
        };
        caller.call::<M>(end).await?;
        Ok(Answer::default())
    };
    recorded(recorder, &client, M::call(task.0, generation), ended).await;
}

/// Makes the agent run numbered commands that need the user's permission, as long as faults happen.
pub(crate) async fn asker(target: Target, recorder: Recorder, mut dice: Dice, lasts: Duration) {
    let mut caller = Caller::new(target, "asker");
    let least = lasts / u32::try_from(COMMANDS_MAX).expect("a small number");
    for command in 0..COMMANDS_MAX {
        let pause = dice.between(700, 1_800).max(least);
        if !caller.target.pause(pause).await {
            return;
        }
        send(
            &mut caller,
            &recorder,
            AGENT,
            format!("run command {command} now"),
        )
        .await;
    }
}

/// The agent's model: runs each requested command once, in order.
pub(crate) fn model(request: &Request) -> Reply {
    let conversation = serde_json::to_string(request.messages()).unwrap_or_default();
    let asked = |command: &u64| conversation.contains(&format!("run command {command} now"));
    let called = |command: &u64| conversation.contains(&shell_line(*command));
    let next = (0..COMMANDS_MAX)
        .filter(asked)
        .find(|command| !called(command));
    match next {
        Some(command) => Reply::call(
            "bash",
            serde_json::json!({ "command": shell_line(command) }),
        ),
        None => Reply::text("There is nothing more to run."),
    }
}

pub(crate) fn shell_line(command: u64) -> String {
    format!("echo ran >> commands/c{command}-")
}

/// The command that a message of the asker requests.
pub(crate) fn asked_command(text: &str) -> Option<u64> {
    let number = text.strip_prefix("run command ")?.strip_suffix(" now")?;
    number.parse().ok()
}

/// The command of a permission request.
fn command_of(request: &RequestView) -> Option<u64> {
    let (_, rest) = request.input.get().split_once("commands/c")?;
    rest.split_once('-')?.0.parse().ok()
}

/// Plays the user: allows some requests and denies others after a pause. The decision for a command depends only on the
/// seed. Ends with the torture.
pub(crate) async fn decider(target: Target, recorder: Recorder, seed: u64) {
    let mut caller = Caller::new(target, "decider");
    let mut dice = Dice::new(seed, DECIDER);
    // The requests of the last list that are still undecided. Only this client decides them.
    let mut open: BTreeSet<u64> = BTreeSet::new();
    while caller.target.phase() != Phase::Over {
        tokio::time::sleep(dice.between(50, 600)).await;
        let list = ListRequests { all: false };
        let Ok(list) = caller.call::<RequestList>(list).await else {
            continue;
        };
        let listed: BTreeSet<u64> = list.requests.iter().map(|it| it.id.0).collect();
        let at = recorder.now();
        for request in open.difference(&listed).copied() {
            recorder.add(|evidence| evidence.unlisted.push(Unlisted { request, at }));
        }
        open = listed;
        for request in list.requests {
            let Some(command) = command_of(&request) else {
                continue;
            };
            // Leave some requests pending during the next faults.
            if dice.below(3) == 0 && caller.target.phase() == Phase::Torture {
                continue;
            }
            let is_allowed = Dice::new(seed, DECISIONS + command).below(3) > 0;
            let (decision, call) = match is_allowed {
                true => {
                    let (scope, rules) = (Scope::Once, Vec::new());
                    (Decision::Allow { scope, rules }, Call::Allow { command })
                }
                false => {
                    let reason = "not now".to_owned();
                    (Decision::Deny { reason }, Call::Deny { command })
                }
            };
            let decide = DecideRequest {
                request: request.id,
                digest: Some(request.digest),
                decision,
                via: None,
            };
            let id = decide.request.0;
            let decided = async {
                caller.call::<RequestDecide>(decide).await?;
                Ok(Answer {
                    id,
                    ..Answer::default()
                })
            };
            recorded(&recorder, "decider", call, decided).await;
            open.remove(&id);
        }
    }
}

/// Plays the user: runs `up` to restart members that died too often or lost their environment.
pub(crate) async fn reviver(world: &World) {
    let mut caller = Caller::new(world.target(), "reviver");
    while caller.target.phase() != Phase::Over {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let Ok(team) = caller.call::<TeamShow>(Nothing {}).await else {
            continue;
        };
        let is_held = |member: &MemberView| member.state == MemberState::Held;
        if team.members.iter().any(is_held) {
            // A fault can make `up` fail; the next iteration repeats it.
            let (_code, _output) = world.verb(&["up", "--detach", "--json"]).await;
        }
    }
}

/// Runs a read-only verb from time to time, which starts a supervisor if none runs.
pub(crate) async fn watcher(world: &World, recorder: Recorder, mut dice: Dice) {
    let mut target = world.target();
    while target.pause(dice.between(2_000, 4_000)).await {
        let verb = dice
            .pick(&["ps", "requests", "messages"])
            .expect("there are verbs");
        let arguments = [*verb, "--json"];
        let run = timeout(Duration::from_secs(60), world.verb(&arguments));
        let failure = match run.await {
            Ok((70, output)) => format!("{verb} failed with a bug: {output}"),
            Err(_) => format!("{verb} did not end within a minute"),
            Ok(_) => continue,
        };
        recorder.add(|evidence| evidence.unfinished.push(failure));
    }
}
