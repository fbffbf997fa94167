//! Tests of `apply_patch`.

use std::os::unix::fs::{PermissionsExt, symlink};

use serde_json::json;

use crate::context::Rig;

/// The input of a patch with these sections.
fn patch(sections: &str) -> serde_json::Value {
    json!({ "input": format!("*** Begin Patch\n{sections}\n*** End Patch\n") })
}

async fn read(rig: &Rig, path: &str) {
    rig.text("read", json!({ "path": path })).await;
}

/// The names of the files and directories directly in the project.
fn entries(rig: &Rig) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(rig.path(""))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_patch_creates_changes_moves_and_removes_files() {
    let rig = Rig::new();
    rig.put("old.txt", "gone\n");
    rig.put("a.rs", "fn a() {\n    1\n}\n");
    let script = rig.put("run.sh", "echo 1\n");
    std::fs::set_permissions(&script, PermissionsExt::from_mode(0o755)).unwrap();
    for path in ["old.txt", "a.rs", "run.sh"] {
        read(&rig, path).await;
    }
    let sections = "*** Add File: new/b.txt\n+b\n*** Delete File: old.txt\n*** Update File: a.rs\n@@ fn a() {\n-    \
                    1\n+    2\n*** Update File: run.sh\n*** Move to: bin/run.sh\n@@\n-echo 1\n+echo 2";
    let output = rig.call("apply_patch", patch(sections)).await.unwrap();
    assert_eq!(
        output.text,
        "applied the patch:\ncreated new/b.txt\nremoved old.txt\nchanged a.rs at line 2\nchanged run.sh at line 1; \
         moved to bin/run.sh"
    );
    assert_eq!(rig.content("new/b.txt"), "b\n");
    assert_eq!(rig.content("a.rs"), "fn a() {\n    2\n}\n");
    assert_eq!(rig.content("bin/run.sh"), "echo 2\n");
    let mode = std::fs::metadata(rig.path("bin/run.sh"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o755);
    assert_eq!(entries(&rig), ["a.rs", "bin", "new"]);
    let diff = output.diff.unwrap();
    for part in [
        "--- /dev/null\n+++ b/new/b.txt\n",
        "--- a/old.txt\n+++ /dev/null\n",
        "--- a/a.rs\n+++ b/a.rs\n",
        "--- a/run.sh\n+++ b/bin/run.sh\n@@ -1 +1 @@\n-echo 1\n+echo 2\n",
    ] {
        assert!(diff.contains(part), "{diff}");
    }
    let changed = ["new/b.txt", "old.txt", "a.rs", "bin/run.sh", "run.sh"];
    assert_eq!(output.changed, changed.map(|path| rig.path(path)));
    // The written files count as read.
    let again = "*** Update File: bin/run.sh\n@@\n-echo 2\n+echo 3";
    rig.text("apply_patch", patch(again)).await;
    assert_eq!(rig.content("bin/run.sh"), "echo 3\n");
}

#[tokio::test]
async fn a_patch_with_a_wrong_section_changes_nothing() {
    let rig = Rig::new();
    rig.put("a.txt", "a\n");
    rig.put("unread.txt", "u\n");
    rig.put("b.txt", "b\n");
    rig.put("bin", b"\0");
    for path in ["a.txt", "b.txt"] {
        read(&rig, path).await;
    }
    rig.put("b.txt", "b, changed\n");
    let before = entries(&rig);
    let good = "*** Add File: new.txt\n+n\n*** Update File: a.txt\n@@\n-a\n+A\n";
    for (bad, expected) in [
        ("*** Update File: a2.txt\n@@\n-a\n+b", "does not exist"),
        ("*** Delete File: unread.txt", "you have not read it"),
        ("*** Add File: unread.txt\n+x", "you have not read it"),
        (
            "*** Update File: b.txt\n@@\n-b\n+c",
            "has changed since you read it",
        ),
        ("*** Update File: ./a.txt\n@@\n-a\n+b", "names a.txt twice"),
        ("*** Add File: ../out.txt\n+x", "outside the project"),
        ("*** Add File: /etc/agent-team\n+x", "outside the project"),
        ("*** Delete File: .git/config", "belongs to git"),
        (
            "*** Add File: .agent-team/team.toml\n+x",
            "only the user may change it",
        ),
        ("*** Delete File: .", "is a directory"),
    ] {
        let refusal = rig
            .refusal("apply_patch", patch(&format!("{good}{bad}")))
            .await;
        assert!(refusal.contains(expected), "{bad}: {refusal}");
        assert_eq!(
            (rig.content("a.txt").as_str(), entries(&rig)),
            ("a\n", before.clone())
        );
    }
    let missing = "*** Update File: a.txt\n@@\n-aa\n+b";
    let refusal = rig.refusal("apply_patch", patch(missing)).await;
    assert!(refusal.contains("a hunk is not in a.txt"), "{refusal}");
}

#[tokio::test]
async fn a_failed_write_restores_the_earlier_files() {
    let rig = Rig::new();
    rig.put("a.txt", "a\n");
    rig.put("b.txt", "b\n");
    for path in ["a.txt", "b.txt"] {
        read(&rig, path).await;
    }
    // `x/y` makes `x` a directory, so the file `x` cannot be created.
    let sections = "*** Update File: a.txt\n@@\n-a\n+A\n*** Delete File: b.txt\n*** Add File: x/y\n+y\n*** Add File: \
                    x\n+x";
    rig.refusal("apply_patch", patch(sections)).await;
    assert_eq!(rig.content("a.txt"), "a\n");
    assert_eq!(rig.content("b.txt"), "b\n");
    assert_eq!(entries(&rig), ["a.txt", "b.txt", "x"]);
    assert_eq!(std::fs::read_dir(rig.path("x")).unwrap().count(), 0);
}

#[tokio::test]
async fn a_patch_follows_no_link_out_of_the_project() {
    let rig = Rig::new();
    let outside = rig.outside("secret");
    std::fs::create_dir(&outside).unwrap();
    std::fs::write(outside.join("key"), "k\n").unwrap();
    symlink(&outside, rig.path("link")).unwrap();
    rig.put("real/a.txt", "a\n");
    symlink(rig.path("real"), rig.path("inner")).unwrap();
    read(&rig, "real/a.txt").await;
    for sections in [
        "*** Add File: link/new\n+x",
        "*** Delete File: link/key",
        "*** Update File: real/a.txt\n*** Move to: link/a.txt\n@@\n-a\n+b",
    ] {
        let refusal = rig.refusal("apply_patch", patch(sections)).await;
        assert!(refusal.contains("leads out of the project"), "{refusal}");
    }
    let refusal = rig
        .refusal("apply_patch", patch("*** Delete File: inner/a.txt"))
        .await;
    assert!(refusal.contains("symbolic link to real/a.txt"), "{refusal}");
    assert_eq!(rig.content("real/a.txt"), "a\n");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
}
