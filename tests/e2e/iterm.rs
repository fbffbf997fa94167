//! Members in sessions of iTerm2, on a fake of the app that speaks its protocol with the app's own message classes.

use std::fs;

use agent_team_protocol::placement::Placement;
use agent_team_protocol::view::{MemberState, MemberView, TaskState};
use agent_team_system::process::{ProcessId, Signal};
use agent_team_tests::fake_iterm2::{self, FakeIterm, with_fake_osascript};
use agent_team_tests::{Rig, processes, tmux, until};
use serde_json::{Value, json};

use crate::reopen::assert_same_worker;
use crate::teams::{file, task};

/// A team brought up from within the fake app.
struct World {
    app: FakeIterm,
    rig: Rig,
}

/// The world of a test; `None` if iTerm2's client library, which the fake uses, is not installed.
async fn world(members: &[&str], rest: &str, options: &[&str]) -> Option<World> {
    let client = fake_iterm2::client()?;
    let mut rig = Rig::with_team(&file(members, "auto", "ready", rest));
    with_fake_osascript(&mut rig);
    let app = FakeIterm::start(&mut rig, client, options).await;
    Some(World { app, rig })
}

impl World {
    /// Quits the app and starts it again, as a user would.
    async fn another_app(mut self) -> Self {
        self.app.quit().await;
        let client = fake_iterm2::client().unwrap();
        self.app = FakeIterm::start(&mut self.rig, client, &[]).await;
        self
    }

    async fn until_in(&self, name: &str, placement: Placement) -> MemberView {
        let is_placed = |member: &MemberView| {
            member.placement == placement && member.pane.is_some() == placement.has_panes()
        };
        self.rig.until_member(name, is_placed).await
    }

    async fn ids(&mut self) -> Vec<String> {
        let sessions = self.app.sessions().await;
        sessions
            .iter()
            .map(|session| word(&session["id"]))
            .collect()
    }

    /// The first session of the selected tab, and the session that receives the user's keys.
    async fn looked_at(&mut self) -> (Value, Value) {
        let state = self.app.state().await;
        let window = &state["windows"][0];
        let tabs = window["tabs"].as_array().unwrap();
        let shown = tabs
            .iter()
            .find(|tab| tab["id"] == window["shown"])
            .unwrap();
        (shown["sessions"][0]["id"].clone(), shown["active"].clone())
    }

