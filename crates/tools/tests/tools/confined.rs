//! Tests of the access of a sandboxed command to files, credentials and the network.

use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use agent_team_system::directories::Directories;
use agent_team_system::sandbox::{self, Network, Sandbox};
use agent_team_tools::confine::{Confinement, Settings, User};
use agent_team_tools::guard::Guard;
use agent_team_tools::{Options, Permission, domain_tools};
use serde_json::json;

use crate::context::Rig;

/// A rig with a sandbox, a home directory that contains a key, and a project that is a git repository. Returns `None`
/// if no sandbox is available.
async fn confined() -> Option<Rig> {
    let mut rig = Rig::new();
    for name in ["temporary", "ours", ".ssh", "code"] {
        fs::create_dir(rig.outside(name)).unwrap();
    }
    fs::write(rig.outside(".ssh/id"), "secret").unwrap();
    fs::write(rig.outside("code/main.c"), "int main;").unwrap();
    git(&rig.path(""), &["init", "-q"]);
    confine(&mut rig, Network::None);
    let printed = rig.text("bash", json!({ "command": "true" })).await;
    assert!(printed.contains("exit 0"), "{printed}");
    let is_unavailable = rig
        .shown
        .lock()
        .unwrap()
        .contains("the sandbox is not available");
    (!is_unavailable).then_some(rig)
}

pub(crate) fn ours(rig: &Rig) -> Directories {
    Directories {
        state: rig.outside("ours/state"),
        run: rig.outside("ours/run"),
        config: rig.outside("ours/config"),
    }
}

/// Replaces the tools by new tools with this confinement, as a new launch does.
pub(crate) fn use_confinement(rig: &mut Rig, confinement: Confinement) {
    rig.tools = domain_tools(Options {
        permission: Permission::Bypass,
        confinement: Some(Arc::new(confinement)),
        private_addresses: false,
    });
}

fn confine(rig: &mut Rig, network: Network) {
    let temporary = rig.outside("temporary");
    let user = User::new(rig.context.env.clone(), &Settings::default());
    let confinement = Confinement::new(&rig.context.project, temporary, user, &ours(rig), network);
    use_confinement(rig, confinement);
}

fn git(cwd: &Path, args: &[&str]) {
    let mut git = Command::new("git");
    git.args(["-c", "user.name=t", "-c", "user.email=t@example.org"])
        .args(args)
        .current_dir(cwd);
    git.env("GIT_CONFIG_GLOBAL", "/dev/null");
    assert!(git.status().unwrap().success(), "{args:?}");
}

#[tokio::test]
async fn a_command_writes_only_to_project_and_tmpdir() {
    let Some(rig) = confined().await else { return };
    let command = "echo 1 > made && echo 2 > $TMPDIR/made && cat made $TMPDIR/made; echo 3 > ../code/made; echo 4 > \
                   ~/made";
    let printed = rig.text("bash", json!({ "command": command })).await;
    assert!(printed.starts_with("1\n2\n"), "{printed}");
    assert_eq!(rig.content("made"), "1\n");
    assert!(
        !rig.outside("code/made").exists() && !rig.outside("made").exists(),
        "{printed}"
    );
}

#[tokio::test]
async fn a_command_outside_the_sandbox_has_the_users_rights() {
    let Some(rig) = confined().await else { return };
    let call = json!({ "command": "echo 4 > ~/made; cat ~/.ssh/id", "outside_sandbox": true });
    let printed = rig.text("bash", call).await;
    assert!(
        printed.contains("secret") && rig.outside("made").exists(),
        "{printed}"
    );
}

#[tokio::test]
async fn a_command_cannot_read_credentials() {
    let Some(rig) = confined().await else { return };
    // A file that is created after the launch is hidden too.
    fs::write(rig.outside(".netrc"), "secret").unwrap();
    let printed = rig
        .text("bash", json!({ "command": "cat ~/.ssh/id ~/.netrc" }))
        .await;
    assert!(!printed.contains("secret"), "{printed}");
}

