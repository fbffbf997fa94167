//! `init --from`: imports the agents and teams of other programs from real directories.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::PathBuf;

use serde_json::{Value, json as document};

use crate::rig::{CommandOutput, Rig, json};

/// A path that begins with `~/` is in the home directory, every other path is in the project.
fn path(rig: &Rig, name: &str) -> PathBuf {
    match name.strip_prefix("~/") {
        Some(name) => rig.directory.path().join(name),
        None => rig.project().join(name),
    }
}

fn write(rig: &Rig, name: &str, text: impl AsRef<[u8]>) {
    let path = path(rig, name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn rig(files: &[(&str, &str)]) -> Rig {
    let rig = Rig::new();
    for (name, text) in files {
        write(&rig, name, text);
    }
    rig
}

/// Imports, and returns the document of `--json`.
fn import(rig: &Rig, program: &str) -> Value {
    let output = rig.run(&["init", "--from", program, "--json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    json(&output.stdout)
}

/// The error of an import that writes nothing.
fn refusal(rig: &Rig, arguments: &[&str]) -> CommandOutput {
    let output = rig.run(&[&["init", "--from"], arguments].concat());
    assert_ne!(output.code, 0, "{}", output.stdout);
    assert!(!rig.project().join(".agent-team").exists());
    output
}

/// A role as the written file and the files of the project define it.
fn role(rig: &Rig, name: &str) -> Value {
    let output = rig.run(&["role", "show", name, "--json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    json(&output.stdout)
}

fn has_note(imported: &Value, note: &str) -> bool {
    let notes = imported["notes"].as_array().unwrap();
    notes.iter().any(|known| known.as_str() == Some(note))
}

#[track_caller]
fn assert_notes(imported: &Value, notes: &[&str]) {
    for note in notes {
        assert!(has_note(imported, note), "{note}\n{:#}", imported["notes"]);
    }
}

const REVIEWER: &str = "---\nname: code-reviewer\ndescription: Reviews changes\ntools: Read, Grep, Bash\n\
                        model: sonnet\npermissionMode: bypassPermissions\nhooks:\n  Stop:\n    - x\ncolor: purple\n---\n\
                        Review the change.\n";

#[test]
fn agents_of_claude_code_become_members() {
    let rig = rig(&[
        (".claude/agents/reviewer.md", REVIEWER),
        (".claude/agents/README.md", "# Our agents\n"),
        (
            "~/.claude/agents/planner-x.md",
            "---\nname: planner-x\ndescription: |\n  Plans\n  work\npermissionMode: plan\nmaxTurns: 9\neffort: high\n\
             mcpServers: [github]\n---\nSay \"\"\"hi\"\"\" and {{name}}.\n\\d \t`x`\n",
        ),
        (
            "~/.claude/agents/code-reviewer.md",
            "---\nname: code-reviewer\n---\nAnother.\n",
        ),
    ]);
    let imported = import(&rig, "claude");
    assert_eq!(
        imported["members"],
        document!(["code-reviewer", "planner-x"])
    );
    assert_eq!(
        imported["roles"],
        document!(["planner-x"]),
        "a role that is used in place was imported"
    );
    assert_notes(
        &imported,
        &[
            ".claude/agents/README.md:1:1: is not imported: a file without front matter is not an agent",
            ".claude/agents/reviewer.md:5:1: `model: sonnet` becomes anthropic/claude-sonnet-4-6",
            ".claude/agents/reviewer.md:6:1: `permissionMode: bypassPermissions` is refused: a role cannot skip permission requests",
            ".claude/agents/reviewer.md:7:1: `hooks` is ignored: add the hooks to [hooks] of the team file",
            "~/.claude/agents/planner-x.md:9:1: `mcpServers` is ignored: add the servers to [mcp] of the team file",
            "~/.claude/agents/planner-x.md:2:1: `{{name}}` is written as `{ {name}}`: double braces mark variables in a team file",
            "~/.claude/agents/code-reviewer.md:2:1: agent code-reviewer is not imported: .claude/agents/reviewer.md defines the same name",
            "the mailboxes and tasks in ~/.claude/teams are not imported, and no message is exchanged with them",
        ],
    );
    let planner = role(&rig, "planner-x");
    assert_eq!(planner["from"], "team_file");
    assert_eq!(planner["description"], "Plans work");
    assert_eq!(
        planner["prompt"],
        "Say \"\"\"hi\"\"\" and { {name}}.\n\\d \t`x`"
    );
    assert_eq!(
        (&planner["max_steps"], &planner["effort"]),
        (&document!(9), &document!("high"))
    );
    let tools = planner["tools"].as_array().unwrap();
    assert!(tools.contains(&document!("read")) && !tools.contains(&document!("bash")));
    let reviewer = role(&rig, "code-reviewer");
    assert_eq!(
        (&reviewer["from"], &reviewer["colour"]),
        (&document!("claude"), &document!("violet"))
    );
    // Each note is also a comment of the file.
    let text = fs::read_to_string(rig.project().join(".agent-team/team.toml")).unwrap();
    for note in imported["notes"].as_array().unwrap() {
        assert!(
            text.contains(&format!("# - {}\n", note.as_str().unwrap())),
            "{note}"
        );
    }
    assert!(rig.nothing_was_started());
}

#[test]
fn a_claude_code_team_of_the_project_becomes_the_team() {
    let rig = rig(&[(".claude/agents/reviewer.md", REVIEWER)]);
    fs::create_dir(rig.project().join("web")).unwrap();
    let project = rig.project().canonicalize().unwrap();
    let config = document!({
        "name": "Payments!", "createdAt": 1, "leadAgentId": "team-lead@p",
        "members": [
            {"agentId": "team-lead@p", "name": "team-lead", "agentType": "team-lead", "joinedAt": 1, "tmuxPaneId": "",
             "cwd": project, "subscriptions": []},
            {"agentId": "ada@p", "name": "ada", "agentType": "code-reviewer", "color": "blue", "joinedAt": 2,
             "prompt": "Look at the API.\nThen report.", "model": "opus", "planModeRequired": true, "tmuxPaneId": "%1",
             "cwd": project.join("web"), "isActive": true},
            {"agentId": "eve@p", "name": "eve", "agentType": "plugin:expert", "cwd": "/", "mode": "bypassPermissions"},
            {"agentId": "kay@p", "name": "kay", "agentType": "general-purpose", "mode": "plan"}
        ]
    });
    write(&rig, "~/.claude/teams/p/config.json", config.to_string());
    write(
        &rig,
        "~/.claude/teams/p/inboxes/ada.json",
        "[{\"text\": \"hello\"}]",
    );
    write(
        &rig,
        "~/.claude/teams/other/config.json",
        "{\"members\": [{\"name\": \"zoe\", \"cwd\": \"/\"}]}",
    );
    let imported = import(&rig, "claude");
    assert_eq!(imported["members"], document!(["ada", "eve", "kay"]));
    let text = imported["text"].as_str().unwrap();
    for part in [
        "name = \"payments\"\n",
        "[lead]\nname = \"team-lead\"\n",
        "name = \"ada\"\nrole = \"code-reviewer\"\nmodel = \"anthropic/claude-opus-4-6\"\ncolour = \"blue\"\ncwd = \"web\"\n\
         plan = \"required\"\nprompt = \"\"\"\nLook at the API.\nThen report.\"\"\"\n",
        "name = \"eve\"\nrole = \"explorer\"\n",
        "name = \"kay\"\nrole = \"worker\"\ntools = [",
    ] {
        assert!(text.contains(part), "{part}\n{text}");
    }
    assert!(!text.contains("hello"));
    let shown = "~/.claude/teams/p/config.json:1:";
    for note in [
        "`tmuxPaneId` is ignored: it describes the running team (2 times)",
        "`createdAt` is ignored: it describes the running team",
        "agent type \"plugin:expert\" is defined in none of the files: the member gets the role explorer, which only reads",
        "`mode: bypassPermissions` is refused: a role cannot skip permission requests",
        "`cwd: /` is ignored: it is not a directory of this project, so the member works in the project",
    ] {
        let notes = imported["notes"].as_array().unwrap();
        let named = notes.iter().filter_map(Value::as_str);
        let mut named = named.filter(|known| known.starts_with(shown) && known.ends_with(note));
        assert!(named.next().is_some(), "{note}\n{:#}", imported["notes"]);
    }
}

#[test]
fn a_role_of_the_project_widens_no_agent_type() {
    let rig = rig(&[(
        ".agent-team/roles/explorer.md",
        "---\nname: explorer\ntools: [bash, read]\n---\nWork.\n",
    )]);
    let config = document!({"members": [
        {"name": "eve", "agentType": "plugin:expert", "cwd": rig.project()},
        {"name": "kay", "agentType": "Explore", "cwd": rig.project()}
    ]});
    write(&rig, "~/.claude/teams/p/config.json", config.to_string());
    let imported = import(&rig, "claude");
    let text = imported["text"].as_str().unwrap();
    for name in ["eve", "kay"] {
        let part = format!("name = \"{name}\"\nrole = \"explorer\"\ntools = [\"read\"]\n");
        assert!(text.contains(&part), "{part}\n{text}");
    }
}

#[test]
fn a_team_of_another_project_is_imported_by_its_name() {
    let rig = rig(&[
        (
            "~/.qwen/teams/one/config.json",
            "{\"members\": [\n{\"name\": \"ada\"}]}",
        ),
        (
            "~/.qwen/teams/two/config.json",
            "{\"members\": [\n{\"name\": \"ben\", \"readOnly\": true, \"agentType\": \"Explore\"}],\n\"teamAllowedPaths\": []}",
        ),
        (".qwen/agents/x.md", "---\nname: x\n---\nX.\n"),
    ]);
    let dry = rig.run(&["init", "--from", "qwen", "--dry-run", "--json"]);
    let dry = json(&dry.stdout);
    assert_eq!(
        (&dry["members"], &dry["path"]),
        (&document!(["x"]), &Value::Null)
    );
    assert_notes(
        &dry,
        &[
            "~/.qwen/teams:1:1: the members of these teams are not imported, because no member works in this project: \
           one, two; --from-team NAME imports one of them",
        ],
    );
    assert!(!rig.project().join(".agent-team").exists());
    let unknown = refusal(&rig, &["qwen", "--from-team", "../two"]);
    assert!(
        unknown.stderr.contains("there is no team \"../two\""),
        "{}",
        unknown.stderr
    );
    let output = rig.run(&["init", "--from", "qwen", "--from-team", "two", "--json"]);
    let imported = json(&output.stdout);
    assert_eq!(imported["members"], document!(["ben"]));
    assert_notes(
        &imported,
        &[
            "~/.qwen/teams/two/config.json:3:1: `teamAllowedPaths` is refused: it allows calls without a decision",
        ],
    );
}

#[test]
fn agents_of_qwen_code_gain_no_rights() {
    let rig = rig(&[
        (
            ".qwen/agents/tester.md",
            "---\nname: Test_Expert\ndescription: \"Tests: all\"\nmodel: openai:gpt-4o\napprovalMode: yolo\ntools:\n  - read_file\n\
             \x20 - write_file\n  - run_shell_command\n  - save_memory\n  - Bash(git log:*)\n  - KillShell\nrunConfig:\n  max_turns: 3\ncolor: auto\n---\nTest.\n",
        ),
        (
            "~/.qwen/agents/safe.md",
            "---\nname: safe\nmodel: my-model\napprovalMode: auto-edit\ndisallowedTools:\n  - edit\n  - KillShell\n---\nWork.\n",
        ),
    ]);
    let imported = import(&rig, "qwen");
    assert_eq!(imported["members"], document!(["test-expert", "safe"]));
    assert_notes(
        &imported,
        &[
            ".qwen/agents/tester.md:2:1: role \"Test_Expert\" is renamed to test-expert",
            ".qwen/agents/tester.md:4:1: `model: openai:gpt-4o` becomes openai/gpt-4o",
            ".qwen/agents/tester.md:5:1: `approvalMode: yolo` is refused: a role cannot skip permission requests",
            ".qwen/agents/tester.md:10:5: unknown tool \"save_memory\" is ignored",
            ".qwen/agents/tester.md:11:5: `Bash(git log:*)` is ignored: a role cannot limit a tool to some arguments",
            ".qwen/agents/tester.md:13:1: `runConfig` is ignored: agent-team has no such key",
            ".qwen/agents/tester.md:15:1: `color: auto` is ignored: agent-team has no such colour",
            "~/.qwen/agents/safe.md:3:1: `model: my-model` is not known: the team's model is used",
            "~/.qwen/agents/safe.md:4:1: `approvalMode: auto-edit` is ignored: the mode of the team decides about edits",
        ],
    );
    let tools = role(&rig, "test-expert")["tools"].clone();
    let named = |name: &str| tools.as_array().unwrap().contains(&document!(name));
    assert!(named("bash") && named("read") && named("write") && !named("edit") && !named("fetch"));
    let safe = role(&rig, "safe");
    assert_eq!(safe["tools"], Value::Null);
    let denied = safe["deny_tools"].as_array().unwrap();
    assert!(denied.contains(&document!("edit")) && denied.contains(&document!("bash")));
}

#[test]
fn each_spelling_of_a_limit_is_kept() {
    let rig = rig(&[
        (
            ".qwen/agents/lines.md",
            "---\nname: lines\ndisallowedTools: [Bash, # why\n  Edit, # why\n  mcp__db__*] # why\n---\nWork.\n",
        ),
        (
            ".qwen/agents/both.md",
            "---\nname: both\ntools: Read, Grep\nallowed_tools: Bash, Read\ndisallowedTools: Edit\ndisallowed_tools: Write\n\
             ---\nWork.\n",
        ),
        (
            ".qwen/agents/argument.md",
            "---\nname: argument\ntools: Bash(echo a, Write, b), Read\n---\nWork.\n",
        ),
        (
            ".qwen/agents/reads.md",
            "---\nname: reads\nread_only: True\n---\nWork.\n",
        ),
    ]);
    import(&rig, "qwen");
    let has = |agent: &str, key: &str, tool: &str| {
        let tools = role(&rig, agent)[key].clone();
        tools.as_array().unwrap().contains(&document!(tool))
    };
    for tool in ["bash", "edit", "mcp__db"] {
        assert!(has("lines", "deny_tools", tool), "{tool}");
    }
    assert!(has("both", "tools", "read") && !has("both", "tools", "bash"));
    assert!(has("both", "deny_tools", "edit") && has("both", "deny_tools", "write"));
    assert!(has("argument", "tools", "read") && !has("argument", "tools", "write"));
    assert!(has("reads", "tools", "read") && !has("reads", "tools", "write"));
}

#[test]
fn roles_and_teams_of_nyzhi_are_imported() {
    let rig = rig(&[
        (
            ".nyzhi/agents/scout.md",
            "---\nread_only: true\nallowed_tools: [read, bash]\n---\nScout.\n",
        ),
        (
            ".claude/agents/scout.md",
            "---\nname: scout\n---\nOf Claude.\n",
        ),
        (
            ".nyzhi/config.toml",
            "[agent.trust]\nmode = \"full\"\n[agent.agents]\nmax_threads = 4\n[agent.agents.roles.smith]\n\
             description = \"Makes\"\nsystem_prompt = \"Make it.\"\nmax_steps = 7\nallowed_tools = [\"read\", \"edit\", \"lsp_diagnostics\"]\n\
             config_file = \"x\"\n",
        ),
        (
            "~/.config/nyzhi/config.toml",
            "[agent.agents.roles.smith]\ndescription = \"Of the user\"\n",
        ),
        (
            "~/.nyzhi/teams/t/config.json",
            "{\"name\": \"t\", \"created_at\": \"now\", \"default_role\": \"smith\", \"max_steps\": 20, \"members\": [\n\
             {\"name\": \"boss\", \"agentId\": null, \"agentType\": \"leader\", \"color\": \"#e06c75\"},\n\
             {\"name\": \"ada\", \"agentType\": \"teammate\", \"color\": \"red\"},\n\
             {\"name\": \"ben\", \"agentType\": \"teammate\", \"color\": \"red\", \"role\": \"reviewer\"}]}",
        ),
    ]);
    let output = rig.run(&["init", "--from", "nyzhi", "--from-team", "t", "--json"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    let imported = json(&output.stdout);
    assert_eq!(imported["members"], document!(["ada", "ben"]));
    assert_eq!(
        imported["roles"],
        document!(["scout", "smith"]),
        "Claude's file hides scout"
    );
    assert_notes(
        &imported,
        &[
            ".claude/agents/scout.md:2:1: agent scout is not imported: .nyzhi/agents/scout.md defines the same name",
            ".nyzhi/config.toml:2:1: `trust.mode = full` is refused: it skips permission requests",
            ".nyzhi/config.toml:4:1: `max_threads` is ignored: set `teammates` in [limits] of the team file",
            ".nyzhi/config.toml:10:1: `config_file` is ignored: agent-team has no such key",
            "~/.config/nyzhi/config.toml:1:21: agent smith is not imported: .nyzhi/config.toml defines the same name",
        ],
    );
    let text = imported["text"].as_str().unwrap();
    assert!(text.contains("[lead]\nname = \"boss\"\n\n"), "{text}");
    assert!(
        text.contains("name = \"ada\"\nrole = \"smith\"\n"),
        "{text}"
    );
    assert!(
        text.contains("name = \"ben\"\nrole = \"reviewer\"\n"),
        "{text}"
    );
    let scout = role(&rig, "scout");
    assert_eq!(
        (&scout["prompt"], &scout["from"]),
        (&document!("Scout."), &document!("team_file"))
    );
    assert!(
        !scout["tools"]
            .as_array()
            .unwrap()
            .contains(&document!("bash"))
    );
}

#[test]
fn agents_of_codex_are_imported() {
    let rig = rig(&[
        (
            ".codex/agents/code_explorer.toml",
            "name = \"code_explorer\"\ndescription = \"Traces\"\nsandbox_mode = \"read-only\"\nmodel = \"gpt-5.1-codex\"\n\
             model_reasoning_effort = \"xhigh\"\nnickname_candidates = [\"Atlas\"]\nweb_search = \"disabled\"\n\
             developer_instructions = \"\"\"\nTrace \\\\ it.\nCite.\n\"\"\"\n[mcp_servers.x]\ncommand = \"x\"\n",
        ),
        (
            ".codex/config.toml",
            "model_provider = \"openai\"\n[agents]\nmax_threads = 3\n[agents.fixer]\ndescription = \"Fixes\"\nconfig_file = \"roles/fixer.toml\"\n\
             [profiles.fast]\nmodel = \"x\"\n",
        ),
        (
            ".codex/roles/fixer.toml",
            "sandbox_mode = \"danger-full-access\"\napproval_policy = \"never\"\nmodel_provider = \"my-proxy\"\nmodel = \"gpt-5\"\n\
             developer_instructions = \"Fix.\"\n",
        ),
        (
            "~/.codex/agents/deep/own.toml",
            "name = \"own\"\ndeveloper_instructions = \"Own.\"\n",
        ),
    ]);
    let imported = import(&rig, "codex");
    assert_eq!(
        imported["members"],
        document!(["fixer", "code-explorer", "own"])
    );
    assert_notes(
        &imported,
        &[
            ".codex/agents/code_explorer.toml:1:1: role \"code_explorer\" is renamed to code-explorer",
            ".codex/agents/code_explorer.toml:4:1: `model = gpt-5.1-codex` becomes openai/gpt-5.1-codex",
            ".codex/agents/code_explorer.toml:5:1: `model_reasoning_effort = xhigh` becomes high",
            ".codex/agents/code_explorer.toml:6:1: `nickname_candidates` is ignored: members have the names of the team file",
            ".codex/config.toml:3:1: `max_threads` is ignored: set its counterpart in [defaults] or [limits] of the team file",
            ".codex/config.toml:7:2: `profiles` is ignored: a profile configures a whole session",
            ".codex/roles/fixer.toml:1:1: `sandbox_mode = danger-full-access` is refused: the permissions of the team apply",
            ".codex/roles/fixer.toml:2:1: `approval_policy = never` is refused: a role cannot skip permission requests",
            ".codex/roles/fixer.toml:4:1: `model = gpt-5` is not known with the provider my-proxy: the team's model is used",
        ],
    );
    let explorer = role(&rig, "code-explorer");
    assert_eq!(explorer["prompt"], "Trace \\ it.\nCite.");
    assert_eq!(explorer["model"], "openai/gpt-5.1-codex");
    let tools = explorer["tools"].as_array().unwrap();
    assert!(!tools.contains(&document!("bash")) && !tools.contains(&document!("write")));
    assert!(
        explorer["deny_tools"]
            .as_array()
            .unwrap()
            .contains(&document!("fetch"))
    );
    let fixer = role(&rig, "fixer");
    assert_eq!(
        (&fixer["description"], &fixer["model"]),
        (&document!("Fixes"), &Value::Null)
    );
}

#[test]
fn an_existing_file_is_never_changed() {
    let agent = (".claude/agents/reviewer.md", REVIEWER);
    let project = rig(&[agent, (".agent-team/team.toml", "# mine\n")]);
    let output = project.run(&["init", "--from", "claude"]);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert!(
        output
            .stderr
            .contains(".agent-team/team.toml already exists")
            && output.stderr.contains("--dry-run"),
        "{}",
        output.stderr
    );
    let file = project.project().join(".agent-team/team.toml");
    assert_eq!(fs::read_to_string(&file).unwrap(), "# mine\n");
    assert_eq!(
        project.run(&["init", "--from", "claude", "--dry-run"]).code,
        0
    );
    // A link without a target is an existing file too.
    fs::remove_file(&file).unwrap();
    symlink("absent", &file).unwrap();
    assert_eq!(project.run(&["init", "--from", "claude"]).code, 4);

    let project = rig(&[agent, (".agent-team/roles/code-reviewer.md", "Mine.\n")]);
    let output = project.run(&["init", "--from", "claude"]);
    assert!(
        output
            .stderr
            .contains("already exists in .agent-team/roles/code-reviewer.md"),
        "{}",
        output.stderr
    );
    assert!(!project.project().join(".agent-team/team.toml").exists());

    let project = rig(&[agent, ("~/outside/x", "")]);
    symlink("../outside", project.project().join(".agent-team")).unwrap();
    let output = project.run(&["init", "--from", "claude"]);
    assert_eq!(output.code, 4, "{}", output.stderr);
    assert_eq!(
        fs::read_dir(project.directory.path().join("outside"))
            .unwrap()
            .count(),
        1
    );
}

#[test]
fn errors_name_bad_files_with_their_lines() {
    let large = "x".repeat(10 << 20);
    for (program, file, text, expected) in [
        (
            "claude",
            ".claude/agents/a.md",
            "---\nname: a\n",
            "a.md:1:1: the front matter has no closing line",
        ),
        (
            "claude",
            ".claude/agents/a.md",
            "---\nname: a\nb\n---\n",
            "a.md:3:1: a line of the front matter",
        ),
        (
            "qwen",
            ".qwen/agents/a.md",
            "---\nname: a\n\"disallowedTools\": [Bash]\n---\n",
            "a.md:3:1: key `\"disallowedTools\"` cannot be read",
        ),
        (
            "qwen",
            ".qwen/agents/a.md",
            "---\nname: a\ndisallowedTools: *all\n---\n",
            "a.md:3:1: `disallowedTools` cannot be read",
        ),
        (
            "qwen",
            "~/.qwen/agents/a.md",
            "---\nname: a\nname: b\n---\n",
            "~/.qwen/agents/a.md:3:1: key `name` is already set on line 2",
        ),
        (
            "qwen",
            ".qwen/agents/a.md",
            "---\nname: a\n---\nx\0y",
            "a.md:4:1: contains a zero byte",
        ),
        (
            "qwen",
            ".qwen/agents/a.md",
            &large,
            "a.md:1:1: cannot be read: larger than 1 MiB",
        ),
        (
            "qwen",
            ".qwen/agents/a.md",
            "---\nname: \u{5ba1}\u{67e5}\n---\n",
            "a.md:2:1: \"\u{5ba1}\u{67e5}\" cannot be converted to a role name",
        ),
        (
            "qwen",
            ".qwen/agents/a.md",
            "---\nname: Lead\n---\n",
            "a.md:2:1: \"lead\" is a reserved name",
        ),
        (
            "nyzhi",
            ".nyzhi/config.toml",
            "[agent.agents.roles.x]\nmodel = 1\n",
            "config.toml:2:9: `model` must be a string",
        ),
        (
            "codex",
            ".codex/agents/a.toml",
            "name = \"a\"\nx =\n",
            "a.toml:2:",
        ),
        (
            "codex",
            ".codex/agents/a.toml",
            "name = \"a\"\n",
            "a.toml:1:1: the agent has no `developer_instructions`",
        ),
        (
            "codex",
            ".codex/config.toml",
            "[agents.x]\nconfig_file = \"/etc/hostname\"\n",
            "config.toml:2:15: `config_file` is outside of the project",
        ),
        (
            "codex",
            ".codex/config.toml",
            "[agents.x]\nconfig_file = \"../../home/x.toml\"\n",
            "config_file",
        ),
        (
            "claude",
            "~/.claude/teams/t/config.json",
            "{\n\"members\": [}\n",
            "~/.claude/teams/t/config.json:2:13: cannot read the team",
        ),
        (
            "claude",
            "~/.claude/teams/t/config.json",
            "[1]",
            "config.json:1:",
        ),
    ] {
        let rig = rig(&[(file, text)]);
        let output = refusal(&rig, &[program]);
        assert!(
            output.stderr.contains(expected),
            "{expected}\n{}",
            output.stderr
        );
        assert_eq!(output.code, 2, "{}", output.stderr);
    }
    let rig = rig(&[]);
    write(&rig, ".claude/agents/a.md", b"---\nname: \xff\n---\n");
    let output = refusal(&rig, &["claude"]);
    assert!(
        output.stderr.contains("a.md:2:7: is not valid UTF-8"),
        "{}",
        output.stderr
    );
    let output = refusal(&Rig::new(), &["codex"]);
    assert!(
        output.stderr.contains("there is no agent or team of Codex"),
        "{}",
        output.stderr
    );
}

#[test]
fn errors_name_both_lines_of_a_repeated_name() {
    let two = rig(&[
        (".qwen/agents/a.md", "---\nname: same\n---\n"),
        (".qwen/agents/b.md", "---\nname: Same\n---\n"),
    ]);
    let output = refusal(&two, &["qwen"]);
    let expected =
        ".qwen/agents/b.md:2:1: name \"same\" is already used by the agent in .qwen/agents/a.md:2";
    assert!(output.stderr.contains(expected), "{}", output.stderr);
    for (second, expected) in [
        (
            "ada",
            "config.json:3:2: name \"ada\" is already used by the member on line 2",
        ),
        ("all", "config.json:3:2: \"all\" is a reserved name"),
    ] {
        let config =
            format!("{{\"members\": [\n{{\"name\": \"ada\"}},\n{{\"name\": \"{second}\"}}]}}");
        let rig = rig(&[("~/.claude/teams/t/config.json", &config)]);
        let output = refusal(&rig, &["claude", "--from-team", "t"]);
        assert!(
            output.stderr.contains(expected),
            "{expected}\n{}",
            output.stderr
        );
    }
}

#[test]
fn links_do_not_lead_out_of_the_project() {
    let rig = rig(&[("~/secret.md", "---\nname: a\n---\nSecret.\n")]);
    fs::create_dir_all(rig.project().join(".qwen/agents")).unwrap();
    symlink(
        rig.directory.path().join("secret.md"),
        rig.project().join(".qwen/agents/a.md"),
    )
    .unwrap();
    let output = refusal(&rig, &["qwen"]);
    assert!(
        output
            .stderr
            .contains(".qwen/agents/a.md:1:1: is a link to a file outside of the project"),
        "{}",
        output.stderr
    );
    fs::remove_dir_all(rig.project().join(".qwen")).unwrap();
    symlink(rig.directory.path(), rig.project().join(".claude")).unwrap();
    fs::create_dir(rig.directory.path().join("agents")).unwrap();
    let output = refusal(&rig, &["claude"]);
    assert!(
        output.stderr.contains("outside of the project"),
        "{}",
        output.stderr
    );
}

#[test]
fn a_team_file_that_would_be_too_large_is_refused() {
    let prompt = "\u{1}".repeat(150_000);
    let config = document!({"members": [
        {"name": "ada", "prompt": format!("a{prompt}b")}, {"name": "ben", "prompt": format!("a{prompt}b")}
    ]});
    let config = config.to_string();
    assert!(config.len() > 1 << 20);
    // Unescaped, the file is small enough to be read.
    let config = config.replace("\\u0001", "\u{7f}");
    let rig = rig(&[("~/.claude/teams/t/config.json", &config)]);
    let output = refusal(&rig, &["claude", "--from-team", "t"]);
    assert!(
        output.stderr.contains("would be larger than 1 MiB"),
        "{}",
        output.stderr
    );
}

#[test]
fn agents_above_the_teammate_limit_become_roles() {
    let rig = Rig::new();
    for number in 0..11 {
        let text = format!("---\nname: agent-{number}\ndescription: \u{1b}[31mred\n---\nWork.\n");
        write(&rig, &format!(".qwen/agents/a{number}.md"), text);
    }
    let output = rig.run(&["init", "--from", "qwen"]);
    assert_eq!(output.code, 0, "{}", output.stderr);
    assert!(
        output.stdout.contains("0 members, 11 roles"),
        "{}",
        output.stdout
    );
    let text = fs::read_to_string(rig.project().join(".agent-team/team.toml")).unwrap();
    assert!(
        !text.contains("[[member]]") && text.contains("[roles.agent-10]"),
        "{text}"
    );
    assert!(!text.contains('\u{1b}'), "{text}");
}

#[test]
fn codex_home_sets_the_directory_of_codex() {
    let rig = rig(&[(
        "~/moved/agents/a.toml",
        "name = \"a\"\ndeveloper_instructions = \"A.\"\n",
    )]);
    let mut command = rig.command(&["init", "--from", "codex", "--json"]);
    command.env("CODEX_HOME", rig.directory.path().join("moved"));
    let imported = json(&String::from_utf8(command.output().unwrap().stdout).unwrap());
    assert_eq!(imported["members"], document!(["a"]));
    let other = rig.run(&["init", "--from", "cursor"]);
    assert_eq!(other.code, 2);
    assert!(
        other.stderr.contains("claude, qwen, nyzhi, codex"),
        "{}",
        other.stderr
    );
    assert_eq!(rig.run(&["init", "--from", "codex", "--list"]).code, 2);
    assert_eq!(rig.run(&["init", "--dry-run"]).code, 2);
    assert_eq!(
        rig.run(&["init", "--template", "agents", "--dry-run"]).code,
        2
    );
}
