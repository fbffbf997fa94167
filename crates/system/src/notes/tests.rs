//! Tests of notes: levels, limits, locks, links, and the files of a hostile repository.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use tempfile::TempDir;

use super::*;

/// A home with the state of a team, a project and settings.
struct Home {
    directory: TempDir,
    notes: Notes,
}

fn home() -> Home {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    for name in ["team", "project"] {
        fs::create_dir(root.join(name)).unwrap();
    }
    let notes = Notes {
        team: Some(root.join("team")),
        project: Some(root.join("project")),
        user: Some(root.join("config")),
        user_link: None,
    };
    Home { directory, notes }
}

fn name(text: &str) -> NoteName {
    text.parse().unwrap()
}

fn texts(notes: &Notes, level: NoteLevel) -> Vec<String> {
    let names = notes.names(level).unwrap().names;
    names.iter().map(NoteName::to_string).collect()
}

#[test]
fn a_note_of_each_level_is_written_listed_read_and_removed() {
    let Home { notes, directory } = &home();
    for level in NoteLevel::ALL {
        let deploy = name("deploy");
        assert_eq!(notes.read(level, &deploy).unwrap(), None);
        assert!(!notes.remove(level, &deploy, None).unwrap());
        notes.write(level, &deploy, None, "# Deploy\n").unwrap();
        let changed = notes.write(level, &deploy, None, "other\n");
        assert!(matches!(changed, Err(NoteError::Changed)), "{changed:?}");
        let old = Some("# Deploy\n");
        notes.write(level, &deploy, old, "# Steps\n").unwrap();
        assert_eq!(
            notes.read(level, &deploy).unwrap().unwrap().text,
            "# Steps\n"
        );
        assert_eq!(texts(notes, level), ["deploy"]);
        assert_eq!(notes.levels_of(&deploy), [level]);
        let path = notes.path(level, &deploy).unwrap();
        let mode = path.metadata().unwrap().permissions().mode() & 0o777;
        match level {
            NoteLevel::Project => assert_ne!(mode, 0o600),
            NoteLevel::Team | NoteLevel::User => assert_eq!(mode, 0o600),
        }
        let files = fs::read_dir(path.parent().unwrap()).unwrap().count();
        assert_eq!(files, 1, "not exactly one file remains");
        let changed = notes.remove(level, &deploy, Some("# Deploy\n"));
        assert!(matches!(changed, Err(NoteError::Changed)), "{changed:?}");
        assert!(notes.remove(level, &deploy, Some("# Steps\n")).unwrap());
        assert_eq!(texts(notes, level), [""; 0]);
    }
    let project = directory.path().join("project/.agent-team/notes");
    assert!(project.is_dir());
}

#[test]
fn hostile_files_are_refused_and_never_block() {
    let Home { notes, directory } = &home();
    let project = directory.path().join("project/.agent-team/notes");
    fs::create_dir_all(&project).unwrap();
    let secret = directory.path().join("secret");
    fs::write(&secret, "s3cr3t").unwrap();
    symlink(&secret, project.join("link.md")).unwrap();
    nix::unistd::mkfifo(&project.join("fifo.md"), nix::sys::stat::Mode::S_IRWXU).unwrap();
    fs::create_dir(project.join("directory.md")).unwrap();
    fs::write(project.join("huge.md"), vec![b'x'; NOTE_MAX + 1]).unwrap();
    fs::write(project.join("binary.md"), b"\xff\xfe").unwrap();
    fs::write(project.join("Odd Name.md"), "x").unwrap();
    fs::write(project.join(".gitkeep"), "").unwrap();
    let level = NoteLevel::Project;
    for (file, reason) in [
        ("link", "symbolic link"),
        ("fifo", "not a regular file"),
        ("directory", "not a regular file"),
        ("huge", "larger than 16 KiB"),
        ("binary", "not UTF-8"),
    ] {
        let file = name(file);
        let error = notes.read(level, &file).unwrap_err().to_string();
        assert!(error.contains(reason), "{file}: {error}");
        assert!(notes.write(level, &file, None, "x").is_err(), "{file}");
        assert_eq!(notes.levels_of(&file), [level]);
    }
    let listed = notes.names(level).unwrap();
    assert_eq!((listed.names.len(), listed.ignored), (5, 1));
    for file in ["link", "fifo", "huge", "binary"] {
        assert!(notes.remove(level, &name(file), None).unwrap(), "{file}");
    }
    assert!(notes.remove(level, &name("directory"), None).is_err());
    assert_eq!(fs::read_to_string(&secret).unwrap(), "s3cr3t");
}

