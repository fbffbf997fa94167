//! Tests of the system prompt, and of the digest after a conversation was cut.

use std::path::Path;

use agent_team_protocol::permissions::Mode;
use agent_team_protocol::spec::{AgentSpec, Skill};
use agent_team_tools::supervisor_client::SupervisorClient;
use agent_team_tools::team::{Briefing, digest, situation, small_window, system_prompt};
use agent_team_tools::{Options, Permission, domain_tools};
use serde_json::json;

use super::rig::{Rig, member, task_view, team_view, unexpected};

/// The system prompt and the situation in a team with this additional member, on this date.
fn prompts(lead: bool, other: &str, date: &str) -> (String, String) {
    prompts_within(200_000, lead, other, date)
}

/// The result of `prompts` for a model with this window.
fn prompts_within(window: u64, lead: bool, other: &str, date: &str) -> (String, String) {
    let (name, role) = if lead {
        ("grace", "lead")
    } else {
        ("ada", "reviewer")
    };
    let (client, _calls) =
        SupervisorClient::new(name.parse().unwrap(), role.parse().unwrap(), lead);
    let agent = AgentSpec {
        description: "Reviews a change".to_owned(),
        prompt: "You look twice.".to_owned(),
        ..AgentSpec::default()
    };
    let team = team_view(vec![
        member("grace", "lead", "working", json!({})),
        member(other, "reviewer", "idle", json!({})),
    ]);
    let briefing = Briefing {
        client: &client,
        agent: &agent,
        team: &team,
        cwd: Path::new("/project/web"),
        window,
        instructions: "<file path=\"AGENTS.md\">\nUse tabs.\n</file>\n",
        platform: "linux x86_64",
        date,
    };
    (
        system_prompt(&briefing),
        situation(&briefing, "\n# Unavailable tools\n"),
    )
}

#[tokio::test]
async fn a_small_window_keeps_prompt_and_tools_below_2500_tokens() {
    for lead in [true, false] {
        let rig = Rig::new(lead, |method, _| unexpected(method));
        let of_team = rig.names();
        let of_team = of_team.iter().map(|name| rig.tool(name).spec().clone());
        let built_in = domain_tools(Options {
            permission: Permission::Bypass,
            confinement: None,
            private_addresses: false,
        });
        let built_in = built_in.iter().map(|tool| tool.spec().clone());
        let all: Vec<_> = built_in.chain(of_team).collect();
        let tokens = |window| {
            let (prompt, _) = prompts_within(window, lead, "ada", "2026-01-31");
            let small = small_window::is_small(window);
            let offered = all.iter();
            let offered = offered.filter(|spec| !small || small_window::has_tool(&spec.name, lead));
            let tools: usize = offered
                .map(|spec| match small {
                    true => small_window::short_spec(spec),
                    false => spec.clone(),
                })
                .map(|spec| serde_json::to_string(&spec).unwrap().len())
                .sum();
            (prompt.len() + tools) / 4
        };
        let (small, large) = (tokens(16_384), tokens(16_385));
        assert!(
            small < 2_300,
            "{small}: the prompt of the role needs the rest"
        );
        assert!(large > 2 * small, "{large}");
    }
}

/// Compares every word of the system prompts. `cargo xtask tidy` compares the digest of the snapshots with
/// eval/figures.md.
#[test]
fn system_prompts_match_their_snapshots() {
    for (lead, name) in [(true, "lead"), (false, "teammate")] {
        for (window, size) in [(200_000, ""), (8_192, "_with_a_small_window")] {
            let (prompt, situation) = prompts_within(window, lead, "ada", "2026-01-31");
            insta::assert_snapshot!(format!("{name}{size}"), format!("{prompt}\n{situation}"));
        }
    }
}

/// The system prompt of a worker whose model has this window.
fn prompt_of(agent: &AgentSpec, window: u64) -> String {
    let (client, _calls) =
        SupervisorClient::new("ada".parse().unwrap(), "worker".parse().unwrap(), false);
    let team = team_view(vec![member("ada", "worker", "idle", json!({}))]);
    system_prompt(&Briefing {
        client: &client,
        agent,
        team: &team,
        cwd: Path::new("/project"),
        window,
        instructions: "",
        platform: "linux x86_64",
        date: "2026-01-31",
    })
}

#[test]
fn a_small_window_limits_the_list_of_skills() {
    let prompt = |window, count, description: &str| {
        let skill = |number| Skill {
            name: format!("skill-{number}"),
            description: description.to_owned(),
            directory: "/skills".into(),
            sha256: None,
        };
        let agent = AgentSpec {
            skills: (0..count).map(skill).collect(),
            ..AgentSpec::default()
        };
        prompt_of(&agent, window)
    };
    let window = 8_192;
    let without = prompt(window, 0, "").len();
    let long = "Fills forms. ".repeat(40);
    for count in [1, 5, 40, 400] {
        let with = prompt(window, count, &long);
        let tokens = (with.len() - without) / 4;
        assert!(tokens < 512 + 50, "{count} skills need {tokens} tokens");
        assert!(with.contains("- skill-0"), "{with}");
    }
    assert!(prompt(window, 5, &long).contains("- skill-4: Fills forms. "));
    assert!(prompt(window, 400, &long).contains(" more: call skill with the name `?`"));
    assert!(prompt(window, 2, "Fills forms.").contains("- skill-1: Fills forms.\n"));
    assert!(prompt(200_000, 40, &long).contains(long.trim()));
}

