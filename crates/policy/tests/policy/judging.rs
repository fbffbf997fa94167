//! Tests of the evaluation order, the modes, the digests and the offers.

use agent_team_policy::{
    CallPath, Digest, Mode, Rule, RuleBook, RuleKind, Ruling, Source, ToolCall, canonical, offers,
    shell,
};
use agent_team_protocol::hook::HookDecision;
use proptest::prelude::*;
use serde_json::json;

use crate::context::{book, call, context, place};

fn bash(line: &str) -> ToolCall {
    call("bash", json!({ "command": line }))
}

/// The modes from the most restrictive to the most permissive.
const MODES: [Mode; 6] = [
    Mode::Plan,
    Mode::DontAsk,
    Mode::Default,
    Mode::AcceptEdits,
    Mode::Sandboxed,
    Mode::Bypass,
];

fn ruling(rules: &[(RuleKind, &str)], call: &ToolCall, mode: Mode) -> Ruling {
    book(rules).judge(call, &context(), mode).ruling
}

#[test]
fn modes_decide_unmatched_calls() {
    let calls = [
        ("read", call("read", json!({"path": "src/a"}))),
        ("look", call("grep", json!({"pattern": "x"}))),
        ("own", call("todo", json!({}))),
        ("read outside", call("read", json!({"path": "/etc/x"}))),
        ("fetch", call("fetch", json!({"url": "https://x.org"}))),
        ("edit", call("edit", json!({"path": "src/a"}))),
        ("edit outside", call("write", json!({"path": "/etc/x"}))),
        ("protected", call("write", json!({"path": ".git/hooks/x"}))),
        ("run", bash("make")),
        ("complex", bash("make $X")),
        ("say", bash("echo x")),
        ("mcp", call("mcp__a__b", json!({}))),
        ("unknown", call("launch", json!({}))),
        ("no path", call("write", json!({"path": 1}))),
    ];
    use Ruling::{Allow as Y, Ask as A, Deny as N};
    for (mode, expected) in [
        (Mode::Plan, [Y, Y, Y, A, A, N, N, N, N, N, Y, N, N, N]),
        (Mode::DontAsk, [Y, Y, Y, N, N, N, N, N, N, N, Y, N, N, N]),
        (Mode::Default, [Y, Y, Y, A, A, A, A, A, A, A, Y, A, A, A]),
        (
            Mode::AcceptEdits,
            [Y, Y, Y, A, A, Y, A, A, A, A, Y, A, A, A],
        ),
        (Mode::Bypass, [Y, Y, Y, Y, Y, Y, Y, A, Y, Y, Y, Y, Y, Y]),
    ] {
        for ((name, call), expected) in calls.iter().zip(expected) {
            assert_eq!(ruling(&[], call, mode), expected, "{name} in {mode}");
        }
    }
}

#[test]
fn deny_precedes_ask_precedes_allow() {
    let make = bash("make all");
    let all = [
        (RuleKind::Allow, "Bash(make all)"),
        (RuleKind::Ask, "Bash(make:*)"),
        (RuleKind::Deny, "Bash"),
    ];
    assert_eq!(ruling(&all[..1], &make, Mode::Default), Ruling::Allow);
    assert_eq!(ruling(&all[..2], &make, Mode::Default), Ruling::Ask);
    assert_eq!(ruling(&all[..2], &make, Mode::Bypass), Ruling::Allow);
    assert_eq!(ruling(&all[..2], &make, Mode::DontAsk), Ruling::Deny);
    for mode in MODES {
        assert_eq!(ruling(&all, &make, mode), Ruling::Deny, "{mode}");
    }
}

