//! Members whose engine shows a program with a terminal interface of its own.

use agent_team_protocol::method::{MemberScreenShow, OneMember};
use agent_team_protocol::notification::MemberScreen;
use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, TaskState};
use agent_team_tests::{Rig, processes, tmux, until};

use crate::reopen::assert_same_worker;
use crate::teams::task;

/// A full-screen program. Shows each key; `q` ends it with success, `x` with a failure, and `m` prints modes.
const FULL_SCREEN: &str = r#"
stty raw -echo
printf '\033[?1049h\033[?2004h\033[?1002h\033[?1006h\033[?1h\033[2J\033[2;3Hready on '
stty size
while key=$(dd bs=1 count=1 2>/dev/null); do
    printf '\033[4;3H\033[2Kkey \033[1;31m<%s>\033[m' "$key"
    case $key in
        q) printf '\033[?1049l'; exit 0 ;;
        x) exit 3 ;;
        s) printf '\033[6;3H'; stty size ;;
    esac
done
"#;

/// The key that detaches a terminal from a member: Control and backslash.
const LEAVE: &str = "\u{1c}";

/// A team with the member ada, which shows this command, and the command member bob.
fn file(placement: &str, command: &str, rest: &str) -> String {
    format!(
        "name = \"demo\"\n\
         [panes]\nplacement = \"{placement}\"\n\
         [defaults]\nengine = \"command\"\n\
         [[member]]\nname = \"ada\"\nengine = {{ terminal = [{command}] }}\n\
         [[member]]\nname = \"bob\"\n{rest}"
    )
}

fn rig(placement: &str, command: &str) -> Rig {
    let rig = Rig::with_team(&file(placement, command, ""));
    rig.write("full.sh", FULL_SCREEN);
    rig
}

/// A program of this shell line.
fn of_line(placement: &str, line: &str) -> Rig {
    rig(placement, &format!("\"sh\", \"-c\", {line:?}"))
}

const FULL: &str = "\"sh\", \"full.sh\"";

async fn until_headless(rig: &Rig) {
    rig.until_member("ada", |ada| {
        ada.placement == Placement::Headless && ada.pane.is_none()
    })
    .await;
}

#[tokio::test]
async fn a_program_survives_its_pane_and_is_repainted() {
    if !tmux::is_here() {
        return;
    }
    let rig = rig("tmux", FULL);
    rig.ok(["up", "--detach"]).await;
    let (before, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "ready on").await;
    tmux.ask(["send-keys", "-t", &pane, "a"]).await;
    tmux.until_shown(&pane, "key <a>").await;

    tmux.ask(["kill-pane", "-t", &pane]).await;
    until_headless(&rig).await;
    rig.ok(["panes", "reopen", "ada"]).await;
    let (after, pane) = rig.until_in_pane("ada").await;
    assert_same_worker(&before, &after);
    let shown = tmux.until_shown(&pane, "key <a>").await;
    assert!(shown.contains("ready on"), "{shown}");
    let format = "#{alternate_on} #{mouse_button_flag} #{mouse_sgr_flag} #{keypad_cursor_flag}";
    let modes = tmux.ask(["display-message", "-p", "-t", &pane, format]);
    assert_eq!(modes.await, "1 1 1 1");
    tmux.ask(["send-keys", "-t", &pane, "b"]).await;
    tmux.until_shown(&pane, "key <b>").await;

    let server = tmux.ask(["display-message", "-p", "#{pid}"]).await;
    processes::kill(processes::living(server.parse().expect("a pid"))).await;
    until_headless(&rig).await;
    rig.ok(["up", "--detach"]).await;
    let (again, pane) = rig.until_in_pane("ada").await;
    assert_same_worker(&before, &again);
    tmux.until_shown(&pane, "key <b>").await;
}

