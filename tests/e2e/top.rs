//! `top` and `next`: the whole team on one screen, and the way to a blocked member.

use std::path::PathBuf;
use std::time::Duration;

use agent_team_protocol::RequestId;
use agent_team_protocol::method::RequestShow;
use agent_team_protocol::request::{OneRequest, RequestState};
use agent_team_protocol::view::MemberState;
use agent_team_system::process::Signal;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::processes::living;
use agent_team_tests::tmux::Tmux;
use agent_team_tests::{Rig, tmux, until, within};
use serde_json::{Value, json};

use crate::teams::{headless, task};

/// A terminal of 100 columns and 30 rows in which `top` was started from a shell.
struct Terminal {
    tmux: Tmux,
    directory: PathBuf,
}

impl Terminal {
    async fn with_top(rig: &Rig) -> Self {
        let directory = rig.root().join("terminal");
        std::fs::create_dir(&directory).unwrap();
        let program = rig.binary("agent-team");
        let shell = format!(
            "export AGENT_TEAM_HOME='{}' HOME='{}' PATH='{}' LANG=C.UTF-8\n\
             unset TMUX TMUX_PANE\n\
             cd '{}'\n\
             stty -g > '{here}/before'\n\
             sh -c 'echo $$ > {here}/pid; exec \"{}\" top'\n\
             echo $? > '{here}/code'\n\
             stty -g > '{here}/after'\n\
             echo the shell again\n\
             exec cat\n",
            rig.home().display(),
            rig.root().join("home").display(),
            std::env::var("PATH").unwrap(),
            rig.project().display(),
            program.display(),
            here = directory.display(),
        );
        let script = directory.join("shell");
        std::fs::write(&script, shell).unwrap();
        let tmux = rig.users_tmux();
        let script = script.to_str().unwrap();
        let session = ["new-session", "-d", "-x", "100", "-y", "30", "sh", script];
        tmux.ask(session).await;
        Self { tmux, directory }
    }

    async fn until(&self, text: &str) -> String {
        self.tmux.until_shown("%0", text).await
    }

    async fn until_not(&self, text: &str) {
        let what = format!("{text:?} to be gone");
        until(&what, async || {
            let shown = self.tmux.capture("%0").await;
            (!shown.contains(text)).then_some(())
        })
        .await;
    }

    async fn press(&self, key: &str) {
        self.tmux.ask(["send-keys", "-t", "%0", key]).await;
    }

    async fn pid(&self) -> u64 {
        let pid = self.directory.join("pid");
        until("the pid of top", async || {
            std::fs::read_to_string(&pid).ok()?.trim().parse().ok()
        })
        .await
    }

    /// Waits until `top` has exited and the shell shows that the terminal is restored; returns the exit code.
    async fn end(&self) -> String {
        let shown = self.until("the shell again").await;
        assert!(!shown.contains("MEMBER"), "{shown}");
        let alternate = [
            "display-message",
            "-p",
            "-t",
            "%0",
            "#{alternate_on} #{cursor_flag} #{mouse_any_flag}",
        ];
        assert_eq!(self.tmux.ask(alternate).await, "0 1 0");
        let read = |name| std::fs::read_to_string(self.directory.join(name)).unwrap();
        assert_eq!(read("after"), read("before"));
        read("code").trim().to_owned()
    }
}

