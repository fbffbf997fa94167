//! An unusable database is never lost: a damaged one is set aside, and a foreign or newer one is not touched.

use std::collections::BTreeMap;
use std::fs;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::path::PathBuf;

use agent_team_core::Record;
use agent_team_store::OpenError;

use crate::rig::{Team, batch, commit, identity, record, records};

/// A hash of each file of the team. Omits the files that merely reading a database may create or change: SQLite's
/// shared memory, the disk reserve, and an empty log.
fn files(team: &Team) -> BTreeMap<String, u64> {
    let names = team
        .names()
        .into_iter()
        .filter(|name| !name.ends_with("-shm") && name != "reserve");
    let contents = names.map(|name| (name.clone(), fs::read(team.path(&name)).unwrap()));
    let hash = |bytes: Vec<u8>| BuildHasherDefault::<DefaultHasher>::default().hash_one(bytes);
    contents
        .filter(|(_, bytes)| !bytes.is_empty())
        .map(|(name, bytes)| (name, hash(bytes)))
        .collect()
}

/// A team with three records. The last record is only in the log.
fn with_records() -> Team {
    let team = Team::new();
    commit(&mut team.open().writer, batch(1, records(1..=2))).unwrap();
    team.sqlite()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    commit(&mut team.open().writer, batch(3, records(3..=3))).unwrap();
    team
}

/// Asserts that opening sets the database aside as damaged; returns its new path.
fn set_aside(team: &Team) -> PathBuf {
    let error = team.try_open().unwrap_err();
    let OpenError::Damaged { aside, .. } = &error else {
        panic!("{error:?}")
    };
    assert!(
        error.to_string().contains(&aside.display().to_string()),
        "{error}"
    );
    assert!(!team.file().exists());
    aside.clone()
}

/// Overwrites the first page of the database, which contains its header; returns the new content.
fn overwrite_header(team: &Team) -> Vec<u8> {
    let mut bytes = fs::read(team.file()).unwrap();
    bytes[..4096].fill(7);
    fs::write(team.file(), &bytes).unwrap();
    bytes
}

#[test]
fn a_file_that_is_not_a_database_is_set_aside() {
    let team = with_records();
    let log = fs::read(team.path("team.db-wal")).unwrap();
    let content = overwrite_header(&team);
    let aside = set_aside(&team);
    assert_eq!(fs::read(&aside).unwrap(), content);
    assert_eq!(fs::read(format!("{}-wal", aside.display())).unwrap(), log);

    // A new database can be created at the path.
    assert_eq!(team.open().restored.state, []);
}

#[test]
fn a_second_damaged_file_does_not_overwrite_the_first() {
    let team = Team::new();
    let asides: Vec<_> = (0..3_u8)
        .map(|n| {
            fs::write(team.file(), [n; 5_000]).unwrap();
            set_aside(&team)
        })
        .collect();
    for (n, aside) in (0..).zip(asides) {
        assert_eq!(fs::read(aside).unwrap(), [n; 5_000]);
    }
}

#[test]
fn damaged_content_is_found_on_open() {
    let damages = [
        r#"UPDATE journal SET event = substr(event, 1, 20) WHERE revision = 2"#,
        r#"UPDATE journal SET call = '{' WHERE revision = 3"#,
        r#"UPDATE journal SET event = CAST(x'ff22' AS TEXT) WHERE revision = 2"#,
        r#"DELETE FROM journal WHERE revision = 2"#,
        r#"DELETE FROM journal; INSERT INTO meta VALUES ('snapshot_revision', 3)"#,
        r#"UPDATE meta SET value = 5 WHERE key = 'team'"#,
    ];
    for damage in damages {
        let team = with_records();
        team.sqlite().execute_batch(damage).unwrap();
        let aside = set_aside(&team);
        assert!(fs::metadata(&aside).unwrap().len() > 0, "{damage}");
    }
}

