//! Tests of the list of protected paths: the edit tools ask about each path, and SECURITY.md contains the list.

use std::fs;
use std::path::Path;

use agent_team_policy::protected::{GIT, GIT_DIRECTORY, GIT_WORKTREE, HOME, PROJECT};
use agent_team_policy::{
    Action, CallPath, CallPaths, Mode, RuleBook, RuleContext, Ruling, ToolCall,
};
use serde_json::json;

fn edited(path: &str) -> Ruling {
    let context = RuleContext {
        project: "/p".into(),
        home: None,
        protected: Vec::new(),
    };
    let place = |given: &str| {
        let path = CallPath::lexical(Path::new("/p"), given);
        CallPath {
            given: given.to_owned(),
            resolved: path.clone(),
            path,
        }
    };
    let arguments = json!({ "path": path });
    let paths = Action::of("write", &arguments).paths();
    let call = ToolCall {
        tool: "write".to_owned(),
        arguments,
        directory: place("."),
        confined: true,
        containment: Default::default(),
        environment: Default::default(),
        paths: CallPaths(paths.iter().map(|path| place(path)).collect()),
    };
    let book = RuleBook::new();
    book.judge(&call, &context, Mode::AcceptEdits).ruling
}

#[test]
fn edits_of_protected_paths_need_a_decision() {
    for protected in PROJECT.iter().chain(&HOME) {
        let path = protected.path;
        for path in [path.to_owned(), format!("sub/{path}"), format!("{path}/x")] {
            assert_eq!(edited(&path), Ruling::Ask, "{path}");
        }
        assert_eq!(edited(&path.to_uppercase()), Ruling::Ask, "{path}");
    }
    for protected in GIT {
        let path = format!("{GIT_DIRECTORY}/{}", protected.path);
        assert_eq!(edited(&path), Ruling::Ask, "{path}");
    }
    for path in [
        "src/main.rs",
        "Makefile",
        "package.json",
        ".github/workflows/ci.yml",
    ] {
        assert_eq!(edited(path), Ruling::Allow, "{path}");
    }
}

#[test]
fn edits_of_settings_of_agents_need_a_decision() {
    for path in [
        ".claude/settings.json",
        ".codex/config.toml",
        ".cursor/mcp.json",
        ".gemini/settings.json",
        ".opencode/plugin/start.js",
        "opencode.json",
        "sub/opencode.jsonc",
        ".qwen/settings.json",
    ] {
        assert_eq!(edited(path), Ruling::Ask, "{path}");
    }
}

#[test]
fn security_md_prints_the_list() {
    let code = |path: &str| format!("`{path}`");
    let names = PROJECT.iter().map(|protected| code(protected.path));
    let git = GIT
        .iter()
        .map(|protected| code(&format!("{GIT_DIRECTORY}/{}", protected.path)));
    let trees = GIT_WORKTREE.map(|name| code(&format!("{GIT_DIRECTORY}/worktrees/*/{name}")));
    let home = HOME.iter().map(|protected| code(protected.path));
    let all = |names: Vec<String>| names.join(" ");
    let list = format!(
        "- in the project: {}\n- of git: {}\n- in a home directory: {}\n",
        all(names.collect()),
        all(git.chain(trees).collect()),
        all(home.collect()),
    );
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../SECURITY.md");
    let text = fs::read_to_string(file).unwrap();
    let (_, rest) = text
        .split_once("<!-- protected paths -->\n")
        .expect("a marker");
    let (printed, _) = rest.split_once("<!-- end -->").expect("a marker");
    assert_eq!(printed, list, "SECURITY.md must print:\n{list}");
}
