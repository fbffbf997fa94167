//! Tests of models, providers, and the user's overrides.

use std::path::Path;

use agent_team_protocol::TeamId;
use agent_team_protocol::spec::{BaseUrl, Wire};
use agent_team_protocol::value::Effort;

use super::super::{Fault, Key, Overrides, roles};
use super::agents::member;
use super::{CERTIFICATE, Loaded, Reading, faults_of, parse, project, read_in};

#[test]
fn model_names_are_normalised() {
    let spec = read_in(
        project().path(),
        "[lead]\nmodel = \"claude-opus-4-5\"\n[[member]]\nname = \"ada\"\nmodel = \"OpenAI:gpt-5.1\"\n",
    )
    .unwrap();
    let model = |name| member(&spec, name).agent.model.as_deref();
    assert_eq!(model("lead"), Some("anthropic/claude-opus-4-5"));
    assert_eq!(model("ada"), Some("openai/gpt-5.1"));
}

#[test]
fn provider_settings_of_the_file_apply() {
    let spec = read_in(
        project().path(),
        "mode = \"lead\"\n[providers.google]\nbase_url = \"https://gate.example\"\nheaders = { x-key = \"$GATE\" }\n",
    )
    .unwrap();
    let provider = &member(&spec, "lead").agent.providers["gemini"];
    let of_project = BaseUrl::OfProject("https://gate.example".to_owned());
    assert_eq!(provider.base_url, Some(of_project));
    assert_eq!(provider.headers["x-key"], "$GATE");
    let wrong = faults_of("[lead]\n[providers.opnai]\nheaders = { \"x y\" = \"1\" }");
    assert_eq!(
        wrong,
        "team.toml:2:12: there is no provider \"opnai\" | did you mean `openai`?\n\
         team.toml:3:13: \"x y\" is not a valid header name"
    );
}

#[test]
fn requests_of_a_provider_can_be_changed() {
    let project = project();
    let text = "mode = \"lead\"\n[providers.openai]\nextra_body = { service_tier = \"flex\", n = 1 }\n\
                wire = \"chat\"\nreasoning_content = true\nca = \"gateway.pem\"\n";
    let spec = read_in(project.path(), text).unwrap();
    let provider = &member(&spec, "lead").agent.providers["openai"];
    assert_eq!(provider.extra_body["service_tier"], "flex");
    assert_eq!(provider.extra_body["n"], 1);
    assert_eq!(provider.wire, Some(Wire::ChatCompletions));
    assert!(provider.reasoning_content);
    assert_eq!(provider.ca.as_deref(), Some(CERTIFICATE));
    let wrong = "mode = \"lead\"\n[providers.openai]\nextra_body = { stream = false }\nca = \"absent.pem\"\n";
    let faults = faults_of(wrong);
    assert!(
        faults.contains("`extra_body` cannot set stream: the client sets it"),
        "{faults}"
    );
    assert!(
        faults.contains("team.toml:4:6: cannot read `ca`: "),
        "{faults}"
    );
    let faults = faults_of("mode = \"lead\"\n[providers.openai]\nca = \"notes\"\n");
    assert_eq!(
        faults,
        "team.toml:3:6: cannot read `ca`: the file contains no certificate in PEM"
    );
}

#[test]
fn extra_headers_is_another_name_of_headers() {
    let text = |headers: &str| format!("mode = \"lead\"\n[providers.openai]\n{headers}\n");
    let project = project();
    let spec = read_in(
        project.path(),
        &text("headers = { x-a = \"1\" }\nextra_headers = { x-b = \"2\" }"),
    );
    let spec = spec.unwrap();
    let headers = &member(&spec, "lead").agent.providers["openai"].headers;
    assert_eq!((&*headers["x-a"], &*headers["x-b"]), ("1", "2"));
    let faults = faults_of(&text(
        "headers = { x-a = \"1\" }\nextra_headers = { x-a = \"2\" }",
    ));
    assert!(faults.contains("x-a is also in `headers`"), "{faults}");
    let faults = faults_of(&text("extra_headers = { host = \"evil\" }"));
    assert!(faults.contains("cannot set header host"), "{faults}");
}