#[test]
fn a_link_above_the_notes_is_refused() {
    let Home { notes, directory } = &home();
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("notes")).unwrap();
    fs::write(elsewhere.join("notes/a.md"), "x").unwrap();
    symlink(&elsewhere, directory.path().join("project/.agent-team")).unwrap();
    let (level, a) = (NoteLevel::Project, name("a"));
    assert!(notes.names(level).is_err());
    assert!(notes.read(level, &a).is_err());
    assert!(notes.write(level, &a, Some("x"), "y").is_err());
    assert!(notes.remove(level, &a, None).is_err());
    assert_eq!(
        fs::read_to_string(elsewhere.join("notes/a.md")).unwrap(),
        "x"
    );
}

#[test]
fn limits_of_size_and_number_hold() {
    let notes = home().notes;
    let level = NoteLevel::User;
    let long = "x".repeat(NOTE_MAX + 1);
    let write = |name: &str, text: &str| notes.write(level, &self::name(name), None, text);
    assert!(matches!(write("a", &long), Err(NoteError::TooLarge)));
    assert!(matches!(write("a", " \n"), Err(NoteError::Empty)));
    for number in 0..NOTES_MAX {
        write(&format!("n{number}"), "x").unwrap();
    }
    assert!(matches!(write("one-more", "x"), Err(NoteError::TooMany)));
    notes.write(level, &name("n0"), Some("x"), "y").unwrap();
}

#[test]
fn a_level_without_a_directory_has_no_notes() {
    let notes = Notes::default();
    for level in NoteLevel::ALL {
        assert_eq!(notes.names(level).unwrap(), Names::default());
        assert!(notes.write(level, &name("a"), None, "x").is_err());
    }
    let Home { notes, directory } = home();
    fs::remove_dir(directory.path().join("team")).unwrap();
    let refused = notes.write(NoteLevel::Team, &name("a"), None, "x");
    assert!(matches!(refused, Err(NoteError::NoTeam)), "{refused:?}");
}

#[test]
fn a_writer_gives_up_on_a_held_lock() {
    let notes = home().notes;
    let a = name("a");
    notes.write(NoteLevel::User, &a, None, "x").unwrap();
    let directory = notes.directory(NoteLevel::User).unwrap().unwrap();
    let _held = lock(&directory).unwrap();
    let refused = notes.write(NoteLevel::User, &a, Some("x"), "y");
    assert!(matches!(refused, Err(NoteError::Busy)), "{refused:?}");
}

#[test]
fn a_writer_removes_temporary_files_of_killed_writers() {
    let Home { notes, directory } = &home();
    let (level, a) = (NoteLevel::User, name("a"));
    notes.write(level, &a, None, "x").unwrap();
    let notes_directory = directory
        .path()
        .canonicalize()
        .unwrap()
        .join("config/notes");
    let left = notes_directory.join(format!("{TEMPORARY}{}", random::id()));
    fs::write(&left, "half").unwrap();
    fs::write(notes_directory.join(".gitkeep"), "").unwrap();
    notes.write(level, &a, Some("x"), "y").unwrap();
    assert!(!left.exists() && notes_directory.join(".gitkeep").exists());
}

#[test]
fn settings_behind_a_link_have_two_paths() {
    let Home { notes, directory } = home();
    let root = directory.path().canonicalize().unwrap();
    let link = root.join("link");
    let notes = Notes {
        user_link: Some(link.clone()),
        ..notes
    };
    let a = name("a");
    for (level, known) in [
        (NoteLevel::Team, root.join("team/notes/a.md")),
        (NoteLevel::User, link.join("notes/a.md")),
    ] {
        assert_eq!(notes.known_path(level, &a), Some(known));
    }
    assert_eq!(
        notes.path(NoteLevel::User, &a),
        Some(root.join("config/notes/a.md"))
    );
    let without = Notes {
        user: None,
        ..notes
    };
    assert_eq!(without.known_path(NoteLevel::User, &a), None);
}
