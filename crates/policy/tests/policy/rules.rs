//! Tests of rules: valid and invalid texts, error messages, and the calls that each rule matches.

use std::path::{Path, PathBuf};

use agent_team_policy::{
    CallPath, CallPaths, Mode, Rule, RuleBook, RuleContext, RuleKind, Ruling, Source, ToolCall,
};
use serde_json::json;

fn context() -> RuleContext {
    RuleContext {
        project: PathBuf::from("/p"),
        home: Some(PathBuf::from("/h/u")),
        protected: Vec::new(),
    }
}

fn call(tool: &str, arguments: serde_json::Value, paths: Vec<CallPath>) -> ToolCall {
    let project = CallPath {
        given: ".".to_owned(),
        path: PathBuf::from("/p"),
        resolved: PathBuf::from("/p"),
    };
    ToolCall {
        tool: tool.to_owned(),
        arguments,
        directory: project,
        confined: true,
        containment: Default::default(),
        environment: Default::default(),
        paths: CallPaths(paths),
    }
}

/// A call with one path. `resolved`: the path with its symbolic links resolved, if it contains a link.
fn file(tool: &str, path: &str, resolved: Option<&str>) -> ToolCall {
    let lexical = CallPath::lexical(Path::new("/p"), path);
    let place = CallPath {
        given: path.to_owned(),
        resolved: resolved.map_or_else(|| lexical.clone(), PathBuf::from),
        path: lexical,
    };
    call(tool, json!({ "path": path }), vec![place])
}

fn ruling(rules: &[(RuleKind, &str)], call: &ToolCall, mode: Mode) -> Ruling {
    let mut book = RuleBook::new();
    for (kind, rule) in rules {
        book.add(*kind, rule, Source::UserSettings)
            .unwrap_or_else(|error| panic!("{error}"));
    }
    book.judge(call, &context(), mode).ruling
}

#[test]
fn invalid_rules_report_position_and_alternative() {
    for (text, at, instead) in [
        ("", 0, "Bash, Read, Edit"),
        ("plan", 0, "`Plan`"),
        ("Plan(*)", 5, "`Plan`"),
        ("Basch(ls)", 0, "Bash, Read, Edit"),
        ("bash(ls)", 0, "`Bash`"),
        ("Write(src/**)", 0, "`Edit`"),
        ("Grep", 0, "`Read`"),
        ("Bash(ls", 7, "`Bash(ls)`"),
        ("Bash()", 5, "`Bash` to match all calls"),
        ("Read( )", 5, "`Read` to match all calls"),
        ("Bash(ls && cat)", 5, "one rule for each command"),
        ("Bash(ls > x)", 5, "Edit("),
        ("Bash(ls $X)", 8, "single quotes"),
        ("Bash(ls 'x)", 8, "single quotes"),
        ("Bash(**)", 5, "write `Bash` for"),
        ("Bash(git * main)", 9, "`Bash(git:*)`"),
        ("Bash(git log*)", 12, "`Bash(git log:*)`"),
        ("Bash(X=1 ls)", 5, "single quotes"),
        ("Bash(sudo:*)", 5, "the whole command"),
        ("Bash(sh -c:*)", 5, "the whole command"),
        ("Bash(bash -c:*)", 5, "the whole command"),
        ("Bash(eval:*)", 5, "the whole command"),
        ("Bash(xargs:*)", 5, "the whole command"),
        ("Bash(env:*)", 5, "the whole command"),
        ("Bash(timeout:*)", 5, "the whole command"),
        ("Bash(npx:*)", 5, "the whole command"),
        ("Bash(python -c:*)", 5, "the whole command"),
        ("Bash(python -m:*)", 5, "the whole command"),
        ("Bash(find . -exec:*)", 5, "the whole command"),
        ("Bash(git -c:*)", 5, "the whole command"),
        ("Bash(awk:*)", 5, "the whole command"),
        ("Bash(cd:*)", 5, "needs no rule"),
        ("Edit(/etc/x)", 5, "`//etc/x` from the root"),
        ("Edit(~other/x)", 5, "`//`"),
        ("Edit(../x)", 5, "`//`"),
        ("Edit(src/../x)", 9, "`//`"),
        ("Edit(src/./x)", 9, "without it"),
        ("Edit(src//x)", 5, "one `/`"),
        ("Edit(src**)", 5, "`src/**`"),
        ("Edit(a\\b)", 6, "`[*]`"),
        ("Edit(!x)", 5, "under `deny`"),
        ("Edit([a)", 5, "a path"),
        ("Edit({a)", 5, "a path"),
        ("WebFetch(example.com)", 9, "WebFetch(domain:example.com)"),
        ("WebFetch(domain:)", 16, "domain:example.com"),
        (
            "WebFetch(domain:https://example.com)",
            16,
            "domain:example.com",
        ),
        ("WebFetch(domain:a.*.com)", 16, "subdomains"),
        (
            "WebFetch(domain:bücher.de)",
            16,
            "`domain:xn--bcher-kva.de`",
        ),
        ("mcp__", 5, "mcp__<server>"),
        ("mcp____x", 5, "mcp__<server>"),
        ("mcp__a__", 5, "mcp__<server>"),
        ("mcp__a b", 6, "mcp__<server>"),
        ("mcp__a__b__*", 5, "mcp__<server>"),
        ("mcp__a(x)", 7, "`mcp__a`"),
        ("Bash(l\u{1b}s)", 6, "plain text"),
        ("Bash(l\u{202e}s)", 6, "single quotes"),
    ] {
        let error = match Rule::parse(text, RuleKind::Allow) {
            Ok(rule) => panic!("{text:?} parses as {rule}, but must be refused"),
            Err(error) => error,
        };
        assert_eq!((error.at, error.rule.as_str()), (at, text), "{error}");
        let message = error.to_string();
        assert!(message.contains(instead), "{text:?}: {message}");
        assert!(
            message.starts_with(&format!("`{text}`, at character ")),
            "{message}"
        );
    }
}

