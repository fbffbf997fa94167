//! Tests of `write` and `edit`.

use std::os::unix::fs::PermissionsExt;

use agent_team_tools::Version;
use serde_json::json;

use crate::context::Rig;

#[tokio::test]
async fn a_new_file_is_created_with_its_directories() {
    let rig = Rig::new();
    let output = rig
        .call(
            "write",
            json!({"path": "a/b/c.txt", "content": "one\ntwo\n"}),
        )
        .await
        .unwrap();
    assert_eq!(output.text, "created a/b/c.txt: 2 lines");
    let diff = output.diff.unwrap();
    assert!(
        diff.contains("--- /dev/null\n+++ b/a/b/c.txt\n@@ -0,0 +1,2 @@\n+one\n+two\n"),
        "{diff}"
    );
    assert_eq!(rig.content("a/b/c.txt"), "one\ntwo\n");
    // A file that the model wrote counts as read.
    rig.text("write", json!({"path": "a/b/c.txt", "content": "three\n"}))
        .await;
    rig.text(
        "edit",
        json!({"path": "a/b/c.txt", "old": "three", "new": "four"}),
    )
    .await;
    assert_eq!(rig.content("a/b/c.txt"), "four\n");
    let names: Vec<_> = std::fs::read_dir(rig.path("a/b")).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[tokio::test]
async fn an_unread_or_changed_file_is_not_overwritten() {
    let rig = Rig::new();
    rig.put("a.txt", "mine\n");
    let write = json!({"path": "a.txt", "content": "yours\n"});
    let edit = json!({"path": "a.txt", "old": "mine", "new": "yours"});
    for (tool, input) in [("write", &write), ("edit", &edit)] {
        let refusal = rig.refusal(tool, input.clone()).await;
        assert!(refusal.contains("you have not read it"), "{refusal}");
    }
    rig.text("read", json!({"path": "a.txt"})).await;
    rig.put("a.txt", "mine, changed\n");
    for (tool, input) in [("write", &write), ("edit", &edit)] {
        let refusal = rig.refusal(tool, input.clone()).await;
        assert!(refusal.contains("changed since you read it"), "{refusal}");
    }
    assert_eq!(rig.content("a.txt"), "mine, changed\n");
    rig.text("read", json!({"path": "a.txt"})).await;
    rig.text("write", write).await;
    assert_eq!(rig.content("a.txt"), "yours\n");
}

#[tokio::test]
async fn a_replaced_file_keeps_its_mode_and_open_handles() {
    let rig = Rig::new();
    let path = rig.put("run.sh", "echo old\n");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o751)).unwrap();
    let old = std::fs::File::open(&path).unwrap();
    rig.text("read", json!({"path": "run.sh"})).await;
    rig.text(
        "edit",
        json!({"path": "run.sh", "old": "old", "new": "new"}),
    )
    .await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o7777, 0o751);
    assert_eq!(std::io::read_to_string(old).unwrap(), "echo old\n");
}

#[tokio::test]
async fn directories_of_git_and_agent_team_are_never_written() {
    let rig = Rig::new();
    rig.put(".git/config", "[core]\n");
    rig.text("read", json!({"path": ".git/config"})).await;
    for path in [
        ".git/config",
        ".git/hooks/post-commit",
        "sub/.git/config",
        ".GIT/config",
    ] {
        let refusal = rig
            .refusal("write", json!({"path": path, "content": "x"}))
            .await;
        assert!(refusal.contains("belongs to git"), "{refusal}");
    }
    for path in [".agent-team/team.toml", "sub/.Agent-Team/roles/x.md"] {
        let refusal = rig
            .refusal("write", json!({"path": path, "content": "x"}))
            .await;
        assert!(refusal.contains("only the user may change it"), "{refusal}");
    }
}

