//! Images and PDFs in results, in each API. The server enforces the rules of `fake_media`.

use agent_team_llm::{Answer, Item, Media, MediaKind, Stop, ToolCall, ToolResult};
use agent_team_tests::fake_media::media;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply};

use crate::{answer, input, model_at, tool};

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n image";
const PNG_BASE64: &str = "iVBORw0KGgogaW1hZ2U=";
const PDF: &[u8] = b"%PDF-1.7 text";
const PDF_BASE64: &str = "JVBERi0xLjcgdGV4dA==";

/// A conversation in which the model read these files.
fn conversation(files: Vec<Media>) -> Vec<Item> {
    let call = ToolCall {
        id: "c1".to_owned(),
        name: "read".to_owned(),
        input: r#"{"path":"shot.png"}"#.to_owned(),
    };
    let result = ToolResult {
        id: "c1".to_owned(),
        text: "shot.png: image/png".to_owned(),
        media: files,
        ..ToolResult::default()
    };
    vec![
        input("Look"),
        Item::Answered(Answer {
            calls: vec![call],
            stop: Stop::Calls,
            ..Answer::default()
        }),
        Item::Returned {
            results: vec![result],
        },
        input("What is it?"),
    ]
}

/// A server that refuses requests that break a rule.
fn server() -> impl Future<Output = FakeModelServer> {
    FakeModelServer::start(|request| match media(request) {
        Ok(_) if request.path.ends_with("/responses") => Reply::events(&[
            r#"{"type":"response.output_item.done","output_index":0,"item":{"type":"message","role":"assistant","content":[{"type":"output_text","text":"ok"}]}}"#,
            r#"{"type":"response.completed","response":{"usage":{}}}"#,
        ]),
        Ok(_) => Reply::text("ok"),
        Err(why) => Reply::error(400, &why),
    })
}

fn stored(directory: &std::path::Path) -> Vec<Media> {
    let store = |kind, name: &str, bytes| {
        Media::store(kind, name, bytes, directory).expect("a valid value")
    };
    vec![
        store(MediaKind::Png, "shot.png", PNG),
        store(MediaKind::Pdf, "paper.pdf", PDF),
    ]
}

#[tokio::test]
async fn images_and_pdfs_have_the_form_of_each_api() {
    let directory = tempfile::tempdir().expect("a valid value");
    let items = conversation(stored(directory.path()));
    let png = ("image/png".to_owned(), PNG_BASE64.to_owned());
    let pdf = ("application/pdf".to_owned(), PDF_BASE64.to_owned());
    for (name, expected) in [
        ("anthropic/claude-opus-4-5", vec![png.clone(), pdf.clone()]),
        ("openai/gpt-4.1", vec![png.clone(), pdf.clone()]),
        ("openai/gpt-5.4", vec![png.clone(), pdf.clone()]),
        (
            "openrouter/anthropic/claude-opus-4.5",
            vec![png.clone(), pdf],
        ),
        ("gemini/gemini-2.5-pro", vec![png]),
        // The catalogue does not contain this model, so images are not sent to it.
        ("openai/unknown", vec![]),
    ] {
        let server = server().await;
        let (answered, _) = answer(&*model_at(name, &server), &items, &[tool("read")]).await;
        assert!(answered.is_ok(), "{name}: {answered:?}");
        let [request] = &server.requests()[..] else {
            panic!("{name}: not one request")
        };
        assert_eq!(media(request).expect("a valid value"), expected, "{name}");
        let hidden = request
            .body
            .to_string()
            .matches("is not shown in this request")
            .count();
        assert_eq!(hidden, 2 - expected.len(), "{name}");
        assert!(
            request.body.to_string().contains("What is it?"),
            "{name}: {}",
            request.body
        );
    }
}

#[tokio::test]
async fn an_attached_image_belongs_to_the_input() {
    let directory = tempfile::tempdir().expect("a valid value");
    let media_of_input = stored(directory.path());
    let shown = Item::Shown {
        media: media_of_input,
    };
    let items = [input("Look at @shot.png"), shown, input("Please")];
    for name in [
        "anthropic/claude-opus-4-5",
        "openai/gpt-4.1",
        "openai/gpt-5.4",
    ] {
        let server = server().await;
        let (answered, _) = answer(&*model_at(name, &server), &items, &[]).await;
        assert!(answered.is_ok(), "{name}: {answered:?}");
        let request = &server.requests()[0];
        assert_eq!(media(request).expect("a valid value").len(), 2, "{name}");
        let body = request.body.to_string();
        let order = [
            "Look at",
            "Attached: shot.png, paper.pdf",
            PNG_BASE64,
            "Please",
        ];
        let places = order.map(|part| body.find(part).expect(part));
        assert!(places.is_sorted(), "{name}: {body}");
    }
}

#[tokio::test]
async fn a_refused_image_is_not_sent_again() {
    let directory = tempfile::tempdir().expect("a valid value");
    let items = conversation(stored(directory.path()));
    let server =
        FakeModelServer::start(
            |request| match media(request).expect("a valid value").is_empty() {
                true => Reply::text("ok"),
                false => Reply::error(400, "Could not process image"),
            },
        )
        .await;
    let model = model_at("anthropic/claude-opus-4-5", &server);
    for requests in [2, 3] {
        let (answered, _) = answer(&*model, &items, &[tool("read")]).await;
        assert_eq!(answered.expect("a valid value").text, "ok");
        assert_eq!(server.requests().len(), requests);
    }
}

