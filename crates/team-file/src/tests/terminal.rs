//! Tests of `engine = { terminal = [...] }`: members, roles and defaults with a terminal program, and the faults of
//! such members.

use agent_team_protocol::engine::Engine;
use agent_team_protocol::spec::ClaimPolicy;

use super::{faults_of, project, read_in};

const VI: &str = "engine = { terminal = [\"vi\", \"notes\"] }";

#[test]
fn members_roles_and_defaults_can_have_a_program() {
    for text in [
        format!("[[member]]\nname = \"ada\"\n{VI}"),
        format!("[roles.editor]\n{VI}\n[[member]]\nname = \"ada\"\nrole = \"editor\""),
        format!("[defaults]\n{VI}\n[[member]]\nname = \"ada\""),
    ] {
        let spec = read_in(project().path(), &text).unwrap();
        let [ada] = spec.members.as_slice() else {
            panic!("no lead is added: {text}");
        };
        assert_eq!(ada.engine, Engine::Terminal, "{text}");
        assert_eq!(ada.claim, ClaimPolicy::Assigned);
        let program = ada.agent.external.as_ref().expect("a program");
        assert_eq!(program.name, "vi");
        assert_eq!(program.command, ["vi", "notes"]);
    }
}

#[test]
fn faults_of_a_terminal_engine_have_hints() {
    let ada = "[[member]]\nname = \"ada\"\n";
    for (text, expected) in [
        (
            format!("{ada}engine = {{ terminal = [\"vi\"], acp = [\"vi\"] }}"),
            "team.toml:3:10: `engine` has both `acp` and `terminal` | remove one of them",
        ),
        (
            format!("{ada}engine = {{ terminal = [] }}"),
            "team.toml:3:10: `engine` needs `acp` or `terminal`, with a program and its arguments | set engine = { acp = [\"gemini\", \"--acp\"] }, or engine = { terminal = [\"vi\"] }",
        ),
        (
            format!("{ada}{VI}\nprompt = \"p\""),
            "team.toml:4:10: `prompt` applies only to agents, but `engine` shows a program | remove `prompt`",
        ),
        (
            format!("{ada}{VI}\nplacement = \"hosted\""),
            "team.toml:4:13: a hosted member has no terminal, so `engine` cannot show a program | remove `placement`",
        ),
        (
            format!("mode = \"lead\"\n{ada}[lead]\n{VI}"),
            "team.toml:5:10: with `mode = \"lead\"` the lead must be an agent, but this engine is for commands and programs | set engine = \"native\", or mode = \"manual\"",
        ),
        (
            format!("{ada}engine = \"terminal\""),
            "team.toml:3:10: `engine = \"terminal\"` names no program | set engine = { terminal = [\"vi\"] }",
        ),
    ] {
        assert_eq!(faults_of(&text), expected, "of:\n{text}");
    }
}

#[test]
fn the_word_of_an_agent_selects_its_own_interface_or_acp() {
    let external = |engine: &str| {
        let text = format!("[[member]]\nname = \"ada\"\nengine = {engine:?}");
        let spec = read_in(project().path(), &text).unwrap();
        let mut members = spec.members.into_iter();
        let ada = members.find(|member| member.name.as_str() == "ada");
        let ada = ada.expect("the member");
        assert_eq!(ada.engine, Engine::External, "{engine}");
        ada.agent.external.expect("an agent")
    };
    let own = external("claude");
    assert_eq!(own.command.len(), 0);
    assert_eq!(own.terminal.expect("a program").command, ["claude"]);
    let acp = external("claude-acp");
    assert_eq!(
        (&*acp.command, acp.terminal),
        (&["claude-agent-acp".to_owned()][..], None)
    );
    assert_eq!(external("gemini").command[0], "gemini");
    for (value, word) in [
        ("terminal = \"claude\"", "claude"),
        ("acp = \"claude\"", "claude-acp"),
        ("acp = \"gemini\"", "gemini"),
    ] {
        let text = format!("[[member]]\nname = \"ada\"\nengine = {{ {value} }}");
        let expected = format!(
            "team.toml:3:10: `acp` and `terminal` are lists of a program and its arguments | set engine = {word:?}"
        );
        assert_eq!(faults_of(&text), expected);
    }
}
