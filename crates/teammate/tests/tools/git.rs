//! `git_status` and `git_diff`.

use std::process::Command;

use serde_json::json;

use crate::bench::{Rig, utf8};

fn git(rig: &Rig, args: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b"])
        .args(args)
        .current_dir(&rig.bench.project)
        .env_clear()
        .env("PATH", rig.env("PATH"))
        .env("HOME", rig.env("HOME"))
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
}

fn repository() -> Rig {
    let rig = Rig::new();
    git(&rig, &["init", "-q", "-b", "main"]);
    rig.put("a.txt", "one\n");
    rig.put("b.txt", "one\n");
    git(&rig, &["add", "."]);
    git(&rig, &["commit", "-q", "-m", "first"]);
    rig
}

#[tokio::test]
async fn what_has_changed_is_shown() {
    let rig = repository();
    assert_eq!(
        rig.text("git_diff", json!({})).await,
        "(nothing has changed)"
    );
    assert_eq!(rig.text("git_status", json!({})).await, "## main\n");
    rig.put("a.txt", "two\n");
    rig.put("b.txt", "two\n");
    rig.put("new.txt", "new\n");
    git(&rig, &["add", "b.txt"]);
    let status = rig.text("git_status", json!({})).await;
    assert_eq!(status, "## main\n M a.txt\nM  b.txt\n?? new.txt\n");
    let unstaged = rig.text("git_diff", json!({})).await;
    assert!(
        unstaged.contains("a.txt") && !unstaged.contains("b.txt"),
        "{unstaged}"
    );
    assert!(unstaged.contains("-one\n+two\n"), "{unstaged}");
    let staged = rig.text("git_diff", json!({"staged": true})).await;
    assert!(
        staged.contains("b.txt") && !staged.contains("a.txt"),
        "{staged}"
    );
    let one = rig
        .text("git_diff", json!({"against": "HEAD", "path": "b.txt"}))
        .await;
    assert!(one.contains("b.txt") && !one.contains("a.txt"), "{one}");
}

#[tokio::test]
async fn neither_hook_nor_monitor_nor_driver_runs() {
    let mut rig = repository();
    let trap = rig.outside("trap.sh");
    let sprung = rig.outside("sprung");
    std::fs::write(&trap, format!("#!/bin/sh\necho x >> {}\n", utf8(&sprung))).unwrap();
    std::fs::set_permissions(&trap, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let trap = utf8(&trap).to_owned();
    for (key, value) in [
        ("core.fsmonitor", trap.as_str()),
        ("core.pager", &trap),
        ("diff.external", &trap),
        ("diff.trap.command", &trap),
        ("diff.trap.textconv", &trap),
    ] {
        git(&rig, &["config", key, value]);
    }
    std::fs::remove_file(&sprung).ok();
    rig.put(
        ".git/hooks/post-index-change",
        format!("#!/bin/sh\n{trap}\n"),
    );
    rig.put(".gitattributes", "*.txt diff=trap\n");
    rig.put("a.txt", "two\n");
    rig.bench
        .env
        .push(("GIT_EXTERNAL_DIFF".into(), trap.clone().into()));
    rig.bench.env.push(("GIT_PAGER".into(), trap.into()));
    let index = std::fs::read(rig.path(".git/index")).unwrap();
    let diff = rig.text("git_diff", json!({})).await;
    assert!(diff.contains("-one\n+two\n"), "{diff}");
    rig.text("git_status", json!({})).await;
    assert!(!sprung.exists());
    assert_eq!(std::fs::read(rig.path(".git/index")).unwrap(), index);
}

#[tokio::test]
async fn what_is_no_commit_or_no_repository_is_refused() {
    let rig = repository();
    let option = rig
        .refusal("git_diff", json!({"against": "--output=x"}))
        .await;
    assert!(option.contains("`against`"), "{option}");
    let unknown = rig.refusal("git_diff", json!({"against": "nobody"})).await;
    assert!(
        unknown.contains("nobody") && unknown.contains("exit 128"),
        "{unknown}"
    );
    let rig = Rig::new();
    for (tool, input) in [
        ("git_status", json!({})),
        ("git_diff", json!({"against": "/etc/hostname"})),
    ] {
        let refusal = rig.refusal(tool, input).await;
        assert!(refusal.contains("not a git repository"), "{refusal}");
    }
}