    /// Takes the team down, and asserts that no session and no process of it is left.
    async fn down(mut self) {
        self.rig.ok(["down", "--force"]).await;
        assert_eq!(self.app.sessions().await, Vec::<Value>::new());
        until("the end of all of the team's processes", async || {
            let found = self.rig.processes();
            (!found.iter().any(processes::Found::is_ours)).then_some(())
        })
        .await;
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Kills a member's process, and waits until its successor is idle.
async fn crash(rig: &Rig, name: &str) -> MemberView {
    let before = rig.until_member_is(name, MemberState::Idle).await;
    processes::kill(rig.worker(name).await).await;
    rig.until_member(name, |member| {
        member.state == MemberState::Idle && member.launch != before.launch
    })
    .await
}

#[tokio::test]
async fn iterm2_members_get_a_tab_and_the_focus_stays() {
    let run = "echo the work; mkfifo gate; cat gate";
    let task = task("Long \\(app.quit())", run, "for = \"bob\"");
    for options in [&[][..], &["--old"]] {
        let Some(mut world) = world(&["ada", "bob", "cyd"], &task, options).await else {
            return;
        };
        let before = world.looked_at().await;
        let output = world.rig.ok(["up"]).await;
        output.assert_prints("runs in iTerm2: a new tab in your iTerm2");
        let bob = world.rig.until_member_is("bob", MemberState::Working).await;
        assert_eq!(world.looked_at().await, before, "{options:?}");
        world
            .rig
            .ok(["ps"])
            .await
            .assert_prints("in iTerm2: a new tab");

        // The session's name shows the member's work. A task's title in the name is not evaluated as an expression.
        let session = world
            .app
            .until_named("bob · worker · working T-1 Long")
            .await;
        assert_eq!(bob.pane.as_deref(), session["id"].as_str());
        assert_eq!(bob.pid.map(u64::from), session["pid"].as_u64());
        assert!(!word(&session["name"]).contains('\\'), "{session}");
        let profile = &session["profile"];
        assert_eq!(profile["Badge Text"], "bob");
        assert_eq!(profile["Use Tab Color"], true);
        assert_eq!(profile["Close Sessions On End"], 0);
        let tag = word(&session["user"]["user.agent_team"]);
        let launch = bob.launch.clone().unwrap();
        assert!(tag.contains(&format!(" bob {launch} ")), "{tag}");
        let shown = world
            .app
            .until_shown(session["id"].as_str().unwrap(), "the work")
            .await;
        assert!(shown.contains("T-1"), "{shown}");

        let state = world.app.state().await;
        let tabs = state["windows"][0]["tabs"].as_array().unwrap();
        assert_eq!(tabs.len(), 2, "{state}");
        for session in tabs[1]["sessions"].as_array().unwrap() {
            let size: Vec<u64> = serde_json::from_value(session["size"].clone()).unwrap();
            assert!(size[0] >= 40 && size[1] >= 6, "{session}");
        }

        // The app's own command line lists the same sessions.
        let listed = world
            .app
            .it2(["session", "list", "--json"])
            .await
            .expect(0)
            .json();
        let mut seen: Vec<_> = listed
            .as_array()
            .unwrap()
            .iter()
            .map(|one| word(&one["id"]))
            .collect();
        let mut known = vec![world.app.session.clone()];
        for name in ["ada", "bob", "cyd"] {
            known.push(world.until_in(name, Placement::Iterm).await.pane.unwrap());
        }
        seen.sort();
        known.sort();
        assert_eq!(seen, known);

        let pane = bob.pane.unwrap();
        let answer = world.rig.run(["attach", "bob"]).await.expect(0);
        assert_eq!(answer.stdout, "");
        assert_eq!(world.looked_at().await.1, json!(pane));
        assert_eq!(world.app.state().await["forward"], 1);

        let receipts = world.rig.json(["down", "--force"]).await["receipts"].clone();
        let closed = receipts.as_array().unwrap().iter();
        let closed = closed.filter(|one| one["kind"] == "pane" && one["fate"] == "closed");
        assert_eq!(closed.count(), 3, "{receipts}");
        world.down().await;
    }
}

#[tokio::test]
async fn a_new_supervisor_adopts_the_sessions_with_a_new_cookie() {
    let Some(mut world) = world(&["ada", "bob"], "", &[]).await else {
        return;
    };
    world.rig.ok(["up"]).await;
    let before = world.until_in("ada", Placement::Iterm).await;
    let ids = world.ids().await;
    processes::kill(world.rig.supervisor().await).await;
    let after = world.until_in("ada", Placement::Iterm).await;
    assert_same_worker(&before, &after);
    assert_eq!(after.pane, before.pane);
    world.until_in("bob", Placement::Iterm).await;

    let task = world.rig.json([
        "task",
        "add",
        "Now",
        "--run",
        "mkfifo gate; cat gate",
        "--for",
        "bob",
    ]);
    task.await;
    world.app.until_named("bob · worker · working").await;
    assert_eq!(world.ids().await, ids);
    world.down().await;
}

#[tokio::test]
async fn when_a_tab_is_full_the_next_member_gets_a_new_tab() {
    let members = ["ada", "bob", "cyd", "dan"];
    // In 80×24 agent-team puts at most two sessions into a tab. With `--least-columns 120` the app itself refuses a
    // second session in a tab.
    for options in [
        &["--columns", "80", "--rows", "24"][..],
        &["--least-columns", "120"],
    ] {
        let Some(mut world) = world(&members, "", options).await else {
            return;
        };
        world.rig.ok(["up"]).await;
        for name in members {
            world.until_in(name, Placement::Iterm).await;
        }
        let state = world.app.state().await;
        let open_tabs = state["windows"][0]["tabs"].as_array().unwrap();
        // The user's tab, and at least two tabs of members.
        assert!(open_tabs.len() > 2, "{options:?}: {state}");
        world.down().await;
    }
}

#[tokio::test]
async fn a_member_whose_session_closed_gets_another() {
    let gated = "mkfifo gate; echo before; cat gate; echo after";
    let task = task("Long", gated, "for = \"ada\"");
    let Some(mut world) = world(&["ada", "bob"], &task, &[]).await else {
        return;
    };
    world.rig.ok(["up"]).await;
    let before = world.rig.until_member_is("ada", MemberState::Working).await;
    world
        .app
        .until_shown(before.pane.as_deref().unwrap(), "before")
        .await;
    world.app.close(before.pane.as_deref().unwrap()).await;
    assert!(world.until_in("ada", Placement::Headless).await.lost_pane);
    world
        .rig
        .ok(["ps"])
        .await
        .assert_prints("ada runs without a pane: agent-team panes reopen ada");
    world
        .rig
        .ok(["panes", "reopen", "ada"])
        .await
        .assert_prints("ada is shown in ");
    let again = world.until_in("ada", Placement::Iterm).await;
    assert_same_worker(&before, &again);
    assert_ne!(again.pane, before.pane);
    world
        .app
        .until_shown(again.pane.as_deref().unwrap(), "T-1 Long")
        .await;
    world
        .rig
        .ok(["panes", "reopen"])
        .await
        .assert_prints("no member has lost its pane");

    // The app quits and starts again.
    let bob = world.until_in("bob", Placement::Iterm).await;
    let mut world = world.another_app().await;
    world.until_in("ada", Placement::Headless).await;
    assert_same_worker(&bob, &world.until_in("bob", Placement::Headless).await);
    world.rig.ok(["up"]).await;
    let shown = world.until_in("ada", Placement::Iterm).await;
    assert_same_worker(&before, &shown);
    assert_same_worker(&bob, &world.until_in("bob", Placement::Iterm).await);
    let gate = world.rig.project().join("gate");
    tokio::task::spawn_blocking(move || fs::write(gate, "").unwrap())
        .await
        .unwrap();
    world
        .app
        .until_shown(shown.pane.as_deref().unwrap(), "T-1 completed")
        .await;
    let done = world.rig.until_task_is("T-1", TaskState::Completed).await;
    assert_eq!(done.attempts, 1);
    world.down().await;
}

#[tokio::test]
async fn without_the_app_members_restart_headless() {
    let Some(world) = world(&["ada"], "", &[]).await else {
        return;
    };
    world.rig.ok(["up"]).await;
    world.until_in("ada", Placement::Iterm).await;
    let World { app, rig } = world;
    app.quit().await;
    let ada = crash(&rig, "ada").await;
    assert_eq!((ada.placement, ada.lost_pane), (Placement::Headless, true));
    let why = rig.run(["panes", "reopen"]).await.expect(1);
    why.assert_prints("iTerm2 is not running, or its Python API is disabled");
    rig.ok(["down", "--force"]).await;
}

#[tokio::test]
async fn a_killed_workers_session_stays_readable() {
    let Some(mut world) = world(&["ada", "bob", "cyd"], "", &[]).await else {
        return;
    };
    world.rig.ok(["up"]).await;
    let ids = world.ids().await;
    let bob = world.until_in("bob", Placement::Iterm).await;
    let sizes = async |world: &mut World| -> Vec<Value> {
        let sessions = world.app.sessions().await;
        sessions
            .iter()
            .map(|session| session["size"].clone())
            .collect()
    };
    let before = sizes(&mut world).await;
    world.rig.ok(["kill", "bob"]).await;
    assert_eq!(world.ids().await, ids);
    world
        .app
        .until_shown(bob.pane.as_deref().unwrap(), "bob")
        .await;
    world.rig.ok(["restart", "bob"]).await;
    let restarted = world.until_in("bob", Placement::Iterm).await;
    let at =
        |ids: &[String], id: &Option<String>| ids.iter().position(|one| Some(one) == id.as_ref());
    let now = world.ids().await;
    assert_eq!(at(&now, &restarted.pane), at(&ids, &bob.pane));
    assert_eq!((now.len(), sizes(&mut world).await), (3, before));

    let again = crash(&world.rig, "bob").await;
    let now = world.ids().await;
    assert_eq!(at(&now, &again.pane), at(&ids, &bob.pane));
    assert_eq!(now.len(), 3);
    world.down().await;
}

#[tokio::test]
async fn a_session_that_the_user_took_over_is_left_alone() {
    let Some(mut world) = world(&["ada", "bob"], "", &[]).await else {
        return;
    };
    world.rig.ok(["up"]).await;
    let pane = world.until_in("bob", Placement::Iterm).await.pane.unwrap();
    world.rig.ok(["kill", "bob"]).await;
    world.app.take_over(&pane).await;
    world.rig.ok(["restart", "bob"]).await;
    let restarted = world.until_in("bob", Placement::Iterm).await;
    assert_ne!(restarted.pane.as_ref(), Some(&pane));
    let receipts = world.rig.json(["down", "--force"]).await["receipts"].clone();
    let kept =
        json!({ "kind": "pane", "what": format!("{pane} (of another program)"), "fate": "kept" });
    assert!(receipts.as_array().unwrap().contains(&kept), "{receipts}");
    assert_eq!(world.ids().await, [pane]);
}

#[tokio::test]
async fn a_refusal_of_the_app_is_reported_with_a_hint() {
    let Some(client) = fake_iterm2::client() else {
        return;
    };
    let rig_of = || Rig::with_team(&file(&["ada"], "auto", "ready", ""));
    let refused = async |rig: &Rig| rig.run(["up", "--panes", "iterm"]).await.expect(4);

    let mut rig = rig_of();
    refused(&rig)
        .await
        .assert_prints("you are not inside iTerm2");
    // The API of the app is off.
    rig.set("TERM_PROGRAM", "iTerm.app");
    refused(&rig)
        .await
        .assert_prints("Settings > General > Magic > Enable Python API");
    rig.set("SSH_CONNECTION", "192.0.2.1 1 192.0.2.2 22");
    refused(&rig)
        .await
        .assert_prints("your iTerm2 is on another machine");
    rig.unset("SSH_CONNECTION");
    let up = rig.ok(["up"]).await;
    up.assert_prints("no panes in iTerm2: cannot connect to")
        .assert_prints("Enable Python API");
    rig.ok(["down"]).await;

    // The first client has no cookie, and the second client has an unknown cookie. This rig has no fake `osascript`, so
    // clients cannot request a cookie.
    let app = FakeIterm::start(&mut rig, client.clone(), &[]).await;
    rig.unset("ITERM2_COOKIE");
    refused(&rig)
        .await
        .assert_prints("(401): no cookie in your environment")
        .assert_prints("Automation");
    rig.set("ITERM2_COOKIE", "stale");
    refused(&rig)
        .await
        .assert_prints("(401): the cookie is invalid");
    rig.ok(["up"])
        .await
        .assert_prints("no panes in iTerm2: iTerm2 rejects the connection");
    rig.ok(["down"]).await;
    app.quit().await;

    let mut rig = rig_of();
    let _newer = FakeIterm::start(&mut rig, client, &["--newer"]).await;
    refused(&rig).await.assert_prints("too old (406)");
    assert_eq!(rig.json(["team", "list"]).await["teams"].to_string(), "[]");
}

#[tokio::test]
async fn special_characters_in_paths_are_taken_literally() {
    let Some(client) = fake_iterm2::client() else {
        return;
    };
    let mut rig = Rig::with_team(&file(&["ada"], "iterm", "ready", ""));
    let home = rig.root().join("it's a \"$$HOME$$\" `x` #{y} ~");
    fs::create_dir(&home).unwrap();
    rig.set("AGENT_TEAM_HOME", &home);
    let mut app = FakeIterm::start(&mut rig, client, &[]).await;
    rig.ok(["up"]).await.assert_prints("in iTerm2");
    let command = word(&app.sessions().await[0]["profile"]["Command"]);
    assert!(
        !command.contains("$$") && !command.contains('\\'),
        "{command}"
    );
    let ps = rig.json(["ps"]).await;
    assert_eq!(ps["members"][0]["placement"], "iterm", "{ps}");
    assert_eq!(ps["members"][0]["state"], "idle", "{ps}");
    rig.ok(["down"]).await;

    let odd = rig.root().join("back\\slash");
    fs::create_dir(&odd).unwrap();
    rig.set("AGENT_TEAM_HOME", &odd);
    let refused = rig.run(["up"]).await.expect(4);
    refused.assert_prints("characters that an iTerm2 command cannot contain");
}

#[tokio::test]
async fn outside_iterm2_attach_uses_the_callers_terminal() {
    let Some(mut world) = world(&["ada"], "", &[]).await else {
        return;
    };
    world.rig.ok(["up"]).await;
    world.until_in("ada", Placement::Iterm).await;
    for name in ["ITERM_SESSION_ID", "TERM_PROGRAM"] {
        world.rig.unset(name);
    }
    let lent = world.rig.json(["attach", "ada"]).await;
    assert!(lent["argv"].to_string().contains("--attach"), "{lent}");
    let refused = world.rig.refused(4, ["attach"]).await;
    assert!(
        refused["message"].to_string().contains("shown in iTerm2"),
        "{refused}"
    );
    let mut screen = world.rig.on_terminal(["attach", "ada", "--read-only"]);
    screen.until("ada").await;
    assert_eq!(world.app.state().await["forward"], 0);
}

#[tokio::test]
async fn iterm2_draws_the_teams_tmux_on_request() {
    if !tmux::is_here() {
        return;
    }
    let mut rig = Rig::with_team(&file(&["ada"], "iterm-tmux", "ready", ""));
    let refused = rig.run(["up"]).await.expect(4);
    refused
        .assert_prints("you are not inside iTerm2")
        .assert_prints("tmux 3.0");
    rig.set("TERM_PROGRAM", "iTerm.app");
    rig.set("TMUX", "/elsewhere,1,0");
    rig.run(["up"])
        .await
        .expect(4)
        .assert_prints("you are already inside tmux");
    rig.unset("TMUX");
    let mut screen = rig.on_terminal(["up"]);
    screen.until("drawn by your iTerm2").await;
    // The sequence that begins tmux's control mode.
    screen.until("\u{1b}P1000p").await;
    screen.until("%session-changed").await;
    let ada = rig.until_member_is("ada", MemberState::Idle).await;
    assert_eq!(ada.placement, Placement::Tmux);
    // In another terminal, `attach` runs tmux without control mode.
    rig.set("TERM_PROGRAM", "xterm");
    let attach = rig.json(["attach", "ada"]).await;
    assert!(!attach["argv"].to_string().contains("-CC"), "{attach}");
}

#[tokio::test]
async fn doctor_checks_each_backend_without_a_supervisor() {
    let Some(world) = world(&["ada"], "", &[]).await else {
        return;
    };
    let World { app, mut rig } = world;
    let check = async |rig: &Rig, name: &str| {
        let output = rig.run(["doctor", "--json"]).await.json();
        let checks = output["checks"].as_array().unwrap().iter();
        let one = checks.clone().find(|check| check["name"] == name);
        one.unwrap_or_else(|| panic!("{name} is not in {output}"))
            .clone()
    };
    let iterm = check(&rig, "iterm").await;
    assert_eq!(iterm["ok"], true, "{iterm}");
    assert!(
        word(&iterm["detail"]).contains("not yet on a Mac"),
        "{iterm}"
    );
    let auto = check(&rig, "auto").await;
    assert!(word(&auto["detail"]).starts_with("in iTerm2: "), "{auto}");
    app.quit().await;
    let iterm = check(&rig, "iterm").await;
    assert_eq!(iterm["ok"], Value::Null);
    assert!(
        word(&iterm["hint"]).contains("Enable Python API"),
        "{iterm}"
    );
    rig.unset("ITERM_SESSION_ID");
    rig.unset("TERM_PROGRAM");
    for name in ["iterm", "iterm-tmux"] {
        let backend = check(&rig, name).await;
        assert_eq!(backend["detail"], "you are not inside iTerm2");
    }
    for name in ["headless", "hosted"] {
        assert_eq!(check(&rig, name).await["ok"], true);
    }
    assert!(
        !rig.processes()
            .iter()
            .any(|found| found.program == "agent-teamd")
    );
}

/// A hung app is simulated with a stopped process, which does not answer.
#[tokio::test]
async fn a_hung_app_does_not_delay_the_team() {
    let Some(world) = world(&["ada"], "", &[]).await else {
        return;
    };
    let hung = ProcessId::of(world.app.pid()).unwrap().unwrap();
    hung.signal(Signal::SIGSTOP).unwrap();
    let up = world.rig.ok(["up"]).await;
    up.assert_prints("no panes in iTerm2: iTerm2 did not answer within 1 s");
    let ada = world.rig.until_member_is("ada", MemberState::Idle).await;
    assert_ne!(ada.placement, Placement::Iterm);
    world.rig.ok(["down", "--force"]).await;
    hung.signal(Signal::SIGCONT).unwrap();
}