#[tokio::test]
async fn a_command_has_the_network_if_its_role_does() {
    let Some(mut rig) = confined().await else {
        return;
    };
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let line = format!("exec 3<>/dev/tcp/127.0.0.1/{port} && echo $((6 * 7))");
    let call = json!({ "command": format!("bash -c '{line}'") });
    let printed = rig.text("bash", call.clone()).await;
    assert!(!printed.contains("42\n"), "{printed}");
    confine(&mut rig, Network::Host);
    let printed = rig.text("bash", call).await;
    assert!(printed.contains("42\n"), "{printed}");
}

#[tokio::test]
async fn a_sandboxed_job_gets_a_grace_period() {
    let Some(rig) = confined().await else { return };
    let command = "trap 'echo bye; exit' TERM; echo ready; while :; do sleep 0.01; done";
    rig.text("bash", json!({ "command": command, "background": true }))
        .await;
    let printed = rig
        .text("bash_output", json!({ "id": 1, "wait_seconds": 10 }))
        .await;
    assert!(printed.contains("ready"), "{printed}");
    let printed = rig.text("bash_kill", json!({ "id": 1 })).await;
    assert!(printed.contains("bye"), "{printed}");
}

#[tokio::test]
async fn a_command_can_commit_in_a_linked_worktree() {
    let Some(mut rig) = confined().await else {
        return;
    };
    let main = rig.outside("main");
    fs::create_dir(&main).unwrap();
    git(&main, &["init", "-q"]);
    git(&main, &["commit", "-q", "--allow-empty", "-m", "one"]);
    fs::remove_dir_all(rig.path("")).unwrap();
    git(
        &main,
        &[
            "worktree",
            "add",
            "-q",
            rig.context.project.to_str().unwrap(),
        ],
    );
    confine(&mut rig, Network::None);
    let command = "git -c user.name=t -c user.email=t@example.org commit -q --allow-empty -m two; git log --oneline";
    let printed = rig.text("bash", json!({ "command": command })).await;
    assert!(
        printed.contains(" two\n") && printed.contains(" one\n"),
        "{printed}"
    );
}

#[tokio::test]
async fn a_gitdir_link_opens_no_directory_outside() {
    let Some(mut rig) = confined().await else {
        return;
    };
    let other = rig.outside("code/worktrees/x");
    fs::create_dir_all(&other).unwrap();
    fs::remove_dir_all(rig.path(".git")).unwrap();
    rig.put(".git", format!("gitdir: {}\n", other.display()));
    confine(&mut rig, Network::None);
    let printed = rig
        .text("bash", json!({ "command": "echo 1 > ../code/made" }))
        .await;
    assert!(!rig.outside("code/made").exists(), "{printed}");
}

/// The preferred sandbox of this machine. If the sandbox that is used without bubblewrap is another one, also returns
/// that sandbox.
pub(crate) async fn sandboxes() -> Vec<Sandbox> {
    let path = std::env::var_os("PATH").unwrap();
    let mut found: Vec<Sandbox> = Vec::new();
    for path in [path, OsString::new()] {
        match sandbox::find(&path).await {
            Ok(sandbox) if !found.contains(&sandbox) => found.push(sandbox),
            Ok(_) | Err(_) => {}
        }
    }
    found
}

pub(crate) fn confine_with(rig: &mut Rig, sandbox: Sandbox, settings: &Settings) {
    let temporary = rig.outside("temporary");
    let user = User {
        homes: vec![rig.outside("")],
        ..User::new(rig.context.env.clone(), settings)
    };
    let confinement = Confinement::new(
        &rig.context.project,
        temporary,
        user,
        &ours(rig),
        Network::None,
    )
    .using(sandbox);
    use_confinement(rig, confinement);
}

/// Waits for the next tick of the kernel's clock, so that files of the rig are older than the next command.
pub(crate) async fn wait_for_clock_tick(rig: &Rig) {
    rig.text("bash", json!({ "command": "sleep 0.02" })).await;
}

pub(crate) fn rig_with_home() -> Rig {
    let rig = Rig::new();
    for name in ["temporary", "ours"] {
        fs::create_dir(rig.outside(name)).unwrap();
    }
    git(&rig.path(""), &["init", "-q"]);
    rig
}

