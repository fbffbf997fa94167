//! The controls of the page that change the team: restart and kill of a member, and the stop of all.

use agent_team_protocol::method::{Nothing, TeamShow};
use agent_team_protocol::view::{MemberState, TeamState};
use agent_team_tests::fake_model_server::Reply;
use agent_team_tests::until;

use super::page::{Browser, team};

async fn until_cancel_has_the_focus(browser: &Browser) {
    until("the focus on Cancel", async || {
        let focused = browser.script("return document.activeElement.textContent");
        (focused.await == "Cancel").then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_page_restarts_and_kills_a_member_and_stops_the_team() {
    for (width, dark) in [(360, false), (1440, true)] {
        let Some(browser) = Browser::start(width, dark).await else {
            return;
        };
        restart_kill_and_stop(&browser).await;
    }
}

async fn restart_kill_and_stop(browser: &Browser) {
    let (_server, rig, service) = team(Reply::text("Done.")).await;
    rig.until_member_is("ada", MemberState::Idle).await;
    browser.open(&service).await;
    browser.until_text("Nothing waits for you.").await;

    let first = rig.member("ada").await.pid;
    browser.click("Restart ada").await;
    let second = until("another worker", async || {
        let ada = rig.member("ada").await;
        let is_other = ada.pid.is_some() && ada.pid != first;
        (is_other && ada.state == MemberState::Idle).then_some(ada.pid)
    })
    .await;

    // A kill needs a second click. The button that does nothing has the focus.
    browser.click("Kill ada").await;
    until_cancel_has_the_focus(browser).await;
    browser.click("Cancel").await;
    assert_eq!(rig.member("ada").await.pid, second);
    browser.click("Kill ada").await;
    until_cancel_has_the_focus(browser).await;
    // Other members have buttons with this text.
    let confirm = "document.querySelector('.member .confirm .danger').click()";
    browser.script(confirm).await;
    rig.until_member_is("ada", MemberState::Stopped).await;
    browser.until_text("stopped").await;

    browser.click("Stop all").await;
    until_cancel_has_the_focus(browser).await;
    let confirm = "document.querySelector('.head .confirm .danger').click()";
    browser.script(confirm).await;
    until("the team is down", async || {
        let team = rig.ask::<TeamShow>(Nothing {}).await;
        (team.state == TeamState::Down).then_some(())
    })
    .await;
    browser.assert_fits().await;
}
