//! Tests of completion in real shells: they type into an interactive shell and press Tab. A shell that is not installed
//! is skipped, except bash.

use std::num::NonZeroU16;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use agent_team_system::pty::Pty;
use serde_json::{Value, json};

use crate::rig::{Rig, Supervisor};
use crate::with_supervisor::task;

const PROMPT: &str = "ready> ";

/// How long a shell may take to start, or to answer a Tab.
const TIMEOUT: Duration = Duration::from_secs(30);

/// One shell, with the arguments that make it interactive and free of the user's settings, and the line that loads the
/// script.
struct Shell {
    program: &'static str,
    arguments: &'static [&'static str],
    load: &'static str,
}

const SHELLS: [Shell; 3] = [
    Shell {
        program: "/bin/bash",
        arguments: &["--norc", "--noprofile", "-i"],
        load: "source <(agent-team completions bash); PS1='ready''> '",
    },
    Shell {
        program: "/usr/bin/zsh",
        arguments: &["-f", "-i"],
        // Like an installation, load the script from a directory of functions.
        load: "mkdir -p f; agent-team completions zsh > f/_agent-team; fpath=($PWD/f $fpath); \
               autoload -Uz compinit; compinit -u -D; PS1='ready''> '",
    },
    Shell {
        program: "/usr/bin/fish",
        arguments: &["--no-config", "-i"],
        load: "agent-team completions fish | source; function fish_prompt; echo -n 'ready''> '; end",
    },
];

/// Types each line into the shell, presses Tab, and waits until the screen shows the completed text.
fn press_tab(rig: &Rig, shell: &Shell, lines: &[(&str, &str)]) {
    let bin = Path::new(env!("CARGO_BIN_EXE_agent-team"))
        .parent()
        .unwrap();
    let path = std::env::var("PATH").unwrap_or_default();
    let variables = [
        ("AGENT_TEAM_HOME", rig.home().display().to_string()),
        ("HOME", rig.directory.path().display().to_string()),
        ("PATH", format!("{}:{path}", bin.display())),
        ("TERM", "xterm".to_owned()),
        // In the C locale, fish finds no program below a directory whose name is not ASCII.
        ("LC_ALL", "C.UTF-8".to_owned()),
    ];
    let variables = variables.map(|(name, value)| (name, value.into()));
    let spec = rig.program(shell.program.as_ref(), shell.arguments, variables);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let pty = Pty::open(120, 24).unwrap();
        let mut child = pty.spawn(&spec).unwrap();
        pty.write_all(format!("{}\n", shell.load).as_bytes())
            .await
            .unwrap();
        let [rows, columns] = [24, 120].map(|size| NonZeroU16::new(size).unwrap());
        let mut screen = vt100::Parser::new(rows, columns, 0);
        wait_for(&pty, &mut screen, shell, &format!("\n{PROMPT}")).await;
        for (typed, completed) in lines {
            pty.write_all(format!("{typed}\t").as_bytes())
                .await
                .unwrap();
            wait_for(&pty, &mut screen, shell, completed).await;
            // ^U clears the line in each of the shells.
            pty.write_all(b"\x15").await.unwrap();
        }
        // Closing the terminal ends the shell.
        drop(pty);
        child.wait().await.unwrap();
    });
}

async fn wait_for(pty: &Pty, screen: &mut vt100::Parser, shell: &Shell, text: &str) {
    let end = Instant::now() + TIMEOUT;
    let mut buffer = [0; 4096];
    while !screen.screen().contents().contains(text) {
        let left = end.saturating_duration_since(Instant::now());
        let read = tokio::time::timeout(left, pty.read(&mut buffer)).await;
        let shown = screen.screen().contents();
        let read = read.unwrap_or_else(|_| panic!("{}: no {text:?} in:\n{shown}", shell.program));
        match read.unwrap() {
            0 => panic!("{} has exited:\n{shown}", shell.program),
            read => screen.process(&buffer[..read]),
        }
    }
}

