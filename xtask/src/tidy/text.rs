//! Rules about names of modules, absolute paths, cited invariants and the names of filtered tests.

use super::code::{in_a_name, words};
use super::tree::{Finding, Tree};

/// Names without meaning. A module with such a name attracts unrelated code.
const MEANINGLESS: [&str; 6] = ["common", "util", "helper", "manager", "handler", "service"];

/// Checks the names of crates (directories), modules (files and directories) and inline modules (`mod`).
pub(super) fn no_forbidden_names(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.rust() {
        let named = file
            .path
            .trim_end_matches(".rs")
            .split('/')
            // `attach_helper` is exempt: the attach helper is a term of this project.
            .filter(|part| *part != "attach_helper")
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
            if MEANINGLESS.contains(&singular) {
                findings.push(file.finding(
                    line,
                    format!("`{name}` is a meaningless name: name the module after what it does"),
                ));
            }
        }
    }
    findings
}

/// Finds absolute paths that exist only on one machine. The names below have no slash, so that this file passes the
/// rule.
pub(super) fn no_machine_paths(tree: &Tree) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in tree.files() {
        for (index, line) in file.text.lines().enumerate() {
            for directory in ["home", "Users", "root", "work"] {
                if has_path_below(line, directory) {
                    findings.push(file.finding(
                        index + 1,
                        format!("contains a path of one machine, below /{directory}"),
                    ));
                }
            }
        }
    }
    findings
}

/// Whether the line contains this top-level directory with a name below it. `root` and `work` also count without such a
/// name. A directory of the same name further down in a path does not count.
fn has_path_below(line: &str, directory: &str) -> bool {
    let is_path_character = |c: char| in_a_name(c) || "./-~}{)*>$%".contains(c);
    line.match_indices(directory).any(|(at, _)| {
        let Some(before) = line[..at].strip_suffix('/') else {
            return false;
        };
        let after = &line[at + directory.len()..];
        let below = after
            .strip_prefix('/')
            .is_some_and(|below| below.starts_with(|c| in_a_name(c) || c == '.'));
        let itself = ["root", "work"].contains(&directory)
            && !after.starts_with(|c| in_a_name(c) || c == '-' || c == '/');
        !before.ends_with(is_path_character) && (below || itself)
    })
}

/// Checks that comments cite only invariants whose numbers ARCHITECTURE.md lists in bold.
pub(super) fn cited_invariants_exist(tree: &Tree) -> Vec<Finding> {
    let listed = tree
        .find("ARCHITECTURE.md")
        .map_or("", |file| file.text.as_str());
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
                if numbered && !listed.contains(&format!("**{word}**")) {
                    findings.push(file.finding(
                        index + 1,
                        format!("cites {word}, which ARCHITECTURE.md does not list"),
                    ));
                }
            }
        }
    }
    findings
}

/// Checks that every test named in a profile of nextest exists: nextest accepts the name of a test that was renamed,
/// and then runs the test under a profile for which it was not written.
pub(super) fn filtered_tests_exist(tree: &Tree) -> Vec<Finding> {
    let Some(profiles) = tree.find(".config/nextest.toml") else {
        return Vec::new();
    };
    let is_defined = |name: &str| {
        let definition = format!("fn {name}(");
        tree.rust().any(|file| file.code.contains(&definition))
    };
    let mut findings = Vec::new();
    for (index, line) in profiles.text.lines().enumerate() {
        for named in line.split("test(=").skip(1) {
            let path = named.split(')').next().unwrap_or(named);
            let name = path.rsplit("::").next().unwrap_or(path);
            if !is_defined(name) {
                findings.push(profiles.finding(index + 1, format!("there is no test {path}")));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_names_an_existing_test() {
        let profiles = "test(=a::kept) or test(=a::b::renamed)\n";
        let tree = Tree::of(&[
            (".config/nextest.toml", profiles),
            ("tests/e2e/a.rs", "//! A.\nasync fn kept() {}\n"),
        ]);
        let findings = filtered_tests_exist(&tree);
        let [finding] = &findings[..] else {
            panic!("{findings:?}");
        };
        assert!(finding.sentence.contains("a::b::renamed"));
    }

    #[test]
    fn meaningless_names_are_found() {
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
    fn machine_paths_are_found() {
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
                    no_machine_paths(&Tree::of(&[("a.md", &text)])).len(),
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
            assert_eq!(no_machine_paths(&Tree::of(&[("a.md", text)])), [], "{text}");
        }
    }

    #[test]
    fn unlisted_invariants_are_found() {
        let tree = Tree::of(&[
            (
                "ARCHITECTURE.md",
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