#[tokio::test]
async fn other_refusals_of_images_are_repeated_without_them() {
    let directory = tempfile::tempdir().expect("a valid value");
    let items = conversation(stored(directory.path()));
    // The files need not be the cause of a failure of the server, so they are sent again.
    for (status, requests) in [(403, 3), (404, 3), (413, 4), (500, 4)] {
        let server = FakeModelServer::start(move |request| {
            match media(request).expect("a valid value").is_empty() {
                true => Reply::text("ok"),
                false => Reply::error(status, "No endpoints found that support image input"),
            }
        })
        .await;
        let model = model_at("anthropic/claude-opus-4-5", &server);
        for _ in 0..2 {
            let (answered, _) = answer(&*model, &items, &[tool("read")]).await;
            assert_eq!(answered.expect("a valid value").text, "ok", "{status}");
        }
        assert_eq!(server.requests().len(), requests, "{status}");
    }
}

#[tokio::test]
async fn the_first_error_counts_if_requests_without_images_fail() {
    let directory = tempfile::tempdir().expect("a valid value");
    let items = conversation(stored(directory.path()));
    let server =
        FakeModelServer::start(
            |request| match media(request).expect("a valid value").is_empty() {
                true => Reply::error(400, "second"),
                false => Reply::error(404, "first"),
            },
        )
        .await;
    let model = model_at("anthropic/claude-opus-4-5", &server);
    let (answered, _) = answer(&*model, &items, &[tool("read")]).await;
    let error = answered.expect_err("a refusal").to_string();
    assert!(error.contains("first"), "{error}");
}

#[tokio::test]
async fn only_new_files_are_left_out_after_a_refusal() {
    let directory = tempfile::tempdir().expect("a valid value");
    let [png, pdf] = &stored(directory.path())[..] else {
        panic!("not two files");
    };
    let mut items = conversation(vec![png.clone()]);
    items.extend(conversation(vec![pdf.clone()]));
    let server = FakeModelServer::start(|request| {
        let files = media(request).expect("a valid value");
        match files.iter().any(|(mime, _)| mime == "application/pdf") {
            true => Reply::error(400, "Could not process PDF"),
            false => Reply::text("ok"),
        }
    })
    .await;
    let model = model_at("anthropic/claude-opus-4-5", &server);
    for requests in [2, 3] {
        let (answered, _) = answer(&*model, &items, &[tool("read")]).await;
        assert_eq!(answered.expect("a valid value").text, "ok");
        assert_eq!(server.requests().len(), requests);
        let last = media(&server.requests()[requests - 1]).expect("a valid value");
        assert_eq!(last, [("image/png".to_owned(), PNG_BASE64.to_owned())]);
    }
}

#[tokio::test]
async fn the_title_of_hidden_files_is_plain_text() {
    let directory = tempfile::tempdir().expect("a valid value");
    let files = stored(directory.path());
    let mut items = conversation(Vec::new());
    items.pop();
    items.push(Item::Shown { media: files });
    for (name, role) in [("mistral/m", "tool"), ("openai/unknown", "user")] {
        let server = server().await;
        let (answered, _) = answer(&*model_at(name, &server), &items, &[tool("read")]).await;
        assert!(answered.is_ok(), "{name}: {answered:?}");
        let requests = server.requests();
        let last = requests[0].messages().last().expect("a message");
        assert_eq!(last["role"], role, "{name}");
        let content = last["content"].as_str().expect("a text");
        assert!(
            content.contains("Attached: shot.png (not shown"),
            "{content}"
        );
    }
}

#[tokio::test]
async fn a_changed_or_missing_file_is_not_sent() {
    let directory = tempfile::tempdir().expect("a valid value");
    let files = stored(directory.path());
    std::fs::write(&files[0].file, b"\x89PNG\r\n\x1a\n other").expect("a valid value");
    std::fs::remove_file(&files[1].file).expect("a valid value");
    let server = server().await;
    let model = model_at("anthropic/claude-opus-4-5", &server);
    let (answered, _) = answer(&*model, &conversation(files), &[tool("read")]).await;
    answered.expect("a valid value");
    assert_eq!(media(&server.requests()[0]).expect("a valid value"), []);
}

#[test]
fn a_transcript_contains_a_reference_and_an_old_one_loads() {
    let directory = tempfile::tempdir().expect("a valid value");
    let image = vec![0x89; 300_000];
    let media =
        Media::store(MediaKind::Png, "a.png", &image, directory.path()).expect("a valid value");
    Media::store(MediaKind::Png, "b.png", &image, directory.path()).expect("a valid value");
    assert_eq!(
        std::fs::read_dir(directory.path())
            .expect("a valid value")
            .count(),
        1
    );
    let items = conversation(vec![media]);
    let json = serde_json::to_string(&items).expect("a valid value");
    assert!(json.len() < 2_000, "{}", json.len());
    assert_eq!(
        serde_json::from_str::<Vec<Item>>(&json).expect("a valid value"),
        items
    );
    let old = r#"{"kind":"returned","results":[{"id":"1","text":"x"}]}"#;
    let Item::Returned { results } = serde_json::from_str(old).expect("a valid value") else {
        panic!("{old}");
    };
    assert!(results[0].media.is_empty());
}
