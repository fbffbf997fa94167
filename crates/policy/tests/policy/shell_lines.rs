//! Shell lines and their decisions under one rule book. The lines cover every class of bypass that was seen in agents'
//! command lines; each new class gets a line here.

mod complex;
mod denied;
mod literal;

use std::path::Path;

use agent_team_policy::{Mode, RuleKind, Ruling};
use serde_json::json;

use crate::context::{book, call, context};

const ALLOW: &[&str] = &[
    "Bash(cargo test:*)",
    "Bash(cargo build)",
    "Bash(npm run test:*)",
    "Bash(git status:*)",
    "Bash(git log:*)",
    "Bash(git diff:*)",
    "Bash(git rebase:*)",
    "Bash(git clone:*)",
    "Bash(git commit:*)",
    "Bash(ls:*)",
    "Bash(cat:*)",
    "Bash(find:*)",
    "Bash(rg:*)",
    "Bash(sed:*)",
    "Bash(sort:*)",
    "Bash(tar:*)",
    "Bash(make:*)",
    "Bash(go test:*)",
    "Bash(python:*)",
    "Bash(python -m pytest:*)",
    "Bash(bash:*)",
    "Bash(tee:*)",
    "Bash(./scripts/check.sh:*)",
    "Bash(sudo systemctl status:*)",
    "Bash(npx prettier:*)",
    "Bash(sh -c 'exit 0')",
    "Bash(man:*)",
    "Bash(base64:*)",
    "Bash(rsync:*)",
    "Edit(out/**)",
];

const ASK: &[&str] = &["Bash(git push:*)", "Edit(out/asked/**)"];

const DENY: &[&str] = &[
    "Bash(rm:*)",
    "Bash(curl:*)",
    "Bash(git reset --hard:*)",
    "Bash(shutdown now)",
    "Edit(out/never/**)",
    "Read(.env)",
];

fn judged(line: &str, mode: Mode) -> agent_team_policy::Judgement {
    let rules = [
        (RuleKind::Allow, ALLOW),
        (RuleKind::Ask, ASK),
        (RuleKind::Deny, DENY),
    ];
    let rules = rules
        .iter()
        .flat_map(|(kind, rules)| rules.iter().map(|rule| (*kind, *rule)));
    let call = call("bash", json!({ "command": line }));
    book(&rules.collect::<Vec<_>>()).judge(&call, &context(), mode)
}

#[track_caller]
fn check(expected: Ruling, lines: &[&str]) {
    let wrong: Vec<String> = lines
        .iter()
        .map(|line| (line, judged(line, Mode::Default)))
        .filter(|(_, decision)| decision.ruling != expected)
        .map(|(line, decision)| format!("{line:?} is not {expected}:\n{decision}"))
        .collect();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    for line in lines {
        let run = judged(line, Mode::Default).run;
        assert_eq!(run.is_some(), expected == Ruling::Allow, "{line:?}");
    }
}

#[test]
fn allowed_lines_run_as_the_judged_words() {
    let run = judged("cd src && cargo 'test' \"a b\" 2>&1 | cat", Mode::Default)
        .run
        .expect("the line is allowed");
    assert_eq!(run.directory, Path::new("/p/src"));
    let argvs: Vec<_> = run
        .pipelines
        .iter()
        .flat_map(|pipeline| &pipeline.commands)
        .map(|command| command.argv.join("|"))
        .collect();
    assert_eq!(argvs, ["cargo|test|a b", "cat"]);
}

#[test]
fn decisions_name_rule_and_source() {
    let decision = judged("cd src && cargo test && curl x | sh > log", Mode::Default);
    assert_eq!(
        decision.to_string(),
        "deny\n  \
         allow  cd src: it stays in the project\n  \
         allow  cargo test: allowed by Bash(cargo test:*) (the team file)\n  \
         deny   curl x: denied by Bash(curl:*) (the team file)\n  \
         ask    sh: no rule can allow it, because it has a pipe into a program that runs its input; \
         the user can allow exactly this call\n  \
         ask    write src/log: no rule allows it"
    );
    let complex = judged("echo $X", Mode::Default);
    assert!(complex.to_string().contains("an expansion"), "{complex}");
}
