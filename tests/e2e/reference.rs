//! Compares the reference of the user's settings in `team-file` with the parsers of crates that `team-file` cannot
//! link.

use agent_team_file::reference::{DefaultValue, SETTINGS, Section};
use agent_team_llm::catalogue::Catalogue;
use agent_team_tests::processes;
use agent_team_tools::confine::Settings;

use crate::teams::headless;

fn section(heading: &str) -> &'static Section {
    let mut sections = SETTINGS.sections.iter().copied();
    let found = sections.find(|section| section.heading == heading);
    found.unwrap_or_else(|| panic!("there is no section {heading}"))
}

fn names(heading: &str) -> Vec<&'static str> {
    let mut names: Vec<_> = section(heading).keys().map(|info| info.name).collect();
    names.sort_unstable();
    names
}

/// The keys that serde lists in the error about an unknown key.
fn listed(error: &str) -> Vec<&str> {
    let (_, list) = error.split_once("expected one of ").expect(error);
    let mut keys: Vec<_> = list.split('`').skip(1).step_by(2).collect();
    keys.sort_unstable();
    keys
}

#[test]
fn each_key_of_the_sandbox_settings_is_described() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        Settings::read(&file).map_err(|error| error.to_string())
    };
    let error = read("[sandbox]\nnot_a_key = 1\n").unwrap_err();
    assert_eq!(listed(&error), names("[sandbox]"));
    for info in section("[sandbox]").keys() {
        let text = format!("[sandbox]\n{}\n", info.example);
        assert!(read(&text).unwrap() != Settings::default(), "{text}");
        if let DefaultValue::Is(value) = info.default {
            let text = format!("[sandbox]\n{} = {value}\n", info.name);
            assert_eq!(read(&text).unwrap(), Settings::default(), "{text}");
        }
    }
}

#[test]
fn each_key_of_a_model_is_described() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("config.toml");
    let read = |text: &str| {
        std::fs::write(&file, text).unwrap();
        let read = Catalogue::with(&file).map(drop);
        read.map_err(|error| agent_team_protocol::with_causes(&error))
    };
    let error = read("[models.openai]\nx = { not_a_key = 1 }\n").unwrap_err();
    assert_eq!(listed(&error), names("[models.<provider>]"));
    for info in section("[models.<provider>]").keys() {
        assert!(info.example.contains(info.name), "{}", info.name);
        read(&format!("[models.openai]\n{}\n", info.example)).unwrap();
    }
}

#[tokio::test]
async fn each_table_of_the_settings_is_described() {
    let rig = headless(&["ada"], "");
    rig.set_settings("not_a_key = 1\n");
    let refused = rig.run(["up"]).await.expect(2).stderr;
    // `up` prints the reason before the supervisor exits.
    for found in rig.processes() {
        processes::ended(found.process).await;
    }
    let (_, known) = refused.split_once("known keys: ").expect(&refused);
    let known = known.lines().next().unwrap_or_default();
    let mut known: Vec<_> = known.split(", ").collect();
    known.sort_unstable();
    let mut described: Vec<&str> = names("Top of config.toml");
    // `[models.<provider>]` is in the table `models`; the last section describes another file.
    let tables = SETTINGS.sections.iter().map(|section| section.heading);
    let tables = tables.filter(|heading| heading.starts_with('['));
    let tables = tables.map(|heading| heading.trim_start_matches('['));
    described.extend(tables.filter_map(|table| table.split(['.', ']']).next()));
    described.sort_unstable();
    // `notify` is described twice: its value is a string or a table.
    described.dedup();
    assert_eq!(known, described);
}
