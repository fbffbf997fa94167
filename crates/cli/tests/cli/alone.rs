//! What needs no supervisor: nothing here starts a process that outlives it.

use std::fs;
use std::path::Path;
use std::process::Command;

use serde_json::{Value, json as document};

use crate::rig::{Rig, Said, json, said, write_program};

#[test]
fn help_fits_a_terminal_and_names_every_verb() {
    let rig = Rig::new();
    let help = rig.run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (0, ""));
    for verb in ["up", "down", "task", "supervisor", "completions"] {
        assert!(
            help.out.contains(&format!("\n  {verb} ")),
            "{verb} in {}",
            help.out
        );
    }
    assert!(
        help.out.lines().all(|line| line.chars().count() <= 100),
        "{}",
        help.out
    );
    assert_eq!(rig.run(&["up", "--help"]).code, 0);
    assert!(rig.run(&["--version"]).out.starts_with("agent-team "));
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
        &["task", "show", "3"],
        &[],
    ] {
        let said = rig.run(arguments);
        assert_eq!(said.code, 2, "{arguments:?}: {}", said.err);
        assert_eq!(said.out, "", "{arguments:?}");
        assert!(!said.err.is_empty(), "{arguments:?}");
    }
    let said = rig.run(&["why", "Ada", "--json"]);
    let error = &json(&said.err)["error"];
    assert_eq!((said.code, error["code"].as_str()), (2, Some("invalid")));
    assert!(
        error["message"]
            .as_str()
            .unwrap()
            .contains("not a member's name"),
        "{}",
        said.err
    );
}