#[tokio::test]
async fn top_shows_changes_and_reacts_to_keys() {
    if !tmux::is_here() {
        return;
    }
    let rig = headless(&["ada", "bob"], "");
    rig.ok(["up"]).await;
    rig.until_member_is("bob", MemberState::Idle).await;
    let terminal = Terminal::with_top(&rig).await;
    let shown = terminal.until("ada has no output yet").await;
    assert!(shown.contains("ada") && shown.contains("bob"), "{shown}");

    let line = "echo said by the task; mkfifo gate; cat gate";
    rig.ok(["task", "add", "Wait", "--run", line]).await;
    let shown = terminal.until("T-1 Wait").await;
    assert!(shown.contains("1 working"), "{shown}");
    let owner = rig.task("T-1").await.owner.unwrap().to_string();
    if owner == "bob" {
        terminal.press("Down").await;
    }
    terminal.until("said by the task").await;

    // `top` adapts to a smaller terminal.
    terminal
        .tmux
        .ask(["resize-window", "-x", "44", "-y", "12"])
        .await;
    let shown = until("the narrow screen", async || {
        let shown = terminal.tmux.capture("%0").await;
        let narrow = shown.lines().all(|line| line.chars().count() <= 44);
        (narrow && shown.contains("1 out")).then_some(shown)
    })
    .await;
    assert!(shown.contains("T-1"), "{shown}");
    terminal
        .tmux
        .ask(["resize-window", "-x", "100", "-y", "30"])
        .await;
    terminal.until(" 1 output").await;

    terminal.press("K").await;
    terminal.until(&format!("kill {owner} and all")).await;
    terminal.press("n").await;
    terminal.until("K kill").await;
    assert_eq!(rig.member(&owner).await.state, MemberState::Working);
    terminal.press("K").await;
    terminal.until(&format!("kill {owner} and all")).await;
    terminal.press("y").await;
    rig.until_member_is(&owner, MemberState::Stopped).await;
    terminal.until("stopped").await;

    terminal.press("s").await;
    terminal.until(&format!("to {owner} ▸")).await;
    terminal.press("hello there").await;
    terminal.press("Enter").await;
    terminal.until("sent M-").await;
    terminal.press("4").await;
    terminal.until("hello there").await;

    terminal.press("C-c").await;
    assert_eq!(terminal.end().await, "0");
    // The team continues: another member has taken the task.
    let other = if owner == "ada" { "bob" } else { "ada" };
    rig.until_member_is(other, MemberState::Working).await;
}

/// The report of a mouse action at a cell, counted from 1, as a terminal sends it (SGR).
fn mouse(button: u8, column: usize, row: usize) -> String {
    format!("\x1b[<{button};{column};{row}M")
}

impl Terminal {
    async fn type_bytes(&self, text: &str) {
        self.tmux.ask(["send-keys", "-l", "-t", "%0", text]).await;
    }

    /// Clicks on the first place where a text is shown.
    async fn click(&self, text: &str) {
        let shown = self.until(text).await;
        let mut lines = shown.lines().zip(1..);
        let (line, row) = lines
            .find(|(line, _)| line.contains(text))
            .expect("the text is shown");
        let column = line[..line.find(text).expect("the line contains the text")]
            .chars()
            .count()
            + 1;
        self.type_bytes(&mouse(0, column, row)).await;
    }
}

