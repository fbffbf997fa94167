//! End-to-end tests of the binaries. Each module tests one part of their behaviour.
//!
//! Each test has its own rig (`agent_team_tests::Rig`), so tests run in parallel, also beside a user's real team.

#![expect(clippy::unwrap_used, reason = "a panic fails the test")]
#![expect(clippy::print_stderr, reason = "a skipped test prints the reason")]

mod agents;
mod asking;
mod attach;
mod bad_input;
mod board;
mod chat_sessions;
mod cli;
mod compaction;
mod crash;
mod delegate;
mod demo;
mod documented;
mod documents;
mod down;
mod editors;
mod edits;
mod envelopes;
mod external;
mod external_engines;
mod external_faults;
mod external_usage;
mod failpoints;
mod first_hour;
mod guide;
mod history;
mod hosted;
mod hostile;
mod impersonation;
mod instructions;
mod iterm;
mod limits;
mod logs;
mod look;
mod machine;
mod mcp;
mod mcp_abilities;
mod mcp_discovered;
mod mcp_shared;
mod members;
mod messages;
mod mode;
mod notes;
mod one_file;
mod own_terminals;
mod panes;
mod placement;
mod plans;
mod prompt;
mod reference;
mod refusals;
mod regression;
mod reopen;
mod report;
mod request_card;
mod request_crashes;
mod requests;
mod rounds;
mod running_team;
mod search;
mod secrets;
mod serve;
mod shutdown;
mod skew;
mod spending;
mod storage;
mod supervisor;
mod tall_requests;
mod team_at_work;
mod teams;
mod terminal_programs;
mod top;
mod transcript;
mod trust;
mod up;
mod user_mail;
mod waiting;
mod wire;

/// A file that is not a module is never compiled, so its tests would never run.
#[test]
fn every_file_in_e2e_is_a_module() {
    let here = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("e2e");
    let main = std::fs::read_to_string(here.join("main.rs")).unwrap();
    for entry in std::fs::read_dir(here).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let declared = main.lines().any(|line| line == format!("mod {name};"));
        assert!(
            declared || name == "main",
            "no `mod {name};` in e2e/main.rs"
        );
    }
}
