//! Tests of `glob` and `grep`.

use std::time::{Duration, SystemTime};

use serde_json::json;

use crate::context::{OUTPUT_MAX, Rig};

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
async fn files_are_found_by_path_newest_first() {
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
    assert!(refusal.contains("not a directory"), "{refusal}");
}

#[tokio::test]
async fn lines_are_shown_with_path_and_number() {
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
async fn limited_results_have_a_note() {
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

#[tokio::test]
async fn an_irregular_ignore_file_is_skipped() {
    let rig = Rig::new();
    rig.put("a.rs", "hello\n");
    rig.put("b.log", "hello\n");
    rig.put("pipes/c.rs", "hello\n");
    rig.put("linked/d.rs", "hello\n");
    rig.put("large/e.rs", "hello\n");
    for pipe in [
        ".gitignore",
        ".ignore",
        "pipes/.gitignore",
        ".git/info/exclude",
    ] {
        std::fs::create_dir_all(rig.path(pipe).parent().unwrap()).unwrap();
        let mut mkfifo = std::process::Command::new("mkfifo");
        assert!(mkfifo.arg(rig.path(pipe)).status().unwrap().success());
    }
    std::fs::write(rig.outside("rules"), "*\n").unwrap();
    std::os::unix::fs::symlink(rig.outside("rules"), rig.path("linked/.gitignore")).unwrap();
    rig.put("large/.gitignore", "*\n".repeat(1 << 18));
    let all = "a.rs:1:hello\nb.log:1:hello\nlarge/.gitignore";
    let found = rig
        .text("grep", json!({"pattern": "hello|^\\*$", "limit": 3}))
        .await;
    assert!(found.starts_with(all), "{found}");
    for name in ["a.rs", "b.log", "c.rs", "d.rs", "e.rs"] {
        let found = rig.text("glob", json!({ "pattern": name })).await;
        assert!(found.trim_end().ends_with(name), "{found}");
    }
}

#[tokio::test]
async fn the_nearest_ignore_file_decides() {
    let rig = project();
    rig.put(".git/info/exclude", "private\n");
    rig.put("src/.gitignore", "!*.log\n");
    rig.put("src/kept.log", "needle\n");
    rig.put("private/x", "needle\n");
    rig.put("cut.log", "needle\n");
    rig.put(".ignore", "*.skip\n");
    rig.put("src/.gitignore", "!*.log\n!*.skip\n");
    rig.put("src/x.skip", "needle\n");
    // A nested repository has its own rules.
    rig.put("vendored/.git/HEAD", "x\n");
    rig.put("vendored/its.log", "needle\n");
    let found = rig.text("grep", json!({"pattern": "needle"})).await;
    assert_eq!(found, "src/kept.log:1:needle\nvendored/its.log:1:needle\n");
    let found = rig
        .text("grep", json!({"pattern": "needle", "path": "src"}))
        .await;
    assert_eq!(found, "src/kept.log:1:needle\n");
}

#[tokio::test]
async fn ignore_files_of_the_outer_repository_apply() {
    let rig = Rig::new();
    std::fs::create_dir(rig.outside(".git")).unwrap();
    std::fs::write(rig.outside(".gitignore"), "*.log\n").unwrap();
    rig.put("a.log", "needle\n");
    rig.put("a.rs", "needle\n");
    let found = rig.text("grep", json!({"pattern": "needle"})).await;
    assert_eq!(found, "a.rs:1:needle\n");
}

/// While the tools run, swaps a directory of the project with a link to a directory outside, as a sandboxed command
/// can. Before files were opened by descriptor, one call in fifteen read the file outside.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_link_swapped_for_a_directory_exposes_nothing() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

    use rustix::fs::{CWD, RenameFlags, renameat_with};

    const CALLS: usize = 400;
    let rig = Rig::new();
    std::fs::create_dir(rig.outside("keys")).unwrap();
    std::fs::write(rig.outside("keys/id"), "needle outside\n").unwrap();
    rig.put("around/x/id", "needle inside\n");
    for number in 0..20 {
        rig.put(&format!("around/a{number}/id"), "nothing\n");
    }
    std::os::unix::fs::symlink(rig.outside("keys"), rig.path("link")).unwrap();
    let (directory, link) = (rig.path("around/x"), rig.path("link"));
    let (stop, exchanges) = (
        Arc::new(AtomicBool::new(false)),
        Arc::new(AtomicU64::new(0)),
    );
    let racer = std::thread::spawn({
        let (stop, exchanges) = (Arc::clone(&stop), Arc::clone(&exchanges));
        move || {
            while !stop.load(Ordering::Relaxed) {
                renameat_with(CWD, &directory, CWD, &link, RenameFlags::EXCHANGE).unwrap();
                exchanges.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    let mut inside = 0;
    for call in 0..CALLS {
        let path = if call % 2 == 0 { "around" } else { "around/x" };
        let found = rig
            .call("grep", json!({"pattern": "needle", "path": path}))
            .await;
        let found = found.map_or_else(|error| error.to_string(), |output| output.text);
        assert!(!found.contains("outside\n"), "{found}");
        inside += usize::from(found.contains("needle inside"));
        let listed = rig
            .call("glob", json!({"pattern": "*", "path": path}))
            .await;
        let listed = listed.map_or_else(|error| error.to_string(), |output| output.text);
        assert!(!listed.contains("keys/"), "{listed}");
        let read = rig.call("read", json!({"path": "around/x/id"})).await;
        let read = read.map_or_else(|error| error.to_string(), |output| output.text);
        assert!(!read.contains("needle outside"), "{read}");
    }
    stop.store(true, Ordering::Relaxed);
    racer.join().unwrap();
    let exchanges = exchanges.load(Ordering::Relaxed);
    assert!(
        inside > 0 && exchanges > CALLS as u64,
        "{inside} {exchanges}"
    );
}
