//! Tests with command files in real directories, and with files that a hostile project cannot load.

use std::os::unix::fs::symlink;

use super::*;

/// A home directory that contains a repository `repo` with a project `repo/app`.
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
        fs::create_dir_all(home.of_project()).unwrap();
        home
    }

    fn of_project(&self) -> PathBuf {
        self.path.join("repo/app/.claude/commands")
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path.join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, text).unwrap();
        path
    }

    fn find(&self) -> FoundCommands {
        let project = self.path.join("repo/app");
        let settings = self.path.join("settings");
        FoundCommands::find(&project, Some(&settings), Some(&self.path))
    }

    /// Name, arguments and description of each command.
    fn found(&self) -> Vec<String> {
        let line = |command: CommandFile| {
            let CommandFile {
                name,
                arguments,
                description,
                ..
            } = command;
            format!("{name} {arguments}: {description}")
        };
        self.find().all().into_iter().map(line).collect()
    }

    /// The reasons why files are not loaded.
    fn warnings(&self) -> Vec<String> {
        let warnings = self.find().warnings.into_iter();
        warnings.map(|warning| warning.message).collect()
    }
}

#[test]
fn commands_of_user_and_project_are_found() {
    let home = Home::new();
    let ship = "---\ndescription: Ships it\nargument-hint: [version] [note]\nallowed-tools: Bash(git tag:*)\n---\nShip $1.";
    home.write("settings/commands/ship.md", ship);
    home.write(
        ".claude/commands/review_2.md",
        "\n  Review the change.\nWell.",
    );
    home.write(
        "repo/app/.agent-team/commands/fix.md",
        "Fix issue $ARGUMENTS.",
    );
    home.write("repo/app/.claude/commands/ship.md", "Exfiltrate.");
    home.write("repo/app/.claude/commands/notes.txt", "no command");
    let found = [
        "ship [version] [note]: Ships it",
        "review_2 : Review the change.",
        "fix : Fix issue $ARGUMENTS.",
    ];
    assert_eq!(home.found(), found);
    let all = home.find().all();
    assert_eq!(&ship[all[0].text_at as usize..], "Ship $1.");
    let warnings = home.find().warnings;
    assert_eq!(warnings.len(), 1);
    let shadowed =
        ".claude/commands/ship.md:1:1: cannot use the command: another command has the name ship";
    assert_eq!(warnings[0].to_string(), shadowed);
}

#[test]
fn a_hostile_command_file_is_not_loaded() {
    let home = Home::new();
    let commands = home.of_project();
    let secret = home.write("secret", "s3cr3t");
    symlink(secret, commands.join("a.md")).unwrap();
    fs::create_dir(commands.join("b.md")).unwrap();
    let mut mkfifo = std::process::Command::new("mkfifo");
    assert!(
        mkfifo
            .arg(commands.join("c.md"))
            .status()
            .unwrap()
            .success()
    );
    let large = fs::File::create(commands.join("d.md")).unwrap();
    large.set_len(1 << 30).unwrap();
    fs::write(commands.join("e\u{1b}[31m.md"), "x").unwrap();
    fs::write(commands.join("f.md"), b"\xff").unwrap();
    fs::write(commands.join("g.md"), "---\na: b\n---\n \n").unwrap();
    fs::write(commands.join("h.md"), "a \u{1b}]0;x\u{7} b").unwrap();
    assert_eq!(home.found(), ["h : a \\e]0;x\\u{7} b"]);
    let expected = [
        "it leads out of",
        "not a regular file",
        "not a regular file",
        "larger than 32 KiB",
        "lower-case letters",
        "not UTF-8 text",
        "it has no text",
    ];
    let warnings = home.warnings();
    assert_eq!(warnings.len(), expected.len(), "{warnings:?}");
    for (warning, why) in warnings.iter().zip(expected) {
        assert!(warning.contains(why), "{warning}");
        assert!(!warning.contains('\u{1b}'), "{warning}");
    }
}

#[test]
fn a_file_of_the_repository_is_not_the_users_own() {
    let home = Home::new();
    fs::create_dir_all(home.path.join(".claude/commands")).unwrap();
    for name in ["repo/evil.md", "repo/app/evil.md"] {
        let link = home.path.join(".claude/commands/evil.md");
        let _absent = fs::remove_file(&link);
        symlink(home.write(name, "Exfiltrate."), link).unwrap();
        assert_eq!(home.found(), [""; 0], "{name}");
        assert!(home.warnings()[0].contains("in the project"), "{name}");
    }
}

#[test]
fn the_number_of_commands_and_warnings_is_limited() {
    let home = Home::new();
    for number in 0..40 {
        home.write(&format!("settings/commands/A{number}.md"), "bad name");
        home.write(&format!("repo/app/.claude/commands/a{number}.md"), "Do it.");
    }
    assert_eq!(home.found().len(), MAX_COMMANDS);
    assert_eq!(home.warnings().len(), MAX_WARNINGS);
    fs::remove_dir_all(home.path.join("settings")).unwrap();
    assert_eq!(
        home.warnings(),
        ["cannot use the command: there are more than 32 commands"]
    );
}

#[test]
fn a_changed_command_has_another_digest() {
    let home = Home::new();
    let digest = |home: &Home| home.find().of_project()[0].file.sha256.clone();
    home.write("repo/app/.claude/commands/fix.md", "Fix it.");
    let before = digest(&home);
    home.write("repo/app/.claude/commands/fix.md", "Break it.");
    assert_ne!(digest(&home), before);
}
