//! Tests of calls that only read, with the agents that ask agent-team about such calls.

use agent_team_protocol::method::{MemberInterrupt, OneMember};
use agent_team_protocol::view::MemberState;
use agent_team_tests::{Rig, until};

use super::agents::{Agent, CLAUDE, OPENCODE, QWEN, Team};

#[tokio::test]
async fn claude_reads_unrestricted_paths() {
    reads_what_no_rule_restricts(&CLAUDE).await;
}

#[tokio::test]
async fn opencode_reads_unrestricted_paths() {
    reads_what_no_rule_restricts(&OPENCODE).await;
}

#[tokio::test]
async fn qwen_reads_unrestricted_paths() {
    reads_what_no_rule_restricts(&QWEN).await;
}

async fn reads_what_no_rule_restricts(agent: &'static Agent) {
    let rules = "[permissions]\ndeny = [\"Read(keys/secret.txt)\"]\nask = [\"Read(asked.txt)\"]\n";
    let team = Team::new(agent, "headless", rules);
    let rig = &team.rig;
    let outside = team.programs.path().join("outside.txt");
    std::fs::write(&outside, "outside").expect("a file");
    for file in ["plain.txt", "asked.txt", "keys/secret.txt", "src/a.rs"] {
        rig.write(file, file);
    }
    rig.ok(["up", "--detach"]).await;
    let searched = "search keys/secret.txt";
    for (prompts, outcome) in [
        (["read plain.txt", "search src"], "it is read"),
        (["read keys/secret.txt", searched], agent.denied),
    ] {
        for (index, prompt) in prompts.iter().enumerate() {
            rig.ok(["send", "ada", prompt]).await;
            let logs = until_logged(rig, outcome, index + 1).await;
            assert!(!logs.contains("waits for permission"), "{prompt}: {logs}");
            rig.until_member_is("ada", MemberState::Idle).await;
        }
    }
    let outside = format!("read {}", outside.display());
    for prompt in ["read asked.txt", "search .", &outside] {
        rig.ok(["send", "ada", prompt]).await;
        team.until_asked().await;
        let member = "ada".parse().expect("a name");
        rig.ask::<MemberInterrupt>(OneMember { member }).await;
        team.until_nothing_asked().await;
        rig.until_member_is("ada", MemberState::Idle).await;
    }
}

/// Waits until the log contains the text this often.
async fn until_logged(rig: &Rig, text: &str, count: usize) -> String {
    until(&format!("{text:?} in the log"), async || {
        let logs = rig.ok(["logs", "ada"]).await.stdout;
        (logs.matches(text).count() >= count).then_some(logs)
    })
    .await
}