#[tokio::test]
async fn a_program_has_the_size_of_its_pane() {
    if !tmux::is_here() {
        return;
    }
    let rig = rig("tmux", FULL);
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    let size = async || {
        let format = "#{pane_height} #{pane_width}";
        tmux.ask(["display-message", "-p", "-t", &pane, format])
            .await
    };
    tmux.until_shown(&pane, "ready on").await;
    tmux.ask(["resize-window", "-t", &pane, "-x", "111", "-y", "33"])
        .await;
    let resized = format!("\n  {}", size().await);
    until("the program to have the new size", async || {
        tmux.ask(["send-keys", "-t", &pane, "s"]).await;
        tmux.capture(&pane).await.contains(&resized).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_headless_program_runs_and_can_be_attached() {
    let rig = rig("headless", FULL);
    rig.ok(["up", "--detach"]).await;
    let before = rig.until_member_is("ada", MemberState::Idle).await;
    let mut screen = rig.on_terminal(["attach", "ada"]);
    screen.until("ready on 24 80").await;
    screen.until("ada is attached; press").await;
    screen.type_in("z").await;
    screen.until("<").await;
    screen.until("z").await;
    screen.type_in(LEAVE).await;
    let (code, seen) = screen.end().await;
    assert_eq!(code, 0);
    let reset = seen
        .rfind("\x1b[?1049l")
        .expect("the alternate screen is left");
    for mode in ["\x1b[?1002l", "\x1b[?1006l", "\x1b[?2004l", "\x1b[?25h"] {
        assert!(seen[reset..].contains(mode), "{mode:?} in {seen:?}");
    }
    let after = rig.until_member_is("ada", MemberState::Idle).await;
    assert_same_worker(&before, &after);
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("no pane shows sh: agent-team attach ada");
}

#[tokio::test]
async fn a_message_is_shown_and_not_delivered() {
    if !tmux::is_here() {
        return;
    }
    let rig = rig("tmux", FULL);
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "ready on").await;
    tmux.ask(["send-keys", "-t", &pane, "a"]).await;
    tmux.until_shown(&pane, "key <a>").await;
    rig.ok(["send", "ada", "q is the key\u{1b}[2Jto press"])
        .await
        .assert_prints("shown, not delivered: only the user sees it in the pane of ada");
    let shown = tmux.until_shown(&pane, "✉ you: q is the key").await;
    assert!(
        shown.contains("(shown here, not delivered to sh)"),
        "{shown}"
    );
    assert!(shown.contains("key <a>"), "{shown}");
    rig.until_member("ada", |ada| ada.unread == 0).await;
    rig.ok(["ps"])
        .await
        .assert_prints("ada: messages are shown in the pane, not delivered to its program");
    let refused = rig.run(["send", "ada", "--wait", "answer?"]).await;
    refused
        .expect(2)
        .assert_prints("ada shows a program that receives no messages");
}

#[tokio::test]
async fn the_exit_status_decides_about_a_restart() {
    if !tmux::is_here() {
        return;
    }
    let rig = rig("tmux", FULL);
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "ready on").await;
    tmux.ask(["send-keys", "-t", &pane, "x"]).await;
    rig.until_member("ada", |ada| {
        ada.restarts == 1 && ada.state == MemberState::Idle
    })
    .await;
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("✗ sh has failed: exit 3");
    let (_, pane) = rig.until_in_pane("ada").await;
    until("the program to have ended", async || {
        tmux.ask(["send-keys", "-t", &pane, "q"]).await;
        let ada = rig.member("ada").await;
        (ada.state == MemberState::Stopped).then_some(())
    })
    .await;
    rig.run(["logs", "ada"])
        .await
        .expect(0)
        .assert_prints("✓ sh has exited");
}

#[tokio::test]
async fn a_program_that_cannot_start_holds_its_member() {
    let rig = rig("headless", "\"no-such-program\"");
    rig.run(["up", "--detach"]).await;
    let ada = rig.until_member_is("ada", MemberState::Held).await;
    assert!(
        ada.why.contains("cannot start no-such-program"),
        "{}",
        ada.why
    );
}

#[tokio::test]
async fn a_hostile_program_reaches_nothing_outside_its_screen() {
    if !tmux::is_here() {
        return;
    }
    // The program sends the clipboard, a tmux passthrough, titles, a report of the title, keyboard protocols, a screen
    // title and an image.
    let hostile = "printf '\\033]52;c;aGk=\\007\\033Ptmux;\\033\\033]52;c;aGk=\\007\\033\\\\\
                   \\033]0;evil\\007\\033]2;evil\\007\\033[21t\\033[>1u\\033[>4;2m\
                   \\033_Gf=24;evil\\033\\\\\\033]1337;File=:evil\\007'; \
                   echo all sent; exec cat";
    let rig = of_line("tmux", hostile);
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    let titles = "#{pane_title}|#{window_name}|#{@agent_team_member}";
    let shown = tmux.until_shown(&pane, "all sent").await;
    assert!(
        !shown.contains("evil") && !shown.contains("aGk="),
        "{shown}"
    );
    let titles = tmux.panes(titles).await;
    assert!(
        titles.iter().all(|title| !title.contains("evil")),
        "{titles:?}"
    );
    assert_eq!(tmux.ask(["list-buffers"]).await, "");

    let mut screen = rig.on_terminal_of((90, 30), ["attach", "ada"]);
    screen.until("all sent").await;
    drop(screen);
    let headless = of_line("headless", hostile);
    headless.ok(["up", "--detach"]).await;
    headless.until_member_is("ada", MemberState::Idle).await;
    let mut screen = headless.on_terminal(["attach", "ada"]);
    screen.until("all sent").await;
    screen.type_in(LEAVE).await;
    let (_, seen) = screen.end().await;
    for reaches in ["\x1b]", "\x1bP", "\x1b_", "21t", ">1u", ">4;2m", "evil"] {
        assert!(!seen.contains(reaches), "{reaches:?} in {seen:?}");
    }
}

#[tokio::test]
async fn queries_are_answered_without_a_terminal() {
    let ask = "stty raw -echo; printf '\\033[3;7H\\033[6n'; \
               dd bs=6 count=1 2>/dev/null | cut -c 3- > position; \
               printf '\\033[c'; dd bs=7 count=1 2>/dev/null | cut -c 3- > device; exec cat";
    let rig = of_line("headless", ask);
    rig.ok(["up", "--detach"]).await;
    assert_eq!(rig.until_written("position").await.trim(), "3;7R");
    assert_eq!(rig.until_written("device").await.trim(), "?1;2c");
}

#[tokio::test]
async fn a_flood_of_output_delays_neither_keys_nor_a_stop() {
    if !tmux::is_here() {
        return;
    }
    let rig = of_line(
        "tmux",
        "trap 'echo interrupted' INT; yes flood; echo over; yes again",
    );
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "flood").await;
    rig.ok(["send", "ada", "hello"]).await;
    rig.until_member("ada", |ada| ada.unread == 0).await;
    tmux.ask(["send-keys", "-t", &pane, "C-c"]).await;
    tmux.until_shown(&pane, "again").await;
    rig.ok(["stop", "ada"]).await;
    rig.until_member_is("ada", MemberState::Stopped).await;
}

