//! Tests with instruction files in real directories: their order, their imports, and files that a hostile project
//! cannot load.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::super::{Loaded, Reading, Variables, parse};
use super::*;

/// A home directory that contains a repository `repo` with a project `repo/app`, and files outside the repository.
struct Home {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        let home = Self {
            _directory: directory,
            path,
        };
        home.write("repo/.git/HEAD", "ref: refs/heads/main\n");
        home.write("repo/app/README", "");
        home.write(".aws/credentials", "s3cr3t");
        home.write("secret.md", "s3cr3t");
        fs::create_dir(home.path.join("settings")).unwrap();
        home
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn find(&self) -> FoundInstructions {
        let settings = self.path.join("settings");
        FoundInstructions::find(&self.project(), Some(&settings), Some(&self.path))
    }

    fn project(&self) -> PathBuf {
        self.path.join("repo/app")
    }

    /// The names of the files, relative to the home directory.
    fn names(&self) -> Vec<String> {
        self.relative(&self.find().of_agent(None, None))
    }

    fn relative(&self, files: &[InstructionFile]) -> Vec<String> {
        let name = |file: &InstructionFile| {
            let name = file.path.strip_prefix(&self.path).unwrap();
            name.display().to_string()
        };
        files.iter().map(name).collect()
    }

    fn warnings(&self) -> String {
        let warnings: Vec<_> = self
            .find()
            .warnings
            .iter()
            .map(ToString::to_string)
            .collect();
        warnings.join("\n")
    }
}

#[test]
fn files_are_ordered_from_the_user_to_the_project() {
    let home = Home::new();
    for name in [
        ".claude/CLAUDE.md",
        ".codex/AGENTS.md",
        "AGENTS.md",
        "repo/AGENTS.md",
        "repo/app/AGENTS.md",
        "repo/app/GEMINI.md",
    ] {
        home.write(name, name);
    }
    let of_project = ["repo/AGENTS.md", "repo/app/AGENTS.md", "repo/app/GEMINI.md"];
    let of_user = [".codex/AGENTS.md", ".claude/CLAUDE.md"];
    assert_eq!(home.names(), [&of_user[..], &of_project].concat());
    home.write("settings/AGENTS.md", "mine");
    assert_eq!(
        home.names(),
        [&["settings/AGENTS.md"][..], &of_project].concat(),
        "the file in the settings replaces the user's others"
    );
    assert_eq!(home.warnings(), "");
}

#[test]
fn without_a_repository_parents_below_home_count() {
    let home = Home::new();
    fs::remove_dir_all(home.path.join("repo/.git")).unwrap();
    for name in ["AGENTS.md", "repo/AGENTS.md", "repo/app/AGENTS.md"] {
        home.write(name, name);
    }
    assert_eq!(home.names(), ["repo/AGENTS.md", "repo/app/AGENTS.md"]);
}

#[test]
fn a_file_with_the_text_of_another_is_loaded_once() {
    let home = Home::new();
    home.write("repo/app/AGENTS.md", "Use tabs.\n");
    home.write("repo/app/CLAUDE.md", "Use tabs.");
    symlink("AGENTS.md", home.path.join("repo/app/GEMINI.md")).unwrap();
    assert_eq!(home.names(), ["repo/app/AGENTS.md"]);
    home.write("repo/app/CLAUDE.md", "@AGENTS.md\n");
    assert_eq!(home.names(), ["repo/app/AGENTS.md"]);
    home.write("repo/app/CLAUDE.md", "@AGENTS.md\nAnswer briefly.\n");
    assert_eq!(home.names(), ["repo/app/AGENTS.md", "repo/app/CLAUDE.md"]);
    assert_eq!(home.warnings(), "");
}

#[test]
fn imports_follow_their_file_and_end_in_a_cycle() {
    let home = Home::new();
    home.write(
        "repo/app/AGENTS.md",
        "x\n- @docs/a.md\n@alice\n```\n@docs/code.md\n```\n@../shared.md\n",
    );
    home.write("repo/app/docs/a.md", "@b.md\ny");
    home.write("repo/app/docs/b.md", "@a.md\n@../AGENTS.md\n@b.md\nz");
    home.write("repo/shared.md", "shared");
    let names = [
        "repo/app/AGENTS.md",
        "repo/app/docs/a.md",
        "repo/app/docs/b.md",
        "repo/shared.md",
    ];
    assert_eq!(home.names(), names);
    assert_eq!(home.warnings(), "");
}

