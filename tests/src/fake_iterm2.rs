//! A fake of the user's iTerm2: `fake_iterm2/server.py` speaks the app's protocol with the message classes of the app's
//! own client library, and is therefore written in Python. `cargo xtask test install-iterm2` installs that library and
//! the app's command line, `it2`, for the tests; they are not part of this project.

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::verb::{Output, run};
use crate::{Rig, until, within};

/// A fake `osascript` that the user has allowed to request cookies from the app.
const FAKE_OSASCRIPT: &str = r#"#!/bin/sh
test "$1" = -e || exit 2
case $2 in
    'tell application "iTerm2" to request cookie and key for app named "agent-team"') ;;
    *) exit 3 ;;
esac
cookie=$(od -An -N8 -tx8 /dev/urandom | tr -d ' ')
echo "$cookie" >> "$HOME/cookies"
echo "$cookie key"
"#;

/// The directory where the app's clients are installed; prints a note if they are missing.
pub fn client() -> Option<PathBuf> {
    let own = std::env::current_exe().expect("a test knows its own path");
    let around = own.ancestors().skip(1);
    let here = around
        .map(|directory| directory.join("iterm2-client/bin"))
        // `python` is a link, possibly into a home that this user cannot enter: in this case, `is_file` returns false.
        .find(|client| client.join("it2").is_file() && client.join("python").is_file());
    if here.is_none() {
        eprintln!(
            "skipped: iTerm2's own client is not installed; run cargo xtask test install-iterm2"
        );
    }
    here
}

/// A running fake of the app.
#[derive(Debug)]
pub struct FakeIterm {
    client: PathBuf,
    home: PathBuf,
    child: Child,
    stdin: ChildStdin,
    stdout: Lines<BufReader<ChildStdout>>,
    /// The session in which the user types.
    pub session: String,
}

impl FakeIterm {
    /// Starts the app, and sets the rig's environment so that verbs run in the app's first session, with a cookie.
    pub async fn start(rig: &mut Rig, client: PathBuf, options: &[&str]) -> Self {
        let home = rig.root().join("home");
        let mut child = Command::new(client.join("python"))
            .arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/fake_iterm2/server.py"))
            .args(options)
            .env_clear()
            .env("HOME", &home)
            .env("TMPDIR", rig.root().join("tmp"))
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .expect("python runs");
        let stdin = child.stdin.take().expect("stdin is piped");
        let stdout = child.stdout.take().expect("stdout is piped");
        let mut fake = Self {
            client,
            home,
            child,
            stdin,
            stdout: BufReader::new(stdout).lines(),
            session: String::new(),
        };
        fake.session = text(&fake.line().await["session"]);
        rig.set("ITERM_SESSION_ID", format!("w0t0p0:{}", fake.session));
        rig.set("TERM_PROGRAM", "iTerm.app");
        rig.set("ITERM2_COOKIE", fake.cookie());
        fake
    }

    /// The pid of the app.
    pub fn pid(&self) -> u32 {
        self.child.id().expect("the app runs")
    }

    /// Makes a cookie, with which a client can connect once.
    pub fn cookie(&self) -> String {
        let path = self.home.join("cookies");
        let cookie = format!("cookie-{}", fs::read(&path).map_or(0, |known| known.len()));
        let mut file = OpenOptions::new()
            .create(true)
            .append(true)
            .open(path)
            .expect("the file can be written");
        writeln!(file, "{cookie}").expect("the file can be written");
        cookie
    }

    async fn line(&mut self) -> Value {
        let line = within("the fake iTerm2", self.stdout.next_line()).await;
        let line = line
            .expect("stdout can be read")
            .expect("the fake is running");
        serde_json::from_str(&line).expect("the fake prints JSON")
    }

    async fn command(&mut self, command: Value) -> Value {
        let line = format!("{command}\n");
        let written = self.stdin.write_all(line.as_bytes()).await;
        written.expect("the fake is running");
        self.line().await
    }

    /// The state of the app: windows, tabs, sessions, and the requests that it received.
    pub async fn state(&mut self) -> Value {
        self.command(json!({ "do": "state" })).await
    }

    /// Every session except the user's own.
    pub async fn sessions(&mut self) -> Vec<Value> {
        let state = self.state().await;
        let all = |value: &Value, key: &str| value[key].as_array().cloned().unwrap_or_default();
        let tabs = all(&state, "windows").into_iter();
        let tabs = tabs.flat_map(|window| all(&window, "tabs"));
        tabs.flat_map(|tab| all(&tab, "sessions"))
            .filter(|session| session["id"] != self.session.as_str())
            .collect()
    }

    /// Waits for a session whose name begins with this text.
    pub async fn until_named(&mut self, begins: &str) -> Value {
        until(&format!("a session named {begins:?}"), async || {
            let sessions = self.sessions().await;
            sessions
                .into_iter()
                .find(|session| text(&session["name"]).starts_with(begins))
        })
        .await
    }

    /// Waits until a session has printed this text.
    pub async fn until_shown(&mut self, session: &str, what: &str) -> String {
        until(&format!("{what:?} in session {session}"), async || {
            let command = json!({ "do": "screen", "session": session });
            let shown = text(&self.command(command).await);
            shown.contains(what).then_some(shown)
        })
        .await
    }

    /// Closes a session, as the user does.
    pub async fn close(&mut self, session: &str) {
        self.command(json!({ "do": "close", "session": session }))
            .await;
    }

    /// Replaces the program of a session by a program of the user.
    pub async fn take_over(&mut self, session: &str) {
        self.command(json!({ "do": "run", "session": session }))
            .await;
    }

    /// Quits the app, which ends all its sessions.
    pub async fn quit(self) {
        let Self {
            mut child, stdin, ..
        } = self;
        drop(stdin);
        let ended = within("the fake iTerm2 to quit", child.wait()).await;
        assert!(ended.expect("an exit status").success());
    }

    /// Runs the app's command line in the user's session.
    pub async fn it2<const N: usize>(&self, arguments: [&str; N]) -> Output {
        let mut command = Command::new(self.client.join("it2"));
        command
            .args(arguments)
            .env_clear()
            .env("HOME", &self.home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("LANG", "C.UTF-8")
            .env("ITERM_SESSION_ID", format!("w0t0p0:{}", self.session))
            .env("ITERM2_COOKIE", self.cookie());
        run(command, format!("it2 {}", arguments.join(" ")), b"").await
    }
}

/// Installs the fake `osascript`, so that a client without a cookie can request one from the app.
pub fn with_fake_osascript(rig: &mut Rig) {
    let bin = rig.root().join("fake-bin");
    fs::create_dir(&bin).expect("the directory can be created");
    let script = bin.join("osascript");
    fs::write(&script, FAKE_OSASCRIPT).expect("the file can be written");
    fs::set_permissions(&script, fs::Permissions::from_mode(0o755)).expect("the mode can be set");
    let path = std::env::var("PATH").expect("there is a PATH");
    rig.set("PATH", format!("{}:{path}", bin.display()));
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