#[test]
fn an_exact_grant_covers_one_call_and_no_denial() {
    let complex = bash("make $X > log");
    let mut book = book(&[
        (RuleKind::Ask, "Bash(make:*)"),
        (RuleKind::Deny, "Bash(curl:*)"),
    ]);
    book.grant(Digest::of(&complex), Source::Grant(4));
    let decide = |call: &ToolCall, mode| book.judge(call, &context(), mode);
    let decision = decide(&complex, Mode::Default);
    assert_eq!(decision.ruling, Ruling::Allow);
    // The user has decided about the text, so bash runs the text.
    assert_eq!(decision.run, None);
    assert!(decision.to_string().contains("grant P-4"), "{decision}");
    assert_eq!(decide(&complex, Mode::DontAsk).ruling, Ruling::Allow);
    assert_eq!(decide(&complex, Mode::Plan).ruling, Ruling::Deny);
    assert_eq!(
        decide(&bash("make $X > log2"), Mode::Default).ruling,
        Ruling::Ask
    );
    let mut elsewhere = complex.clone();
    elsewhere.directory = place("src");
    assert_eq!(decide(&elsewhere, Mode::Default).ruling, Ruling::Ask);
    let mut unconfined = complex.clone();
    unconfined.confined = false;
    assert_eq!(decide(&unconfined, Mode::Default).ruling, Ruling::Ask);
    let mut changed = complex.clone();
    changed.environment.insert("PATH".into(), ".".into());
    assert_eq!(decide(&changed, Mode::Default).ruling, Ruling::Ask);
    let denied = bash("curl $X");
    book.grant(Digest::of(&denied), Source::Grant(5));
    assert_eq!(
        book.judge(&denied, &context(), Mode::Default).ruling,
        Ruling::Deny
    );
}

#[test]
fn unconfined_commands_are_never_allowed_by_rules() {
    let book = book(&[(RuleKind::Allow, "Bash(make:*)"), (RuleKind::Allow, "Read")]);
    let mut make = bash("make");
    assert_eq!(
        book.judge(&make, &context(), Mode::Default).ruling,
        Ruling::Allow
    );
    make.confined = false;
    let decision = book.judge(&make, &context(), Mode::Default);
    assert_eq!(decision.ruling, Ruling::Ask);
    assert!(decision.to_string().contains("no sandbox"), "{decision}");
    assert_eq!(
        book.judge(&make, &context(), Mode::Bypass).ruling,
        Ruling::Allow
    );
    for tool in ["git_status", "git_diff"] {
        let mut git = call(tool, json!({}));
        for mode in [Mode::Default, Mode::Plan] {
            assert_eq!(book.judge(&git, &context(), mode).ruling, Ruling::Allow);
        }
        git.confined = false;
        let modes = [(Mode::Default, Ruling::Ask), (Mode::Plan, Ruling::Deny)];
        for (mode, ruling) in modes {
            assert_eq!(book.judge(&git, &context(), mode).ruling, ruling);
        }
    }
    let mut read = call("read", json!({ "path": "a" }));
    read.confined = false;
    assert_eq!(
        book.judge(&read, &context(), Mode::Default).ruling,
        Ruling::Allow
    );
}

#[test]
fn changed_environments_are_never_allowed_by_rules() {
    let mut make = bash("make");
    make.environment.insert("LD_PRELOAD".into(), "x".into());
    assert_eq!(
        ruling(&[(RuleKind::Allow, "Bash")], &make, Mode::Default),
        Ruling::Ask
    );
}

#[test]
fn lines_outside_the_project_need_a_decision() {
    let mut make = bash("make");
    make.directory = CallPath {
        given: ".".into(),
        path: "/p".into(),
        resolved: "/elsewhere".into(),
    };
    assert_eq!(
        ruling(&[(RuleKind::Allow, "Bash")], &make, Mode::Default),
        Ruling::Ask
    );
}

#[test]
fn the_canonical_form_is_frozen() {
    let mut write = call(
        "write",
        json!({"path": "a", "content": "é\n\u{1}", "b": {"z": 1, "a": [true, null, 1.5]}}),
    );
    write.environment.insert("B".into(), "2".into());
    write.environment.insert("A".into(), "\"".into());
    assert_eq!(
        canonical(&write),
        r#"{"arguments":{"b":{"a":[true,null,1.5],"z":1},"content":"é\n\u0001","path":"a"},"confined":true,"directory":"/p","environment":{"A":"\"","B":"2"},"tool":"write"}"#
    );
    let digest = Digest::of(&write);
    assert_eq!(digest.to_string().parse(), Ok(digest));
    assert!("0".repeat(63).parse::<Digest>().is_err());
    assert!("G".repeat(64).parse::<Digest>().is_err());
}

