//! Tokens and cost of external agents, and the limits that stop them. `fake_acp_agent` reports 4,200 tokens and 0.25
//! dollars for each `fake:spend`.

use agent_team_protocol::view::{MemberState, Waiting};
use agent_team_tests::Rig;

use crate::external::{rig, rig_of, until_logged};

async fn until_spent(rig: &Rig, micro_usd: u64) {
    rig.until_member("ada", |ada| {
        ada.usage.micro_usd == micro_usd && ada.state == MemberState::Idle
    })
    .await;
}

#[tokio::test]
async fn usage_of_an_external_agent_is_counted_once() {
    let rig = rig("");
    rig.ok(["up", "--detach"]).await;
    for spent in [250_000, 500_000] {
        rig.ok(["send", "ada", "fake:spend"]).await;
        until_spent(&rig, spent).await;
    }
    let usage = rig.member("ada").await.usage;
    assert_eq!(
        (usage.input, usage.output, usage.cached),
        (8_000, 400, 6_000)
    );
    assert_eq!(usage.unpriced, 0);
    let ps = rig.ok(["ps"]).await.stdout;
    assert!(ps.contains("8.4k") && ps.contains("$0.50"), "{ps}");
    let stats = rig.json(["stats"]).await;
    assert_eq!(stats["total"]["tokens_in"], 8_000, "{stats}");
    // A restarted agent counts its session from zero: the supervisor keeps the counted cost, and counts no cost twice.
    rig.ok(["restart", "ada"]).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["send", "ada", "fake:spend"]).await;
    until_spent(&rig, 750_000).await;
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_limit_of_tokens_blocks_an_external_agent_after_its_turn() {
    let rig = rig("limits.tokens = 5_000\n");
    rig.ok(["up", "--detach"]).await;
    for _ in 0..2 {
        rig.until_member_is("ada", MemberState::Idle).await;
        rig.ok(["send", "ada", "fake:spend"]).await;
        rig.until_member("ada", |ada| ada.unread == 0).await;
    }
    rig.until_member("ada", |ada| ada.usage.tokens() == 8_400)
        .await;
    rig.ok(["send", "ada", "ping"]).await;
    let ada = rig.until_member_is("ada", MemberState::Waiting).await;
    assert!(
        matches!(ada.waiting, Some(Waiting::Budget { .. })),
        "{ada:?}"
    );
    assert_eq!(ada.unread, 1, "the message is not delivered");
    rig.ok(["config", "set", "members.ada.limits.tokens", "100000"])
        .await;
    until_logged(&rig, "pong").await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_limit_in_dollars_cuts_the_turn_of_an_external_agent() {
    let rig = rig("limits.usd = 1.0\n");
    rig.ok(["up", "--detach"]).await;
    // The agent continues until its turn is cancelled.
    rig.ok(["send", "ada", "fake:burn"]).await;
    let ada = rig
        .until_member("ada", |ada| {
            matches!(ada.waiting, Some(Waiting::Budget { .. })) && ada.usage.micro_usd == 2_000_000
        })
        .await;
    assert_eq!(ada.state, MemberState::Waiting);
    until_logged(&rig, "… waits: ").await;
    // With a higher limit, the agent continues.
    rig.ok(["config", "set", "members.ada.limits.usd", "10"])
        .await;
    rig.until_member_is("ada", MemberState::Idle).await;
    rig.ok(["down"]).await;
}

#[tokio::test]
async fn a_dollar_limit_needs_an_agent_that_reports_its_cost() {
    let (rig, _programs) = rig_of("gemini", "gemini", "limits.usd = 1.0\n");
    let error = rig.refused(2, ["up", "--detach"]).await;
    let text = error["message"].as_str().unwrap();
    assert!(
        text.contains("gemini, the agent of ada, does not report its cost"),
        "{text}"
    );
    assert_eq!(rig.processes(), [], "nothing was started");
}

#[tokio::test]
async fn a_token_limit_needs_an_agent_that_reports_its_tokens() {
    for limit in ["limits.tokens = 1000\n", "[limits]\ntokens = 1000\n"] {
        let (rig, _programs) = rig_of("claude", "claude", limit);
        let refused = rig.run(["up", "--detach"]).await.expect(2);
        let expected = "error: cannot apply limits.tokens: claude, the agent of ada, does not report its tokens\n  \
                        hint: use limits.minutes; or";
        assert!(refused.stderr.starts_with(expected), "{}", refused.stderr);
        let (rig, _programs) = rig_of("qwen", "qwen", limit);
        rig.ok(["up", "--dry-run"]).await;
    }
}
