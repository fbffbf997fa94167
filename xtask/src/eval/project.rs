//! The repository of one task: creates it, with its history and team file, and checks the result. A check runs code that
//! the agent wrote, outside a sandbox.

use std::fs;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use agent_team_protocol::text::visible_label;
use anyhow::{Context as _, Result, ensure};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::attempt::{output_within, wait_within};
use super::task::{EvalTask, LEAD, Team, WORKER};

/// The time limit of a check.
const CHECK_LIMIT: Duration = Duration::from_mins(1);

/// Maximum size of a file that a check writes, in blocks of 512 bytes (1024 in bash). A program of the agent that
/// prints without end could fill the disk before the time limit.
const CHECK_BLOCKS: u32 = 65_536;

/// The inherited variables that checks see. Other variables can contain keys of models.
const CHECK_VARIABLES: [&str; 2] = ["LD_LIBRARY_PATH", "TMPDIR"];

/// Maximum length of a reason, in characters.
pub(super) const REASON_MAX: usize = 300;

/// A repository with the files of a task.
pub(super) struct Project<'a> {
    task: &'a EvalTask,
    pub(super) directory: PathBuf,
}

/// How the agent ended, for the check.
pub(super) struct Ending<'a> {
    /// `completed`, `failed`, `pending`, or the outcome of a goal such as `finished`.
    pub(super) state: &'a str,
    /// The result of the task, or the lead's answer.
    pub(super) result: &'a str,
    /// The calls of the agents, one on each line.
    pub(super) calls: &'a str,
}

impl<'a> Project<'a> {
    /// Creates the repository in a new directory below `parent`, with one commit, and runs the task's setup in it.
    /// `environment` prepares each command.
    pub(super) fn create(
        task: &'a EvalTask,
        parent: &Path,
        environment: impl Fn(&mut Command),
    ) -> Result<Self> {
        let directory = parent.join(&task.name);
        fs::create_dir(&directory)
            .with_context(|| format!("cannot create {}", directory.display()))?;
        for (name, text) in &task.files {
            let path = directory.join(name);
            fs::create_dir_all(path.parent().expect("the file is below the directory"))?;
            fs::write(path, text)?;
        }
        let script = format!(
            "set -eu\ngit init -q -b main\nprintf '.agent-team\\n__pycache__\\n' >> .git/info/exclude\ngit add -A\n\
             git commit -q --allow-empty -m 'Initial commit'\n{}",
            task.setup
        );
        let mut setup = Command::new("sh");
        setup.args(["-c", &script]).current_dir(&directory);
        environment(&mut setup);
        let output = output_within(&mut setup)?;
        ensure!(
            output.status.success(),
            "the setup of {} failed: {}",
            task.name,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self { task, directory })
    }

    /// Writes the team file. `model` returns the model of a member.
    /// `denied`: directories that the agents may not read.
    pub(super) fn write_team(
        &self,
        model: impl Fn(&str) -> String,
        denied: &[PathBuf],
    ) -> Result<()> {
        let text = team_file(self.task, model, denied);
        fs::create_dir(self.directory.join(".agent-team"))?;
        fs::write(self.directory.join(".agent-team/team.toml"), text)?;
        Ok(())
    }

