//! The figures of an evaluation: the table, the file of `--json`, and the comparison with an earlier file.

use std::fs;
use std::path::Path;

use agent_team_protocol::text::visible;
use anyhow::{Context as _, Result};
use serde::{Deserialize, Serialize};

/// The figures of one task.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Figures {
    pub(super) task: String,
    pub(super) solved: bool,
    /// Why the task is not solved. Empty if the task is solved.
    pub(super) why: String,
    /// How the agent ended: the state of its task, the outcome of its goal, or `time limit`.
    pub(super) state: String,
    /// Answers of models.
    pub(super) steps: u64,
    pub(super) tokens_in: u64,
    /// The cached part of `tokens_in`.
    pub(super) tokens_cached: u64,
    pub(super) tokens_out: u64,
    /// US dollars. `None`: a price is unknown.
    pub(super) cost: Option<f64>,
    pub(super) seconds: f64,
    /// Workers that were started again after a crash.
    pub(super) restarts: u64,
    /// Whether a model called `complete_task`.
    pub(super) has_called_complete: bool,
}

/// The figures of all tasks.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Evaluation {
    /// `None`: recorded answers.
    pub(super) model: Option<String>,
    pub(super) tasks: Vec<Figures>,
}

impl Figures {
    /// Whether the agent reported success although the task is not solved.
    fn is_false_claim(&self) -> bool {
        !self.solved && ["completed", "finished"].contains(&self.state.as_str())
    }

    pub(super) fn print_progress(&self) {
        let solved = if self.solved { "solved" } else { "not solved" };
        println!("{}: {solved} in {:.1} s", self.task, self.seconds);
    }

    fn row(&self) -> [String; 8] {
        [
            self.task.clone(),
            if self.solved { "yes" } else { "no" }.to_owned(),
            self.steps.to_string(),
            self.tokens_in.to_string(),
            self.tokens_cached.to_string(),
            self.tokens_out.to_string(),
            self.cost
                .map_or("?".to_owned(), |cost| format!("{cost:.4}")),
            format!("{:.1}", self.seconds),
        ]
    }
}

const HEADINGS: [&str; 8] = [
    "task",
    "solved",
    "steps",
    "tokens in",
    "cached",
    "tokens out",
    "USD",
    "seconds",
];