#[tokio::test]
async fn a_stop_ends_the_whole_process_tree() {
    let line = "(trap '' HUP TERM; setsid sleep 600 & sleep 600) & \
                trap '' HUP TERM; echo $$ > pid; while :; do sleep 1; done";
    let rig = of_line("headless", line);
    rig.ok(["up", "--detach"]).await;
    let pid: u64 = rig
        .until_written("pid")
        .await
        .trim()
        .parse()
        .expect("a pid");
    let program = processes::living(pid);
    rig.ok(["stop", "ada"]).await;
    rig.until_member_is("ada", MemberState::Stopped).await;
    processes::ended(program).await;
    rig.ok(["down", "--force"]).await;
    assert_eq!(rig.processes(), []);
}

#[tokio::test]
async fn a_member_with_a_program_takes_no_tasks() {
    let rig = rig("headless", FULL);
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    let refusal = rig
        .refused(4, ["task", "add", "Build", "--run", "true", "--for", "ada"])
        .await;
    let message = refusal["message"].as_str().expect("a message");
    assert!(message.starts_with("ada takes no tasks"), "{message}");
    rig.ok(["task", "add", "Build", "--run", "true"]).await;
    let done = rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(done.owner.expect("an owner").to_string(), "bob");
    let file = file("headless", FULL, &task("Test", "true", "for = \"ada\""));
    rig.set_team(&file);
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    assert!(refusal.to_string().contains("takes no tasks"), "{refusal}");
}