#[tokio::test]
async fn top_obeys_the_mouse_and_enters_the_board() {
    if !tmux::is_here() {
        return;
    }
    let broken = task(
        "Break",
        "for n in $(seq 60); do echo line $n.; done; echo broken; test -e repaired",
        "",
    );
    let later = task("Later", "true", "after = [\"Break\"]");
    let rig = headless(&["ada"], &(broken + &later));
    rig.run(["up", "--wait"]).await.expect(1);
    let terminal = Terminal::with_top(&rig).await;
    terminal.until("1 failed").await;
    let tmux = &terminal.tmux;
    let modes = [
        "display-message",
        "-p",
        "-t",
        "%0",
        "#{mouse_any_flag}#{mouse_sgr_flag}",
    ];
    assert_eq!(tmux.ask(modes).await, "11");

    // The wheel scrolls the output, and does not change the selection.
    terminal.until("line 60.").await;
    for _ in 0..4 {
        terminal.type_bytes(&mouse(64, 10, 15)).await;
    }
    terminal.until_not("line 60.").await;

    terminal.click("2 board").await;
    let board = terminal.until("✗ T-1 Break").await;
    assert!(board.contains("▸ ✗ T-1"), "{board}");
    terminal.press("j").await;
    terminal.until("▸ ◌ T-2").await;
    terminal.press("w").await;
    terminal.until("T-2 waits for T-1 (failed").await;
    terminal.press("/").await;
    terminal.type_bytes("brea").await;
    terminal.until("▸ ✗ T-1").await;
    terminal.press("Escape").await;
    // The next bytes must not arrive with the escape key.
    terminal.until("? help").await;
    // The first click selects the task, and the second click opens it.
    terminal.click("T-2 Later").await;
    terminal.until("▸ ◌ T-2").await;
    terminal.click("T-1 Break").await;
    terminal.until("▸ ✗ T-1").await;
    terminal.click("T-1 Break").await;
    let details = terminal.until("claimed by ada").await;
    assert!(
        details.contains("History") && details.contains("seq 60"),
        "{details}"
    );

    rig.write("repaired", "");
    terminal.press("r").await;
    terminal.until("✓ completed by ada").await;
    terminal.press("Escape").await;
    terminal.until("▸ ✓ T-1 Break").await;
    terminal.until("✓ T-2 Later").await;
    terminal.press("a").await;
    terminal.until("new task ▸").await;
    terminal.type_bytes("By hand").await;
    terminal.press("Enter").await;
    // The status line reports that no member can claim a task without a command.
    terminal.until("no member can claim T-3").await;
    terminal.click("T-3 By hand").await;
    terminal.until("▸ ○ T-3").await;
    terminal.press("c").await;
    terminal.until("cancel T-3 By hand? y/N").await;
    terminal.press("y").await;
    terminal.until("– T-3 By hand").await;
    terminal.press("q").await;
    assert_eq!(terminal.end().await, "0");
    assert_eq!(
        tmux.ask(modes).await,
        "00",
        "the mouse belongs to the terminal again"
    );
}

#[tokio::test]
async fn d_shows_the_uncommitted_changes() {
    if !tmux::is_here() {
        return;
    }
    let rig = headless(&["ada"], "");
    let git = async |arguments: &[&str]| {
        let mut git = tokio::process::Command::new("git");
        let done = git
            .arg("-C")
            .arg(rig.project())
            .args(arguments)
            .output()
            .await;
        assert!(done.expect("git runs").status.success(), "{arguments:?}");
    };
    git(&["init", "--quiet"]).await;
    rig.write("a.txt", "one\n");
    git(&["add", "a.txt"]).await;
    rig.write("a.txt", "two\u{1b}]0;owned\u{7}\n");
    rig.ok(["up"]).await;
    let terminal = Terminal::with_top(&rig).await;
    terminal.until("ada").await;
    terminal.press("d").await;
    let changes = terminal.until("+two\\e]0;owned").await;
    assert!(
        changes.contains("Uncommitted changes in the project"),
        "{changes}"
    );
    terminal.press("Escape").await;
    terminal.until("MEMBER").await;
    let pid = terminal.pid().await;
    living(pid)
        .signal(Signal::SIGHUP)
        .expect("the signal is sent");
    assert_eq!(terminal.end().await, "129");
}

#[tokio::test]
async fn top_reconnects_and_a_signal_restores_the_terminal() {
    if !tmux::is_here() {
        return;
    }
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let terminal = Terminal::with_top(&rig).await;
    terminal.until("ada").await;
    let supervisor = rig.supervisor().await;
    supervisor
        .signal(Signal::SIGKILL)
        .expect("the signal is sent");
    terminal.until("reconnected").await;
    rig.ok(["task", "add", "Later", "--run", "true"]).await;
    terminal.press("2").await;
    terminal.until("✓ T-1 Later").await;
    let top = living(terminal.pid().await);
    top.signal(Signal::SIGTERM).expect("the signal is sent");
    assert_eq!(terminal.end().await, "143");
}

#[tokio::test]
async fn top_ends_with_a_message_when_the_supervisor_stops() {
    if !tmux::is_here() {
        return;
    }
    let rig = headless(&["ada"], "");
    rig.ok(["up"]).await;
    let terminal = Terminal::with_top(&rig).await;
    terminal.until("ada").await;
    rig.ok(["supervisor", "stop"]).await;
    terminal.until("the supervisor was stopped").await;
    assert_eq!(terminal.end().await, "6");
}

