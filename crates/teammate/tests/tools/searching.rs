//! `glob` and `grep`.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::bench::{OUTPUT_MAX, Rig};

fn project() -> Rig {
    let rig = Rig::new();
    rig.put(".gitignore", "target/\n*.log\n");
    rig.put("src/main.rs", "fn main() {\n    Hello();\n}\n");
    rig.put("src/deep/er/lib.rs", "// hello\nfn hello() {}\n");
    rig.put(".github/ci.yml", "hello: 1\n");
    rig.put(".git/HEAD", "hello\n");
    rig.put("target/out.rs", "hello\n");
    rig.put("a.log", "hello\n");
    rig.put("image.rs", b"hello\0hello\n");
    rig
}

#[tokio::test]
async fn files_are_found_by_their_paths_and_the_last_changed_is_first() {
    let rig = project();
    for (age, name) in [
        (20, "src/main.rs"),
        (10, "src/deep/er/lib.rs"),
        (30, "image.rs"),
    ] {
        let file = std::fs::File::options()
            .write(true)
            .open(rig.path(name))
            .unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(age))
            .unwrap();
    }
    for (input, expected) in [
        (
            json!({"pattern": "*.rs"}),
            "src/deep/er/lib.rs\nsrc/main.rs\nimage.rs\n",
        ),
        (json!({"pattern": "src/*.rs"}), "src/main.rs\n"),
        (
            json!({"pattern": "./src/**/*.rs"}),
            "src/deep/er/lib.rs\nsrc/main.rs\n",
        ),
        (json!({"pattern": "*.{yml,toml}"}), ".github/ci.yml\n"),
        (
            json!({"pattern": "*.rs", "path": "src/deep"}),
            "src/deep/er/lib.rs\n",
        ),
        (json!({"pattern": "HEAD"}), "(no file matches)\n"),
        (json!({"pattern": "*.log"}), "(no file matches)\n"),
    ] {
        assert_eq!(rig.text("glob", input.clone()).await, expected, "{input}");
    }
    let refusal = rig.refusal("glob", json!({"pattern": "a{b"})).await;
    assert!(refusal.contains("`pattern`"), "{refusal}");
    let refusal = rig
        .refusal("glob", json!({"pattern": "*", "path": "a.log"}))
        .await;
    assert!(refusal.contains("no directory"), "{refusal}");
}

#[tokio::test]
async fn lines_are_found_and_shown_with_their_places() {
    let rig = project();
    for (input, expected) in [
        (
            json!({"pattern": "hello"}),
            ".github/ci.yml:1:hello: 1\nsrc/deep/er/lib.rs:1:// hello\nsrc/deep/er/lib.rs:2:fn hello() {}\n",
        ),
        (
            json!({"pattern": "HELLO", "ignore_case": true, "glob": "*.rs", "files_only": true}),
            "src/deep/er/lib.rs\nsrc/main.rs\n",
        ),
        (
            json!({"pattern": "Hello", "path": "src/main.rs", "context": 1}),
            "src/main.rs-1-fn main() {\nsrc/main.rs:2:    Hello();\nsrc/main.rs-3-}\n--\n",
        ),
        (
            json!({"pattern": r"^fn \w+\(\) \{\}$"}),
            "src/deep/er/lib.rs:2:fn hello() {}\n",
        ),
        (json!({"pattern": "nowhere"}), "(no match)\n"),
    ] {
        assert_eq!(rig.text("grep", input.clone()).await, expected, "{input}");
    }
    let refusal = rig.refusal("grep", json!({"pattern": "a("})).await;
    assert!(refusal.contains("`pattern`"), "{refusal}");
    let refusal = rig
        .refusal("grep", json!({"pattern": "a", "path": "none"}))
        .await;
    assert!(refusal.contains("does not exist"), "{refusal}");
}

#[tokio::test]
async fn results_are_limited_and_say_so() {
    let rig = Rig::new();
    for n in 0..300 {
        rig.put(
            &format!("some/directory/with/a/long/name/{n:03}.txt"),
            "needle\nneedle\n",
        );
    }
    let found = rig
        .text("grep", json!({"pattern": "needle", "limit": 5}))
        .await;
    assert_eq!(found.matches(":needle").count(), 5, "{found}");
    assert!(found.contains("there may be more"), "{found}");
    let listed = rig.text("glob", json!({"pattern": "*.txt"})).await;
    assert!(
        listed.contains("more match: narrow the pattern"),
        "{listed}"
    );
    let full = rig
        .text("grep", json!({"pattern": "needle", "limit": 1000}))
        .await;
    assert!(full.len() <= OUTPUT_MAX && full.contains("there may be more"));
    rig.put("wide", format!("{}needle", "x".repeat(1 << 20)));
    let wide = rig
        .text("grep", json!({"pattern": "needle", "path": "wide"}))
        .await;
    assert!(wide.len() < 1000, "{wide}");
}