#[test]
fn a_team_file_cannot_redirect_api_keys() {
    for variable in [
        "OPENAI_BASE_URL",
        "OLLAMA_HOST",
        "OPENAI_API_KEY",
        "GEMINI_API_KEY_FILE",
        "HTTP_PROXY",
        "all_proxy",
    ] {
        let env = format!("env = {{ {variable} = \"x\" }}\n");
        let agent = format!("[[member]]\nname = \"ada\"\nengine = \"native\"\n{env}");
        let expected = format!("team.toml:4:9: `env`: {variable} can redirect your API keys");
        let faults = faults_of(&agent);
        assert!(faults.starts_with(&expected), "{faults}");
        let faults = faults_of(&format!("mode = \"lead\"\n[defaults]\n{env}"));
        assert!(
            faults.contains(variable),
            "also for the default lead: {faults}"
        );
        let command = format!("[[member]]\nname = \"ada\"\nengine = \"command\"\n{env}");
        read_in(project().path(), &command).expect("a program may need the variable");
    }
    assert_eq!(
        faults_of(
            "mode = \"lead\"\n[providers.openai]\nbase_url = \"\"\nheaders = { Host = \"x\" }"
        ),
        "team.toml:3:12: `base_url` must be a URL, such as https://gateway.example/v1\n\
         team.toml:4:13: cannot set header Host: the HTTP client sets it"
    );
}

#[test]
fn a_team_file_cannot_configure_an_external_agent() {
    let engines = ["\"claude\"", "\"claude-acp\"", "{ acp = [\"my-agent\"] }"];
    let member = |engine: &str, variable: &str| {
        format!("[[member]]\nname = \"ada\"\nengine = {engine}\nenv = {{ {variable} = \"x\" }}\n")
    };
    for engine in engines {
        for (variable, effect) in [
            ("ANTHROPIC_BASE_URL", "can redirect your API keys"),
            ("OPENAI_API_KEY", "can redirect your API keys"),
            ("HTTPS_PROXY", "can redirect your API keys"),
            ("PATH", "changes which programs run"),
            ("LD_PRELOAD", "changes which programs run"),
            ("NODE_OPTIONS", "changes which programs run"),
            ("NODE_EXTRA_CA_CERTS", "changes which programs run"),
            ("CLAUDE_CONFIG_DIR", "configures an agent"),
            ("OPENCODE_PERMISSION", "configures an agent"),
            ("AWS_ENDPOINT_URL", "configures an agent"),
            ("OTEL_EXPORTER_OTLP_ENDPOINT", "configures an agent"),
        ] {
            let expected = format!("team.toml:4:9: `env`: {variable} {effect}");
            let faults = faults_of(&member(engine, variable));
            assert!(faults.starts_with(&expected), "{engine}: {faults}");
            let hint = format!("agent-team up --env {variable}=VALUE");
            assert!(faults.ends_with(&hint), "{faults}");
        }
        for variable in ["ANTHROPIC_MODEL", "RUST_LOG"] {
            read_in(project().path(), &member(engine, variable)).expect("a harmless variable");
        }
    }
    // These variables configure programs that an agent of this project may run.
    for (engine, variable) in [
        ("\"native\"", "CLAUDE_CONFIG_DIR"),
        ("{ terminal = [\"vi\"] }", "ANTHROPIC_BASE_URL"),
    ] {
        read_in(project().path(), &member(engine, variable)).expect("a harmless variable");
    }
    let defaults = "[defaults]\nenv = { CODEX_HOME = \"x\" }\n[[member]]\nname = \"ada\"\nengine = \"codex\"\n\
                    [[member]]\nname = \"ben\"\nengine = \"codex\"\n";
    let faults = faults_of(defaults);
    assert_eq!(faults.lines().count(), 1, "{faults}");
}

/// Reads a file with the user's overrides.
fn with_overrides(project: &Path, settings: &Path, text: &str) -> Result<Loaded, Vec<Fault>> {
    let project = project.canonicalize().unwrap();
    let reading = Reading {
        here: &project,
        settings: Some(settings),
        variables: None,
        overrides: None,
    };
    parse("team.toml", text, &project, reading)
}

