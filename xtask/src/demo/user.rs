//! Acts on the demo team from outside: kills ben's worker, and, without a user, allows requests and answers questions.
//! Runs in a thread beside the command that shows or waits for the team.

use std::fmt;
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;

use super::Demo;
use crate::run::{check, succeeds};

/// The member whose worker is killed.
const VICTIM: &str = "ben";

/// The interval between two reads of the team's state.
const INTERVAL: Duration = Duration::from_millis(50);

/// The actions on the team.
#[derive(Debug, Clone, Copy)]
pub(crate) struct UserActions {
    /// Kill ben's worker after it has worked for this long.
    pub(crate) kills_after: Duration,
    /// Allow requests, and answer questions to the user.
    pub(crate) answers: bool,
}

/// The process that was killed, and the process that agent-team started in its place.
#[derive(Debug)]
pub(crate) struct Killed {
    before: i32,
    after: i32,
}

impl fmt::Display for Killed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { before, after } = self;
        write!(
            f,
            "process {before}, {VICTIM}'s worker, was killed while it worked; agent-team started process {after}"
        )
    }
}

impl Demo {
    /// Runs `command`, which shows the team or waits for it, and acts on the team meanwhile.
    pub(crate) fn acting(
        &self,
        acts: UserActions,
        command: impl FnOnce() -> Result<()>,
    ) -> Result<Option<Killed>> {
        let is_over = AtomicBool::new(false);
        thread::scope(|scope| {
            let acting = scope.spawn(|| self.act(acts, &is_over));
            let outcome = command();
            is_over.store(true, Ordering::Relaxed);
            let killed = acting
                .join()
                .ok()
                .context("a thread of the demo panicked")?;
            outcome.and(killed)
        })
    }

    fn act(&self, acts: UserActions, is_over: &AtomicBool) -> Result<Option<Killed>> {
        let mut works_since = None;
        let mut killed_pid = None;
        let mut killed = None;
        // Continue until a killed worker is replaced: a user can detach earlier, which ends the command.
        while !is_over.load(Ordering::Relaxed) || (killed_pid.is_some() && killed.is_none()) {
            thread::sleep(INTERVAL);
            let members = self.members();
            if let Some(victim) = members.iter().find(|member| member["name"] == VICTIM) {
                let pid = victim["pid"]
                    .as_i64()
                    .and_then(|pid| i32::try_from(pid).ok());
                // The process of a hosted member also runs other members.
                let may_kill = victim["state"] == "working" && victim["placement"] != "hosted";
                match (pid, killed_pid) {
                    (Some(pid), None) if may_kill => {
                        let since = *works_since.get_or_insert_with(Instant::now);
                        if since.elapsed() >= acts.kills_after {
                            kill(Pid::from_raw(pid), Signal::SIGKILL)?;
                            killed_pid = Some(pid);
                        }
                    }
                    (Some(after), Some(before)) if after != before => {
                        killed.get_or_insert(Killed { before, after });
                    }
                    _ => {}
                }
            }
            if acts.answers {
                for line in self.answer()? {
                    println!("── {line}");
                }
            } else if killed.is_some() {
                break;
            }
        }
        Ok(killed)
    }

    /// Allows each pending request, and answers each question; returns a line for each.
    fn answer(&self) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let listed = self.json(&["requests", "--json"]).unwrap_or_default();
        for request in listed["requests"].as_array().into_iter().flatten() {
            let [id, member, tool] =
                ["id", "member", "tool"].map(|key| request[key].as_str().unwrap_or_default());
            // This call fails if the kill of ben's worker has already withdrawn the request.
            if succeeds(&mut self.agent_team(&["requests", "allow", id])) {
                lines.push(format!(
                    "{member} asks before it calls {tool}: agent-team requests allow {id}"
                ));
            }
        }
        for member in self.members() {
            if member["asks_user"].is_null() {
                continue;
            }
            let name = member["name"].as_str().unwrap_or_default();
            check(
                self.agent_team(&["send", name, "yes"])
                    .stdout(Stdio::null()),
            )?;
            lines.push(format!("{name} asks the user: agent-team send {name} yes"));
        }
        Ok(lines)
    }

    /// The members; none before the team is up and after it is down.
    pub(crate) fn members(&self) -> Vec<Value> {
        let team = self.json(&["ps", "--json"]).unwrap_or_default();
        team["members"].as_array().cloned().unwrap_or_default()
    }

    /// The document that a verb prints; `None` if it fails.
    fn json(&self, args: &[&str]) -> Option<Value> {
        let output = self.agent_team(args).output().ok()?;
        serde_json::from_slice(&output.stdout).ok()
    }
}
