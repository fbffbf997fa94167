//! Tests of protected paths of the project: paths that commands cannot change, and changes that are reported.

use std::collections::BTreeSet;
use std::fs;

use agent_team_policy::protected::{GIT, Kind, PROJECT};
use agent_team_protocol::spec::KeptPath;
use agent_team_system::sandbox::Network;
use agent_team_tools::confine::{Confinement, Settings, User};
use serde_json::json;

use crate::confined::{
    confine_with, ours, rig_with_home, sandboxes, use_confinement, wait_for_clock_tick,
};

/// The edit tools use the same list of protected paths: see `policy/tests/policy/protected.rs`.
#[tokio::test]
async fn both_sandboxes_know_every_protected_path() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        // `.npmrc` is the only protected path of the project that exists. `git init` has created some of the protected
        // paths of git.
        rig.put(".npmrc", "mine\n");
        let project = PROJECT.iter().map(|protected| (protected, ""));
        let git = GIT.iter().map(|protected| (protected, ".git/"));
        for (protected, below) in project.chain(git) {
            let mut path = format!("{below}{}", protected.path);
            if protected.kind == Kind::Directory {
                path += "/made";
            }
            let before = fs::read_to_string(rig.path(&path)).ok();
            let command = format!("mkdir -p $(dirname {path}); echo evil >> {path}");
            let printed = rig.text("bash", json!({ "command": command })).await;
            let after = fs::read_to_string(rig.path(&path)).ok();
            if sandbox.protects() {
                assert_eq!(after, before, "{sandbox}: {path}: {printed}");
                assert!(
                    !printed.contains("warning: "),
                    "{sandbox}: {path}: {printed}"
                );
            } else {
                assert!(
                    printed.contains("warning: "),
                    "{sandbox}: {path}: {printed}"
                );
                assert!(printed.contains(&path), "{sandbox}: {path}: {printed}");
            }
        }
        assert!(
            fs::read_to_string(rig.path(".npmrc"))
                .unwrap()
                .starts_with("mine\n")
        );
        if sandbox.protects() {
            let names = fs::read_dir(rig.path("")).unwrap();
            let names: BTreeSet<_> = names.map(|entry| entry.unwrap().file_name()).collect();
            assert_eq!(names, [".git".into(), ".npmrc".into()].into(), "{sandbox}");
            assert!(!rig.path(".git/commondir").exists(), "{sandbox}");
        }
    }
}

#[tokio::test]
async fn changes_of_trusted_scripts_are_prevented_or_reported() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        rig.put("ci/check.sh", "true\n");
        let kept = |path, is_directory| KeptPath {
            path: rig.path(path),
            is_directory,
            is_absent: false,
        };
        let user = User::new(rig.context.env.clone(), &Settings::default());
        let temporary = rig.outside("temporary");
        let project = &rig.context.project;
        let confinement = Confinement::new(project, temporary, user, &ours(&rig), Network::None)
            .using(sandbox.clone())
            .keeping(vec![
                kept("ci/check.sh", false),
                kept("githooks/deep", true),
            ]);
        use_confinement(&mut rig, confinement);
        wait_for_clock_tick(&rig).await;
        for command in [
            "echo evil > ci/check.sh",
            "echo evil > new; mv new ci/check.sh",
            "mv ci old; mkdir ci; echo evil > ci/check.sh",
        ] {
            let printed = rig.text("bash", json!({ "command": command })).await;
            let content = fs::read_to_string(rig.path("ci/check.sh")).unwrap();
            match sandbox.protects() {
                true => assert_eq!(content, "true\n", "{sandbox}: {command}: {printed}"),
                false => assert!(
                    printed.contains("warning: ") && printed.contains("ci/check.sh"),
                    "{sandbox}: {command}: {printed}"
                ),
            }
        }
        let make = "mkdir -p githooks/deep; echo evil > githooks/deep/pre-push";
        let printed = rig.text("bash", json!({ "command": make })).await;
        let is_made = rig.path("githooks/deep/pre-push").exists();
        assert_eq!(is_made, !sandbox.protects(), "{sandbox}: {printed}");
        assert_eq!(printed.contains("warning: "), is_made, "{printed}");
    }
}

#[tokio::test]
async fn creating_a_repository_is_prevented_or_reported() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        fs::remove_dir_all(rig.path(".git")).unwrap();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        wait_for_clock_tick(&rig).await;
        for command in [
            "git init -q .; echo evil > .git/hooks/pre-commit",
            "git init -q new; mv new/.git .git",
        ] {
            let _removed = fs::remove_dir_all(rig.path(".git"));
            let printed = rig.text("bash", json!({ "command": command })).await;
            match sandbox.protects() {
                true => assert!(!rig.path(".git").exists(), "{sandbox}: {printed}"),
                false => assert!(printed.contains("warning: "), "{sandbox}: {printed}"),
            }
        }
        let printed = rig
            .text("bash", json!({ "command": "git init -q sub && echo made" }))
            .await;
        assert!(printed.contains("made\n"), "{sandbox}: {printed}");
    }
}

#[tokio::test]
async fn git_works_while_absent_paths_are_protected() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        wait_for_clock_tick(&rig).await;
        rig.put("a", "1\n");
        let command = "git add -A && git -c user.name=t -c user.email=t@example.org commit -q -m one \
                       && git ls-files && git status --short && echo committed";
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert_eq!(printed, "a\ncommitted\n(exit 0)", "{sandbox}");
    }
}

#[tokio::test]
async fn nested_protected_files_are_reported() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        rig.put("sub/.vscode/settings.json", "{}");
        wait_for_clock_tick(&rig).await;
        let quiet = rig.text("bash", json!({ "command": "echo ok" })).await;
        assert_eq!(quiet, "ok\n(exit 0)", "{sandbox}");
        let command =
            "mkdir -p deep/er/.vscode; echo {} > deep/er/.vscode/tasks.json; git init -q sub";
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert!(printed.contains("warning: "), "{sandbox}: {printed}");
        for path in ["deep/er/.vscode/tasks.json", "sub/.git/config"] {
            assert!(printed.contains(path), "{sandbox}: {printed}");
        }
        assert!(!printed.contains("settings.json"), "{sandbox}: {printed}");
        let shown = rig.shown.lock().unwrap().clone();
        assert!(shown.contains("tasks.json"), "shown to the user: {shown}");
    }
}