#[tokio::test]
async fn an_edit_needs_a_unique_text_or_replaces_all() {
    let rig = Rig::new();
    rig.put("a.rs", "let a = 1;\nlet b = 1;\nlet c = 2;\n");
    rig.text("read", json!({"path": "a.rs"})).await;
    let refusal = rig
        .refusal("edit", json!({"path": "a.rs", "old": "= 1", "new": "= 3"}))
        .await;
    assert!(
        refusal.contains("2 times in a.rs (lines 1, 2)"),
        "{refusal}"
    );
    let output = rig
        .call(
            "edit",
            json!({"path": "a.rs", "old": "= 1", "new": "= 3", "all": true}),
        )
        .await
        .unwrap();
    assert_eq!(output.text, "edited a.rs at 2 places: lines 1, 2");
    assert_eq!(rig.content("a.rs"), "let a = 3;\nlet b = 3;\nlet c = 2;\n");
    let diff = output.diff.unwrap();
    assert!(diff.contains("--- a/a.rs\n+++ b/a.rs\n"), "{diff}");
    assert!(
        diff.contains("-let a = 1;\n") && diff.contains("+let a = 3;\n"),
        "{diff}"
    );
    for (old, new, expected) in [("", "x", "`old` is empty"), ("c", "c", "the same")] {
        let refusal = rig
            .refusal("edit", json!({"path": "a.rs", "old": old, "new": new}))
            .await;
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[tokio::test]
async fn a_missing_text_is_reported_with_the_nearest_lines() {
    let rig = Rig::new();
    rig.put(
        "a.rs",
        "fn main() {\n    let total = compute(1, 2);\n    print(total);\n}\n",
    );
    rig.text("read", json!({"path": "a.rs"})).await;
    let refusal = |old: &'static str| {
        let rig = &rig;
        async move {
            rig.refusal("edit", json!({"path": "a.rs", "old": old, "new": "x"}))
                .await
        }
    };
    let indented = refusal("let total = compute(1, 2);\n  print(total);").await;
    assert!(
        indented.contains("most similar text is at line 2") && indented.contains("white space"),
        "{indented}"
    );
    assert!(indented.contains("     3\t    print(total);"), "{indented}");
    let misspelt = refusal("    let totl = compute(1, 3);").await;
    assert!(
        misspelt.contains("most similar text is at line 2"),
        "{misspelt}"
    );
    let strange = refusal("impl Display for Nothing").await;
    assert!(
        strange.contains("The file contains no similar text"),
        "{strange}"
    );
    // Only the first 40 lines of a text are compared.
    let long: String = (1..=40).map(|line| format!("let x{line} = 1;\n")).collect();
    rig.put("long.rs", long.replace("let", "  let"));
    rig.text("read", json!({"path": "long.rs"})).await;
    let old = format!("{long}let other = 2;\n");
    let result = rig
        .refusal("edit", json!({"path": "long.rs", "old": old, "new": "x"}))
        .await;
    assert!(
        result.contains("Its first 40 lines differ at most in white space"),
        "{result}"
    );
}

#[tokio::test]
async fn line_endings_are_preserved() {
    let rig = Rig::new();
    rig.put("crlf", "one\r\ntwo\r\nthree");
    rig.text("read", json!({"path": "crlf"})).await;
    rig.text(
        "edit",
        json!({"path": "crlf", "old": "one\ntwo", "new": "1\n2\n2b"}),
    )
    .await;
    assert_eq!(rig.content("crlf"), "1\r\n2\r\n2b\r\nthree");
    rig.text(
        "edit",
        json!({"path": "crlf", "old": "three", "new": "3\n4"}),
    )
    .await;
    assert_eq!(rig.content("crlf"), "1\r\n2\r\n2b\r\n3\r\n4");
    rig.text(
        "edit",
        json!({"path": "crlf", "old": "3\r\n4", "new": "end"}),
    )
    .await;
    assert_eq!(rig.content("crlf"), "1\r\n2\r\n2b\r\nend");

    rig.put("lf", "one\ntwo");
    rig.text("read", json!({"path": "lf"})).await;
    rig.text(
        "edit",
        json!({"path": "lf", "old": "one\r\ntwo", "new": "1\r\n2"}),
    )
    .await;
    assert_eq!(rig.content("lf"), "1\n2");

    rig.put("mixed", "a\r\nb\nc\r\nd\r\n");
    rig.text("read", json!({"path": "mixed"})).await;
    rig.text("edit", json!({"path": "mixed", "old": "b\nc", "new": "x"}))
        .await;
    assert_eq!(rig.content("mixed"), "a\r\nx\r\nd\r\n");
}

#[tokio::test]
async fn invalid_utf_8_is_preserved() {
    let rig = Rig::new();
    rig.put("latin", b"caf\xe9\nold\n");
    rig.text("read", json!({"path": "latin"})).await;
    rig.text("edit", json!({"path": "latin", "old": "old", "new": "new"}))
        .await;
    assert_eq!(std::fs::read(rig.path("latin")).unwrap(), b"caf\xe9\nnew\n");
}

#[tokio::test]
async fn binary_and_huge_files_are_not_edited() {
    let rig = Rig::new();
    rig.put("binary", b"a\0b");
    let huge = std::fs::File::create(rig.path("huge")).unwrap();
    huge.set_len(1 << 30).unwrap();
    for name in ["binary", "huge"] {
        let path = rig.path(name);
        let version = Version::of(&std::fs::metadata(&path).unwrap());
        rig.context.seen.set(path, Some(version));
    }
    for (name, expected) in [("binary", "is binary"), ("huge", "1073741824 bytes")] {
        let edit = json!({"path": name, "old": "a", "new": "b"});
        let refusal = rig.refusal("edit", edit).await;
        assert!(refusal.contains(expected), "{refusal}");
    }
}

#[tokio::test]
async fn a_unique_text_may_differ_in_white_space() {
    let rig = Rig::new();
    rig.put(
        "a.rs",
        "mod a {\n    fn b() {\n        c();  \n    }\n}\n\nfn x() {\n\ty();\n}\n",
    );
    rig.text("read", json!({"path": "a.rs"})).await;
    let edit = json!({"path": "a.rs", "old": "fn b() {\n    c();\n}", "new": "fn b() {\n    d(\n        e);\n}"});
    let text = rig.text("edit", edit).await;
    assert_eq!(
        text,
        "edited a.rs at line 2. `old` differed from the file in white space; `new` was indented like the file"
    );
    let edit = json!({"path": "a.rs", "old": "fn x() {\n    y();\n", "new": "fn x() {\n    z();\n    y();\n"});
    rig.text("edit", edit).await;
    assert_eq!(
        rig.content("a.rs"),
        "mod a {\n    fn b() {\n        d(\n            e);\n    }\n}\n\nfn x() {\n\tz();\n\ty();\n}\n"
    );
    rig.put("crlf", "a\r\n    b\r\n    c\r\nd");
    rig.text("read", json!({"path": "crlf"})).await;
    rig.text(
        "edit",
        json!({"path": "crlf", "old": "b\nc\n", "new": "b\n\ne\n"}),
    )
    .await;
    assert_eq!(rig.content("crlf"), "a\r\n    b\r\n\r\n    e\r\nd");
}

#[tokio::test]
async fn a_unique_line_may_differ_in_white_space_within_it() {
    let rig = Rig::new();
    rig.put(
        "a.py",
        "def f():\n    x  =  9\n    y = \"a  b\"\n    z   = 1\n    t\t1\n",
    );
    rig.text("read", json!({"path": "a.py"})).await;
    rig.text(
        "edit",
        json!({"path": "a.py", "old": "x = 9", "new": "x = 10"}),
    )
    .await;
    // In a string, white space is part of the value.
    let edit = json!({"path": "a.py", "old": "y = \"a b\"", "new": "y = \"c\""});
    let refusal = rig.refusal("edit", edit).await;
    assert!(refusal.contains("`old` is not in a.py"), "{refusal}");
    // Between columns, tabs are part of the value too.
    rig.refusal("edit", json!({"path": "a.py", "old": "t 1", "new": "t 2"}))
        .await;
    // The edit does not change this line, so the line keeps its white space.
    let edit = json!({"path": "a.py", "old": "z = 1\n", "new": "z = 1\nw = 2\n"});
    rig.text("edit", edit).await;
    assert_eq!(
        rig.content("a.py"),
        "def f():\n    x = 10\n    y = \"a  b\"\n    z   = 1\n    w = 2\n    t\t1\n"
    );
}

#[tokio::test]
async fn a_repeated_white_space_edit_is_refused() {
    let rig = Rig::new();
    let content = "def f():\n    return 1\n";
    rig.put("a.py", content);
    rig.text("read", json!({"path": "a.py"})).await;
    let edit =
        json!({"path": "a.py", "old": "def f():\n  return 1", "new": "def f():\n    return 1"});
    let refusal = rig.refusal("edit", edit).await;
    assert!(refusal.contains("`old` is not in a.py"), "{refusal}");
    assert_eq!(rig.content("a.py"), content);
}

#[tokio::test]
async fn two_places_that_differ_in_white_space_are_refused() {
    let rig = Rig::new();
    let content = "  if a {\n    b();\n  }\n    if a {\n      b();\n    }\n";
    rig.put("a.rs", content);
    rig.text("read", json!({"path": "a.rs"})).await;
    for all in [false, true] {
        let edit = json!({"path": "a.rs", "old": "if a {\n  b();\n}", "new": "c();", "all": all});
        let refusal = rig.refusal("edit", edit).await;
        assert!(
            refusal.contains("2 places") && refusal.contains("lines 1, 4"),
            "{refusal}"
        );
    }
    assert_eq!(rig.content("a.rs"), content);
}

#[tokio::test]
async fn edits_that_multiply_the_size_are_refused() {
    let rig = Rig::new();
    rig.put("a.txt", "a\n");
    rig.text("read", json!({"path": "a.txt"})).await;
    let edits = vec![json!({"old": "a", "new": "aa", "all": true}); 40];
    let refusal = rig
        .refusal("edit", json!({"path": "a.txt", "edits": edits}))
        .await;
    assert!(refusal.contains("larger than 8388608 bytes"), "{refusal}");
    assert_eq!(rig.content("a.txt"), "a\n");
}

#[tokio::test]
async fn several_edits_apply_in_order_or_not_at_all() {
    let rig = Rig::new();
    rig.put("a.txt", "one\ntwo\nthree\n");
    rig.text("read", json!({"path": "a.txt"})).await;
    let edits = |second: &str| json!({"path": "a.txt", "edits": [{"old": "one", "new": "1"}, {"old": second, "new": "1\n2"}]});
    let refusal = rig.refusal("edit", edits("one\ntwo")).await;
    assert!(
        refusal.contains("edit 2 of 2: `old` is not in a.txt")
            && refusal.contains("No edit was made"),
        "{refusal}"
    );
    assert_eq!(rig.content("a.txt"), "one\ntwo\nthree\n");
    let output = rig.call("edit", edits("1\ntwo")).await.unwrap();
    assert_eq!(output.text, "edited a.txt at 2 places: lines 1, 1");
    assert_eq!(rig.content("a.txt"), "1\n2\nthree\n");
    assert_eq!(output.diff.unwrap().matches("--- a/a.txt").count(), 1);
    for input in [
        json!({"path": "a.txt", "edits": []}),
        json!({"path": "a.txt", "old": "1"}),
        json!({"path": "a.txt", "old": "1", "new": "2", "edits": [{"old": "a", "new": "b"}]}),
        json!({"path": "a.txt", "edits": [{"old": "1", "new": "x"}, {"old": "x", "new": "1"}]}),
    ] {
        let refusal = rig.refusal("edit", input).await;
        assert!(
            refusal.contains("set either") || refusal.contains("unchanged"),
            "{refusal}"
        );
    }
}
