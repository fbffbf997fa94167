//! Tests of valid files and their teams, and of the faults of each kind of invalid file.

use std::fs;
use std::path::Path;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::placement::PlacementChoice;
use agent_team_protocol::spec::{ClaimPolicy, Colour, Layout, TeamSpec};
use proptest::prelude::*;

use super::open::FILE_MAX;
use super::{Fault, LoadTeamError, Loaded, Reading, Variables, parse, slug};

mod agents;
mod hooks;
mod mcp;
mod overrides;
mod permissions;
mod terminal;

/// A certificate in PEM, which the reader does not decode.
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n";

/// A project with a directory `web`, a file `notes` and a file with a certificate.
fn project() -> tempfile::TempDir {
    let project = tempfile::tempdir().unwrap();
    fs::create_dir_all(project.path().join(".agent-team/roles")).unwrap();
    fs::create_dir(project.path().join("web")).unwrap();
    fs::write(project.path().join("notes"), "").unwrap();
    fs::write(project.path().join("gateway.pem"), CERTIFICATE).unwrap();
    project
}

fn read_in(project: &Path, text: &str) -> Result<TeamSpec, Vec<Fault>> {
    let reading = reading(project, &Variables::new(), |reading| {
        parse("team.toml", text, &project.canonicalize().unwrap(), reading)
    });
    reading.map(|loaded| loaded.spec)
}

fn load(file: &Path, here: &Path) -> Result<TeamSpec, LoadTeamError> {
    let loaded = reading(here, &Variables::new(), |reading| {
        super::load(file, reading)
    });
    loaded.map(|loaded| loaded.spec)
}