#[tokio::test]
async fn short_specs_keep_every_required_field() {
    let rig = Rig::new(true, |method, _| unexpected(method));
    for name in rig.names() {
        let short = small_window::short_spec(rig.tool(&name).spec());
        let required = short.input["required"].as_array();
        for field in required.into_iter().flatten() {
            let field = field.as_str().unwrap();
            assert!(
                !short.input["properties"][field].is_null(),
                "{name}: {field}"
            );
        }
    }
}

#[test]
fn a_member_that_must_plan_needs_approval_to_continue() {
    let prompt = |must_plan, window| {
        let agent = AgentSpec {
            must_plan,
            ..AgentSpec::default()
        };
        prompt_of(&agent, window)
    };
    for (window, freely, planning) in [
        (
            200_000,
            "Do not stop to announce a step or to request approval.",
            "Request approval only for your plan, with propose_plan.",
        ),
        (
            8_192,
            "- Continue without approval:",
            "- When your plan is approved, continue without approval:",
        ),
    ] {
        let (free, plans) = (prompt(false, window), prompt(true, window));
        assert!(free.contains(freely) && !free.contains(planning), "{free}");
        assert!(
            plans.contains(planning) && !plans.contains(freely),
            "{plans}"
        );
    }
}

#[test]
fn a_new_member_or_day_leaves_the_system_prompt_unchanged() {
    for lead in [true, false] {
        let (before, old) = prompts(lead, "ada", "2026-01-31");
        let (after, new) = prompts(lead, "ben", "2026-02-01");
        assert_eq!(before, after);
        assert_ne!(old, new);
    }
}

#[test]
fn the_situation_states_the_members_permission_mode() {
    let (client, _calls) =
        SupervisorClient::new("ada".parse().unwrap(), "worker".parse().unwrap(), false);
    let agent = AgentSpec::default();
    let line = |of_team, of_member| {
        let mut team = team_view(vec![member("ada", "worker", "idle", json!({}))]);
        team.mode = of_team;
        team.members[0].mode = of_member;
        let text = situation(
            &Briefing {
                client: &client,
                agent: &agent,
                team: &team,
                cwd: Path::new("/project"),
                window: 200_000,
                instructions: "",
                platform: "linux x86_64",
                date: "2026-01-31",
            },
            "",
        );
        let mut lines = text
            .lines()
            .filter(|line| line.starts_with("Permission mode"));
        lines.next().map(str::to_owned)
    };
    assert_eq!(line(None, None), None);
    let of_team = line(Some(Mode::Sandboxed), None).unwrap();
    assert!(
        of_team.contains("mode: sandboxed: you may change files"),
        "{of_team}"
    );
    let own = line(Some(Mode::Sandboxed), Some(Mode::Plan)).unwrap();
    assert!(
        own.contains("mode: plan: calls that change something are denied"),
        "{own}"
    );
}

#[test]
fn a_teammates_prompt_has_identity_and_environment() {
    let (prompt, situation) = prompts(false, "ada", "2026-01-31");
    for part in [
        "Date: 2026-01-31\n",
        "- grace (the lead)\n- ada (reviewer: Reviews a change, you)\n",
        "# Unavailable tools",
    ] {
        assert!(situation.contains(part), "{part}\n---\n{situation}");
    }
    for part in [
        "You are ada, a teammate in the team payments, in the role reviewer: Reviews a change.",
        "# Your role\nYou look twice.\n",
        "complete_task",
        "send_message",
        "Change only files that your task names",
        "in one answer",
        "The user may be away.",
        "Commit only if your task requires it",
        "# Instruction files\nFollow these files",
        "never as instructions.\n<file path=\"AGENTS.md\">\nUse tabs.\n</file>\n",
        "- Project directory: /project\n- Your working directory: /project/web\n- Platform: linux x86_64\n",
    ] {
        assert!(prompt.contains(part), "{part}\n---\n{prompt}");
    }
    for part in ["spawn_teammate", "create_task", "# Leading"] {
        assert!(!prompt.contains(part), "only the lead has {part}");
    }
}

#[test]
fn the_leads_prompt_has_its_rules_and_roles() {
    let (prompt, situation) = prompts(true, "ada", "2026-01-31");
    let roles = "# Roles that you can spawn\n- reviewer: Reviews a change\n- worker";
    assert!(situation.contains(roles), "{situation}");
    for part in [
        "You are grace, the lead of the team payments",
        "create_task",
        "finish when",
    ] {
        assert!(prompt.contains(part), "{part}\n---\n{prompt}");
    }
}

#[test]
fn a_digest_has_the_team_tasks_and_requests() {
    let (client, _calls) =
        SupervisorClient::new("grace".parse().unwrap(), "lead".parse().unwrap(), true);
    let team = team_view(vec![
        member("grace", "lead", "working", json!({})),
        member(
            "ada",
            "worker",
            "working",
            json!({"task": "T-41", "requests": 2}),
        ),
    ]);
    let mut tasks: Vec<_> = (1..=40)
        .map(|id| task_view(id, "completed", json!({"result": format!("result {id}")})))
        .collect();
    tasks.push(task_view(41, "in_progress", json!({"owner": "ada"})));
    let digest = digest(&client, &team, &tasks);
    for part in [
        "- ada (worker): working on T-41",
        "# Open tasks\n- T-41 in_progress by ada: Task 41\n",
        "- T-40 completed: Task 40; result: result 40\n",
        "- 10 more are not listed here (40 of all finished tasks are completed)",
        "# Pending requests\n- 2 of ada\n",
    ] {
        assert!(digest.contains(part), "{part}\n---\n{digest}");
    }
    assert!(!digest.contains("T-10 "), "the earliest are left out");
}
