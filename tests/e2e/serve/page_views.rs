//! The views of the page, its accessibility, and its speed with a large team, in Chromium. Skipped like `page`.

use std::path::Path;

use agent_team_tests::until;
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;

use super::client::Service;
use super::page::{Browser, team};
use crate::agents::rig_with_requests;
use crate::report::allow_until_answered;
use agent_team_tests::Rig;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};

/// A text that becomes an image if it is read as markup.
const IMAGE: &str = "<img src=x onerror=\"document.title='taken'\">";

/// A team whose lead has written a file with the permission of the user, with a goal that is answered.
async fn finished() -> (FakeModelServer, Rig, Service) {
    let call = Reply::call("write", json!({"path": "out.txt", "content": "hello\n"}));
    let (server, rig, service) = team(call).await;
    let goal = json!({"goal": "Greet"});
    service.post("/api/v1/goal", &goal).await.expect(200);
    allow_until_answered(&rig).await;
    (server, rig, service)
}

#[tokio::test]
async fn each_view_has_a_link() {
    let Some(browser) = Browser::start(800, true).await else {
        return;
    };
    let (_server, _rig, service) = finished().await;
    browser.open_at(&service, "/?view=decisions").await;
    browser.until_text("lead: write out.txt").await;
    browser.until_text("allowed").await;
    browser.assert_fits().await;
    browser
        .open_at(&service, "/?view=changes&member=lead")
        .await;
    browser.until_text("Changes of lead").await;
    browser.until_text("+hello").await;
    browser.assert_fits().await;
    let timeline = Locator::LinkText("Timeline");
    browser
        .page
        .find(timeline)
        .await
        .unwrap()
        .click()
        .await
        .unwrap();
    browser.until_text("asks for permission, P-1").await;
    browser.until_text("the goal is answered").await;
    browser.assert_fits().await;
    browser.page.back().await.unwrap();
    browser.until_text("Changes of lead").await;
    browser.page.refresh().await.unwrap();
    browser.until_text("Changes of lead").await;
    browser.assert_no_errors().await;
}

#[tokio::test]
async fn the_player_shows_an_earlier_moment() {
    for (width, dark) in [(1440, false), (360, true)] {
        let Some(browser) = Browser::start(width, dark).await else {
            return;
        };
        play(&browser).await;
    }
}

async fn play(browser: &Browser) {
    let (_server, _rig, service) = finished().await;
    let task = json!({"title": "a later task", "role": "architect"});
    service.post("/api/v1/tasks", &task).await.expect(200);
    let claim = json!({"task": "T-1"});
    service
        .post("/api/v1/tasks/claim", &claim)
        .await
        .expect(200);
    let release = "/api/v1/tasks/T-1/release";
    service.post(release, &json!({})).await.expect(200);
    browser.open_at(&service, "/?view=timeline").await;
    browser.until_text("pending again: T-1 a later task").await;
    let first = "const range = document.querySelector('input[type=range]'); range.value = range.min;\
        range.dispatchEvent(new Event('input', {bubbles: true})); range.focus()";
    browser.script(first).await;
    browser.until_text("Back to now").await;
    browser.until_no_text("the goal is answered").await;
    browser.until_no_text("a later task").await;
    // The keys of the slider move from event to event.
    for _ in 0..100 {
        browser.keys(char::from(Key::Right).to_string()).await;
        let text = browser.script("return document.body.innerText").await;
        if text.as_str().unwrap().contains("the goal is answered") {
            break;
        }
    }
    let board = "return document.querySelector('.board')?.innerText ?? ''";
    browser.until_text("the goal is answered").await;
    assert_eq!(browser.script(board).await, "");
    until("the claimed task", async || {
        browser.click("Next event").await;
        let column = browser.script(board).await;
        let column = column.as_str()?;
        (column.contains("T-1") && column.contains("user")).then_some(())
    })
    .await;
    until("the released task", async || {
        browser.click("Next event").await;
        let column = browser.script(board).await;
        (!column.as_str()?.contains("user")).then_some(())
    })
    .await;
    assert!(
        browser
            .script(board)
            .await
            .as_str()
            .unwrap()
            .contains("T-1")
    );
    until("the time before the task", async || {
        browser.click("Previous event").await;
        (browser.script(board).await == "").then_some(())
    })
    .await;
    // Playback ends at the present.
    browser.click("Play").await;
    browser.until_text("Pause").await;
    browser.until_text("a later task").await;
    browser.until_no_text("Back to now").await;
    browser.assert_fits().await;
    browser.assert_no_errors().await;
}

