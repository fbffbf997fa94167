//! Measurements of the page of `agent-team serve` in Chromium, driven through chromedriver.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde_json::{Value, json};

use super::Bench;
use super::http::HttpClient;
use super::stats::Figure;
use super::table::{Row, Target, Unit};
use crate::run::wait;

/// The timeout of a condition.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// A page with one line of text, the limit of a first paint.
const ONE_LINE: &str = "data:text/html,<p>agent-team</p>";

/// The time of the first paint in milliseconds, and the size of the page's files as transferred, in bytes.
const LOADED: &str = "const paint = performance.getEntriesByName('first-contentful-paint')[0];\
    const [page] = performance.getEntriesByType('navigation');\
    const files = performance.getEntriesByType('resource').filter(({ name }) => !name.includes('/api/'));\
    const bytes = [page, ...files].reduce((sum, { encodedBodySize }) => sum + encodedBodySize, 0);\
    return paint ? { paint: paint.startTime, bytes } : null";

/// A team of 100 members with 10,000 tasks and 200 events per second. The test of the page also uses this team.
const LARGE_TEAM: &str = include_str!("../../../tests/fixtures/page/large_team.js");

/// The times of the frames since the last call, once there are enough of them.
const FRAMES: &str = "if (window.times.length < arguments[0]) return null;\
    const sorted = window.times.splice(0).sort((one, other) => one - other);\
    return { longest: sorted.at(-1), p95: sorted[Math.floor(sorted.length * 0.95)] }";

/// The number of attempts to start chromedriver. chromedriver listens on the same port with IPv4 and IPv6, and exits if
/// another process uses the port with one of them.
const STARTS_MAX: usize = 5;

/// chromedriver. Dropping this value kills its process group, which contains Chromium.
struct Driver(Child);

/// Chromium with one tab.
struct Browser {
    _driver: Driver,
    client: HttpClient,
    address: SocketAddr,
    session: String,
}

impl Driver {
    /// Starts chromedriver, and returns its port. `None`: chromedriver has exited.
    fn start() -> Result<(Self, Option<u16>)> {
        let mut driver = Command::new("chromedriver")
            .arg("--port=0")
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .map(Self)
            .context("cannot start chromedriver: run cargo xtask test install-browser")?;
        let output = driver.0.stdout.take().context("the output is a pipe")?;
        let port = BufReader::new(output).lines().find_map(|line| {
            let line = line.ok().filter(|line| line.contains("successfully"))?;
            let (_, port) = line.split_once("on port ")?;
            port.trim_end_matches('.').parse().ok()
        });
        Ok((driver, port))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        let leader = Pid::from_raw(self.0.id().cast_signed());
        let _gone = killpg(leader, Signal::SIGKILL);
        let _status = self.0.wait();
    }
}

impl Browser {
    fn start() -> Result<Self> {
        let started = (0..STARTS_MAX).find_map(|_| match Driver::start() {
            Ok((driver, Some(port))) => Some(Ok((driver, port))),
            Ok((_, None)) => None,
            Err(error) => Some(Err(error)),
        });
        let (driver, port) = started.context("chromedriver ends at its start")??;
        let address = (Ipv4Addr::LOCALHOST, port).into();
        let mut browser = Self {
            client: HttpClient::connect(address)?,
            _driver: driver,
            address,
            session: String::new(),
        };
        let options = json!({"args": ["--headless=new", "--no-sandbox", "--disable-gpu", "--window-size=1440,900"]});
        let capabilities = json!({"alwaysMatch": {"goog:chromeOptions": options}});
        let session = browser.post("", &json!({"capabilities": capabilities}))?;
        let id = session["sessionId"].as_str().context("no session")?;
        browser.session = format!("/{id}");
        Ok(browser)
    }

    fn post(&mut self, command: &str, body: &Value) -> Result<Value> {
        let body = body.to_string();
        let request = format!(
            "POST /session{}{command} HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            self.session,
            self.address,
            body.len()
        );
        let answered = self.client.exchange(&request)?;
        let mut answer: Value = serde_json::from_slice(&answered.body)?;
        Ok(answer["value"].take())
    }