#[tokio::test]
async fn top_requires_a_terminal_or_the_once_flag() {
    let rig = headless(&["ada"], &task("Say", "echo said", ""));
    rig.ok(["up", "--wait"]).await;
    assert_eq!(rig.json(["top"]).await["team"]["name"], "demo");
    rig.run(["top"])
        .await
        .expect(4)
        .assert_prints("agent-team ps");
    let frame = rig.ok(["top", "--once"]).await.stdout;
    assert!(frame.contains("ada") && frame.contains("said"), "{frame}");
    assert_eq!(frame.lines().count(), 24);
}

/// A team in which ada asks for permission after it receives a message.
async fn asking() -> (FakeModelServer, Rig) {
    let (server, rig) = planned().await;
    rig.ok(["up", "--detach"]).await;
    (server, rig)
}

/// The team of [`asking`] before `up`.
async fn planned() -> (FakeModelServer, Rig) {
    let command = json!({ "command": "echo ran >> ran.txt" });
    let replies = vec![Reply::call("bash", command), Reply::text("Done.")];
    let lead = ("lead", vec![Reply::text("I see.")]);
    let server = FakeModelServer::start(by_model([lead, ("ada", replies)])).await;
    let rig = crate::agents::rig_with_requests(&server);
    let file = rig.read(".agent-team/team.toml").expect("the rig wrote it");
    if tmux::is_here() {
        rig.set_team(&file.replace("headless", "tmux"));
    }
    (server, rig)
}

#[tokio::test]
async fn a_request_is_read_and_decided_with_a_key() {
    if !tmux::is_here() {
        return;
    }
    let (server, rig) = asking().await;
    let terminal = Terminal::with_top(&rig).await;
    terminal.until("ada").await;
    rig.ok(["send", "ada", "Go on"]).await;
    terminal.until("1 waiting").await;
    terminal.press("r").await;
    let shown = terminal.until("[y] once").await;
    assert!(shown.contains("echo ran >> ran.txt"), "{shown}");
    assert_eq!(rig.read("ran.txt"), None);
    // A key that arrives while the request is new is not an answer and restarts the pause.
    let once = Duration::from_millis(600);
    within("the key to be taken", async {
        loop {
            terminal.press("y").await;
            let decided = tokio::time::timeout(once, server.until_asked("ada", 2)).await;
            if decided.is_ok() {
                return;
            }
        }
    })
    .await;
    assert_eq!(rig.read("ran.txt").as_deref(), Some("ran\n"));
    let request = RequestId(1);
    let decided = rig.ask::<RequestShow>(OneRequest { request }).await;
    assert_eq!(decided.state, RequestState::Ended);
    terminal.until_not("1 waiting").await;
    terminal.press("q").await;
    assert_eq!(terminal.end().await, "0");
}