#[tokio::test]
async fn keys_reach_views_members_and_decisions() {
    let Some(browser) = Browser::start(1440, false).await else {
        return;
    };
    let call = Reply::call("write", json!({"path": "out.txt", "content": "hello\n"}));
    let (_server, rig, service) = team(call).await;
    browser.open(&service).await;
    browser.until_text("Nothing waits for you.").await;
    for (key, text) in [
        ("2", "Events"),
        ("3", "No task depends on another task."),
        ("4", "Select a member."),
        ("5", "No request was decided."),
        ("1", "Nothing waits for you."),
    ] {
        browser.keys(key).await;
        browser.until_text(text).await;
    }
    let goal = json!({"goal": "Greet"});
    service.post("/api/v1/goal", &goal).await.expect(200);
    browser.until_text("+hello").await;
    // A word that is typed beside its field allows nothing, although `j` has given the focus to the card.
    browser.keys("just ").await;
    let allow = "return document.querySelectorAll('[data-key=y]:not(:disabled)').length";
    let can_allow = async || (browser.script(allow).await == 1).then_some(());
    until("a card that can be allowed", can_allow).await;
    // The time after which `y` allows the card that has got the focus.
    browser.script("window.start = performance.now()").await;
    until("half a second", async || {
        let passed = browser
            .script("return performance.now() - start > 500")
            .await;
        (passed == true).then_some(())
    })
    .await;
    browser.keys("yes").await;
    assert_eq!(browser.script(allow).await, 1);
    browser.script("document.activeElement.blur()").await;
    browser.keys("j").await;
    // In the first moment, `y` does nothing.
    until("the file", async || {
        browser.keys("y").await;
        rig.read("out.txt")
    })
    .await;
    browser.until_text("It is finished.").await;
    let focus = "return document.activeElement.getAttribute('aria-label')";
    browser.keys("m").await;
    browser.keys("m").await;
    assert_eq!(browser.script(focus).await, "ada: conversation");
    browser.keys("M").await;
    assert_eq!(browser.script(focus).await, "lead lead: conversation");
    browser.keys("m").await;
    browser.keys(char::from(Key::Enter).to_string()).await;
    until("the focus on the conversation", async || {
        let id = browser.script("return document.activeElement.id").await;
        (id == "conversation").then_some(())
    })
    .await;
    browser.keys("/").await;
    // Typed digits are text.
    browser.keys("look at 2 lines").await;
    browser.keys(char::from(Key::Enter).to_string()).await;
    browser.until_text("I see it.").await;
    let messages = rig.json(["messages", "ada"]).await.to_string();
    assert!(messages.contains("look at 2 lines"), "{messages}");
    browser.keys(char::from(Key::Escape).to_string()).await;
    browser.keys("2").await;
    browser.until_text("Events").await;
    browser.assert_no_errors().await;
}

#[tokio::test]
async fn the_graph_shows_the_tasks_around_a_task() {
    let Some(browser) = Browser::start(390, false).await else {
        return;
    };
    let server = FakeModelServer::start(by_model([("lead", Vec::new())])).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach"]).await;
    let service = Service::start(&rig, &[]).await;
    for (title, after) in [
        (IMAGE, json!([])),
        ("second", json!(["T-1"])),
        ("third", json!(["T-2"])),
        ("apart", json!([])),
        ("alone", json!(["T-4"])),
    ] {
        let task = json!({"title": title, "after": after, "role": "architect"});
        service.post("/api/v1/tasks", &task).await.expect(200);
    }
    browser.open_at(&service, "/?view=graph").await;
    browser.until_text("T-5").await;
    browser.assert_fits().await;
    browser.open_at(&service, "/?view=graph&task=T-2").await;
    browser.until_text("Dependencies of T-2").await;
    let nodes =
        "return [...document.querySelectorAll('.node .id')].map((node) => node.textContent).sort()";
    assert_eq!(browser.script(nodes).await, json!(["T-1", "T-2", "T-3"]));
    let images = browser.script("return document.images.length").await;
    assert_eq!(images, 0);
    browser.assert_no_errors().await;
}

#[tokio::test]
async fn a_hidden_tab_counts_waiting_members() {
    let Some(browser) = Browser::start(800, false).await else {
        return;
    };
    let call = Reply::call("write", json!({"path": "out.txt", "content": "hello\n"}));
    let (_server, _rig, service) = team(call).await;
    browser.open(&service).await;
    browser.until_text("Nothing waits for you.").await;
    // A hidden tab has no frames.
    let hide = "Object.defineProperty(document, 'hidden', {value: true}); window.requestAnimationFrame = () => 0;";
    browser.script(hide).await;
    let goal = json!({"goal": "Greet"});
    service.post("/api/v1/goal", &goal).await.expect(200);
    until("the title", async || {
        (browser.script("return document.title").await == "(1) demo").then_some(())
    })
    .await;
}