/// `HIDDEN` contains paths that an earlier list of secrets missed, and a path that no list can contain: `notes.txt`.
#[tokio::test]
async fn the_home_directory_is_hidden_except_for_a_list() {
    const HIDDEN: [&str; 37] = [
        ".pgpass",
        ".my.cnf",
        ".python_history",
        ".psql_history",
        ".node_repl_history",
        ".local/share/fish/fish_history",
        ".config/rclone/rclone.conf",
        ".config/glab-cli/config.yml",
        ".config/hub",
        ".cache/huggingface/token",
        ".config/github-copilot/hosts.json",
        ".local/share/opencode/auth.json",
        ".config/sops/age/keys.txt",
        ".config/containers/auth.json",
        ".boto",
        ".s3cfg",
        ".config/pypoetry/auth.toml",
        ".composer/auth.json",
        ".oci/config",
        ".terraformrc",
        ".config/microsoft-edge/x",
        ".config/vivaldi/x",
        ".thunderbird/x",
        ".var/app/x",
        "snap/firefox/x",
        ".cursor/x",
        ".continue/x",
        ".copilot/x",
        ".config/1Password/x",
        ".step/x",
        ".ssh/id_rsa",
        ".cargo/credentials.toml",
        ".m2/settings.xml",
        ".julia/servers/x",
        ".gradle/init.gradle",
        ".gradle/init.d/x",
        "notes.txt",
    ];
    const READABLE: [&str; 6] = [
        ".cargo/bin/tool",
        ".rustup/settings.toml",
        ".local/bin/tool",
        ".gitconfig",
        "go/bin/tool",
        ".config/git/ignore",
    ];
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        for (paths, content) in [(&HIDDEN[..], "secret\n"), (&READABLE[..], "tool\n")] {
            for path in paths {
                let path = rig.outside(path);
                fs::create_dir_all(path.parent().unwrap()).unwrap();
                fs::write(path, content).unwrap();
            }
        }
        let command = format!("cd ..; cat {}; echo x > .made; ls -A", HIDDEN.join(" "));
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert!(!printed.contains("secret"), "{sandbox}: {printed}");
        assert!(!rig.outside(".made").exists(), "{sandbox}");
        let command = format!("cd ..; cat {}", READABLE.join(" "));
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert_eq!(
            printed.matches("tool\n").count(),
            READABLE.len(),
            "{sandbox}: {printed}"
        );
    }
}

#[tokio::test]
async fn the_users_settings_make_paths_readable() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    fs::write(
        &file,
        "[models]\n[sandbox]\nreadable = [\"~/data\", \"~/link\"]\n",
    )
    .unwrap();
    let settings = Settings::read(&file).unwrap();
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        for name in ["data", "real"] {
            fs::create_dir(rig.outside(name)).unwrap();
            fs::write(rig.outside(name).join("file"), format!("{name}\n")).unwrap();
        }
        symlink("real", rig.outside("link")).unwrap();
        rig.context.env.retain(|(name, _)| name != "HOME");
        rig.context
            .env
            .push(("HOME".into(), rig.outside("").into()));
        confine_with(&mut rig, sandbox.clone(), &settings);
        wait_for_clock_tick(&rig).await;
        let command = "cat ../data/file ../link/file";
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert_eq!(printed, "data\nreal\n(exit 0)", "{sandbox}");
    }
    fs::write(&file, "[sandbox]\nreadable = [\"data\"]\n").unwrap();
    let error = Settings::read(&file).unwrap_err().to_string();
    assert!(
        error.contains("it must be absolute or start with ~/"),
        "{error}"
    );
    fs::write(&file, "[sandbox]\nwritable = []\n").unwrap();
    let error = Settings::read(&file).unwrap_err().to_string();
    assert!(error.contains("unknown field `writable`"), "{error}");
    for name in ["processes", "memory_mib", "open_files", "file_mib"] {
        fs::write(&file, format!("[sandbox]\n{name} = 0\n")).unwrap();
        let error = Settings::read(&file).unwrap_err().to_string();
        assert!(error.contains(&format!("cannot use {name} = 0")), "{error}");
    }
}

