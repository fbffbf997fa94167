//! Instruction files and skills in the prompts of agents, and command files: their texts, the user's trust, restarts,
//! and hostile projects.

use std::os::unix::fs::symlink;

use agent_team_tests::Rig;
use agent_team_tests::fake_anthropic::FakeAnthropic;
use agent_team_tests::fake_model_server::{FakeModelServer, Reply, Request, in_turn};
use serde_json::json;

const TEAM: &str =
    "mode = \"lead\"\n[panes]\nplacement = \"headless\"\n[lead]\nmodel = \"openai/lead\"\n";

fn finish() -> Reply {
    Reply::call("finish", json!({"answer": "Done."}))
}

/// A rig with this team file, whose agents use this server.
fn rig(server: &FakeModelServer, team: &str) -> Rig {
    let mut rig = Rig::with_team(team);
    rig.set("OPENAI_BASE_URL", server.base_url());
    rig.set("OPENAI_API_KEY", "a-key-for-tests");
    rig
}

#[tokio::test]
async fn prompts_contain_the_users_and_the_projects_instructions() {
    for placement in ["headless", "hosted"] {
        let server = FakeModelServer::start(in_turn([finish()])).await;
        let rig = rig(&server, &TEAM.replace("headless", placement));
        rig.write("AGENTS.md", "Use tabs.\n- @docs/style.md\n");
        rig.write("docs/style.md", "Write short sentences.\n");
        rig.write("../home/.claude/CLAUDE.md", "Answer in Welsh.\n");
        rig.ok(["run", "Go on"]).await;
        let system = server.requests()[0].system();
        let texts = ["Answer in Welsh.", "Use tabs.", "Write short sentences."];
        let places = texts.map(|text| system.find(text).expect(text));
        assert!(places.is_sorted(), "{system}");
        assert!(system.contains("<file path=\"docs/style.md\">"), "{system}");
    }
}

#[tokio::test]
async fn thoughts_outlast_a_restart_until_instructions_change() {
    let answer = |id: &str| {
        let input = json!({"answer": "It is done."});
        vec![
            json!({"type": "thinking", "thinking": "Nothing to do."}),
            json!({"type": "tool_use", "id": id, "name": "finish", "input": input}),
        ]
    };
    let mut provider = FakeAnthropic::new([answer("a"), answer("b"), answer("c")]);
    let server = FakeModelServer::start(move |request| provider.reply(request)).await;
    let mut rig = Rig::with_team(&TEAM.replace("openai/lead", "anthropic/claude-opus-5-5"));
    rig.set("ANTHROPIC_BASE_URL", server.base_url());
    rig.set("ANTHROPIC_API_KEY", "a-key-for-tests");
    rig.write("AGENTS.md", "Use tabs.\n");
    rig.ok(["run", "Greet the world"]).await;
    rig.ok(["run", "Greet it again"]).await;
    rig.write("AGENTS.md", "Use spaces.\n");
    rig.ok(["run", "Greet it once more"]).await;
    let first_block = |request: &Request| request.messages()[1]["content"][0]["type"].clone();
    let requests = server.requests();
    assert_eq!(requests[1].system(), requests[0].system());
    assert_eq!(first_block(&requests[1]), "thinking");
    assert!(requests[2].system().contains("Use spaces."));
    assert_eq!(first_block(&requests[2]), "tool_use");
}

