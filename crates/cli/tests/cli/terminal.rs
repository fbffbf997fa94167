//! Commands on a terminal: `attach` and `up` run the program that shows the team.

use std::path::Path;
use std::thread;

use agent_team_system::pty::Pty;
use serde_json::json;

use crate::rig::{Rig, Supervisor};

/// Runs a command in a terminal of 90 columns, inside or outside tmux; returns the screen output and the exit code.
fn in_terminal(rig: &Rig, arguments: &[&str], in_tmux: bool) -> (String, Option<i32>) {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut variables = vec![
        ("AGENT_TEAM_HOME", rig.home().into_os_string()),
        ("PATH", path),
    ];
    if in_tmux {
        variables.push(("TMUX", "/tmp/t,1,0".into()));
    }
    let program = Path::new(env!("CARGO_BIN_EXE_agent-team"));
    let spec = rig.program(program, arguments, variables);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    runtime.unwrap().block_on(async {
        let pty = Pty::open(90, 24).unwrap();
        let mut child = pty.spawn(&spec).unwrap();
        let (mut shown, mut buffer) = (Vec::new(), [0; 1024]);
        loop {
            match pty.read(&mut buffer).await.unwrap() {
                0 => break,
                read => shown.extend_from_slice(&buffer[..read]),
            }
        }
        let status = child.wait().await.unwrap();
        (String::from_utf8_lossy(&shown).into_owned(), status.code())
    })
}

/// Acts as the supervisor. With `up`, answers `team/up`. With `attaches`, or without `up`, answers `team/attach` with a
/// program that prints `TMUX` and exits with 9.
fn attach(supervisor: &Supervisor, up: bool, placement: &str, attaches: bool) {
    let mut peer = supervisor.accept();
    if up {
        let call = peer.call("team/up");
        assert_eq!(call["params"]["args"]["terminal"]["size"], json!([90, 24]));
        peer.answer(
            &call,
            &json!({ "team": "p-00000000", "revision": 1, "placement": placement, "placement_reason": "so", "changes": [] }),
        );
        if !attaches {
            return;
        }
    }
    let call = peer.call("team/attach");
    let argv = ["sh", "-c", "echo attached, TMUX ${TMUX-unset}; exit 9"];
    peer.answer(&call, &json!({ "argv": argv, "unset": ["TMUX"] }));
}

#[test]
fn attach_runs_the_program_that_shows_the_team() {
    let rig = Rig::new();
    let supervisor = Supervisor::start(&rig);
    let played = thread::spawn(move || attach(&supervisor, false, "tmux", true));
    let (shown, code) = in_terminal(&rig, &["attach"], true);
    played.join().unwrap();
    assert_eq!(
        (shown.as_str(), code),
        ("attached, TMUX unset\r\n\r\n", Some(9))
    );
}

#[test]
fn up_attaches_to_panes_inside_and_outside_tmux() {
    for (placement, in_tmux, attaches) in [
        ("tmux", false, true),
        ("tmux", true, true),
        ("headless", false, false),
    ] {
        let rig = Rig::new();
        rig.team_file("[[member]]\nname = \"ada\"\n");
        let supervisor = Supervisor::start(&rig);
        let played = thread::spawn(move || attach(&supervisor, true, placement, attaches));
        let (shown, code) = in_terminal(&rig, &["up"], in_tmux);
        played.join().unwrap();
        assert_eq!(shown.contains("attached"), attaches, "{placement}: {shown}");
        assert_eq!(
            code,
            Some(if attaches { 9 } else { 0 }),
            "{placement}: {shown}"
        );
    }
}
