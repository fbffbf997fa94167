//! The screen of a terminal program on the page, in Chromium. Skipped like `page`.

use agent_team_tests::Rig;
use fantoccini::Locator;

use super::client::Service;
use super::page::Browser;

#[tokio::test]
async fn the_page_shows_the_screen_of_a_program() {
    for (width, dark) in [(390, true), (1440, false)] {
        let Some(browser) = Browser::start(width, dark).await else {
            return;
        };
        let rig = Rig::with_team(
            "name = \"demo\"\n[panes]\nplacement = \"headless\"\n[[member]]\nname = \"ada\"\n\
             engine = { terminal = [\"sh\", \"show.sh\"] }\n",
        );
        rig.write(
            "show.sh",
            "printf '\\033[31mred \\033[38;2;1;2;3m<img src=x onerror=alert(1)>\\033[m 日本 |\\n'; sleep 60\n",
        );
        rig.ok(["up", "--detach"]).await;
        let service = Service::start(&rig, &[]).await;
        browser.open_at(&service, "/?member=ada").await;
        browser.until_text("<img src=x onerror=alert(1)>").await;
        let screen = browser.page.find(Locator::Css(".screen")).await.unwrap();
        let label = screen.attr("aria-label").await.unwrap();
        assert_eq!(label.as_deref(), Some("Screen of ada, read-only"));
        let styles = "return [...document.querySelectorAll('.screen .row:first-child span')].map((run) =>\
            [run.textContent, run.className, run.style.color])";
        let runs = browser.script(styles).await;
        assert_eq!(runs[0][1], "fg1", "{runs}");
        assert_eq!(runs[1][2], "rgb(1, 2, 3)", "{runs}");
        assert_eq!(browser.script("return document.images.length").await, 0);
        // The bar after two wide characters is in its column: 4 + 28 + 1 + 4 + 1 cells before it.
        let column = "const row = document.querySelector('.screen .row'); const bar = row.querySelector('span:last-of-type');\
            const cell = document.createElement('span'); cell.textContent = 'x'; row.append(cell);\
            const width = cell.getBoundingClientRect().width; cell.remove();\
            return [(bar.getBoundingClientRect().left - row.getBoundingClientRect().left) / width, bar.textContent]";
        let column = browser.script(column).await;
        assert!((column[0].as_f64().unwrap() - 37.0).abs() < 0.5, "{column}");
        browser.assert_fits().await;
        browser.assert_no_errors().await;
    }
}
