//! One run of a team on a task: starts the team, acts as its user, collects the figures and runs the check. Called by
//! `eval` for each task.

use std::fs;
use std::io::{Read as _, Seek as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use agent_team_protocol::text::visible_label;
use anyhow::{Context as _, Result};
use serde_json::Value;

use super::eval_home::EvalHome;
use super::figures::Figures;
use super::project::{Ending, Project, REASON_MAX};
use super::recorded_model::RecordedModel;
use super::task::{self, EvalTask, Team, WORKER};

/// The source of the answers to the agents' model requests.
pub(super) enum ModelSource {
    Recordings(RecordedModel),
    /// The model of this name.
    Model(String),
    /// The model of a server that speaks Chat Completions.
    Server {
        model: String,
        base_url: String,
    },
}

pub(super) struct Attempt<'a> {
    pub(super) home: &'a EvalHome,
    pub(super) model_source: &'a ModelSource,
    pub(super) task: &'a EvalTask,
    pub(super) limit: Duration,
    pub(super) interrupted: &'a AtomicBool,
}

/// The interval at which processes are polled.
const INTERVAL: Duration = Duration::from_millis(50);

/// The interval at which questions and permission requests are polled.
const USER_INTERVAL: Duration = Duration::from_millis(700);

/// How long a command of the runner may take. `down` stops the members first.
const CALL_LIMIT: Duration = Duration::from_mins(2);

/// How long the last answer may take after the end of the last task.
const TURN_LIMIT: Duration = Duration::from_secs(10);

/// The user's reply to a question for which the task has no reply.
const NO_REPLY: &str =
    "I cannot answer now. Decide yourself, and state your decision in the result.";

/// The state of a task whose agent was stopped by the runner.
pub(super) const TIME_LIMIT: &str = "time limit";

/// The state of a task that the runner could not evaluate. Its figures are not evidence about the model.
pub(super) const RUNNER_ERROR: &str = "runner error";