#[test]
fn a_bad_team_file_is_told_fault_by_fault_and_starts_nothing() {
    let rig = Rig::new();
    rig.team_file("membr = 1\n[[task]]\ntitle = \"Build\"\n");
    for verb in [&["up"][..], &["up", "--dry-run"], &["up", "--wait"]] {
        let said = rig.run(verb);
        assert_eq!((said.code, said.out.as_str()), (2, ""));
        assert_eq!(
            said.err,
            "error: .agent-team/team.toml:1:1: unknown key `membr`\n  \
               hint: did you mean `member`?\n\
             error: .agent-team/team.toml:2:1: there are tasks but no member to do them\n  \
               hint: add [[member]] with name = \"ada\" and engine = \"command\"\n"
        );
    }
    let said = rig.run(&["up", "--json"]);
    assert_eq!((said.code, said.out.as_str()), (2, ""));
    let error = json(&said.err);
    assert_eq!(error["error"]["code"], "invalid");
    assert_eq!(error["error"]["hint"], "did you mean `member`?");
    assert_eq!(
        error["error"]["message"].as_str().unwrap().lines().count(),
        2
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn hostile_text_in_a_team_file_is_shown_harmlessly() {
    let rig = Rig::new();
    rig.team_file("[[member]]\nname = \"a\\u001b[2J\\u202e\"\n");
    let said = rig.run(&["up"]);
    assert_eq!(said.code, 2);
    assert!(!said.err.contains(['\u{1b}', '\u{202e}']), "{:?}", said.err);
}

#[test]
fn a_missing_team_file_is_not_found_and_init_is_offered() {
    let rig = Rig::new();
    let said = rig.run(&["up"]);
    assert_eq!(said.code, 3);
    assert!(
        said.err.contains("hint: create one with: agent-team init"),
        "{}",
        said.err
    );
    assert_eq!(
        json(&rig.run(&["up", "--json"]).err)["error"]["code"],
        "no_team_file"
    );
    let said = rig.run(&["up", "--file", "other.toml"]);
    assert_eq!(said.code, 3);
    assert!(
        said.err.contains("there is no file other.toml"),
        "{}",
        said.err
    );
}

#[test]
fn a_role_says_where_it_is_from_and_what_it_hides() {
    let rig = Rig::new();
    let listed = rig.run(&["role", "list"]);
    assert_eq!(listed.code, 0, "also without a team file: {}", listed.err);
    assert!(listed.out.contains("explorer"), "{}", listed.out);

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
        assert!(shown.out.contains(part), "{part} in {}", shown.out);
    }
    let document = json(&rig.run(&["role", "show", "helper", "--json"]).out);
    assert_eq!(document["from"], "claude");
    assert_eq!(document["tools"], serde_json::json!(["read"]));
    let warning = document["warnings"][0].as_str().unwrap();
    assert!(
        warning.starts_with(".claude/agents/helper.md:2:1: "),
        "{warning}"
    );
    let hides = &json(&rig.run(&["role", "list", "--json"]).out)["roles"];
    let reviewer = hides
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
        missing.err.contains("unknown role reviewr"),
        "{}",
        missing.err
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn a_variable_without_a_value_is_refused_where_it_stands() {
    let rig = Rig::new();
    rig.team_file("[[member]]\nname = \"ada\"\nprompt = \"Write {{lang}}.\"\n");
    let said = rig.run(&["up", "--var", "langs=Rust"]);
    assert_eq!(said.code, 2);
    let place = "team.toml:3:17: there is no value for `{{lang}}`";
    assert!(said.err.contains(place), "{}", said.err);
    assert!(said.err.contains("--var lang=VALUE"), "{}", said.err);
    let said = rig.run(&["up", "--var", "lang"]);
    assert!(
        said.code == 2 && said.err.contains("\"lang\" is not K=V"),
        "{}",
        said.err
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn what_comes_later_is_refused_as_such() {
    let rig = Rig::new();
    let said = rig.run(&["spawn", "worker", "--engine", "acp"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("is not supported in this version"),
        "{}",
        said.err
    );
    let said = rig.run(&["spawn", "worker", "--engine", "comand"]);
    assert_eq!(said.code, 2);
    assert!(said.err.contains("did you mean `command`?"), "{}", said.err);
    let said = rig.run(&["up", "--env", "NO"]);
    assert_eq!(said.code, 2);
    assert!(
        said.err.contains("environment variable \"NO\" is not set"),
        "{}",
        said.err
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn init_writes_the_fitting_template_once() {
    let rig = Rig::new();
    fs::write(rig.project().join("Cargo.toml"), "").unwrap();
    let said = rig.run(&["init", "--json"]);
    assert_eq!(
        (said.code, &json(&said.out)["template"]),
        (0, &Value::from("rust"))
    );
    let file = rig.project().join(".agent-team/team.toml");
    fs::write(&file, "mine").unwrap();
    let said = rig.run(&["init", "--template", "empty"]);
    assert_eq!(said.code, 4);
    assert!(said.err.contains("already exists"), "{}", said.err);
    assert_eq!(fs::read_to_string(&file).unwrap(), "mine");

    assert_eq!(rig.run(&["init", "--template", "cobol"]).code, 2);
    let listed = json(&rig.run(&["init", "--list", "--json"]).out);
    let names: Vec<_> = listed["templates"]
        .as_array()
        .unwrap()
        .iter()
        .map(|template| template["name"].clone())
        .collect();
    assert_eq!(names, ["rust", "node", "python", "make", "empty"]);
}

#[test]
fn completions_and_manual_pages_come_from_the_definition() {
    let rig = Rig::new();
    for shell in ["bash", "zsh", "fish"] {
        let said = rig.run(&["completions", shell]);
        assert_eq!(said.code, 0);
        assert!(said.out.contains("supervisor"), "{shell}");
    }
    assert!(rig.run(&["man"]).out.contains(".TH agent-team"));
    let pages = rig.project().join("pages");
    assert_eq!(rig.run(&["man", "--out", "pages"]).code, 0);
    assert!(pages.join("agent-team.1").is_file());
    assert!(pages.join("agent-team-up.1").is_file());
}

#[test]
fn without_any_team_asking_about_one_is_not_found_and_starts_nothing() {
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
        let said = rig.run(&[arguments, &["--json"]].concat());
        assert_eq!(said.code, 3, "{arguments:?}: {}", said.err);
        assert_eq!(
            json(&said.err)["error"]["code"],
            "unknown_team",
            "{arguments:?}"
        );
    }
    let said = rig.run(&["team", "list", "--json"]);
    assert_eq!(
        (said.code, json(&said.out)),
        (0, serde_json::json!({ "teams": [] }))
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn attach_needs_a_terminal() {
    let rig = Rig::new();
    let said = rig.run(&["attach"]);
    assert_eq!((said.code, said.out.as_str()), (4, ""));
    assert!(said.err.contains("hint:"), "{}", said.err);
}

#[test]
fn without_a_supervisor_there_is_nothing_to_stop_and_no_status() {
    let rig = Rig::new();
    let said = rig.run(&["supervisor", "stop", "--json"]);
    assert_eq!(
        (said.code, json(&said.out)),
        (0, serde_json::json!({ "receipts": [] }))
    );
    assert_eq!(rig.run(&["supervisor", "restart"]).code, 0);
    let said = rig.run(&["supervisor", "status", "--json"]);
    assert_eq!(
        (said.code, &json(&said.err)["error"]["code"]),
        (6, &Value::from("unreachable"))
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn doctor_names_what_is_wrong_and_starts_nothing() {
    let rig = Rig::new();
    let programs = rig.directory.path().join("bin");
    fs::create_dir(&programs).unwrap();
    // Copied away from the binaries that may lie beside the built one.
    let program = programs.join("agent-team");
    fs::copy(env!("CARGO_BIN_EXE_agent-team"), &program).unwrap();
    let version = format!("#!/bin/sh\necho agent-team {}\n", env!("CARGO_PKG_VERSION"));
    let reports = |tmux: bool| {
        let report = |name: &str, ok: Option<bool>| document!({ "name": name, "ok": ok, "detail": "as it is" });
        let places = document!([report("tmux", Some(tmux)), report("iterm", None)]);
        format!(
            "#!/bin/sh\ntest \"$1\" != --places || {{ echo '{places}'; exit; }}\n{}",
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
        said(&command.output().unwrap())
    };
    let said = doctor(&["doctor", "--json"]);
    assert_eq!(said.code, 1, "{}", said.err);
    let document = json(&said.out);
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
    let said = doctor(&["doctor"]);
    assert_eq!(said.code, 0, "{}{}", said.out, said.err);
    assert!(
        said.out.contains("✓ tmux") && said.out.contains("– supervisor"),
        "{}",
        said.out
    );
    assert!(rig.nothing_was_started());
}

#[test]
fn directories_that_others_may_use_are_refused() {
    use std::os::unix::fs::PermissionsExt;
    let rig = Rig::new();
    let run = rig.home().join("run");
    fs::create_dir_all(&run).unwrap();
    fs::set_permissions(&run, fs::Permissions::from_mode(0o777)).unwrap();
    let said = rig.run(&["ps"]);
    assert_eq!(said.code, 4, "{}", said.err);
    assert!(
        said.err.contains(&format!("chmod 700 {}", run.display())),
        "{}",
        said.err
    );
    let said = said_with_home(&rig, "relative");
    assert_eq!(said.code, 2, "{}", said.err);
}

fn said_with_home(rig: &Rig, home: &str) -> Said {
    said(
        &rig.command(&["ps"])
            .env("AGENT_TEAM_HOME", home)
            .output()
            .unwrap(),
    )
}

#[test]
fn a_message_that_is_too_long_is_refused_before_anything_is_started() {
    let rig = Rig::new();
    let file = rig.project().join("long.txt");
    fs::write(&file, "é".repeat(40_000)).unwrap();
    let mut command = rig.command(&["send", "ada", "-", "--json"]);
    let said = said(
        &command
            .stdin(fs::File::open(&file).unwrap())
            .output()
            .unwrap(),
    );
    assert_eq!(
        (said.code, &json(&said.err)["error"]["code"]),
        (2, &Value::from("message_too_large"))
    );
}

#[test]
fn colours_are_for_terminals_unless_they_are_wanted() {
    let rig = Rig::new();
    let escapes = |arguments: &[&str]| rig.run(arguments).out.contains('\u{1b}');
    assert!(!escapes(&["init", "--list"]));
    assert!(escapes(&["init", "--list", "--color", "always"]));
    let mut command = rig.command(&["init", "--list"]);
    assert!(
        !said(&command.env("NO_COLOR", "1").output().unwrap())
            .out
            .contains('\u{1b}')
    );
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let rig = Rig::new();
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let output = rig
        .command(&["completions", "bash"])
        .stdout(writer)
        .output()
        .unwrap();
    let said = said(&output);
    assert_eq!((said.code, said.err.as_str()), (0, ""));
}
