//! What a project's file lets pass or has run holds only once the person has trusted it.

use std::os::unix::fs::PermissionsExt;

use agent_team_tests::{Rig, until};

const TEAM: &str = "\
name = \"demo\"
[panes]
placement = \"headless\"
[[member]]
name = \"ada\"
[permissions]
deny = [\"Bash(rm:*)\"]
";

const HOOK: &str = "[hooks]\nteammate_idle = \"touch ran\"\n";

fn digest(hint: &serde_json::Value) -> String {
    let hint = hint["hint"].as_str().expect("a hint");
    hint.rsplit(' ').next().expect("a word").to_owned()
}

#[tokio::test]
async fn what_widens_nothing_is_started_without_a_word() {
    let rig = Rig::with_team(&format!("{TEAM}[[task]]\ntitle = \"x\"\nrun = \"true\"\n"));
    let up = rig.ok(["up", "--wait"]).await;
    assert!(!up.stderr.contains("trust"), "{}", up.stderr);
}

#[tokio::test]
async fn without_a_terminal_it_is_refused_with_the_digest_which_is_then_remembered() {
    let rig = Rig::with_team(&format!("{TEAM}{HOOK}"));
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    assert_eq!(refusal["code"], "untrusted");
    let message = refusal["message"].as_str().expect("a message");
    assert!(
        message.contains("hook teammate_idle runs touch ran"),
        "{message}"
    );
    assert_eq!(rig.processes(), [], "nothing was started");
    rig.refused(4, ["up", "--detach", "--trust", &"0".repeat(64)])
        .await;

    let digest = digest(&refusal);
    rig.ok(["up", "--detach", "--trust", &digest]).await;
    until("the hook to run", async || rig.read("ran")).await;
    rig.ok(["up", "--detach"]).await;
    let kept = rig.home().join("state/trusted");
    let kept = std::fs::read_dir(kept).expect("it is there").next();
    let kept = kept.expect("a file").expect("it can be read");
    let mode = kept.metadata().expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    // Another line is another matter; a rule that holds back is none.
    rig.set_team(&format!("{TEAM}{}", HOOK.replace("ran", "run")));
    rig.refused(4, ["up", "--detach"]).await;
    rig.set_team(&format!("{TEAM}ask = [\"Bash(ls:*)\"]\n{HOOK}"));
    rig.ok(["up", "--detach"]).await;
    assert_eq!(rig.read("run"), None);
}

#[tokio::test]
async fn on_a_terminal_the_person_is_asked_and_no_answer_is_no() {
    let rig = Rig::with_team(&format!("{TEAM}{HOOK}"));
    for (answer, code) in [("\r", 4), ("yes\r", 0)] {
        let mut screen = rig.on_terminal(["up", "--detach"]);
        screen.until("hook teammate_idle runs touch ran").await;
        screen.until("Trust this? [y/N]").await;
        screen.type_in(answer).await;
        let (ended, seen) = screen.end().await;
        assert_eq!(ended, code, "{seen}");
    }
    until("the hook to run", async || rig.read("ran")).await;
}
