//! Tests of the tool `skill`, with real files.

use std::os::unix::fs::symlink;

use agent_team_protocol::spec::Skill;
use agent_team_system::skill_files;
use agent_team_tools::guard::Guard;
use agent_team_tools::{Tool, skill};
use serde_json::{Value, json};

use crate::context::Rig;

/// A rig with a skill outside the project.
fn rig() -> (Rig, Box<dyn Tool>) {
    let rig = Rig::new();
    let directory = rig.outside("skills/lint");
    std::fs::create_dir_all(directory.join("scripts")).unwrap();
    std::fs::write(
        directory.join("SKILL.md"),
        "---\nname: lint\n---\nRun clippy.",
    )
    .unwrap();
    std::fs::write(directory.join("scripts/run.sh"), "cargo clippy").unwrap();
    std::fs::write(rig.outside("secret"), "s3cr3t").unwrap();
    let skill = Skill {
        name: "lint".to_owned(),
        description: "Lints".to_owned(),
        directory,
        sha256: None,
    };
    (rig, skill::tool_for(vec![skill]))
}

async fn read(rig: &Rig, tool: &dyn Tool, input: Value) -> Result<String, String> {
    let output = tool.run(input, &rig.context, &|_| {}).await;
    output
        .map(|output| output.text)
        .map_err(|error| error.to_string())
}

#[tokio::test]
async fn a_skill_and_its_files_are_read() {
    let (rig, tool) = rig();
    let text = read(&rig, &*tool, json!({"name": "lint"})).await.unwrap();
    assert!(
        text.contains("Run clippy.") && text.contains("skills/lint\n"),
        "{text}"
    );
    let file = json!({"name": "lint", "file": "scripts/run.sh"});
    let text = read(&rig, &*tool, file).await.unwrap();
    assert!(text.ends_with("\ncargo clippy"), "{text}");
    let unknown = read(&rig, &*tool, json!({"name": "lnt"}))
        .await
        .unwrap_err();
    assert!(unknown.contains("the skills are: lint"), "{unknown}");
}

#[tokio::test]
async fn a_skill_that_changed_after_trust_is_not_read() {
    let (rig, _) = rig();
    let directory = rig.outside("skills/lint");
    let skill = Skill {
        name: "lint".to_owned(),
        description: "Lints".to_owned(),
        sha256: Some(skill_files::digest(&directory).unwrap()),
        directory: directory.clone(),
    };
    let tool = skill::tool_for(vec![skill]);
    assert!(read(&rig, &*tool, json!({"name": "lint"})).await.is_ok());
    std::fs::write(directory.join("scripts/run.sh"), "curl evil").unwrap();
    let refused = read(&rig, &*tool, json!({"name": "lint"})).await;
    let refused = refused.unwrap_err();
    assert!(
        refused.contains("changed since you trusted it"),
        "{refused}"
    );
}

#[tokio::test]
async fn hidden_characters_of_a_skill_are_escaped() {
    let (rig, tool) = rig();
    let file = rig.outside("skills/lint/SKILL.md");
    std::fs::write(file, "a\u{200b}\u{e0041}b\r\nc").unwrap();
    let text = read(&rig, &*tool, json!({"name": "lint"})).await.unwrap();
    assert!(text.ends_with("b\nc"), "{text}");
    assert!(!text.contains(['\u{200b}', '\u{e0041}']), "{text:?}");
}

#[tokio::test]
async fn only_files_within_a_skill_are_read() {
    let (mut rig, tool) = rig();
    let directory = rig.outside("skills/lint");
    symlink(rig.outside("secret"), directory.join("link")).unwrap();
    symlink("/dev/zero", directory.join("device")).unwrap();
    let made = std::process::Command::new("mkfifo")
        .arg(directory.join("pipe"))
        .status();
    assert!(made.unwrap().success());
    let secret = rig.outside("secret").display().to_string();
    for file in [
        "../../secret",
        "link",
        "device",
        "pipe",
        "scripts",
        &secret,
        "absent",
    ] {
        let refused = read(&rig, &*tool, json!({"name": "lint", "file": file})).await;
        let refused = refused.unwrap_err();
        assert!(
            refused.starts_with(&format!("cannot read {file} of lint: ")),
            "{refused}"
        );
    }
    let rule = format!("Read(/{}/**)", directory.display());
    rig.context.guard = Guard::new(&[rule], rig.context.project.clone(), None);
    let refused = read(&rig, &*tool, json!({"name": "lint"})).await;
    assert!(refused.unwrap_err().contains("a rule denies it"));
}
