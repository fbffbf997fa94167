//! `cargo xtask eval`: runs small repository tasks with a real team, and measures how many are solved and at what cost.
//! Called by developers before and after a change of a prompt, and by the step `eval` of `cargo xtask test`.
//!
//! ```text
//!  eval/NAME.toml ─► project ─► `agent-team up --wait` ─► check ─► figures ─► table, JSON, comparison
//!                                    │
//!               recorded_model (a server on loopback), or the model of `--model`
//! ```
//! The programs, the supervisor, the sandbox and the wire are real. Only the answers of the recordings are written by
//! hand: see eval/README.md.

mod attempt;
mod eval_home;
mod figures;
mod project;
mod recorded_model;
mod small_model;
mod task;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Result, bail, ensure};

use self::attempt::{Attempt, ModelSource, RUNNER_ERROR};
use self::eval_home::EvalHome;
use self::figures::{Evaluation, Figures};
use self::recorded_model::RecordedModel;
use self::task::EvalTask;
use crate::{demo, tidy};

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Evaluate this model, such as `anthropic/claude-sonnet-5-5`, with your settings and keys. Without it, the recorded
    /// answers of the tasks are used.
    #[arg(long, value_name = "NAME")]
    model: Option<String>,
    /// Run only this task; repeatable.
    #[arg(long = "task", value_name = "NAME")]
    tasks: Vec<String>,
    /// List the tasks and exit.
    #[arg(long)]
    list: bool,
    /// The number of tasks that run at the same time.
    #[arg(long, value_name = "N", default_value_t = 2)]
    jobs: usize,
    /// Write the figures to this file.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Print the differences from the figures in this file, which `--json` wrote.
    #[arg(long, value_name = "FILE")]
    compare: Option<PathBuf>,
    /// Minutes after which a task is stopped [default: 2 with recordings, 15 with a model]
    #[arg(long, value_name = "N")]
    minutes: Option<u64>,
    /// Keep the projects, the exchanges with the model and the logs.
    #[arg(long)]
    keep: bool,
    /// With --model: run the commands of the agents outside a sandbox if the machine has none.
    #[arg(long, requires = "model")]
    no_sandbox: bool,
    /// Install a language model of 135 million parameters and a local server for it into target/, and check that agents
    /// with this model stop within their limits and complete no task by accident.
    #[arg(long, conflicts_with_all = ["model", "json", "compare"])]
    real_small: bool,
}

/// The limits without `--minutes`.
const RECORDED_LIMIT: Duration = Duration::from_mins(2);
const MODEL_LIMIT: Duration = Duration::from_mins(15);

pub(crate) fn run(arguments: &Arguments) -> Result<()> {
    let tasks = task::load(&arguments.tasks)?;
    if arguments.list {
        for task in tasks {
            println!("{:<24} {}", task.name, task.kind);
        }
        return Ok(());
    }
    ensure!(arguments.jobs > 0, "--jobs must be at least 1");
    // Read the file before a long run, not after it.
    let before = arguments.compare.as_deref().map(Evaluation::read);
    let before = before.transpose()?;
    demo::build()?;
    if arguments.real_small {
        return small_model::run(arguments.keep, arguments.no_sandbox);
    }
    let (model_source, limit) = match &arguments.model {
        Some(model) => {
            println!("model: {model}");
            (ModelSource::Model(model.clone()), MODEL_LIMIT)
        }
        None => {
            println!("recordings: written by hand; they test the harness, not a model");
            let server = RecordedModel::start(&tasks)?;
            (ModelSource::Recordings(server), RECORDED_LIMIT)
        }
    };
    let limit = arguments.minutes.map_or(limit, Duration::from_mins);
    let home = EvalHome::new(&model_source, arguments.no_sandbox)?;
    let figures = evaluate(&home, &model_source, &tasks, limit, arguments.jobs);
    if arguments.keep {
        println!("kept: {}", home.keep().display());
    }
    let evaluation = Evaluation {
        model: arguments.model.clone(),
        tasks: figures?,
    };
    evaluation.print();
    if arguments.tasks.is_empty() {
        let row = evaluation.row_to_keep(&tidy::prompt_digest()?);
        println!("row for eval/figures.md: {row}");
    }
    if let Some(before) = before {
        evaluation.print_differences(&before);
    }
    if let Some(file) = &arguments.json {
        evaluation.write(file)?;
    }
    let failed = |task: &&Figures| task.state == RUNNER_ERROR;
    let failed = evaluation.tasks.iter().filter(failed).count();
    let unsolved = evaluation.tasks.iter().filter(|task| !task.solved);
    let unsolved: Vec<_> = unsolved.map(|task| task.task.as_str()).collect();
    if arguments.model.is_none() && !unsolved.is_empty() {
        bail!("recorded tasks were not solved: {}", unsolved.join(", "));
    }
    ensure!(failed == 0, "{failed} tasks could not be evaluated");
    Ok(())
}

/// The step of `cargo xtask test`.
pub(crate) fn step() -> Result<()> {
    run(&Arguments {
        model: None,
        tasks: Vec::new(),
        list: false,
        jobs: 2,
        json: None,
        compare: None,
        minutes: None,
        keep: false,
        no_sandbox: false,
        real_small: false,
    })
}

/// Runs these tasks, `jobs` at a time, and returns their figures in the order of the tasks. After Ctrl-C, stops the
/// running tasks and then returns an error, so that no process remains.
fn evaluate(
    home: &EvalHome,
    model_source: &ModelSource,
    tasks: &[EvalTask],
    limit: Duration,
    jobs: usize,
) -> Result<Vec<Figures>> {
    let interrupted = home.interrupted();
    let next = AtomicUsize::new(0);
    let finished: Mutex<Vec<Option<Figures>>> = Mutex::new(vec![None; tasks.len()]);
    std::thread::scope(|scope| {
        for _ in 0..jobs.min(tasks.len()) {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let Some(task) = tasks.get(at) else { return };
                    if interrupted.load(Ordering::Relaxed) {
                        return;
                    }
                    let attempt = Attempt {
                        home,
                        model_source,
                        task,
                        limit,
                        interrupted,
                    };
                    let figures = attempt.run();
                    figures.print_progress();
                    let mut finished = finished.lock().unwrap_or_else(PoisonError::into_inner);
                    finished[at] = Some(figures);
                }
            });
        }
    });
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    let finished = finished.into_inner();
    let finished = finished.unwrap_or_else(PoisonError::into_inner);
    Ok(finished.into_iter().flatten().collect())
}