/// bubblewrap hides known secrets. Landlock cannot, so no command starts under Landlock.
#[tokio::test]
async fn a_project_that_is_the_home_directory_shows_no_known_secret() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        rig.put(".ssh/id", "secret");
        rig.put("code/main.c", "int main;");
        let user = User {
            homes: vec![rig.context.project.clone()],
            ..User::new(rig.context.env.clone(), &Settings::default())
        };
        let temporary = rig.outside("temporary");
        let confinement = Confinement::new(
            &rig.context.project,
            temporary,
            user,
            &ours(&rig),
            Network::None,
        )
        .using(sandbox.clone());
        use_confinement(&mut rig, confinement);
        let command = "cat .ssh/id code/main.c; echo evil >> .bashrc";
        let printed = match rig.call("bash", json!({ "command": command })).await {
            Ok(output) => output.text,
            Err(error) => error.to_string(),
        };
        assert!(!printed.contains("secret"), "{sandbox}: {printed}");
        if sandbox.protects() {
            assert!(printed.contains("int main;"), "{sandbox}: {printed}");
            assert!(!rig.path(".bashrc").exists(), "{sandbox}: {printed}");
        } else {
            assert!(printed.contains("cannot hide"), "{sandbox}: {printed}");
        }
    }
}

#[tokio::test]
async fn files_that_read_denies_are_hidden_from_commands() {
    for sandbox in sandboxes().await.into_iter().filter(Sandbox::protects) {
        let mut rig = rig_with_home();
        rig.put(".env", "secret");
        rig.put("keys/one", "secret");
        rig.put("sub/.env", "secret");
        rig.put(".env.local", "secret");
        symlink(".env.local", rig.path("link")).unwrap();
        symlink(".", rig.path("whole")).unwrap();
        rig.put("real/deep/key", "secret");
        symlink("real", rig.path("linked")).unwrap();
        rig.put("main.c", "int main;");
        let rules = [
            "Read(.env)",
            "Read(sub/.env)",
            "Read(keys/**)",
            "Read(link)",
            "Read(whole)",
            "Read(linked/deep/*)",
        ]
        .map(str::to_owned);
        let guard = Guard::new(&rules, rig.context.project.clone(), None);
        let user = User::new(rig.context.env.clone(), &Settings::default());
        let project = &rig.context.project;
        let temporary = rig.outside("temporary");
        let confinement = Confinement::new(project, temporary, user, &ours(&rig), Network::None)
            .using(sandbox.clone())
            .guarded_by(guard);
        use_confinement(&mut rig, confinement);
        let command = "grep -r . --include='*' . ; cat .env keys/one sub/.env link .env.local linked/deep/key \
                       real/deep/key; mv sub moved; cat moved/.env; \
                       ln .env copy; cat copy; cat main.c";
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert!(!printed.contains("secret"), "{sandbox}: {printed}");
        assert!(printed.contains("int main;"), "{sandbox}: {printed}");
    }
}

/// Removing a mount point removes the mount in every namespace, so the sandbox cannot protect the path afterwards.
#[tokio::test]
async fn a_file_at_a_removed_placeholder_is_reported() {
    for sandbox in sandboxes().await.into_iter().filter(Sandbox::protects) {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        let command = "echo ready; while [ ! -e go ]; do sleep 0.05; done; \
                       mkdir -p .vscode; echo {} > .vscode/tasks.json; echo made";
        let call = json!({ "command": command, "background": true });
        rig.text("bash", call).await;
        let wait = json!({ "id": 1, "wait_seconds": 30 });
        let printed = rig.text("bash_output", wait.clone()).await;
        assert!(printed.contains("ready"), "{printed}");
        fs::remove_dir(rig.path(".vscode")).unwrap();
        rig.put("go", "");
        let mut printed = String::new();
        while !printed.contains("(exit") {
            printed += &rig.text("bash_output", wait.clone()).await;
        }
        assert!(printed.contains("made"), "{sandbox}: {printed}");
        assert!(
            printed.contains(".vscode/tasks.json"),
            "{sandbox}: {printed}"
        );
    }
}

