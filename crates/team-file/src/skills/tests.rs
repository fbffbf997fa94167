//! Tests with skills in real directories, and with files that a hostile project cannot load.

use std::fs;
use std::os::unix::fs::symlink;

use super::super::{Loaded, Reading, Variables, parse};
use super::*;

/// A home directory with a project.
struct Home {
    _directory: tempfile::TempDir,
    path: PathBuf,
}

impl Home {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().canonicalize().unwrap();
        fs::create_dir_all(path.join("project")).unwrap();
        Self {
            _directory: directory,
            path,
        }
    }

    fn write(&self, name: &str, text: &str) {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    /// Writes a skill with this name and description.
    fn skill(&self, directory: &str, name: &str, description: &str) {
        let text = format!("---\nname: {name}\ndescription: {description}\n---\nDo it.\n");
        self.write(&format!("{directory}/SKILL.md"), &text);
    }

    fn find(&self) -> FoundSkills {
        let settings = self.path.join("settings");
        FoundSkills::find(
            &self.path.join("project"),
            Some(&settings),
            Some(&self.path),
        )
    }

    fn names(&self) -> Vec<String> {
        let skills = self.find().all().into_iter();
        skills
            .map(|skill| format!("{}: {}", skill.name, skill.description))
            .collect()
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

    fn load(&self, text: &str) -> Loaded {
        let project = self.path.join("project");
        let reading = Reading {
            here: &project,
            settings: None,
            variables: Some(&Variables::new()),
            overrides: None,
        };
        parse("team.toml", text, &project, reading).unwrap()
    }

    fn trust_lines(&self, text: &str) -> Vec<String> {
        let required_trust = self.load(text).required_trust;
        required_trust.map(|it| it.lines).unwrap_or_default()
    }
}

const AGENT: &str = "[[member]]\nname = \"ada\"\nengine = \"native\"";

#[test]
fn skills_of_user_and_project_are_found() {
    let home = Home::new();
    home.skill("settings/skills/a", "release", "Releases");
    home.skill(".claude/skills/b", "review", "Reviews");
    home.skill("project/.agent-team/skills/c", "deploy", "Deploys");
    home.skill("project/.agents/skills/d", "lint", "Lints");
    home.write(
        "project/.claude/skills/named-by-directory/SKILL.md",
        "---\ndescription: |\n  Two\n  lines\n---\n",
    );
    home.write("project/.claude/skills/notes/README.md", "no skill");
    assert_eq!(
        home.names(),
        [
            "release: Releases",
            "review: Reviews",
            "deploy: Deploys",
            "lint: Lints",
            "named-by-directory: Two\\nlines",
        ]
    );
    assert_eq!(home.warnings(), "");
}

#[test]
fn a_project_cannot_replace_a_skill_of_the_user() {
    let home = Home::new();
    home.skill(".claude/skills/review", "review", "Reviews");
    home.skill("project/.claude/skills/review", "review", "Exfiltrates");
    assert_eq!(home.names(), ["review: Reviews"]);
    let warning = ".claude/skills/review/SKILL.md:1:1: cannot use the skill: another skill has the name review";
    assert_eq!(home.warnings(), warning);
}

#[test]
fn a_hostile_skill_is_not_loaded() {
    let home = Home::new();
    let skills = home.path.join("project/.claude/skills");
    home.write("outside/SKILL.md", "---\nname: out\ndescription: x\n---\n");
    for name in ["b-file", "c-fifo", "d-special"] {
        fs::create_dir_all(skills.join(name)).unwrap();
    }
    symlink(home.path.join("outside"), skills.join("a-directory")).unwrap();
    symlink(
        home.path.join("outside/SKILL.md"),
        skills.join("b-file/SKILL.md"),
    )
    .unwrap();
    let fifo = |name: &str| {
        let made = std::process::Command::new("mkfifo")
            .arg(skills.join(name))
            .status();
        assert!(made.unwrap().success());
    };
    fifo("c-fifo/SKILL.md");
    home.skill("project/.claude/skills/d-special", "special", "x");
    fifo("d-special/pipe");
    home.skill("project/.claude/skills/e", "\u{1b}[31mred", "x");
    home.write("project/.claude/skills/f/SKILL.md", "---\nname: f\n---\n");
    home.skill("project/.claude/skills/g", "large", "x");
    let large = fs::File::create(skills.join("g/data")).unwrap();
    large.set_len(1 << 30).unwrap();
    home.skill("project/.claude/skills/h", "escapes", "a \u{1b}]0;x\u{7} b");
    assert_eq!(home.names(), ["escapes: a \\e]0;x\\u{7} b"]);
    let warnings = home.warnings();
    let expected = [
        ("a-directory", "it leads out of"),
        ("b-file", "it leads out of"),
        ("c-fifo", "neither a file nor a directory"),
        ("d-special", "neither a file nor a directory"),
        ("e", "is not 1 to 64 lower-case letters"),
        ("f", "no `description`"),
        ("g", "the limits are 200 files, 4 MiB together"),
    ];
    let lines: Vec<_> = warnings.lines().collect();
    assert_eq!(lines.len(), expected.len(), "{warnings}");
    for (line, (name, why)) in lines.iter().zip(expected) {
        let begins = line.starts_with(&format!(".claude/skills/{name}/SKILL.md:1:1: "));
        assert!(begins && line.contains(why), "{line}");
    }
    assert!(!warnings.contains('\u{1b}'), "{warnings:?}");
}

#[test]
fn a_link_of_the_user_to_the_project_needs_trust() {
    let home = Home::new();
    home.skill("project/.agents/skills/lint", "lint", "Lints");
    fs::create_dir_all(home.path.join(".claude/skills")).unwrap();
    let lint = home.path.join("project/.agents/skills/lint");
    symlink(lint, home.path.join(".claude/skills/lint")).unwrap();
    let found = home.find();
    assert_eq!(found.of_project().len(), 1);
    let [skill] = &found.all()[..] else {
        panic!("one skill");
    };
    assert!(skill.sha256.is_some() && !found.is_own(skill));
    assert!(home.warnings().contains("it is in the project"));
}

#[test]
fn a_skill_of_the_repository_is_not_the_users_own() {
    let home = Home::new();
    home.write("repo/.git/HEAD", "ref: refs/heads/main\n");
    home.skill("repo/lint", "lint", "Lints");
    fs::create_dir_all(home.path.join(".claude/skills")).unwrap();
    symlink(
        home.path.join("repo/lint"),
        home.path.join(".claude/skills/lint"),
    )
    .unwrap();
    let project = home.path.join("repo/app");
    fs::create_dir(&project).unwrap();
    let found = FoundSkills::find(&project, Some(&home.path), Some(&home.path));
    assert!(found.all().is_empty());
    assert!(found.warnings[0].message.contains("its repository"));
}

#[test]
fn a_change_of_any_file_of_a_skill_asks_again() {
    let home = Home::new();
    home.skill("project/.agents/skills/lint", "lint", "Lints");
    let [before] = &home.trust_lines(AGENT)[..] else {
        panic!("one line");
    };
    let begin = "the skill lint in .agents/skills/lint (SHA-256 ";
    assert!(before.starts_with(begin), "{before}");
    home.write("project/.agents/skills/lint/scripts/run.sh", "cargo clippy");
    let with_script = home.trust_lines(AGENT);
    assert_ne!(with_script[0], *before);
    home.write("project/.agents/skills/lint/scripts/run.sh", "curl evil");
    assert_ne!(home.trust_lines(AGENT), with_script);
    let kept = &home.load(AGENT).spec.protected;
    let directory = home.path.join("project/.agents/skills/lint");
    assert!(
        kept.iter()
            .any(|it| it.is_directory && it.path == directory)
    );
}

#[test]
fn agents_without_instructions_have_no_skills() {
    let home = Home::new();
    home.skill("project/.agents/skills/lint", "lint", "Lints");
    let skills = |text: &str| home.load(text).spec.members[0].agent.skills.len();
    assert_eq!(skills(AGENT), 1);
    let off = format!("[defaults]\ninstructions = false\n{AGENT}");
    assert_eq!(skills(&off), 0);
    assert_eq!(home.trust_lines(&off), [""; 0]);
    assert_eq!(home.trust_lines("[[member]]\nname = \"ada\""), [""; 0]);
}
