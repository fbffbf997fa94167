//! Tests of `git_status` and `git_diff`.

use std::process::Command;

use agent_team_protocol::Refusal;
use agent_team_tools::guard::Guard;
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::{Options, Permission, domain_tools};
use serde_json::{Value, json};

use crate::context::{Rig, utf8};

fn git(rig: &Rig, args: &[&str]) {
    let done = Command::new("git")
        .args(["-c", "user.name=a", "-c", "user.email=a@b"])
        .args(args)
        .current_dir(&rig.context.project)
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
async fn changes_are_shown() {
    let rig = repository();
    assert_eq!(rig.text("git_diff", json!({})).await, "(no changes)");
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
async fn no_hook_monitor_or_driver_runs() {
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
    rig.context
        .env
        .push(("GIT_EXTERNAL_DIFF".into(), trap.clone().into()));
    rig.context.env.push(("GIT_PAGER".into(), trap.into()));
    let index = std::fs::read(rig.path(".git/index")).unwrap();
    let diff = rig.text("git_diff", json!({})).await;
    assert!(diff.contains("-one\n+two\n"), "{diff}");
    rig.text("git_status", json!({})).await;
    assert!(!sprung.exists());
    assert_eq!(std::fs::read(rig.path(".git/index")).unwrap(), index);
}

#[tokio::test]
async fn invalid_commits_and_repositories_are_refused() {
    let rig = repository();
    let option = rig
        .refusal("git_diff", json!({"against": "--output=x"}))
        .await;
    assert!(option.contains("`against`"), "{option}");
    let unknown = rig.refusal("git_diff", json!({"against": "absent"})).await;
    assert!(unknown.contains("\"absent\" is not a commit"), "{unknown}");
    let rig = Rig::new();
    for (tool, input) in [
        ("git_status", json!({})),
        ("git_diff", json!({"against": "/etc/hostname"})),
    ] {
        let refusal = rig.refusal(tool, input).await;
        assert!(refusal.contains("not a git repository"), "{refusal}");
    }
}

#[tokio::test]
async fn only_commits_are_compared() {
    let rig = repository();
    rig.put(".env", "KEY=secret\n");
    git(&rig, &["add", "-f", ".env"]);
    git(&rig, &["commit", "-q", "-m", "second"]);
    rig.put("a.txt", "two\n");
    for against in [
        "HEAD:.env",
        ":.env",
        "HEAD^{tree}",
        "HEAD:.env..HEAD:a.txt",
        "HEAD..HEAD:a.txt",
        "--no-index",
        "",
    ] {
        for path in [Some("a.txt"), None] {
            let refusal = rig
                .refusal("git_diff", json!({"against": against, "path": path}))
                .await;
            assert!(refusal.contains("is not a commit"), "{against}: {refusal}");
        }
    }
    for (against, expected) in [
        ("HEAD", "-one\n+two\n"),
        ("main~1..main", "+KEY=secret\n"),
        ("main~1...", "+KEY=secret\n"),
        ("..HEAD~1", "-KEY=secret\n"),
    ] {
        let diff = rig.text("git_diff", json!({"against": against})).await;
        assert!(diff.contains(expected), "{against}: {diff}");
    }
}

#[tokio::test]
async fn a_guarded_file_is_not_shown_under_its_new_name() {
    let mut rig = repository();
    let lines: String = (0..30)
        .map(|number| format!("KEY{number}=secret\n"))
        .collect();
    rig.put(".env", &lines);
    git(&rig, &["add", "-f", "."]);
    git(&rig, &["commit", "-q", "-m", "second"]);
    git(&rig, &["mv", ".env", "plain"]);
    rig.put("a.txt", "two\n");
    git(&rig, &["add", "a.txt"]);
    git(&rig, &["commit", "-q", "-m", "third"]);
    let project = rig.context.project.clone();
    rig.context.guard = Guard::new(&["Read(.env)".to_owned()], project, None);
    for input in [
        json!({"against": "HEAD~1..HEAD"}),
        json!({"against": "HEAD~1..HEAD", "path": "."}),
        json!({"against": "HEAD..HEAD~1"}),
    ] {
        let diff = rig.text("git_diff", input).await;
        assert!(diff.contains("+++ b/a.txt"), "{diff}");
        assert!(!diff.contains("secret"), "{diff}");
    }
}

/// A filter and attributes of the project and of a nested repository, whose status git would query.
#[tokio::test]
async fn no_filter_of_the_project_runs() {
    let rig = repository();
    let sprung = rig.outside("sprung");
    let filter = format!("sh -c 'echo x >> {}; cat'", utf8(&sprung));
    rig.put("nested/f", "x\n");
    let nested = rig.path("nested");
    for args in [
        vec!["init", "-q"],
        vec!["add", "f"],
        vec!["commit", "-q", "-m", "nested"],
        vec!["config", "filter.x.clean", &filter],
    ] {
        git(&rig, &[&["-C", utf8(&nested)], &args[..]].concat());
    }
    git(&rig, &["add", "nested"]);
    git(&rig, &["commit", "-q", "-m", "with nested"]);
    git(&rig, &["config", "filter.x.clean", &filter]);
    for attributes in [".gitattributes", "nested/.gitattributes"] {
        rig.put(attributes, "* filter=x\n");
    }
    // Keep the size and change the time of the files, so that git compares the content through the filter.
    rig.put("a.txt", "two\n");
    rig.put("nested/f", "y\n");
    std::fs::remove_file(&sprung).ok();
    let status = rig.text("git_status", json!({})).await;
    assert!(status.contains(" M a.txt\n"), "{status}");
    let diff = rig.text("git_diff", json!({})).await;
    assert!(diff.contains("-one\n+two\n"), "{diff}");
    assert!(!sprung.exists());
}

#[tokio::test]
async fn git_is_found_only_outside_the_project() {
    let mut rig = repository();
    let sprung = rig.outside("sprung");
    let trap = format!("#!/bin/sh\necho x > {}\n", utf8(&sprung));
    let path = rig.env("PATH");
    let mut all = Vec::new();
    for directory in ["tools", "linked"] {
        let trap = rig.put(&format!("{directory}/git"), &trap);
        std::fs::set_permissions(&trap, std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .unwrap();
    }
    std::os::unix::fs::symlink(rig.path("linked"), rig.outside("bin")).unwrap();
    all.extend([
        "tools".into(),
        "./tools".into(),
        rig.path("tools"),
        rig.outside("bin"),
    ]);
    all.extend(std::env::split_paths(&path));
    rig.context.env.retain(|(name, _)| name != "PATH");
    let all = std::env::join_paths(all).unwrap();
    rig.context.env.push(("PATH".into(), all));
    let status = rig.text("git_status", json!({})).await;
    assert!(status.starts_with("## main\n"), "{status}");
    assert!(!sprung.exists());
}

#[tokio::test]
async fn git_needs_permission_without_a_sandbox() {
    let mut rig = repository();
    let (client, mut calls) =
        SupervisorClient::new("ada".parse().unwrap(), "worker".parse().unwrap(), false);
    rig.tools = domain_tools(Options {
        permission: Permission::Ask(client),
        confinement: None,
        private_addresses: false,
    });
    for tool in ["git_status", "git_diff"] {
        let asked = async {
            let call = calls.recv().await.unwrap();
            assert_eq!(call.method, "request/ask");
            let ask: Value = serde_json::from_str(call.args.get()).unwrap();
            let _gone = call.answer.send(Err(Refusal::internal("no")));
            (ask["tool"].clone(), ask["confined"].clone())
        };
        let (refusal, (of, confined)) = tokio::join!(rig.refusal(tool, json!({})), asked);
        assert!(refusal.contains("Not permitted"), "{refusal}");
        assert_eq!((of, confined), (json!(tool), json!(false)));
    }
}
