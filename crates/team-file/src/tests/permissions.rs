//! Tests of permissions in the team file and in the user's files, and of the parts that require trust.

use std::fs;
use std::path::Path;

use agent_team_protocol::permissions::Mode;
use agent_team_protocol::request::Scope;
use agent_team_protocol::spec::Notify;

use super::super::{Fault, Loaded, Reading, Variables, parse};
use super::{faults_of, project, read_in, reading};

fn read(project: &Path, settings: &Path, text: &str) -> Result<Loaded, Vec<Fault>> {
    let reading = Reading {
        here: project,
        settings: Some(settings),
        variables: Some(&Variables::new()),
        overrides: None,
    };
    parse("team.toml", text, &project.canonicalize().unwrap(), reading)
}

/// Reads the text with this `config.toml` of the user.
fn with_user(user: &str, text: &str) -> Result<Loaded, Vec<Fault>> {
    let (project, settings) = (project(), tempfile::tempdir().unwrap());
    fs::write(settings.path().join("config.toml"), user).unwrap();
    read(project.path(), settings.path(), text)
}

/// The lines of a file that require trust.
fn required_trust(user: &str, text: &str) -> Vec<String> {
    let required_trust = with_user(user, text).unwrap().required_trust;
    required_trust.map(|it| it.lines).unwrap_or_default()
}