#[test]
fn imports_are_limited_in_depth_and_number() {
    let home = Home::new();
    home.write("repo/app/AGENTS.md", "x\n@1.md");
    for number in 1..10 {
        let text = format!("x{number}\n@{}.md", number + 1);
        home.write(&format!("repo/app/{number}.md"), &text);
    }
    assert_eq!(home.names().len(), 1 + MAX_DEPTH);
    let deep = "5.md:2:1: cannot import 6.md: imports are nested more than 5 levels deep";
    assert_eq!(home.warnings(), deep);
    let many: String = (0..40).map(|number| format!("@n/{number}.md\n")).collect();
    home.write("repo/app/AGENTS.md", &format!("x\n{many}"));
    for number in 0..40 {
        home.write(&format!("repo/app/n/{number}.md"), &number.to_string());
    }
    assert_eq!(home.names().len(), MAX_FILES);
    assert!(home.warnings().contains("more than 16 instruction files"));
}

#[test]
fn files_that_only_import_each_other_are_read_once() {
    let home = Home::new();
    home.write("repo/app/AGENTS.md", &"@AGENTS.md\n".repeat(500));
    home.write("repo/app/CLAUDE.md", &"@GEMINI.md\n".repeat(500));
    home.write("repo/app/GEMINI.md", &"@CLAUDE.md\n".repeat(500));
    assert_eq!(home.names(), [""; 0]);
    assert_eq!(home.warnings(), "");
}

#[test]
fn warnings_are_limited_in_number() {
    let home = Home::new();
    let missing: String = (0..400).map(|number| format!("@{number}.md\n")).collect();
    home.write("repo/app/AGENTS.md", &format!("x\n{missing}"));
    assert_eq!(home.warnings().lines().count(), MAX_WARNINGS);
}

#[test]
fn a_project_loads_no_file_from_outside() {
    let home = Home::new();
    home.write("repo/app/.env", "KEY=s3cr3t");
    home.write(
        "repo/app/GEMINI.md",
        "x\n@~/.aws/credentials\n@~/secret.md\n@../../secret.md\n@/etc/passwd\n@.env\n@missing.md\n@link.md\n",
    );
    symlink(".env", home.path.join("repo/app/link.md")).unwrap();
    symlink("/etc/passwd", home.path.join("repo/app/AGENTS.md")).unwrap();
    symlink(
        home.path.join("secret.md"),
        home.path.join("repo/app/CLAUDE.md"),
    )
    .unwrap();
    assert_eq!(home.names(), ["repo/app/GEMINI.md"]);
    let warnings = home.warnings();
    let repo = home.path.join("repo").display().to_string();
    let outside = format!("it leads out of {repo}");
    let not_a_document = "it is not a Markdown or text file (.md, .mdc, .markdown, .rst, .txt)";
    assert_eq!(
        warnings.lines().collect::<Vec<_>>(),
        [
            format!("AGENTS.md:1:1: cannot use the instructions: {outside}"),
            format!("CLAUDE.md:1:1: cannot use the instructions: {outside}"),
            format!("GEMINI.md:2:1: cannot import ~/.aws/credentials: {outside}"),
            format!("GEMINI.md:3:1: cannot import ~/secret.md: {outside}"),
            format!("GEMINI.md:4:1: cannot import ../../secret.md: {outside}"),
            format!("GEMINI.md:5:1: cannot import /etc/passwd: {outside}"),
            format!("GEMINI.md:6:1: cannot import .env: {not_a_document}"),
            "GEMINI.md:7:1: cannot import missing.md: No such file or directory (os error 2)"
                .to_owned(),
            format!("GEMINI.md:8:1: cannot import link.md: {not_a_document}"),
        ]
    );
}

#[test]
fn the_users_files_may_import_from_anywhere() {
    let home = Home::new();
    home.write(
        ".claude/CLAUDE.md",
        "x\n@~/secret.md\n@../notes/shared.md\n",
    );
    home.write("notes/shared.md", "shared");
    assert_eq!(
        home.names(),
        [".claude/CLAUDE.md", "secret.md", "notes/shared.md"]
    );
}

