//! Commands without a supervisor. No test starts a process that outlives the command.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json as document};

use crate::rig::{CommandOutput, Rig, command_output, json, write_program};

#[test]
fn help_fits_a_terminal_and_lists_verbs() {
    let rig = Rig::new();
    let help = rig.run(&["--help"]);
    assert_eq!((help.code, help.stderr.as_str()), (0, ""));
    for verb in ["up", "down", "task", "supervisor", "completions"] {
        assert!(
            help.stdout.contains(&format!("\n  {verb} ")),
            "{verb} in {}",
            help.stdout
        );
    }
    assert!(
        help.stdout.lines().all(|line| line.chars().count() <= 100),
        "{}",
        help.stdout
    );
    assert_eq!(rig.run(&["up", "--help"]).code, 0);
    assert!(rig.run(&["--version"]).stdout.starts_with("agent-team "));
}

#[test]
fn an_unknown_verb_or_option_is_a_usage_error() {
    let rig = Rig::new();
    for arguments in [
        &["upp"][..],
        &["requests", "grant"],
        &["ps", "--nope"],
        &["why"],
        &["why", "Ada"],
        &["task", "show", "three"],
        &[],
    ] {
        let output = rig.run(arguments);
        assert_eq!(output.code, 2, "{arguments:?}: {}", output.stderr);
        assert_eq!(output.stdout, "", "{arguments:?}");
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    let output = rig.run(&["why", "Ada", "--json"]);
    let error = &json(&output.stderr)["error"];
    assert_eq!((output.code, error["code"].as_str()), (2, Some("invalid")));
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("not a member's name"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_misspelt_option_does_not_suggest_bypass() {
    let output = Rig::new().run(&["run", "Fix it", "--bypas"]);
    assert_eq!(output.code, 2);
    let error = &output.stderr;
    assert!(error.contains("unexpected argument '--bypas'"), "{error}");
    assert!(!error.contains("--bypass"), "{error}");
}

#[test]
fn all_faults_of_a_team_file_are_reported() {
    let rig = Rig::new();
    rig.team_file("membr = 1\n[[task]]\ntitle = \"Build\"\n");
    for verb in [&["up"][..], &["up", "--dry-run"], &["up", "--wait"]] {
        let output = rig.run(verb);
        assert_eq!((output.code, output.stdout.as_str()), (2, ""));
        assert_eq!(
            output.stderr,
            "error: .agent-team/team.toml:1:1: unknown key `membr`\n  \
               hint: did you mean `member`?\n\
             error: .agent-team/team.toml:2:1: there are tasks but no member to do them\n  \
               hint: add [[member]] with name = \"ada\" and engine = \"command\"\n"
        );
    }
    let output = rig.run(&["up", "--json"]);
    assert_eq!((output.code, output.stdout.as_str()), (2, ""));
    let error = json(&output.stderr);
    assert_eq!(error["error"]["code"], "invalid");
    assert_eq!(error["error"]["hint"], "did you mean `member`?");
    assert_eq!(
        error["error"]["message"].as_str().unwrap().lines().count(),
        2
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn hostile_text_of_a_team_file_is_escaped() {
    let rig = Rig::new();
    rig.team_file("[[member]]\nname = \"a\\u001b[2J\\u202e\"\n");
    let output = rig.run(&["up"]);
    assert_eq!(output.code, 2);
    assert!(
        !output.stderr.contains(['\u{1b}', '\u{202e}']),
        "{:?}",
        output.stderr
    );
}

#[test]
fn a_missing_team_file_exits_with_3_and_hints_at_init() {
    let rig = Rig::new();
    let output = rig.run(&["up"]);
    assert_eq!(output.code, 3);
    assert!(
        output
            .stderr
            .contains("hint: create one with: agent-team init"),
        "{}",
        output.stderr
    );
    assert_eq!(
        json(&rig.run(&["up", "--json"]).stderr)["error"]["code"],
        "no_team_file"
    );
    let output = rig.run(&["up", "--file", "other.toml"]);
    assert_eq!(output.code, 3);
    assert!(
        output.stderr.contains("there is no file other.toml"),
        "{}",
        output.stderr
    );
}

#[test]
fn role_show_prints_the_origin_and_hidden_roles() {
    let rig = Rig::new();
    let listed = rig.run(&["role", "list"]);
    assert_eq!(
        listed.code, 0,
        "the command fails without a team file: {}",
        listed.stderr
    );
    assert!(listed.stdout.contains("explorer"), "{}", listed.stdout);

    rig.team_file("[roles.reviewer]\ndescription = \"Ours\"\nmodel = \"openai/gpt-5\"\n");
    let agents = rig.project().join(".claude/agents");
    fs::create_dir_all(&agents).unwrap();
    fs::write(
        agents.join("reviewer.md"),
        "---\ntools: Read, NotebookEdit\n---\nTheirs.\n",
    )
    .unwrap();
    fs::write(
        agents.join("helper.md"),
        "---\ntools: Read, NotebookEdit\n---\nHelp.\n",
    )
    .unwrap();

    let shown = rig.run(&["role", "show", "reviewer"]);
    for part in [
        "reviewer: Ours",
        ".agent-team/team.toml:1",
        ".claude/agents/reviewer.md",
        "built in",
        "openai/gpt-5",
    ] {
        assert!(shown.stdout.contains(part), "{part} in {}", shown.stdout);
    }
    let document = json(&rig.run(&["role", "show", "helper", "--json"]).stdout);
    assert_eq!(document["from"], "claude");
    let tools = serde_json::json!(["read", "notes", "skill"]);
    assert_eq!(document["tools"], tools);
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with(".claude/agents/helper.md:2:1: "),
        "{warning}"
    );
    let roles = &json(&rig.run(&["role", "list", "--json"]).stdout)["roles"];
    let reviewer = roles
        .as_array()
        .unwrap()
        .iter()
        .find(|role| role["name"] == "reviewer");
    let hides = &reviewer.unwrap()["hides"];
    assert_eq!(
        (&hides[0]["from"], &hides[1]["from"]),
        (&"claude".into(), &"built_in".into())
    );

    let missing = rig.run(&["role", "show", "reviewr"]);
    assert_eq!(missing.code, 3);
    assert!(
        missing.stderr.contains("there is no role reviewr"),
        "{}",
        missing.stderr
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn a_variable_without_a_value_is_refused_with_its_line() {
    let rig = Rig::new();
    rig.team_file("[[member]]\nname = \"ada\"\nprompt = \"Write {{lang}}.\"\n");
    let output = rig.run(&["up", "--var", "langs=Rust"]);
    assert_eq!(output.code, 2);
    let position = "team.toml:3:17: there is no value for `{{lang}}`";
    assert!(output.stderr.contains(position), "{}", output.stderr);
    assert!(
        output.stderr.contains("--var lang=VALUE"),
        "{}",
        output.stderr
    );
    let output = rig.run(&["up", "--var", "lang"]);
    assert!(
        output.code == 2 && output.stderr.contains("--var \"lang\": it is not K=V"),
        "{}",
        output.stderr
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn unknown_engines_and_unset_variables_are_refused() {
    let rig = Rig::new();
    let output = rig.run(&["spawn", "worker", "--engine", "acp"]);
    assert_eq!(output.code, 2);
    assert!(
        output.stderr.contains("is not supported in this version"),
        "{}",
        output.stderr
    );
    let output = rig.run(&["spawn", "worker", "--engine", "comand"]);
    assert_eq!(output.code, 2);
    assert!(
        output.stderr.contains("did you mean `command`?"),
        "{}",
        output.stderr
    );
    let output = rig.run(&["up", "--env", "NO"]);
    assert_eq!(output.code, 2);
    assert!(
        output
            .stderr
            .contains("environment variable \"NO\" is not set"),
        "{}",
        output.stderr
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn init_writes_the_detected_template_once() {
    let rig = Rig::new();
    fs::write(rig.project().join("Cargo.toml"), "").unwrap();
    let output = rig.run(&["init", "--json"]);
    assert_eq!(
        (output.code, &json(&output.stdout)["template"]),
        (0, &Value::from("rust"))
    );
    let file = rig.project().join(".agent-team/team.toml");
    fs::write(&file, "mine").unwrap();
    let output = rig.run(&["init", "--template", "empty"]);
    assert_eq!(output.code, 4);
    assert!(
        output.stderr.contains("already exists"),
        "{}",
        output.stderr
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");

    assert_eq!(rig.run(&["init", "--template", "cobol"]).code, 2);
    let listed = json(&rig.run(&["init", "--list", "--json"]).stdout);
    let names: Vec<_> = listed["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["name"].clone())
        .collect();
    assert_eq!(
        names,
        [
            "rust", "node", "python", "make", "agents", "commands", "empty"
        ]
    );
}

#[test]
fn rules_check_parses_no_options_after_the_command() {
    let rig = Rig::new();
    for (arguments, is_json) in [
        (&["rules", "check", "make"][..], false),
        (&["rules", "check", "curl", "--json", "{}"], false),
        (&["rules", "check", "make", "-j4", "--help"], false),
        (&["rules", "check", "--json", "make"], true),
        (&["rules", "check", "--", "make", "-j4"], false),
    ] {
        let output = rig.run(arguments);
        // The arguments parse; the error is that no team exists.
        assert_eq!(output.code, 3, "{arguments:?}: {}", output.stderr);
        let printed_json = output.stderr.starts_with('{');
        assert_eq!(printed_json, is_json, "{arguments:?}");
    }
}

#[test]
fn rules_before_the_first_up_name_the_next_command() {
    let rig = Rig::new();
    let hint = |rig: &Rig| {
        let output = rig.run(&["rules", "list"]);
        assert_eq!(output.code, 3, "{}", output.stderr);
        output.stderr
    };
    let without_file = hint(&rig);
    assert!(
        without_file.contains("write a team file with: agent-team init; then"),
        "{without_file}"
    );
    rig.team_file("name = \"demo\"\n[[member]]\nname = \"ada\"\n");
    let with_file = hint(&rig);
    assert!(
        with_file
            .contains("cannot evaluate the rules of the team file: its team was never started"),
        "{with_file}"
    );
    assert!(
        with_file.contains("start the team with: agent-team up\n"),
        "{with_file}"
    );
}

#[test]
fn completions_and_manual_pages_are_generated() {
    let rig = Rig::new();
    for shell in ["bash", "zsh", "fish"] {
        let output = rig.run(&["completions", shell]);
        assert_eq!(output.code, 0);
        assert!(output.stdout.contains("AGENT_TEAM_COMPLETE"), "{shell}");
    }
    assert!(rig.run(&["man"]).stdout.contains(".TH agent-team"));
    let pages = rig.project().join("pages");
    assert_eq!(rig.run(&["man", "--out", "pages"]).code, 0);
    assert!(pages.join("agent-team.1").is_file());
    let page = std::fs::read_to_string(pages.join("agent-team-task-add.1"));
    let page = page.expect("each verb has a page");
    for part in [
        "agent\\-team task add [OPTIONS] <TITLE>",
        "agent-team manual",
        "agent\\-team(1), agent\\-team\\-task(1), agent\\-team.toml(5)",
    ] {
        assert!(page.contains(part), "{part:?} is not in {page}");
    }
    for (page, key) in [
        ("agent-team.toml", "max_steps"),
        ("agent-team-config", "memory_mib"),
    ] {
        let printed = rig.run(&["man", page]).stdout;
        assert!(printed.contains(key), "{printed}");
        let written = std::fs::read_to_string(pages.join(format!("{page}.5")));
        assert_eq!(written.expect("the page is written"), printed);
    }
}

#[test]
fn verbs_without_any_team_exit_with_3() {
    let rig = Rig::new();
    for arguments in [
        &["ps"][..],
        &["why", "ada"],
        &["logs", "ada", "-f"],
        &["events"],
        &["messages"],
        &["send", "all", "hello"],
        &["kill", "ada"],
        &["task", "list"],
        &["task", "claim", "T-1"],
        &["team", "show"],
        &["team", "delete", "x"],
        &["down"],
        &["task", "graph", "--dot"],
    ] {
        let output = rig.run(&[arguments, &["--json"]].concat());
        assert_eq!(output.code, 3, "{arguments:?}: {}", output.stderr);
        assert_eq!(
            json(&output.stderr)["error"]["code"],
            "unknown_team",
            "{arguments:?}"
        );
    }
    let output = rig.run(&["team", "list", "--json"]);
    assert_eq!(
        (output.code, json(&output.stdout)),
        (0, serde_json::json!({ "teams": [] }))
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn attach_needs_a_terminal() {
    let rig = Rig::new();
    let output = rig.run(&["attach"]);
    assert_eq!((output.code, output.stdout.as_str()), (4, ""));
    assert!(output.stderr.contains("hint:"), "{}", output.stderr);
}

#[test]
fn supervisor_stop_without_a_supervisor_succeeds() {
    let rig = Rig::new();
    let output = rig.run(&["supervisor", "stop", "--json"]);
    assert_eq!(
        (output.code, json(&output.stdout)),
        (0, serde_json::json!({ "receipts": [] }))
    );
    assert_eq!(rig.run(&["supervisor", "restart"]).code, 0);
    let output = rig.run(&["supervisor", "status", "--json"]);
    assert_eq!(
        (output.code, &json(&output.stderr)["error"]["code"]),
        (6, &Value::from("unreachable"))
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn doctor_reports_problems_and_starts_nothing() {
    let rig = Rig::new();
    let programs = rig.directory.path().join("bin");
    fs::create_dir(&programs).unwrap();
    // Copy the program: the build directory may contain the other binaries.
    let program = programs.join("agent-team");
    fs::copy(env!("CARGO_BIN_EXE_agent-team"), &program).unwrap();
    let version = format!("#!/bin/sh\necho agent-team {}\n", env!("CARGO_PKG_VERSION"));
    let reports = |tmux: bool| {
        let report = |name: &str, ok: Option<bool>| document!({ "name": name, "ok": ok, "detail": "details" });
        let placements = document!([report("tmux", Some(tmux)), report("iterm", None)]);
        format!(
            "#!/bin/sh\ntest \"$1\" != --placements || {{ echo '{placements}'; exit; }}\n{}",
            &version[10..]
        )
    };
    write_program(&programs.join("agent-teamd"), &reports(false));
    write_program(
        &programs.join("agent-teammate"),
        "#!/bin/sh\necho agent-teammate 0.0.0\n",
    );
    rig.team_file("nam = 1\n");
    let doctor = |arguments: &[&str]| {
        let mut command = Command::new(&program);
        command.args(arguments).current_dir(rig.project());
        let path = std::env::join_paths(
            [&programs, Path::new("/bin"), Path::new("/usr/bin")].map(Path::to_owned),
        )
        .unwrap();
        command
            .env("AGENT_TEAM_HOME", rig.home())
            .env("PATH", path)
            .env_remove("TMUX");
        command_output(&command.output().unwrap())
    };
    let output = doctor(&["doctor", "--json"]);
    assert_eq!(output.code, 1, "{}", output.stderr);
    let document = json(&output.stdout);
    let check = |name: &str| {
        let checks = document["checks"].as_array().unwrap().iter();
        checks
            .clone()
            .find(|check| check["name"] == name)
            .unwrap_or_else(|| panic!("{name} in {document}"))
            .clone()
    };
    assert_eq!(check("agent-teamd")["ok"], true);
    assert_eq!(check("agent-teammate")["ok"], false);
    assert_eq!(check("agent-teammate-native")["ok"], false);
    assert_eq!(check("directories")["ok"], true);
    assert_eq!(check("disk")["ok"], true);
    assert_eq!(check("supervisor")["ok"], Value::Null);
    assert_eq!(check("tmux")["ok"], false);
    assert_eq!(check("iterm")["ok"], Value::Null);
    assert_eq!(check("team file")["ok"], false);
    assert!(
        check("team file")["detail"]
            .as_str()
            .unwrap()
            .contains("team.toml:1:1")
    );
    assert_eq!(check("team file")["hint"], "did you mean `name`?");

    write_program(&programs.join("agent-teammate"), &version);
    write_program(&programs.join("agent-teammate-native"), &version);
    write_program(&programs.join("agent-teamd"), &reports(true));
    rig.team_file("");
    let output = doctor(&["doctor"]);
    assert_eq!(output.code, 0, "{}{}", output.stdout, output.stderr);
    assert!(
        output.stdout.contains("✓ tmux") && output.stdout.contains("– supervisor"),
        "{}",
        output.stdout
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn directories_with_open_permissions_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let run = rig.home().join("run");
    fs::create_dir_all(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    let output = rig.run(&["ps"]);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains(&format!("chmod 700 {}", run.display())),
        "{}",
        output.stderr
    );
    let output = run_with_home(&rig, "relative");
    assert_eq!(output.code, 2, "{}", output.stderr);
}

fn run_with_home(rig: &Rig, home: &str) -> CommandOutput {
    command_output(
        &rig.command(&["ps"])
            .env("AGENT_TEAM_HOME", home)
            .output()
            .unwrap(),
    )
}

#[test]
fn a_message_that_is_too_long_is_refused_early() {
    let rig = Rig::new();
    let file = rig.project().join("long.txt");
    fs::write(&file, "é".repeat(40_000)).unwrap();
    let mut command = rig.command(&["send", "ada", "-", "--json"]);
    let output = command_output(
        &command
            .stdin(fs::File::open(&file).unwrap())
            .output()
            .unwrap(),
    );
    assert_eq!(
        (output.code, &json(&output.stderr)["error"]["code"]),
        (2, &Value::from("message_too_large"))
    );
}

#[test]
fn colours_need_a_terminal_or_color_always() {
    let rig = Rig::new();
    let escapes = |arguments: &[&str]| rig.run(arguments).stdout.contains('\u{1b}');
    assert!(!escapes(&["init", "--list"]));
    assert!(escapes(&["init", "--list", "--color", "always"]));
    let mut command = rig.command(&["init", "--list"]);
    assert!(
        !command_output(&command.env("NO_COLOR", "1").output().unwrap())
            .stdout
            .contains('\u{1b}')
    );
}

#[test]
fn an_unknown_theme_is_refused() {
    let rig = Rig::new();
    let mut command = rig.command(&["init", "--list"]);
    let output = command_output(&command.env("AGENT_TEAM_THEME", "pink").output().unwrap());
    assert_eq!(output.code, 2);
    let hint = "set AGENT_TEAM_THEME to auto, dark, light or none";
    assert!(output.stderr.contains(hint), "{}", output.stderr);
}

#[test]
fn a_closed_stdout_is_not_a_failure() {
    let rig = Rig::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = rig
        .command(&["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    let output = command_output(&output);
    assert_eq!((output.code, output.stderr.as_str()), (0, ""));
}