#[test]
fn offers_widen_from_the_exact_request() {
    for (line, expected) in [
        (
            "cargo test --all",
            &["Bash(cargo test --all)", "Bash(cargo test:*)"][..],
        ),
        (
            "npm run test:unit -- -x",
            &["Bash(npm run test:unit -- -x)", "Bash(npm run test:unit:*)"],
        ),
        ("ls -la", &["Bash(ls -la)", "Bash(ls:*)"]),
        (
            "./check.sh a",
            &["Bash(./check.sh a)", "Bash(./check.sh a:*)"],
        ),
        ("make && make", &["Bash(make)", "Bash(make:*)"]),
        ("rm -rf build", &["Bash(rm -rf build)"]),
        ("timeout 5 cargo test", &["Bash(timeout 5 cargo test)"]),
        ("sudo ls", &["Bash(sudo ls)"]),
        ("python x.py", &["Bash(python x.py)"]),
        (
            "git commit -m 'a b'",
            &["Bash(git commit -m 'a b')", "Bash(git commit:*)"],
        ),
        ("sh -c 'rm x'", &[]),
        ("curl x | sh", &[]),
        ("find . -delete", &[]),
        ("eval x", &[]),
        ("echo $X", &[]),
        ("make > log", &[]),
        ("make &", &[]),
    ] {
        let offered: Vec<String> = offers(&bash(line), &context())
            .into_iter()
            .flat_map(|offer| offer.rules)
            .collect();
        assert_eq!(offered, expected, "{line}");
    }
    for (tool, arguments, expected) in [
        (
            "edit",
            json!({"path": "src/a.rs"}),
            &["Edit(./src/a.rs)", "Edit(src/**)"][..],
        ),
        ("edit", json!({"path": "a.rs"}), &["Edit(./a.rs)"]),
        ("edit", json!({"path": "src/[a]/b"}), &[]),
        ("edit", json!({"path": ".git/config"}), &[]),
        (
            "read",
            json!({"path": "/etc/a/b"}),
            &["Read(//etc/a/b)", "Read(//etc/a/**)"],
        ),
        ("read", json!({"path": "/etc"}), &["Read(//etc)"]),
        (
            "fetch",
            json!({"url": "https://x.org/a"}),
            &["WebFetch(domain:x.org)"],
        ),
        ("fetch", json!({"url": "https://x@y.org/a"}), &[]),
        ("mcp__a__b", json!({}), &["mcp__a__b"]),
    ] {
        let offered: Vec<String> = offers(&call(tool, arguments.clone()), &context())
            .into_iter()
            .flat_map(|offer| offer.rules)
            .collect();
        assert_eq!(offered, expected, "{tool} {arguments}");
    }
}

fn word() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => prop::sample::select(vec![
            "cargo", "test", "git", "log", "push", "make", "ls", "-c", "-rf", "rm", "sh", "sudo", "timeout", "5",
            "nice", "python", "-m", "x.py", "./x", "src/a", "npx", "env", "xargs", "find", "-exec", "echo", "cd",
            "npm", "run", "'a b'", "tee", "out/x", "sed", "tar", "A=b",
        ])
        .prop_map(str::to_owned),
        1 => "[a-z./'\"$*-]{1,4}",
    ]
}

fn line() -> impl Strategy<Value = String> {
    let command = prop::collection::vec(word(), 1..5).prop_map(|words| words.join(" "));
    let join = prop::sample::select(vec![" && ", " || ", "; ", " | ", " > ", " & ", "\n"]);
    (command, prop::collection::vec((join, word()), 0..3)).prop_map(|(first, rest)| {
        rest.into_iter()
            .fold(first, |line, (join, word)| format!("{line}{join}{word}"))
    })
}

