//! The page in a real browser: Chromium, driven through chromedriver. Skipped with a printed reason where chromedriver is
//! not installed.

use std::io::ErrorKind;
use std::process::Stdio;

use agent_team_system::process::kill_group;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until, within};
use fantoccini::actions::{InputSource as _, KeyAction, KeyActions, MouseActions, PointerAction};
use fantoccini::{Client, ClientBuilder, Locator};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

use super::client::Service;
use crate::agents::rig_with_requests;

/// A browser with one tab of this width.
pub(super) struct Browser {
    pub(super) page: Client,
    port: u16,
    _driver: Driver,
}

/// chromedriver, the leader of a process group that contains Chromium. Dropping it kills the group: Chromium survives a
/// killed chromedriver.
struct Driver(Child);

impl Driver {
    /// Starts chromedriver on a free port. `None`: chromedriver has exited. chromedriver finds a free port of one
    /// address family and then uses the same port of the other family, which another process may use.
    async fn start() -> std::io::Result<Option<(Self, u16)>> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .stdout(Stdio::piped())
            .process_group(0)
            .spawn()
            .map(Self)?;
        let mut lines = BufReader::new(driver.0.stdout.take().expect("stdout is piped")).lines();
        while let Some(line) = lines.next_line().await? {
            let number = line.split("on port ").nth(1);
            if let Some(number) = number.filter(|_| line.contains("successfully")) {
                let port = number.trim_end_matches('.').parse().expect("a port");
                return Ok(Some((driver, port)));
            }
        }
        driver.0.wait().await?;
        Ok(None)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if let Some(leader) = self.0.id() {
            kill_group(leader).expect("the group can be killed");
        }
    }
}