/// Reads without the settings of a user.
fn reading<T>(here: &Path, variables: &Variables, read: impl FnOnce(Reading<'_>) -> T) -> T {
    read(Reading {
        here,
        settings: None,
        variables: Some(variables),
        overrides: None,
    })
}

/// The faults of a file, one line each, with the hint after ` | `.
fn faults_of(text: &str) -> String {
    faults_in(project().path(), text)
}

fn faults_in(project: &Path, text: &str) -> String {
    let faults = read_in(project, text).expect_err("a file with faults gives no team");
    let line = |fault: &Fault| match &fault.hint {
        Some(hint) => format!("{fault} | {hint}"),
        None => fault.to_string(),
    };
    let project = project.canonicalize().unwrap().display().to_string();
    faults
        .iter()
        .map(line)
        .collect::<Vec<_>>()
        .join("\n")
        .replace(&project, "PROJECT")
}

const GOOD: &str = r#"
name = "payments"
mode = "manual"

[lead]
name = "grace"
claim = "assigned"

[defaults]
engine = "command"
cwd = "web"
env = { A = "1", B = "1" }

[limits]
teammates = 4
starting = 2

[panes]
placement = "headless"
layout = "tiled"

[hooks]
task_completed = "scripts/check.sh"

[[member]]
name = "ada"
role = "builder"
cwd = "."
env = { B = "2" }
colour = "teal"
placement = "tmux"

[[member]]
name = "bob"

[roles.builder]
description = "Builds"
color = "lime"

[[task]]
title = "Test"
after = ["build"]
run = "cargo test"
verify = "true"
rerun = false
for = "lead"
labels = ["slow"]
active_form = "Testing"
metadata = { ticket = 17, due = 2026-11-30, tags = ["ci", 1.5, true], owner = { team = "core" } }

[[task]]
key = "build"
title = "Build"
priority = -3
role = "builder"
files = ["src/**"]
"#;

#[test]
fn the_default_layout_depends_on_the_members() {
    let project = project();
    let layout = |members: usize, panes: &str| {
        let mut file = format!(
            "name = \"many\"\n{panes}[limits]\nteammates = 20\n[defaults]\nengine = \"command\"\n"
        );
        for member in 0..members {
            file.push_str(&format!("[[member]]\nname = \"m{member}\"\n"));
        }
        read_in(project.path(), &file).unwrap().layout
    };
    assert_eq!(layout(12, ""), Layout::Tiled);
    assert_eq!(layout(13, ""), Layout::Windows);
    let lead = "mode = \"lead\"\n";
    assert_eq!(layout(11, lead), Layout::MainVertical);
    assert_eq!(layout(12, lead), Layout::Windows);
    let tiled = "[panes]\nlayout = \"tiled\"\n";
    assert_eq!(layout(13, tiled), Layout::Tiled);
    let windows = "[panes]\nlayout = \"windows\"\n";
    assert_eq!(layout(2, windows), Layout::Windows);
}

#[test]
fn a_valid_file_yields_the_described_team() {
    let project = project();
    let spec = read_in(project.path(), GOOD).unwrap();
    let path = project.path().canonicalize().unwrap();
    assert_eq!((spec.name.as_str(), &spec.project), ("payments", &path));
    assert_eq!(
        (spec.placement, spec.layout),
        (PlacementChoice::Headless, Layout::Tiled)
    );
    assert_eq!((spec.limits.teammates, spec.limits.starting), (4, 2));
    assert_eq!(
        spec.hooks.task_completed.as_deref(),
        Some("scripts/check.sh")
    );

    let [grace, ada, bob] = spec.members.as_slice() else {
        panic!("three members: {:?}", spec.members);
    };
    assert!(grace.lead && !ada.lead);
    assert_eq!(
        (grace.name.as_str(), grace.role.as_str()),
        ("grace", "lead")
    );
    assert_eq!(
        (grace.claim, ada.claim),
        (ClaimPolicy::Assigned, ClaimPolicy::Ready)
    );
    assert_eq!((&ada.cwd, &bob.cwd), (&path, &path.join("web")));
    let env = |(name, value): (&String, &String)| format!("{name}={value}");
    assert_eq!(ada.env.iter().map(env).collect::<Vec<_>>(), ["A=1", "B=2"]);
    assert_eq!((ada.colour, bob.colour), (Some(Colour::Teal), None));
    let builder = spec
        .roles
        .iter()
        .find(|role| role.name.as_str() == "builder");
    assert_eq!(builder.unwrap().colour, Some(Colour::Lime));
    assert_eq!(
        (ada.placement, bob.placement),
        (Some(PlacementChoice::Tmux), None)
    );
    assert_eq!(bob.role.as_str(), "worker");

    for (name, engine) in [
        ("builder", Engine::Command),
        ("lead", Engine::Command),
        ("worker", Engine::Command),
        ("explorer", Engine::Native),
    ] {
        let role = spec.roles.iter().find(|role| role.name.as_str() == name);
        assert_eq!(role.map(|role| role.engine), Some(engine), "{name}");
    }

    let [test, build] = spec.tasks.as_slice() else {
        panic!("two tasks: {:?}", spec.tasks);
    };
    assert_eq!(
        (test.key.as_str(), test.after.as_slice()),
        ("Test", ["build".to_owned()].as_slice())
    );
    assert_eq!(
        test.assignee.as_ref().map(|name| name.as_str()),
        Some("grace"),
        "`lead` names the lead, whatever its name"
    );
    assert!(!test.rerun && build.rerun);
    assert_eq!(test.active_form.as_deref(), Some("Testing"));
    let metadata = serde_json::json!({
        "ticket": 17, "due": "2026-11-30", "tags": ["ci", 1.5, true], "owner": {"team": "core"},
    });
    assert_eq!(test.metadata, metadata.as_object().cloned());
    assert_eq!((&build.active_form, &build.metadata), (&None, &None));
    assert_eq!(
        (build.key.as_str(), build.title.as_str(), build.priority),
        ("build", "Build", -3)
    );
}

#[test]
fn the_default_team_name_is_the_project_directory() {
    for (directory, name) in [
        ("Payments API", "payments-api"),
        ("2048_game!", "game"),
        ("日本", "team"),
        ("a--b", "a-b"),
    ] {
        assert_eq!(slug(directory).as_str(), name);
    }
    assert_eq!(slug(&"x-".repeat(40)).as_str().len(), 31);
}

#[test]
fn faults_have_positions_and_hints() {
    let member = "[[member]]\nname = \"ada\"\n";
    let table: &[(&str, &str)] = &[
        // Files that are not TOML.
        (
            "name = ",
            "team.toml:1:8: string values must be quoted, expected literal string",
        ),
        ("name = \"a\"\nname = \"b\"", "team.toml:2:1: duplicate key"),
        // Unknown keys, at every level.
        (
            "membr = 1",
            "team.toml:1:1: unknown key `membr` | did you mean `member`?",
        ),
        (
            "[[member]]\nname = \"ada\"\nrol = \"x\"",
            "team.toml:3:1: unknown key `rol` | did you mean `role`?",
        ),
        (
            "[panes]\nlayuot = \"tiled\"",
            "team.toml:2:1: unknown key `layuot` | did you mean `layout`?",
        ),
        (
            "[limits]\nteammate = 3",
            "team.toml:2:1: unknown key `teammate` | did you mean `teammates`?",
        ),
        (
            "[hooks]\nqqqqqqqqq = \"x\"",
            "team.toml:2:1: unknown key `qqqqqqqqq` | expected one of: task_completed, teammate_idle, session_start, user_prompt, pre_tool, post_tool, pre_compact, stop, notification",
        ),
        (
            "[roles.x]\nclaim = \"ready\"",
            "team.toml:2:1: unknown key `claim` | expected one of: description, engine, colour, model, fallback_minutes, effort, compact, delegate, prompt, max_steps, tools, deny_tools, plan, network, mcp, instructions, may_spawn, coordinate",
        ),
        // Values of wrong types.
        (
            "name = 3",
            "team.toml:1:8: `name` must be a string, not a whole number",
        ),
        (
            "member = \"ada\"",
            "team.toml:1:10: `member` must be a list of tables, each written [[member]], not a string",
        ),
        (
            "[limits]\nteammates = 1.5",
            "team.toml:2:13: `teammates` must be a whole number, not a decimal number",
        ),
        (
            "[limits]\nstarting = 0",
            "team.toml:2:12: `starting` must be from 1 to 2147483647",
        ),
        (
            "panes = true",
            "team.toml:1:9: `panes` must be a table, written [panes], not a boolean",
        ),
        (
            "[roles]\nx = 1",
            "team.toml:2:5: `x` must be a table, not a whole number",
        ),
        (
            "[defaults]\nenv = { A = 1 }",
            "team.toml:2:13: `env.A` must be a string, not a whole number",
        ),
        (
            "[defaults]\nenv = [\"A=1\"]",
            "team.toml:2:7: `env` must be a table of strings, not a list",
        ),
        // Modes with rounds.
        (
            "max_rounds = 3",
            "team.toml:1:14: `max_rounds` requires `mode = \"coordinator\"` | set mode = \"coordinator\", or remove the key",
        ),
        (
            "mode = \"collaborate\"\ncoordinator_prompt = \"x\"\n[[member]]\nname = \"ada\"",
            "team.toml:2:22: `coordinator_prompt` requires `mode = \"coordinator\"` | set mode = \"coordinator\", or remove the key",
        ),
        (
            "mode = \"coordinator\"\nmax_rounds = 0\n[[member]]\nname = \"ada\"",
            "team.toml:2:14: `max_rounds` must be from 1 to 100",
        ),
        (
            "mode = \"coordinator\"\ncoordinator_prompt = \"{task} {priorr_outputs} {\"\n[[member]]\nname = \"ada\"",
            "team.toml:2:30: `coordinator_prompt`: unknown placeholder {priorr_outputs} | did you mean `prior_outputs`?",
        ),
        (
            "mode = \"coordinator\"",
            "team.toml:1:8: `mode = \"coordinator\"` needs at least one agent besides the lead | add [[member]] with name = \"ada\" and engine = \"native\"",
        ),
        (
            "mode = \"collaborate\"\n[lead]\ntools = [\"read\"]\n[[member]]\nname = \"ada\"",
            "team.toml:3:10: `tools` has no effect: with `mode = \"collaborate\"` the lead has no tools | remove the key",
        ),
        // Unsupported and invalid values.
        (
            "[permissions]\nexpire_minutes = 0",
            "team.toml:2:18: `expire_minutes` must be a number above 0",
        ),
        (
            "[lead]\ncommand = \"aider\"",
            "team.toml:2:1: `command` is not supported in this version",
        ),
        (
            "[defaults]\nengine = \"acp\"",
            "team.toml:2:10: `engine = \"acp\"` is not supported in this version",
        ),
        (
            "[[member]]\nname = \"ada\"\nplacement = \"iterm\"",
            "team.toml:3:13: \"iterm\" is not a valid value of `placement` | expected one of: auto, tmux, headless, hosted",
        ),
        (
            "[panes]\nplacement = \"itrem\"",
            "team.toml:2:13: \"itrem\" is not a valid value of `placement` | did you mean `iterm`?",
        ),
        (
            "[lead]\nmay_spawn = [\"workr\"]",
            "team.toml:2:14: there is no role \"workr\" | did you mean `worker`?",
        ),
        (
            "[roles.x]\nplan = \"requird\"",
            "team.toml:2:8: \"requird\" is not a valid value of `plan` | did you mean `required`?",
        ),
        (
            "[[member]]\nname = \"ada\"\nengine = \"command\"\nplan = \"required\"",
            "team.toml:4:8: `plan` applies only to agents, but `engine = \"command\"` runs commands | set engine = \"native\", or remove `engine`",
        ),
        // Invalid values with suggestions.
        (
            "mode = \"manul\"",
            "team.toml:1:8: \"manul\" is not a valid value of `mode` | did you mean `manual`?",
        ),
        (
            "[defaults]\nclaim = \"nothing\"",
            "team.toml:2:9: \"nothing\" is not a valid value of `claim` | expected one of: ready, assigned",
        ),
        (
            "[roles.x]\ncolour = \"bleu\"",
            "team.toml:2:10: \"bleu\" is not a valid value of `colour` | did you mean `blue`?",
        ),
        // Invalid names.
        (
            "name = \"Pay ments\"",
            "team.toml:1:8: \"Pay ments\" is not a team's name: a lower-case letter, then at most 31 lower-case letters, digits or hyphens",
        ),
        (
            "[[member]]\nname = \"Ada\"",
            "team.toml:2:8: \"Ada\" is not a member's name: a lower-case letter, then at most 31 lower-case letters, digits or hyphens",
        ),
        (
            "[[member]]\nname = \"all\"",
            "team.toml:2:8: \"all\" is a reserved name | choose a name other than `user`, `you`, `system`, `agent-team`, `all` and `lead`",
        ),
        (
            "[[member]]\nname = \"lead\"",
            "team.toml:2:8: \"lead\" is a reserved name | choose a name other than `user`, `you`, `system`, `agent-team`, `all` and `lead`",
        ),
        (
            "[[member]]\nname = \"you\"",
            "team.toml:2:8: \"you\" is a reserved name | choose a name other than `user`, `you`, `system`, `agent-team`, `all` and `lead`",
        ),
        (
            "[lead]\nname = \"user\"",
            "team.toml:2:8: \"user\" is a reserved name | choose a name other than `user`, `you`, `system`, `agent-team`, `all` and `lead`",
        ),
        (
            "[[member]]\nrole = \"worker\"",
            "team.toml:1:1: a member needs a name | add name = \"ada\"",
        ),
        (
            "[roles.\"A b\"]",
            "team.toml:1:8: \"A b\" is not a role's name: a lower-case letter, then at most 31 lower-case letters, digits or hyphens",
        ),
        (
            "[[member]]\nname = \"ada\"\n[[member]]\nname = \"ada\"",
            "team.toml:4:8: name \"ada\" is already used by the member on line 2",
        ),
        (
            "[lead]\nname = \"ada\"\n[[member]]\nname = \"ada\"",
            "team.toml:4:8: name \"ada\" is already used by the member on line 2",
        ),
        (
            "[[member]]\nname = \"ada\"\n[[task]]\ntitle = \"Build\"\nmetadata = 17",
            "team.toml:5:12: `metadata` must be a table, not a whole number",
        ),
        (
            "[[member]]\nname = \"ada\"\n[[task]]\ntitle = \"Build\"\nmetadata = { a = [nan] }",
            "team.toml:5:19: `metadata` contains a number that JSON cannot hold",
        ),
        // References to missing members, roles and tasks.
        (
            "[[member]]\nname = \"ada\"\nrole = \"wroker\"",
            "team.toml:3:8: there is no role \"wroker\" | did you mean `worker`?",
        ),
        (
            "[[member]]\nname = \"ada\"\nengine = \"comand\"",
            "team.toml:3:10: \"comand\" is not a valid value of `engine` | did you mean `command`?",
        ),
        (
            "[[member]]\nname = \"ada\"\ncwd = \"wbe\"",
            "team.toml:3:7: `cwd`: cannot use PROJECT/wbe: No such file or directory (os error 2) | relative paths start at the project directory",
        ),
        (
            "[[member]]\nname = \"ada\"\ncwd = \"notes\"",
            "team.toml:3:7: `cwd`: PROJECT/notes is not a directory",
        ),
        (
            "[[member]]\nname = \"ada\"\nenv = { \"A=B\" = \"\" }",
            "team.toml:3:9: \"A=B\" cannot be an environment variable",
        ),
        (
            "[[member]]\nname = \"ada\"\nenv = { AGENT_TEAM_LAUNCH = \"\" }",
            "team.toml:3:9: `AGENT_TEAM_LAUNCH` is set by agent-team itself",
        ),
        (
            "[limits]\nteammates = 1\n[[member]]\nname = \"ada\"\n[[member]]\nname = \"bob\"",
            "team.toml:6:8: the team has 2 teammates, but `limits.teammates` is 1 | set teammates = 2 under [limits]",
        ),
        (
            "[[task]]\ntitle = \"Build\"",
            "team.toml:1:1: there are tasks but no member to do them | add [[member]] with name = \"ada\" and engine = \"command\"",
        ),
    ];
    for (text, expected) in table {
        assert_eq!(faults_of(text), *expected, "of:\n{text}");
    }
    let tasks: &[(&str, &str)] = &[
        (
            "run = \"make\"",
            "team.toml:3:1: a task needs a title | add title = \"Run the tests\"",
        ),
        (
            "title = \"A\"\nkey = \"T-3\"",
            "team.toml:5:7: \"T-3\" is not a valid key: it is empty or looks like a task ID",
        ),
        (
            "title = \"A\"\nrun = 1",
            "team.toml:5:7: `run` must be a string, not a whole number",
        ),
        (
            "title = \"A\"\nafter = \"B\"",
            "team.toml:5:9: `after` must be a list of strings, not a string",
        ),
        (
            "title = \"A\"\nlabels = [1]",
            "team.toml:5:11: `labels` must contain strings, not a whole number",
        ),
        (
            "title = \"A\"\npriority = 3000000000",
            "team.toml:5:12: `priority` must be from -2147483648 to 2147483647",
        ),
        (
            "title = \"A\"\nfor = \"adda\"",
            "team.toml:5:7: `for`: there is no member \"adda\" | did you mean `ada`?",
        ),
        (
            "title = \"A\"\nrole = \"x\"",
            "team.toml:5:8: there is no role \"x\" | expected one of: architect, build-fixer, code-simplifier, debugger, deep-executor, default, document-specialist, explorer, lead, planner, quality-reviewer, reviewer, security-reviewer, test-engineer, worker",
        ),
        (
            "title = \"Build\"\n[[task]]\ntitle = \"B\"\nafter = [\"Biuld\"]",
            "team.toml:7:10: `after`: there is no task \"Biuld\" | did you mean `Build`?",
        ),
        (
            "title = \"A\"\nafter = [\"B\"]",
            "team.toml:5:10: `after`: there is no task \"B\"",
        ),
        (
            "title = \"A\"\nafter = [\"A\"]",
            "team.toml:5:10: \"A\" waits for itself",
        ),
        (
            "title = \"A\"\n[[task]]\ntitle = \"A\"",
            "team.toml:6:9: key \"A\" is already used by the task on line 4 | give one of them a different `key`",
        ),
        (
            "title = \"A\"\nafter = [\"C\"]\n[[task]]\ntitle = \"B\"\nafter = [\"A\"]\n[[task]]\ntitle = \"C\"\nafter = [\"B\"]",
            "team.toml:5:10: these tasks wait for each other: \"A\" (line 4) waits for \"C\" (line 10) waits for \"B\" (line 7) waits for \"A\" | remove one of them from an `after` list",
        ),
    ];
    for (task, expected) in tasks {
        let text = format!("{member}[[task]]\n{task}");
        assert_eq!(faults_of(&text), *expected, "of:\n{text}");
    }
}

#[test]
fn all_faults_are_reported_in_file_order() {
    let text = "nam = 1\n[[task]]\ntitle = 3\n[[member]]\nname = \"Ada\"\ncommand = \"x\"\n";
    let lines: Vec<_> = faults_of(text)
        .lines()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        lines,
        [
            "team.toml:1:1: unknown key `nam` | did you mean `name`?",
            "team.toml:2:1: a task needs a title | add title = \"Run the tests\"",
            "team.toml:3:9: `title` must be a string, not a whole number",
            "team.toml:5:8: \"Ada\" is not a member's name",
            "team.toml:6:1: `command` is not supported in this version",
        ]
    );
}

