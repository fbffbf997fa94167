//! Tests of the keys of agents, of roles, and of the lead.

use std::fs;
use std::path::Path;

use agent_team_protocol::engine::Engine;
use agent_team_protocol::spec::{
    AgentSpec, Budget, ClaimPolicy, DelegateSpec, MemberSpec, Strategy, TeamSpec,
};
use agent_team_protocol::value::Effort;

use super::super::{LoadTeamError, RoleDefinition, roles};
use super::{Loaded, Reading, Variables, faults_in, faults_of, parse, project, read_in, reading};

pub(super) fn member<'a>(spec: &'a TeamSpec, name: &str) -> &'a MemberSpec {
    let mut members = spec.members.iter();
    members
        .find(|member| member.name.as_str() == name)
        .unwrap_or_else(|| panic!("{name} is in the team"))
}

fn names(spec: &TeamSpec) -> Vec<&str> {
    let members = spec.members.iter();
    members.map(|member| member.name.as_str()).collect()
}

fn read_with(project: &Path, text: &str, variables: &[(&str, &str)]) -> Loaded {
    let pair = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    let variables: Variables = variables.iter().map(pair).collect();
    let project = project.canonicalize().unwrap();
    reading(&project, &variables, |reading| {
        parse("team.toml", text, &project, reading)
    })
    .unwrap()
}

fn views(
    project: &Path,
    settings: Option<&Path>,
    file: bool,
) -> Result<Vec<RoleDefinition>, LoadTeamError> {
    let project = project.canonicalize().unwrap();
    let path = project.join(".agent-team/team.toml");
    let reading = Reading {
        here: &project,
        settings,
        variables: None,
        overrides: None,
    };
    roles(file.then_some(path.as_path()), &project, reading)
}

const AGENTS: &str = r#"
[lead]
name = "grace"
model = "anthropic/claude-opus-4-6"

[defaults]
engine = "native"
model = "openai/gpt-5"
fallback_minutes = 5
max_steps = 40
effort = "low"
compact = "claude-haiku-4-5"
delegate = true

[[member]]
name = "ada"
role = "front"
prompt = "Mind the forms."
deny_tools = ["fetch"]

[[member]]
name = "bob"
effort = "none"
compact = "ollama/qwen3:8b"
delegate = { model = "gpt-5.1", steps = 5 }
model = ["ollama/qwen3:8b", "gpt-5.1"]
fallback_minutes = 0.5
max_steps = 7
tools = ["read", "bash"]

[roles.front]
description = "Knows CSS"
effort = "high"
delegate = false
prompt = "You write CSS."
tools = ["read", "edit"]
deny_tools = ["web_search"]
"#;