impl Browser {
    /// `None`: chromedriver is not installed.
    pub(super) async fn start(width: u32, dark: bool) -> Option<Self> {
        let started = within("chromedriver", async {
            for _ in 0..5 {
                match Driver::start().await {
                    Ok(Some(started)) => return Some(started),
                    Ok(None) => {}
                    Err(error) if error.kind() == ErrorKind::NotFound => return None,
                    Err(error) => panic!("cannot start chromedriver: {error}"),
                }
            }
            panic!("chromedriver ends at its start")
        });
        let Some((driver, port)) = started.await else {
            agent_team_tests::skipped(
                "chromedriver is not installed: run cargo xtask test install-browser",
            );
            return None;
        };
        let mut arguments = vec!["--headless=new", "--no-sandbox", "--disable-gpu"];
        if dark {
            arguments.push("--blink-settings=preferredColorScheme=0");
        }
        let metrics = json!({"width": width, "height": 900, "pixelRatio": 1});
        let capabilities = json!({
            "goog:chromeOptions": {"args": arguments, "mobileEmulation": {"deviceMetrics": metrics}},
            "goog:loggingPrefs": {"browser": "ALL"},
        });
        let Value::Object(capabilities) = capabilities else {
            unreachable!("the capabilities are an object")
        };
        let page = ClientBuilder::new(hyper_util::client::legacy::connect::HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await;
        let page = page.expect("Chromium starts");
        Some(Self {
            page,
            port,
            _driver: driver,
        })
    }

    pub(super) async fn open(&self, service: &Service) {
        self.open_at(service, "/").await;
    }

    /// Opens this view of the page.
    pub(super) async fn open_at(&self, service: &Service, path: &str) {
        let url = format!("http://{}{path}#{}", service.address, service.token);
        self.page.goto(&url).await.expect("the page opens");
    }

    pub(super) async fn click(&self, name: &str) {
        let button = format!("//button[@aria-label='{name}' or normalize-space()='{name}']");
        until(&format!("the button {name}"), async || {
            let button = self.page.find(Locator::XPath(&button)).await.ok()?;
            button.is_enabled().await.ok()?.then_some(())?;
            button.click().await.ok()
        })
        .await;
    }

    pub(super) async fn script(&self, script: &str) -> Value {
        let value = self.page.execute(script, Vec::new()).await;
        value.expect("the script runs")
    }

    pub(super) async fn until_text(&self, text: &str) {
        until(text, async || {
            let shown = self.script("return document.body.innerText").await;
            shown.as_str()?.contains(text).then_some(())
        })
        .await;
    }

    pub(super) async fn until_no_text(&self, text: &str) {
        until(&format!("the end of {text:?}"), async || {
            let shown = self.script("return document.body.innerText").await;
            (!shown.as_str()?.contains(text)).then_some(())
        })
        .await;
    }

    /// Types keys into the element that has the focus.
    pub(super) async fn keys(&self, keys: impl AsRef<str>) {
        let mut actions = KeyActions::new("keyboard".to_owned());
        for value in keys.as_ref().chars() {
            actions = actions.then(KeyAction::Down { value });
            actions = actions.then(KeyAction::Up { value });
        }
        let performed = self.page.perform_actions(actions).await;
        performed.expect("the keys are typed");
    }

    /// Asserts that the page is not wider than its window.
    pub(super) async fn assert_fits(&self) {
        let widths = self
            .script("return [document.documentElement.scrollWidth, innerWidth]")
            .await;
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{widths}");
    }

    /// Asserts that the browser reported no error, and no violation of the content security policy.
    pub(super) async fn assert_no_errors(&self) {
        let session = self.page.session_id().await.expect("a session");
        let session = session.expect("a session");
        let body = r#"{"type":"browser"}"#;
        let request = format!(
            "POST /session/{session}/se/log HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
             Connection: close\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        );
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // chromedriver keeps the connection open.
        let mut answer = Vec::new();
        let log: Value = within("the log of the browser", async {
            loop {
                let read = stream.read_buf(&mut answer).await.expect("an answer");
                let text = String::from_utf8_lossy(&answer);
                let body = text.split_once("\r\n\r\n").map(|(_, body)| body);
                if let Some(log) = body.and_then(|body| serde_json::from_str(body).ok()) {
                    break log;
                }
                assert!(read > 0, "{text}");
            }
        })
        .await;
        let severe = |entry: &&Value| entry["level"] == "SEVERE" || entry["source"] == "security";
        let entries = log["value"].as_array().expect("a log");
        assert_eq!(entries.iter().find(severe), None, "{log}");
    }
}

/// A team whose lead makes this call, then finishes.
pub(super) async fn team(call: Reply) -> (FakeModelServer, Rig, Service) {
    let finish = Reply::call("finish", json!({"answer": "It is finished."}));
    let replies = [
        ("lead", vec![call, finish]),
        ("ada", vec![Reply::text("I see it.")]),
    ];
    let server = FakeModelServer::start(by_model(replies)).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach"]).await;
    let service = Service::start(&rig, &[]).await;
    (server, rig, service)
}

#[tokio::test]
async fn a_click_on_the_page_allows_a_request() {
    for (width, dark) in [(1440, true), (360, false)] {
        let Some(browser) = Browser::start(width, dark).await else {
            return;
        };
        allow_and_steer(&browser).await;
    }
}

async fn allow_and_steer(browser: &Browser) {
    let call = Reply::call("write", json!({"path": "out.txt", "content": "hello\n"}));
    let (_server, rig, service) = team(call).await;
    browser.open(&service).await;
    browser.until_text("Nothing waits for you.").await;
    assert_eq!(
        browser
            .script("return location.hash + document.cookie")
            .await,
        "",
        "the token is not in the address"
    );
    let goal = json!({"goal": "Greet"});
    service.post("/api/v1/goal", &goal).await.expect(200);
    browser.until_text("+hello").await;
    assert_eq!(
        browser.script("return document.title").await,
        "(1) demo",
        "the title counts what waits"
    );
    browser.assert_fits().await;
    browser.click("Allow once P-1").await;
    browser.until_text("Nothing waits for you.").await;
    assert_eq!(rig.until_written("out.txt").await, "hello");

    // The answer moves the members: a click during the move would hit another button.
    browser.until_text("It is finished.").await;
    browser.click("ada: conversation").await;
    let field = until("the prompt", async || {
        browser.page.find(Locator::Css("textarea")).await.ok()
    })
    .await;
    field.send_keys("look at out.txt").await.expect("keys");
    browser.click("Send").await;
    browser.until_text("I see it.").await;
    let messages = rig.json(["messages", "ada"]).await.to_string();
    assert!(messages.contains("look at out.txt"), "{messages}");
    browser.assert_no_errors().await;
}

#[tokio::test]
async fn the_page_shows_hostile_texts_as_text() {
    let Some(browser) = Browser::start(360, false).await else {
        return;
    };
    let image = "<img src=x onerror=\"document.title='taken'\">";
    let line = "x".repeat(50_000);
    let command = format!("echo \"{image}\u{1b}[2J\u{202e}gpj.exe\" > out.txt\n# {line}");
    let call = Reply::call("bash", json!({"command": command}));
    let (_server, rig, service) = team(call).await;
    browser.open(&service).await;
    browser.until_text("Nothing waits for you.").await;
    let goal = json!({"goal": format!("Greet {image}")});
    service.post("/api/v1/goal", &goal).await.expect(200);
    browser.until_text("Show the whole text to allow it.").await;
    browser.until_text(image).await;
    browser.until_text("\\u{202e}gpj.exe").await;
    let images = browser.script("return document.images.length").await;
    assert_eq!(images, 0);
    assert_eq!(browser.script("return document.title").await, "(1) demo");
    browser.assert_fits().await;
    // A key does not allow a request that is not shown in full; `n` asks for the reason.
    let keys = "const press = (key) => (document.activeElement ?? document.body)\
        .dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true})); press('j'); press('y'); press('n')";
    browser.script(keys).await;
    until("the field for the reason", async || {
        let focus = "return document.activeElement.getAttribute('aria-label')";
        (browser.script(focus).await == "Reason for the denial").then_some(())
    })
    .await;
    let field = browser.page.active_element().await.expect("a field");
    field.send_keys("too long").await.expect("keys");
    browser.click("Deny P-1").await;
    until("the denial", async || {
        let request = rig.json(["requests", "show", "P-1"]).await;
        (request["state"] == "denied" && request["reason"] == "too long").then_some(())
    })
    .await;
    assert_eq!(rig.read("out.txt"), None);
    browser.assert_no_errors().await;
}

/// Counts the requests for `/requests`, and holds their answers back while `window.isHeld` is true.
const HOLD_ANSWERS: &str = "const real = fetch; window.reads = 0; window.isHeld = arguments[0];\
    window.fetch = async (...call) => {\
        const answer = await real(...call);\
        if (!/[/]requests([?]|$)/.test(call[0])) return answer;\
        window.reads += 1;\
        while (window.isHeld) await new Promise((next) => setTimeout(next, 20));\
        return answer;\
    }";

/// Waits until the page has read the requests more than this number of times.
async fn until_reads(browser: &Browser, more_than: u64) -> u64 {
    until("a read of the requests", async || {
        let reads = browser.script("return window.reads").await.as_u64()?;
        (reads > more_than).then_some(reads)
    })
    .await
}

#[tokio::test]
async fn a_request_during_a_read_reaches_the_page() {
    let Some(browser) = Browser::start(1440, false).await else {
        return;
    };
    let call = Reply::call("write", json!({"path": "out.txt", "content": "hello\n"}));
    let (_server, rig, service) = team(call).await;
    browser.open(&service).await;
    // Once the page is live, it has read the requests for the first time.
    browser.until_text("live").await;
    browser.until_text("Nothing waits for you.").await;
    let hold = vec![json!(true)];
    let held = browser.page.execute(HOLD_ANSWERS, hold).await;
    held.expect("the script runs");
    rig.ok(["send", "ada", "hello"]).await;
    until_reads(&browser, 0).await;
    let goal = json!({"goal": "Greet"});
    service.post("/api/v1/goal", &goal).await.expect(200);
    until("the request", async || {
        let requests = rig.json(["requests", "list"]).await;
        requests["requests"][0]["id"].as_str().map(drop)
    })
    .await;
    // The page has received the event of the request once it shows the state that follows from it.
    browser.until_text("waiting").await;
    browser.script("window.isHeld = false").await;
    browser.until_text("+hello").await;
    browser.assert_no_errors().await;
}

#[tokio::test]
async fn a_click_reaches_the_card_that_was_pressed() {
    let Some(browser) = Browser::start(1440, false).await else {
        return;
    };
    let write = |path| Reply::call("write", json!({"path": path, "content": "hello\n"}));
    let replies = [
        ("lead", vec![write("lead.txt"), Reply::text("Done.")]),
        ("ada", vec![write("ada.txt"), Reply::text("Done.")]),
    ];
    let server = FakeModelServer::start(by_model(replies)).await;
    let rig = rig_with_requests(&server);
    rig.ok(["up", "--detach"]).await;
    let service = Service::start(&rig, &[]).await;
    browser.open(&service).await;
    browser.until_text("Nothing waits for you.").await;
    for (member, request) in [("lead", "P-1"), ("ada", "P-2")] {
        rig.ok(["send", member, "write"]).await;
        browser.until_text(request).await;
    }
    let hold = vec![json!(false)];
    let counted = browser.page.execute(HOLD_ANSWERS, hold).await;
    counted.expect("the script runs");
    let allow = until("the button", async || {
        let button = Locator::Css("[aria-label='Allow once P-2']:enabled");
        browser.page.find(button).await.ok()
    })
    .await;
    let press = MouseActions::new("mouse".to_owned())
        .then(PointerAction::MoveToElement {
            element: allow,
            duration: None,
            x: 0.0,
            y: 0.0,
        })
        .then(PointerAction::Down { button: 0 });
    browser.page.perform_actions(press).await.expect("a press");
    // Without P-1, P-2 moves to its place.
    rig.ok(["requests", "deny", "P-1"]).await;
    let reads = until_reads(&browser, 0).await;
    rig.ok(["send", "ada", "this causes another read"]).await;
    until_reads(&browser, reads).await;
    browser.page.release_actions().await.expect("a release");
    // The page is drawn again: it shows the decision, or the error of the request that sends it.
    browser.until_text("Nothing waits for you.").await;
    assert_eq!(rig.until_written("ada.txt").await, "hello");
    browser.assert_no_errors().await;
}
