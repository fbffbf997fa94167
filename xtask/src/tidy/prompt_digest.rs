//! The rule that eval/figures.md contains figures for the current prompts: the last row contains the digest of the
//! snapshots of system prompts and tool definitions. `cargo xtask eval` prints the row.

use sha2::{Digest as _, Sha256};

use super::tree::{Finding, Tree};

const FIGURES: &str = "eval/figures.md";

/// The directory of the crate whose snapshots are the prompts.
const PROMPTS: &str = "crates/tools/";

/// The number of hexadecimal digits of a digest in the table.
const DIGITS: usize = 12;

/// The digest of the paths and texts of all snapshots of prompts.
pub(crate) fn digest(tree: &Tree) -> String {
    let is_prompt = |path: &str| path.starts_with(PROMPTS) && path.ends_with(".snap");
    let files = tree.files().filter(|file| is_prompt(&file.path));
    let mut files: Vec<_> = files.map(|file| (&file.path, &file.text)).collect();
    files.sort();
    let mut digest = Sha256::new();
    for (path, text) in files {
        digest.update(format!("{path} {}\n{text}", text.len()));
    }
    let digest = digest.finalize();
    let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    digits[..DIGITS].to_owned()
}

pub(super) fn figures_are_current(tree: &Tree) -> Option<Finding> {
    let file = tree.find(FIGURES)?;
    let rows = (1..)
        .zip(file.text.lines())
        .filter(|(_, line)| line.starts_with('|'));
    let (number, last) = rows.last()?;
    let kept = last
        .trim_end_matches('|')
        .rsplit('|')
        .next()
        .unwrap_or_default();
    let digest = digest(tree);
    (kept.trim() != digest).then(|| {
        file.finding(
            number,
            format!(
                "the prompts have the digest {digest}: run `cargo xtask eval`, and add the row that it prints"
            ),
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_prompt_needs_a_row_of_figures() {
        let prompt = ("crates/tools/src/snapshots/lead.snap", "Lead.");
        let other = ("crates/cli/src/snapshots/top.snap", "Top.");
        let current = digest(&Tree::of(&[prompt]));
        let table =
            |last: &str| format!("| date | digest |\n|---|---|\n| a | 0 |\n| b | {last} |\n");
        let check = |prompt, last: &str| {
            figures_are_current(&Tree::of(&[prompt, other, (FIGURES, &table(last))]))
        };
        assert_eq!(check(prompt, &current), None);
        let changed = check(
            ("crates/tools/src/snapshots/lead.snap", "Follow."),
            &current,
        );
        let text = changed.expect("the prompt has changed").to_string();
        assert!(
            text.starts_with("eval/figures.md:4: ") && text.contains("cargo xtask eval"),
            "{text}"
        );
    }
}
