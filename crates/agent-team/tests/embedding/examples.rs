//! Runs each program of `examples/`. They are modules of this test: as programs, each would link the whole library.

#[path = "../../examples/agent.rs"]
mod agent;
#[path = "../../examples/collaborate.rs"]
mod collaborate;
#[path = "../../examples/commands.rs"]
mod commands;
#[path = "../../examples/coordinator.rs"]
mod coordinator;
#[path = "../../examples/events.rs"]
mod events;
#[path = "../../examples/goals.rs"]
mod goals;
#[path = "../../examples/guard.rs"]
mod guard;
#[path = "../../examples/own_loop.rs"]
mod own_loop;
#[path = "../../examples/own_tool.rs"]
mod own_tool;
#[path = "../../examples/permission.rs"]
mod permission;
#[path = "../../examples/spawn.rs"]
mod spawn;

use std::error::Error;
use std::path::PathBuf;
use std::process::Command;

type Main = fn() -> Result<(), Box<dyn Error>>;

const EXAMPLES: [(&str, Main); 11] = [
    ("agent", agent::main),
    ("collaborate", collaborate::main),
    ("commands", commands::main),
    ("coordinator", coordinator::main),
    ("events", events::main),
    ("own_loop", own_loop::main),
    ("goals", goals::main),
    ("guard", guard::main),
    ("own_tool", own_tool::main),
    ("permission", permission::main),
    ("spawn", spawn::main),
];

/// Environment variable of a process that runs an example: its name.
const NAME: &str = "AGENT_TEAM_TEST_EXAMPLE";

/// The line before and after the output of an example: the test harness prints, too.
const MARK: &str = "-- output of the example --\n";

/// Runs the example of [`NAME`].
#[test]
fn in_a_process() {
    let Some(name) = std::env::var_os(NAME) else {
        return;
    };
    let example = EXAMPLES.iter().find(|(example, _)| name == *example);
    let (_, main) = example.expect("an example");
    print!("\n{MARK}");
    main().expect("the example succeeds");
    print!("{MARK}");
}

/// The output of the example.
fn printed(name: &str) -> String {
    let own = std::env::current_exe().expect("the path of this test");
    let output = Command::new(own)
        .args(["--exact", "examples::in_a_process", "--nocapture"])
        .env(NAME, name)
        .output();
    let output = output.expect("the example runs");
    assert!(output.status.success(), "{output:?}");
    let printed = String::from_utf8(output.stdout).expect("text");
    let example = printed.split(MARK).nth(1);
    example.expect("the example has run").to_owned()
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
        "answer: greeting.txt contains hello\nfile: hello\n"
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
fn a_callback_decides_the_writes_of_a_member() {
    assert_eq!(
        printed("permission"),
        "docs/greeting.txt: true\nrelease.txt: false\ndenied: write: release.txt\n"
    );
}

#[test]
fn a_custom_loop_uses_the_team_tools() {
    assert_eq!(
        printed("own_loop"),
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
fn members_collaborate_and_the_lead_summarises() {
    assert_eq!(
        printed("collaborate"),
        "round 1: ada: Otter\nround 2: ben: Heron\nanswer: It has read about Otter: true, about Heron: true.\n"
    );
}

#[test]
fn each_goal_has_its_memory_variables_and_effort() {
    assert_eq!(
        printed("goals"),
        "answer: \"Otter Ltd\", tone terse, effort as configured\n\
         answer: \"Heron Ltd\", tone polite, effort high\n\
         answer: \"Crane Ltd\", tone terse, effort as configured\n"
    );
}

#[test]
fn rules_and_a_hook_guard_files_and_a_server_counts() {
    assert_eq!(
        printed("guard"),
        "Blocked by a hook: cannot change .env: it contains secrets\ngreeting.txt: true\nrelease.txt: false\n\
         .env: false\ndenied: write: release.txt\nanswer: 12 apples\n"
    );
}

#[test]
fn spawned_members_have_their_own_prompts_and_directories() {
    assert_eq!(
        printed("spawn"),
        "translator-1: bonjour\ntranslator-2: salve\n"
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