fn rule() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("Bash".to_owned()),
        Just("Edit".to_owned()),
        Just("Edit(out/**)".to_owned()),
        prop::collection::vec(word(), 1..4).prop_map(|words| format!("Bash({})", words.join(" "))),
        prop::collection::vec(word(), 1..4)
            .prop_map(|words| format!("Bash({}:*)", words.join(" "))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn rules_never_allow_non_literal_lines(line in line(), rules in prop::collection::vec(rule(), 0..6)) {
        let mut book = RuleBook::new();
        for rule in &rules {
            let _added = book.add(RuleKind::Allow, rule, Source::UserSettings);
        }
        for mode in [Mode::Plan, Mode::DontAsk, Mode::Default, Mode::AcceptEdits] {
            let decision = book.judge(&bash(&line), &context(), mode);
            if shell::read(line.as_bytes()).is_err() {
                prop_assert_ne!(decision.ruling, Ruling::Allow);
            }
            prop_assert_eq!(decision.run.is_some(), decision.ruling == Ruling::Allow);
        }
    }

    #[test]
    fn an_appended_command_needs_its_own_rule(line in line(), rules in prop::collection::vec(rule(), 0..6), join in prop::sample::select(vec!["&&", "||", ";", "|", "&", "\n"])) {
        let mut book = RuleBook::new();
        for rule in rules.iter().filter(|rule| !matches!(rule.as_str(), "Bash" | "Bash(*)")) {
            let _added = book.add(RuleKind::Allow, rule, Source::UserSettings);
        }
        let more = bash(&format!("{line}{join} whoami"));
        prop_assert_ne!(book.judge(&more, &context(), Mode::Default).ruling, Ruling::Allow);
    }

    #[test]
    fn denials_survive_all_other_rules(line in line(), deny in rule(), others in prop::collection::vec((rule(), prop::sample::select(vec![RuleKind::Allow, RuleKind::Ask])), 0..6)) {
        let mut book = RuleBook::new();
        let added = book.add(RuleKind::Deny, &deny, Source::TeamFile);
        if added.is_err() || book.judge(&bash(&line), &context(), Mode::Bypass).ruling != Ruling::Deny {
            return Ok(());
        }
        for (rule, kind) in &others {
            let _added = book.add(*kind, rule, Source::UserSettings);
        }
        book.grant(Digest::of(&bash(&line)), Source::Grant(1));
        for mode in MODES {
            prop_assert_eq!(book.judge(&bash(&line), &context(), mode).ruling, Ruling::Deny);
        }
    }

    #[test]
    fn deny_rules_match_at_least_what_allow_rules_do(line in line(), rule in rule()) {
        let mut allow = RuleBook::new();
        let mut deny = RuleBook::new();
        if allow.add(RuleKind::Allow, &rule, Source::TeamFile).is_err() {
            return Ok(());
        }
        deny.add(RuleKind::Deny, &rule, Source::TeamFile).expect("a valid allow rule is a valid deny rule");
        let call = bash(&line);
        let without = RuleBook::new().judge(&call, &context(), Mode::Default).ruling;
        if without == Ruling::Ask && allow.judge(&call, &context(), Mode::Default).ruling == Ruling::Allow {
            prop_assert_eq!(deny.judge(&call, &context(), Mode::Bypass).ruling, Ruling::Deny);
        }
    }

    #[test]
    fn narrower_modes_never_allow_more(line in line(), rules in prop::collection::vec((rule(), prop::sample::select(vec![RuleKind::Allow, RuleKind::Ask, RuleKind::Deny])), 0..6)) {
        let mut book = RuleBook::new();
        for (rule, kind) in &rules {
            let _added = book.add(*kind, rule, Source::UserSettings);
        }
        let allows = MODES.map(|mode| book.judge(&bash(&line), &context(), mode).ruling == Ruling::Allow);
        prop_assert!(allows.is_sorted(), "{:?} {:?}", line, allows);
    }

    #[test]
    fn offers_cover_the_request(line in line()) {
        let call = bash(&line);
        for offer in offers(&call, &context()) {
            let mut book = RuleBook::new();
            if offer.rules.is_empty() {
                book.grant(Digest::of(&call), Source::Grant(1));
            }
            for rule in &offer.rules {
                prop_assert!(Rule::parse(rule, RuleKind::Allow).is_ok(), "{}", rule);
                book.add(RuleKind::Allow, rule, Source::Grant(1)).expect("the rule was parsed before");
            }
            let decision = book.judge(&call, &context(), Mode::Default);
            prop_assert_eq!(decision.ruling, Ruling::Allow, "{} does not cover {:?}", offer.rules.join(" "), line);
        }
    }

    #[test]
    fn digests_depend_on_every_argument(a in "[a-z]{0,3}", b in "[a-z]{0,3}") {
        let one = Digest::of(&call("bash", json!({"command": a, "background": b})));
        let other = Digest::of(&call("bash", json!({"background": b, "command": a})));
        prop_assert_eq!(one, other);
        if a != b {
            let swapped = Digest::of(&call("bash", json!({"command": b, "background": a})));
            prop_assert_ne!(one, swapped);
        }
    }
}