#[tokio::test]
async fn a_projects_program_needs_trust() {
    let mut rig = rig("headless", FULL);
    rig.trust_nothing();
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    assert_eq!(refusal["code"], "untrusted");
    assert!(refusal.to_string().contains("member ada runs"), "{refusal}");
}

#[tokio::test]
async fn the_log_has_the_rows_that_left_the_screen() {
    let line = "seq -f 'row %g' 100; echo last";
    let rig = of_line("headless", line);
    rig.ok(["up", "--detach"]).await;
    rig.until_member_is("ada", MemberState::Stopped).await;
    let logs = rig.run(["logs", "ada"]).await.expect(0).stdout;
    for row in ["row 1\n", "row 100\n", "last\n"] {
        assert!(logs.contains(row), "{row:?} in {logs}");
    }
    let rows = logs.lines().filter(|line| line.contains("row "));
    assert_eq!(rows.count(), 100, "{logs}");
}

#[tokio::test]
async fn a_new_pane_has_the_rows_that_left_the_screen() {
    if !tmux::is_here() {
        return;
    }
    let rig = of_line("tmux", "seq -f 'row <%g>' 100; exec cat");
    rig.ok(["up", "--detach"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let tmux = rig.tmux();
    tmux.until_shown(&pane, "row <100>").await;
    tmux.until_shown(&pane, "row <1>").await;
    tmux.ask(["kill-pane", "-t", &pane]).await;
    until_headless(&rig).await;
    rig.ok(["panes", "reopen", "ada"]).await;
    let (_, pane) = rig.until_in_pane("ada").await;
    let shown = tmux.until_shown(&pane, "row <100>").await;
    assert_eq!(shown.matches("row <").count(), 100, "{shown}");
}

/// The screen of ada.
async fn screen_of(rig: &Rig) -> Option<MemberScreen> {
    let member = "ada".parse().expect("a name");
    rig.ask::<MemberScreenShow>(OneMember { member })
        .await
        .screen
}

#[tokio::test]
async fn clients_see_the_screen_of_a_program() {
    let line =
        "printf '\\033[1;31mred\\033[m \\033]52;c;aGk=\\007\\033]0;title\\007日\\n'; sleep 60";
    let rig = of_line("headless", line);
    rig.ok(["up", "--detach"]).await;
    let screen = until("the screen", async || {
        screen_of(&rig)
            .await
            .filter(|screen| screen.lines[0].contains("red"))
    })
    .await;
    assert_eq!((screen.columns, screen.rows), (80, 24));
    // The screen contains only colours, attributes and movements: no clipboard and no title.
    assert_eq!(
        screen.lines[0],
        "\u{1b}[0;1;38;5;1mred\u{1b}[0m 日\u{1b}[7G"
    );
    assert_eq!(screen.lines.len(), 24);
    // The next supervisor receives the screen again.
    processes::kill(rig.supervisor().await).await;
    until("the screen after a crash", async || {
        screen_of(&rig).await.filter(|again| *again == screen)
    })
    .await;
    rig.ok(["stop", "ada"]).await;
    assert_eq!(screen_of(&rig).await, None);
}
