//! Tests of `read`, and of the paths that tools may use.

use std::os::unix::fs::symlink;

use agent_team_llm::{MediaKind, MediaSupport};
use agent_team_tools::attached;
use serde_json::json;

use crate::context::{OUTPUT_MAX, Rig, utf8};

#[tokio::test]
async fn lines_are_numbered_and_ranges_can_be_read() {
    let rig = Rig::new();
    rig.put("a.txt", "one\ntwo\nthree\nfour");
    assert_eq!(
        rig.text("read", json!({"path": "a.txt"})).await,
        "     1\tone\n     2\ttwo\n     3\tthree\n     4\tfour\n(no newline at the end of the file)\n"
    );
    assert_eq!(
        rig.text("read", json!({"path": "./a.txt", "offset": 2, "limit": 2}))
            .await,
        "     2\ttwo\n     3\tthree\n(there are more lines: continue with offset 4)\n"
    );
    let past = rig
        .text("read", json!({"path": "a.txt", "offset": 9}))
        .await;
    assert!(past.contains("has only 4 lines"), "{past}");
    let absolute = rig.path("a.txt");
    assert!(
        rig.text("read", json!({"path": utf8(&absolute)}))
            .await
            .contains("one")
    );
    rig.put("empty", "");
    assert!(
        rig.text("read", json!({"path": "empty"}))
            .await
            .contains("empty")
    );
    rig.put("crlf", "a\r\nb\r\n");
    let crlf = rig.text("read", json!({"path": "crlf"})).await;
    assert!(
        crlf.starts_with("     1\ta\n     2\tb\n(") && crlf.contains("CR LF"),
        "{crlf}"
    );
}

#[tokio::test]
async fn a_long_file_is_read_page_by_page() {
    let rig = Rig::new();
    let lines: String = (1..=3000).map(|n| format!("line {n}\n")).collect();
    rig.put("long", lines);
    let mut next = 1;
    let mut pages = 0;
    loop {
        let text = rig
            .text("read", json!({"path": "long", "offset": next}))
            .await;
        assert!(
            text.starts_with(&format!("{next:>6}\tline {next}\n")),
            "{text}"
        );
        pages += 1;
        let Some(offset) = text.split("offset ").nth(1) else {
            break;
        };
        next = offset.trim_end_matches([')', '\n']).parse().unwrap();
    }
    assert!(pages > 1, "{pages}");
    rig.put("wide", "x".repeat(100_000));
    let wide = rig.text("read", json!({"path": "wide"})).await;
    assert!(wide.contains("line cut: it has 100000 bytes") && wide.len() < OUTPUT_MAX);
}

#[tokio::test]
async fn unreadable_files_have_a_hint() {
    let rig = Rig::new();
    rig.put("image", b"\x89PNG\0\0\0");
    let binary = rig.refusal("read", json!({"path": "image"})).await;
    assert!(binary.contains("binary (7 bytes)"), "{binary}");
    let huge = std::fs::File::create(rig.path("huge")).unwrap();
    huge.set_len(3 << 30).unwrap();
    let huge = rig.refusal("read", json!({"path": "huge"})).await;
    assert!(
        huge.contains("3221225472 bytes") && huge.contains("grep"),
        "{huge}"
    );
    let none = rig.refusal("read", json!({"path": "none/at/all"})).await;
    assert!(none.contains("does not exist"), "{none}");
    std::fs::create_dir(rig.path("src")).unwrap();
    let directory = rig.refusal("read", json!({"path": "src"})).await;
    assert!(
        directory.contains("directory") && directory.contains("glob"),
        "{directory}"
    );
    rig.put("latin", b"caf\xe9\n");
    assert!(
        rig.text("read", json!({"path": "latin"}))
            .await
            .contains("caf\u{fffd}")
    );
}

#[tokio::test]
async fn pipes_and_sockets_are_refused_without_blocking() {
    let rig = Rig::new();
    let fifo = rig.path("fifo");
    let made = std::process::Command::new("mkfifo")
        .arg(&fifo)
        .status()
        .unwrap();
    assert!(made.success());
    let _socket = std::os::unix::net::UnixListener::bind(rig.path("socket")).unwrap();
    for special in ["fifo", "socket"] {
        for (tool, input) in [
            ("read", json!({"path": special})),
            ("write", json!({"path": special, "content": "x"})),
            ("edit", json!({"path": special, "old": "a", "new": "b"})),
            ("grep", json!({"path": special, "pattern": "x"})),
        ] {
            let refusal = rig.refusal(tool, input).await;
            assert!(
                refusal.contains("not a regular file"),
                "{tool} {special}: {refusal}"
            );
        }
    }
    assert_eq!(
        rig.text("grep", json!({"pattern": "x"})).await,
        "(no match)\n"
    );
}

