//! The rule that the files of a crate do not import each other in a circle: each file can then be understood with only
//! the files below it. Reads paths that begin with `crate`, `self`, `super` or a child module; a re-export of a child
//! (`pub use child::Item`) and a visibility (`pub(in crate::a)`) do not count, because they use no code.

use std::collections::{BTreeMap, BTreeSet};

use super::code::{in_a_name, line_at, words};
use super::tree::{File, Finding, Tree};

/// Crates without circles. Add a crate as soon as it has no circle.
const CRATES: &[&str] = &[
    "agent-team",
    "cli",
    "client",
    "core",
    "fuzz",
    "llm",
    "policy",
    "protocol",
    "providers",
    "store",
    "supervisor",
    "system",
    "team-file",
    "teammate",
    "terminal-ui",
    "tools",
];

/// Imports that may be part of a circle: from a file, into a file, and the reason.
const DEFENDED: &[(&str, &str, &str)] = &[
    (
        "crates/supervisor/src/driver/request.rs",
        "crates/supervisor/src/driver.rs",
        "a query is a function of the driver, and the driver keeps queries until the next commit",
    ),
    (
        "crates/team-file/src/table.rs",
        "crates/team-file/src/reference.rs",
        "the parser accepts only keys of the reference, and the reference lists the values of the parsers",
    ),
    (
        "crates/team-file/src/role/file.rs",
        "crates/team-file/src/reference.rs",
        "the parser accepts only keys of the reference, and the reference lists the values of the parsers",
    ),
];

/// The module of a file below `src`, such as `["team", "apply"]`; empty for `lib.rs`.
type Module = Vec<String>;

/// The imports of a file, each with its first line.
type Imports = BTreeMap<Module, usize>;

pub(super) fn no_import_circles(tree: &Tree) -> Vec<Finding> {
    let crates = CRATES.iter().map(|name| format!("crates/{name}/src/"));
    crates.flat_map(|source| circles(tree, &source)).collect()
}

fn circles(tree: &Tree, source: &str) -> Vec<Finding> {
    let files: BTreeMap<Module, &File> = tree
        .rust()
        .filter_map(|file| Some((module(file.path.strip_prefix(source)?)?, file)))
        .collect();
    let imports: BTreeMap<&Module, Imports> = files
        .iter()
        .map(|(module, file)| (module, imports(module, file, &files)))
        .collect();
    let mut findings = Vec::new();
    let mut known = BTreeSet::new();
    for module in files.keys() {
        let below = reachable(module, &imports);
        if !below.contains(module) || known.contains(module) {
            continue;
        }
        let is_in_circle = |other: &&Module| reachable(other, &imports).contains(module);
        let circle: BTreeSet<&Module> = below.into_iter().filter(is_in_circle).collect();
        for from in &circle {
            for (into, line) in imports[from]
                .iter()
                .filter(|(into, _)| circle.contains(into))
            {
                let count = circle.len();
                findings.push(files[*from].finding(
                    *line,
                    format!("imports {}, in a circle of {count} files", files[into].path),
                ));
            }
        }
        known.extend(circle);
    }
    findings
}

/// The module of a path below `src`; `None` for tests and programs, which no other file imports.
fn module(path: &str) -> Option<Module> {
    let module: Module = path
        .strip_suffix(".rs")?
        .split('/')
        .map(str::to_owned)
        .collect();
    let is_leaf = |part: &String| part == "tests" || part == "main" || part == "bin";
    match module.as_slice() {
        [root] if root == "lib" => Some(Module::new()),
        parts if parts.iter().any(is_leaf) => None,
        _ => Some(module),
    }
}

fn reachable<'a>(from: &Module, imports: &'a BTreeMap<&Module, Imports>) -> BTreeSet<&'a Module> {
    let mut found = BTreeSet::new();
    let mut pending: Vec<&Module> = imports[from].keys().collect();
    while let Some(next) = pending.pop() {
        if found.insert(next) {
            pending.extend(imports[next].keys());
        }
    }
    found
}

fn imports(module: &Module, file: &File, files: &BTreeMap<Module, &File>) -> Imports {
    let code = without_inline_tests(&file.code);
    let children = files
        .keys()
        .filter(|child| child.len() == module.len() + 1 && child.starts_with(module))
        .filter_map(|child| child.last());
    let starts = ["crate", "self", "super"].into_iter();
    let mut imports = Imports::new();
    for start in starts.chain(children.map(String::as_str)) {
        for at in words(code, start) {
            let is_path = code[at + start.len()..].starts_with("::");
            if !is_path || code[..at].ends_with("::") || code[..at].ends_with("pub(in ") {
                continue;
            }
            let base = match start {
                "crate" => Module::new(),
                "self" => module.clone(),
                "super" => module[..module.len().saturating_sub(1)].to_vec(),
                child => [module.as_slice(), &[child.to_owned()]].concat(),
            };
            let mut paths = Vec::new();
            read_path(&code[at + start.len()..], base, &mut paths);
            let is_reexport = is_reexport(&code[..at]);
            for path in paths {
                let into = (0..=path.len())
                    .rev()
                    .find_map(|length| files.get_key_value(&path[..length]));
                let Some((into, target)) = into else { continue };
                let is_child_reexport = is_reexport && into.starts_with(module);
                if into != module && !is_child_reexport && !is_defended(file, target) {
                    imports.entry(into.clone()).or_insert(line_at(code, at));
                }
            }
        }
    }
    imports
}

