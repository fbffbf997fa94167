//! The page of a small team in three widths, light and dark. `cargo xtask page-pictures` stores what this test sees in
//! `docs/page`. Skipped like `page`.

use std::path::PathBuf;

use agent_team_tests::fake_model_server::{FakeModelServer, Reply, by_model};
use agent_team_tests::{Rig, until};
use fantoccini::Locator;
use serde_json::json;

use super::client::Service;
use super::page::Browser;

/// The directory for the pictures that the documentation shows. Without it, the test only looks at the page.
const DIRECTORY: &str = "AGENT_TEAM_PAGE_PICTURES";

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
    rig.set("OPENAI_API_KEY", "a-key-for-nobody");
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
            if let Some(directory) = directory.as_ref().filter(|_| is_shown) {
                let theme = if dark { "dark" } else { "light" };
                let picture = browser.page.screenshot().await.expect("a picture");
                let file = directory.join(format!("{name}-{width}-{theme}.png"));
                std::fs::write(&file, picture).expect("the picture is written");
            }
        }
        browser.assert_no_errors().await;
    }
}
