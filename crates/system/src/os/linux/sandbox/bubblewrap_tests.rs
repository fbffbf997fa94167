//! A fuzz target: for every profile, protected paths are read-only and hidden paths are empty.

use std::fs;
use std::sync::LazyLock;

use agent_team_fuzz::{Target, must};
use tempfile::TempDir;

use super::*;
use crate::limits::Limits;
use crate::sandbox::{Absent, AbsentPaths};

/// Directories, and files below them. `p` is a project, `h` a home directory.
const TREE: [&str; 12] = [
    "p/a/b/c/file",
    "p/a/b/other",
    "p/a/file",
    "p/d/e/file",
    "p/.vscode/file",
    "p/file",
    "h/x/y/file",
    "h/x/file",
    "h/.ssh/id",
    "h/tool/bin/file",
    "t/file",
    "u/file",
];

static ROOT: LazyLock<(TempDir, PathBuf)> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a directory");
    let root = directory
        .path()
        .canonicalize()
        .expect("the directory exists");
    for file in TREE {
        let file = root.join(file);
        fs::create_dir_all(file.parent().expect("a parent")).expect("the directory can be created");
        fs::write(file, "").expect("the file can be written");
    }
    (directory, root)
});

const TARGET: Target = Target {
    name: "profile",
    property: profile_is_enforced,
    seeds: || {
        [
            "w p\np p/.vscode\nh h\nr h/tool",
            "w p\np p/a\na p/a/b/c\nh p/d",
            "w p\nh p/a\na p/a/b/c/file\np p/a/b",
            "w p/d\nh p\nr p/a\ns t\na p/d/e/absent",
            "w h\nh h/.ssh\np h/x/y\nl h/.ssh/link",
        ]
        .map(str::to_owned)
        .to_vec()
    },
    tokens: &[
        "\nw ", "\np ", "\na ", "\nh ", "\nr ", "\ns ", "\nl ", "p", "h", "/a", "/b", "/c", "/d",
        "/e", "/x", "/y", "/file", "/absent", "/.vscode", "/.ssh", "..", "/", "t", "u",
    ],
    regressions: concat!(env!("CARGO_MANIFEST_DIR"), "/tests/regressions"),
};

#[test]
fn fuzz_profile() {
    TARGET.repeat_regressions();
    TARGET.check_seeds();
    TARGET.fuzz();
}

/// Parses one line per path: its kind and the path. Skips combinations that no caller creates.
fn profile(text: &str) -> Profile {
    let root = &ROOT.1;
    let paths_of = |kind: &str| -> Vec<PathBuf> {
        let lines = text.lines().filter_map(|line| line.split_once(' '));
        let named = lines.filter(|(of, _)| *of == kind);
        let plain = |path: &&str| !path.split('/').any(|name| matches!(name, "" | "." | ".."));
        let paths = named.map(|(_, path)| path).filter(plain);
        paths.map(|path| root.join(path)).collect()
    };
    let protected = paths_of("p");
    let mut writable = paths_of("w");
    writable.retain(|path| path.exists() && !protected.iter().any(|kept| path.starts_with(kept)));
    let absent = |path: PathBuf| Absent {
        path,
        content: None,
    };
    let all: Vec<Absent> = paths_of("a").into_iter().map(absent).collect();
    writable.retain(|path| !all.iter().any(|kept| path.starts_with(&kept.path)));
    let in_writable = |path: &PathBuf| writable.iter().any(|parent| path.starts_with(parent));
    Profile {
        protected: protected.into_iter().filter(in_writable).collect(),
        absent: Some(AbsentPaths {
            directory: root.clone(),
            all: all.into_iter().filter(|it| in_writable(&it.path)).collect(),
        }),
        hidden: paths_of("h"),
        readable: paths_of("r"),
        links: paths_of("l")
            .into_iter()
            .map(|link| (link, root.join("t")))
            .collect(),
        scratch: paths_of("s"),
        replaced: Vec::new(),
        network: Network::None,
        limits: Limits::default(),
        group: None,
        writable,
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    Writable,
    ReadOnly,
    /// A new empty directory, or `/dev/null`.
    Nothing,
}

/// The mounts that bubblewrap makes for these arguments, in order. The last mount at or above a path determines the
/// access to it.
fn mounts_of(args: &[OsString]) -> Vec<(PathBuf, Access)> {
    let mut mounts = Vec::new();
    let mut args = args.iter();
    while let Some(option) = args.next().and_then(|option| option.to_str()) {
        let mut path = || PathBuf::from(args.next().expect("an argument"));
        match option {
            "--ro-bind" | "--ro-bind-try" | "--bind" => {
                let (source, target) = (path(), path());
                let access = match option {
                    _ if source == Path::new("/dev/null") => Access::Nothing,
                    "--bind" => Access::Writable,
                    _ => Access::ReadOnly,
                };
                mounts.push((target, access));
            }
            "--tmpfs" => mounts.push((path(), Access::Nothing)),
            "--" => break,
            _ => {}
        }
    }
    mounts
}

fn profile_is_enforced(text: &str) -> Result<(), String> {
    let profile = profile(text);
    let spec = ProgramSpec {
        program: "/bin/true".into(),
        args: Vec::new(),
        env: Vec::new(),
        cwd: "/".into(),
    };
    let mounts = mounts_of(&arguments(&profile, true, &spec, 3, None, &[]));
    let access = |path: &Path| {
        let around = mounts
            .iter()
            .rev()
            .find(|(target, _)| path.starts_with(target));
        around.map_or(Access::ReadOnly, |(_, access)| *access)
    };
    let below =
        |parents: &[PathBuf], path: &Path| parents.iter().any(|parent| path.starts_with(parent));
    let absent = profile.absent.iter().flat_map(|absent| &absent.all);
    let kept: Vec<PathBuf> = absent.map(|absent| absent.path.clone()).collect();
    let kept = [kept, profile.protected.clone()].concat();
    for file in TREE {
        let file = ROOT.1.join(file);
        for path in file.ancestors().take_while(|path| **path != ROOT.1) {
            let found = access(path);
            let violation = |rule: &str| format!("{}: {found:?}, but {rule}", path.display());
            if below(&kept, path) {
                must(found != Access::Writable, &violation("it is protected"))?;
            }
            // The nearest path of the profile decides: a path within a hidden path can be readable.
            let depth = |parents: &[PathBuf]| {
                let around = parents.iter().filter(|parent| path.starts_with(parent));
                around.map(|parent| parent.components().count()).max()
            };
            let hidden = depth(&[&profile.hidden[..], &profile.scratch[..]].concat());
            let shown = depth(&profile.writable).max(depth(&profile.readable));
            if hidden > shown {
                must(found == Access::Nothing, &violation("it is hidden"))?;
            }
            let is_writable = depth(&profile.writable).is_some_and(|depth| Some(depth) > hidden);
            if is_writable && !below(&kept, path) {
                must(found == Access::Writable, &violation("it is writable"))?;
            }
        }
    }
    Ok(())
}