#[tokio::test]
async fn next_and_the_status_line_name_the_blocked_member() {
    let (_server, rig) = asking().await;
    let none = rig.ok(["next"]).await;
    assert_eq!(none.stdout, "no member waits for you\n");
    assert_eq!(rig.json(["next"]).await["member"], Value::Null);
    assert_eq!(rig.ok(["next", "--print"]).await.stdout, "");
    rig.ok(["send", "ada", "Go on"]).await;
    rig.until_member("ada", |ada| ada.requests > 0).await;
    assert_eq!(rig.json(["next"]).await["member"], "ada");
    assert_eq!(rig.ok(["next", "--print"]).await.stdout, "ada asks\n");
    if !tmux::is_here() {
        return;
    }
    // Without a terminal, `next` cannot show the member.
    rig.run(["next"])
        .await
        .expect(4)
        .assert_prints("not a terminal");
    let team = rig.tmux();
    let status = ["display-message", "-p", "#{T:status-right}"];
    until("the status line to name ada", async || {
        team.ask(status).await.contains("ada asks").then_some(())
    })
    .await;
    let mut screen = rig.on_terminal(["next"]);
    screen.until("P-1").await;
    let ada = rig.member("ada").await.pane.unwrap();
    let looked = ["list-clients", "-F", "#{pane_id} #{window_zoomed_flag}"];
    until("only ada's pane to be shown", async || {
        (team.ask(looked).await == format!("{ada} 1")).then_some(())
    })
    .await;
    rig.ok(["requests", "deny", "P-1"]).await;
    until("the status line to name no waiting member", async || {
        (!team.ask(status).await.contains("ada asks")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_key_of_the_teams_tmux_shows_the_waiting_member() {
    if !tmux::is_here() {
        return;
    }
    let (_server, rig) = asking().await;
    let team = rig.tmux();
    let mut screen = rig.on_terminal(["attach"]);
    screen.until("ada").await;
    let shown = async || team.ask(["list-clients", "-F", "#{pane_id}"]).await;
    let ada = rig.member("ada").await;
    let lead = rig.member("lead").await.pane.expect("a pane");
    team.ask(["select-pane", "-t", &lead]).await;
    assert_eq!(shown().await, lead);
    rig.ok(["send", "ada", "Go on"]).await;
    let status = ["display-message", "-p", "#{T:status-right}"];
    until("the status line to name ada", async || {
        team.ask(status).await.contains("ada asks").then_some(())
    })
    .await;
    screen.type_in("\u{2}a").await;
    until("ada's pane to be the active one", async || {
        (Some(shown().await) == ada.pane).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_key_of_the_users_tmux_shows_the_waiting_member() {
    if !tmux::is_here() {
        return;
    }
    let (_server, mut rig) = planned().await;
    let users = rig.users_tmux();
    users.ask(["new-session", "-d", "-s", "work", "cat"]).await;
    let here = users
        .ask(["display-message", "-p", "#{pid} #{pane_id}"])
        .await;
    let (pid, theirs) = here.split_once(' ').unwrap();
    rig.set("TMUX", format!("{},{pid},0", users.socket().display()));
    rig.set("TMUX_PANE", theirs);
    rig.ok(["up", "--detach"]).await;
    rig.ok(["send", "ada", "Go on"]).await;
    let ada = rig.until_member("ada", |ada| ada.requests > 0).await;
    let pane = ada.pane.unwrap();
    // The key binding of docs/guide/panes.md, with full paths: the `PATH` of this tmux server does not include the
    // programs.
    let next = format!(
        "AGENT_TEAM_HOME='{}' '{}' next -t demo",
        rig.home().display(),
        rig.binary("agent-team").display()
    );
    users.ask(["bind", "N", "run-shell", "-b", &next]).await;

    let socket = users.socket().display().to_string();
    let client = ["-u", "TMUX", "tmux", "-S", &socket, "attach", "-t", "work"];
    let mut terminal = rig.program_on_terminal("/usr/bin/env".as_ref(), &client);
    let shown = async |session: &str, pane: &str| {
        until(&format!("{pane} of {session} to be shown"), async || {
            let shown = users
                .ask(["list-clients", "-F", "#{session_name} #{pane_id}"])
                .await;
            (shown == format!("{session} {pane}")).then_some(())
        })
        .await;
    };
    shown("work", theirs).await;
    terminal.type_in("\u{2}N").await;
    shown("work", &pane).await;
    terminal.until("P-1").await;

    users.ask(["select-window", "-t", "work:0"]).await;
    let other = users
        .ask([
            "new-session",
            "-d",
            "-s",
            "other",
            "-P",
            "-F",
            "#{pane_id}",
            "cat",
        ])
        .await;
    let name = users.ask(["list-clients", "-F", "#{client_name}"]).await;
    users
        .ask(["switch-client", "-c", &name, "-t", "other"])
        .await;
    shown("other", &other).await;
    terminal.type_in("\u{2}N").await;
    shown("work", &pane).await;
}