impl Attempt<'_> {
    /// Evaluates the task. An error of the runner becomes the reason of a failed task, so that the figures of the other
    /// tasks are not lost.
    pub(super) fn run(&self) -> Figures {
        self.evaluate().unwrap_or_else(|error| Figures {
            task: self.task.name.clone(),
            why: visible_label(&format!("{error:#}"), REASON_MAX),
            state: RUNNER_ERROR.to_owned(),
            ..Figures::default()
        })
    }

    fn evaluate(&self) -> Result<Figures> {
        let environment = |command: &mut std::process::Command| self.home.environment(command);
        let project = Project::create(self.task, self.home.root(), environment)?;
        let model = |member: &str| match self.model_source {
            ModelSource::Recordings(_) => format!("openai-compatible/{member}"),
            ModelSource::Model(model) | ModelSource::Server { model, .. } => model.clone(),
        };
        project.write_team(model, &task::secret_directories())?;
        let measured = self.measure(&project.directory);
        // Stop the team after an error, too: a running team costs tokens.
        let stopped = self.stop_team(&project.directory);
        let (result, seconds, stats) = measured?;
        stopped?;
        let (state, text) = match &result {
            Some(result) => self.ending(result),
            None => (TIME_LIMIT.to_owned(), String::new()),
        };
        let exchanges = exchanges(&project.directory.with_extension("jsonl"));
        let ending = Ending {
            state: &state,
            result: &text,
            calls: &executed(&exchanges),
        };
        let mut why = project.check(&ending, environment)?;
        if let (Some(why), Some(reason)) = (&mut why, reason(result.as_ref())) {
            why.push_str(&format!("; {reason}"));
        }
        if let ModelSource::Recordings(server) = self.model_source
            && let Some(mismatch) = server.mismatch(&self.task.name)
        {
            why = Some(mismatch);
        }
        let number = |name: &str| stats[name].as_u64().unwrap_or(0);
        let members = result.iter().flat_map(members);
        Ok(Figures {
            task: self.task.name.clone(),
            solved: why.is_none(),
            why: why.unwrap_or_default(),
            steps: exchanges.len() as u64,
            tokens_in: number("tokens_in"),
            tokens_cached: number("tokens_cached"),
            tokens_out: number("tokens_out"),
            cost: stats["cost"].as_f64(),
            seconds,
            restarts: members.filter_map(|it| it["restarts"].as_u64()).sum(),
            has_called_complete: exchanges.iter().any(|it| calls(it, "complete_task")),
            state,
        })
    }

    /// Runs the team. Returns its result, the time that it took in seconds, and its statistics.
    fn measure(&self, project: &Path) -> Result<(Option<Value>, f64, Value)> {
        let start = Instant::now();
        let result = self.run_team(project)?;
        let seconds = start.elapsed().as_secs_f64();
        self.wait_for_turns(project);
        Ok((result, seconds, self.stats(project)?))
    }

    /// Runs `up --wait` and answers the team's questions. Returns its result; `None`: the time limit was reached.
    fn run_team(&self, project: &Path) -> Result<Option<Value>> {
        let record = project.with_extension("jsonl").display().to_string();
        let mode = match self.home.is_sandboxed {
            true => "sandboxed",
            false => "accept-edits",
        };
        let mut args = vec!["up", "--wait", "--detach", "--json", "--mode", mode];
        args.extend(["--record", &record]);
        let trusted = self.trusted(project)?;
        if let Some(digest) = &trusted {
            args.extend(["--trust", digest]);
        }
        if self.task.team == Team::Lead {
            args.push(&self.task.prompt);
        }
        let output = project.with_extension("result");
        let mut up = self.agent_team(project, &args);
        up.stdin(Stdio::null())
            .stdout(fs::File::create(&output)?)
            .stderr(fs::File::create(project.with_extension("stderr"))?);
        let child = up.spawn().context("cannot start agent-team")?;
        let mut answered = Instant::now();
        let status = wait_within(child, self.limit, || {
            if answered.elapsed() >= USER_INTERVAL {
                self.answer_as_user(project);
                answered = Instant::now();
            }
            !self.interrupted.load(Ordering::Relaxed)
        })?;
        if status.is_none() {
            return Ok(None);
        }
        let text = fs::read_to_string(&output)?;
        let result = serde_json::from_str(&text).with_context(|| {
            let error = fs::read_to_string(project.with_extension("stderr")).unwrap_or_default();
            format!("agent-team up printed no result: {}", error.trim())
        })?;
        Ok(Some(result))
    }

    /// The digest of the project's lines that need trust, if there are any.
    fn trusted(&self, project: &Path) -> Result<Option<String>> {
        let mut up = self.agent_team(project, &["up", "--dry-run", "--json"]);
        let output = output_within(&mut up)?;
        if output.status.success() {
            return Ok(None);
        }
        let error: Value = serde_json::from_slice(&output.stderr)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        // The later `up` reports any other error again.
        if error["error"]["code"] != "untrusted" {
            return Ok(None);
        }
        let hint = error["error"]["hint"].as_str().unwrap_or_default();
        Ok(hint.rsplit(' ').next().map(str::to_owned))
    }

    /// Replies to questions, and decides permission requests: denies each request, but allows commands if there is no
    /// sandbox. A failed command is repeated after the interval.
    fn answer_as_user(&self, project: &Path) {
        let Ok(output) = output_within(&mut self.agent_team(project, &["requests", "--json"]))
        else {
            return;
        };
        let open: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let run = |args: &[&str]| output_within(&mut self.agent_team(project, args)).is_ok();
        for question in open["questions"].as_array().into_iter().flatten() {
            let member = question["member"].as_str().unwrap_or(WORKER);
            run(&[
                "send",
                member,
                self.task.reply.as_deref().unwrap_or(NO_REPLY),
            ]);
        }
        let requests = open["requests"].as_array().into_iter().flatten();
        for request in requests.filter(|request| request["state"] == "pending") {
            let id = request["id"].as_str().unwrap_or_default();
            let is_command = request["tool"] == "bash";
            let decision = match is_command && !self.home.is_sandboxed {
                true => "allow",
                false => "deny",
            };
            run(&["requests", decision, id]);
        }
    }

    /// Waits until no member works: `up --wait` ends with the last task, and the last answer of the model is counted
    /// later.
    fn wait_for_turns(&self, project: &Path) {
        let start = Instant::now();
        while start.elapsed() < TURN_LIMIT {
            let Ok(output) = output_within(&mut self.agent_team(project, &["ps", "--json"])) else {
                return;
            };
            let team: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
            if !members(&team).iter().any(|it| it["state"] == "working") {
                return;
            }
            sleep(INTERVAL);
        }
    }

    /// The total of `stats`.
    fn stats(&self, project: &Path) -> Result<Value> {
        let output = output_within(&mut self.agent_team(project, &["stats", "--json"]))?;
        let mut stats: Value = serde_json::from_slice(&output.stdout)
            .with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
        Ok(stats["total"].take())
    }

    fn stop_team(&self, project: &Path) -> Result<()> {
        let output = output_within(&mut self.agent_team(project, &["down", "--force"]))?;
        anyhow::ensure!(
            output.status.success(),
            "agent-team down failed: {} {}",
            String::from_utf8_lossy(&output.stderr),
            // The receipts in stdout name the processes that survived.
            String::from_utf8_lossy(&output.stdout)
        );
        Ok(())
    }

    /// How the agents ended, and their result.
    fn ending(&self, result: &Value) -> (String, String) {
        let (state, text) = match self.task.team {
            Team::Worker => (&result["tasks"][0]["state"], &result["tasks"][0]["result"]),
            Team::Lead => (&result["outcome"], &result["final_answer"]),
        };
        let owned = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (owned(state), owned(text))
    }

    fn agent_team(&self, project: &Path, args: &[&str]) -> Command {
        let mut command = self.home.agent_team(project, args);
        let base_url = match self.model_source {
            ModelSource::Recordings(server) => server.base_url(&self.task.name),
            ModelSource::Server { base_url, .. } => base_url.clone(),
            ModelSource::Model(_) => return command,
        };
        command.env("OPENAI_COMPATIBLE_BASE_URL", base_url);
        command
    }
}