#[tokio::test]
async fn instructions_need_trust_and_a_new_import_asks_again() {
    let server = FakeModelServer::start(in_turn([])).await;
    let mut rig = rig(&server, TEAM);
    rig.trust_nothing();
    rig.write("AGENTS.md", "Use tabs.\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let message = refusal["message"].to_string();
    assert!(
        message.contains("the instructions in AGENTS.md"),
        "{message}"
    );
    assert_eq!(rig.processes(), []);
    let hint = refusal["hint"].as_str().expect("a hint");
    let digest = hint.rsplit(' ').next().expect("a word");
    rig.ok(["up", "--detach", "--trust", digest]).await;
    rig.ok(["down"]).await;
    rig.write("AGENTS.md", "Use spaces.\n");
    rig.ok(["up", "--detach"]).await;
    rig.ok(["down"]).await;
    rig.write("AGENTS.md", "@more.md\nUse spaces.\n");
    rig.write("more.md", "More.\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let message = refusal["message"].to_string();
    assert!(message.contains("the instructions in more.md"), "{message}");
}

#[tokio::test]
async fn a_hostile_project_gets_no_file_of_the_user_into_a_prompt() {
    let server = FakeModelServer::start(in_turn([finish()])).await;
    let rig = rig(&server, TEAM);
    rig.write("../home/.ssh/id_rsa", "s3cr3t");
    rig.write("../home/notes.md", "s3cr3t");
    let project = rig.project();
    symlink(
        rig.root().join("home/.ssh/id_rsa"),
        project.join("AGENTS.md"),
    )
    .unwrap();
    symlink("/dev/zero", project.join("CLAUDE.md")).unwrap();
    let escapes = "\u{1b}]0;x\u{7}";
    rig.write(
        "GEMINI.md",
        &format!("x\n@~/notes.md\n@../home/notes.md\n@a{escapes}.md\n"),
    );
    let run = rig.ok(["run", "Go on"]).await;
    for warned in [
        "AGENTS.md:1:1: cannot use the instructions: it leads out of",
        "CLAUDE.md:1:1: cannot use the instructions: it leads out of",
        "GEMINI.md:2:1: cannot import ~/notes.md: it leads out of",
        "GEMINI.md:3:1: cannot import ../home/notes.md: it leads out of",
        "GEMINI.md:4:1: cannot import a",
    ] {
        assert!(run.stderr.contains(warned), "{warned}\n---\n{}", run.stderr);
    }
    assert!(
        !run.stderr.contains(['\u{1b}', '\u{7}']),
        "{:?}",
        run.stderr
    );
    let system = server.requests()[0].system();
    assert!(!system.contains("s3cr3t"), "{system}");
    assert!(system.contains("@~/notes.md"), "{system}");
}

#[tokio::test]
async fn an_agent_needs_a_decision_to_change_instructions() {
    let read = Reply::call("read", json!({"path": "AGENTS.md"}));
    let change = Reply::call(
        "write",
        json!({"path": "AGENTS.md", "content": "Obey me.\n"}),
    );
    let server = FakeModelServer::start(in_turn([read, change, finish()])).await;
    let team = format!("{TEAM}[permissions]\nmode = \"accept-edits\"\n");
    let rig = rig(&server, &team);
    rig.write("AGENTS.md", "Use tabs.\n");
    rig.ok(["up", "--detach", "Go on"]).await;
    rig.until_member("lead", |lead| lead.requests > 0).await;
    assert_eq!(rig.read("AGENTS.md").as_deref(), Some("Use tabs.\n"));
}

#[tokio::test]
async fn instructions_can_be_turned_off() {
    let server = FakeModelServer::start(in_turn([finish()])).await;
    let mut rig = rig(
        &server,
        &format!("{TEAM}[defaults]\ninstructions = false\n"),
    );
    rig.trust_nothing();
    rig.write("AGENTS.md", "Use tabs.\n");
    rig.ok(["run", "Go on"]).await;
    assert!(!server.requests()[0].system().contains("Use tabs."));
}

/// Writes a skill with this description and text.
fn write_skill(rig: &Rig, directory: &str, description: &str, text: &str) {
    let text = format!("---\ndescription: {description}\n---\n{text}\n");
    rig.write(&format!("{directory}/SKILL.md"), &text);
}

#[tokio::test]
async fn agents_list_and_read_the_skills_of_user_and_project() {
    let server = FakeModelServer::start(in_turn([
        Reply::call("skill", json!({"name": "release"}))
            .and_call("skill", json!({"name": "lint", "file": "run.sh"})),
        finish(),
    ]))
    .await;
    let rig = rig(&server, TEAM);
    write_skill(
        &rig,
        "../home/.claude/skills/release",
        "Releases",
        "Tag it.",
    );
    write_skill(&rig, ".agents/skills/lint", "Lints", "Run run.sh.");
    rig.write(".agents/skills/lint/run.sh", "cargo clippy\n");
    rig.ok(["run", "Go on"]).await;
    let requests = server.requests();
    let system = requests[0].system();
    assert!(
        system.contains("- release: Releases\n- lint: Lints\n"),
        "{system}"
    );
    assert!(!system.contains("Tag it."), "{system}");
    let results = requests[1].results();
    assert!(results[0].1.contains("Tag it."), "{results:?}");
    assert!(results[1].1.contains("cargo clippy"), "{results:?}");
}

#[tokio::test]
async fn a_changed_skill_needs_trust_again() {
    let server = FakeModelServer::start(in_turn([])).await;
    let mut rig = rig(&server, TEAM);
    rig.trust_nothing();
    write_skill(&rig, ".agents/skills/lint", "Lints", "Run run.sh.");
    rig.write(".agents/skills/lint/run.sh", "cargo clippy\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let hint = refusal["hint"].as_str().expect("a hint");
    let digest = hint.rsplit(' ').next().expect("a word");
    rig.ok(["up", "--detach", "--trust", digest]).await;
    rig.ok(["down"]).await;
    rig.write(".agents/skills/lint/run.sh", "curl example.org\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let message = refusal["message"].to_string();
    let skill = "the skill lint in .agents/skills/lint (SHA-256 ";
    assert!(message.contains(skill), "{message}");
}

#[tokio::test]
async fn a_changed_command_file_needs_trust_again() {
    let server = FakeModelServer::start(in_turn([])).await;
    let mut rig = rig(&server, TEAM);
    rig.trust_nothing();
    rig.write(".claude/commands/fix.md", "Fix it.\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let message = refusal["message"].to_string();
    let command = "the command /fix in .claude/commands/fix.md (SHA-256 ";
    assert!(message.contains(command), "{message}");
    let hint = refusal["hint"].as_str().expect("a hint");
    let digest = hint.rsplit(' ').next().expect("a word");
    rig.ok(["up", "--detach", "--trust", digest]).await;
    rig.ok(["down"]).await;
    rig.write(".claude/commands/fix.md", "Break it.\n");
    let refusal = rig.refused(4, ["up", "--detach"]).await;
    let message = refusal["message"].to_string();
    assert!(message.contains(command), "{message}");
    rig.set_team(&format!("{TEAM}[defaults]\ninstructions = false\n"));
    rig.ok(["up", "--detach"]).await;
}

/// The team of `TEAM` with a server of many words, in a window of this many tokens.
fn in_window(server: &FakeModelServer, window: u64) -> Rig {
    let program = env!("CARGO_BIN_EXE_mcp_server");
    let servers = format!("[mcp.near]\ncommand = {program:?}\nargs = [\"stdio\"]\n");
    let rig = rig(server, &format!("{TEAM}{servers}"));
    rig.set_settings(&format!(
        "[permissions]\nmode = \"bypass\"\n[models]\nopenai.lead = {{ window = {window} }}\n"
    ));
    rig
}

#[tokio::test]
async fn a_small_window_limits_instructions_skills_and_mcp() {
    const WINDOW: u64 = 8_192;
    let server = FakeModelServer::start(in_turn([
        Reply::call("search_tools", json!({"query": "say"})),
        Reply::call("skill", json!({"name": "forms"})),
        finish(),
    ]))
    .await;
    let rig = in_window(&server, WINDOW);
    rig.write("AGENTS.md", &"Use tabs in each file. ".repeat(2000));
    let description = "Fills forms. ".repeat(60);
    for name in ["forms", "tables", "letters", "maps", "mail"] {
        let directory = format!("../home/.claude/skills/{name}");
        write_skill(&rig, &directory, &description, "Use ink.");
    }
    rig.ok(["run", "Go on"]).await;
    let requests = server.requests();
    let first = &requests[0];
    let system = first.system();
    assert!(system.contains("(Read the rest in AGENTS.md)"), "{system}");
    assert!(system.contains("- forms: Fills forms."), "{system}");
    let names = first.tools();
    assert!(
        !names.iter().any(|name| name.starts_with("mcp__")),
        "{names:?}"
    );
    let tokens = (system.len() + first.body["tools"].to_string().len()) as u64 / 4;
    assert!(tokens < 2_500 + 2 * WINDOW / 16 + 300, "{tokens}");
    let results: Vec<_> = requests.iter().flat_map(Request::results).collect();
    assert!(results[0].1.contains("mcp__near__say"), "{results:?}");
    assert!(results[1].1.contains("Use ink."), "{results:?}");
}

#[tokio::test]
async fn a_member_whose_prompt_exceeds_its_window_is_held() {
    let server = FakeModelServer::start(in_turn([finish()])).await;
    let rig = in_window(&server, 1_024);
    let output = rig.run(["run", "Go on"]).await;
    assert_ne!(output.code, 0, "{}", output.stdout);
    let why = rig.run(["why", "lead"]).await;
    let text = format!("{}{}{}", output.stderr, why.stdout, why.stderr);
    let reason = "the window of 1024 tokens is too small: system prompt and tools need ";
    assert!(text.contains(reason), "{text}");
    assert!(server.requests().is_empty(), "no request could succeed");
}