#[test]
fn two_dependency_cycles_are_both_reported() {
    let task = |title: &str, after: &str| {
        format!("[[task]]\ntitle = \"{title}\"\nafter = [\"{after}\"]\n")
    };
    let text = format!(
        "[[member]]\nname = \"ada\"\n{}{}{}{}{}",
        task("A", "B"),
        task("B", "A"),
        task("C", "D"),
        task("D", "C"),
        task("waits", "A")
    );
    let faults = faults_of(&text);
    let cycles: Vec<_> = faults.lines().collect();
    assert_eq!(cycles.len(), 2, "{faults}");
    assert!(
        cycles[0].contains("\"A\" (line 4) waits for \"B\" (line 7) waits for \"A\""),
        "{faults}"
    );
    assert!(
        cycles[1].contains("\"C\" (line 10) waits for \"D\" (line 13) waits for \"C\""),
        "{faults}"
    );
}

#[test]
fn role_file_faults_count_only_if_the_role_is_used() {
    let project = project();
    let roles = project.path().join(".agent-team/roles");
    fs::write(
        roles.join("docs.md"),
        "---\nname: writer\ndescription: \"Writes\"\ncolour: pink\n---\nYou write.\n",
    )
    .unwrap();
    fs::write(roles.join("plain.md"), "You are plain.\n").unwrap();
    fs::write(
        roles.join("agent.md"),
        "---\ndescription: x\nplan: requird\ntools:\n  - Read\nmodle: big\n---\n",
    )
    .unwrap();
    fs::write(roles.join("README.md"), "About these roles.\n").unwrap();
    let member = |role: &str| format!("[[member]]\nname = \"ada\"\nrole = \"{role}\"\n");

    let spec = read_in(project.path(), &member("writer")).unwrap();
    let writer = spec.members.iter().find(|member| !member.lead).unwrap();
    assert_eq!(writer.colour, Some(Colour::Pink));
    let described = |name: &str| {
        let role = spec.roles.iter().find(|role| role.name.as_str() == name);
        role.map(|role| role.description.as_str())
    };
    assert_eq!(
        (described("plain"), described("writer")),
        (Some(""), Some("Writes"))
    );
    assert_eq!(
        described("agent"),
        None,
        "a role with faults is not offered"
    );

    let faults = faults_in(project.path(), &member("agent"));
    assert_eq!(
        faults,
        ".agent-team/roles/agent.md:3:1: \"requird\" is not a valid value of `plan` | did you mean `required`?\n\
         .agent-team/roles/agent.md:5:5: `tools`: there is no tool \"Read\" | did you mean `read`?\n\
         .agent-team/roles/agent.md:6:1: unknown key `modle` | did you mean `model`?"
    );
    let nearer = format!(
        "{}[roles.agent]\ndescription = \"nearer\"\n",
        member("agent")
    );
    assert!(
        read_in(project.path(), &nearer).is_ok(),
        "the role in the team file wins"
    );
}

