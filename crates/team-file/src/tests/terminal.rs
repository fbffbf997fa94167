//! `engine = { terminal = [...] }`: members, roles and defaults with a terminal program, and the faults of such members.

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