#[test]
fn an_agent_combines_role_and_member_keys() {
    let project = project();
    let spec = read_in(project.path(), AGENTS).unwrap();
    assert_eq!(names(&spec), ["grace", "ada", "bob"]);
    assert!(
        spec.members
            .iter()
            .all(|member| member.engine == Engine::Native)
    );

    let ada = &member(&spec, "ada").agent;
    let strings = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        *ada,
        AgentSpec {
            model: Some("openai/gpt-5".to_owned()),
            fallbacks: Vec::new(),
            fallback_ms: Some(300_000),
            effort: Some(Effort::High),
            compact: Some("anthropic/claude-haiku-4-5".to_owned()),
            delegate: None,
            description: "Knows CSS".to_owned(),
            prompt: "You write CSS.\n\nMind the forms.".to_owned(),
            max_steps: Some(40),
            tools: Some(strings(&["read", "edit", "notes", "skill"])),
            deny_tools: strings(&["fetch", "web_search"]),
            must_plan: false,
            network: false,
            instructions: Vec::new(),
            skills: Vec::new(),
            commands: Vec::new(),
            may_spawn: None,
            mcp: Vec::new(),
            mcp_host: None,
            hooks: Vec::new(),
            search: None,
            guarded: Vec::new(),
            kept: Vec::new(),
            may_allow: false,
            provider_may_search: false,
            bypass: false,
            providers: Default::default(),
            external: None,
            strategy: None,
            record: None,
        }
    );
    let bob = &member(&spec, "bob").agent;
    let grace = &member(&spec, "grace").agent;
    assert_eq!(bob.fallbacks, ["openai/gpt-5.1"]);
    assert_eq!(bob.fallback_ms, Some(30_000));
    assert_eq!(bob.compact.as_deref(), Some("ollama/qwen3:8b"));
    let helpers = DelegateSpec {
        model: Some("openai/gpt-5.1".to_owned()),
        steps: 5,
        ..DelegateSpec::default()
    };
    assert_eq!(bob.delegate, Some(helpers));
    assert_eq!(grace.delegate, Some(DelegateSpec::default()));
    assert_eq!(
        (bob.effort, grace.effort),
        (Some(Effort::None), Some(Effort::Low))
    );
    assert_eq!(
        (bob.model.as_deref(), bob.max_steps),
        (Some("ollama/qwen3:8b"), Some(7))
    );
    assert_eq!(
        bob.tools,
        Some(strings(&[
            "read",
            "bash",
            "bash_kill",
            "bash_output",
            "notes",
            "skill"
        ])),
        "a tool includes its companion tools"
    );
    assert!(
        bob.prompt.starts_with("You complete tasks."),
        "{}",
        bob.prompt
    );

    let grace = member(&spec, "grace");
    assert_eq!(
        grace.agent.model.as_deref(),
        Some("anthropic/claude-opus-4-6")
    );
    assert_eq!(
        (grace.claim, member(&spec, "ada").claim),
        (ClaimPolicy::Assigned, ClaimPolicy::Ready),
        "a lead that is an agent takes only assigned tasks"
    );
    let front = spec
        .roles
        .iter()
        .find(|role| role.name.as_str() == "front")
        .unwrap();
    assert_eq!(
        (front.engine, front.agent.model.as_deref()),
        (Engine::Native, Some("openai/gpt-5"))
    );
}

#[test]
fn a_team_of_agents_has_a_lead() {
    let with_lead = [
        "[[member]]\nname = \"ada\"\nmodel = \"openai/gpt-5\"\n",
        "[[member]]\nname = \"ada\"\nprompt = \"p\"\n",
        "[[member]]\nname = \"ada\"\nrole = \"reviewer\"\n",
        "[[member]]\nname = \"ada\"\n[defaults]\nmodel = \"openai/gpt-5\"\n",
        "mode = \"lead\"\n[[member]]\nname = \"ada\"\n",
    ];
    for text in with_lead {
        let spec = read_in(project().path(), text).unwrap();
        assert_eq!(names(&spec), ["lead", "ada"], "{text}");
        let (lead, ada) = (&spec.members[0], &spec.members[1]);
        assert!(lead.lead && lead.engine == Engine::Native, "{text}");
        assert!(
            lead.agent.prompt.contains("answer for the result"),
            "{text}"
        );
        assert_eq!(ada.engine, Engine::Native, "{text}");
    }
    let spec = read_in(project().path(), "mode = \"lead\"\n").unwrap();
    assert_eq!(names(&spec), ["lead"]);
}

#[test]
fn a_team_of_command_members_gets_no_lead() {
    for text in [
        "[[member]]\nname = \"ada\"\n",
        "[[member]]\nname = \"ada\"\nengine = \"command\"\n[roles.worker]\nengine = \"command\"\n",
        "[lead]\n[[member]]\nname = \"ada\"\n",
        "mode = \"manual\"\n[[member]]\nname = \"ada\"\n",
    ] {
        let spec = read_in(project().path(), text).unwrap();
        for member in &spec.members {
            assert_eq!(
                (member.engine, &member.agent),
                (Engine::Command, &AgentSpec::default()),
                "{text}"
            );
        }
        assert_eq!(
            spec.members.iter().any(|member| member.lead),
            text.contains("[lead]"),
            "{text}"
        );
    }
    let alone = "mode = \"manual\"\n[[member]]\nname = \"ada\"\nprompt = \"p\"\n";
    assert_eq!(
        names(&read_in(project().path(), alone).unwrap()),
        ["ada"],
        "manual means no lead"
    );
}