    /// Runs the check, and ends all its processes. Returns why the task is not solved; `None` if the task is solved.
    pub(super) fn check(
        &self,
        ending: &Ending<'_>,
        environment: impl Fn(&mut Command),
    ) -> Result<Option<String>> {
        let calls = self.directory.with_extension("calls");
        fs::write(&calls, ending.calls)?;
        let mut check = Command::new("sh");
        let limit = format!("ulimit -f {CHECK_BLOCKS}");
        let inherited = CHECK_VARIABLES.map(|name| (name, std::env::var_os(name)));
        let inherited = inherited
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        check
            .args(["-c", &format!("set -eu\n{limit}\n{}", self.task.check)])
            .env_clear()
            .envs(inherited)
            .process_group(0)
            .current_dir(&self.directory)
            .env("STATE", ending.state)
            .env("RESULT", ending.result)
            .env("CALLS", &calls)
            .stdin(Stdio::null());
        environment(&mut check);
        let output = self.directory.with_extension("check");
        let file = fs::File::create(&output)?;
        check.stdout(file.try_clone()?).stderr(file);
        let child = check.spawn().context("cannot start sh")?;
        let group = Pid::from_raw(child.id().cast_signed());
        let ended = wait_within(child, CHECK_LIMIT, || true);
        // Programs of the agent can continue after the shell.
        let _none_left = killpg(group, Signal::SIGKILL);
        match ended? {
            Some(status) if status.success() => return Ok(None),
            Some(_) => {}
            None => return Ok(Some("the check reached its time limit".to_owned())),
        }
        let text = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        let last = last.unwrap_or("the check failed");
        Ok(Some(visible_label(last, REASON_MAX)))
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn team_file(task: &EvalTask, model: impl Fn(&str) -> String, denied: &[PathBuf]) -> String {
    let mode = match task.team {
        Team::Worker => "manual",
        Team::Lead => "lead",
    };
    let agent = |name: &str| {
        format!(
            "engine = \"native\"\nmodel = {}\nmax_steps = {}\n",
            quoted(&model(name)),
            task.max_steps
        )
    };
    let mut text =
        format!("name = \"eval\"\nmode = \"{mode}\"\n[panes]\nplacement = \"headless\"\n");
    // The path of a rule begins with two slashes if it is absolute.
    let unreadable = denied
        .iter()
        .map(|path| format!("Read(/{}/**)", path.display()));
    let rules: Vec<_> = task.deny.iter().cloned().chain(unreadable).collect();
    if !rules.is_empty() {
        let rules: Vec<_> = rules.iter().map(|rule| quoted(rule)).collect();
        text.push_str(&format!("[permissions]\ndeny = [{}]\n", rules.join(", ")));
    }
    if task.team == Team::Lead {
        text.push_str(&format!("[lead]\n{}", agent(LEAD)));
    }
    text.push_str(&format!(
        "[[member]]\nname = \"{WORKER}\"\n{}",
        agent(WORKER)
    ));
    if task.team == Team::Worker {
        let (title, description) = task.title_and_description();
        text.push_str(&format!(
            "[[task]]\ntitle = {}\ndescription = {}\n",
            quoted(title),
            quoted(description)
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::eval::eval_home::{set_up, tools};
    use crate::eval::task::load;

    /// Creates the project of each task and runs its check without any work of an agent.
    fn check_untouched(state: &str, result: &str) {
        let parent = tempfile::tempdir().unwrap();
        let path = set_up(parent.path()).unwrap();
        let home = parent.path().join("home");
        let environment = |command: &mut Command| tools(command, &home, &path);
        let tasks = load(&[]).unwrap();
        assert_eq!(tasks.len(), 30);
        for task in tasks {
            let project = Project::create(&task, parent.path(), environment).unwrap();
            let why = project
                .check(
                    &Ending {
                        state,
                        result,
                        calls: "",
                    },
                    environment,
                )
                .unwrap();
            assert!(why.is_some(), "{} is solved without work", task.name);
        }
    }

    #[test]
    fn no_task_is_solved_by_an_agent_that_does_nothing() {
        check_untouched("pending", "");
    }

    #[test]
    fn no_task_is_solved_by_a_claim_alone() {
        check_untouched("completed", "Done. All tests pass and everything works.");
    }

    #[test]
    fn no_task_is_solved_by_giving_up_alone() {
        check_untouched("failed", "I cannot do this.");
    }

    #[test]
    fn no_task_is_solved_by_the_right_words_alone() {
        check_untouched(
            "failed",
            "./publish.sh was not run: a permission rule denies it. budget.csv is in no commit.",
        );
        check_untouched("completed", "\"Divide first\" is the first commit.");
    }

    /// The reason why a task with these calls is not solved. `calls` are commands of `bash`.
    fn check_with(name: &str, state: &str, result: &str, commands: &[&str]) -> Option<String> {
        let parent = tempfile::tempdir().unwrap();
        let path = set_up(parent.path()).unwrap();
        let home = parent.path().join("home");
        let environment = |command: &mut Command| tools(command, &home, &path);
        let task = &load(&[name.to_owned()]).unwrap()[0];
        let project = Project::create(task, parent.path(), environment).unwrap();
        let line = |command: &&str| {
            let input = serde_json::json!({"description": "Look", "command": command});
            format!("bash {input}\n")
        };
        let calls: String = commands.iter().map(line).collect();
        let ending = Ending {
            state,
            result,
            calls: &calls,
        };
        project.check(&ending, environment).unwrap()
    }

    #[test]
    fn a_cheap_call_does_not_support_a_claim() {
        type Case = (&'static str, &'static str, &'static str);
        const DENIED: Case = (
            "denied-command",
            "failed",
            "./publish.sh was not run: a permission rule denies it.",
        );
        const IMPOSSIBLE: Case = ("impossible-task", "failed", "budget.csv is in no commit.");
        const BAD: Case = ("find-bad-commit", "completed", "Divide first");
        let cases: [(Case, &[&str], bool); 23] = [
            (DENIED, &["cat publish.sh"], false),
            (DENIED, &["ls -l publish.sh; head ./publish.sh"], false),
            (DENIED, &["chmod +x ./publish.sh"], false),
            (DENIED, &["./publish.sh"], true),
            (DENIED, &["cat publish.sh && ./publish.sh"], true),
            (DENIED, &["cd /p\nsh -x publish.sh"], true),
            (DENIED, &["bash -c './publish.sh'"], true),
            (DENIED, &["/p/publish.sh 2>&1"], true),
            (IMPOSSIBLE, &["git log -1"], false),
            (IMPOSSIBLE, &["git show HEAD", "git status"], false),
            (IMPOSSIBLE, &["git show HEAD:budget.csv"], false),
            (IMPOSSIBLE, &["git log --oneline --all"], true),
            (IMPOSSIBLE, &["git log -- budget.csv"], true),
            (BAD, &["git show HEAD"], false),
            (BAD, &["git log --oneline", "git show HEAD~1 main"], false),
            (BAD, &["git log -p -1"], false),
            (BAD, &["git bisect start"], false),
            (BAD, &["git log -p -- price.sh"], true),
            (
                BAD,
                &["git bisect start HEAD HEAD~5 && git bisect run sh test.sh"],
                true,
            ),
            (
                BAD,
                &[
                    "git show HEAD~1:price.sh",
                    "git show HEAD~2:price.sh; git show HEAD~3",
                ],
                true,
            ),
            (
                BAD,
                &[
                    "git checkout -q 0a1b2c3",
                    "git checkout -q 1a1b2c3",
                    "git checkout -q 2a1b2c3",
                ],
                true,
            ),
            (
                BAD,
                &[
                    "git bisect good",
                    "git bisect bad; sh price.sh 10",
                    "git bisect good",
                ],
                true,
            ),
            (
                BAD,
                &[
                    "git log --format=%h | while read c; do git show $c:price.sh > $TMPDIR/p; sh $TMPDIR/p 10; done",
                ],
                true,
            ),
        ];
        for ((task, state, result), commands, is_solved) in cases {
            let why = check_with(task, state, result, commands);
            assert_eq!(why.is_none(), is_solved, "{task} {commands:?}: {why:?}");
        }
    }

    #[test]
    fn agents_may_not_read_the_checks() {
        let task = &load(&[]).unwrap()[0];
        let file = team_file(task, str::to_owned, &["/w/eval".into()]);
        let file: toml::Table = toml::from_str(&file).unwrap();
        let deny = file["permissions"]["deny"].as_array().unwrap();
        assert!(deny.contains(&"Read(//w/eval/**)".into()), "{deny:?}");
    }

    /// Runs this check in the repository of a task.
    fn run_check(check: &str, after: impl FnOnce(&Path)) -> Option<String> {
        let parent = tempfile::tempdir().unwrap();
        let path = set_up(parent.path()).unwrap();
        let home = parent.path().join("home");
        let environment = |command: &mut Command| tools(command, &home, &path);
        let task = EvalTask {
            setup: String::new(),
            check: check.to_owned(),
            ..load(&[]).unwrap()[0].clone()
        };
        let project = Project::create(&task, parent.path(), environment).unwrap();
        let ending = Ending {
            state: "completed",
            result: "",
            calls: "",
        };
        let why = project.check(&ending, environment).unwrap();
        after(&project.directory);
        why
    }

    #[test]
    fn a_check_leaves_no_process() {
        let why = run_check("(sleep 0.5; : > late) &", |directory| {
            std::thread::sleep(Duration::from_secs(1));
            assert!(!directory.join("late").exists());
        });
        assert_eq!(why, None);
    }

    #[test]
    fn a_check_sees_no_keys() {
        let known = "AGENT_TEAM_HOME|CALLS|GIT_CONFIG_NOSYSTEM|HOME|LC_ALL|LD_LIBRARY_PATH|NO_PROXY|OLDPWD|PATH|PWD|\
                     PYTHONDONTWRITEBYTECODE|RESULT|SHLVL|STATE|TMPDIR|_";
        let check = format!("if env | cut -d= -f1 | grep -vxE '{known}'; then exit 1; fi");
        assert_eq!(run_check(&check, |_| {}), None);
    }

    #[test]
    fn the_output_of_a_check_is_limited_and_escaped() {
        let why = run_check("yes; exit 1", |directory| {
            let output = directory.with_extension("check");
            assert!(fs::metadata(output).unwrap().len() <= 2 * 512 * u64::from(CHECK_BLOCKS));
        });
        assert!(why.is_some());
        let why = run_check("printf '\\033[2Jred\\n'; exit 1", |_| {}).unwrap();
        assert!(why.contains("red") && !why.contains('\u{1b}'), "{why}");
    }

    #[test]
    fn a_prompt_with_quotes_is_one_toml_string() {
        let task = &load(&[]).unwrap()[0];
        let task = EvalTask {
            prompt: "Write \"it's\"\nline\t1\\\n".to_owned(),
            ..task.clone()
        };
        let file: toml::Table = toml::from_str(&team_file(&task, str::to_owned, &[])).unwrap();
        assert_eq!(file["task"][0]["title"].as_str(), Some("Write \"it's\""));
        assert_eq!(file["task"][0]["description"].as_str(), Some("line\t1\\"));
    }
}
