//! The repository of one task: creates it, with its history and team file, and checks the result. A check runs code that
//! the agent wrote, outside a sandbox.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};

use super::attempt::wait_within;
use super::task::{EvalTask, LEAD, Team, WORKER};

/// The time limit of a check.
const CHECK_LIMIT: Duration = Duration::from_mins(1);

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
        let output = setup.output().context("cannot start sh")?;
        ensure!(
            output.status.success(),
            "the setup of {} failed: {}",
            task.name,
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(Self { task, directory })
    }

    /// Writes the team file. `model` returns the model of a member.
    pub(super) fn write_team(&self, model: impl Fn(&str) -> String) -> Result<()> {
        let text = team_file(self.task, model);
        fs::create_dir(self.directory.join(".agent-team"))?;
        fs::write(self.directory.join(".agent-team/team.toml"), text)?;
        Ok(())
    }

    /// Runs the check. Returns why the task is not solved; `None` if it is.
    pub(super) fn check(
        &self,
        ending: &Ending<'_>,
        environment: impl Fn(&mut Command),
    ) -> Result<Option<String>> {
        let mut check = Command::new("sh");
        check
            .args(["-c", &format!("set -eu\n{}", self.task.check)])
            .current_dir(&self.directory)
            .env("STATE", ending.state)
            .env("RESULT", ending.result)
            .stdin(Stdio::null());
        environment(&mut check);
        let output = self.directory.with_extension("check");
        let file = fs::File::create(&output)?;
        check.stdout(file.try_clone()?).stderr(file);
        let child = check.spawn().context("cannot start sh")?;
        match wait_within(child, CHECK_LIMIT, || true)? {
            Some(status) if status.success() => return Ok(None),
            Some(_) => {}
            None => return Ok(Some("the check reached its time limit".to_owned())),
        }
        let text = String::from_utf8_lossy(&fs::read(&output)?).into_owned();
        let last = text.lines().rfind(|line| !line.trim().is_empty());
        Ok(Some(last.unwrap_or("the check failed").to_owned()))
    }
}

fn quoted(text: &str) -> String {
    toml::Value::from(text).to_string()
}

fn team_file(task: &EvalTask, model: impl Fn(&str) -> String) -> String {
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
    if !task.deny.is_empty() {
        let rules: Vec<_> = task.deny.iter().map(|rule| quoted(rule)).collect();
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
                .check(&Ending { state, result }, environment)
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
    fn a_prompt_with_quotes_is_one_toml_string() {
        let task = &load(&[]).unwrap()[0];
        let task = EvalTask {
            prompt: "Say \"it's\"\nline\t1\\\n".to_owned(),
            ..task.clone()
        };
        let file: toml::Table = toml::from_str(&team_file(&task, str::to_owned)).unwrap();
        assert_eq!(file["task"][0]["title"].as_str(), Some("Say \"it's\""));
        assert_eq!(file["task"][0]["description"].as_str(), Some("line\t1\\"));
    }
}