/// Paths that lead out of the project, to existing and to missing files, and invalid paths.
fn ways_out(rig: &Rig) -> Vec<String> {
    let secret = rig.outside("secret");
    std::fs::write(&secret, "secret\n").unwrap();
    std::fs::create_dir(rig.outside("elsewhere")).unwrap();
    symlink(&secret, rig.path("link")).unwrap();
    symlink("../secret", rig.path("relative")).unwrap();
    symlink(rig.outside("elsewhere"), rig.path("parent")).unwrap();
    symlink("parent", rig.path("grandparent")).unwrap();
    symlink(rig.outside("not there"), rig.path("dangling")).unwrap();
    // The name of this neighbouring directory starts with the project's name.
    std::fs::write(rig.outside("project2"), "secret\n").unwrap();
    let outside = |name: &str| utf8(&rig.outside(name)).to_owned();
    vec![
        "../secret".into(),
        "a/../../secret".into(),
        "../project2".into(),
        outside("secret"),
        outside("project2"),
        format!("{}/../secret", utf8(&rig.context.project)),
        "link".into(),
        "relative".into(),
        "parent/new".into(),
        "parent/deep/new".into(),
        "grandparent/new".into(),
        "dangling".into(),
        "/dev/null".into(),
        "/proc/self/environ".into(),
        String::new(),
        "a\0b".into(),
    ]
}

#[tokio::test]
async fn no_path_leads_out_of_the_project() {
    let rig = Rig::new();
    for path in ways_out(&rig) {
        for (tool, input) in [
            ("read", json!({"path": path})),
            ("write", json!({"path": path, "content": "x"})),
            ("edit", json!({"path": path, "old": "secret", "new": "x"})),
            ("grep", json!({"path": path, "pattern": "secret"})),
            ("glob", json!({"path": path, "pattern": "*"})),
            ("git_diff", json!({"path": path})),
        ] {
            let refusal = rig.refusal(tool, input).await;
            let why = ["outside the project", "symbolic link", "`path` is invalid"];
            assert!(
                why.iter().any(|why| refusal.contains(why)),
                "{tool} {path}: {refusal}"
            );
        }
    }
    assert_eq!(
        std::fs::read_to_string(rig.outside("secret")).unwrap(),
        "secret\n"
    );
    assert_eq!(
        std::fs::read_dir(rig.outside("elsewhere")).unwrap().count(),
        0
    );
    assert!(!rig.outside("not there").exists());
    // A search of the whole project does not follow these links either.
    assert_eq!(
        rig.text("grep", json!({"pattern": "secret"})).await,
        "(no match)\n"
    );
    assert_eq!(
        rig.text("glob", json!({"pattern": "*"})).await,
        "(no file matches)\n"
    );
}

#[tokio::test]
async fn a_link_within_the_project_is_followed() {
    let rig = Rig::new();
    rig.put("real/a.txt", "old\n");
    symlink(rig.path("real"), rig.path("alias")).unwrap();
    symlink("real/a.txt", rig.path("a")).unwrap();
    assert!(
        rig.text("read", json!({"path": "alias/a.txt"}))
            .await
            .contains("old")
    );
    rig.text("edit", json!({"path": "a", "old": "old", "new": "new"}))
        .await;
    assert_eq!(rig.content("real/a.txt"), "new\n");
    assert!(rig.path("a").is_symlink());
}