#[test]
fn only_permissive_lines_require_trust() {
    for text in [
        "[permissions]\ndeny = [\"Read(.env)\"]\nask = [\"mcp__db__drop\"]",
        "[permissions]\nmode = \"plan\"\ndefault_scope = \"once\"",
        "[permissions]\nmode = \"dont-ask\"",
        "[[member]]\nname = \"ada\"\n[[task]]\ntitle = \"x\"",
    ] {
        assert_eq!(required_trust("", text), [""; 0], "{text}");
    }
    for mode in ["accept-edits", "sandboxed", "bypass"] {
        let text = format!("[permissions]\nmode = \"{mode}\"");
        assert_eq!(required_trust("", &text), [format!("mode = \"{mode}\"")]);
    }
    let all = "
[permissions]
mode = \"accept-edits\"
default_scope = \"team\"
allow = [\"Bash(cargo test:*)\", \"WebSearch\"]
approve = [\"Edit(src/**)\"]
[hooks]
task_completed = \"check.sh\"
[mcp.db]
command = \"db\"
args = [\"-v\"]
env = { A = \"b\" }
[[member]]
name = \"ada\"
network = true
[roles.front]
network = true
[roles.back]
network = false
[mcp.hub]
url = \"https://hub.example\"
headers = { X = \"$Y\" }
[[member]]
name = \"ben\"
engine = \"command\"
env = { PATH = \"./tools\", A = \"b\" }
[defaults]
env = { A = \"b\" }
[[task]]
title = \"Build\"
run = \"make\"
verify = \"make check\"
[search]
api = \"brave\"
key = \"TOKEN\"
url = \"https://search.example\"
[providers.openai]
base_url = \"https://model.example\"
headers = { Y = \"z\" }
extra_body = { store = true }
ca = \"gateway.pem\"
";
    assert_eq!(
        required_trust("", all),
        [
            "mode = \"accept-edits\"",
            "default_scope = \"team\"",
            "allow Bash(cargo test:*)",
            "allow WebSearch",
            "approve Edit(src/**)",
            "hook task_completed runs check.sh",
            "MCP server db runs A=\"b\" \"db\" \"-v\"",
            "MCP server hub is at https://hub.example X=\"$Y\"",
            "network = true for member ada",
            "network = true for role front",
            "env A=\"b\" for all members",
            "env PATH=\"./tools\" for member ben",
            "task \"Build\" runs make",
            "task \"Build\" is verified by make check",
            "searches are sent to https://search.example, with the secret TOKEN",
            "the model provider openai is at https://model.example",
            "the model provider openai is sent Y=\"z\"",
            "the model provider openai is sent the fields {\"store\":true}",
            "the model provider openai is identified by the certificates in \"gateway.pem\" (SHA-256 8010bfcee1842b2a4ce8f67c3e9455f0188f7a15bf39ec61a26feb75cd785821)",
        ]
    );
}

#[test]
fn network_is_off_by_default_and_the_nearest_key_wins() {
    let file = "
[defaults]
network = true
[roles.quiet]
network = false
[[member]]
name = \"ada\"
[[member]]
name = \"bob\"
role = \"quiet\"
[[member]]
name = \"cora\"
role = \"quiet\"
network = true
";
    let of = |text: &str| -> Vec<(String, bool)> {
        let members = with_user("", text).unwrap().spec.members.into_iter();
        members
            .filter(|member| !member.lead)
            .map(|member| (member.name.to_string(), member.agent.network))
            .collect()
    };
    let expected = [("ada", true), ("bob", false), ("cora", true)];
    assert_eq!(of(file), expected.map(|(name, on)| (name.to_owned(), on)));
    let silent = file
        .replace("network = true", "")
        .replace("network = false", "");
    assert!(of(&silent).iter().all(|(_, on)| !on));
    assert_eq!(
        required_trust("", file),
        [
            "network = true for all members",
            "network = true for member cora",
        ]
    );
}

#[test]
fn plan_is_valid_only_in_approve() {
    for list in ["allow", "ask", "deny"] {
        let faults = faults_of(&format!("[permissions]\n{list} = [\"Plan\"]"));
        assert!(faults.contains("team.toml:2:"), "{faults}");
        assert!(faults.contains("`approve`"), "{faults}");
    }
    assert_eq!(
        required_trust("", "[permissions]\napprove = [\"Plan\"]"),
        ["approve Plan"]
    );
}

#[test]
fn scripts_and_servers_are_kept_with_the_command_engine() {
    let project = project();
    fs::write(project.path().join("check.sh"), "true\n").unwrap();
    fs::write(project.path().join("serve.py"), "\n").unwrap();
    let text = r#"
        name = "demo"
        [defaults]
        engine = "command"
        [mcp.notes]
        command = "python3"
        args = ["serve.py"]
        [roles.builder]
        [[member]]
        name = "ada"
        [[task]]
        title = "Build"
        run = "./made.sh"
        verify = "./check.sh"
    "#;
    let spec = read_in(project.path(), text).unwrap();
    let top = project.path().canonicalize().unwrap();
    let protected = spec.protected.iter().map(|kept| {
        let name = kept.path.strip_prefix(&top).unwrap();
        (name.to_str().unwrap(), kept.is_absent)
    });
    let protected: Vec<_> = protected.collect();
    let expected = [("check.sh", false), ("made.sh", true), ("serve.py", false)];
    assert_eq!(protected, expected);
    // A member that `spawn builder --engine native` starts gets the server too.
    assert_eq!(spec.roles[0].agent.mcp[0].name.to_string(), "notes");
}

#[test]
fn an_absent_script_is_a_warning() {
    let project = project();
    let text = "name = \"demo\"\n[[member]]\nname = \"ada\"\nengine = \"command\"\n[[task]]\n\
        title = \"Build\"\nrun = \"node dist/index.js\"\n";
    let loaded = reading(project.path(), &Variables::new(), |reading| {
        parse(
            "team.toml",
            text,
            &project.path().canonicalize().unwrap(),
            reading,
        )
    });
    let warnings = loaded.unwrap().warnings;
    assert_eq!(warnings.len(), 1);
    let warning = warnings[0].to_string();
    assert!(warning.starts_with("team.toml:7:"), "{warning}");
    assert!(
        warning.contains("dist/index.js does not exist"),
        "{warning}"
    );
}

#[test]
fn changed_permissive_lines_change_the_digest() {
    let digest = |text: &str| with_user("", text).unwrap().required_trust.unwrap().digest;
    let one = "[permissions]\nallow = [\"Bash(ls:*)\"]";
    assert_eq!(
        digest(one),
        digest(&format!("# said\n{one}\ndeny = [\"Read\"]"))
    );
    assert_ne!(
        digest(one),
        digest("[permissions]\nallow = [\"Bash(rm:*)\"]")
    );
    assert_ne!(
        digest(one),
        digest("[permissions]\napprove = [\"Bash(ls:*)\"]")
    );
}

#[test]
fn a_notify_command_of_a_project_requires_trust() {
    let command = "notify = { command = [\"./beep\", \"-x\"] }\n";
    let team = format!("{command}[[member]]\nname = \"ada\"\n");
    let lines = required_trust("", &team);
    assert_eq!(lines[0], "notify runs \"./beep\" \"-x\"");
    assert!(lines[1].starts_with("the script beep"), "{lines:?}");
    let own = command.replace("beep", "mine");
    assert_eq!(
        required_trust(&own, &team),
        [""; 0],
        "the user's own command"
    );
    let Notify::Command(found) = with_user(&own, &team).unwrap().spec.notify else {
        panic!("notify is not a command");
    };
    assert_eq!(found.argv, ["./mine", "-x"]);
    for word in ["off", "bell", "desktop"] {
        assert_eq!(required_trust("", &format!("notify = {word:?}\n")), [""; 0]);
    }
    for wrong in [
        "3",
        "\"loud\"",
        "{}",
        "{ command = [] }",
        "{ command = [\"\"] }",
    ] {
        assert!(
            with_user("", &format!("notify = {wrong}\n")).is_err(),
            "{wrong}"
        );
    }
}

#[test]
fn user_permissions_take_precedence_without_trust() {
    let user = "[permissions]\nmode = \"default\"\ndefault_scope = \"member\"\nallow = [\"Edit\"]";
    let file =
        "[permissions]\nmode = \"bypass\"\ndefault_scope = \"team\"\ndeny = [\"Bash(rm:*)\"]";
    assert_eq!(required_trust(user, file), [""; 0]);
    let spec = with_user(user, file).unwrap().spec;
    assert_eq!(spec.permission_defaults.mode, Mode::Default);
    assert_eq!(spec.permission_defaults.default_scope, Scope::Member);
    assert_eq!(spec.permissions.deny, ["Bash(rm:*)"]);
    assert_eq!(spec.permissions.from, "team.toml");
    assert_eq!(spec.own_permissions[0].allow, ["Edit"]);
    assert!(spec.own_permissions[0].from.ends_with("/config.toml"));
}

#[test]
fn an_invalid_rule_is_a_fault_with_its_position() {
    let invalid = "[permissions]\nallow = [\"Bash(ls:*)\", \"Edit(../x)\"]\nask = [\"Wirte\"]";
    assert!(
        faults_of(invalid)
            .starts_with("team.toml:2:24: `Edit(../x)`, at character 6: `..` never matches"),
        "{}",
        faults_of(invalid)
    );
    let faults = with_user(invalid, "").unwrap_err();
    let positions: Vec<_> = faults
        .iter()
        .map(|fault| (fault.line, fault.column))
        .collect();
    assert_eq!(positions, [(2, 24), (3, 8)]);
    assert!(faults[0].file.ends_with("/config.toml"), "{:?}", faults[0]);
    assert!(
        faults_of("[permissions]\nmode = \"accept\"")
            .contains("\"accept\" is not a valid value of `mode`")
    );
}

#[test]
fn each_fault_of_the_users_config_is_reported_once() {
    let faults_of_user = |user: &str| -> Vec<String> {
        let faults = with_user(user, "mode = \"lead\"").unwrap_err();
        assert!(faults.iter().all(|it| it.file.ends_with("/config.toml")));
        faults
            .into_iter()
            .map(|it| format!("{}:{}: {}", it.line, it.column, it.message))
            .collect()
    };
    let all = "notify = \"loud\"\n[search]\napi = \"bing\"\n[permissions]\nmode = \"accept\"\n\
               [roles]\nb = 3\n[roles.\"A b\"]\n[roles.worker]\ncolour = \"beige\"\n[roles.unused]\nengine = 3";
    let faults = faults_of_user(all).join("\n");
    for (position, key) in [
        ("1:10", "`notify`"),
        ("3:7", "`api`"),
        ("5:8", "`mode`"),
        ("7:5", "`b` must be a table"),
        ("8:8", "\"A b\""),
    ] {
        let found = faults
            .lines()
            .filter(|it| it.starts_with(position) && it.contains(key));
        assert_eq!(found.count(), 1, "{position} {key}: {faults}");
    }
    assert_eq!(faults.lines().count(), 5, "{faults}");
    assert_eq!(faults_of_user("notify = \n[permissions\n").len(), 1);
}

#[test]
fn external_agents_of_spawned_members_require_trust() {
    let project = project();
    let roles = project.path().join(".agent-team/roles");
    fs::create_dir_all(&roles).unwrap();
    let role = "---\ndescription: Reviews\nengine: gemini\n---\nReview.\n";
    fs::write(roles.join("critic.md"), role).unwrap();
    let text = "[defaults]\nengine = { acp = [\"./agent\"] }\n[[member]]\nname = \"ada\"\nengine = \"native\"\n";
    let settings = tempfile::tempdir().unwrap();
    let team = read(project.path(), settings.path(), text).unwrap();
    let lines = team.required_trust.unwrap().lines;
    let has = |start: &str| lines.iter().any(|line| line.starts_with(start));
    assert!(
        has("each spawned member runs \"./agent\", without"),
        "{lines:?}"
    );
    assert!(
        has("each member of role critic runs \"gemini\""),
        "{lines:?}"
    );
    assert!(!has("member ada"), "{lines:?}");
}