#[test]
fn limits_apply_to_the_team_and_to_agents() {
    let spec = read_in(
        project().path(),
        "[limits]\ntokens = 1_000_000\nusd = 5\n[lead]\nlimits.minutes = 1.5\n\
         [[member]]\nname = \"ada\"\nengine = \"native\"\nlimits = { usd = 0.25, tokens = 9 }\n",
    )
    .unwrap();
    let team = Budget {
        tokens: Some(1_000_000),
        micro_usd: Some(5_000_000),
        work_ms: None,
    };
    assert_eq!(spec.limits.budget, team);
    assert_eq!(member(&spec, "lead").budget.work_ms, Some(90_000));
    let ada = Budget {
        tokens: Some(9),
        micro_usd: Some(250_000),
        work_ms: None,
    };
    assert_eq!(member(&spec, "ada").budget, ada);
}

#[test]
fn invalid_agent_keys_are_faults_with_positions() {
    let ada = "[[member]]\nname = \"ada\"\n";
    for (text, expected) in [
        (
            format!("{ada}engine = \"command\"\nprompt = \"p\""),
            "team.toml:4:10: `prompt` applies only to agents, but `engine = \"command\"` runs commands | set engine = \"native\", or remove `engine`",
        ),
        (
            format!("{ada}engine = \"command\"\nlimits.usd = 1"),
            "team.toml:4:1: `limits` applies only to agents, but `engine = \"command\"` runs commands | set engine = \"native\", or remove `engine`",
        ),
        (
            "[limits]\nusd = 0\ntokens = 1.5".to_owned(),
            "team.toml:2:7: `usd` must be a number above 0\nteam.toml:3:10: `tokens` must be a whole number, not a decimal number",
        ),
        (
            "[roles.x]\nengine = \"command\"\nmodel = \"openai/b\"".to_owned(),
            "team.toml:3:9: `model` applies only to agents, but `engine = \"command\"` runs commands | set engine = \"native\", or remove `engine`",
        ),
        (
            format!("mode = \"lead\"\n{ada}[lead]\nengine = \"command\""),
            "team.toml:5:10: with `mode = \"lead\"` the lead must be an agent, but this engine is for commands and programs | set engine = \"native\", or mode = \"manual\"",
        ),
        (
            format!("{ada}model = \"gpt 5\""),
            "team.toml:3:9: `model`: a model's name cannot contain spaces or control characters: \"gpt 5\" | write provider/model, such as \"anthropic/claude-sonnet-5-5\", or \"replay:FILE\"",
        ),
        (
            format!("{ada}model = \"replay:runs/one.jsonl\""),
            "team.toml:3:9: `model`: recording PROJECT/runs/one.jsonl does not exist | relative paths start at the project directory",
        ),
        (
            format!("{ada}tools = [\"read\", \"gerp\"]"),
            "team.toml:3:18: `tools`: there is no tool \"gerp\" | did you mean `grep`?",
        ),
        (
            format!("{ada}deny_tools = [\"shell\"]"),
            "team.toml:3:15: `deny_tools`: there is no tool \"shell\" | expected one of: apply_patch, bash, edit, fetch, git_diff, git_status, glob, grep, note, read, todo, web_search, write",
        ),
        (
            format!("{ada}max_steps = 0"),
            "team.toml:3:13: `max_steps` must be from 1 to 2147483647",
        ),
        (
            format!("{ada}prompt = \"\"\"\nUse {{{{lang}}}}\nand {{{{ style }}}}.\"\"\""),
            "team.toml:4:5: there is no value for `{{lang}}` | pass --var lang=VALUE\n\
             team.toml:5:5: there is no value for `{{style}}` | pass --var style=VALUE",
        ),
    ] {
        assert_eq!(faults_of(&text), expected, "of:\n{text}");
    }
}