impl Evaluation {
    pub(super) fn read(file: &Path) -> Result<Self> {
        let text = fs::read_to_string(file);
        let text = text.with_context(|| format!("cannot read {}", file.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{} does not contain figures", file.display()))
    }

    pub(super) fn write(&self, file: &Path) -> Result<()> {
        let text = serde_json::to_string_pretty(self)? + "\n";
        fs::write(file, text).with_context(|| format!("cannot write {}", file.display()))
    }

    /// The sum of all tasks.
    fn total(&self) -> Figures {
        let mut total = Figures {
            cost: Some(0.0),
            ..Figures::default()
        };
        for task in &self.tasks {
            total.steps += task.steps;
            total.tokens_in += task.tokens_in;
            total.tokens_cached += task.tokens_cached;
            total.tokens_out += task.tokens_out;
            total.cost = total.cost.zip(task.cost).map(|(sum, cost)| sum + cost);
            total.seconds += task.seconds;
            total.restarts += task.restarts;
        }
        total
    }

    fn solved(&self) -> usize {
        self.tasks.iter().filter(|task| task.solved).count()
    }

    pub(super) fn print(&self) {
        let mut rows = vec![HEADINGS.map(str::to_owned)];
        rows.extend(self.tasks.iter().map(Figures::row));
        let mut total = self.total().row();
        total[0] = "total".to_owned();
        total[1] = format!("{}/{}", self.solved(), self.tasks.len());
        rows.push(total);
        print!("{}", table(&rows));
        for task in self.tasks.iter().filter(|task| !task.solved) {
            println!("{} ({}): {}", task.task, task.state, visible(&task.why));
        }
        let claims = self.tasks.iter().filter(|task| task.is_false_claim());
        println!(
            "{} of {} solved; {} reported as done without being solved; {} restarts",
            self.solved(),
            self.tasks.len(),
            claims.count(),
            self.total().restarts
        );
    }

    /// The row of these figures in eval/figures.md, with gaps for the date and the change.
    pub(super) fn row_to_keep(&self, digest: &str) -> String {
        let Figures {
            steps,
            tokens_in,
            tokens_out,
            ..
        } = self.total();
        let (solved, all) = (self.solved(), self.tasks.len());
        let model = self.model.as_deref().unwrap_or("recordings");
        format!(
            "| DATE | CHANGE | {model} | {solved}/{all} | {steps} | {tokens_in} | {tokens_out} | {digest} |"
        )
    }

    /// Prints the tasks whose figures differ, and the totals of the tasks that both evaluations contain.
    pub(super) fn print_differences(&self, before: &Self) {
        print!("{}", self.differences(before));
    }

    fn differences(&self, before: &Self) -> String {
        let pairs: Vec<_> = self
            .tasks
            .iter()
            .filter_map(|after| {
                let same = |task: &&Figures| task.task == after.task;
                Some((before.tasks.iter().find(same)?, after))
            })
            .collect();
        let of = |tasks: Vec<&Figures>, model: &Option<String>| Self {
            model: model.clone(),
            tasks: tasks.into_iter().cloned().collect(),
        };
        let earlier = of(
            pairs.iter().map(|(before, _)| *before).collect(),
            &before.model,
        );
        let later = of(pairs.iter().map(|(_, after)| *after).collect(), &self.model);
        let mut rows = vec![
            [
                "before → after",
                "solved",
                "steps",
                "tokens in",
                "tokens out",
                "USD",
                "seconds",
            ]
            .map(str::to_owned),
        ];
        for (before, after) in &pairs {
            let counts = |it: &Figures| (it.solved, it.steps, it.tokens_in, it.tokens_out);
            if counts(before) != counts(after) {
                let solved = |it: &Figures| if it.solved { "yes" } else { "no" }.to_owned();
                let name = after.task.clone();
                rows.push(difference(
                    name,
                    before,
                    after,
                    solved(before),
                    solved(after),
                ));
            }
        }
        let solved = |it: &Self| it.solved().to_string();
        let name = format!("all {}", pairs.len());
        rows.push(difference(
            name,
            &earlier.total(),
            &later.total(),
            solved(&earlier),
            solved(&later),
        ));
        table(&rows)
    }
}

fn difference(
    name: String,
    before: &Figures,
    after: &Figures,
    solved_before: String,
    solved_after: String,
) -> [String; 7] {
    let cost = |it: &Figures| it.cost.map_or("?".to_owned(), |cost| format!("{cost:.4}"));
    [
        name,
        pair(&solved_before, &solved_after),
        pair(&before.steps.to_string(), &after.steps.to_string()),
        with_percent(before.tokens_in, after.tokens_in),
        with_percent(before.tokens_out, after.tokens_out),
        pair(&cost(before), &cost(after)),
        pair(
            &format!("{:.0}", before.seconds),
            &format!("{:.0}", after.seconds),
        ),
    ]
}

fn pair(before: &str, after: &str) -> String {
    if before == after {
        return before.to_owned();
    }
    format!("{before} → {after}")
}

fn with_percent(before: u64, after: u64) -> String {
    if before == after || before == 0 {
        return pair(&before.to_string(), &after.to_string());
    }
    let percent = (after as f64 / before as f64 - 1.0) * 100.0;
    format!("{before} → {after} ({percent:+.1} %)")
}

/// Aligns the first column to the left and the others to the right.
fn table<const N: usize>(rows: &[[String; N]]) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max();
    let widths: Vec<_> = (0..N).map(|column| width(column).unwrap_or(0)).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths).enumerate();
        let cells = cells.map(|(column, (cell, width))| match column {
            0 => format!("{cell:<width$}"),
            _ => format!("{cell:>width$}"),
        });
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn task(name: &str, solved: bool, tokens_in: u64) -> Figures {
        Figures {
            task: name.to_owned(),
            solved,
            state: "completed".to_owned(),
            tokens_in,
            cost: Some(0.5),
            ..Figures::default()
        }
    }

    fn evaluation(tasks: Vec<Figures>) -> Evaluation {
        Evaluation { model: None, tasks }
    }

    #[test]
    fn a_comparison_shows_changed_tasks_and_common_totals() {
        let before = evaluation(vec![
            task("a", true, 100),
            task("b", false, 100),
            task("gone", true, 900),
        ]);
        let after = evaluation(vec![
            task("a", true, 100),
            task("b", true, 110),
            task("new", true, 900),
        ]);
        let text = after.differences(&before);
        let lines: Vec<_> = text.lines().map(str::split_whitespace).collect();
        let words = |at: usize| lines[at].clone().collect::<Vec<_>>().join(" ");
        assert_eq!(lines.len(), 3, "{text}");
        assert!(
            words(1).starts_with("b no → yes 0 100 → 110 (+10.0 %)"),
            "{text}"
        );
        assert!(
            words(2).starts_with("all 2 1 → 2 0 200 → 210 (+5.0 %)"),
            "{text}"
        );
    }

    #[test]
    fn an_unknown_cost_makes_the_total_unknown() {
        let mut unpriced = task("b", true, 1);
        unpriced.cost = None;
        let both = evaluation(vec![task("a", true, 1), unpriced.clone()]);
        assert_eq!(both.total().cost, None);
        assert_eq!(evaluation(vec![task("a", true, 1)]).total().cost, Some(0.5));
        assert!(!unpriced.is_false_claim());
        assert!(task("c", false, 1).is_false_claim());
    }
}