fn is_defended(from: &File, into: &File) -> bool {
    let mut defended = DEFENDED.iter();
    defended.any(|(file, target, _)| from.path == *file && into.path == *target)
}

fn without_inline_tests(code: &str) -> &str {
    let start = code.match_indices("#[cfg(test)]").find(|(at, mark)| {
        let item = code[at + mark.len()..].trim_start();
        item.starts_with("mod") && item.find('{') < item.find(';')
    });
    start.map_or(code, |(at, _)| &code[..at])
}

/// Whether the code ends with `pub use` or `pub(…) use`.
fn is_reexport(code: &str) -> bool {
    let statement = code.rsplit([';', '}']).next().unwrap_or_default().trim();
    statement.ends_with("use") && statement.contains("pub")
}

/// Reads the rest of a path, which begins with `::` or with a name, and returns the code after it. `a::{b, c::d}` is
/// two paths.
fn read_path<'a>(mut code: &'a str, mut path: Module, paths: &mut Vec<Module>) -> &'a str {
    loop {
        code = code.strip_prefix("::").unwrap_or(code).trim_start();
        if let Some(mut group) = code.strip_prefix('{') {
            loop {
                group = group.trim_start_matches(|c: char| c == ',' || c.is_whitespace());
                if group.is_empty() || group.starts_with('}') {
                    return group.get(1..).unwrap_or_default();
                }
                group = read_path(group, path.clone(), paths);
            }
        }
        let end = code.find(|c| !in_a_name(c)).unwrap_or(code.len());
        match &code[..end] {
            "" => {
                paths.push(path);
                let rest = code.char_indices().nth(1);
                return rest.map_or("", |(at, _)| &code[at..]);
            }
            "super" => {
                path.pop();
            }
            "self" => {}
            name => path.push(name.to_owned()),
        }
        code = &code[end..];
        if !code.starts_with("::") {
            paths.push(path);
            let renamed = code.trim_start().strip_prefix("as ");
            return renamed.map_or(code, |name| name.trim_start_matches(in_a_name));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> Vec<String> {
        let files: Vec<(String, &str)> = files
            .iter()
            .map(|(path, text)| (format!("crates/core/src/{path}"), *text))
            .collect();
        let files: Vec<(&str, &str)> = files.iter().map(|(path, text)| (&**path, *text)).collect();
        let findings = no_import_circles(&Tree::of(&files));
        findings.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_import_of_a_circle_is_found() {
        let findings = found(&[
            ("lib.rs", "mod a;\nmod b;\nmod c;\n"),
            ("a.rs", "//! A.\nuse crate::b::{B, other::C};\n"),
            ("b.rs", "fn f() { super::a::g() }\n"),
            ("c.rs", "use crate::a::A;\n"),
        ]);
        assert_eq!(
            findings,
            [
                "crates/core/src/a.rs:2: imports crates/core/src/b.rs, in a circle of 2 files",
                "crates/core/src/b.rs:1: imports crates/core/src/a.rs, in a circle of 2 files",
            ]
        );
    }

    #[test]
    fn a_parent_and_its_part_can_form_a_circle() {
        let part = ("a/part.rs", "use super::{A, B as C};\n");
        assert_eq!(
            found(&[("a.rs", "mod part;\nfn f() { part::g() }\n"), part]).len(),
            2
        );
        for parent in [
            "mod part;\npub(crate) use part::{Part, g};\n",
            "mod part;\n#[cfg(test)]\nmod tests {\n    use self::part::g;\n}\n",
            "mod part; // part::g\n",
        ] {
            assert_eq!(found(&[("a.rs", parent), part]), [""; 0], "{parent}");
        }
    }

    #[test]
    fn one_way_imports_are_allowed() {
        let findings = found(&[
            ("lib.rs", "pub mod a;\npub use a::low::Low;\n"),
            (
                "a.rs",
                "pub mod low;\nuse crate::a::low::{self, Low};\nuse std::fmt;\n",
            ),
            (
                "a/low.rs",
                "use std::{fmt, io};\npub(in crate::a) struct Low;\n",
            ),
            (
                "b.rs",
                "pub(crate) fn f(_: self::Own, _: crate::a::A, _: super::Low) {}\n",
            ),
        ]);
        assert_eq!(findings, [""; 0]);
    }
}
