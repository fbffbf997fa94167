//! The words that this project does not use: subjects without a noun, translated idiom, and gendered pronouns for
//! members. The rule checks comments, strings, names of functions, every page of documentation, and test snapshots.

use super::code::in_a_name;
use super::tree::{File, Finding, Tree};

/// The refused phrases in lower case, each with a hint.
const REFUSED: [(&str, &str); 31] = [
    ("she", "a member is `it` or `they`"),
    ("her", "a member is `it` or `they`"),
    ("hers", "a member is `it` or `they`"),
    ("herself", "a member is `it` or `they`"),
    ("the person", "the human is `the user`"),
    ("a person", "the human is `a user`"),
    ("the person's", "the human is `the user`"),
    ("whoever", "name the subject"),
    ("whomever", "name the subject"),
    ("somebody", "name the subject"),
    ("somebody's", "name the subject"),
    ("nobody", "name the subject"),
    ("nobody's", "name the subject"),
    ("everybody", "name the subject"),
    ("who waits", "blocked member"),
    ("to be had", "available, set"),
    ("all the same", "anyway, still"),
    ("any more", "no longer"),
    ("comes to nothing", "fails"),
    ("come to nothing", "fail"),
    ("comes to its end", "ends, exits"),
    ("goes on", "continues, resumes"),
    ("went on", "continued, resumed"),
    ("is told", "is notified, receives"),
    ("are told", "are notified, receive"),
    ("was told", "was notified, received"),
    ("told of", "notified of"),
    ("tells of", "reports"),
    ("goes before", "precedes, overrides"),
    ("aloud", "report it"),
    ("passed over", "skipped"),
];

/// Files that the rule does not check: this file contains the refused phrases, and recorded conversations and licences
/// were not written by this project.
const EXEMPT: [&str; 3] = ["xtask/src/tidy/words.rs", "tests/fixtures/", "LICENSE"];

pub(super) fn plain_words(tree: &Tree) -> Vec<Finding> {
    let is_ours = |file: &&File| !EXEMPT.iter().any(|path| file.path.starts_with(path));
    let is_page = |path: &str| path.ends_with(".md") || path.ends_with(".snap");
    let files = tree.files().filter(is_ours);
    let checked = files.filter(|file| file.path.ends_with(".rs") || is_page(&file.path));
    checked.flat_map(in_file).collect()
}

fn in_file(file: &File) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut code = file.code.lines();
    for (index, line) in file.text.lines().enumerate() {
        let prose = match code.next() {
            Some(code) => format!("{} {}", prose_of(line, code), name_of_function(code)),
            None => line.to_owned(),
        };
        let prose = prose.to_lowercase();
        for (phrase, instead) in REFUSED {
            if has(&prose, phrase) {
                let sentence = format!("`{phrase}`: {instead}");
                findings.push(file.finding(index + 1, sentence));
            }
        }
        if denies_a_noun(&prose) {
            findings.push(file.finding(index + 1, "`is no X`: write `is not a X`"));
        }
    }
    findings
}

/// The comments and literals of a line; its code is blanked.
fn prose_of(line: &str, code: &str) -> String {
    let mut code = code.chars();
    line.chars()
        .map(|c| match code.next() {
            Some(' ') | None => c,
            Some(_) => ' ',
        })
        .collect()
}

/// The words of the function name that a line of code declares: the name of a test is a sentence.
fn name_of_function(code: &str) -> String {
    let declared = code.split_once("fn ").map_or("", |(_, declared)| declared);
    let name = declared.split(|c| !in_a_name(c)).next().unwrap_or("");
    name.replace('_', " ")
}

/// Whether the prose contains the phrase as whole words. A phrase in quotes does not count: it is a name, such as the
/// Unix user `nobody`.
fn has(prose: &str, phrase: &str) -> bool {
    let quotes = ['`', '"'];
    let is_word = |c: char| in_a_name(c) || c == '-';
    prose.match_indices(phrase).any(|(at, _)| {
        let (before, after) = (&prose[..at], &prose[at + phrase.len()..]);
        let is_quoted = before.ends_with(quotes) && after.starts_with(quotes);
        !is_quoted && !before.ends_with(is_word) && !after.starts_with(is_word)
    })
}

/// Whether the prose denies a noun with `no`, as in `it is no URL`. `There is no URL` and `it is no longer a URL` are
/// allowed.
fn denies_a_noun(prose: &str) -> bool {
    let verbs = [" is no ", " are no ", " was no "];
    let english = ["longer ", "more ", "less ", "better ", "different "];
    verbs.iter().any(|verb| {
        prose.match_indices(verb).any(|(at, _)| {
            let after = &prose[at + verb.len()..];
            let before = prose[..at].trim_end();
            let subject = before.rsplit(|c: char| !in_a_name(c)).next().unwrap_or("");
            subject != "there" && !english.iter().any(|word| after.starts_with(word))
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<usize> {
        let tree = Tree::of(&[("crates/a/src/lib.rs", text)]);
        plain_words(&tree).iter().map(|found| found.line).collect()
    }

    #[test]
    fn refused_words_are_found_in_prose_and_names() {
        let text = "//! Her launch.\nfn nobody_is_there() {}\nlet a = \"it is told\";\n/// It is no URL.\n";
        assert_eq!(lines(text), [1, 2, 3, 4]);
        let page = Tree::of(&[("README.md", "Whoever waits.\n")]);
        assert_eq!(plain_words(&page).len(), 1);
    }

    #[test]
    fn other_words_are_allowed() {
        let text = "//! Other, where, `nobody`.\nlet her = she.told();\n/// There is no URL; it is no longer one.\n";
        assert!(lines(text).is_empty(), "{text}");
    }
}