    fn open(&mut self, url: &str) -> Result<()> {
        self.post("/url", &json!({ "url": url })).map(drop)
    }

    fn script(&mut self, script: &str, args: &[Value]) -> Result<Value> {
        self.post("/execute/sync", &json!({"script": script, "args": args}))
    }

    /// Runs the script until it returns a value.
    fn until(&mut self, script: &str, args: &[Value]) -> Result<Value> {
        let mut value = Value::Null;
        let is_ready = wait(LONGEST_WAIT, || {
            value = self.script(script, args)?;
            Ok(!value.is_null())
        })?;
        ensure!(is_ready, "the page does not become ready: {script}");
        Ok(value)
    }
}

/// Measures the page of a running service; `address` and `token` belong to this service.
pub(super) fn rows(bench: &Bench, address: SocketAddr, token: &str) -> Result<Vec<Row>> {
    let (mut paints, mut limits, mut sizes) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.pick(5, 3) {
        // The cache of a new browser contains no file of the page.
        let mut browser = Browser::start()?;
        let mut first_paint = |url: &str| -> Result<(f64, f64)> {
            browser.open(url)?;
            let loaded = browser.until(LOADED, &[])?;
            let number = |name: &str| loaded[name].as_f64().context("not a number");
            Ok((number("paint")?, number("bytes")?))
        };
        // The first page also starts the browser's renderer process.
        first_paint(ONE_LINE)?;
        limits.push(first_paint(ONE_LINE)?.0);
        let (paint, bytes) = first_paint(&format!("http://{address}/#{token}"))?;
        paints.push(paint);
        sizes.push(bytes / 1e3);
    }
    let mut rows = vec![
        Row::new(
            "the page, first contentful paint",
            Unit::Milliseconds,
            Figure::of(paints),
        )
        .limit("a page with one line", Figure::of(limits)),
        Row::new(
            "the page, size of its files as sent",
            Unit::Kilobytes,
            Figure::of(sizes),
        )
        .target(Target::AtMost(60.0)),
    ];
    let of_frames = frames(bench, address, token);
    rows.extend(of_frames.unwrap_or_else(|error| {
        vec![Row::not_measured(
            "frames of the page",
            format!("{error:#}"),
        )]
    }));
    Ok(rows)
}

/// The longest frames of the views with the most elements.
fn frames(bench: &Bench, address: SocketAddr, token: &str) -> Result<Vec<Row>> {
    let mut browser = Browser::start()?;
    browser.open(&format!("http://{address}/"))?;
    browser.script(LARGE_TEAM, &[])?;
    browser.script("location.hash = arguments[0]", &[token.into()])?;
    browser.until("return document.querySelector('.connection.live')", &[])?;
    let count = bench.pick(600, 150);
    let mut rows = Vec::new();
    let click = "for (const link of document.querySelectorAll('nav a')) if (link.textContent.startsWith(arguments[0])) link.click();\
        return document.querySelector('nav [aria-current]').textContent.startsWith(arguments[0]) || null";
    let previous = "const buttons = [...document.querySelectorAll('.player button')];\
        buttons.find(({ textContent }) => textContent === 'Previous event').click();\
        return document.querySelector('.board') !== null || null";
    for (view, step) in [
        ("Now", None),
        ("Timeline", None),
        ("Timeline", Some(previous)),
        ("Graph", None),
    ] {
        browser.until(click, &[view.into()])?;
        if let Some(step) = step {
            browser.until(step, &[])?;
        }
        // The frames until the view is complete.
        browser.until(FRAMES, &[150.into()])?;
        let frames = browser.until(FRAMES, &[count.into()])?;
        let moment = if step.is_some() { " at a moment" } else { "" };
        let longest = frames["longest"].as_f64().context("not a number")?;
        ensure!(longest > 0.0, "no frame was measured");
        rows.push(
            Row::new(
                format!("10,000 tasks, {view}{moment}, longest of {count} frames"),
                Unit::Milliseconds,
                Figure::of(vec![longest]),
            )
            .target(Target::AtMost(50.0))
            .note(format!(
                "95 % of the frames take at most {} ms",
                frames["p95"]
            )),
        );
    }
    Ok(rows)
}
