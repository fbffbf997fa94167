//! The words that this project does not use: subjects without a noun, translated idiom, and gendered pronouns for
//! members. The rule checks comments, texts, names in code and of files, every page of documentation, scripts, manifests
//! and test snapshots.

use super::code::{Part, in_a_name, only};
use super::tree::{File, Finding, Tree};

/// The refused phrases in lower case, each with a hint.
const REFUSED: [(&str, &str); 28] = [
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
    ("goes before", "precedes, overrides"),
    ("aloud", "report it"),
    ("passed over", "skipped"),
    ("is ended", "ends, exits, is terminated"),
    ("are ended", "end, exit, are terminated"),
    ("was ended", "ended, exited, was terminated"),
    ("stands", "is stored, is, means"),
];

/// Words that this project must not use. A text in a test may contain these words: it is a sentence of a user or of a
/// model, or the output of a program.
const REFUSED_OUTSIDE_TESTS: [(&str, &str); 20] = [
    ("hear", "receive"),
    ("hears", "receives, is notified"),
    ("heard", "received"),
    ("tell", "report, show"),
    ("tells", "reports, returns, notifies"),
    ("told", "reported, notified"),
    ("say", "contain, print, show"),
    ("says", "contains, prints, shows"),
    ("said", "printed, sent, stated"),
    ("stand", "be stored, be, mean"),
    ("stood", "was stored, was"),
    ("goes on", "continues, resumes"),
    ("go on", "continue, resume"),
    ("going on", "in progress"),
    ("gone on", "continued, resumed"),
    ("went on", "continued, resumed"),
    ("comes to", "reaches, becomes"),
    ("come to", "reach, become"),
    ("came to", "reached, became"),
    ("coming to", "reaching, becoming"),
];

/// Files that the rule does not check: this file contains the refused phrases, and recorded conversations, licences and
/// libraries were not written by this project.
const EXEMPT: [&str; 4] = [
    "xtask/src/tidy/words.rs",
    "tests/fixtures/",
    "LICENSE",
    "crates/gateway/page/vendor/",
];

/// Phrases that the files below a path may contain.
const ALLOWED: [(&str, &[&str]); 5] = [
    // The name of a Unix user.
    (".ci/run", &["nobody"]),
    // A word of AppleScript.
    (
        "crates/supervisor/src/launch/panes/iterm/connection.rs",
        &["tell"],
    ),
    // Keys of calls, and the kind of a transcript's entry: earlier versions have stored them.
    ("crates/gateway/src/nexau/frames.rs", &["say"]),
    ("crates/gateway/page/sections.js", &["said"]),
    // A released file of the schema is never edited.
    ("crates/store/migrations/", &["said"]),
];

/// The kinds of files that are written for readers, beside Rust.
const KINDS: [&str; 12] = [
    ".c", ".cjs", ".css", ".html", ".js", ".md", ".mjs", ".py", ".sh", ".snap", ".sql", ".toml",
];

pub(super) fn plain_words(tree: &Tree) -> Vec<Finding> {
    let is_ours = |file: &&File| !EXEMPT.iter().any(|path| file.path.starts_with(path));
    tree.files().filter(is_ours).flat_map(in_file).collect()
}

fn in_file(file: &File) -> Vec<Finding> {
    let is_script = file.path == ".ci/run";
    let mut findings = search(file, &words_of_names(&file.path), true);
    if file.path.ends_with(".rs") {
        let is_test = file.path.starts_with("tests/")
            || file.path.contains("/tests/")
            || file.path.ends_with("/tests.rs");
        findings.extend(search(
            file,
            &joined(&only(Part::Comment, &file.text)),
            true,
        ));
        findings.extend(search(
            file,
            &joined(&only(Part::Literal, &file.text)),
            !is_test,
        ));
        findings.extend(search(file, &words_of_names(&file.code), true));
    } else if is_script || KINDS.iter().any(|kind| file.path.ends_with(kind)) {
        let is_snapshot = file.path.ends_with(".snap");
        findings.extend(search(file, &joined(&file.text), !is_snapshot));
        findings.extend(search(file, &words_of_names(&file.text), !is_snapshot));
    }
    findings.sort();
    findings.dedup();
    findings
}

/// The refused phrases of a text whose line breaks are those of the file.
fn search(file: &File, text: &str, is_prose: bool) -> Vec<Finding> {
    let is_allowed = |phrase: &str| {
        let mut allowed = ALLOWED.iter();
        allowed.any(|(path, phrases)| file.path.starts_with(path) && phrases.contains(&phrase))
    };
    let text = text.to_lowercase();
    let flat = text.replace('\n', " ");
    let finding =
        |at: usize, sentence: String| file.finding(super::code::line_at(&text, at), sentence);
    let further: &[_] = if is_prose {
        &REFUSED_OUTSIDE_TESTS
    } else {
        &[]
    };
    let refused = REFUSED.iter().chain(further);
    let mut findings = Vec::new();
    for (phrase, instead) in refused.filter(|(phrase, _)| !is_allowed(phrase)) {
        let found = positions(&flat, phrase);
        findings.extend(found.map(|at| finding(at, format!("`{phrase}`: {instead}"))));
    }
    let denied = denied_nouns(&flat);
    findings.extend(denied.map(|at| finding(at, "`is no X`: write `is not a X`".to_owned())));
    findings
}