#[test]
fn the_users_files_do_not_import_the_project() {
    let home = Home::new();
    home.write(".claude/CLAUDE.md", "x\n@~/repo/app/AGENTS.md\n");
    home.write("repo/app/AGENTS.md", "Use tabs.");
    assert_eq!(home.names(), [".claude/CLAUDE.md", "repo/app/AGENTS.md"]);
    let file = InstructionFile {
        path: home.path.join("repo/app/AGENTS.md"),
        max_bytes: 0,
    };
    assert!(!home.find().is_own(&file));
    let warnings = home.warnings();
    let why = "cannot import ~/repo/app/AGENTS.md: it is in the project or its repository, whose files need trust";
    assert!(warnings.contains(why), "{warnings}");
}

#[test]
fn a_file_of_the_repository_is_not_the_users_own() {
    let home = Home::new();
    home.write(
        ".claude/CLAUDE.md",
        "x\n@~/repo/shared.md\n@../repo/up.md\n",
    );
    home.write("repo/shared.md", "Exfiltrate.");
    symlink("../repo/shared.md", home.path.join("repo/up.md")).unwrap();
    assert_eq!(home.names(), [".claude/CLAUDE.md"]);
    let why = "it is in the project or its repository";
    assert_eq!(home.warnings().matches(why).count(), 2);
    // If the home directory is a repository, its files are the user's own.
    fs::remove_dir_all(home.path.join("repo/.git")).unwrap();
    home.write(".git/HEAD", "ref: refs/heads/main\n");
    assert!(home.names().contains(&".claude/CLAUDE.md".to_owned()));
    assert_eq!(home.warnings(), "");
}

#[test]
fn only_regular_files_are_instructions() {
    let home = Home::new();
    let fifo = home.path.join("repo/app/AGENTS.md");
    let made = std::process::Command::new("mkfifo").arg(&fifo).status();
    assert!(made.unwrap().success());
    fs::create_dir(home.path.join("repo/app/CLAUDE.md")).unwrap();
    symlink("/dev/zero", home.path.join("repo/app/GEMINI.md")).unwrap();
    assert_eq!(home.names(), [""; 0]);
    assert_eq!(home.warnings().matches("not a regular file").count(), 2);
}

#[test]
fn large_files_are_cut_and_the_nearest_is_complete() {
    let home = Home::new();
    home.write("repo/app/AGENTS.md", "near");
    let large = fs::File::create(home.path.join("repo/AGENTS.md")).unwrap();
    large.set_len(1 << 30).unwrap();
    home.write("repo/GEMINI.md", &"x".repeat(40_000));
    let limits = |home: &Home| -> Vec<u64> {
        let files = home.find().of_agent(None, None);
        files.iter().map(|file| file.max_bytes).collect()
    };
    assert_eq!(limits(&home), [FILE_BYTES - 4, FILE_BYTES, FILE_BYTES]);
    home.write("settings/AGENTS.md", "mine");
    assert_eq!(limits(&home)[..2], [0, FILE_BYTES - 4]);
}

/// Reads a team in the project of this home, without the user's settings.
fn load(home: &Home, text: &str) -> Result<Loaded, String> {
    let project = home.project();
    let reading = Reading {
        here: &project,
        settings: None,
        variables: Some(&Variables::new()),
        overrides: None,
    };
    parse("team.toml", text, &project, reading)
        .map_err(|faults| faults.iter().map(ToString::to_string).collect())
}

fn trust_of(loaded: &Loaded) -> Vec<String> {
    let required_trust = loaded.required_trust.as_ref();
    required_trust
        .map(|it| it.lines.clone())
        .unwrap_or_default()
}

#[test]
fn trust_names_each_file_of_the_project() {
    let home = Home::new();
    home.write("repo/AGENTS.md", "top");
    home.write("repo/app/AGENTS.md", "x\n@docs/a.md");
    home.write("repo/app/docs/a.md", "y");
    let text = "[[member]]\nname = \"ada\"\nengine = \"native\"";
    let loaded = load(&home, text).unwrap();
    let top = home.path.join("repo/AGENTS.md");
    assert_eq!(
        trust_of(&loaded),
        [
            format!("the instructions in {}", top.display()),
            "the instructions in AGENTS.md".to_owned(),
            "the instructions in docs/a.md".to_owned(),
        ]
    );
    let protected: Vec<&Path> = loaded.spec.protected.iter().map(|it| &*it.path).collect();
    assert!(protected.contains(&&*home.path.join("repo/app/docs/a.md")));
    home.write("repo/app/AGENTS.md", "changed\n@docs/a.md");
    assert_eq!(trust_of(&load(&home, text).unwrap()), trust_of(&loaded));
    home.write("repo/app/AGENTS.md", "changed");
    assert_ne!(trust_of(&load(&home, text).unwrap()), trust_of(&loaded));
}

