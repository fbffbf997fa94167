//! Rules about names and words in every committed file.

use super::code::{in_a_name, words};
use super::tree::{Finding, Tree};

/// Names that say nothing about what is inside, and so attract everything.
const SAYS_NOTHING: [&str; 6] = ["common", "util", "helper", "manager", "handler", "service"];

/// Crates are named by their directory, modules by their file or directory, and inline ones by `mod`.
pub(super) fn no_forbidden_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let named = file
            .path
            .trim_end_matches(".rs")
            .split('/')
            .flat_map(|part| part.split(['-', '_']));
        let inline = file.code.lines().enumerate().filter_map(|(index, line)| {
            let at = words(line, "mod").next()?;
            let name = line[at + "mod".len()..]
                .trim_start()
                .split(|c| !in_a_name(c))
                .next()?;
            Some((index + 1, name))
        });
        for (line, name) in named.map(|name| (1, name)).chain(inline) {
            let singular = name.strip_suffix('s').unwrap_or(name);
            if SAYS_NOTHING.contains(&singular) {
                findings.push(file.finding(
                    line,
                    format!("`{name}` says nothing: name it after what it does"),
                ));
            }
        }
    }
    findings
}

/// A path that holds on the writer's machine alone. The names stand here without their slash, so that this file passes.
pub(super) fn no_places_of_one_machine(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        for (index, line) in file.text.lines().enumerate() {
            for place in ["home", "Users", "root", "work"] {
                if names_place(line, place) {
                    findings.push(file.finding(
                        index + 1,
                        format!("names a place of one machine, below /{place}"),
                    ));
                }
            }
        }
    }
    findings
}

/// A slash, the place and a name below it; two of them are places by themselves too. What goes on from another path is
/// none.
fn names_place(line: &str, place: &str) -> bool {
    let goes_on = |c: char| in_a_name(c) || "./-~}{)*>$%".contains(c);
    line.match_indices(place).any(|(at, _)| {
        let Some(before) = line[..at].strip_suffix('/') else {
            return false;
        };
        let after = &line[at + place.len()..];
        let below = after
            .strip_prefix('/')
            .is_some_and(|below| below.starts_with(|c| in_a_name(c) || c == '.'));
        let itself = ["root", "work"].contains(&place)
            && !after.starts_with(|c| in_a_name(c) || c == '-' || c == '/');
        !before.ends_with(goes_on) && (below || itself)
    })
}

/// README.md lists the invariants by a bold number; a comment may cite only those.
pub(super) fn cited_invariants_exist(tree: &Tree) -> Vec<Finding> {
    let readme = tree.find("README.md").map_or("", |file| file.text.as_str());
    let mut findings = Vec::new();
    for file in tree.rust() {
        for (index, line) in file.text.lines().enumerate() {
            let Some(comment) = line.trim_start().strip_prefix("//") else {
                continue;
            };
            for word in comment.split(|c| !in_a_name(c)) {
                let numbered = word
                    .strip_prefix('I')
                    .is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()));
                if numbered && !readme.contains(&format!("**{word}**")) {
                    findings.push(file.finding(
                        index + 1,
                        format!("cites {word}, which README.md does not list"),
                    ));
                }
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_says_nothing_is_found_wherever_it_stands() {
        for path in [
            "crates/common/src/lib.rs",
            "crates/a/src/utils.rs",
            "crates/a/src/pane/helpers.rs",
            "crates/a/src/team_manager.rs",
        ] {
            assert_eq!(
                no_forbidden_names(&Tree::of(&[(path, "//! A.\n")])).len(),
                1,
                "{path}"
            );
        }
        let inline = Tree::of(&[(
            "crates/a/src/lib.rs",
            "//! A.\n\npub(crate) mod handlers {}\n",
        )]);
        assert_eq!(
            no_forbidden_names(&inline)
                .iter()
                .map(|finding| finding.line)
                .collect::<Vec<_>>(),
            [3]
        );
        assert_eq!(
            no_forbidden_names(&Tree::of(&[(
                "crates/a/src/launch.rs",
                "mod commonplace;\n"
            )])),
            []
        );
    }

    #[test]
    fn a_path_of_one_machine_is_found() {
        for (top, below) in [
            ("home", "/ann"),
            ("Users", "/ann/x"),
            ("root", ""),
            ("root", "/.cargo"),
            ("work", "/main"),
            ("work", ""),
        ] {
            for text in [
                format!("/{top}{below}"),
                format!("cd /{top}{below}; ls"),
                format!("a = \"/{top}{below}\""),
            ] {
                assert_eq!(
                    no_places_of_one_machine(&Tree::of(&[("a.md", &text)])).len(),
                    1,
                    "{text}"
                );
            }
        }
        for text in [
            "~/work",
            "$HOME/work/x",
            "task/work",
            "./work",
            "/homework/x",
            "/home",
            "/rooted",
            "{root}/work/x",
        ] {
            assert_eq!(
                no_places_of_one_machine(&Tree::of(&[("a.md", text)])),
                [],
                "{text}"
            );
        }
    }

    #[test]
    fn an_invariant_that_is_not_listed_is_found() {
        let tree = Tree::of(&[
            (
                "README.md",
                "- **I1** the supervisor writes\n- I2 is only mentioned\n",
            ),
            (
                "crates/a/src/lib.rs",
                "//! A holds I1.\n\n// I2 as well\nlet I3 = 1;\n// IO, I\n",
            ),
        ]);
        let findings = cited_invariants_exist(&tree);
        assert_eq!(
            findings
                .iter()
                .map(|finding| finding.line)
                .collect::<Vec<_>>(),
            [3]
        );
    }
}