#[tokio::test]
async fn other_fragments_do_not_replace_the_token() {
    let Some(browser) = Browser::start(800, false).await else {
        return;
    };
    let (_server, _rig, service) = team(Reply::text("Done.")).await;
    browser.open(&service).await;
    browser.until_text("Nothing waits for you.").await;
    browser.script("location.hash = 'members'").await;
    browser.page.refresh().await.unwrap();
    browser.until_text("Nothing waits for you.").await;
    let stored = browser
        .script("return sessionStorage.getItem('agent-team-token')")
        .await;
    assert_eq!(stored, service.token);
}

#[tokio::test]
async fn axe_finds_no_serious_violation() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../target/axe/node_modules/axe-core/axe.min.js");
    let Ok(axe) = std::fs::read_to_string(path) else {
        agent_team_tests::skipped(
            "axe-core is not installed: run cargo xtask test install-browser",
        );
        return;
    };
    for dark in [false, true] {
        let Some(browser) = Browser::start(1440, dark).await else {
            return;
        };
        let (_server, rig, service) = finished().await;
        rig.ok(["send", "lead", "hello"]).await;
        let task = json!({"title": "first", "role": "architect"});
        service.post("/api/v1/tasks", &task).await.expect(200);
        let task = json!({"title": "second", "after": ["T-1"], "role": "architect"});
        service.post("/api/v1/tasks", &task).await.expect(200);
        for (path, text) in [
            ("/?member=lead", "Conversation of lead"),
            ("/?view=timeline", "the goal is answered"),
            ("/?view=graph", "T-2"),
            ("/?view=changes&member=lead", "+hello"),
            ("/?view=decisions", "allowed"),
        ] {
            browser.open_at(&service, path).await;
            browser.until_text(text).await;
            browser.script(&axe).await;
            let run = "const done = arguments[arguments.length - 1];\
                axe.run().then(({violations}) => done(violations.filter(({impact}) => ['serious', 'critical'].includes(impact))\
                .map(({id, nodes}) => [id, nodes.map(({html}) => html)])), (error) => done(String(error)))";
            let found = browser.page.execute_async(run, Vec::new()).await;
            assert_eq!(found.expect("axe runs"), json!([]), "{path}, dark: {dark}");
        }
    }
}

/// Frames and blocking tasks of the page since the last call.
const MEASURE: &str = "const sorted = window.times.splice(0).sort((one, other) => one - other);\
    return {frames: sorted.length, p95: sorted[Math.floor(sorted.length * 0.95)], longest: Math.max(0, ...window.blocked.splice(0)),\
    elements: document.querySelectorAll('*').length}";

#[tokio::test]
async fn a_large_team_keeps_the_page_responsive() {
    let Some(browser) = Browser::start(1440, false).await else {
        return;
    };
    let (_server, _rig, service) = team(Reply::text("Done.")).await;
    let url = format!("http://{}/", service.address);
    browser.page.goto(&url).await.expect("the page opens");
    browser.until_text("Open the complete URL").await;
    // 100 members, 10,000 tasks, 10,000 stored events, and 200 further events per second.
    browser
        .script(include_str!("../../fixtures/page/large_team.js"))
        .await;
    browser
        .script(&format!("location.hash = '{}'", service.token))
        .await;
    for (view, text) in [
        ("Now", "10,000"),
        ("Timeline", "worked"),
        ("Graph", "T-1"),
        ("Decisions", "No request was decided."),
    ] {
        browser.until_text("live").await;
        let link = Locator::XPath("//nav[@aria-label='Views']//a");
        let links = browser.page.find_all(link).await.unwrap();
        for link in links {
            if link.text().await.unwrap().starts_with(view) {
                link.click().await.unwrap();
                break;
            }
        }
        browser.until_text(text).await;
        browser.script(MEASURE).await;
        let figures = until("300 frames", async || {
            let count = browser.script("return window.times.length").await;
            (count.as_u64()? >= 150).then_some(())?;
            Some(browser.script(MEASURE).await)
        })
        .await;
        eprintln!("{view}: {figures}");
        // The machine of a test can be busy; an idle machine needs less than 50 ms.
        assert!(figures["p95"].as_f64() < Some(100.0), "{view}: {figures}");
        assert!(
            figures["longest"].as_f64() < Some(500.0),
            "{view}: {figures}"
        );
        assert!(
            figures["elements"].as_u64() < Some(3_000),
            "{view}: {figures}"
        );
    }
    browser.assert_no_errors().await;
}
