//! Faults of agents in their own terminal interfaces, and of the processes around them: no call runs without a
//! decision, no question is answered twice, and no fault of one agent stops its team.

use agent_team_protocol::external;
use agent_team_protocol::view::{MemberState, MemberView, TaskState, Waiting};
use agent_team_system::process::{ProcessId, Signal};
use agent_team_tests::screen::Screen;
use agent_team_tests::{processes, until};

use super::agents::{Agent, CLAUDE, CODEX, OPENCODE, QWEN, Team, typed};
use crate::external::{TASK, until_logged};

rules!(
    a_dialog_at_the_start_is_reported,
    a_stop_during_the_start_leaves_no_process,
    a_missing_program_holds_its_member,
    a_message_during_a_dialog_is_taken_after_it,
    two_answers_at_once_count_once,
    an_answer_to_a_withdrawn_request_is_refused,
    an_urgent_message_ends_a_turn_and_its_dialog,
    a_long_call_is_decided,
    a_huge_call_is_not_allowed_unseen,
    a_flood_leaves_the_other_members_working,
    an_agent_that_forks_and_exits_leaves_no_process,
    a_killed_worker_repeats_no_decided_call,
    a_killed_supervisor_repeats_no_decided_call,
    messages_of_another_form_hold_the_member,
);

async fn a_dialog_at_the_start_is_reported(agent: &'static Agent) {
    let env = format!("{}_DIALOG = \"Do you trust it?\", ", agent.variables);
    let team = Team::with(agent, "headless", &env, "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Do you trust it?").await;
    rig.ok(["send", "ada", "ping"]).await;
    if agent.waits_for_dialogs {
        let ada = rig.until_member_is("ada", MemberState::Waiting).await;
        assert!(ada.why.contains("to open its session"), "{}", ada.why);
        assert_eq!(ada.unread, 1);
        let is_slow = |ada: &MemberView| matches!(ada.waiting, Some(Waiting::Dialog { .. }));
        let ada = rig.until_member("ada", is_slow).await;
        assert!(ada.why.contains("agent-team attach ada"), "{}", ada.why);
        rig.ok(["next", "--print"])
            .await
            .assert_prints("ada may show a dialog");
        rig.ok(["ps"]).await.assert_prints("may show a dialog");
    } else {
        team.until_pongs(1).await;
    }
    screen.type_in("\r").await;
    screen.until("Welcome to the fake").await;
    team.until_pongs(1).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!((ada.unread, ada.waiting), (0, None));
}

async fn a_stop_during_the_start_leaves_no_process(agent: &'static Agent) {
    let env = format!("{}_{} = \"1\", ", agent.variables, agent.silent);
    let team = Team::with(agent, "headless", &env, "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    until("the agent", async || {
        (!team.fakes("").is_empty()).then_some(())
    })
    .await;
    rig.ok(["down"]).await;
    assert_eq!(rig.processes(), []);
    assert_eq!(team.files().len(), 0, "{:?}", team.files());
}