/// Traps for git that a sandboxed command leaves: a filter of a nested repository, a filter in attributes within
/// `.git`, and a filter in the configuration of a copy that `commondir` names.
const TRAPS: &str = "\
export GIT_AUTHOR_NAME=t GIT_AUTHOR_EMAIL=t@e GIT_COMMITTER_NAME=t GIT_COMMITTER_EMAIL=t@e
filter='sh -c \"id > ~/PWN; id > $PWD/PWN; cat\"'
git init -q nested && git -C nested config filter.x.clean \"$filter\"
echo '* filter=x' > nested/.gitattributes; echo x > nested/f
git -C nested add f && git -C nested commit -q -m one && git add nested
echo one > a.txt; git add a.txt; git commit -q -m one
cp -r .git e; git config -f e/config filter.x.clean \"$filter\"; echo ../e > .git/commondir
mkdir -p e/info .git/info
echo '* filter=x' > .git/info/attributes; echo '* filter=x' > e/info/attributes
echo '* filter=x' > .gitattributes
rm -f PWN; sleep 1.1; echo y > nested/f; echo two > a.txt; echo made";

#[tokio::test]
async fn git_tools_run_no_trap_of_the_project() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox, &Settings::default());
        let printed = rig.text("bash", json!({ "command": TRAPS })).await;
        assert!(printed.contains("made\n"), "{printed}");
        fs::remove_file(rig.path("PWN")).ok();
        // Each tool either answers, or reports git's error about such a repository.
        for tool in ["git_status", "git_diff"] {
            let _answer = rig.call(tool, json!({})).await;
        }
        assert!(!rig.outside("PWN").exists() && !rig.path("PWN").exists());
    }
}

#[tokio::test]
async fn git_reads_a_project_that_it_cannot_write() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        confine_with(&mut rig, sandbox, &Settings::default());
        rig.put("a.txt", "one\n");
        git(&rig.path(""), &["add", "."]);
        git(&rig.path(""), &["commit", "-q", "-m", "one"]);
        rig.put("a.txt", "two\n");
        let status = rig.text("git_status", json!({})).await;
        assert!(status.contains(" M a.txt\n"), "{status}");
        let diff = rig.text("git_diff", json!({ "against": "HEAD" })).await;
        assert!(diff.contains("-one\n+two\n"), "{diff}");
    }
}

/// The worker reads `.git/info/exclude` outside the sandbox and passes it to the next command.
#[tokio::test]
async fn a_linked_exclude_file_shows_no_secret() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        fs::create_dir(rig.outside(".ssh")).unwrap();
        fs::write(rig.outside(".ssh/id"), "secret").unwrap();
        // An agent can create this link if git's templates create no such file: the sandbox mounts nothing at its path.
        fs::create_dir_all(rig.path(".git/info")).unwrap();
        let exclude = rig.path(".git/info/exclude");
        let _removed = fs::remove_file(&exclude);
        symlink(rig.outside(".ssh/id"), exclude).unwrap();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        let command = "cat .git/info/exclude ../.ssh/id; echo done";
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert!(!printed.contains("secret"), "{sandbox}: {printed}");
        assert!(printed.contains("done"), "{sandbox}: {printed}");
    }
}

/// A mount of the link's target would expose the hidden home directory.
#[tokio::test]
async fn a_linked_protected_path_shows_no_secret() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        fs::create_dir(rig.outside(".ssh")).unwrap();
        fs::write(rig.outside(".ssh/id"), "secret").unwrap();
        symlink("../.ssh", rig.path(".vscode")).unwrap();
        fs::remove_dir_all(rig.path(".git/hooks")).unwrap();
        symlink(rig.outside(".ssh"), rig.path(".git/hooks")).unwrap();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        let command = "cat .vscode/id .git/hooks/id ../.ssh/id; echo done";
        let printed = rig.text("bash", json!({ "command": command })).await;
        assert!(!printed.contains("secret"), "{sandbox}: {printed}");
        assert!(printed.contains("done"), "{sandbox}: {printed}");
    }
}