/// A rig with a model that accepts images. `documents`: whether the model accepts PDFs.
fn seeing(documents: Option<bool>) -> Rig {
    let mut rig = Rig::new();
    rig.context.media = MediaSupport {
        images: Some(true),
        documents,
    };
    rig
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n image \0";

#[tokio::test]
async fn images_and_pdfs_are_shown_to_a_model_that_accepts_them() {
    let rig = seeing(Some(true));
    for (name, bytes, kind) in [
        ("a.png", PNG, MediaKind::Png),
        ("a.jpg", b"\xff\xd8\xff\xe0 image", MediaKind::Jpeg),
        ("a.gif", b"GIF89a image", MediaKind::Gif),
        ("a.webp", b"RIFF\x10\0\0\0WEBPVP8 ", MediaKind::Webp),
        ("a.pdf", b"%PDF-1.7 text", MediaKind::Pdf),
        // The content decides, not the name.
        ("b.txt", PNG, MediaKind::Png),
    ] {
        rig.put(name, bytes);
        let output = rig.call("read", json!({ "path": name })).await.unwrap();
        let [media] = &output.media[..] else {
            panic!("{name}: {output:?}")
        };
        assert_eq!((media.kind, media.name.as_str()), (kind, name));
        assert_eq!(std::fs::read(&media.file).unwrap(), bytes);
        assert!(media.file.starts_with(&rig.context.outputs));
        assert_eq!(
            output.text,
            format!("{name}: {}, {} bytes", kind.mime(), bytes.len())
        );
    }
}

#[tokio::test]
async fn the_refusal_of_an_image_or_pdf_has_a_reason() {
    let rig = Rig::new();
    rig.put("a.png", PNG);
    let refusal = rig.refusal("read", json!({ "path": "a.png" })).await;
    assert!(
        refusal.contains("unknown whether openai/m accepts images")
            && refusal.contains("\"m\" = { vision = true } in [models.openai]"),
        "{refusal}"
    );
    let rig = seeing(Some(false));
    rig.put("a.pdf", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n");
    let refusal = rig.refusal("read", json!({ "path": "a.pdf" })).await;
    assert!(refusal.contains("openai/m accepts no PDFs"), "{refusal}");
}

#[tokio::test]
async fn a_text_that_begins_like_a_pdf_is_read_as_text() {
    let rig = seeing(Some(false));
    rig.put("a.txt", b"%PDF-1.7 is a version");
    let text = rig.text("read", json!({ "path": "a.txt" })).await;
    assert!(text.contains("%PDF-1.7 is a version"), "{text}");
}

#[tokio::test]
async fn a_huge_or_false_image_is_refused() {
    let rig = seeing(None);
    let huge = std::fs::File::create(rig.path("huge.png")).unwrap();
    std::io::Write::write_all(&mut &huge, PNG).unwrap();
    huge.set_len(100 << 20).unwrap();
    let refusal = rig.refusal("read", json!({ "path": "huge.png" })).await;
    assert!(
        refusal.contains("104857600 bytes; the limit for images is 3750000 bytes"),
        "{refusal}"
    );
    rig.put("false.png", b"\x89PNX\0\0 not an image");
    let refusal = rig.refusal("read", json!({ "path": "false.png" })).await;
    assert!(refusal.contains("binary"), "{refusal}");
    assert_eq!(std::fs::read_dir(&rig.context.outputs).unwrap().count(), 0);
}

#[tokio::test]
async fn files_named_in_a_message_are_attached_or_refused() {
    let rig = seeing(Some(true));
    rig.put("shot.png", b"\x89PNG\r\n\x1a\n image");
    rig.put("false.png", b"text");
    let outside = tempfile::tempdir().unwrap();
    let outside = outside.path().join("shot.PNG");
    std::fs::write(&outside, b"\x89PNG\r\n\x1a\n image").unwrap();
    let text = format!(
        "@ada, compare @shot.png, @false.png and @{}.",
        outside.display()
    );
    let attached = attached(&rig.context, &text, false).await;
    let names = attached.iter().map(|file| match file {
        Ok(media) => media.name.clone(),
        Err(why) => why.clone(),
    });
    let [shot, wrong, refused] = &names.collect::<Vec<_>>()[..] else {
        panic!("{attached:?}");
    };
    assert_eq!(shot, "shot.png");
    assert_eq!(
        wrong,
        "false.png does not exist, or is neither an image nor a PDF"
    );
    assert!(refused.contains("outside the project"), "{refused}");
}

#[tokio::test]
async fn a_typed_message_attaches_files_outside_the_project() {
    let rig = seeing(Some(true));
    let outside = tempfile::tempdir().unwrap();
    let shot = outside.path().join("shot.PNG");
    std::fs::write(&shot, b"\x89PNG\r\n\x1a\n image").unwrap();
    let link = outside.path().join("link.png");
    std::os::unix::fs::symlink(&shot, &link).unwrap();
    // The repository chose the target of this link.
    std::os::unix::fs::symlink(&shot, rig.path("hostile.png")).unwrap();
    let (shot, link) = (shot.display(), link.display());
    let text = format!("Compare @{shot}, @{link}, @hostile.png and @/dev/zero.");
    let found = attached(&rig.context, &text, true).await;
    let [Ok(first), Ok(second), Err(why)] = &found[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&*first.name, &*second.name), ("shot.PNG", "shot.PNG"));
    assert!(why.contains("leads out of the project"), "{why}");

    let unfinished = "@/ and @.. and @~/ and @~";
    assert_eq!(attached(&rig.context, unfinished, true).await, []);

    let found = attached(&rig.context, "Compare @~/shot.png", false).await;
    let [Err(why)] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(why.contains("is outside the project"), "{why}");
}
