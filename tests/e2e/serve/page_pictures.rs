//! The page of a small team in three widths, light and dark, compared with the pictures of the documentation in
//! `docs/page`. `cargo xtask page-pictures` stores the pictures that this test takes. Skipped like `page`.

use std::path::{Path, PathBuf};

use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use fantoccini::Locator;
use serde_json::json;

use super::client::Service;
use super::page::Browser;

/// The directory in which the test stores the pictures, instead of comparing them.
const DIRECTORY: &str = "AGENT_TEAM_PAGE_PICTURES";

/// The width of a text in the font of the page, and its width in the pictures of the documentation, in pixels.
const TEXT_WIDTH: &str = "const context = new OffscreenCanvas(1, 1).getContext('2d');\
    context.font = '100px system-ui, sans-serif'; return Math.round(context.measureText('Waiting for you 0123').width)";
const TEXT_WIDTH_OF_PICTURES: u64 = 1046;

/// The share of the squares of 16 pixels whose mean colours differ between two pictures. Times change few of these
/// squares.
const DIFFERENCE: &str = "const [one, other, done] = arguments;\
    const load = async (base64) => {\
        const image = new Image();\
        image.src = 'data:image/png;base64,' + base64;\
        await image.decode();\
        const [width, height] = [image.width >> 4, image.height >> 4];\
        const context = new OffscreenCanvas(width, height).getContext('2d');\
        context.imageSmoothingQuality = 'high';\
        context.drawImage(image, 0, 0, width, height);\
        return { width, height, pixels: context.getImageData(0, 0, width, height).data };\
    };\
    Promise.all([load(one), load(other)]).then(([one, other]) => {\
        if (one.width !== other.width || one.height !== other.height) return done(1);\
        let squares = 0;\
        for (let at = 0; at < one.pixels.length; at += 4) {\
            const apart = [0, 1, 2].map((channel) => Math.abs(one.pixels[at + channel] - other.pixels[at + channel]));\
            if (Math.max(...apart) > 12) squares += 1;\
        }\
        done(squares / (one.width * one.height));\
    }, (error) => done(String(error)))";

/// The largest share of a picture that may differ from the picture of the documentation. The bars of the timeline have
/// other lengths in each run.
fn difference_max(name: &str) -> f64 {
    if name == "timeline" { 0.06 } else { 0.02 }
}

const TEAM: &str = "\
name = \"parser\"
mode = \"lead\"
[panes]
placement = \"headless\"
[lead]
model = \"openai/lead\"
[[member]]
name = \"ada\"
engine = \"native\"
model = \"openai/ada\"
[[member]]
name = \"ben\"
engine = \"native\"
model = \"openai/ben\"
";

/// A team in which ben's file was allowed, and ada asks before it edits a file.
async fn team() -> (FakeModelServer, Rig, Service) {
    let write =
        |path: &str, content: &str| Reply::call("write", json!({"path": path, "content": content}));
    let read = Reply::call("read", json!({"path": "src/lib.rs"}));
    let old = "    a - b";
    let edit = Reply::call(
        "edit",
        json!({"path": "src/lib.rs", "old": old, "new": "    a + b"}),
    );
    let complete = Reply::call(
        "complete_task",
        json!({"task": "T-1", "result": "The notes describe the parser."}),
    );
    let server = FakeModelServer::start(by_model([
        ("lead", vec![Reply::text("Ada repairs the parser.")]),
        ("ada", vec![read, edit]),
        (
            "ben",
            vec![
                write("NOTES.md", "# Parser\n\nIt adds two numbers.\n"),
                complete,
                Reply::text("Done."),
            ],
        ),
    ]))
    .await;
    let mut rig = Rig::with_team(TEAM);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig.write(
        "src/lib.rs",
        "pub fn add(a: u32, b: u32) -> u32 {\n    a - b\n}\n",
    );
    rig.ok(["up", "--detach"]).await;
    let service = Service::start(&rig, &[]).await;
    let add = async |title: &str, owner: &str, after: &[&str]| {
        let task = json!({"title": title, "for": owner, "after": after});
        service.post("/api/v1/tasks", &task).await.expect(200);
    };
    add("Describe the parser in the notes", "ben", &[]).await;
    request(&rig, "P-1").await;
    rig.ok(["requests", "allow", "P-1"]).await;
    until("the task of ben", async || {
        let task = rig.json(["task", "show", "T-1"]).await;
        (task["state"] == "completed").then_some(())
    })
    .await;
    add("Repair the sum", "ada", &["T-1"]).await;
    add("Test the sum", "ben", &["T-2"]).await;
    add("Publish the parser", "ben", &["T-3"]).await;
    request(&rig, "P-2").await;
    (server, rig, service)
}

async fn request(rig: &Rig, id: &str) {
    until(id, async || {
        let requests = rig.json(["requests", "list"]).await;
        (requests["requests"][0]["id"] == id).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_page_fits_in_each_width() {
    let directory = std::env::var_os(DIRECTORY).map(PathBuf::from);
    let mut team_with_service = None;
    for (width, dark) in [(1440, false), (1440, true), (800, false), (390, true)] {
        let Some(browser) = Browser::start(width, dark).await else {
            return;
        };
        if team_with_service.is_none() {
            team_with_service = Some(team().await);
        }
        let (_server, _rig, service) = team_with_service.as_ref().expect("a team");
        for (name, path, text) in [
            ("now", "/", "P-2"),
            ("timeline", "/?view=timeline", "P-1 allowed"),
            ("graph", "/?view=graph", "T-4"),
            (
                "changes",
                "/?view=changes&member=ben",
                "It adds two numbers.",
            ),
            ("decisions", "/?view=decisions", "allowed"),
        ] {
            browser.open_at(service, path).await;
            browser.until_text("live").await;
            browser.until_text(text).await;
            if name == "now" {
                let allow = Locator::Css("[aria-label='Allow once P-2']:enabled");
                let allow = browser.page.wait().for_element(allow).await;
                allow.expect("a card can be answered after a moment");
            }
            browser.assert_fits().await;
            let is_shown =
                name == "now" || (width == 1440 && ["timeline", "graph"].contains(&name));
            if is_shown {
                let theme = if dark { "dark" } else { "light" };
                let picture = browser.page.screenshot().await.expect("a picture");
                let file = format!("{name}-{width}-{theme}.png");
                match &directory {
                    Some(directory) => std::fs::write(directory.join(file), picture)
                        .expect("the picture is written"),
                    None => assert_similar(&browser, &file, &picture, difference_max(name)).await,
                }
            }
        }
        browser.assert_no_errors().await;
    }
}

/// Compares the picture with the picture of the documentation.
async fn assert_similar(browser: &Browser, file: &str, picture: &[u8], most: f64) {
    let known = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../docs/page")
        .join(file);
    let known = std::fs::read(known).expect("the picture of the documentation");
    // The policy of the page allows no script of another page.
    browser.page.goto("about:blank").await.expect("a page");
    let width = browser.script(TEXT_WIDTH).await;
    if width != TEXT_WIDTH_OF_PICTURES {
        agent_team_tests::skipped(&format!(
            "the pictures are not compared: this machine has other fonts (width {width})"
        ));
        return;
    }
    let pictures = [&known[..], picture].map(|bytes| json!(STANDARD.encode(bytes)));
    let difference = browser
        .page
        .execute_async(DIFFERENCE, pictures.to_vec())
        .await;
    let difference = difference.expect("the script runs");
    assert!(
        difference.as_f64().is_some_and(|share| share <= most),
        "{file} differs by {difference} from docs/page; if it should, run: cargo xtask page-pictures"
    );
}