#[expect(clippy::print_stderr, reason = "the test names skipped shells")]
fn installed() -> impl Iterator<Item = Shell> {
    SHELLS.into_iter().filter(|shell| {
        let is_installed = shell.program == "/bin/bash" || Path::new(shell.program).exists();
        if !is_installed {
            eprintln!("skipped {}: not installed", shell.program);
        }
        is_installed
    })
}

#[test]
fn tab_completes_verbs_options_and_values_in_real_shells() {
    for shell in installed() {
        let rig = Rig::new();
        let lines = [
            ("agent-team comple", "agent-team completions"),
            ("agent-team up --pan", "agent-team up --panes"),
            ("agent-team up --mode accept", "--mode accept-edits"),
            ("agent-team completions fi", "completions fish"),
            ("agent-team task gra", "agent-team task graph"),
        ];
        press_tab(&rig, &shell, &lines);
        assert!(rig.nothing_was_started(), "{}", shell.program);
    }
}

#[test]
fn completion_creates_nothing() {
    let rig = Rig::new();
    let mut complete = rig.command(&["--", "agent-team", "stop", ""]);
    complete.env("AGENT_TEAM_COMPLETE", "bash");
    complete
        .env("_CLAP_COMPLETE_INDEX", "2")
        .env("_CLAP_COMPLETE_COMP_TYPE", "9");
    complete
        .env("_CLAP_COMPLETE_SPACE", "true")
        .env("_CLAP_IFS", " ");
    let output = complete.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(!rig.home().exists());
}

/// A team with the member `grace`.
fn team(is_lead: bool) -> Value {
    let member = json!({
        "name": "grace", "role": "worker", "lead": is_lead, "engine": "command", "model": null,
        "colour": "blue", "placement": "hosted", "state": "idle", "why": "", "for_ms": 1, "pid": 1,
        "launch": null, "task": null, "pane": null, "unread": 0, "requests": 0, "restarts": 0,
        "last_result": null,
    });
    json!({
        "team": "p-00000000", "name": "p", "project": "/p", "state": "up", "revision": 1,
        "members": [member], "placement": "hosted: so",
        "tasks": {"pending": 0, "in_progress": 0, "completed": 0, "failed": 0, "cancelled": 0},
    })
}

#[test]
fn lead_is_offered_only_in_a_team_that_has_one() {
    for (is_lead, expected) in [
        (false, ["grace", "all"].as_slice()),
        (true, &["grace", "lead", "all"]),
    ] {
        let rig = Rig::new();
        let supervisor = Supervisor::start(&rig);
        let answers = thread::spawn(move || {
            let mut peer = supervisor.accept();
            let call = peer.next_call();
            peer.answer(&call, &team(is_lead));
        });
        let mut complete = rig.command(&["--", "agent-team", "send", ""]);
        complete.env("AGENT_TEAM_COMPLETE", "bash");
        complete
            .env("_CLAP_COMPLETE_INDEX", "2")
            .env("_CLAP_COMPLETE_COMP_TYPE", "9")
            .env("_CLAP_COMPLETE_SPACE", "true")
            .env("_CLAP_IFS", " ");
        let output = complete.output().unwrap();
        answers.join().unwrap();
        let offered = String::from_utf8(output.stdout).unwrap();
        let names: Vec<_> = offered
            .split_whitespace()
            .filter(|it| !it.starts_with('-'))
            .collect();
        assert_eq!(names, expected);
    }
}

#[test]
fn tab_completes_names_of_a_running_team() {
    for shell in installed() {
        let rig = Rig::new();
        let supervisor = Supervisor::start(&rig);
        let team = team(false);
        let board = json!({ "revision": 1, "tasks": [task("T-12", "pending", 1)] });
        thread::spawn(move || {
            loop {
                let mut peer = supervisor.accept();
                let call = peer.next_call();
                match call["method"].as_str() {
                    Some("team/show") => peer.answer(&call, &team),
                    Some("task/list") => peer.answer(&call, &board),
                    other => panic!("unexpected call {other:?}"),
                }
            }
        });
        let lines = [
            ("agent-team why gr", "agent-team why grace"),
            ("agent-team send al", "agent-team send all"),
            ("agent-team task show T-", "agent-team task show T-12"),
        ];
        press_tab(&rig, &shell, &lines);
    }
}