#[test]
fn changes_of_trusted_scripts_need_a_decision() {
    let mut context = context();
    context.protected = vec![context.project.join("tools/check.sh")];
    let rules = [
        (RuleKind::Allow, "Edit"),
        (RuleKind::Allow, "Bash(touch:*)"),
    ];
    let (book, mode) = (book(&rules), Mode::AcceptEdits);
    for (path, ruling) in [
        ("tools/check.sh", Ruling::Ask),
        ("tools/x.sh", Ruling::Allow),
    ] {
        let edit = call("edit", json!({ "path": path }));
        assert_eq!(book.judge(&edit, &context, mode).ruling, ruling, "{path}");
        let touch = bash(&format!("touch {path}"));
        assert_eq!(book.judge(&touch, &context, mode).ruling, ruling, "{path}");
    }
}

#[test]
fn every_path_of_a_patch_is_judged() {
    let patch = |paths: &[&str]| call("apply_patch", json!({ "paths": paths, "diff": "" }));
    let rules = [
        (RuleKind::Allow, "Edit(src/**)"),
        (RuleKind::Deny, "Edit(src/secret/**)"),
    ];
    for (paths, expected) in [
        (&["src/a", "src/b"][..], Ruling::Allow),
        (&["src/a", "other"][..], Ruling::Ask),
        (&["src/a", "src/secret/b"][..], Ruling::Deny),
        (&["src/a", ".git/hooks/x"][..], Ruling::Ask),
        (&["src/a", "link/passwd"][..], Ruling::Ask),
        (&[][..], Ruling::Ask),
    ] {
        assert_eq!(
            ruling(&rules, &patch(paths), Mode::Default),
            expected,
            "{paths:?}"
        );
    }
    assert_eq!(
        ruling(&[], &patch(&["a", "b"]), Mode::AcceptEdits),
        Ruling::Allow
    );
    assert_eq!(
        ruling(&[], &patch(&["a", "../b"]), Mode::AcceptEdits),
        Ruling::Ask
    );
    let odd = call("apply_patch", json!({ "paths": ["a", 1] }));
    assert_eq!(ruling(&[], &odd, Mode::AcceptEdits), Ruling::Ask);
    // A path that the member did not resolve is never allowed by a rule.
    let mut unresolved = patch(&["src/a", "src/b"]);
    unresolved.paths.0.pop();
    assert_eq!(ruling(&rules, &unresolved, Mode::Default), Ruling::Ask);
    let many: Vec<String> = (0..300).map(|n| format!("src/{n}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(
        ruling(&rules, &patch(&many), Mode::AcceptEdits),
        Ruling::Ask
    );
    let offered = offers(&patch(&["lib/a", "lib/b"]), &context());
    let rules: Vec<_> = offered.iter().map(|offer| offer.rules.join(" ")).collect();
    assert_eq!(rules, ["", "Edit(./lib/a) Edit(./lib/b)", "Edit(lib/**)"]);
}

fn note(level: &str, path: &str) -> ToolCall {
    call("note", json!({ "level": level, "path": path }))
}

#[test]
fn notes_of_team_and_project_follow_the_modes() {
    let team = call("note", json!({ "level": "team" }));
    let project = note("project", ".agent-team/notes/a.md");
    use Ruling::{Allow as Y, Ask as A, Deny as N};
    for (mode, expected) in MODES
        .iter()
        .zip([[Y, N], [Y, N], [Y, A], [Y, Y], [Y, Y], [Y, Y]])
    {
        let rulings = [&team, &project].map(|call| ruling(&[], call, *mode));
        assert_eq!(rulings, expected, "{mode:?}");
    }
    let rule = |rule| [(RuleKind::Allow, rule)];
    for allowed in ["Edit", "Edit(.agent-team/notes/**)"] {
        assert_eq!(
            ruling(&rule(allowed), &project, Mode::Default),
            Y,
            "{allowed}"
        );
    }
    let denied = [(RuleKind::Deny, "Edit(.agent-team/**)")];
    assert_eq!(ruling(&denied, &project, Mode::AcceptEdits), N);
    let rules: Vec<_> = offers(&project, &context())
        .iter()
        .map(|offer| offer.rules.join(" "))
        .collect();
    assert_eq!(
        rules,
        [
            "",
            "Edit(./.agent-team/notes/a.md)",
            "Edit(.agent-team/notes/**)"
        ]
    );
}

#[test]
fn only_the_notes_of_the_project_are_exempt_from_protection() {
    for path in [
        ".agent-team/team.toml",
        ".agent-team/notes/A.md",
        ".agent-team/notes/a.toml",
        ".agent-team/notes/x/a.md",
        "sub/.agent-team/notes/a.md",
        ".agent-team/notes/../team.toml",
        ".git/config",
    ] {
        let protected = ruling(
            &[(RuleKind::Allow, "Edit")],
            &note("project", path),
            Mode::AcceptEdits,
        );
        assert_eq!(protected, Ruling::Ask, "{path}");
    }
    let edit = call("write", json!({ "path": ".agent-team/notes/a.md" }));
    assert_eq!(
        ruling(&[(RuleKind::Allow, "Edit")], &edit, Mode::AcceptEdits),
        Ruling::Ask
    );
    let mut linked = note("project", ".agent-team/notes/a.md");
    linked.paths.0[0].resolved = "/p/.agent-team/team.toml".into();
    assert_eq!(
        ruling(&[(RuleKind::Allow, "Edit")], &linked, Mode::AcceptEdits),
        Ruling::Ask
    );
}

#[test]
fn a_note_of_the_user_needs_a_decision_or_a_rule_with_its_path() {
    let user = note("user", "/h/u/.config/agent-team/notes/a.md");
    // The settings can be below the project, if the project is the home directory.
    let inside = note("user", "config/notes/a.md");
    for call in [&user, &inside] {
        for rules in [
            &[][..],
            &[(RuleKind::Allow, "Edit")],
            &[(RuleKind::Allow, "Edit(**)")],
        ] {
            for mode in [Mode::Default, Mode::AcceptEdits, Mode::Sandboxed] {
                assert_eq!(ruling(rules, call, mode), Ruling::Ask, "{rules:?} {mode:?}");
            }
        }
    }
    for rule in [
        "Edit(~/.config/agent-team/notes/**)",
        "Edit(//h/u/.config/agent-team/notes/a.md)",
    ] {
        let rules = [(RuleKind::Allow, rule)];
        assert_eq!(
            ruling(&rules, &user, Mode::Default),
            Ruling::Allow,
            "{rule}"
        );
    }
    let judged = book(&[(RuleKind::Allow, "Edit")]).judge(&user, &context(), Mode::Default);
    let judged = judged.with_hook(&HookDecision::Allow);
    assert_eq!(
        judged.ruling,
        Ruling::Ask,
        "a hook allows no note of the user"
    );
    let warnings = agent_team_policy::warnings(&user, &context());
    assert!(
        warnings
            .iter()
            .any(|text| text.contains("all your projects")),
        "{warnings:?}"
    );
}
