//! tmux servers on sockets of the rig: the team's own server, and a server that plays the user's.

use std::path::{Path, PathBuf};

use crate::verb::{Output, run};
use crate::{until, within};

/// The variable that `cargo xtask test` sets when tmux is not available.
const NO_TMUX: &str = "AGENT_TEAM_TEST_NO_TMUX";

/// Whether tests that need tmux can run; prints a note if tmux is missing.
pub fn is_here() -> bool {
    let here = std::env::var_os(NO_TMUX).is_none();
    if !here {
        eprintln!("skipped: there is no tmux 3.0 or newer here");
    }
    here
}

/// Part of the border below each page of a request except the last page.
const MORE: &str = ", ^O ";

/// One tmux server, by its socket.
#[derive(Debug, Clone)]
pub struct Tmux {
    socket: PathBuf,
    directory: PathBuf,
}

impl Tmux {
    /// `directory` is the home and the working directory of the server.
    pub(crate) fn at(socket: PathBuf, directory: &Path) -> Self {
        Self {
            socket,
            directory: directory.to_owned(),
        }
    }

    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// Runs one tmux command.
    pub async fn run<const N: usize>(&self, arguments: [&str; N]) -> Output {
        let mut command = tokio::process::Command::new("tmux");
        command
            .arg("-S")
            .arg(&self.socket)
            .args(["-f", "/dev/null"])
            .args(arguments)
            .current_dir(&self.directory)
            .env_clear()
            .env("HOME", &self.directory)
            .env("LANG", "C.UTF-8")
            .env("TERM", "xterm-256color")
            // The login shell of a system user such as `nobody` runs no commands.
            .env("SHELL", "/bin/sh")
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        run(command, format!("tmux {}", arguments.join(" ")), b"").await
    }

    /// The output of a tmux command that must succeed, without the last newline.
    pub async fn ask<const N: usize>(&self, arguments: [&str; N]) -> String {
        let output = self.run(arguments).await.expect(0);
        output.stdout.trim_end_matches('\n').to_owned()
    }

    /// A format's value for each pane of the server.
    pub async fn panes(&self, format: &str) -> Vec<String> {
        let panes = self.ask(["list-panes", "-a", "-F", format]).await;
        panes.lines().map(str::to_owned).collect()
    }

    /// The content of a pane with its scrollback.
    pub async fn capture(&self, pane: &str) -> String {
        self.ask(["capture-pane", "-p", "-J", "-S", "-", "-t", pane])
            .await
    }

    /// Waits until a pane shows this text; returns the content of the pane.
    pub async fn until_shown(&self, pane: &str, text: &str) -> String {
        let what = format!("{text:?} in pane {pane}");
        until(&what, async || {
            let shown = self.capture(pane).await;
            shown.contains(text).then_some(shown)
        })
        .await
    }

    /// Reads a request to its end, page by page, until its `prompt` is shown. Returns every page.
    pub async fn until_read(&self, pane: &str, prompt: &str) -> String {
        let mut pages = String::new();
        let what = format!("{prompt:?} in pane {pane}, after every page");
        within(&what, async {
            loop {
                let page = self.until_any(pane, &[prompt, MORE]).await;
                let last = page.contains(prompt);
                let below = newest_pager(&page);
                pages.push_str(&page);
                if last {
                    return;
                }
                self.ask(["send-keys", "-t", pane, "Space"]).await;
                // The number of lines below differs from page to page. Only the newest number counts: the scrollback
                // contains earlier pages.
                until(&what, async || {
                    let shown = self.capture(pane).await;
                    (shown.contains(prompt) || newest_pager(&shown) != below).then_some(())
                })
                .await;
            }
        })
        .await;
        pages
    }

    async fn until_any(&self, pane: &str, texts: &[&str]) -> String {
        let what = format!("one of {texts:?} in pane {pane}");
        until(&what, async || {
            let shown = self.capture(pane).await;
            let any = texts.iter().any(|text| shown.contains(text));
            any.then_some(shown)
        })
        .await
    }
}

/// The newest line with the number of lines below a page.
fn newest_pager(shown: &str) -> Option<String> {
    let line = shown.lines().rfind(|line| line.contains(MORE));
    line.map(str::to_owned)
}