/// Waits for a process. Kills it after the limit, and when `continues` returns false; the result is then `None`.
pub(super) fn wait_within(
    mut child: Child,
    limit: Duration,
    mut continues: impl FnMut() -> bool,
) -> Result<Option<ExitStatus>> {
    let start = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if start.elapsed() > limit || !continues() {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        sleep(INTERVAL);
    }
}

/// Runs a command of the runner, and returns its output.
///
/// # Errors
/// The command cannot be started, or does not end in time.
pub(super) fn output_within(command: &mut Command) -> Result<Output> {
    output_of(command, CALL_LIMIT)
}

fn output_of(command: &mut Command, limit: Duration) -> Result<Output> {
    // Write the output to files. A process that outlives the command can keep a pipe open: a read to the end of the
    // pipe would then never return.
    let (mut stdout, mut stderr) = (tempfile::tempfile()?, tempfile::tempfile()?);
    let child = command
        .stdin(Stdio::null())
        .stdout(stdout.try_clone()?)
        .stderr(stderr.try_clone()?)
        .spawn();
    let name = command.get_program().to_string_lossy().into_owned();
    let child = child.with_context(|| format!("cannot start {name}"))?;
    let status = wait_within(child, limit, || true)?;
    let status = status.with_context(|| format!("{name} did not end in {limit:?}"))?;
    let mut output = Output {
        status,
        stdout: Vec::new(),
        stderr: Vec::new(),
    };
    for (file, bytes) in [
        (&mut stdout, &mut output.stdout),
        (&mut stderr, &mut output.stderr),
    ] {
        file.rewind()?;
        file.read_to_end(bytes)?;
    }
    Ok(output)
}

fn members(result: &Value) -> &[Value] {
    result["members"].as_array().map_or(&[], Vec::as_slice)
}

/// Why the run ended without a result, in one line.
fn reason(result: Option<&Value>) -> Option<String> {
    let result = result?;
    let reason = result["reason"].as_str();
    let note = result["tasks"][0]["result"].as_str();
    let text = reason.or(note)?;
    let line = text.lines().next().unwrap_or_default();
    Some(visible_label(line, REASON_MAX))
}

/// The exchanges with models that `up --record` has written.
fn exchanges(file: &Path) -> Vec<Value> {
    let text = fs::read_to_string(file).unwrap_or_default();
    // The first line is a header.
    let lines = text.lines().skip(1);
    lines
        .filter_map(|line| serde_json::from_str(line).ok())
        .filter(|exchange: &Value| exchange["outcome"]["answer"].is_object())
        .collect()
}

/// The calls of all answers, each as a line with the tool and its arguments.
fn executed(exchanges: &[Value]) -> String {
    let calls = exchanges
        .iter()
        .filter_map(|exchange| exchange["outcome"]["answer"]["calls"].as_array())
        .flatten();
    let line = |call: &Value| {
        let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
        format!("{} {}\n", text(&call["name"]), text(&call["input"]))
    };
    calls.map(line).collect()
}

fn calls(exchange: &Value, tool: &str) -> bool {
    let calls = exchange["outcome"]["answer"]["calls"].as_array();
    calls.into_iter().flatten().any(|call| call["name"] == tool)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refused_request_does_not_count_as_a_step() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("record.jsonl");
        let lines = [
            r#"{"recording":1}"#,
            r#"{"outcome":{"too_long":"the window is 8192"}}"#,
            r#"{"outcome":{"answer":{"calls":[{"name":"read"}]}}}"#,
        ];
        fs::write(&file, lines.join("\n")).unwrap();
        let exchanges = exchanges(&file);
        assert_eq!(exchanges.len(), 1);
        assert!(calls(&exchanges[0], "read") && !calls(&exchanges[0], "complete_task"));
    }

    #[test]
    fn a_command_of_the_runner_has_a_time_limit() {
        let mut quick = Command::new("sh");
        let output = output_within(quick.args(["-c", "echo out; echo err >&2; exit 3"])).unwrap();
        assert_eq!(output.status.code(), Some(3));
        assert_eq!(
            (&*output.stdout, &*output.stderr),
            (&b"out\n"[..], &b"err\n"[..])
        );
        let mut slow = Command::new("sh");
        let late = output_of(
            slow.args(["-c", "exec sleep 60"]),
            Duration::from_millis(10),
        );
        let error = late.unwrap_err().to_string();
        assert!(error.starts_with("sh did not end in"), "{error}");
    }

    #[test]
    fn a_check_receives_each_call_on_one_line() {
        let call = serde_json::json!({"name": "bash", "input": "{\"command\":\n\"ls\"}"});
        let exchange = serde_json::json!({"outcome": {"answer": {"calls": [call]}}});
        let calls = executed(&[exchange.clone(), exchange]);
        assert_eq!(calls, "bash {\"command\": \"ls\"}\n".repeat(2));
    }

    #[test]
    fn a_reason_is_one_visible_line() {
        let result = serde_json::json!({ "reason": "stop\u{1b}[2J\nmore" });
        let reason = reason(Some(&result)).unwrap();
        assert!(
            reason.starts_with("stop") && !reason.contains(['\u{1b}', '\n']),
            "{reason}"
        );
    }
}