async fn a_missing_program_holds_its_member(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    std::fs::remove_file(team.programs.path().join(agent.word)).expect("a link");
    rig.ok(["up", "--detach"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    let word = agent.word;
    let other = agent.adapter.map_or(String::new(), |adapter| {
        format!("; set engine = \"{word}-acp\" to use {adapter} instead")
    });
    let install = external::known(word).and_then(|known| known.install_command(word));
    let install = install.expect("npm installs it");
    let why =
        format!("cannot find the program {word} of {word}; install it with: {install}{other}");
    assert!(ada.why.contains(&why), "{}", ada.why);
}

async fn a_message_during_a_dialog_is_taken_after_it(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    rig.ok(["send", "ada", "ping"])
        .await
        .assert_prints("to ada; it joins the turn of ada\nada waits for a decision: it receives the message after that");
    let logs = rig.ok(["logs", "ada"]).await.stdout;
    assert!(!logs.contains("pong"), "{logs}");
    assert_eq!(rig.member("ada").await.requests, 1);
    rig.ok(["requests", "allow", "P-1"]).await;
    team.until_pongs(1).await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
    team.until_pongs(1).await;
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
}

/// Starts the team and shows the dialog of the agent on a terminal of the user.
async fn dialog(team: &Team, agent: &Agent) -> Screen {
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("Welcome to the fake").await;
    rig.ok(["send", "ada", "try it"]).await;
    screen.until(agent.dialog).await;
    team.until_asked().await;
    screen
}

async fn two_answers_at_once_count_once(agent: &'static Agent) {
    for (decision, key) in [("allow", agent.denies), ("deny", agent.allows)] {
        let team = Team::new(agent, "headless", "");
        let rig = &team.rig;
        let mut screen = dialog(&team, agent).await;
        // The stopped agent receives both answers before it can act on one.
        let fakes = team.fakes("");
        signal(&fakes, Signal::SIGSTOP);
        rig.ok(["requests", decision, "P-1"]).await;
        screen.type_in(typed(key)).await;
        signal(&fakes, Signal::SIGCONT);
        team.until_nothing_asked().await;
        rig.until_member_is("ada", MemberState::Idle).await;
        rig.ok(["send", "ada", "ping"]).await;
        team.until_pongs(1).await;
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        let contradiction = match (decision, rig.read("made.txt").as_deref()) {
            ("allow", Some("made\n")) | ("deny", None) => continue,
            ("allow", None) => "the user had denied the call in its dialog before it was allowed",
            ("deny", Some("made\n")) => {
                "the user had allowed the call in its dialog before it was denied"
            }
            other => panic!("{other:?}"),
        };
        // The decision arrives before or after the report of the user's answer.
        let answered = format!("in the dialog of {}", agent.word);
        assert!(
            logs.contains(contradiction) || logs.contains(&answered),
            "{logs}"
        );
    }
}

async fn an_answer_to_a_withdrawn_request_is_refused(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    let mut screen = dialog(&team, agent).await;
    screen.type_in("\x1b").await;
    team.until_nothing_asked().await;
    let refusal = rig.refused(4, ["requests", "allow", "P-1"]).await;
    let message = refusal["message"].as_str().expect("a text");
    assert!(message.contains("P-1"), "{message}");
    let audit = rig.ok(["audit"]).await.stdout;
    let denied = "the agent reports: denied in its own terminal interface";
    assert!(audit.contains(denied), "{audit}");
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    assert_eq!(rig.read("made.txt"), None);
}

async fn an_urgent_message_ends_a_turn_and_its_dialog(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it"]).await;
    team.until_asked().await;
    rig.ok(["send", "ada", "--urgent", "ping"])
        .await
        .assert_prints("it interrupts the turn of ada");
    team.until_pongs(1).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!((ada.unread, ada.requests, ada.restarts), (0, 0, 0));
    assert_eq!(rig.read("made.txt"), None);
    rig.refused(4, ["requests", "allow", "P-1"]).await;
}

async fn a_long_call_is_decided(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it, large"]).await;
    team.until_asked().await;
    let cut = rig.ok(["requests"]).await.stdout;
    assert!(cut.len() < 2000, "{}", cut.len());
    assert!(cut.contains("characters: see agent-team requests show P-1"));
    let whole = rig.ok(["requests", "show", "P-1"]).await.stdout;
    assert!(whole.len() > 100 << 10, "{}", whole.len());
    rig.ok(["requests", "deny", "P-1", "--reason", "too long"])
        .await;
    team.until_nothing_asked().await;
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.read("made.txt"), None);
    rig.ok(["send", "ada", "try it, large"]).await;
    team.until_asked().await;
    rig.ok(["requests", "allow", "P-2"]).await;
    assert_eq!(rig.until_written("made.txt").await, "made");
    rig.until_member_is("ada", MemberState::Idle).await;
}

async fn a_huge_call_is_not_allowed_unseen(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "try it, huge"]).await;
    rig.until_member("ada", |ada| {
        ada.unread == 0 && ada.state == MemberState::Idle
    })
    .await;
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!((ada.requests, ada.restarts), (0, 0));
    assert_eq!(rig.read("made.txt"), None);
    let logs = rig.ok(["logs", "ada"]).await.stdout;
    let reason = logs.contains("too large to be shown");
    assert_eq!(reason, agent.takes_reason, "{logs:.1000}");
    assert!(logs.len() < 100_000, "{}", logs.len());
    // The agent does not receive the text of its call a second time.
    for file in team.conversation_files() {
        let size = std::fs::metadata(&file).expect("a conversation").len();
        assert!(size < 100_000, "{size}");
    }
}