#[test]
fn unallowable_commands_can_be_denied() {
    for text in [
        "Bash(sudo:*)",
        "Bash(sh -c:*)",
        "Bash(eval:*)",
        "Bash(npx:*)",
        "Bash(cd:*)",
    ] {
        for kind in [RuleKind::Deny, RuleKind::Ask] {
            assert!(Rule::parse(text, kind).is_ok(), "{text}");
        }
    }
}

#[test]
fn a_rule_prints_as_it_was_written() {
    for text in [
        "Bash",
        "Bash(*)",
        "Bash(npm run test:*)",
        "Bash(npm run *)",
        "Read",
        "Edit(src/**)",
        "Edit(~/x)",
        "Edit(//tmp/*)",
        "WebFetch(domain:*.example.com)",
        "mcp__a",
        "mcp__a__*",
        "mcp__a__b",
    ] {
        let rule = Rule::parse(&format!(" {text} "), RuleKind::Allow)
            .unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(rule.to_string(), text);
    }
}

#[test]
fn paths_use_gitignore_patterns() {
    for (pattern, fits, not) in [
        (
            "src/**",
            &["src/a", "src/a/b"][..],
            &["src", "srcs/a", "a/src/b", "/q/src/a"][..],
        ),
        (
            "src",
            &["src", "src/a", "a/src", "a/src/b"],
            &["srcs", "a/srcs"],
        ),
        ("src/", &["src/a", "a/src/b"], &["src"]),
        ("./src", &["src", "src/a"], &["a/src"]),
        (
            "*.rs",
            &["a.rs", "a/b.rs", ".rs"],
            &["a.rs/b", "a.rsx", "/q/a.rs"],
        ),
        ("src/*.rs", &["src/a.rs"], &["a/src/a.rs", "src/a/b.rs"]),
        ("src/*", &["src/a"], &["src/a/b", "src"]),
        (
            "src/**/a",
            &["src/a", "src/b/a", "src/b/c/a", "src/a/x"],
            &["src/ab"],
        ),
        ("**/a", &["a", "b/a", "b/a/c"], &["ab"]),
        ("a?c", &["abc", "x/abc"], &["ac", "a/c"]),
        ("[ab].c", &["a.c", "x/b.c"], &["c.c"]),
        ("{a,b}/*.c", &["a/x.c", "b/x.c"], &["c/x.c", "{a,b}/x.c"]),
        ("//etc/**", &["/etc/x"], &["etc/x", "/etcx"]),
        ("//p/src", &["src", "src/a"], &["a/src"]),
        ("~/x", &["/h/u/x", "/h/u/x/y"], &["x", "/h/x"]),
        ("~", &["/h/u/x"], &["/h/x", "x"]),
        ("**", &["a", "a/b", ".git/x"], &[]),
        (".env", &[".env", "a/.env"], &[".envrc", "x.env", ".ENV"]),
    ] {
        let rule = format!("Edit({pattern})");
        let grade = |path: &str| {
            let call = file("write", path, None);
            let book = [(RuleKind::Allow, rule.as_str())];
            ruling(&book, &call, Mode::DontAsk)
        };
        // Protected files need a decision, even if a rule allows the edit.
        for path in fits.iter().filter(|path| !path.contains(".git")) {
            assert_eq!(grade(path), Ruling::Allow, "{rule} and {path}");
        }
        for path in not {
            assert_eq!(grade(path), Ruling::Deny, "{rule} and {path}");
        }
    }
}

