//! Runs the user's hooks: shell lines that can refuse the completion of a task, or make an idle member continue. Called
//! by the driver, in a separate tokio task. Only exit 0 approves a completion. A hook that fails does not make a member
//! continue. Also runs the program that notifies the user.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use agent_team_protocol::spec::FileDigest;
use agent_team_system::{descriptors, process, trusted};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;

/// Time limit of a hook.
const LIMIT: Duration = Duration::from_secs(60);

/// Time limit of a program that notifies the user.
const NOTIFY_LIMIT: Duration = Duration::from_secs(10);

/// Maximum bytes kept of a reason.
const REASON_MAX: u64 = 16 << 10;

/// The exit code for a refusal.
const REFUSED: i32 = 2;

pub(crate) struct Hook {
    pub(crate) line: String,
    /// The scripts that the line starts, with the digests that the user trusted.
    pub(crate) files: Vec<FileDigest>,
    pub(crate) project: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    /// JSON for the hook's stdin.
    pub(crate) input: String,
}

pub(crate) enum HookOutcome {
    Approved,
    /// Exit 2, with stderr as the reason.
    Refused(String),
    /// The hook failed or did not finish; contains the cause.
    Failed(String),
}

/// The process group of a running program. Dropping this value kills the group: killing a hook's `/bin/sh` alone would
/// leave its children running.
struct RunningGroup {
    /// The program's pid, which is also the id of its group. The program must not be reaped before the group is killed:
    /// afterwards another group may have this id.
    leader: Option<u32>,
}

impl Drop for RunningGroup {
    fn drop(&mut self) {
        if let Some(leader) = self.leader
            && let Err(error) = process::kill_group(leader)
        {
            tracing::warn!(leader, %error, "cannot kill the processes of a hook or of the notify program");
        }
    }
}

/// Runs a hook in the project directory.
pub(crate) async fn run(hook: Hook) -> HookOutcome {
    run_within(LIMIT, hook).await
}

async fn run_within(limit: Duration, hook: Hook) -> HookOutcome {
    let line = hook.line.clone();
    let outcome = match tokio::time::timeout(limit, execute(hook)).await {
        Ok(Ok((Some(0), _))) => HookOutcome::Approved,
        Ok(Ok((Some(REFUSED), reason))) => HookOutcome::Refused(reason),
        Ok(Ok((Some(code), text))) => {
            HookOutcome::Failed(format!("the hook failed with exit {code}: {text}"))
        }
        Ok(Ok((None, _))) => HookOutcome::Failed("the hook was killed by a signal".to_owned()),
        Ok(Err(error)) => HookOutcome::Failed(format!("cannot run the hook: {error}")),
        Err(_elapsed) => {
            HookOutcome::Failed(format!("the hook was killed after {} s", limit.as_secs()))
        }
    };
    if let HookOutcome::Failed(why) = &outcome {
        tracing::warn!(line, why, "a hook failed");
    }
    outcome
}

async fn execute(hook: Hook) -> std::io::Result<(Option<i32>, String)> {
    let argv = ["/bin/sh", "-c", &hook.line].map(str::to_owned);
    execute_program(Program {
        argv: argv.into(),
        files: hook.files,
        project: hook.project,
        environment: hook.environment,
        input: hook.input,
    })
    .await
}

/// A program with its input: the shell of a hook, or the program that notifies the user.
pub(crate) struct Program {
    /// Contains at least the program.
    pub(crate) argv: Vec<String>,
    /// The scripts that the program starts, with the digests that the user trusted.
    pub(crate) files: Vec<FileDigest>,
    pub(crate) project: PathBuf,
    pub(crate) environment: BTreeMap<String, String>,
    /// JSON for the program's stdin.
    pub(crate) input: String,
}

/// Runs a program that notifies the user. Returns the reason of a failure.
pub(crate) async fn run_program(program: Program) -> Result<(), String> {
    match tokio::time::timeout(NOTIFY_LIMIT, execute_program(program)).await {
        Ok(Ok((Some(0), _))) => Ok(()),
        Ok(Ok((Some(code), text))) => Err(format!("exit {code}: {text}")),
        Ok(Ok((None, _))) => Err("it was killed by a signal".to_owned()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_elapsed) => Err(format!("it was killed after {} s", NOTIFY_LIMIT.as_secs())),
    }
}