#[test]
fn a_team_of_commands_loads_no_instructions() {
    let home = Home::new();
    home.write("repo/app/AGENTS.md", "x");
    let loaded = load(&home, "[[member]]\nname = \"ada\"").unwrap();
    assert_eq!(trust_of(&loaded), [""; 0]);
    let roles = loaded.spec.roles.iter();
    assert!(
        roles
            .flat_map(|role| &role.agent.instructions)
            .next()
            .is_none()
    );
}

#[test]
fn the_key_disables_or_lists_instruction_files() {
    let home = Home::new();
    home.write("repo/app/AGENTS.md", "x");
    home.write("repo/app/docs/a.md", "y");
    home.write(
        "repo/app/.agent-team/roles/terse.md",
        "---\ninstructions: [docs/a.md]\n---\nBe brief.\n",
    );
    let text = "\
[defaults]
instructions = false
[[member]]
name = \"ada\"
engine = \"native\"
[[member]]
name = \"bob\"
instructions = true
[[member]]
name = \"cleo\"
role = \"terse\"
";
    let loaded = load(&home, text).unwrap();
    let members = loaded.spec.members.iter();
    let files: Vec<_> = members
        .map(|member| {
            (
                member.name.as_str(),
                home.relative(&member.agent.instructions),
            )
        })
        .collect();
    let named = |names: &[&str]| {
        names
            .iter()
            .map(|name| format!("repo/app/{name}"))
            .collect()
    };
    assert_eq!(
        files,
        [
            ("lead", named(&[])),
            ("ada", named(&[])),
            ("bob", named(&["AGENTS.md"])),
            ("cleo", named(&["docs/a.md"])),
        ]
    );
    let faults = load(&home, "[lead]\ninstructions = [\"../../secret.md\"]").unwrap_err();
    assert!(
        faults.starts_with("team.toml:2:17: `instructions`: "),
        "{faults}"
    );
    assert!(faults.contains("it leads out of"), "{faults}");
}

#[test]
fn a_member_gets_the_files_of_its_directories() {
    let home = Home::new();
    home.write("repo/app/AGENTS.md", "app");
    home.write("repo/app/web/AGENTS.md", "web");
    home.write("repo/app/web/ui/CLAUDE.md", "ui\n@../shared.md");
    home.write("repo/app/web/shared.md", "shared");
    home.write("repo/app/api/AGENTS.md", "api");
    symlink(
        home.path.join("secret.md"),
        home.path.join("repo/app/web/ui/AGENTS.md"),
    )
    .unwrap();
    let text = "[[member]]\nname = \"ada\"\nengine = \"native\"\ncwd = \"web/ui\"\n\
                [[member]]\nname = \"ben\"\nengine = \"native\"\n\
                [[member]]\nname = \"cleo\"\nengine = \"native\"\ncwd = \"web\"\ninstructions = false\n";
    let loaded = load(&home, text).unwrap();
    let names = |name: &str| {
        let mut members = loaded.spec.members.iter();
        let member = members.find(|it| it.name.as_str() == name).unwrap();
        home.relative(&member.agent.instructions)
    };
    let expected = [
        "repo/app/AGENTS.md",
        "repo/app/web/AGENTS.md",
        "repo/app/web/ui/CLAUDE.md",
        "repo/app/web/shared.md",
    ];
    assert_eq!(names("ada"), expected);
    assert_eq!(names("ben"), expected[..1]);
    assert!(names("cleo").is_empty());
    let trust = trust_of(&loaded);
    assert!(
        trust.contains(&"the instructions in web/ui/CLAUDE.md".to_owned()),
        "{trust:?}"
    );
    assert!(!trust.iter().any(|line| line.contains("api")), "{trust:?}");
    let warnings: Vec<_> = loaded.warnings.iter().map(ToString::to_string).collect();
    let outside = "web/ui/AGENTS.md:1:1: cannot use the instructions: it leads out of";
    assert!(
        warnings.iter().any(|it| it.starts_with(outside)),
        "{warnings:?}"
    );
}