#[test]
fn an_unreadable_file_is_refused_with_the_reason() {
    let project = project();
    let file = project.path().join(".agent-team/team.toml");
    let cause = || match load(&file, project.path()) {
        Err(LoadTeamError::Unreadable(shown, error)) => format!("{shown}: {error}"),
        other => panic!("{other:?}"),
    };
    assert!(
        matches!(load(&file, project.path()), Err(LoadTeamError::Missing(shown)) if shown == ".agent-team/team.toml")
    );
    fs::write(&file, b"name = \"a\"\nmode = \"\xff\"\n").unwrap();
    assert_eq!(
        cause(),
        ".agent-team/team.toml: line 2, column 9 is not valid UTF-8"
    );
    fs::write(&file, " ".repeat(usize::try_from(FILE_MAX).unwrap() + 1)).unwrap();
    assert_eq!(cause(), ".agent-team/team.toml: larger than 1 MiB");
    fs::remove_file(&file).unwrap();
    fs::create_dir(&file).unwrap();
    assert_eq!(cause(), ".agent-team/team.toml: not a regular file");
}

#[test]
fn a_file_outside_dot_agent_team_defines_its_own_project() {
    let project = project();
    for (file, expected) in [
        (".agent-team/other.toml", project.path().to_owned()),
        ("web/team.toml", project.path().join("web")),
    ] {
        let file = project.path().join(file);
        fs::write(&file, "").unwrap();
        assert_eq!(
            load(&file, project.path()).unwrap().project,
            expected.canonicalize().unwrap()
        );
    }
}

proptest! {
    #[test]
    fn a_fault_has_the_right_line_and_column(blank in 0_usize..6, comments in 0_usize..6, indent in 0_usize..4) {
        let text = format!(
            "{}{}[[member]]\nname = \"ada\"\n{}colur = \"blue\"\n",
            "\n".repeat(blank),
            "# é\n".repeat(comments),
            " ".repeat(indent),
        );
        let faults = read_in(project().path(), &text).unwrap_err();
        prop_assert_eq!(faults.len(), 1);
        prop_assert_eq!((faults[0].line, faults[0].column), (blank + comments + 3, indent + 1));
    }

    #[test]
    fn any_text_yields_a_team_or_faults(text in "([a-z_]{0,6}( = |\\[\\[?|\\]\\]?|\"[a-z]{0,3}\"|[0-9]|\\n|\\{|\\}|,|é){0,3}){0,12}") {
        let result = read_in(project().path(), &text);
        prop_assert!(result.is_ok() || !result.unwrap_err().is_empty());
    }
}