#[test]
fn deny_rules_match_whole_subtrees_and_ignore_case() {
    for (pattern, path) in [
        ("src/*", "src/a/b"),
        ("src/**", "src"),
        ("src/", "src"),
        ("*.d", "a.d/b"),
        (".env", ".ENV"),
        ("Src/**", "src/a"),
        ("src", "SRC/a"),
    ] {
        let rule = format!("Edit({pattern})");
        let book = [(RuleKind::Deny, rule.as_str()), (RuleKind::Allow, "Edit")];
        assert_eq!(
            ruling(&book, &file("edit", path, None), Mode::Bypass),
            Ruling::Deny,
            "{rule} {path}"
        );
    }
}

#[test]
fn both_paths_must_be_allowed_and_either_can_be_denied() {
    let through = file("edit", "link/a", Some("/p/src/a"));
    let out = file("edit", "src/a", Some("/etc/a"));
    let allow = |rule| [(RuleKind::Allow, rule)];
    assert_eq!(
        ruling(&allow("Edit(src/**)"), &through, Mode::Default),
        Ruling::Ask
    );
    assert_eq!(
        ruling(&allow("Edit(link/**)"), &through, Mode::Default),
        Ruling::Ask
    );
    assert_eq!(
        ruling(&allow("Edit(**)"), &through, Mode::Default),
        Ruling::Allow
    );
    assert_eq!(
        ruling(&allow("Edit(src/**)"), &out, Mode::Default),
        Ruling::Ask
    );
    assert_eq!(ruling(&[], &out, Mode::AcceptEdits), Ruling::Ask);
    for rule in ["Edit(src/**)", "Edit(//etc/**)"] {
        assert_eq!(
            ruling(&[(RuleKind::Deny, rule)], &out, Mode::Bypass),
            Ruling::Deny
        );
    }
}

#[test]
fn unresolved_paths_are_not_allowed() {
    let rules = [(RuleKind::Allow, "Edit(src/**)")];
    let unknown = call("write", json!({ "path": "src/a" }), Vec::new());
    assert_eq!(ruling(&rules, &unknown, Mode::AcceptEdits), Ruling::Ask);
    let mut misreported = file("write", "../x", None);
    misreported.paths.0[0].path = PathBuf::from("/p/src/a");
    misreported.paths.0[0].resolved = PathBuf::from("/p/src/a");
    assert_eq!(ruling(&rules, &misreported, Mode::AcceptEdits), Ruling::Ask);
}

#[test]
fn hosts_are_compared_in_their_ascii_form() {
    let fetch = |url: &str| call("fetch", json!({ "url": url }), Vec::new());
    let judged = |kind, url: &str| {
        let rule = "WebFetch(domain:xn--bcher-kva.de)";
        ruling(&[(kind, rule)], &fetch(url), Mode::Bypass)
    };
    for url in [
        "https://bücher.de/x",
        "https://BÜCHER.de",
        "https://b\u{75}\u{308}cher.de:443/",
        "https://xn--bcher-kva.de/",
        "https://xn--b%63her-kva.de/",
        "https://xn--bcher-kva\n.de/",
        "https://xn--bcher-kva\u{3002}de/",
        "https://ｘn--bcher-kva.de/",
        "https://x@xn--bcher-kva.de/",
        "https:\\\\xn--bcher-kva.de/",
    ] {
        assert_eq!(judged(RuleKind::Deny, url), Ruling::Deny, "{url:?}");
    }
    for url in ["https://bucher.de", "https://xn--bcher-kva.com/"] {
        assert_eq!(judged(RuleKind::Deny, url), Ruling::Allow, "{url:?}");
    }
    let allow = [(RuleKind::Allow, "WebFetch(domain:xn--bcher-kva.de)")];
    assert_eq!(
        ruling(&allow, &fetch("https://bücher.de/x"), Mode::Default),
        Ruling::Ask,
        "programs disagree on the mapping of some names"
    );
    let github = [(RuleKind::Allow, "WebFetch(domain:github.com)")];
    let mut book = RuleBook::new();
    book.add(github[0].0, github[0].1, Source::UserSettings)
        .expect("a rule");
    // The second letter is Cyrillic.
    let decision = book.judge(
        &fetch("https://g\u{456}thub.com/"),
        &context(),
        Mode::Default,
    );
    assert_eq!(decision.ruling, Ruling::Ask);
    let shown = decision.to_string();
    assert!(shown.contains("(host xn--gthub-n2e.com)"), "{shown}");
}