#[test]
fn recordings_get_absolute_paths() {
    let project = project();
    fs::write(project.path().join("one.jsonl"), "").unwrap();
    let text = "[[member]]\nname = \"ada\"\ncwd = \"web\"\nmodel = \"replay:one.jsonl\"\n";
    let spec = read_in(project.path(), text).unwrap();
    let path = project.path().canonicalize().unwrap().join("one.jsonl");
    let expected = format!("replay:{}", path.display());
    assert_eq!(member(&spec, "ada").agent.model, Some(expected));
}

#[test]
fn variables_are_replaced_in_all_prompts() {
    let project = project();
    let roles = project.path().join(".agent-team/roles");
    fs::write(roles.join("poet.md"), "You write in {{lang}}.\n").unwrap();
    let text = "[[member]]\nname = \"ada\"\nrole = \"poet\"\nprompt = \"Be {{ mood }}.\"\n";
    let loaded = read_with(
        project.path(),
        text,
        &[("lang", "Greek"), ("mood", "brief")],
    );
    assert_eq!(
        member(&loaded.spec, "ada").agent.prompt,
        "You write in Greek.\n\nBe brief."
    );

    let faults = faults_in(
        project.path(),
        "[[member]]\nname = \"ada\"\nrole = \"poet\"\n",
    );
    assert_eq!(
        faults,
        ".agent-team/roles/poet.md:1:14: there is no value for `{{lang}}` | pass --var lang=VALUE"
    );
}

#[test]
fn an_imported_role_is_mapped_with_warnings() {
    let project = project();
    let agents = project.path().join(".claude/agents");
    fs::create_dir_all(&agents).unwrap();
    fs::write(
        agents.join("helper.md"),
        "---\nname: Code Helper\ndescription: Helps\nmodel: sonnet\n\
         tools: Read, Grep, Bash(git log:*), TodoWrite, Task, NotebookEdit\n\
         permissionMode: dontAsk\ncolor: purple\n---\nKeep {{this}}.\n",
    )
    .unwrap();
    fs::write(
        agents.join("same.md"),
        "---\nname: same\nmodel: inherit\n---\nAs you are.\n",
    )
    .unwrap();
    let nyzhi = project.path().join(".nyzhi/agents");
    fs::create_dir_all(&nyzhi).unwrap();
    fs::write(
        nyzhi.join("looker.md"),
        "---\nread_only: true\nallowed_tools:\n  - read\n  - edit\nmax_steps: 9\n---\nLook.\n",
    )
    .unwrap();

    let text = "[defaults]\nmodel = \"openai/gpt-5\"\n\
                [[member]]\nname = \"ada\"\nrole = \"code-helper\"\n\
                [[member]]\nname = \"bob\"\nrole = \"same\"\n\
                [[member]]\nname = \"cid\"\nrole = \"looker\"\n";
    let Loaded { spec, warnings, .. } = read_with(project.path(), text, &[]);
    let ada = &member(&spec, "ada").agent;
    assert_eq!(ada.model.as_deref(), Some("anthropic/claude-sonnet-4-6"));
    assert_eq!(
        ada.prompt, "Keep {{this}}.",
        "unknown variables of an imported role are kept"
    );
    let tools = |name| member(&spec, name).agent.tools.clone().unwrap();
    assert_eq!(
        tools("ada"),
        ["grep", "read", "todo", "notes", "skill"],
        "never more tools than in the other program"
    );
    assert_eq!(
        member(&spec, "bob").agent.model.as_deref(),
        Some("openai/gpt-5")
    );
    assert_eq!(
        (tools("cid"), member(&spec, "cid").agent.max_steps),
        (
            ["read", "notes", "skill"].map(str::to_owned).to_vec(),
            Some(9)
        )
    );

    let faults: Vec<_> = warnings.iter().map(ToString::to_string).collect();
    assert_eq!(
        faults,
        [
            ".claude/agents/helper.md:5:1: `Bash(git log:*)` is ignored: a role cannot limit a tool to some arguments",
            ".claude/agents/helper.md:5:1: unknown tool \"NotebookEdit\" is ignored",
            ".claude/agents/helper.md:6:1: `permissionMode: dontAsk` is ignored: calls that need a decision ask the user",
            ".claude/agents/helper.md:2:1: role \"Code Helper\" is renamed to code-helper",
        ]
    );
}