/// The text with the indentation and the comment marks of each line removed, so that a phrase continues on the next line.
fn joined(text: &str) -> String {
    let marks = |c: char| c.is_whitespace() || "/!#*>|-".contains(c);
    let lines = text.lines().map(|line| line.trim_start_matches(marks));
    let lines: Vec<_> = lines
        .map(|line| line.trim_end_matches(['\\', ' ']))
        .collect();
    lines.join("\n")
}

/// The names of a text, split into their words, such as `is no url` for `is_no_url` and `IsNoUrl`. Names are separated
/// so that no phrase spans two of them.
fn words_of_names(text: &str) -> String {
    let mut words = String::with_capacity(text.len());
    let mut previous = ' ';
    for c in text.chars() {
        if c.is_uppercase() && previous.is_lowercase() {
            words.push(' ');
        }
        match c {
            '_' => words.push(' '),
            '\n' => words.push('\n'),
            c if in_a_name(c) => words.push(c),
            _ => words.push('.'),
        }
        previous = c;
    }
    words
}

/// The positions at which the prose contains the phrase as whole words. A phrase in quotes does not count: it is a
/// name, such as the Unix user `nobody`.
fn positions<'a>(prose: &'a str, phrase: &'a str) -> impl Iterator<Item = usize> + 'a {
    let quotes = ['`', '"'];
    let is_word = |c: char| in_a_name(c) || c == '-';
    let found = prose.match_indices(phrase).filter(move |(at, _)| {
        let (before, after) = (&prose[..*at], &prose[at + phrase.len()..]);
        let is_quoted = before.ends_with(quotes) && after.starts_with(quotes);
        !is_quoted && !before.ends_with(is_word) && !after.starts_with(is_word)
    });
    found.map(|(at, _)| at)
}

/// The positions at which the prose denies a noun with `no`, as in `it is no URL`. `There is no URL` and `it is no
/// longer a URL` are allowed.
fn denied_nouns(prose: &str) -> impl Iterator<Item = usize> + '_ {
    let verbs = [" is no ", " are no ", " was no ", " were no "];
    let english = ["longer ", "more ", "less ", "better ", "different "];
    let found = verbs
        .into_iter()
        .flat_map(move |verb| prose.match_indices(verb));
    let denied = found.filter(move |(at, verb)| {
        let after = &prose[at + verb.len()..];
        let before = prose[..*at].trim_end();
        let subject = before.rsplit(|c: char| !in_a_name(c)).next().unwrap_or("");
        subject != "there" && !english.iter().any(|word| after.starts_with(word))
    });
    denied.map(|(at, _)| at)
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
        let text =
            "//! Her launch.\nfn nobody_is_there() {}\nlet a = \"it tells\";\n/// It is no URL.\n";
        assert_eq!(lines(text), [1, 2, 3, 4]);
    }

    #[test]
    fn every_kind_of_name_is_checked() {
        for text in [
            "struct WhoWaits;",
            "enum State { WhoWaits }",
            "struct A { who_waits: u8 }",
            "mod who_waits;",
            "let who_waits = 1;",
            "const WHO_WAITS: u8 = 1;",
        ] {
            assert_eq!(lines(text), [1], "{text}");
        }
        let file = Tree::of(&[("crates/a/src/whoever.rs", "")]);
        assert_eq!(plain_words(&file).len(), 1);
    }

    #[test]
    fn a_phrase_continues_on_the_next_line() {
        assert_eq!(
            lines("let a = 1;\n/// Stops the member who\n/// waits.\n"),
            [2]
        );
        assert_eq!(
            lines("let a = \"the member who \\\n         waits\";\n"),
            [1]
        );
        let page = Tree::of(&[("README.md", "> The agent is\n> told.\n")]);
        assert_eq!(plain_words(&page).len(), 1);
        assert!(lines("// The user who\nwaits(); // A call.\n").is_empty());
    }

    #[test]
    fn pages_scripts_and_manifests_are_checked() {
        for path in [
            "a.md", "a.html", "a.js", "a.toml", "a.sh", "a.sql", ".ci/run",
        ] {
            let tree = Tree::of(&[(path, "# Somebody waits.\n")]);
            assert_eq!(plain_words(&tree).len(), 1, "{path}");
        }
    }

    #[test]
    fn only_texts_of_tests_quote_users_and_models() {
        let found = |path: &str, text: &str| plain_words(&Tree::of(&[(path, text)])).len();
        let text = "let a = \"The user said hello\";\n";
        assert_eq!(found("tests/e2e/a.rs", text), 0);
        assert_eq!(found("crates/a/src/lib.rs", text), 1);
        assert_eq!(found("tests/e2e/a.rs", "// The user said hello.\n"), 1);
    }

    #[test]
    fn other_words_are_allowed() {
        let text = "//! Other, where, `nobody`.\nlet other = where_from();\n/// There is no URL; it is no longer one.\n";
        assert!(lines(text).is_empty(), "{text}");
    }
}