/// Returns the exit code, `None` after a signal, and the beginning of stderr.
async fn execute_program(program: Program) -> std::io::Result<(Option<i32>, String)> {
    trusted::check(&program.files).map_err(std::io::Error::other)?;
    let [name, args @ ..] = program.argv.as_slice() else {
        return Err(std::io::Error::other("there is no program"));
    };
    let mut command = Command::new(name);
    command
        .args(args)
        .current_dir(&program.project)
        .env_clear()
        .envs(&program.environment)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    descriptors::lower_limit_of(command.as_std_mut());
    let mut child = command.spawn()?;
    let mut group = RunningGroup { leader: child.id() };
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let write = async {
        if let Some(mut stdin) = stdin {
            // A hook may exit without reading its input: ignore EPIPE.
            let _unread = stdin.write_all(program.input.as_bytes()).await;
        }
    };
    // Read stderr concurrently with the write: a hook may fill the pipe of stderr before it reads its input. Read all
    // of stderr, because a closed pipe would kill the hook.
    let read = async {
        let mut bytes = Vec::new();
        if let Some(mut stderr) = stderr {
            let mut head = (&mut stderr).take(REASON_MAX);
            head.read_to_end(&mut bytes).await?;
            tokio::io::copy(&mut stderr, &mut tokio::io::sink()).await?;
        }
        std::io::Result::Ok(bytes)
    };
    let ((), bytes) = tokio::join!(write, read);
    let reason = String::from_utf8_lossy(&bytes?).trim().to_owned();
    let status = child.wait().await?;
    group.leader = None;
    Ok((status.code(), reason))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(line: &str) -> HookOutcome {
        outcome_within(LIMIT, line, r#"{"task":"T-1"}"#)
    }

    fn outcome_within(limit: Duration, line: &str, input: &str) -> HookOutcome {
        let environment = BTreeMap::from([("PATH".to_owned(), "/usr/bin:/bin".to_owned())]);
        let hook = Hook {
            line: line.to_owned(),
            files: Vec::new(),
            project: std::env::temp_dir(),
            environment,
            input: input.to_owned(),
        };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(run_within(limit, hook))
    }

    #[test]
    fn a_timeout_kills_the_children_of_the_hook() {
        let directory = tempfile::tempdir().unwrap();
        let pid = directory.path().join("pid");
        let line = format!("sleep 1000 & echo $! > {}; wait", pid.display());
        let outcome = outcome_within(Duration::from_millis(500), &line, "");
        assert!(matches!(outcome, HookOutcome::Failed(why) if why.contains("killed after")));
        let pid = std::fs::read_to_string(pid)
            .unwrap()
            .trim()
            .parse()
            .unwrap();
        // An orphan may stay a zombie for a moment, until init reaps it.
        let is_alive = || {
            let child = process::ProcessId::of(pid).unwrap();
            child.is_some_and(|child| child.is_alive().unwrap())
        };
        while is_alive() {
            std::thread::yield_now();
        }
    }

    #[test]
    fn a_hook_may_fill_stderr_before_it_reads_stdin() {
        let input = "x".repeat(200_000);
        let line = "head -c 200000 /dev/zero >&2; cat > /dev/null; exit 2";
        let outcome = outcome_within(LIMIT, line, &input);
        assert!(matches!(outcome, HookOutcome::Refused(why) if why.len() as u64 == REASON_MAX));
    }

    #[test]
    fn only_exit_0_approves() {
        assert!(matches!(outcome("exit 0"), HookOutcome::Approved));
        assert!(
            matches!(outcome("echo tests are missing >&2; exit 2"), HookOutcome::Refused(why) if why == "tests are missing")
        );
        assert!(matches!(outcome("exit 1"), HookOutcome::Failed(why) if why.contains("exit 1")));
        assert!(
            matches!(outcome("kill -9 $$"), HookOutcome::Failed(why) if why.contains("signal"))
        );
        assert!(
            matches!(outcome("no-such-program"), HookOutcome::Failed(why) if why.contains("exit 127"))
        );
    }

    #[test]
    fn a_hook_receives_json_and_may_ignore_it() {
        assert!(matches!(
            outcome(r#"test "$(cat)" = '{"task":"T-1"}'"#),
            HookOutcome::Approved
        ));
        assert!(matches!(
            outcome("exec 0<&-; exit 0"),
            HookOutcome::Approved
        ));
    }
}