#[test]
fn the_first_layer_wins_and_lists_hidden_roles() {
    let (project, home) = (project(), tempfile::tempdir().unwrap());
    let put = |base: &Path, file: &str, text: &str| {
        let path = base.join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    put(
        project.path(),
        ".agent-team/team.toml",
        "[roles.reviewer]\nprompt = \"first\"\n",
    );
    put(project.path(), ".agent-team/roles/reviewer.md", "second");
    put(project.path(), ".claude/agents/reviewer.md", "third");
    put(project.path(), ".nyzhi/agents/reviewer.md", "fourth");
    put(
        home.path(),
        "config.toml",
        "durability = \"process\"\n[roles.reviewer]\nprompt = \"fifth\"\n",
    );
    put(home.path(), "roles/reviewer.md", "sixth");
    let shown = |file: &str| home.path().join(file).display().to_string();
    let mut places = vec![
        ".agent-team/team.toml:1".to_owned(),
        ".agent-team/roles/reviewer.md".to_owned(),
        ".claude/agents/reviewer.md".to_owned(),
        ".nyzhi/agents/reviewer.md".to_owned(),
        format!("{}:2", shown("config.toml")),
        shown("roles/reviewer.md"),
        "built-in role reviewer".to_owned(),
    ];
    let prompts = [
        "first",
        "second",
        "third",
        "fourth",
        "fifth",
        "sixth",
        "You review",
    ];
    let files = [
        project.path().join(".agent-team/team.toml"),
        project.path().join(".agent-team/roles/reviewer.md"),
        project.path().join(".claude/agents/reviewer.md"),
        project.path().join(".nyzhi/agents/reviewer.md"),
        home.path().join("config.toml"),
        home.path().join("roles/reviewer.md"),
    ];
    for (step, prompt) in prompts.iter().enumerate() {
        let views = views(project.path(), Some(home.path()), step == 0).unwrap();
        let view = views
            .iter()
            .find(|view| view.name.as_str() == "reviewer")
            .unwrap();
        assert!(view.prompt.starts_with(prompt), "{step}: {}", view.prompt);
        assert_eq!(view.place, places.remove(0));
        let hidden: Vec<_> = view
            .hides
            .iter()
            .map(|hidden| hidden.place.clone())
            .collect();
        assert_eq!(hidden, places, "{step}");
        if let Some(file) = files.get(step) {
            fs::remove_file(file).unwrap();
        }
    }
}

#[test]
fn a_coordinating_role_has_no_editing_tools() {
    let project = project();
    let roles = project.path().join(".agent-team/roles");
    fs::write(roles.join("boss.md"), "---\ncoordinate: true\n---\nLead.\n").unwrap();
    let spec = read_in(project.path(), "mode = \"lead\"\n[lead]\nrole = \"boss\"\n").unwrap();
    let denied = &member(&spec, "lead").agent.deny_tools;
    assert_eq!(
        denied,
        &[
            "apply_patch",
            "bash",
            "edit",
            "write",
            "bash_kill",
            "bash_output"
        ]
    );
}

#[test]
fn invalid_front_matter_is_a_fault() {
    let project = project();
    let roles = project.path().join(".agent-team/roles");
    let member = "[[member]]\nname = \"ada\"\nrole = \"x\"\n";
    for (text, expected) in [
        (
            "---\nname: x\nYou are x.\n",
            ".agent-team/roles/x.md:3:1: a line of the front matter must be `key: value`",
        ),
        (
            "---\nname: x\n",
            ".agent-team/roles/x.md:1:1: the front matter has no closing line `---`",
        ),
        (
            "---\nname: Big X\n---\n",
            ".agent-team/roles/x.md:2:1: \"Big X\" is not a role's name: a lower-case letter, then at most 31 lower-case letters, digits or hyphens",
        ),
        (
            "---\nmax_steps: many\ncoordinate: maybe\nmodel:\n  - a\n---\n",
            ".agent-team/roles/x.md:2:1: `max_steps` must be a whole number of at least 1, not \"many\"\n\
             .agent-team/roles/x.md:3:1: `coordinate` must be true or false\n\
             .agent-team/roles/x.md:4:1: `model` must be a string on one line",
        ),
    ] {
        fs::write(roles.join("x.md"), text).unwrap();
        assert_eq!(faults_in(project.path(), member), expected, "of:\n{text}");
    }
}

#[test]
fn modes_with_rounds_set_the_leads_strategy() {
    let project = project();
    let strategy = |text: &str, variables: &[(&str, &str)]| {
        let loaded = read_with(project.path(), text, variables);
        let spec = loaded.spec;
        assert_eq!(member(&spec, "ada").agent.strategy, None);
        assert_eq!(member(&spec, "ada").engine, Engine::Native);
        member(&spec, "lead").agent.strategy.clone()
    };
    let text = "mode = \"coordinator\"\n[[member]]\nname = \"ada\"\n";
    let default_strategy = Strategy::Coordinator {
        max_rounds: 5,
        prompt: None,
    };
    assert_eq!(strategy(text, &[]), Some(default_strategy));
    let with_keys =
        format!("max_rounds = 2\ncoordinator_prompt = \"{{{{who}}}}: {{task}}\"\n{text}");
    let filled = Strategy::Coordinator {
        max_rounds: 2,
        prompt: Some("Eve: {task}".into()),
    };
    assert_eq!(strategy(&with_keys, &[("who", "Eve")]), Some(filled));
    let text = text.replace("coordinator", "collaborate");
    assert_eq!(strategy(&text, &[]), Some(Strategy::Collaborate));
    let text = text.replace("collaborate", "lead");
    assert_eq!(strategy(&text, &[]), None);
}

#[test]
fn may_spawn_comes_from_the_lead_or_its_role() {
    let project = project();
    let roles = "[roles.boss]\nmay_spawn = [\"reviewer\"]\n";
    let of = |lead: &str| {
        let spec = read_in(project.path(), &format!("mode = \"lead\"\n{lead}\n{roles}")).unwrap();
        let may = spec.members[0].agent.may_spawn.clone();
        may.map(|may| may.iter().map(ToString::to_string).collect::<Vec<_>>())
    };
    assert_eq!(of("[lead]"), None);
    assert_eq!(of("[lead]\nrole = \"boss\"").unwrap(), ["reviewer"]);
    let both = "[lead]\nrole = \"boss\"\nmay_spawn = [\"worker\", \"planner\"]";
    assert_eq!(of(both).unwrap(), ["worker", "planner"]);
    assert_eq!(of("[lead]\nmay_spawn = []").unwrap(), [""; 0]);
}

#[test]
fn the_search_of_the_file_overrides_the_users() {
    use agent_team_protocol::spec::Search;
    let (project, home) = (project(), tempfile::tempdir().unwrap());
    let of = |file: &str, config: &str| {
        std::fs::write(home.path().join("config.toml"), config).unwrap();
        let text = format!("mode = \"lead\"\n{file}");
        let reading = Reading {
            here: project.path(),
            settings: Some(home.path()),
            variables: None,
            overrides: None,
        };
        let spec = crate::of_text(&text, project.path(), reading);
        spec.map(|spec| spec.members[0].agent.search.clone())
            .map_err(|faults| faults.iter().map(ToString::to_string).collect::<String>())
    };
    let searxng = |url: &str| {
        Some(Search::Searxng {
            url: url.to_owned(),
        })
    };
    let config = "[search]\napi = \"searxng\"\nurl = \"http://here\"\n";
    assert_eq!(of("", "").unwrap(), None);
    assert_eq!(of("", config).unwrap(), searxng("http://here"));
    let file = "[search]\napi = \"none\"\n";
    assert_eq!(of(file, config).unwrap(), Some(Search::Off));
    let brave = Search::Brave {
        url: None,
        key: "BRAVE_API_KEY".to_owned(),
    };
    assert_eq!(of("[search]\napi = \"brave\"\n", "").unwrap(), Some(brave));
    for (search, why) in [
        ("", "`[search]` needs `api`"),
        ("api = \"bing\"", "\"bing\" is not a valid value of `api`"),
        ("api = \"searxng\"", "`url` is missing"),
        (
            "api = \"searxng\"\nurl = \"here\"",
            "must begin with http://",
        ),
        (
            "api = \"searxng\"\nurl = \"http://u:p@here\"",
            "must not contain a user name or password",
        ),
        (
            "api = \"provider\"\nurl = \"http://here\"",
            "`url` has no effect with this `api`",
        ),
        (
            "api = \"brave\"\nkey = \"BSAs3cret\"",
            "`key` must be the name of an environment variable",
        ),
    ] {
        let text = format!("[search]\n{search}\n");
        for fault in [of(&text, "").unwrap_err(), of("", &text).unwrap_err()] {
            assert!(fault.contains(why), "{search}: {fault}");
            assert!(!fault.contains("s3cret"), "{fault}");
        }
    }
}

#[test]
fn a_required_plan_comes_from_the_member_or_its_role() {
    let text = r#"
mode = "lead"
[[member]]
name = "ada"
plan = "required"
[[member]]
name = "bob"
role = "careful"
[[member]]
name = "cy"
[roles.careful]
plan = "required"
"#;
    let project = project();
    let spec = read_in(project.path(), text).unwrap();
    let must_plan: Vec<_> = spec
        .members
        .iter()
        .filter(|member| member.agent.must_plan)
        .map(|member| member.name.as_str())
        .collect();
    assert_eq!(must_plan, ["ada", "bob"]);
    let roles = spec.roles.iter().filter(|role| role.agent.must_plan);
    assert_eq!(
        roles.count(),
        1,
        "members spawned with the role must plan too"
    );
}

#[test]
fn variables_are_replaced_in_descriptions() {
    let project = project();
    let roles = [
        (".agent-team/roles/fixer.md", "Fixes {{proj}}", "Fix."),
        (
            ".claude/agents/keeper.md",
            "Keeps {{proj}} and {{other}}",
            "Keep.",
        ),
    ];
    for (file, description, prompt) in roles {
        let path = project.path().join(file);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let text = format!("---\ndescription: {description}\n---\n{prompt}\n");
        fs::write(path, text).unwrap();
    }
    let text = "[roles.builder]\ndescription = \"Knows {{proj}}\"\n\
        [[member]]\nname = \"ada\"\nrole = \"builder\"\n";
    let loaded = read_with(project.path(), text, &[("proj", "payments")]);
    let description = |name: &str| {
        let mut roles = loaded.spec.roles.iter();
        let role = roles.find(|role| role.name.as_str() == name);
        role.map(|role| role.description.as_str())
    };
    assert_eq!(description("builder"), Some("Knows payments"));
    assert_eq!(description("fixer"), Some("Fixes payments"));
    assert_eq!(description("keeper"), Some("Keeps payments and {{other}}"));
    let faults = faults_of(text);
    assert!(
        faults.contains("there is no value for `{{proj}}`"),
        "{faults}"
    );
}