#[tokio::test]
async fn pipes_in_place_of_git_files_do_not_block() {
    for sandbox in sandboxes().await {
        for pipe in [".git/info/exclude", ".git"] {
            let mut rig = rig_with_home();
            let path = rig.path(pipe);
            let _removed = fs::remove_file(&path).or_else(|_| fs::remove_dir_all(&path));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            assert!(
                Command::new("mkfifo")
                    .arg(&path)
                    .status()
                    .unwrap()
                    .success()
            );
            let (sender, receiver) = std::sync::mpsc::channel();
            // A blocked open in the worker ends only with a writer, not with a timeout of the runtime.
            let writer = std::thread::spawn(move || {
                let ended = receiver.recv_timeout(Duration::from_secs(20));
                if ended.is_err() {
                    let _written = fs::write(path, "");
                }
                ended.is_ok()
            });
            confine_with(&mut rig, sandbox.clone(), &Settings::default());
            let printed = rig.text("bash", json!({ "command": "echo done" })).await;
            let _sent = sender.send(());
            assert!(printed.contains("done"), "{sandbox}: {pipe}: {printed}");
            assert!(
                writer.join().unwrap(),
                "{sandbox}: {pipe} blocks the worker"
            );
        }
    }
}

#[tokio::test]
async fn a_linked_git_directory_is_not_followed() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        fs::remove_dir_all(rig.path(".git")).unwrap();
        let other = rig.outside("other");
        fs::create_dir(&other).unwrap();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        wait_for_clock_tick(&rig).await;
        let link = json!({ "command": "ln -s ../other .git" });
        let printed = rig.text("bash", link).await;
        if sandbox.protects() {
            assert!(!rig.path(".git").exists(), "{sandbox}: {printed}");
            symlink("../other", rig.path(".git")).unwrap();
        } else {
            assert!(printed.contains("warning: "), "{sandbox}: {printed}");
            assert!(printed.contains(": .git."), "{sandbox}: {printed}");
        }
        let job = json!({ "command": "echo ready; sleep 60", "background": true });
        rig.text("bash", job).await;
        let names: Vec<_> = fs::read_dir(&other).unwrap().collect();
        assert!(names.is_empty(), "{sandbox}: {names:?}");
        rig.text("bash_kill", json!({ "id": 1 })).await;
    }
}

#[tokio::test]
async fn changes_through_links_are_reported() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        fs::remove_dir_all(rig.path(".git/hooks")).unwrap();
        rig.put("githooks/pre-commit", "true");
        rig.put("old/pre-commit", "evil");
        symlink("../middle", rig.path(".git/hooks")).unwrap();
        symlink("githooks", rig.path("middle")).unwrap();
        symlink("absent", rig.path(".envrc")).unwrap();
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        wait_for_clock_tick(&rig).await;
        for (command, reported) in [
            ("echo ok", None),
            ("echo evil > absent", Some(".envrc")),
            ("rm middle; ln -s old middle", Some(".git/hooks")),
            (
                "rm .git/hooks; mkdir .git/hooks; echo evil > .git/hooks/pre-push",
                Some(".git/hooks"),
            ),
        ] {
            let printed = rig.text("bash", json!({ "command": command })).await;
            let is_reported = reported.map(|path| printed.contains(path));
            assert_eq!(
                printed.contains("warning: "),
                reported.is_some(),
                "{sandbox}: {command}: {printed}"
            );
            assert_ne!(is_reported, Some(false), "{sandbox}: {command}: {printed}");
        }
    }
}

/// Renaming a directory changes no time of its files.
#[tokio::test]
async fn renamed_directories_are_reported() {
    for sandbox in sandboxes().await {
        let mut rig = rig_with_home();
        rig.put("sub/file", "");
        confine_with(&mut rig, sandbox.clone(), &Settings::default());
        wait_for_clock_tick(&rig).await;
        let make = "mkdir -p a b/hooks; echo evil > a/tasks.json; echo evil > b/hooks/pre-commit; sleep 0.02";
        let printed = rig.text("bash", json!({ "command": make })).await;
        assert!(!printed.contains("warning: "), "{sandbox}: {printed}");
        for (command, reported) in [
            ("mv a sub/.vscode", "sub/.vscode"),
            ("mv b sub/.git", "sub/.git"),
            ("mv sub/.git/hooks c", ""),
            ("mv c sub/.git/hooks", "sub/.git/hooks"),
        ] {
            let command = format!("{command}; sleep 0.02");
            let printed = rig.text("bash", json!({ "command": command })).await;
            assert_eq!(
                printed.contains("warning: "),
                !reported.is_empty(),
                "{sandbox}: {command}: {printed}"
            );
            assert!(
                printed.contains(reported),
                "{sandbox}: {command}: {printed}"
            );
        }
    }
}