#[test]
fn hosts_match_as_whole_names() {
    let fetch = |url: &str| call("fetch", json!({ "url": url }), Vec::new());
    for (rule, url, expected) in [
        ("domain:example.com", "https://example.com/x", Ruling::Allow),
        ("domain:example.com", "http://example.com", Ruling::Allow),
        (
            "domain:example.com",
            "HTTPS://EXAMPLE.COM./x",
            Ruling::Allow,
        ),
        (
            "domain:example.com",
            "https://example.com:8080/x?y#z",
            Ruling::Allow,
        ),
        ("domain:Example.com", "https://example.com?x", Ruling::Allow),
        (
            "domain:*.example.com",
            "https://a.example.com/",
            Ruling::Allow,
        ),
        (
            "domain:*.example.com",
            "https://a.b.example.com/",
            Ruling::Allow,
        ),
        ("domain:*.example.com", "https://example.com/", Ruling::Ask),
        ("domain:example.com", "https://a.example.com/", Ruling::Ask),
        ("domain:example.com", "https://badexample.com/", Ruling::Ask),
        (
            "domain:example.com",
            "https://example.com.evil.org/",
            Ruling::Ask,
        ),
        (
            "domain:example.com",
            "https://example.com@evil.org/",
            Ruling::Ask,
        ),
        (
            "domain:example.com",
            "https://example.com:x@evil.org/",
            Ruling::Ask,
        ),
        (
            "domain:example.com",
            "https://evil.org/https://example.com",
            Ruling::Ask,
        ),
        (
            "domain:example.com",
            "https://evil.org#example.com",
            Ruling::Ask,
        ),
        (
            "domain:example.com",
            "https://evil.org\\@example.com/",
            Ruling::Ask,
        ),
        (
            "domain:example.com",
            "https://example.com\u{0}.evil.org/",
            Ruling::Ask,
        ),
        ("domain:example.com", "https://example%2ecom/", Ruling::Ask),
        ("domain:example.com", "https:///example.com/", Ruling::Ask),
        ("domain:example.com", " https://example.com/", Ruling::Ask),
        ("domain:example.com", "https://example.com\t/", Ruling::Ask),
        ("domain:example.com", "ftp://example.com/", Ruling::Ask),
        ("domain:example.com", "file:///etc/passwd", Ruling::Ask),
        ("domain:example.com", "https://ｅxample.com/", Ruling::Ask),
    ] {
        let rule = format!("WebFetch({rule})");
        let rules = [(RuleKind::Allow, rule.as_str())];
        assert_eq!(
            ruling(&rules, &fetch(url), Mode::Default),
            expected,
            "{rule} and {url}"
        );
    }
    for url in [
        "https://example.com/",
        "https://a.example.com/",
        "https://example.com@evil.org/",
        "ftp://EXAMPLE.com/",
    ] {
        let rules = [
            (RuleKind::Deny, "WebFetch(domain:example.com)"),
            (RuleKind::Allow, "WebFetch"),
        ];
        assert_eq!(
            ruling(&rules, &fetch(url), Mode::Bypass),
            Ruling::Deny,
            "{url}"
        );
    }
    assert_eq!(
        ruling(
            &[(RuleKind::Allow, "WebFetch")],
            &fetch("https://x.org/"),
            Mode::Default
        ),
        Ruling::Allow
    );
    assert_eq!(
        ruling(
            &[(RuleKind::Allow, "WebFetch")],
            &fetch("data:x"),
            Mode::Default
        ),
        Ruling::Ask
    );
}

#[test]
fn mcp_tools_are_allowed_singly_or_per_server() {
    let tool = |name: &str| call(name, json!({}), Vec::new());
    for (rule, name, expected) in [
        ("mcp__db__read", "mcp__db__read", Ruling::Allow),
        ("mcp__db__read", "mcp__db__read_all", Ruling::Ask),
        ("mcp__db__read", "mcp__db2__read", Ruling::Ask),
        ("mcp__db", "mcp__db__drop", Ruling::Allow),
        ("mcp__db__*", "mcp__db__drop", Ruling::Allow),
        ("mcp__db", "mcp__db2__drop", Ruling::Ask),
        ("mcp__db", "mcp__db_x__drop", Ruling::Ask),
        // The tool may belong to the server `db_`.
        ("mcp__db", "mcp__db___drop", Ruling::Ask),
        ("Bash", "mcp__db__drop", Ruling::Ask),
    ] {
        assert_eq!(
            ruling(&[(RuleKind::Allow, rule)], &tool(name), Mode::Default),
            expected,
            "{rule} {name}"
        );
    }
    let denied = [
        (RuleKind::Deny, "mcp__db"),
        (RuleKind::Allow, "mcp__db__read"),
    ];
    assert_eq!(
        ruling(&denied, &tool("mcp__db__read"), Mode::Bypass),
        Ruling::Deny
    );
}
