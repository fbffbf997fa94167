//! Runs each program of `examples/`, which cargo builds with the tests.

use std::path::PathBuf;
use std::process::Command;

/// The directory of the built examples. This test is in `target/PROFILE/deps`, the examples are in
/// `target/PROFILE/examples`.
fn directory() -> PathBuf {
    let own = std::env::current_exe().expect("this test");
    let profile = own.parent().and_then(|deps| deps.parent());
    profile.expect("a target directory").join("examples")
}

fn printed(name: &str) -> String {
    let output = Command::new(directory().join(name)).output();
    let output = output.expect("the example is built: run `cargo test` without `--tests`");
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn commands_run_in_order() {
    assert_eq!(
        printed("commands"),
        "T-1 Build: Completed\nT-2 Test: Completed\n"
    );
}

#[test]
fn a_custom_model_uses_a_tool_and_answers() {
    assert_eq!(
        printed("agent"),
        "answer: greeting.txt says hello\nfile: hello\n"
    );
}

#[test]
fn events_cover_a_run() {
    let printed = printed("events");
    let events: Vec<&str> = printed.lines().map(str::trim_end).collect();
    assert_eq!(events.first(), Some(&"RUN_STARTED"), "{printed}");
    assert_eq!(events.last(), Some(&"RUN_FINISHED"), "{printed}");
    assert!(events.contains(&"STATE_DELTA"), "{printed}");
}

#[test]
fn a_model_calls_a_tool_of_the_program() {
    assert_eq!(
        printed("own_tool"),
        "ada looks up apples\nanswer: 12 apples\n"
    );
}

#[test]
fn a_callback_decides_what_a_member_may_write() {
    assert_eq!(
        printed("permission"),
        "docs/greeting.txt: true\nrelease.txt: false\ndenied: write: release.txt\n"
    );
}

#[test]
fn a_foreign_loop_uses_the_team_tools() {
    assert_eq!(
        printed("foreign_loop"),
        "finish is offered: true\nremember: Stored \"language\".\nrecall: \"Rust\"\n\
         finish: R-1 is finished.\nanswer: use \"Rust\"\n"
    );
}

#[test]
fn a_coordinator_chooses_members_and_answers() {
    assert_eq!(
        printed("coordinator"),
        "round 1: ada: Otter\nanswer: The name is Otter.\n"
    );
}

#[test]
fn every_example_is_run_here() {
    let package = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    for entry in std::fs::read_dir(package.join("examples")).expect("the directory exists") {
        let file = entry.expect("the directory can be read").path();
        let name = file
            .file_stem()
            .and_then(|stem| stem.to_str())
            .expect("a name");
        let tests = include_str!("examples.rs");
        assert!(tests.contains(&format!("printed(\"{name}\")")), "{name}");
    }
}