#[test]
fn overrides_take_precedence_and_settings_have_origins() {
    let (project, settings) = (project(), tempfile::tempdir().unwrap());
    let text = "name = \"demo\"\n[defaults]\nmodel = \"openai/gpt-5\"\n[limits]\ntokens = 5\n[lead]\n\
                [[member]]\nname = \"ada\"\nrole = \"reviewer\"\nmodel = \"openai/gpt-4o\"\n\
                [[member]]\nname = \"ben\"\nengine = \"native\"\n\
                [providers.openai]\nbase_url = \"https://theirs.example\"\nheaders = { x = \"1\" }\n";
    let team = TeamId::new(
        &"demo".parse().unwrap(),
        &project.path().canonicalize().unwrap(),
    );
    let mut overrides = Overrides::load(settings.path(), &team).unwrap();
    for (key, value) in [
        ("model", "claude-opus-4-5"),
        ("effort", "low"),
        ("members.ada.effort", "high"),
        ("members.ada.role", "planner"),
        ("members.ben.limits.usd", "2"),
        ("roles.planner.model", "openai/gpt-5.1"),
        ("limits.minutes", "3"),
        ("providers.openai.base_url", "https://mine.example"),
        ("members.gone.model", "openai/gpt-5"),
    ] {
        let key: Key = key.parse().unwrap();
        let value = key.check(value).unwrap();
        overrides.set(key, Some(value));
    }
    overrides.save("demo").unwrap();
    let Loaded {
        spec,
        settings: listed,
        warnings,
        required_trust: _,
    } = with_overrides(project.path(), settings.path(), text).unwrap();
    let model = |name| member(&spec, name).agent.model.as_deref();
    assert_eq!(model("lead"), Some("anthropic/claude-opus-4-5"));
    assert_eq!(
        model("ada"),
        Some("openai/gpt-4o"),
        "the member's model takes precedence over the team's override"
    );
    assert_eq!(member(&spec, "ada").agent.effort, Some(Effort::High));
    assert_eq!(member(&spec, "ben").agent.effort, Some(Effort::Low));
    assert_eq!(member(&spec, "ada").role.as_str(), "planner");
    assert_eq!(member(&spec, "ben").budget.micro_usd, Some(2_000_000));
    assert_eq!(spec.limits.budget.tokens, Some(5));
    assert_eq!(spec.limits.budget.work_ms, Some(180_000));
    let openai = &member(&spec, "ada").agent.providers["openai"];
    let own_url = BaseUrl::Own("https://mine.example".to_owned());
    assert_eq!(openai.base_url, Some(own_url));
    assert_eq!(openai.headers["x"], "1", "the file's headers stay");
    let from = |key: &str| {
        let setting = listed.iter().find(|setting| setting.key == key);
        setting.unwrap_or_else(|| panic!("{key}")).from.clone()
    };
    assert_eq!(from("model"), overrides.place());
    assert_eq!(from("members.lead.model"), "the team's");
    assert_eq!(from("members.ada.model"), "team.toml:7");
    assert_eq!(from("members.ada.role"), overrides.place());
    assert_eq!(from("members.ben.role"), "built in");
    assert_eq!(from("limits.tokens"), "team.toml [limits]");
    assert_eq!(from("limits.usd"), "no limit");
    assert_eq!(from("providers.openai.base_url"), overrides.place());
    let warnings: Vec<_> = warnings.iter().map(|it| it.message.as_str()).collect();
    assert_eq!(
        warnings,
        ["members.gone.model has no effect: there is no member gone"]
    );
    let reading = Reading {
        here: project.path(),
        settings: Some(settings.path()),
        variables: None,
        overrides: None,
    };
    std::fs::write(project.path().join(".agent-team/team.toml"), text).unwrap();
    let file = project.path().join(".agent-team/team.toml");
    let views = roles(Some(&file), project.path(), reading).unwrap();
    let planner = views.iter().find(|view| view.name.as_str() == "planner");
    assert_eq!(planner.unwrap().model.as_deref(), Some("openai/gpt-5.1"));
}
