//! The page and the picture of `report` in Chromium: nothing of a team becomes markup, and the page fits a phone.
//! Skipped like `page`.

use super::page::Browser;
use crate::report::finished;

#[tokio::test]
async fn the_report_is_a_page_without_scripts() {
    for (width, dark) in [(390, true), (1440, false)] {
        let Some(browser) = Browser::start(width, dark).await else {
            return;
        };
        let (_server, rig) = finished().await;
        rig.ok(["report", "--html", "r.html", "--svg", "r.svg"])
            .await;
        let open = async |name: &str| {
            let url = format!("file://{}", rig.project().join(name).display());
            browser.page.goto(&url).await.expect("the file opens");
        };
        open("r.html").await;
        browser.until_text("asks for permission, P-1").await;
        assert_eq!(browser.script("return document.title").await, "demo");
        let scripts = "return document.scripts.length + document.images.length";
        assert_eq!(browser.script(scripts).await, 0);
        let picture = "return document.querySelector('svg').getBoundingClientRect().height > 100";
        assert_eq!(browser.script(picture).await, true);
        browser.assert_fits().await;
        browser.assert_no_errors().await;
        // Chromium parses the picture as XML: an error would replace the root element.
        open("r.svg").await;
        let root = "return document.documentElement.getAttribute('data-by')";
        assert_eq!(browser.script(root).await, "agent-team report");
        let titles = "return [...document.querySelectorAll('g > title')].map((title) => title.textContent).join('\\n')";
        let titles = browser.script(titles).await;
        let titles = titles.as_str().unwrap();
        assert!(titles.contains("waits for the decision of P-1"), "{titles}");
        assert!(titles.contains("</pre></title><script>"), "{titles}");
    }
}