#[test]
fn a_damaged_page_is_found_on_open() {
    let team = with_records();
    // Move the log's pages into the database file: SQLite would read the intact page from the log.
    team.sqlite()
        .execute_batch("PRAGMA wal_checkpoint(TRUNCATE)")
        .unwrap();
    let root: usize = team
        .sqlite()
        .query_row(
            "SELECT rootpage FROM sqlite_schema WHERE name = 'journal'",
            [],
            |row| Ok(usize::from(row.get::<_, u16>(0)?)),
        )
        .unwrap();
    let mut bytes = fs::read(team.file()).unwrap();
    let start = (root - 1) * 4096;
    bytes[start..start + 4096].fill(0xa5);
    fs::write(team.file(), bytes).unwrap();
    set_aside(&team);
}

#[test]
fn a_log_without_its_database_is_set_aside() {
    for emptied in [true, false] {
        let team = with_records();
        let log = fs::read(team.path("team.db-wal")).unwrap();
        assert!(!log.is_empty());
        if emptied {
            fs::write(team.file(), b"")
        } else {
            fs::remove_file(team.file())
        }
        .unwrap();
        let aside = set_aside(&team);
        assert_eq!(fs::read(format!("{}-wal", aside.display())).unwrap(), log);
    }
}

#[test]
fn a_newer_database_is_refused_and_untouched() {
    let team = with_records();
    team.sqlite()
        .execute_batch("PRAGMA user_version = 99")
        .unwrap();
    let before = files(&team);
    let error = team.try_open().unwrap_err();
    assert!(
        matches!(error, OpenError::Newer { version: 99, .. }),
        "{error:?}"
    );
    let text = error.to_string();
    for part in [
        &team.file().display().to_string(),
        "99",
        "install the newer agent-team",
    ] {
        assert!(text.contains(part), "{text}");
    }
    assert_eq!(files(&team), before);
}

#[test]
fn a_foreign_database_is_refused_and_untouched() {
    let team = Team::new();
    team.sqlite()
        .execute_batch("CREATE TABLE recipes (name TEXT)")
        .unwrap();
    let before = files(&team);
    assert!(matches!(team.try_open(), Err(OpenError::NotOurs { .. })));
    assert_eq!(files(&team), before);
}

#[test]
fn an_unknown_event_is_not_damage() {
    let team = with_records();
    team.sqlite()
        .execute_batch(
            r#"UPDATE journal SET event = '{"kind":"moon_landed","data":{}}' WHERE revision = 2"#,
        )
        .unwrap();
    let error = team.try_open().unwrap_err();
    assert!(matches!(error, OpenError::Read { .. }), "{error:?}");
    let source = std::error::Error::source(&error).unwrap().to_string();
    assert!(source.contains("revision 2"), "{source}");
    assert!(team.file().exists());
}

#[test]
fn another_teams_database_is_refused() {
    let team = with_records();
    let other = identity("billing");
    let error = agent_team_store::open::<Vec<Record>>(
        &team.dir,
        &other,
        agent_team_store::Durability::Power,
    )
    .unwrap_err();
    assert!(error.to_string().contains("payments"), "{error}");
}

#[test]
fn reading_the_identity_changes_no_file() {
    let empty = Team::new();
    assert_eq!(agent_team_store::identity(&empty.dir).unwrap(), None);
    assert_eq!(empty.names(), [""; 0]);

    let team = with_records();
    let before = files(&team);
    assert_eq!(
        agent_team_store::identity(&team.dir).unwrap(),
        Some(identity("payments"))
    );
    assert_eq!(files(&team), before);

    overwrite_header(&team);
    let before = files(&team);
    agent_team_store::identity(&team.dir).unwrap_err();
    assert_eq!(files(&team), before);
}

#[test]
fn an_interrupted_creation_is_completed() {
    let team = Team::new();
    fs::write(team.file(), b"").unwrap();
    commit(&mut team.open().writer, batch(1, records(1..=1))).unwrap();
    assert_eq!(team.open().restored.state, [record(1)]);
}