async fn a_flood_leaves_the_other_members_working(agent: &'static Agent) {
    let team = Team::new(
        agent,
        "headless",
        "[[member]]\nname = \"bob\"\nengine = \"command\"\n",
    );
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "flood"]).await;
    until_logged(rig, "flood flood").await;
    let worker = rig.worker("ada").await;
    let before = memory(worker);
    for task in 1..=10 {
        let line = format!("echo {task} > {task}.txt");
        rig.ok(["task", "add", &line, "--for", "bob", "--run", &line])
            .await;
        rig.until_task_is(&format!("T-{task}"), TaskState::Completed)
            .await;
    }
    let after = memory(worker);
    assert!(after < before + (64 << 10), "{before} kB, then {after} kB");
    let down = rig.ok(["down"]).await.stdout;
    assert!(!down.contains("survived"), "{down}");
    assert_eq!(rig.processes(), []);
}

async fn an_agent_that_forks_and_exits_leaves_no_process(agent: &'static Agent) {
    let team = Team::new(agent, "headless", "");
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "fork"]).await;
    until_logged(rig, &format!("{} has exited: exit 0", agent.word)).await;
    rig.until_member("ada", |ada| {
        ada.restarts > 0 && ada.state == MemberState::Idle
    })
    .await;
    let processes = rig.processes();
    let mut programs = processes.iter().map(|found| found.program.as_str());
    assert!(!programs.any(|program| program == "sleep"), "{processes:?}");
    rig.ok(["send", "ada", "ping"]).await;
    team.until_pongs(1).await;
}

/// Allows a call, and calls `kill` with the process of the worker before the agent has received the decision.
async fn killed_before_the_answer(agent: &'static Agent, kill: impl AsyncFnOnce(&Team, ProcessId)) {
    let team = Team::new(agent, "headless", TASK);
    let rig = &team.rig;
    rig.ok(["up", "--detach"]).await;
    team.until_asked().await;
    let worker = rig.worker("ada").await;
    // A stopped worker cannot forward the decision.
    signal(&[worker], Signal::SIGSTOP);
    rig.ok(["requests", "allow", "P-1"]).await;
    assert_eq!(rig.read("made.txt"), None);
    kill(&team, worker).await;
    rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(rig.read("made.txt").as_deref(), Some("made\n"));
    rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(rig.member("ada").await.requests, 0);
}

async fn a_killed_worker_repeats_no_decided_call(agent: &'static Agent) {
    killed_before_the_answer(agent, async |team, worker| {
        processes::kill(worker).await;
        assert_eq!(team.rig.read("made.txt"), None, "the agent got no answer");
    })
    .await;
}

async fn a_killed_supervisor_repeats_no_decided_call(agent: &'static Agent) {
    killed_before_the_answer(agent, async |team, worker| {
        processes::kill(team.rig.supervisor().await).await;
        signal(&[worker], Signal::SIGCONT);
        team.rig.ok(["up", "--detach"]).await;
    })
    .await;
}

async fn messages_of_another_form_hold_the_member(agent: &'static Agent) {
    for field in agent.fields {
        let env = format!("{}_WITHOUT = {field:?}, ", agent.variables);
        let team = Team::with(agent, "headless", &env, "");
        let rig = &team.rig;
        rig.ok(["up", "--detach"]).await;
        rig.ok(["send", "ada", "try it"]).await;
        let ada = rig.until_member_is("ada", MemberState::Held).await;
        assert!(
            ada.why.contains("it sent an invalid message"),
            "{field}: {}",
            ada.why
        );
        assert_eq!(rig.read("made.txt"), None, "{field}");
        rig.ok(["down"]).await;
        assert_eq!(rig.processes(), [], "{field}");
    }
}

fn signal(processes: &[ProcessId], signal: Signal) {
    for process in processes {
        process.signal(signal).expect("the signal is sent");
    }
}

/// The memory of a process, in kB.
fn memory(process: ProcessId) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid));
    let status = status.expect("it runs");
    let mut words = status.split_whitespace();
    words.find(|word| *word == "VmRSS:");
    let size = words.next().and_then(|size| size.parse().ok());
    size.expect("its size")
}
