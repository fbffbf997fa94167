//! Tests of the hooks of agents in `[hooks]`: their sources, the trust that they need, and their faults.

use std::fs;
use std::path::Path;

use agent_team_protocol::hook::HookEvent;
use agent_team_protocol::spec::HookSpec;

use super::super::{Loaded, Reading, Variables, parse};
use super::{faults_of, project};

/// Reads a file in this project, with this `config.toml` of the user.
fn load(project: &Path, user: &str, text: &str) -> Loaded {
    let settings = tempfile::tempdir().unwrap();
    fs::write(settings.path().join("config.toml"), user).unwrap();
    let reading = Reading {
        here: project,
        settings: Some(settings.path()),
        variables: Some(&Variables::new()),
        overrides: None,
    };
    parse("team.toml", text, &project.canonicalize().unwrap(), reading).unwrap()
}

fn hooks(loaded: &Loaded) -> &[HookSpec] {
    &loaded.spec.members[0].agent.hooks
}

fn trust(loaded: &Loaded) -> Vec<String> {
    let required = loaded.required_trust.as_ref();
    required.map(|it| it.lines.clone()).unwrap_or_default()
}

const FILE: &str = "
[[member]]
name = \"ada\"
engine = \"native\"
[[hooks.pre_tool]]
matcher = \"Edit|Write\"
run = \"make lint\"
timeout_seconds = 5
[[hooks.pre_tool]]
run = \"make audit\"
[[hooks.stop]]
run = \"make done\"
";

const USER: &str = "[[hooks.pre_tool]]\nrun = \"~/bin/guard\"\n";

#[test]
fn hooks_of_the_file_run_before_those_of_the_user() {
    let project = project();
    let loaded = load(project.path(), USER, FILE);
    let all = hooks(&loaded).iter();
    let all: Vec<_> = all.map(|hook| (hook.event, hook.run.as_str())).collect();
    assert_eq!(
        all,
        [
            (HookEvent::PreTool, "make lint"),
            (HookEvent::PreTool, "make audit"),
            (HookEvent::Stop, "make done"),
            (HookEvent::PreTool, "~/bin/guard"),
        ]
    );
    let seconds: Vec<_> = hooks(&loaded).iter().map(|it| it.timeout_seconds).collect();
    assert_eq!(seconds, [5, 60, 60, 60]);
    let roles = loaded.spec.roles.iter();
    assert!(roles.clone().count() > 0);
    for role in roles {
        assert_eq!(role.agent.hooks, hooks(&loaded), "of spawned members too");
    }
}

#[test]
fn only_the_hooks_of_the_file_require_trust() {
    let project = project();
    assert_eq!(
        trust(&load(project.path(), USER, FILE)),
        [
            "hook pre_tool for \"Edit|Write\" runs make lint",
            "hook pre_tool runs make audit",
            "hook stop runs make done",
        ]
    );
    let none = "[[member]]\nname = \"ada\"\n";
    assert_eq!(trust(&load(project.path(), USER, none)), [""; 0]);
}

#[test]
fn project_scripts_started_by_hooks_are_trusted_by_content() {
    let project = project();
    fs::write(project.path().join("guard.sh"), "exit 0\n").unwrap();
    let by_user = "[[hooks.pre_tool]]\nrun = \"./guard.sh --strict\"\n";
    for variable in ["$CLAUDE_PROJECT_DIR/", "\"$CLAUDE_PROJECT_DIR\"/", "./"] {
        let line = format!("{variable}guard.sh");
        let file = format!(
            "[[member]]\nname = \"ada\"\nengine = \"native\"\n[[hooks.stop]]\nrun = {line:?}\n"
        );
        let loaded = load(project.path(), by_user, &file);
        for hook in hooks(&loaded) {
            assert!(hook.files[0].path.ends_with("guard.sh"), "{hook:?}");
        }
        assert!(trust(&loaded)[1].starts_with("the script guard.sh (SHA-256"));
        let before = loaded.required_trust.unwrap().digest;
        fs::write(project.path().join("guard.sh"), line).unwrap();
        let after = load(project.path(), by_user, &file).required_trust;
        assert_ne!(before, after.unwrap().digest);
        fs::write(project.path().join("guard.sh"), "exit 0\n").unwrap();
    }
}

#[test]
fn a_hook_that_could_never_run_is_a_fault() {
    for (text, fault) in [
        ("[[hooks.stop]]\n", "a hook needs `run`"),
        ("[[hooks.stop]]\nrun = \" \"\n", "`run` is empty"),
        (
            "[[hooks.stop]]\nrun = \"x\"\nmatcher = \"Bash\"\n",
            "a stop hook has no `matcher`",
        ),
        (
            "[[hooks.pre_tool]]\nrun = \"x\"\nmatcher = \"Bash(git:*)\"\n",
            "`matcher` is not valid: it contains '('",
        ),
        (
            "[[hooks.pre_tool]]\nrun = \"x\"\ntimeout_seconds = 0\n",
            "`timeout_seconds` must be from 1 to 600",
        ),
        (
            "[[hooks.pre_toll]]\nrun = \"x\"\n",
            "unknown key `pre_toll`",
        ),
    ] {
        let faults = faults_of(text);
        assert!(faults.contains(fault), "{text}{faults}");
    }
}

#[test]
fn hooks_of_agents_are_refused_in_a_file_without_agents() {
    let hook = "[[hooks.pre_tool]]\nrun = \"x\"\n";
    let member = |engine: &str| format!("[[member]]\nname = \"ada\"\nengine = \"{engine}\"\n");
    let faults = faults_of(&(member("command") + hook));
    assert!(
        faults.contains("the hook pre_tool never runs: no member of this file is an agent"),
        "{faults}"
    );
    let project = project();
    for text in [
        member("native") + hook,
        member("command") + "[hooks]\ntask_completed = \"x\"\n",
    ] {
        load(project.path(), "", &text);
    }
    // The hooks of the user apply to the agents of all projects.
    load(project.path(), USER, &member("command"));
}
